"""The least risk that stitching reaches under a linear head, in closed form."""

from __future__ import annotations

import warnings
from dataclasses import replace

import jax.numpy as jnp
from jax import lax
from jax.core import Tracer

from jaxalign._core.checks import check_floating, check_ridge, describe
from jaxalign._core.jit import jit
from jaxalign._core.least_squares import Decomposition, decompose, ridge_coefficients, with_derivative_of, with_ridge
from jaxalign._core.numerics import accum_dtype, binary_scale, cross_matmul, gram_matmul, matmul, safe_divide, widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.signatures.whitened import UninformativeWarning
from jaxalign.stitching.maps import LinearStitch
from jaxalign.stitching.rows import paired_rows


@pytree_dataclass
class LinearHeadRisk:
    """What the best stitch into a linear head costs, and the best probe beside it.

    Attributes:
      risk: the mean over rows of the squared error, summed over outputs, of the head after `stitch`.
      probe_risk: that of the best linear map from the source layer straight to the targets; no stitch is below it.
      excess: `risk - probe_risk`, at least 0: what the head cannot say, and what a ridge takes.
      objective: `risk + ridge ‖B‖²`, which `stitch` minimizes; of several minimizers it is that of least norm.
      stitch: that map, from the source layer to the layer that the head reads. Its `rank` and `condition` are those of
        the source; how near it comes to the activations of that layer is not known here.
      head_rank: of the kernel of the head.
      outputs: how many outputs the head has.
    """

    risk: Scalar
    probe_risk: Scalar
    excess: Scalar
    objective: Scalar
    stitch: LinearStitch
    head_rank: Int[Array, ""]
    outputs: Int[Array, ""]

    @property
    def is_linear_probe(self) -> Bool[Array, ""]:
        """Whether the head reaches every output: then, without a ridge, `risk` is `probe_risk`, whatever the head."""
        return self.head_rank == self.outputs


