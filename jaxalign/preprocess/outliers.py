"""Limits on the few very large entries that transformers produce.

Which entries share one limit is the user's choice, and changes results. The platonic-rep
code gives one limit to a whole model when its layers come as one tensor `(n, layers, d)`,
and one to each layer when they come as a list. Here an array has one limit, whatever its
shape; layers in a list have one each by calling `clamp_outliers` on each, and a common
one through their entries side by side::

    limit = outlier_threshold(jnp.concatenate(layers, axis=1))
    layers = [clamp(layer, threshold=limit) for layer in layers]
"""

from __future__ import annotations

from numbers import Real

import jax
import jax.numpy as jnp

from jaxalign._core import quantile as magnitudes
from jaxalign._core.checks import check_floating, check_mask, describe
from jaxalign._core.jit import jit
from jaxalign._core.numerics import widen
from jaxalign._core.typing import Array, Bool, Float, Scalar


@jit(static=("quantile", "exact", "interpolate"))
def clamp_outliers(
    x: Float[Array, "n *rest"],
    *,
    quantile: float = 0.95,
    exact: bool = True,
    interpolate: bool = True,
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, "n *rest"]:
    r"""Limit every entry to `[-q, q]`, where `q` is a quantile of the magnitudes.

    $$x \mapsto \max(-q, \min(x, q)), \qquad q = \mathrm{quantile}_{0.95}(|x|)$$

    Args:
      x: activations, shape `(n, d)`, `(n, layers, d)` or any other with examples first.
      quantile: in `[0, 1]`; 1 changes nothing.
      exact: `True`: one quantile of all entries. `False`: the mean over examples of the
        quantile of each, which is what platonic-rep's command line does.
      interpolate: between the two entries around position `quantile · (n − 1)`, as
        `numpy.quantile` and `torch.quantile`; `False` takes the entry at rank
        `floor(quantile · n)`, which is platonic-rep's `exact=True`.
      mask: shape `(n,)`; `False` rows are padding, may hold any value and become 0.

    Returns:
      The shape of `x`, float32 or wider; NaN throughout when an entry that counts is NaN.
      The gradient is 1 for entries within the limits and 0 beyond; the limit is a constant.

    Raises:
      ValueError: at trace time, when `quantile` is outside `[0, 1]`, `x` is empty or has
        2³¹ entries or more, or `mask` is not `(n,)`.
      TypeError: at trace time, when `x` is not floating point or `mask` is not boolean.

    Example:
      >>> clamp_outliers(jnp.array([[1., -2.], [3., 100.]]), quantile=0.5).tolist()
      [[1.0, -2.0], [2.5, 2.5]]

    Reference:
      Huh et al. (2024), arXiv:2405.07987, appendix; `remove_outliers` in its code.
    """
    limit = _limit("clamp_outliers", x, quantile, exact, interpolate, mask)
    return _clamp(_mask_examples(x, mask), limit)


@jit(static=("quantile", "exact", "interpolate"))
def outlier_threshold(
    x: Float[Array, "n *rest"],
    *,
    quantile: float = 0.95,
    exact: bool = True,
    interpolate: bool = True,
    mask: Bool[Array, "n"] | None = None,
) -> Scalar:
    r"""The limit that `clamp_outliers` uses, for layers that are to share one.

    $$q = \mathrm{quantile}_{0.95}(|x|)$$

    Args:
      x: activations, examples first; several layers are stacked, or side by side.
      quantile: as in `clamp_outliers`.
      exact: as in `clamp_outliers`.
      interpolate: as in `clamp_outliers`.
      mask: shape `(n,)`; `False` rows are padding and do not count.

    Returns:
      A scalar, at least 0, float32 or wider, without gradient; NaN when an entry that
      counts is NaN or no row counts.

    Raises:
      ValueError: as `clamp_outliers`.
      TypeError: as `clamp_outliers`.

    Example:
      >>> float(outlier_threshold(jnp.array([[1., -2.], [3., 100.]]), quantile=0.5))
      2.5

    Reference:
      Huh et al. (2024), arXiv:2405.07987. Found by bisection on the bits of the entries,
      which is exact and sorts nothing.
    """
    return _limit("outlier_threshold", x, quantile, exact, interpolate, mask)


@jit()
def clamp(x: Float[Array, "..."], *, threshold: float | Scalar) -> Float[Array, "..."]:
    r"""Limit every entry to `[-threshold, threshold]`.

    $$x \mapsto \max(-t, \min(x, t))$$

    Args:
      x: any shape.
      threshold: a number, at least 0, in the units of `x`.

    Returns:
      The shape of `x`, float32 or wider.

    Raises:
      ValueError: at trace time, when `threshold` is not a scalar.
      TypeError: at trace time, when `x` is not floating point.

    Example:
      >>> clamp(jnp.array([1., -2., 3.]), threshold=2).tolist()
      [1.0, -2.0, 2.0]
    """
    check_floating("clamp", "x", x)
    if jnp.shape(threshold) != ():
        raise ValueError(f"clamp: threshold must be a scalar, got {describe(threshold)}")
    return _clamp(x, jnp.asarray(threshold).astype(widen(x).dtype))


def _limit(
    function: str, x: Array, quantile: float, exact: bool, interpolate: bool, mask: Array | None
) -> Float[Array, ""]:
    check_floating(function, "x", x)
    if x.ndim == 0 or not 0 < x.size < 2**31:
        raise ValueError(f"{function}: x must have an axis and between 1 and 2**31 - 1 entries, got {describe(x)}")
    check_mask(function, mask, x.shape[0])
    if not isinstance(quantile, Real) or isinstance(quantile, bool):
        raise TypeError(f"{function}: quantile must be a number, got {describe(quantile)}")
    if not 0 <= quantile <= 1:
        raise ValueError(f"{function}: quantile must lie between 0 and 1, got {quantile}")
    if not exact:
        rows = x.reshape(x.shape[0], -1)
        limits = jax.vmap(lambda row: magnitudes.quantile(row, quantile, interpolate=interpolate))(rows)
        return jnp.mean(limits) if mask is None else jnp.mean(limits, where=mask)
    if mask is None:
        return magnitudes.quantile(x, quantile, interpolate=interpolate)
    count = jnp.sum(mask, dtype=jnp.int32) * (x.size // x.shape[0])
    return magnitudes.quantile(_mask_examples(x, mask, jnp.inf), quantile, count=count, interpolate=interpolate)


def _clamp(x: Array, limit: Array) -> Array:
    x = widen(x)
    return jnp.where(jnp.abs(x) <= limit, x, jnp.sign(x) * limit)


def _mask_examples(x: Array, mask: Array | None, padding: float = 0.0) -> Array:
    return x if mask is None else jnp.where(mask.reshape(-1, *(1,) * (x.ndim - 1)), x, padding)
