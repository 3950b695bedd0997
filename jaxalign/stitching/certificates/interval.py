"""What a kernel alignment says about misalignment, given the spectra of both layers: the exact range, both ways."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import as_array, check_floating, describe
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, binary_scale, safe_divide
from jaxalign._core.typing import Array, Float, Scalar

#: By how much an alignment is moved outwards, in units of rounding: small eigenvalues magnify what it was rounded by.
_OUTWARD = 512


def misalignment_interval(
    eig1: Float[Array, "r1"], eig2: Float[Array, "r2"], alignment: Float[Array, "*shape"] | float
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    r"""The least and the largest misalignment that two layers of given spectra and kernel alignment can have.

    With the share $C_{ij}^2$ that direction $i$ of layer 1 has in direction $j$ of layer 2,

    $$\tilde A = \textstyle\sum_j \eta_{2j} \big(1 - \sum_i C_{ij}^2\big), \qquad
      \mathrm{KA} \, \|\eta_1\| \|\eta_2\| = \sum_{ij} \eta_{1i} \eta_{2j} C_{ij}^2$$

    The misalignment is largest when the alignment stems from the directions of layer 1 that are largest, which need
    to explain least for it, and least when it stems from the smallest ones.

    Args:
      eig1: eigenvalues of the second moments of layer 1 (or of its kernel matrix over the number of examples), at
        least 0, in any order; `layer_spectrum` has them. Those that are 0 but for rounding must be 0, or the lower end
        will be below what it could be.
      eig2: the same of layer 2, the one to be reached.
      alignment: kernel alignment, from 0 to the largest that the spectra allow; of any shape. For second moments about
        the mean it is CKA, and the misalignment that of affine maps.

    Returns:
      The two ends, each of the shape of `alignment`, in the units of `eig2`, from 0 to its sum. Rounded outwards: the
      misalignment of the rows that spectra and alignment were computed from is not outside. Both ends are attained
      when there are at least `r1 + r2` examples. Derivatives are those of a piecewise linear function. Alignments
      that cannot be are NaN when they are traced.

    Raises:
      ValueError: for spectra that are no vectors, or negative; for an alignment below 0 or above what spectra allow.
      TypeError: for what is not floating point.

    Example:
      >>> low, high = misalignment_interval(jnp.array([4., 1.]), jnp.array([3., 2.]), 11 / 221**0.5)
      >>> round(float(low), 3), round(float(high), 3)
      (0.0, 2.25)

    Reference:
      Derived for this project; it sharpens remark 5 of Insulla et al. (2025), arXiv:2502.14047.
    """
    eig1, eig2 = _spectra("misalignment_interval", eig1, eig2)
    alignment = as_array("misalignment_interval", "alignment", _as_number(alignment, eig1, eig2))
    check_floating("misalignment_interval", "alignment", alignment)
    _check_possible("misalignment_interval", eig1, eig2, alignment)
    return _interval(eig1, eig2, alignment)


def required_alignment(
    eig1: Float[Array, "r1"], eig2: Float[Array, "r2"], epsilon: Float[Array, "*shape"] | float
) -> Float[Array, "*shape"]:
    r"""The least kernel alignment that guarantees a misalignment of at most `epsilon`, given the spectra.

    The inverse of the upper end of `misalignment_interval`.

    Args:
      eig1: eigenvalues of the second moments of layer 1, as there.
      eig2: those of layer 2, the one to be reached.
      epsilon: misalignment, at least 0, in the units of `eig2`; of any shape.

    Returns:
      Of the shape of `epsilon`, from 0 to the largest alignment of such spectra; infinite where no alignment is enough,
      as when layer 2 has more directions than layer 1. Rounded up, but not beyond the largest alignment, where the
      interval leaves what rounding cannot tell from 0.

    Raises:
      ValueError: for spectra that are no vectors, or negative; for a negative misalignment.
      TypeError: for what is not floating point.

    Example:
      >>> value = required_alignment(jnp.array([4., 1.]), jnp.array([3., 2.]), 2.25)
      >>> round(float(value) * 221**0.5, 2)
      11.0

    Reference:
      Derived for this project.
    """
    eig1, eig2 = _spectra("required_alignment", eig1, eig2)
    epsilon = as_array("required_alignment", "epsilon", _as_number(epsilon, eig1, eig2))
    check_floating("required_alignment", "epsilon", epsilon)
    if not isinstance(epsilon, Tracer) and not bool(np.all(np.asarray(epsilon) >= 0)):
        raise ValueError(f"required_alignment: epsilon must be at least 0, got {np.min(np.asarray(epsilon))}")
    return _required(eig1, eig2, epsilon)


def _as_number(value: Any, eig1: Array, eig2: Array) -> Any:
    """A Python number in the precision of the spectra."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return jnp.asarray(value, accum_dtype(eig1, eig2))
    return value


def _spectra(function: str, eig1: Any, eig2: Any) -> tuple[Array, Array]:
    """Two spectra as arrays.

    Raises:
      ValueError, TypeError: for what is none.
    """
    spectra = []
    for argument, value in (("eig1", eig1), ("eig2", eig2)):
        value = as_array(function, argument, value)
        check_floating(function, argument, value)
        if value.ndim != 1 or value.shape[0] == 0:
            raise ValueError(f"{function}: {argument} must be a vector of eigenvalues, got {describe(value)}")
        if not isinstance(value, Tracer) and bool(np.any(np.asarray(value) < 0)):
            raise ValueError(
                f"{function}: {argument} must hold eigenvalues of at least 0, got {np.min(np.asarray(value))}; set "
                "those to 0 that are negative by rounding"
            )
        spectra.append(value)
    return spectra[0], spectra[1]


