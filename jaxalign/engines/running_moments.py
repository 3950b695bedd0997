"""Moments of many layers that grow as rows come in and merge with others.

For data that do not fit in memory, arrive in batches or live on several devices. A block is
centered by its own mean; states are merged by adding what their means differ by, so that
no large numbers cancel, wherever the data lie. The size of a state does not depend on the
number of rows: `D²` for `D` features in all layers together.

The moments of squared row lengths, `third` and `fourth`, are what the unbiased estimators
need besides second moments. How they move with the mean is derived here, not in a paper:
with rows `z + h`, `q' = |z + h|² = q + 2 z·h + |h|²` per layer, expanded under `Σz = 0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.numerics import accum_dtype, center_columns, column_mean, cross_matmul, mask_rows, matmul, row_count
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.engines.moments import block_norms
from jaxalign.engines.products import Products, combine, drop_rounding


@pytree_dataclass
class RunningMoments:
    """Centered moments of the rows seen so far.

    Rows `z` are those of all `L` layers side by side, `D` features, minus their mean; `q` are
    their squared lengths in each layer.

    Attributes:
      widths: features of each layer, static.
      sound: which layers have held finite numbers only, `(L,)`; others count as zeros and come out NaN.
      count: number of rows.
      mean: `(D,)`.
      second: `Σ z zᵀ`, `(D, D)`.
      third: `Σ q zᵀ`, `(L, D)`.
      fourth: `Σ q qᵀ`, `(L, L)`.
    """

    widths: tuple[int, ...] = field(metadata={"static": True})
    sound: Bool[Array, "L"]
    count: Scalar
    mean: Float[Array, "D"]
    second: Float[Array, "D D"]
    third: Float[Array, "L D"]
    fourth: Float[Array, "L L"]


def init(widths: Sequence[int], dtype: jax.typing.DTypeLike = jnp.float32) -> RunningMoments:
    """Moments of no rows."""
    features, layers = sum(widths), len(widths)
    return RunningMoments(
        widths=tuple(widths),
        sound=jnp.ones(layers, bool),
        count=jnp.zeros((), dtype),
        mean=jnp.zeros(features, dtype),
        second=jnp.zeros((features, features), dtype),
        third=jnp.zeros((layers, features), dtype),
        fourth=jnp.zeros((layers, layers), dtype),
    )


def update(
    state: RunningMoments, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None
) -> RunningMoments:
    """Add a block of rows of all layers.

    Args:
      state: moments so far.
      layers: one `(n, d)` array for each layer, of the widths the state was made for.
      mask: which rows count, `(n,)`.
    """
    rows = [mask_rows(x.astype(accum_dtype(state.mean)), mask) for x in layers]
    sound = jnp.stack([jnp.all(jnp.isfinite(x)) for x in rows])
    block = jnp.concatenate([jnp.where(fine, x, 0) for fine, x in zip(sound, rows, strict=True)], axis=1)
    z = center_columns(block, mask)
    members = _members(state)
    lengths = matmul(z * z, members.T)
    return merge(
        state,
        RunningMoments(
            widths=state.widths,
            sound=sound,
            count=row_count(block, mask),
            mean=column_mean(block, mask),
            second=cross_matmul(z, z),
            third=cross_matmul(lengths, z),
            fourth=cross_matmul(lengths, lengths),
        ),
    )


def merge(one: RunningMoments, other: RunningMoments) -> RunningMoments:
    """Moments of the rows of both."""
    count = one.count + other.count
    share = other.count / jnp.maximum(count, 1)
    apart = other.mean - one.mean
    mean = one.mean + share * apart
    # One side moves by what the means differ, times the other side's share of the rows.
    return jax.tree.map(
        lambda a, b: a & b if a.dtype == bool else a + b,
        _about(one, -share * apart, mean),
        _about(other, (1 - share) * apart, jnp.zeros_like(mean)),
    )


def _about(state: RunningMoments, h: Float[Array, "D"], mean: Float[Array, "D"]) -> RunningMoments:
    """The moments of rows `z + h` instead of `z`; `mean` becomes the one given."""
    n, members = state.count, _members(state)
    moved = members * h[None, :]
    lengths = matmul(members, (h * h)[:, None])[:, 0]
    totals = matmul(members, jnp.diagonal(state.second)[:, None])[:, 0]
    # Σ (z·h) zᵀ of each layer.
    along = matmul(moved, state.second)
    mixed = 2 * matmul(state.third, moved.T) + totals[:, None] * lengths[None, :]
    return RunningMoments(
        widths=state.widths,
        sound=state.sound,
        count=n,
        mean=mean,
        second=state.second + n * h[:, None] * h[None, :],
        third=state.third + 2 * along + (totals + n * lengths)[:, None] * h[None, :],
        fourth=state.fourth + mixed + mixed.T + 4 * matmul(along, moved.T) + n * lengths[:, None] * lengths[None, :],
    )


def finish(state: RunningMoments, *, centering: str) -> Products:
    """Inner products of the linear kernel matrices of all layers with each other.

    Args:
      state: moments of all rows.
      centering: one of `CENTERINGS`, static.
    """
    second = state.second
    if centering == "none":
        second = second + state.count * state.mean[:, None] * state.mean[None, :]
    widths = list(state.widths)
    raw = block_norms(second, widths, widths)
    total = matmul(_members(state), jnp.diagonal(state.second)[:, None])[:, 0]
    cross = _center(raw, state.fourth, total[:, None] * total[None, :], state.count, centering)
    own = drop_rounding(jnp.diagonal(cross), jnp.diagonal(raw))
    units = jnp.ones(len(widths), second.dtype)
    products = Products(cross=cross, self_a=own, self_b=own, units_a=units, units_b=units, count=state.count)
    return products.only_of(state.sound, state.sound)


def _center(raw: Array, diagonals: Array, totals: Array, count: Scalar, centering: str) -> Array:
    """Inner products of kernel matrices under a centering, from those of centered features.

    Rows of `K` then sum to 0, and without its diagonal, to minus the squared row lengths `q`.

    Args:
      raw: `‖X_aᵀX_b‖²`.
      diagonals: `Σ_i q_a,i q_b,i`.
      totals: `(Σ q_a)(Σ q_b)`.
      count: number of examples.
      centering: one of `CENTERINGS`.
    """
    if centering == "hollow":
        return jnp.where(count > 3, raw - diagonals, jnp.nan)
    if centering != "unbiased":
        return raw
    return combine(raw - diagonals, diagonals, totals, count, centering)


def _members(state: RunningMoments) -> Float[Array, "L D"]:
    """Which features belong to which layer, as ones and zeros."""
    owner = np.repeat(np.arange(len(state.widths)), state.widths)
    return jnp.asarray(owner[None, :] == np.arange(len(state.widths))[:, None], state.second.dtype)
