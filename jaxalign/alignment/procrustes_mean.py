"""The mean of many representations, up to rotation: generalised Procrustes analysis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import as_array, check_choice, check_integer, check_mask, check_rows
from jaxalign._core.numerics import accum_dtype, cross_matmul, matmul, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.alignment.rotations import nearest_rotation, pad_last
from jaxalign.signatures.shaped import SCALES, ShapeSignature


@pytree_dataclass
class ProcrustesMean:
    """The mean of representations, and where each lies.

    Attributes:
      mean: `(n, d)`, centered, with the width `d` of the widest representation.
      aligned: the representations, centered, scaled, padded with zero features, and rotated to the mean.
      distances: `(L,)`, the `procrustes_distance` of each from the mean.
    """

    mean: Float[Array, "n d"]
    aligned: tuple[Float[Array, "n d"], ...]
    distances: Float[Array, "L"]


def procrustes_mean(
    representations: Sequence[Float[Array, "n _d"]],
    *,
    scale: str = "unit",
    steps: int = 20,
    mask: Bool[Array, "n"] | None = None,
) -> ProcrustesMean:
    r"""Procrustes mean: the representation with the least sum of squared Procrustes distances from several others.

    $$\min_M \sum_l d^2(X_l, M) = \min_{M, Q_1, \dots, Q_L} \sum_l \|X_l Q_l - M\|_F^2$$

    of centered inputs, with orthogonal $Q_l$; narrow inputs count as if they had zero features more. All are rotated to
    the mean, and the mean is taken anew, in turn, from the first one on. The sum never grows on the way, and ends in a
    minimum that may be a local one. The mean of two lies halfway.

    Args:
      representations: activations, shapes `(n, d_l)`, of the same examples in the same order.
      scale: `"unit"` takes shapes of Frobenius norm 1, and the mean among these; `"raw"` size and shape, in the units
        of the inputs.
      steps: how often the mean is taken, at least 1.
      mask: shape `(n,)`; `False` rows are padding, may hold any value, and are 0 in the result.

    Returns:
      A `ProcrustesMean`, with the orientation of the first representation, about. All of it is NaN when one of them is
      constant. The gradient is that for fixed rotations.

    Raises:
      ValueError: at trace time, for no representations, one that has no rows like the first, an unknown scale, or no
        steps.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[0., 1.], [1., 0.], [2., 2.]])
      >>> found = procrustes_mean([x, 3 * x[:, ::-1] + 1, x[:, :1]])
      >>> found.mean.shape, [round(float(d), 4) for d in found.distances]
      ((3, 2), [0.2156, 0.2156, 0.4394])

    Reference:
      Gower (1975), Generalized Procrustes analysis; of representations: Williams et al. (2021), arXiv:2110.14739.
    """
    function = "procrustes_mean"
    check_choice(function, "scale", scale, SCALES)
    check_integer(function, "steps", steps, minimum=1)
    if not len(representations):
        raise ValueError(f"{function}: representations must hold at least one, got none")
    layers = [as_array(function, f"representations[{i}]", x) for i, x in enumerate(representations)]
    for i, x in enumerate(layers):
        check_rows(function, x, argument=f"representations[{i}]")
        if x.shape[0] != layers[0].shape[0]:
            raise ValueError(
                f"{function}: representations[{i}] must have {layers[0].shape[0]} rows like the first, got {x.shape[0]}"
            )
    mask = None if mask is None else as_array(function, "mask", mask)
    check_mask(function, mask, layers[0].shape[0])
    return _procrustes_mean(layers, mask, scale=scale, steps=steps)


@partial(jax.jit, static_argnames=("scale", "steps"))
def _procrustes_mean(layers: list[Array], mask: Array | None, *, scale: str, steps: int) -> ProcrustesMean:
    dtype, width = accum_dtype(*layers), max(x.shape[1] for x in layers)
    made = [ShapeSignature(scale)(pad_last(x.astype(dtype), width), mask) for x in layers]
    shapes = jnp.stack([shape.rows for shape in made])
    constant = jnp.any(jnp.stack([shape.size == 0 for shape in made]))

    def aligned_to(mean: Float[Array, "n d"]) -> Float[Array, "L n d"]:
        return lax.map(lambda shape: matmul(shape, nearest_rotation(cross_matmul(shape, mean))), shapes)

    def mean_of(aligned: Float[Array, "L n d"]) -> Float[Array, "n d"]:
        mean = jnp.mean(aligned, axis=0)
        # Of all shapes of norm 1 the nearest to those aligned has the direction of their mean.
        return safe_divide(mean, safe_sqrt(jnp.sum(mean * mean))) if scale == "unit" else mean

    start = lax.stop_gradient(shapes[0])
    mean = lax.fori_loop(1, steps, lambda _, mean: lax.stop_gradient(mean_of(aligned_to(mean))), start)
    aligned = aligned_to(mean)
    mean = mean_of(aligned)
    aligned = aligned_to(lax.stop_gradient(mean))
    found = ProcrustesMean(mean, tuple(aligned), safe_sqrt(jnp.sum((aligned - mean[None]) ** 2, axis=(1, 2))))
    return jax.tree.map(lambda leaf: jnp.where(constant, jnp.nan, leaf), found)
