"""Alignment over training: of each moment with the end, or with another network at the same moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from jaxalign._core.checks import as_array, check_floating, check_mask, describe, nearest
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.measures import cka
from jaxalign.measures.measure import Measure


def alignment_trajectory(
    path: Any, reference: Any = None, *, measure: Measure | None = None, mask: Bool[Array, "n"] | None = None
) -> Any:
    """How a layer comes to be what it is: its alignment with a reference, at every moment that was kept.

    Without a reference each layer is compared with its own end: with another network of the same or another
    architecture as the reference, one sees whether both come to the same, and whether they do so on the same way.

    Args:
      path: activations over training, `(moments, n, ...)`, all axes after the second being features; or a dictionary
        from layer to these, such as `Recording.activations`.
      reference: what to compare with: `(n, ...)`, the same for every moment (two axes: rows and features); or
        `(moments, n, ...)`, moment by moment; or a dictionary from layer to either, with the layers of `path`; None for
        the last moment of `path`.
      measure: any of `jaxalign.measures`; by default linear CKA.
      mask: shape `(n,)`; `False` rows are padding.

    Returns:
      Scores, shape `(moments,)`, in the range of the measure, or a dictionary from layer to these. Without a
      reference the last score is that of a representation with itself.

    Raises:
      ValueError: for shapes that do not fit, and layers that the reference does not have.
      TypeError: for what is not a floating array, and a measure that is none.

    Example:
      >>> import jax.numpy as jnp
      >>> path = jax.random.normal(jax.random.key(0), (3, 20, 4)).at[1].set(2.0).at[0, :, 0].add(jnp.arange(20.0))
      >>> scores = alignment_trajectory(path)
      >>> scores.shape, round(float(scores[-1]), 3), bool(jnp.isnan(scores[1]))
      ((3,), 1.0, True)

    Reference:
      Made for this project; what it shows is the claim of van Rossem and Saxe (2024), arXiv:2402.09142.
    """
    name = "alignment_trajectory"
    measure = cka() if measure is None else measure
    if not isinstance(measure, Measure):
        raise TypeError(f"{name}: measure must be one of jaxalign.measures, got {describe(measure)}")
    mask = None if mask is None else as_array(name, "mask", mask)
    if not isinstance(path, Mapping):
        return _scores(name, "", path, reference, measure, mask)
    if reference is not None and isinstance(reference, Mapping):
        missing = [layer for layer in path if layer not in reference]
        if missing:
            hint = nearest(missing[0], reference)
            raise ValueError(f"{name}: reference must have the layers of path, got none named {missing[0]!r}{hint}")
    return {
        layer: _scores(
            name,
            f"[{layer!r}]",
            values,
            reference[layer] if isinstance(reference, Mapping) else reference,
            measure,
            mask,
        )
        for layer, values in path.items()
    }


def _scores(name: str, layer: str, path: Any, reference: Any, measure: Measure, mask: Array | None) -> Array:
    path = as_array(name, f"path{layer}", path)
    check_floating(name, f"path{layer}", path)
    if path.ndim < 3 or 0 in path.shape:
        raise ValueError(f"{name}: path{layer} must have shape (moments, rows, features), got {describe(path)}")
    moments, rows = path.shape[:2]
    check_mask(name, mask, rows)
    path = path.reshape(moments, rows, -1)
    if reference is None:
        reference = path[-1]
    else:
        reference = as_array(name, f"reference{layer}", reference)
        check_floating(name, f"reference{layer}", reference)
        if reference.ndim > 2:
            if reference.shape[:2] != (moments, rows):
                raise ValueError(
                    f"{name}: reference{layer} must have {moments} moments and {rows} rows like path, "
                    f"got {describe(reference)}"
                )
            reference = reference.reshape(moments, rows, -1)
        elif reference.ndim != 2 or reference.shape[0] != rows:
            raise ValueError(
                f"{name}: reference{layer} must have shape ({rows}, features), or moments before that, "
                f"got {describe(reference)}"
            )
    return _over_time(measure, path, reference, mask)


@jax.jit
def _over_time(
    measure: Measure, path: Float[Array, "t n p"], reference: Float[Array, "*t n q"], mask: Array | None
) -> Float[Array, "t"]:
    dtype = accum_dtype(path, reference)
    path, reference = path.astype(dtype), reference.astype(dtype)
    of_reference = measure.signature_y or measure.signature
    if reference.ndim == 3:
        return jax.lax.map(
            lambda both: measure.score(measure.signature(both[0], mask), of_reference(both[1], mask)), (path, reference)
        )
    fixed = of_reference(reference, mask)
    return jax.lax.map(lambda x: measure.score(measure.signature(x, mask), fixed), path)
