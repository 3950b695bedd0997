"""Training affine maps between all layers of two networks at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax

from jaxalign._core.checks import as_layers, check_integer, describe
from jaxalign._core.numerics import (
    accum_dtype,
    center_columns,
    column_centers,
    mask_rows,
    row_count,
    take_rows,
)
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.alignment.pairs import by_shape
from jaxalign.stitching.affine import Affine
from jaxalign.stitching.fit_arguments import check_penalty, checked_key
from jaxalign.stitching.minibatches import epoch_order


@dataclass(frozen=True, eq=False)
class PairMaps:
    """Trained affine maps from every layer of one side to every layer of the other.

    Attributes:
      kernels: `kernels[i][j]` maps layer `i` of `a` to layer `j` of `b`, shape `(p_i, q_j)`.
      biases: `biases[i][j]`, shape `(q_j,)`.
      losses: what was minimized, before each step, shape `(La, Lb, steps)`; NaN after a pair diverged.
      diverged: which pairs did, shape `(La, Lb)`; their maps are those of the last finite loss.
    """

    kernels: tuple[tuple[Array, ...], ...]
    biases: tuple[tuple[Array, ...], ...]
    losses: np.ndarray
    diverged: np.ndarray

    def module(self, i: int, j: int) -> Affine:
        """The map from layer `i` to layer `j` as a module."""
        kernel = self.kernels[i][j]
        module = Affine(*kernel.shape, rngs=nnx.Rngs(0))
        module.kernel, module.bias = nnx.Param(kernel), nnx.Param(self.biases[i][j])
        return module


def fit_pairs(
    layers_a: Sequence[Float[Array, "n _p"]],
    layers_b: Sequence[Float[Array, "n _q"]],
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    affine: bool = True,
    batch_size: int | None = None,
    key: Any = None,
    penalty: float = 0.0,
    mask: Bool[Array, "n"] | None = None,
) -> PairMaps:
    r"""Train a map from every layer of one network to every layer of another, on squared loss.

    $$\min_{K_{ij}, b_{ij}} \frac{1}{n} \|X_i K_{ij} + 1 b_{ij}^\top - Y_j\|_F^2 + \lambda \|K_{ij}\|_F^2$$

    All pairs of the same widths are trained together, each by an optimizer of its own; kernels start at 0. Columns are
    centered first, and intercepts are what they must be for the kernels: only kernels are trained. On all rows the
    gradient is $2 (\Sigma_{xx} K - \Sigma_{xy} + \lambda K)$: moments are accumulated once, and no step reads the data
    (unless a layer has more than twice as many features as there are rows, for which the data are cheaper).

    For the minimum itself use a closed form. What training gives is what is found in so many steps, as in the
    literature, or with early stopping as a regularizer.

    Args:
      layers_a: activations to map from, each `(n, p_i)`.
      layers_b: activations to map to, each `(n, q_j)`, same examples in the same order.
      optimizer: an optax transformation; its state is separate for each pair.
      steps: how often it steps, at least 1.
      affine: with intercepts; otherwise maps are linear, and columns are not centered.
      batch_size: rows of a step, drawn without replacement in every epoch, the same for all pairs; None for all rows.
      key: a PRNG key, or an integer to make one from; needed with `batch_size`.
      penalty: $\lambda$, at least 0.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      `PairMaps`: `.kernels[i][j]`, `.biases[i][j]`, `.losses` `(La, Lb, steps)`, `.module(i, j)`. Losses from moments
      are accurate to the rounding of the targets' variance. A pair whose loss or new kernel is NaN or infinite stops
      there with the map of its last finite loss, and there is a `RuntimeWarning`.

    Raises:
      ValueError: for layers that do not have the same number of rows, or settings out of range.
      TypeError: for an optimizer that is none, non-floating layers.

    Example:
      >>> x, y = (jax.random.normal(jax.random.key(seed), (40, 3)) for seed in (0, 1))
      >>> maps = fit_pairs([x, y], [2 * x + 1], optimizer=optax.adam(0.1), steps=200)
      >>> maps.losses[:, 0, -1].round(2).tolist()[0], maps.biases[0][0].round(2).tolist()
      (0.0, [1.0, 1.0, 1.0])
    """
    for argument, layers in (("layers_a", layers_a), ("layers_b", layers_b)):
        if not isinstance(layers, Iterable):
            raise TypeError(f"fit_pairs: {argument} must be a list of activations, got {describe(layers)}")
    a, b, mask = as_layers("fit_pairs", layers_a, layers_b, mask)
    assert b is not None
    check_integer("fit_pairs", "steps", steps, minimum=1)
    check_penalty("fit_pairs", "penalty", penalty)
    key = checked_key("fit_pairs", key, batch_size=batch_size)
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(f"fit_pairs: optimizer must be an optax transformation, got {describe(optimizer)}")
    counted = a[0].shape[0] if mask is None else int(jnp.sum(mask))
    if batch_size is not None and batch_size > counted:
        raise ValueError(
            f"fit_pairs: batch_size must be at most the number of rows that count, {counted}, got {batch_size}"
        )
    if batch_size == counted:
        batch_size = None  # nothing is left to chance
    kernels: dict[tuple[int, int], Array] = {}
    biases: dict[tuple[int, int], Array] = {}
    losses, diverged = None, np.zeros((len(a), len(b)), bool)
    for members_a in by_shape(a):
        for members_b in by_shape(b):
            x, y = [a[i] for i in members_a], [b[j] for j in members_b]
            kernel, bias, history, alive = _train_group(
                x, y, mask, key, penalty or None, optimizer=optimizer, steps=steps, affine=affine, batch_size=batch_size
            )
            if losses is None:
                losses = np.zeros((len(a), len(b), steps), history.dtype)
            losses[np.ix_(members_a, members_b)] = history
            diverged[np.ix_(members_a, members_b)] = ~np.asarray(alive)
            for at, i in enumerate(members_a):
                for place, j in enumerate(members_b):
                    kernels[i, j], biases[i, j] = kernel[at, :, place], bias[at, place]
    assert losses is not None  # lists are not empty
    if np.any(diverged):
        _warn(diverged, losses)
    rows, columns = range(len(a)), range(len(b))
    return PairMaps(
        tuple(tuple(kernels[i, j] for j in columns) for i in rows),
        tuple(tuple(biases[i, j] for j in columns) for i in rows),
        losses,
        diverged,
    )


def _warn(diverged: np.ndarray, losses: np.ndarray) -> None:
    """Say which pairs diverged, and what may help."""
    pairs = [(int(i), int(j)) for i, j in np.argwhere(diverged)]
    more = f" and {len(pairs) - 10} more" if len(pairs) > 10 else ""
    hint = "a smaller learning rate may help, or optax.clip_by_global_norm"
    if not np.all(np.isfinite(losses[diverged][:, 0])):
        hint = "where the loss of step 0 was not finite, a layer holds NaN or values that are too large"
    warnings.warn(
        f"fit_pairs: the loss or the kernel of pairs {', '.join(map(str, pairs[:10]))}{more} was not finite; they "
        f"stopped, with the map of the last finite loss; {hint}",
        RuntimeWarning,
        stacklevel=3,
    )


@partial(jax.jit, static_argnames=("optimizer", "steps", "affine", "batch_size"))
def _train_group(
    layers_a: list[Array],
    layers_b: list[Array],
    mask: Bool[Array, "n"] | None,
    key: Array | None,
    penalty: Scalar | None,
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    affine: bool,
    batch_size: int | None,
) -> tuple[Float[Array, "A p B q"], Float[Array, "A B q"], Float[Array, "A B steps"], Bool[Array, "A B"]]:
    """All pairs of layers of one width with layers of one width: kernels, biases, losses, and which did not diverge.

    Kernels lie as `(A, p, B, q)`: those from one layer side by side, for which a product with a matrix of that layer
    is a single one.
    """
    dtype = accum_dtype(layers_a[0], layers_b[0])
    x, x_means = _stacked(layers_a, mask, affine, dtype)
    y, y_means = _stacked(layers_b, mask, affine, dtype)
    count = row_count(layers_a[0], mask).astype(dtype)
    rows, p = x.shape[1:]
    y = jnp.swapaxes(y, 0, 1)  # (n, B, q): side by side, as the kernels
    if batch_size is not None and key is not None:
        slopes, order = _batch_slopes(x, y, mask, count, key, batch_size)
    else:
        slopes, order = (_moment_slopes if p <= 2 * rows else _row_slopes)(x, y, count), None

    shape = jax.eval_shape(optimizer.init, jax.ShapeDtypeStruct((p, y.shape[2]), dtype))
    # What belongs to a pair: scalars of the optimizer are `(A, B)`, matrices `(A, p, B, q)`.
    axes = jax.tree.map(lambda leaf: leaf.ndim // 2, shape)
    update = jax.vmap(jax.vmap(optimizer.update, in_axes=(1, axes, 1), out_axes=(1, axes)))

    def step(carry: tuple[Any, ...], number: Int[Array, ""]) -> tuple[tuple[Any, ...], Array]:
        kernels, previous, alive, state, order = carry
        gradient, losses, order = slopes(kernels, number, order)
        if penalty is not None:
            factor = jnp.asarray(penalty, dtype)
            gradient = gradient + 2 * factor * kernels
            losses = losses + factor * jnp.sum(kernels * kernels, axis=(1, 3))
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
            updates, state = update(gradient, state, kernels)
        new = cast(Array, optax.apply_updates(kernels, updates))
        measured = alive & jnp.isfinite(losses)
        good = jnp.where(measured[:, None, :, None], kernels, previous)
        losses = jnp.where(alive, losses, jnp.nan)
        alive = measured & jnp.all(jnp.isfinite(new), axis=(1, 3))
        return (jnp.where(alive[:, None, :, None], new, good), good, alive, state, order), losses

    kernels = jnp.zeros((x.shape[0], p, *y.shape[1:]), dtype)
    state = jax.vmap(jax.vmap(optimizer.init, in_axes=1, out_axes=axes))(kernels)
    alive = jnp.ones((x.shape[0], y.shape[1]), bool)
    first = (kernels, kernels, alive, state, order)
    (kernels, _, alive, _, _), losses = lax.scan(step, first, jnp.arange(steps, dtype=jnp.int32))
    biases = y_means[None] - _product(x_means, kernels, (1, 1), batched=True)
    return kernels, biases, jnp.moveaxis(losses, 0, 2), alive


def _stacked(
    layers: list[Array], mask: Bool[Array, "n"] | None, affine: bool, dtype: jnp.dtype
) -> tuple[Float[Array, "L n d"], Float[Array, "L d"]]:
    """Layers of one width, centered if maps are affine, and the means that were taken off."""
    layers = [layer.astype(dtype) for layer in layers]
    if not affine:
        nothing = jnp.zeros((len(layers), layers[0].shape[1]), dtype)
        return jnp.stack([mask_rows(layer, mask) for layer in layers]), nothing
    means = [jnp.add(*column_centers(layer, mask)) for layer in layers]
    return jnp.stack([center_columns(layer, mask) for layer in layers]), jnp.stack(means)


#: From kernels, the number of a step and the order of rows to the gradient of the mean squared error, its values
#: `(A, B)`, and the order that the next step takes.
_Slopes = Callable[[Array, Array, Any], tuple[Array, Array, Any]]


def _moment_slopes(x: Float[Array, "A n p"], y: Float[Array, "n B q"], count: Scalar) -> _Slopes:
    """On all rows, none of which is read again."""
    own = _product(x, x, (1, 1), batched=True) / count
    cross = _product(x, y, (1, 0)) / count
    total = jnp.sum(y * y, axis=(0, 2)) / count

    def slopes(kernels: Array, number: Array, order: Any) -> tuple[Array, Array, Any]:
        mapped = _product(own, kernels, (2, 1), batched=True)
        return 2 * (mapped - cross), total[None, :] + jnp.sum(kernels * (mapped - 2 * cross), axis=(1, 3)), order

    return slopes


def _row_slopes(x: Float[Array, "A n p"], y: Float[Array, "n B q"], count: Scalar) -> _Slopes:
    """On all rows, which are read in every step."""

    def slopes(kernels: Array, number: Array, order: Any) -> tuple[Array, Array, Any]:
        residuals = _product(x, kernels, (2, 1), batched=True) - y[None]
        gradient = _product(x, residuals, (1, 1), batched=True) * (2 / count)
        return gradient, jnp.sum(residuals * residuals, axis=(1, 3)) / count, order

    return slopes


def _batch_slopes(
    x: Float[Array, "A n p"],
    y: Float[Array, "n B q"],
    mask: Bool[Array, "n"] | None,
    count: Scalar,
    key: Array,
    batch_size: int,
) -> tuple[_Slopes, Int[Array, "n"]]:
    """On the rows of a batch, and the order of the first epoch."""
    batches = count.astype(jnp.int32) // batch_size
    draw = partial(epoch_order, key, rows=x.shape[1], counts=mask)

    def slopes(kernels: Array, number: Array, order: Any) -> tuple[Array, Array, Any]:
        epoch, place = jnp.divmod(number, batches)
        order = lax.cond(place == 0, lambda: draw(epoch), lambda: order)
        chosen = lax.dynamic_slice_in_dim(order, place * batch_size, batch_size)
        size = jnp.asarray(batch_size, x.dtype)
        of_batch = _row_slopes(jnp.take(x, chosen, axis=1, mode="clip"), take_rows(y, chosen), size)
        return of_batch(kernels, number, order)

    return slopes, draw(jnp.zeros((), jnp.int32))


def _product(a: Array, b: Array, axes: tuple[int, int], *, batched: bool = False) -> Array:
    """The sum over one axis of each array, at the highest precision; all layers of `a` with `b`, or with their own."""
    shared = ((0,), (0,)) if batched else ((), ())
    return lax.dot_general(
        a, b, (((axes[0],), (axes[1],)), shared), precision=lax.Precision.HIGHEST, preferred_element_type=a.dtype
    )
