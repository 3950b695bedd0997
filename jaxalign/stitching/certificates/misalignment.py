"""How far one layer is from what a class of maps makes of another: the quantity in every stitching bound."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxalign._core.checks import as_array, check_choice, check_integer, check_ridge
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import accum_dtype, matmul, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.stitching.low_rank import low_rank
from jaxalign.stitching.maps import LinearStitch
from jaxalign.stitching.regression import least_squares
from jaxalign.stitching.regression import ridge as ridge_regression
from jaxalign.stitching.ridge_path import generalized_cross_validation
from jaxalign.stitching.risk import mean_risk
from jaxalign.stitching.rotation import orthogonal
from jaxalign.stitching.row_split import two_sides
from jaxalign.stitching.rows import check_layers, paired_rows, row_shares

#: Classes of maps with a closed form.
STITCHERS = ("linear", "affine", "ridge", "low_rank", "orthogonal", "scaled_orthogonal", "identity")


@pytree_dataclass
class Misalignment:
    """How far a class of maps comes from the target layer, and how much of that is known; `float()` is the value.

    Attributes:
      value: mean over examples of the squared distance, summed over everything an example has: of tokens and pixels it
        is their number times the mean over them, which is what bounds on a head of all of them need.
      standard_error: of the value, for the map as it is. In sample it does not see that the map was fitted to these
        rows: below about 500 examples of few features it is too small.
      variance: the value of mapping everything to one point (to 0 for linear maps).
      stitch: the map that comes nearest; of a penalty, that of least error plus penalty.
      loo: each row left out of the fit that maps it (PRESS); infinite where a row cannot be spared, NaN without a
        closed form.
      gcv: `value / (1 - degrees of freedom / n)²`, generalized cross-validation; for linear maps with a penalty it is
        KARE of the target layer. NaN where degrees of freedom are not known, and held out.
      optimism: by what factor rows not seen are worse than rows fitted on, for Gaussian inputs and a map without
        penalty; infinite for too few rows, NaN for other maps and held out.
      in_sample: whether it is of the rows that the map was fitted to.
    """

    value: Scalar
    standard_error: Scalar
    variance: Scalar
    stitch: LinearStitch
    loo: Scalar
    gcv: Scalar
    optimism: Scalar
    in_sample: Bool[Array, ""]

    def __float__(self) -> float:
        return float(self.value)

    @property
    def rank(self) -> Int[Array, ""]:
        """Of the source layer, as the fit saw it; see `LinearStitch`."""
        return self.stitch.rank

    @property
    def condition(self) -> Scalar:
        """Of the source layer, as the fit saw it; see `LinearStitch`."""
        return self.stitch.condition

    @property
    def normalized(self) -> Scalar:
        """`value / variance`; for affine least squares `1 - R²`."""
        return safe_divide(self.value, self.variance, otherwise=jnp.nan)

    @property
    def freedom_ratio(self) -> Scalar:
        """Degrees of freedom for one row; NaN where they are not known."""
        return self.stitch.degrees_of_freedom / self.stitch.examples

    @property
    def degenerate(self) -> Bool[Array, ""]:
        """Whether it says next to nothing: in sample with more than one degree of freedom for two rows, or NaN."""
        return (self.in_sample & self.stitch.overfit) | ~jnp.isfinite(self.value) | ~(self.variance > 0)


def misalignment(
    z1: Float[Array, "*rows p"],
    z2: Float[Array, "*rows q"],
    *,
    stitcher: str = "linear",
    ridge: float | Scalar = 0.0,
    rank: int | None = None,
    center: bool | None = None,
    held_out: float | Int[Array, "m"] | Bool[Array, "n"] | None = None,
    key: Array | int | None = None,
    mask: Bool[Array, "*rows"] | None = None,
    weights: Float[Array, "*rows"] | None = None,
) -> Misalignment:
    r"""How far the best map of a class leaves one layer from another: what stitching between them can lose.

    $$\tilde A = \min_{s \in \mathcal S} \textstyle\sum_i w_i \|s(z_{1i}) - z_{2i}\|^2, \qquad \sum_i w_i = 1$$

    | `stitcher` | value, with second moments $\Sigma$ |
    |---|---|
    | `"linear"`, `"affine"` | $\mathrm{tr}\Sigma_{22} - \mathrm{tr}(\Sigma_{21}\Sigma_{11}^{+}\Sigma_{12})$ |
    | `"ridge"` | $\mathrm{tr}(B K_2 B) / n$, $B = \lambda (K_1 / n + \lambda)^{-1}$ |
    | `"low_rank"` | $\mathrm{tr}\Sigma_{22} - \sum_{i \le k} \sigma_i^2(U_1^\top Z_2) / n$ |
    | `"orthogonal"` | $\mathrm{tr}\Sigma_{11} + \mathrm{tr}\Sigma_{22} - 2 \lVert\Sigma_{12}\rVert_*$ |
    | `"scaled_orthogonal"` | $\mathrm{tr}\Sigma_{22} - \lVert\Sigma_{12}\rVert_*^2 / \mathrm{tr}\Sigma_{11}$ |
    | `"identity"` | $\sum_i w_i \lVert z_{1i} - z_{2i}\rVert^2$ |

    Linear maps go with kernel alignment, affine ones, `"affine"` or `center=True`, with CKA: there $\Sigma$ is about
    the mean. It is computed from residuals, not as these differences.

    Args:
      z1: activations of the layer to go on from: rows `(n, p)`, tokens `(b, t, p)` or feature maps `(b, h, w, p)`.
      z2: the layer to reach, same examples in the same order.
      stitcher: one of the table.
      ridge: λ, for `"ridge"` and `"low_rank"`, added to second moments of `z1`, in the square of its units: the
        `alpha` of scikit-learn over the number of rows.
      rank: k, for `"low_rank"`.
      center: map the mean to the mean; False by default but for `"affine"`.
      held_out: the share of examples to measure on, drawn with `key`; or their numbers, or a mask of them. The map is
        fitted to the others. None measures on the rows fitted to.
      key: a PRNG key, or an integer to make one from; with a share held out.
      mask: `True` for what counts, one for each example or each row; the others may hold any value.
      weights: at least 0, likewise; only their ratios matter.

    Returns:
      A `Misalignment`. From singular vectors, so that small values have digits in float32: four of them down to 1e-6 of
      the variance, where what small directions of `z1` explain is small as well; where these carry as much of `z2` as
      the largest, the relative error is about 1e-14 times the squared condition over that ratio. The first derivative
      is that of the envelope theorem, $2 w_i e_i$ with respect to $z_{2i}$, for all but `"ridge"`, and right for all;
      higher ones as `least_squares` and others have them. For `p > q`, orthogonal maps are into `z2` filled up with
      features that are 0; what the map returns is nearer. NaN where nothing counts or weights are negative. Each
      token and pixel counts as a row of its own for `loo`, `gcv`, `optimism` and `degenerate`, and so does a row that
      is there twice: where rows depend on one another these are too good. Not for use inside `jit` with `held_out`.

    Raises:
      ValueError: for layers that are not paired, another stitcher, settings that do not belong to it, widths that
        differ for `"identity"`, rows that cannot be held out.
      TypeError: on non-floating input.

    Warns:
      UninformativeWarning: with fewer than two rows a feature, in sample and without a penalty: the value is then far
        below that of rows not seen, and 0 with fewer rows than features.

    Example:
      >>> z1 = jnp.array([[1., 0.], [0., 1.], [2., 1.], [-1., 1.], [0., -2.]])
      >>> z2 = jnp.array([[1., 1., 0.], [0., 2., 1.], [3., 1., -1.], [-1., 0., 2.], [0., -1., 1.]])
      >>> round(float(misalignment(z1, z2)), 4), round(float(misalignment(z1, z2, stitcher="affine")), 4)
      (1.4146, 0.4434)

    Reference:
      Section 4 of Insulla et al. (2025), arXiv:2502.14047; the forms of ridge, rank k and rotations, GCV as KARE and
      the optimism factor were derived for this project.
    """
    z1, z2 = as_array("misalignment", "z1", z1), as_array("misalignment", "z2", z2)
    check_layers("misalignment", z1, z2, names=("z1", "z2"))
    center = _checked("misalignment", stitcher, ridge, rank, center, z1, z2)
    mask = None if mask is None else as_array("misalignment", "mask", mask)
    weights = None if weights is None else as_array("misalignment", "weights", weights)
    if isinstance(held_out, (int, float)) and held_out == 0:
        held_out = None
    fit_to = measure_on = mask
    if held_out is not None:
        fit_to, measure_on = split_masks("misalignment", z2.shape[:-1], held_out, key, mask)
    stitch = fit_stitch(z1, z2, stitcher=stitcher, ridge=ridge, rank=rank, center=center, mask=fit_to, weights=weights)
    return _measured(
        stitch, z1, z2, stitcher=stitcher, center=center, mask=measure_on, weights=weights, in_sample=held_out is None
    )


def _checked(function: str, stitcher: str, ridge: Any, rank: Any, center: bool | None, z1: Array, z2: Array) -> bool:
    """Whether maps have a bias; raises for settings that do not fit together."""
    check_choice(function, "stitcher", stitcher, STITCHERS)
    check_ridge(function, ridge)
    given = not (isinstance(ridge, (int, float)) and ridge == 0)
    if given and stitcher not in ("ridge", "low_rank"):
        raise ValueError(f"{function}: ridge belongs to stitcher='ridge' or 'low_rank', got stitcher={stitcher!r}")
    if stitcher == "ridge" and not given:
        raise ValueError(f"{function}: stitcher='ridge' needs ridge=, a positive number; without one it is 'linear'")
    if (rank is None) == (stitcher == "low_rank"):
        raise ValueError(f"{function}: rank and stitcher='low_rank' go together, got rank={rank}, {stitcher=}")
    if rank is not None:
        check_integer(function, "rank", rank, minimum=1)
    if stitcher == "identity" and z1.shape != z2.shape:
        raise ValueError(
            f"{function}: stitcher='identity' needs layers of one shape, got {tuple(z1.shape)} and {tuple(z2.shape)}"
        )
    if stitcher == "affine":
        if center is False:
            raise ValueError(f"{function}: stitcher='affine' maps means to means; for center=False take 'linear'")
        return True
    return bool(center)


def split_masks(
    function: str, lead: tuple[int, ...], held_out: Any, key: Any, mask: Array | None
) -> tuple[Bool[Array, "*rows"], Bool[Array, "*rows"]]:
    """Which rows to fit to and which to measure on, of those that count.

    Args:
      function: for the message.
      lead: axes of the rows, the examples first.
      held_out: as in `misalignment`.
      key: likewise.
      mask: which examples or rows count.
    """
    if key is None and isinstance(held_out, (int, float)):
        raise ValueError(f"{function}: a share held out is drawn at random and needs key=; or give the rows' numbers")
    counted = np.ones(lead[:1], bool) if mask is None else np.asarray(mask)
    examples = counted.reshape(lead[0], -1).any(axis=1)
    _, rows = two_sides(function, lead[0], held_out, examples, None if key is None else as_key(function, key))
    reported = np.zeros(lead[0], bool)
    reported[rows] = True
    reported = reported.reshape(-1, *(1,) * (counted.ndim - 1))
    return jnp.asarray(counted & ~reported), jnp.asarray(counted & reported)


def fit_stitch(
    z1: Array,
    z2: Array,
    *,
    stitcher: str,
    ridge: float | Scalar,
    rank: int | None,
    center: bool,
    mask: Array | None,
    weights: Array | None,
) -> LinearStitch:
    """The map of a class that comes nearest."""
    if stitcher in ("linear", "affine"):
        return least_squares(z1, z2, affine=center, mask=mask, weights=weights)
    if stitcher == "ridge":
        return ridge_regression(z1, z2, penalty=ridge, affine=center, mask=mask, weights=weights)
    if stitcher == "low_rank":
        assert rank is not None
        return low_rank(z1, z2, rank=rank, penalty=ridge, affine=center, mask=mask, weights=weights)
    if stitcher == "identity":
        return _identity(z1, z2, center=center, mask=mask, weights=weights)
    return orthogonal(z1, z2, scale=stitcher == "scaled_orthogonal", affine=center, mask=mask, weights=weights)


@partial(jax.jit, static_argnames=("center",))
def _identity(z1: Array, z2: Array, *, center: bool, mask: Array | None, weights: Array | None) -> LinearStitch:
    """Features as they are, but for the mean."""
    rows, grid = paired_rows("misalignment", z1, z2, affine=center, mask=mask, weights=weights)
    kernel = jnp.eye(rows.x.shape[1], dtype=rows.x.dtype) * (rows.y_unit / rows.x_unit)
    residuals = rows.y - rows.x * (rows.y_unit / rows.x_unit)
    freedom = jnp.asarray(1 if center else 0, rows.x.dtype)
    return rows.stitch(
        kernel,
        jnp.sum(residuals * residuals),
        rank=jnp.int32(rows.x.shape[1]),
        condition=jnp.ones((), rows.x.dtype),
        degrees_of_freedom=freedom,
        grid=grid,
    )


@partial(jax.jit, static_argnames=("stitcher", "center", "in_sample"))
def _measured(
    stitch: LinearStitch,
    z1: Array,
    z2: Array,
    *,
    stitcher: str,
    center: bool,
    mask: Array | None,
    weights: Array | None,
    in_sample: bool,
) -> Misalignment:
    """What is known of a map on the rows that count."""
    lead, dtype = z2.shape[:-1], accum_dtype(z1, z2)
    shares = row_shares("misalignment", lead, dtype, mask=mask, weights=weights).reshape(lead)
    used = shares > 0
    of_head = (*(1,) * len(lead), -1)
    targets = jnp.where(used[..., None], z2.astype(dtype), 0)
    distances = jnp.where(used[..., None], stitch(z1) - targets, 0)
    squares = jnp.sum(distances * distances, axis=-1)
    if z1.shape[-1] > z2.shape[-1] and stitcher in ("orthogonal", "scaled_orthogonal"):
        squares = squares + jnp.where(used, _filled_up(stitch, z1), 0)
    spread = jnp.where(used[..., None], targets - stitch.value_at_center.reshape(of_head), 0)

    rows_an_example = rows_per_example(shares)
    risk = mean_risk(*of_examples(squares, shares))
    error = rows_an_example * stitch.error
    exact = in_sample and not (z1.shape[-1] > z2.shape[-1] and "orthogonal" in stitcher)
    counted, freedom = stitch.examples, stitch.degrees_of_freedom
    nothing = jnp.asarray(jnp.nan, dtype)
    generalized = generalized_cross_validation(error, counted - freedom, counted)
    free = stitcher in ("linear", "affine") and in_sample
    return Misalignment(
        # The fit knows small errors to more digits than its map has.
        value=error if exact else risk.value,
        standard_error=risk.standard_error,
        variance=rows_an_example * jnp.sum(shares[..., None] * spread * spread),
        stitch=stitch,
        loo=rows_an_example * stitch.loo_error,
        gcv=jnp.where(jnp.isnan(freedom), nothing, generalized) if in_sample else nothing,
        optimism=gaussian_optimism(counted, stitch.rank.astype(dtype), center) if free else nothing,
        in_sample=jnp.asarray(in_sample),
    )


@jax.jit
def misalignment_of_map(mapped: Array, z2: Array, shares: Float[Array, "n"]) -> Misalignment:
    """That of a map that is given, from what it makes of the other layer; only the value and its error are known."""
    dtype = accum_dtype(mapped, z2)
    used = (shares > 0).reshape(-1, *(1,) * (z2.ndim - 1))
    targets = jnp.where(used, z2.astype(dtype), 0)
    mean = jnp.tensordot(shares, targets, axes=1, precision=lax.Precision.HIGHEST)
    distances, spread = (
        jnp.sum(jnp.where(used, v, 0).reshape(v.shape[0], -1) ** 2, axis=1)
        for v in (mapped.astype(dtype) - targets, targets - mean[None])
    )
    risk = mean_risk(distances, shares)
    nothing = jnp.asarray(jnp.nan, dtype)
    unknown = LinearStitch.of(jnp.full((0, z2.shape[-1]), jnp.nan, dtype), jnp.full(z2.shape[-1], jnp.nan, dtype))
    return Misalignment(
        value=risk.value,
        standard_error=risk.standard_error,
        variance=jnp.sum(shares * spread),
        stitch=unknown,
        loo=nothing,
        gcv=nothing,
        optimism=nothing,
        in_sample=jnp.asarray(False),
    )


def rows_per_example(shares: Float[Array, "n *rows"]) -> Scalar:
    """What a weighted mean over rows has to be multiplied by to be one over examples, of sums over their rows.

    How many rows that count an example has that does; where they have different numbers, the weighted mean of these.
    """
    weights, _ = _example_weights(shares)
    return safe_divide(jnp.ones((), shares.dtype), jnp.sum(weights), otherwise=jnp.nan)


def of_examples(
    values: Float[Array, "n *rows"], shares: Float[Array, "n *rows"]
) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
    """Sums over the rows of an example, and the weights of examples; rows that do not count are 0 in both."""
    values, rows = values.reshape(values.shape[0], -1), shares.reshape(shares.shape[0], -1)
    weights, counts = _example_weights(shares)
    sums = counts * safe_divide(jnp.sum(values * rows, axis=1), jnp.sum(rows, axis=1))
    return sums, weights * rows_per_example(shares)


def _example_weights(shares: Float[Array, "n *rows"]) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
    """The mean weight of the rows of each example that count, and how many these are."""
    rows = shares.reshape(shares.shape[0], -1)
    counts = jnp.sum(rows > 0, axis=1, dtype=rows.dtype)
    return safe_divide(jnp.sum(rows, axis=1), counts), counts


def gaussian_optimism(n: Scalar, d: Scalar, center: bool) -> Scalar:
    """Expected error of Gaussian rows not seen over that of those fitted to, for least squares on `d` features."""
    if center:
        fitted, new, least = 1 - (d + 1) / n, (n + 1) * (n - 2) / n, n - d - 2
    else:
        fitted, new, least = 1 - d / n, n - 1, n - d - 1
    known = least > 0
    return jnp.where(known, new / jnp.where(known, least * fitted, 1), jnp.inf)


def _filled_up(stitch: LinearStitch, z1: Array) -> Float[Array, "*rows"]:
    """Squared length that rows keep in the features that the target was filled up with."""
    dtype = stitch.kernel.dtype
    kernel = stitch.kernel
    factor = safe_sqrt(jnp.sum(kernel * kernel) / kernel.shape[1])
    rotation = safe_divide(kernel, factor * jnp.ones_like(kernel))
    z1 = z1.astype(dtype) - stitch.center.reshape((1,) * (z1.ndim - 1) + (-1,))
    beyond = (z1 - matmul(matmul(z1, rotation), rotation.T)) * factor
    return jnp.sum(beyond * beyond, axis=-1)
