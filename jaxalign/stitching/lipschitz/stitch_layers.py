"""Constants of the stitching maps of this package."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.stitching.affine import Affine, Conv1x1
from jaxalign.stitching.lipschitz.activations import activation_constant
from jaxalign.stitching.lipschitz.layers import NAME, Flow, matrix_bound, weights
from jaxalign.stitching.lipschitz.norms import UNIT, norm_of, product_up, sum_up
from jaxalign.stitching.lipschitz.result import LayerBound
from jaxalign.stitching.maps import LinearStitch
from jaxalign.stitching.nonlinear_modules import MLP, Residual
from jaxalign.stitching.permutation_module import Permutation
from jaxalign.stitching.restricted_modules import LowRank, Orthogonal

Bounded = tuple[LayerBound, Flow]


def _affine(module: Affine, flow: Flow) -> Bounded:
    return matrix_bound(weights(module.kernel, flow.where), flow, type(module).__name__)


def _on_grid(module: Any, flow: Flow) -> Bounded:
    """A matrix over channels, behind a change of the grid if there is one."""
    linear, after = matrix_bound(weights(module.kernel, flow.where), flow, type(module).__name__)
    grid = module.grid
    if grid is None:
        return linear, after
    if flow.shape is None or len(flow.shape) != 3:
        raise ValueError(
            f"{NAME}: layer {flow.where} ({linear.kind}) resizes feature maps to {grid}; pass input_shape, "
            f"(h, w, channels), got {flow.shape}"
        )
    scale = 1.0 if flow.shape[:2] == grid else product_up(*map(_interpolation_norm, flow.shape[:2], grid))
    resized = LayerBound(scale, f"resize {flow.shape[0]}x{flow.shape[1]} -> {grid[0]}x{grid[1]}")
    value = product_up(float(linear.constant), scale)
    return LayerBound(value, linear.kind, parts=(resized, linear)), Flow.of((*grid, int(after.features or 0)))


def _interpolation_norm(size: int, target: int) -> float:
    """Of linear interpolation on one axis. Its weights are at least 0, so that larger ones have a larger norm."""
    matrix = np.asarray(jax.image.resize(jnp.eye(size, dtype=jnp.float32), (target, size), "linear", antialias=True))
    return norm_of(np.where(matrix != 0, np.abs(matrix.astype(np.float64)) * (1 + 1e-5) + 1e-7, 0))


def _low_rank(module: LowRank, flow: Flow) -> Bounded:
    down, up = weights(module.down, flow.where), weights(module.up, flow.where)
    bound, after = matrix_bound(down @ up, flow, "LowRank")
    rounding = 2 * UNIT * (down.shape[1] + 2) * float(np.linalg.norm(down) * np.linalg.norm(up))
    return LayerBound(sum_up(float(bound.constant), rounding), bound.kind), after


def _orthogonal(module: Orthogonal, flow: Flow) -> Bounded:
    """The matrix it starts from; the rotation of that has norm 1 whatever its parameters."""
    scale = 1.0 if module.scale is None else abs(float(weights(module.scale, flow.where)))
    bound, after = matrix_bound(weights(module.start, flow.where), flow, "Orthogonal")
    return LayerBound(product_up(float(bound.constant), scale), bound.kind), after


def _permutation(module: Permutation, flow: Flow) -> Bounded:
    """The passes of Sinkhorn's algorithm in float64; entries that are not below the true ones have a norm not below."""
    log = weights(module.logits, flow.where) / module.temperature
    for axis in [1, 0] * module.iterations:
        largest = np.max(log, axis=axis, keepdims=True)
        log = log - largest - np.log(np.sum(np.exp(log - largest), axis=axis, keepdims=True))
    return matrix_bound(np.exp(log) * (1 + 1e-9), flow, "Permutation")


def _mlp(module: MLP, flow: Flow) -> Bounded:
    parts, now = [], flow
    for depth, kernel in enumerate(module.kernels):
        if depth:
            found = activation_constant(NAME, module.activation, now.features)
            if found is None:
                raise TypeError(
                    f"{NAME}: layer {flow.where} (MLP) has an activation that is not known, {module.activation!r}; "
                    "pass a list of its kernels and given(activation, constant)"
                )
            parts.append(LayerBound(found[1], found[0]))
        part, now = matrix_bound(weights(kernel, flow.where), now, "Linear")
        parts.append(part)
    value = product_up(*(float(part.constant) for part in parts))
    note = ""
    if module.skip is not None:
        skip, _ = matrix_bound(weights(module.skip, flow.where), flow, "skip")
        value, note = sum_up(value, float(skip.constant)), "the product of the others, plus skip"
        parts.append(skip)
    return LayerBound(value, "MLP", exact=False, note=note, parts=tuple(parts)), now


def _residual(module: Residual, flow: Flow) -> Bounded:
    base, after = _affine(module.base, flow)
    branch, _ = _mlp(module.branch, flow)
    value = sum_up(float(base.constant), float(branch.constant))
    return LayerBound(value, "Residual", exact=False, note="sum of its parts", parts=(base, branch)), after


RULES: dict[type, Any] = {
    Affine: _affine,
    Conv1x1: _on_grid,
    LowRank: _low_rank,
    Orthogonal: _orthogonal,
    Permutation: _permutation,
    MLP: _mlp,
    Residual: _residual,
    LinearStitch: _on_grid,
}