def _check_possible(function: str, eig1: Array, eig2: Array, alignment: Array) -> None:
    """Raise when values are known and no two layers of such spectra have such an alignment."""
    if isinstance(alignment, Tracer) or isinstance(eig1, Tracer) or isinstance(eig2, Tracer):
        return
    largest, values = np.asarray(_largest_alignment(eig1, eig2)), np.asarray(alignment)
    tolerance = _OUTWARD * float(jnp.finfo(accum_dtype(eig1, eig2, alignment)).eps)
    wrong = (values < -tolerance) | (values > largest * (1 + tolerance))
    if np.any(wrong):
        raise ValueError(
            f"{function}: alignment must be from 0 to {float(largest):.6g}, the largest of layers with such spectra, "
            f"got {float(values[wrong][0]):.6g}"
        )


@jit()
def _largest_alignment(eig1: Float[Array, "r1"], eig2: Float[Array, "r2"]) -> Scalar:
    """That of layers of which each direction is one of the other, in order of size."""
    a, b, _ = _sorted(eig1, eig2)
    size = min(a.shape[0], b.shape[0])
    return jnp.sum(a[:size] * b[:size])


def _sorted(eig1: Array, eig2: Array) -> tuple[Float[Array, "r1"], Float[Array, "r2"], Scalar]:
    """Spectra in descending order and of norm 1, and the norm of the second."""
    dtype = accum_dtype(eig1, eig2)
    normalized = []
    norm = jnp.zeros((), dtype)
    for eig in (eig1, eig2):
        eig = -jnp.sort(-eig.astype(dtype))
        unit = binary_scale(eig)
        size = jnp.linalg.norm(eig * unit)
        normalized.append(safe_divide(eig * unit, size * jnp.ones_like(eig), otherwise=jnp.nan))
        norm = size / unit
    return normalized[0], normalized[1], norm


@jit()
def _interval(eig1: Array, eig2: Array, alignment: Array) -> tuple[Array, Array]:
    a, b, norm = _sorted(eig1, eig2)
    dtype = accum_dtype(a, b, alignment)
    rounding = _OUTWARD * float(jnp.finfo(dtype).eps)
    alignment = alignment.astype(dtype)
    size = min(a.shape[0], b.shape[0])
    # A direction of size 0 explains nothing: it comes last.
    ascending = jnp.sort(jnp.where(a > 0, a, jnp.inf))
    ascending = jnp.where(jnp.isinf(ascending), 0, ascending)
    high = _left(a[:size], b, alignment * (1 - rounding))
    low = _left(ascending[:size], b, alignment * (1 + rounding))
    possible = (alignment >= -rounding) & (alignment <= jnp.sum(a[:size] * b[:size]) * (1 + rounding))
    few = 8 * float(jnp.finfo(dtype).eps)
    low, high = low * norm * (1 - few), high * norm * (1 + few)
    return jnp.where(possible, low, jnp.nan), jnp.where(possible, high, jnp.nan)


def _left(directions: Float[Array, "r"], b: Float[Array, "s"], alignment: Float[Array, "*shape"]) -> Array:
    """What of `b` is not explained when an alignment is poured into directions one after the other.

    Direction `i` takes up to `directions[i] * b[i]`, and then explains `b[i]`.
    """
    room = directions * b[: directions.shape[0]]
    before = jnp.cumsum(room) - room
    filled = jnp.clip(alignment[..., None] - before.reshape((1,) * alignment.ndim + (-1,)), min=0)
    room, filled = jnp.broadcast_arrays(room.reshape((1,) * alignment.ndim + (-1,)), filled)
    share = jnp.where(filled < room, safe_divide(filled, room), jnp.where(room > 0, 1, 0).astype(room.dtype))
    taken = b[: directions.shape[0]].reshape((1,) * alignment.ndim + (-1,))
    return jnp.sum(taken * (1 - share), axis=-1) + jnp.sum(b[directions.shape[0] :])


@jit()
def _required(eig1: Array, eig2: Array, epsilon: Array) -> Array:
    a, b, norm = _sorted(eig1, eig2)
    dtype = accum_dtype(a, b, epsilon)
    rounding = _OUTWARD * float(jnp.finfo(dtype).eps)
    size = min(a.shape[0], b.shape[0])
    used = a[:size] > 0
    reachable = jnp.where(used, b[:size], 0)
    unreachable = jnp.sum(b[size:]) + jnp.sum(jnp.where(used, 0, b[:size]))
    allowed = epsilon.astype(dtype) / norm
    nothing_needed = allowed >= jnp.sum(b)
    epsilon = (allowed * (1 - 16 * float(jnp.finfo(dtype).eps)))[..., None]
    # What would be left without this direction and those after it.
    left = unreachable + jnp.flip(jnp.cumsum(jnp.flip(reachable)))
    row = (1,) * (epsilon.ndim - 1) + (-1,)
    needed = jnp.minimum(jnp.clip(left.reshape(row) - epsilon, min=0), reachable.reshape(row))
    value = jnp.sum(needed * a[:size].reshape(row), axis=-1) * (1 + 2 * rounding)
    value = jnp.where(nothing_needed, 0, jnp.minimum(value, jnp.sum(a[:size] * b[:size])))
    return jnp.where(unreachable <= epsilon[..., 0] * (1 + rounding), value, jnp.inf)