def linear_stitching_risk(
    z1: Float[Array, "*rows p"],
    w2: Float[Array, "q t"],
    y: Float[Array, "*rows t"],
    *,
    b2: Float[Array, "t"] | None = None,
    ridge: float | Scalar = 0.0,
    affine: bool = True,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> LinearHeadRisk:
    r"""Least squared error of a linear head that is fed from another model's layer through the best linear map.

    $$\min_{B, c} \textstyle\sum_i w_i \|(x_i B + c) W + b - y_i\|^2 + \lambda \|B\|_F^2 =
      R_1 + \|X W_1 (I - P)\|^2 \text{ for } \lambda = 0$$

    with the best linear probe $W_1$ of the source layer, its risk $R_1$, and the projector $P$ onto the span of the
    rows of $W$; with a bias, $X$ has a column of ones. Where no output of the head is a linear combination of the
    others, $P = I$: then the risk is the probe's, and says nothing about the layer that the head was trained on.

    Args:
      z1: activations of the source layer, `(n, p)`, or tokens or feature maps, of which each counts as a row.
      w2: the kernel of the head, `(q, t)`: it computes `z @ w2 + b2`. The transpose of the W₂ of the literature, and
        of the weight of a linear layer in torch.
      y: what the outputs should be, `(n, t)`: numbers, or one-hot labels.
      b2: the bias of the head, `(t,)`; 0 by default.
      ridge: λ, at least 0, in the square of the units of `y` over those of `B`. The bias is not penalized.
      affine: with a bias in the map, and so in the probe. False is without: the probe has `b2` for its bias.
      mask: `True` for what counts, one for each example or each row; the others may hold any value.
      weights: at least 0, one for each example or each row; only their ratios matter.

    Returns:
      A `LinearHeadRisk`. Risks are sums of squares of residuals, no differences, so that small ones have digits in
      float32. Derivatives are right with a ridge, and without where ranks are those of the smaller sides.

    Raises:
      ValueError: for layers that are not paired, a kernel or a bias that does not fit, or a negative ridge.
      TypeError: on non-floating input.

    Warns:
      UninformativeWarning: when the head turns out to be of full rank, without a ridge; not inside `jit`, where
        values are unknown: see `is_linear_probe`.

    Example:
      >>> x = jnp.array([[1., 0.], [0., 1.], [1., 1.], [1., -1.]])
      >>> y = jnp.array([[1., 0.], [0., 1.], [2., 1.], [0., -1.]])
      >>> head = jnp.array([[1., 1.], [0., 0.]])  # two outputs, but always the same
      >>> result = linear_stitching_risk(x, head, y, affine=False)
      >>> round(float(result.risk), 4), round(float(result.probe_risk), 4)
      (0.5833, 0.1667)

    Reference:
      Lemma 2 of Insulla et al. (2025), arXiv:2502.14047, whose condition is on the rank of the head (corrected here:
      as many features as outputs are not enough); with a bias, a ridge and weights derived for this project.
    """
    check_ridge("linear_stitching_risk", ridge)
    shrunk = not (isinstance(ridge, (int, float)) and ridge == 0)
    result = _linear_stitching_risk(
        z1, w2, y, b2, ridge=ridge, shrunk=shrunk, affine=affine, mask=mask, weights=weights
    )
    if not shrunk and not isinstance(result.head_rank, Tracer) and bool(result.is_linear_probe):
        warnings.warn(
            f"linear_stitching_risk: the head reaches all of its {int(result.outputs)} outputs, so that the risk is "
            "that of a linear probe of z1 and says nothing about the head or the layer before it; compare the layers "
            "themselves (least_squares), or add a ridge",
            UninformativeWarning,
            stacklevel=2,
        )
    return result


@jit(static=("shrunk", "affine"))
def _linear_stitching_risk(
    z1: Float[Array, "*rows p"],
    w2: Float[Array, "q t"],
    y: Float[Array, "*rows t"],
    b2: Float[Array, "t"] | None = None,
    *,
    ridge: float | Scalar,
    shrunk: bool,
    affine: bool,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> LinearHeadRisk:
    _check_head(w2, b2, y)
    targets = y if b2 is None else widen(y) - b2.astype(accum_dtype(y)).reshape((1,) * (y.ndim - 1) + (-1,))
    rows, grid = paired_rows("linear_stitching_risk", z1, targets, affine=affine, mask=mask, weights=weights)
    dtype = rows.x.dtype
    head_unit = binary_scale(w2.astype(dtype))
    head = w2.astype(dtype) * head_unit
    mean = rows.y_mean[None, :] * rows.y_unit
    penalty = jnp.asarray(ridge, dtype) * (rows.x_unit * head_unit) ** 2
    none = jnp.zeros((), dtype)

    source, reach = decompose(rows.x), decompose(head.T)
    probe = ridge_coefficients(rows.x, rows.y, none, source)
    value_at_center = ridge_coefficients(head.T, mean.T, none, reach).T
    if shrunk:
        kernel = _shrunk_kernel(rows.x, rows.y, head, penalty, source, reach)
    else:
        kernel = ridge_coefficients(head.T, probe.T, none, reach).T

    # Residuals as orthogonal parts: what the source does not know, what the head cannot say, what the ridge takes.
    known, unknown = source.apart(lax.stop_gradient(rows.y))
    said, unsaid = _within_reach(known, reach)
    _, unsaid_mean = _within_reach(lax.stop_gradient(mean), reach)
    taken = safe_divide(penalty, _squared_products(source, reach) + penalty) * said
    unknown, excess = jnp.sum(unknown**2), jnp.sum(unsaid**2) + jnp.sum(unsaid_mean**2) + jnp.sum(taken**2)

    residuals = rows.y - matmul(matmul(rows.x, kernel), head)
    mean_residual = mean - matmul(value_at_center, head)
    probe_risk = with_derivative_of(unknown, jnp.sum((rows.y - matmul(rows.x, probe)) ** 2))
    risk = with_derivative_of(unknown + excess, jnp.sum(residuals**2) + jnp.sum(mean_residual**2))
    square = rows.y_unit * rows.y_unit
    stitch = LinearStitch.of(
        kernel * (rows.x_unit * head_unit / rows.y_unit), value_at_center[0] * (head_unit / rows.y_unit)
    )
    return LinearHeadRisk(
        risk=risk / square,
        probe_risk=probe_risk / square,
        excess=with_derivative_of(excess, risk - probe_risk) / square,
        objective=(risk + penalty * jnp.sum(kernel**2)) / square,
        stitch=replace(
            stitch,
            center=rows.x_mean,
            rank=source.rank,
            condition=source.condition,
            examples=rows.examples,
            grid=grid,
        ),
        head_rank=reach.rank,
        outputs=jnp.int32(head.shape[1]),
    )


def _check_head(kernel: Array, bias: Array | None, y: Array) -> None:
    """Raise unless the head gives as many outputs as `y` has."""
    check_floating("linear_stitching_risk", "w2", kernel)
    outputs = y.shape[-1] if y.ndim else 0
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise TypeError(
            "linear_stitching_risk: y must be floating point, numbers with one column for each output of the head, "
            f"got {describe(y)}; labels become numbers by jax.nn.one_hot"
        )
    if kernel.ndim != 2 or kernel.shape[1] != outputs or 0 in kernel.shape:
        hint = "; pass its transpose" if kernel.ndim == 2 and kernel.shape[0] == outputs else ""
        raise ValueError(
            f"linear_stitching_risk: w2 must have shape (features, {outputs}), to give the {outputs} columns of y, "
            f"got {describe(kernel)}{hint}"
        )
    if bias is not None:
        check_floating("linear_stitching_risk", "b2", bias)
        if bias.shape != (outputs,):
            raise ValueError(f"linear_stitching_risk: b2 must have shape ({outputs},), got {describe(bias)}")


def _within_reach(
    targets: Float[Array, "m t"], reach: Decomposition
) -> tuple[Float[Array, "m r"], Float[Array, "m t"]]:
    """Coordinates of rows in the span of what the head gives, and what lies outside; 0 when that is everything."""
    said, unsaid = reach.apart(targets.T)
    return said.T, jnp.where(reach.rank == targets.shape[1], 0, unsaid.T)


def _squared_products(source: Decomposition, reach: Decomposition) -> Float[Array, "r k"]:
    """Squared singular values of the map from kernels to outputs: products of those of the rows and of the head."""
    return (source.singular[:, None] * reach.singular[None, :]) ** 2


def _shrunk_kernel(
    x: Float[Array, "n p"],
    y: Float[Array, "n t"],
    head: Float[Array, "q t"],
    penalty: Scalar,
    source: Decomposition,
    reach: Decomposition,
) -> Float[Array, "p q"]:
    """The kernel of least `‖x B head - y‖² + penalty ‖B‖²`, with derivatives of any order.

    As `ridge_coefficients`, for kernels between two matrices: one step of a solver that is exact.
    """
    squares = _squared_products(source, reach)

    def onto_kernels(outputs: Array) -> Array:
        return gram_matmul(cross_matmul(x, outputs), head)

    def at_coordinates(coordinates: Array) -> Array:
        return cross_matmul(source.right, matmul(coordinates, reach.right))

    def product(kernel: Array) -> Array:
        return onto_kernels(matmul(matmul(x, kernel), head)) + penalty * kernel

    def solve(_: object, target: Array) -> Array:
        coordinates = gram_matmul(matmul(source.right, target), reach.right)
        solved = at_coordinates(safe_divide(coordinates, squares + penalty))
        return solved + with_ridge(target - at_coordinates(coordinates), penalty)

    known, _ = source.apart(lax.stop_gradient(y))
    said, _ = _within_reach(known, reach)
    share = safe_divide(jnp.sqrt(squares), squares + lax.stop_gradient(penalty))
    value = at_coordinates(share * said)
    missing = onto_kernels(y - matmul(matmul(x, value), head)) - penalty * value
    return with_derivative_of(value, value + lax.custom_linear_solve(product, missing, solve, symmetric=True))
