"""A sharper bound on the risk of a stitched model, from what the layer explains of errors and of changes."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp

from jaxalign._core.least_squares import decompose
from jaxalign._core.numerics import widen
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.stitching.rows import paired_rows


def sharpened_bound(
    z2: Array, intact: Array, stitched: Array, targets: Array, shares: Float[Array, "n"], *, center: bool
) -> float:
    r"""`R₂ + disc² + 2 (|ε_in| |Δ_in| + |ε_out| |Δ_out|)` for outputs that are rows; else NaN.

    Errors ε of the intact model and the changes Δ that stitching makes are split into what is a linear function of the
    layer and what is not, which are orthogonal. By Cauchy and Schwarz it is not above `(√R₂ + disc)²`. A head that is
    the least-squares fit to its targets has no error of the first kind: then only the part of the change counts that
    no linear function of the layer makes up for. Derived for this project.

    Args:
      z2: the layer that the head reads, `(n, q)`.
      intact: outputs of the head on it.
      stitched: outputs of the stitched model.
      targets: numbers of the shape of the outputs.
      shares: weights of the examples, of sum 1.
      center: whether linear functions have a bias.
    """
    if z2.ndim != 2 or intact.ndim != 2 or targets.shape != intact.shape:
        return math.nan
    return float(_bound(z2, intact, stitched, targets, shares, center=center))


@partial(jax.jit, static_argnames=("center",))
def _bound(z2: Array, intact: Array, stitched: Array, targets: Array, shares: Array, *, center: bool) -> Scalar:
    intact = widen(intact)
    errors, changes = targets.astype(intact.dtype) - intact, widen(stitched) - intact
    outputs = errors.shape[1]
    both = jnp.concatenate([errors, changes], axis=1)
    rows, _ = paired_rows("certificate", z2, both, affine=center, mask=None, weights=shares)
    known, beyond = decompose(rows.x).apart(rows.y)

    def parts(columns: slice) -> tuple[Scalar, Scalar]:
        """Root mean squares of what the layer explains, the mean included, and of the rest."""
        inside = jnp.sum(known[:, columns] ** 2) / rows.y_unit**2 + jnp.sum(rows.y_mean[columns] ** 2)
        return jnp.sqrt(inside), jnp.sqrt(jnp.sum(beyond[:, columns] ** 2)) / rows.y_unit

    error_in, error_out = parts(slice(None, outputs))
    change_in, change_out = parts(slice(outputs, None))
    squares = error_in**2 + error_out**2 + change_in**2 + change_out**2
    return squares + 2 * (error_in * change_in + error_out * change_out)
