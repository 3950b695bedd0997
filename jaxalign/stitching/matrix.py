"""Ridge stitches between all layers of two models, scored on rows held out, with one factor for each source layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxalign._core.checks import as_layers, check_choice
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import binary_scale, column_centers, take_rows, widen
from jaxalign._core.penalties import checked_penalties
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Int, Scalar
from jaxalign.stitching.matrix_paths import chosen_errors, spectrum_of
from jaxalign.stitching.matrix_routes import (
    SplitRows,
    Targets,
    cheapest_route,
    errors_by_features,
    errors_by_products,
    errors_by_rows,
    padded,
    row_products,
    side_by_side,
    weights_by_features,
    weights_by_products,
    weights_by_rows,
)
from jaxalign.stitching.ridge_path import CRITERIA
from jaxalign.stitching.row_split import two_sides

#: For an order of products: what is made once for a source, and the errors that follow for targets.
ROUTES = {"features": (weights_by_features, errors_by_features), "rows": (weights_by_rows, errors_by_rows)}
#: Bytes of target layers that are looked at together.
CHUNK_BYTES = 512 * 2**20


@pytree_dataclass
class StitchMatrix:
    """How well every layer of one model is stitched into every layer of another, on rows that no map was fitted to.

    Attributes:
      misalignment: `(La, Lb)`, from a layer of `a` (row) to one of `b` (column): the mean over held-out rows of the
        squared distance, summed over features, of what it maps to from the target.
      variance: `(Lb,)`, the same for the map of everything to the mean of the rows trained on.
      penalties: `(La, Lb)`, of each map, in the square of the units of its inputs.
      names_a: names of the source layers, if they came with some.
      names_b: names of the target layers, likewise.
    """

    misalignment: Float[Array, "La Lb"]
    variance: Float[Array, "Lb"]
    penalties: Float[Array, "La Lb"]
    names_a: tuple[str, ...] = field(default=(), metadata={"static": True})
    names_b: tuple[str, ...] = field(default=(), metadata={"static": True})

    @property
    def r_squared(self) -> Float[Array, "La Lb"]:
        """`1 - misalignment / variance`, at most 1; negative where the mean of the targets would be better."""
        return 1 - self.misalignment / self.variance[None, :]


def stitch_matrix(
    layers_a: Sequence[Float[Array, "n _p"]] | Mapping[str, Float[Array, "n _p"]],
    layers_b: Sequence[Float[Array, "n _q"]] | Mapping[str, Float[Array, "n _q"]] | None = None,
    *,
    penalties: float | Sequence[float] | None = None,
    select: str = "gcv",
    held_out: float | Any = 0.2,
    mask: Any = None,
    key: Array | int | None = None,
) -> StitchMatrix:
    r"""Affine ridge stitches from every layer of one model to every layer of another, scored on held-out rows.

    Each source layer is factored once, for all targets and penalties. For one penalty, the product of held-out inputs,
    factor, inputs and targets is taken in the order that is the least work: by features, by rows, or by `n x n`
    products of the rows of every layer.

    Args:
      layers_a: layers to go on from, each `(n, p)`, of any width, in a list or by name.
      layers_b: layers to reach, each `(n, q)`, same examples in the same order; None for `layers_a` again.
      penalties: added to the variances of a source layer, as in `ridge`: one, or several to choose from for each
        pair; by default 24, from 1e-7 to 10 times the largest variance along any direction of the source.
      select: how, by what the training rows say: `"gcv"` or `"loo"`, as in `ridge_path`. The latter takes a product of
        matrices for each penalty.
      held_out: the share of rows that is held out, their numbers, or a boolean mask `(n,)` of them. Rows that depend
        on each other, such as frames of one video, belong on the same side.
      mask: `(n,)`, `True` for rows that count; the others may hold any value.
      key: a PRNG key, or an integer to make one from, which draws the share that is held out; without one, its rows
        are evenly spaced: every fifth.

    Returns:
      A `StitchMatrix`, in float32 or wider. NaN in a layer makes its row and column NaN. Of many layers with as
      many features as rows, float32 gives an `r_squared` that is right to a few 1e-6. There are no derivatives:
      `ridge` and `ridge_path` have them.

    Raises:
      ValueError: for layers of different numbers of rows, penalties that are negative or none, nothing held out, or
        fewer than two rows on either side.
      TypeError: for layers that are not floating point, masks that are not boolean or not known.

    Example:
      >>> x = jnp.sin(jnp.arange(40.)).reshape(20, 2)
      >>> scores = stitch_matrix([x, x[:, :1]], penalties=1e-6)
      >>> [[round(float(value), 2) for value in row] for row in scores.r_squared]
      [[1.0, 1.0], [0.49, 1.0]]

    Reference:
      Ridge regression on Gram matrices of all targets at once is derived here.
    """
    function = "stitch_matrix"
    check_choice(function, "select", select, CRITERIA)
    if isinstance(mask, Tracer):
        raise TypeError(f"{function}: mask must be known when it is compiled, got a traced value")
    (names_a, a), (names_b, other) = _named(layers_a), _named(layers_b)
    a, other, counts = as_layers(function, a or [], other, mask)
    given = None
    if penalties is not None:
        given = checked_penalties(function, np.atleast_1d(np.asarray(penalties)))
    if np.ndim(held_out) == 0 and held_out == 0:
        raise ValueError(f"{function}: held_out must be above 0, as scores of rows fitted to would be too good")
    sides = two_sides(function, a[0].shape[0], held_out, counts, None if key is None else as_key(function, key))
    train, test = (side.astype(np.int32) for side in sides)
    a, other = lax.stop_gradient((a, other))
    targets = [split_rows(y, train, test) for y in (a if other is None else other)]
    sources = [padded(x) for x in (targets if other is None else [split_rows(x, train, test) for x in a])]
    if given is not None and given.shape[0] == 1:
        errors, chosen = _with_penalty(sources, targets, given[0], same=other is None)
    else:
        errors, chosen = _with_choice(sources, targets, given, select)
    units = jnp.stack([y.unit for y in targets])
    squares = jnp.stack([jnp.mean(jnp.sum(y.test * y.test, axis=1)) for y in targets])
    names_b = names_a if other is None else names_b
    return StitchMatrix(errors / (units * units)[None, :], squares / (units * units), chosen, names_a, names_b)


def _named(layers: Any) -> tuple[tuple[str, ...], Any]:
    """Names of layers, if there are some, and the layers as a list."""
    if isinstance(layers, Mapping):
        return tuple(map(str, layers)), list(layers.values())
    return (), layers


@jax.jit
def split_rows(x: Float[Array, "n d"], train: Int[Array, "t"], test: Int[Array, "m"]) -> SplitRows:
    """A layer dealt out to the rows trained on and those held out, the mean of the first taken off both."""
    x = widen(x)
    own, unseen = take_rows(x, train), take_rows(x, test)
    mean, left = column_centers(own)
    own, unseen = (rows - mean[None, :] - left[None, :] for rows in (own, unseen))
    unit = binary_scale(own)
    return SplitRows(own * unit, unseen * unit, unit)


def _with_penalty(
    sources: list[SplitRows], targets: list[SplitRows], penalty: Scalar, *, same: bool
) -> tuple[Float[Array, "La Lb"], Float[Array, "La Lb"]]:
    """Errors in the units of the targets, and the penalties."""
    t, m = sources[0].train.shape[0], sources[0].test.shape[0]
    widths = [[layer.train.shape[1] for layer in side] for side in (sources, targets)]
    route = cheapest_route(t, m, *widths)
    scaled = [penalty.astype(source.train.dtype) * source.unit**2 for source in sources]
    if route == "products":
        products = [row_products(y) for y in targets]
        own = products if same else [row_products(x) for x in sources]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *products)
        weighed = [weights_by_products(*each) for each in zip(sources, own, scaled, strict=True)]
        weights, squared = (jnp.stack(parts) for parts in zip(*weighed, strict=True))
        errors = errors_by_products(weights, squared, stacked)
    else:
        weigh, judge = ROUTES[route]
        weighed = [weigh(*each) for each in zip(sources, scaled, strict=True)]
        errors = _over_chunks(
            targets, lambda side: [judge(weights, x, side) for weights, x in zip(weighed, sources, strict=True)]
        )
    return errors, jnp.broadcast_to(penalty.astype(errors.dtype), errors.shape)


def _with_choice(
    sources: list[SplitRows], targets: list[SplitRows], penalties: Float[Array, "k"] | None, select: str
) -> tuple[Float[Array, "La Lb"], Float[Array, "La Lb"]]:
    """Errors in the units of the targets, and the penalties that were chosen."""
    spectra = [spectrum_of(source) for source in sources]

    def of_chunk(side: Targets) -> list[tuple[Array, Array]]:
        pairs = zip(sources, spectra, strict=True)
        return [chosen_errors(source, spectrum, side, penalties, select=select) for source, spectrum in pairs]

    return _over_chunks(targets, of_chunk)


def _over_chunks(targets: list[SplitRows], of_chunk: Callable[[Targets], list[Any]]) -> Any:
    """What a function says of each source and several targets, put together for all targets."""
    chunks: list[list[SplitRows]] = []
    size = 0
    for target in targets:
        bytes_ = target.train.nbytes + target.test.nbytes
        if not chunks or size + bytes_ > CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(target)
        size += bytes_
    parts = [jax.tree.map(lambda *rows: jnp.stack(rows), *of_chunk(side_by_side(chunk))) for chunk in chunks]
    return jax.tree.map(lambda *columns: jnp.concatenate(columns, axis=1), *parts)
