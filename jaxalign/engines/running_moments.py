"""Moments of many layers that grow as rows come in and merge with others.

For data that do not fit in memory, arrive in batches or live on several devices. A block is
centered by its own mean; states are merged by adding what their means differ by, so that
no large numbers cancel, wherever the data lie. The size of a state does not depend on the
number of rows: `2 D²` for `D` features in all layers together. Everything is kept as the sum of
two floats, so that thousands of blocks lose no more digits than one.

The moments of squared row lengths, `third` and `fourth`, are what the unbiased estimators
need besides second moments. How they move with the mean is derived here, not in a paper:
with rows `z + h`, `q' = |z + h|² = q + 2 z·h + |h|²` per layer, expanded under `Σz = 0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxalign._core.compensated import Compensated
from jaxalign._core.numerics import accum_dtype, column_centers, cross_matmul, mask_rows, matmul, row_count
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
      count: number of rows, exact to 2⁴⁸ of them in float32.
      mean: `(D,)`.
      second: `Σ z zᵀ`, `(D, D)`.
      third: `Σ q zᵀ`, `(L, D)`.
      fourth: `Σ q qᵀ`, `(L, L)`.
    """

    widths: tuple[int, ...] = field(metadata={"static": True})
    sound: Bool[Array, "L"]
    count: Compensated
    mean: Compensated
    second: Compensated
    third: Compensated
    fourth: Compensated


def init(widths: Sequence[int], dtype: jax.typing.DTypeLike = jnp.float32) -> RunningMoments:
    """Moments of no rows."""
    features, layers = sum(widths), len(widths)

    def zeros(*shape: int) -> Compensated:
        return Compensated.of(jnp.zeros(shape, dtype))

    return RunningMoments(
        widths=tuple(widths),
        sound=jnp.ones(layers, bool),
        count=zeros(),
        mean=zeros(features),
        second=zeros(features, features),
        third=zeros(layers, features),
        fourth=zeros(layers, layers),
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
    rows = [mask_rows(x.astype(accum_dtype(state.mean.high)), mask) for x in layers]
    sound = jnp.stack([jnp.all(jnp.isfinite(x)) for x in rows])
    block = jnp.concatenate([jnp.where(fine, x, 0) for fine, x in zip(sound, rows, strict=True)], axis=1)
    mean, left = column_centers(block, mask)
    z = mask_rows(block - mean[None, :] - left[None, :], mask)
    lengths = matmul(z * z, _members(state).T)
    return merge(
        state,
        RunningMoments(
            widths=state.widths,
            sound=sound,
            count=Compensated.of(row_count(block, mask)),
            mean=Compensated(mean, left),
            second=Compensated.of(cross_matmul(z, z)),
            third=Compensated.of(cross_matmul(lengths, z)),
            fourth=Compensated.of(cross_matmul(lengths, lengths)),
        ),
    )


def merge(one: RunningMoments, other: RunningMoments) -> RunningMoments:
    """Moments of the rows of both."""
    count = one.count + other.count
    total = jnp.maximum(count.value, 1)
    share, rest = other.count.value / total, one.count.value / total
    # No rows have no mean: that of the others stands in, so that nothing moves.
    first, second = _mean_or(one, other), _mean_or(other, one)
    apart = (second - first).value
    mean = first + Compensated.of(share * apart)
    # One side moves by what the means differ, times the other side's share of the rows.
    left, right = _about(one, -share * apart), _about(other, rest * apart)
    return RunningMoments(
        widths=one.widths,
        sound=one.sound & other.sound,
        count=count,
        mean=mean,
        second=left.second + right.second,
        third=left.third + right.third,
        fourth=left.fourth + right.fourth,
    )


def merge_across(state: RunningMoments, axis_name: str) -> RunningMoments:
    """Moments of the rows of all devices along a named axis, the same on each of them.

    All states are gathered first, `2 D²` numbers from each device.
    """
    states = lax.all_gather(state, axis_name)
    merged, _ = lax.scan(
        lambda merged, one: (merge(merged, one), None),
        jax.tree.map(lambda leaf: leaf[0], states),
        jax.tree.map(lambda leaf: leaf[1:], states),
    )
    return merged


def _mean_or(state: RunningMoments, other: RunningMoments) -> Compensated:
    """The mean of the rows of a state, and that of the other one if there are none."""
    return jax.tree.map(lambda own, its: jnp.where(state.count.high > 0, own, its), state.mean, other.mean)


def _about(state: RunningMoments, h: Float[Array, "D"]) -> RunningMoments:
    """The moments of rows `z + h` instead of `z`; the mean is left as it was."""
    n, members = state.count.value, _members(state)
    second, third = state.second.value, state.third.value
    moved = members * h[None, :]
    lengths = matmul(members, (h * h)[:, None])[:, 0]
    totals = matmul(members, jnp.diagonal(second)[:, None])[:, 0]
    # Σ (z·h) zᵀ of each layer.
    along = matmul(moved, second)
    mixed = 2 * matmul(third, moved.T) + totals[:, None] * lengths[None, :]
    grown = mixed + mixed.T + 4 * matmul(along, moved.T) + n * lengths[:, None] * lengths[None, :]
    return replace(
        state,
        second=state.second + Compensated.of(n * h[:, None] * h[None, :]),
        third=state.third + Compensated.of(2 * along + (totals + n * lengths)[:, None] * h[None, :]),
        fourth=state.fourth + Compensated.of(grown),
    )


def finish(state: RunningMoments, *, centering: str) -> Products:
    """Inner products of the linear kernel matrices of all layers with each other.

    Args:
      state: moments of all rows.
      centering: one of `CENTERINGS`, static.
    """
    second, count, mean = state.second.value, state.count.value, state.mean.value
    if centering == "none":
        second = second + count * mean[:, None] * mean[None, :]
    widths = list(state.widths)
    raw = block_norms(second, widths, widths)
    total = matmul(_members(state), jnp.diagonal(state.second.value)[:, None])[:, 0]
    cross = _center(raw, state.fourth.value, total[:, None] * total[None, :], count, centering)
    own = drop_rounding(jnp.diagonal(cross), jnp.diagonal(raw))
    units = jnp.ones(len(widths), second.dtype)
    products = Products(cross=cross, self_a=own, self_b=own, units_a=units, units_b=units, count=count)
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
    return jnp.asarray(owner[None, :] == np.arange(len(state.widths))[:, None], state.second.high.dtype)
