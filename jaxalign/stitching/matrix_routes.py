"""Ridge regressions from one source layer to many targets at once, by whichever order of products is the least work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace
from itertools import accumulate

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.least_squares import Decomposition, decompose
from jaxalign._core.numerics import cross_matmul, gram_matmul, matmul, safe_divide, self_products
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Scalar

#: Bytes of products that are kept for all layers, beyond which they are not used.
PRODUCT_BYTES = 2**30


@pytree_dataclass
class SplitRows:
    """A layer with the mean of the rows trained on taken off, in units that bring it to size near 1.

    Attributes:
      train: rows trained on, `(t, d)`.
      test: rows held out, `(m, d)`.
      unit: the power of two that both were multiplied by.
    """

    train: Float[Array, "t d"]
    test: Float[Array, "m d"]
    unit: Scalar


@pytree_dataclass
class Targets:
    """Several layers side by side.

    Attributes:
      train: `(t, q)`, features of all of them.
      test: `(m, q)`.
      widths: how many features each of the `l` layers has.
    """

    train: Float[Array, "t q"]
    test: Float[Array, "m q"]
    widths: tuple[int, ...] = field(metadata={"static": True})

    def sums(self, values: Float[Array, "k q"]) -> Float[Array, "k l"]:
        """Sums over the features of each layer; what is no number in one stays there."""
        ends = list(accumulate(self.widths))
        parts = zip(self.widths, ends, strict=True)
        return jnp.stack([jnp.sum(values[:, end - width : end], axis=1) for width, end in parts], axis=1)

    def spread(self, values: Float[Array, "k l"]) -> Float[Array, "k q"]:
        """One value for each layer as one for each feature."""
        return jnp.repeat(values, jnp.asarray(self.widths), axis=1, total_repeat_length=sum(self.widths))

    def errors(self, predicted: Float[Array, "m q"]) -> Float[Array, "l"]:
        """The mean over held-out rows of the squared distance of each layer from what is predicted."""
        missed = self.test - predicted
        return self.sums(jnp.sum(missed * missed, axis=0)[None, :])[0] / self.test.shape[0]


@pytree_dataclass
class RowProducts:
    """Inner products of the rows of a layer with each other.

    Attributes:
      train: of those trained on, `(t, t)`.
      cross: of those held out with those trained on, `(m, t)`.
      test: the sum of the squares of those held out.
    """

    train: Float[Array, "*l t t"]
    cross: Float[Array, "*l m t"]
    test: Float[Array, "*l"]


@jax.jit
def row_products(layer: SplitRows) -> RowProducts:
    """Those of one layer."""
    cross = gram_matmul(layer.test, layer.train)
    return RowProducts(gram_matmul(layer.train, layer.train), cross, jnp.sum(layer.test * layer.test))


@jax.jit
def side_by_side(layers: list[SplitRows]) -> Targets:
    """Several layers as one."""
    widths = tuple(layer.train.shape[1] for layer in layers)
    train, test = (jnp.concatenate(rows, axis=1) for rows in ([x.train for x in layers], [x.test for x in layers]))
    return Targets(train, test, widths)


def padded(layer: SplitRows) -> SplitRows:
    """A source with features of 0 up to a common width, so that layers of many widths share a few programs."""
    width = layer.train.shape[1]
    step = 64 if width > 64 else 16
    lacking = -width % step
    return (
        replace(layer, train=_widened(layer.train, lacking), test=_widened(layer.test, lacking)) if lacking else layer
    )


def _widened(x: Array, lacking: int) -> Array:
    return jnp.pad(x, ((0, 0), (0, lacking)))


def cheapest_route(t: int, m: int, widths_a: list[int], widths_b: list[int]) -> str:
    """The order of products with the fewest multiplications.

    `"features"`: inputs times targets first. `"rows"`: held-out inputs times those trained on first, as predictions
    are weighted means of targets. `"products"`: these weights against products of the rows of each layer with each
    other, for many layers with many features.
    """
    features, sources, targets = sum(widths_b), len(widths_a), len(widths_b)
    work = {
        "features": sum((t + m) * p * (p + features) + p**3 // 6 for p in widths_a),
        "rows": sum(
            m * t * (p + features) + (t * p + m * min(p, t)) * min(p, t) // 2 + min(p, t) ** 3 // 6 for p in widths_a
        ),
    }
    if (targets + sources) * t * (t + m) * 4 <= PRODUCT_BYTES:
        once = t * (t + m) * (features + sum(widths_a))
        work["products"] = once + sources * t * (t * t // 6 + 2 * t * m + (t + m) * targets)
    return min(work, key=lambda route: work[route])


@jax.jit
def weights_by_features(source: SplitRows, penalty: Scalar) -> Float[Array, "m p"]:
    """What products of the inputs with targets are multiplied by to predict held-out rows."""
    return _solved(source, source.test, penalty)


@jax.jit
def weights_by_rows(source: SplitRows, penalty: Scalar) -> Float[Array, "m t"]:
    """What rows trained on of targets are multiplied by to predict held-out ones."""
    train, test = source.train, source.test
    if train.shape[1] <= train.shape[0]:
        return gram_matmul(_solved(source, test, penalty), train)
    return _solved_by_rows(source, row_products(source), penalty)


@jax.jit
def errors_by_features(weights: Float[Array, "m p"], source: SplitRows, targets: Targets) -> Float[Array, "l"]:
    """The mean squared error on held-out rows for each target, in the units of the targets."""
    return targets.errors(matmul(weights, cross_matmul(source.train, targets.train)))


@jax.jit
def errors_by_rows(weights: Float[Array, "m t"], source: SplitRows, targets: Targets) -> Float[Array, "l"]:
    """The same, by weights of rows; the source is not needed any more."""
    del source
    return targets.errors(matmul(weights, targets.train))


@jax.jit
def weights_by_products(
    source: SplitRows, own: RowProducts, penalty: Scalar
) -> tuple[Float[Array, "m t"], Float[Array, "t t"]]:
    """The weights that held-out rows give to those trained on, and their products."""
    weights = _solved_by_rows(source, own, penalty)
    return weights, cross_matmul(weights, weights)


@jax.jit
def errors_by_products(
    weights: Float[Array, "k m t"], squared: Float[Array, "k t t"], targets: RowProducts
) -> Float[Array, "k l"]:
    """The errors of several sources; rounding, of the size of the variance, leaves small ones fewer digits."""

    def inner(a: Array, b: Array) -> Array:
        return gram_matmul(a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1))

    total = inner(squared, targets.train) - 2 * inner(weights, targets.cross) + targets.test[None, :]
    return jnp.maximum(total, 0) / weights.shape[1]


def _solved(source: SplitRows, inputs: Float[Array, "m p"], penalty: Scalar) -> Float[Array, "m p"]:
    """`inputs (XᵀX + t penalty I)⁻¹`, by products of features."""
    ridge = penalty * source.train.shape[0]
    return _by_factor(self_products(source.train), inputs, ridge, lambda: decompose(source.train))


def _solved_by_rows(source: SplitRows, own: RowProducts, penalty: Scalar) -> Float[Array, "m t"]:
    """`Z Xᵀ (XXᵀ + t penalty I)⁻¹` of held-out rows `Z`, by products of rows."""
    ridge = penalty * source.train.shape[0]
    return _by_factor(own.train, own.cross, ridge, lambda: decompose(source.train.T))


def _by_factor(
    products: Float[Array, "k k"], inputs: Float[Array, "m k"], ridge: Scalar, decomposed: Callable[[], Decomposition]
) -> Float[Array, "m k"]:
    """`inputs (products + ridge I)⁻¹` by a Cholesky factor.

    Where that has lost too many digits, as without a penalty among features that nearly depend on each other, it is
    done by the right singular vectors of what the products are of.
    """
    own = jnp.diagonal(products)
    # A feature that is 0 everywhere has no part in anything, whatever stands here for it.
    diagonal = jnp.where(own + ridge > 0, ridge, jnp.max(own))
    factor = jnp.linalg.cholesky(products + jnp.diag(diagonal), symmetrize_input=False)
    squares = jnp.diagonal(factor) ** 2
    trusted = jnp.min(squares) > 4 * jnp.finfo(products.dtype).eps * jnp.max(squares)

    def by_decomposition() -> Array:
        parts = decomposed()
        s = parts.singular
        # Inputs lie in the span of the vectors, but for a part that the rows trained on say nothing of.
        shrunk = safe_divide(jnp.ones_like(s), s * s + ridge)
        return matmul(gram_matmul(inputs, parts.right) * shrunk[None, :], parts.right)

    return lax.cond(trusted, lambda: jax.scipy.linalg.cho_solve((factor, True), inputs.T).T, by_decomposition)
