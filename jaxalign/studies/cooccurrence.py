"""How often two events occur together, and the kernel of their pointwise mutual information."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import as_array, check_choice, check_integer, check_positive, check_ridge, describe
from jaxalign._core.numerics import matmul
from jaxalign._core.typing import Array, Float, Int

REACHES = ("euclidean", "chebyshev")
SHIFTS = ("constant", "diagonal")


def cooccurrence(
    events: Int[Array, "..."],
    *,
    reach: float,
    metric: str = "euclidean",
    size: int | None = None,
    itself: bool = False,
) -> Int[Array, "m m"]:
    r"""How often each two events are near one another, in a sequence, an image or an array of more axes.

    $$C_{ab} = |\{(t, t') : e_t = a,\ e_{t'} = b,\ d(t, t') \le r\}|$$

    over ordered pairs of places $t$ and $t'$, so that the counts are symmetric and a pair of twice the same event
    counts twice. Near an edge there are fewer pairs.

    Args:
      events: what is at each place, integers from 0: `(n,)` a sequence, `(height, width)` an image of colors.
      reach: r, the greatest distance of two places, positive; of a sequence the window to either side.
      metric: of places, `"euclidean"` or `"chebyshev"`, the greatest step along an axis; the same in a sequence.
      size: m, how many events there are; by default one more than the greatest. Must be given under `jit`.
      itself: whether a place makes a pair with itself, as in the window of the paper, which raises the diagonal.

    Returns:
      Counts `(m, m)`, int32.

    Raises:
      ValueError: for no events, events out of range and a reach that is not positive.
      TypeError: for events that are no integers, and without `size` under `jit`.

    Example:
      >>> cooccurrence(np.array([0, 1, 1, 2]), reach=1).tolist()
      [[0, 1, 0], [1, 2, 1], [0, 1, 0]]

    Reference:
      The window is that of Huh et al. (2024), arXiv:2405.07987, section 4.1.
    """
    name = "cooccurrence"
    events = as_array(name, "events", events)
    if not jnp.issubdtype(events.dtype, jnp.integer):
        raise TypeError(f"{name}: events must be integers, got {describe(events)}")
    if 0 in events.shape or events.ndim == 0:
        raise ValueError(f"{name}: events must not be empty, got {describe(events)}")
    check_positive(name, "reach", reach)
    check_choice(name, "metric", metric, REACHES)
    size = _size(name, events, size)
    return _count(events, _steps(events.shape, reach, metric), size, itself)


def pmi_kernel(
    joint: Float[Array, "m m"] | Int[Array, "m m"], *, smoothing: float = 0.0, positive: bool = False
) -> Float[Array, "m m"]:
    r"""Pointwise mutual information of each two events.

    $$K_{ab} = \log \frac{P(a, b)}{P(a)\, P(b)},\quad P(a, b) = \frac{C_{ab} + \alpha}{\sum (C + \alpha)},\quad
    P(a) = \sum_b P(a, b)$$

    Args:
      joint: C, how often each two events occur together, or their probability; symmetric, not negative. A scale
        common to all does not matter without smoothing.
      smoothing: $\alpha$, added to each entry: to counts as if each pair had been seen so many times more.
      positive: whether what is below 0 becomes 0 (PPMI).

    Returns:
      The kernel `(m, m)`, of the type of `joint` or the default one for counts. Minus infinity where events never
      occur together and there is no smoothing, 0 with `positive`. Under `jit`, where values cannot be looked at,
      NaN in rows and columns of events that never occur.

    Raises:
      ValueError: for what is not square, negative, not finite or not symmetric, and for events that never occur.

    Example:
      >>> pmi_kernel(np.array([[3.0, 1.0], [1.0, 3.0]])).round(3).tolist()
      [[0.40..., -0.69...], [-0.69..., 0.40...]]

    Reference:
      Huh et al. (2024), arXiv:2405.07987, section 4.2. Positive: Levy and Goldberg (2014), Neural Word Embedding as
      Implicit Matrix Factorization.
    """
    check_ridge("pmi_kernel", smoothing, argument="smoothing")
    joint = as_joint("pmi_kernel", joint, smoothing=smoothing)
    kernel = _information(joint)
    return jnp.maximum(kernel, jnp.zeros_like(kernel)) if positive else kernel


def psd_shift(kernel: Float[Array, "m m"], *, along: str = "constant") -> Float[Array, ""]:
    r"""The smallest number that makes a kernel positive semi-definite when it is added.

    $$\min \{c : K + c\, 1 1^\top \succeq 0\}\quad\text{or}\quad \min \{c : K + c\, I \succeq 0\} = -\lambda_{\min}(K)$$

    A constant added to all entries changes nothing on vectors that sum to 0. With $u = 1 / \sqrt m$ and $H = I - u
    u^\top$ it can only help if $B = HKH$ is positive semi-definite and $b = HKu$ in its range, and then (by Schur
    complement, ours) $c = (b^\top B^+ b - u^\top K u) / m$.

    Args:
      kernel: K, symmetric and finite; its symmetric part is taken.
      along: `"constant"`, what is added to every entry, or `"diagonal"`.

    Returns:
      A scalar, negative where something may even be taken off; infinite where no constant will do.

    Raises:
      ValueError: for what is not square, or not finite.

    Example:
      >>> float(psd_shift(np.array([[0.0, -1.0], [-1.0, 0.0]]), along="constant"))
      0.5

    Reference:
      That a constant is enough for kernels with small entries off the diagonal: Huh et al. (2024), arXiv:2405.07987,
      appendix on contrastive learning.
    """
    check_choice("psd_shift", "along", along, SHIFTS)
    kernel = _as_kernel("psd_shift", kernel)
    return _smallest_shift(kernel, along)


def pmi_embedding(
    kernel: Float[Array, "m m"], dim: int | None = None, *, shift: float | Float[Array, ""] = 0.0
) -> Float[Array, "m d"]:
    r"""Vectors whose inner products are a kernel, by its eigenvectors: what a contrastive learner should find.

    $$f = V_d \max(\Lambda_d, 0)^{1/2},\quad K + c\, 1 1^\top = V \Lambda V^\top$$

    Args:
      kernel: K, symmetric and finite; its symmetric part is taken.
      dim: d, how many of the largest eigenvalues; all by default.
      shift: c, such as that of `psd_shift`.

    Returns:
      Vectors `(m, d)`, axes by falling eigenvalue: $f f^\top$ is the kernel if that is positive semi-definite and d
      large enough, else the closest to it of all kernels that are, of rank d, in squared entries.

    Raises:
      ValueError: for what is not square or not finite, and more dimensions than events.

    Example:
      >>> pmi_embedding(np.array([[4.0, 0.0], [0.0, 1.0]])).shape
      (2, 2)

    Reference:
      Levy and Goldberg (2014), Neural Word Embedding as Implicit Matrix Factorization, in its symmetric form.
    """
    kernel = _as_kernel("pmi_embedding", kernel)
    dim = kernel.shape[0] if dim is None else dim
    check_integer("pmi_embedding", "dim", dim, minimum=1)
    if dim > kernel.shape[0]:
        raise ValueError(f"pmi_embedding: dim must be at most {kernel.shape[0]}, the number of events, got {dim}")
    return _eigenvectors(kernel, jnp.asarray(shift, kernel.dtype))[:, :dim]


def kernel_agreement(a: Float[Array, "m m"], b: Float[Array, "m m"]) -> tuple[Array, Array]:
    """Cosine of two kernels after centering (CKA), and Pearson correlation of their entries off the diagonal."""
    cosine = _cosine(*(k - jnp.mean(k, 0)[None, :] - jnp.mean(k, 1)[:, None] + jnp.mean(k) for k in (a, b)))
    rows, columns = np.triu_indices(a.shape[0], 1)
    off = (k[rows, columns] for k in (a, b))
    return cosine, _cosine(*(entries - jnp.mean(entries) for entries in off))


def gram(embedding: Float[Array, "m d"]) -> Float[Array, "m m"]:
    """Inner products of rows."""
    return matmul(embedding, embedding.T)


def as_joint(function: str, joint: Any, *, smoothing: float = 0.0) -> Float[Array, "m m"]:
    """Counts or probabilities of pairs, checked and smoothed, as floating point.

    Raises:
      ValueError: for what is not square, negative, not finite or not symmetric, and for events that never occur.
    """
    joint = as_array(function, "joint", joint)
    if joint.ndim != 2 or joint.shape[0] != joint.shape[1] or 0 in joint.shape:
        raise ValueError(f"{function}: joint must have shape (events, events), got {describe(joint)}")
    if not isinstance(joint, Tracer):
        _check_values(function, np.asarray(joint, float), smoothing)
    joint = joint if jnp.issubdtype(joint.dtype, jnp.floating) else joint.astype(jnp.result_type(float))
    return joint + jnp.asarray(smoothing, joint.dtype)


def _check_values(function: str, joint: np.ndarray, smoothing: Any) -> None:
    if not np.isfinite(joint).all():
        raise ValueError(f"{function}: joint must be finite, got NaN or infinity")
    if (joint < 0).any():
        raise ValueError(f"{function}: joint must not be negative, got {joint.min():g}")
    difference = np.abs(joint - joint.T).max()
    if difference > 1e-5 * joint.max():
        raise ValueError(f"{function}: joint must be symmetric, got entries that differ by {difference:g}")
    zeros = np.flatnonzero(joint.sum(axis=1) == 0)
    if len(zeros) and not isinstance(smoothing, Tracer) and smoothing == 0:
        raise ValueError(
            f"{function}: joint must have no row of zeros, an event that never occurs, unless smoothed; "
            f"got zeros in row(s) {', '.join(map(str, zeros[:8]))}"
        )


def _as_kernel(function: str, kernel: Any) -> Float[Array, "m m"]:
    kernel = as_array(function, "kernel", kernel)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or 0 in kernel.shape:
        raise ValueError(f"{function}: kernel must have shape (events, events), got {describe(kernel)}")
    kernel = kernel if jnp.issubdtype(kernel.dtype, jnp.floating) else kernel.astype(jnp.result_type(float))
    if not isinstance(kernel, Tracer) and not np.isfinite(np.asarray(kernel)).all():
        raise ValueError(f"{function}: kernel must be finite, got NaN or infinity; smooth the counts")
    return (kernel + kernel.T) / 2


def _size(function: str, events: Array, size: int | None) -> int:
    if isinstance(events, Tracer):
        if size is None:
            raise TypeError(f"{function}: size must be known when it is compiled, got None for traced events")
        check_integer(function, "size", size, minimum=1)
        return size
    least, most = int(jnp.min(events)), int(jnp.max(events))
    if least < 0:
        raise ValueError(f"{function}: events must be at least 0, got {least}")
    if size is None:
        return most + 1
    check_integer(function, "size", size, minimum=1)
    if most >= size:
        raise ValueError(f"{function}: events must be below size={size}, got {most}")
    return size


def _steps(shape: tuple[int, ...], reach: float, metric: str) -> tuple[tuple[int, ...], ...]:
    """From a place to those within reach, one of each two opposite steps."""
    most = [min(math.floor(reach), n - 1) for n in shape]
    steps = itertools.product(*(range(-m, m + 1) for m in most))
    ahead = (step for step in steps if step > (0,) * len(shape))
    return tuple(step for step in ahead if metric == "chebyshev" or sum(s * s for s in step) <= reach**2)


def _cosine(a: Array, b: Array) -> Array:
    return jnp.sum(a * b) / jnp.sqrt(jnp.sum(a * a) * jnp.sum(b * b))


@partial(jax.jit, static_argnums=(1, 2, 3))
def _count(events: Array, steps: tuple[tuple[int, ...], ...], size: int, itself: bool) -> Int[Array, "m m"]:
    counts = jnp.zeros(size * size, jnp.int32)
    for step in steps:
        both = tuple(zip(step, events.shape, strict=True))
        one = events[tuple(slice(max(-s, 0), n - max(s, 0)) for s, n in both)]
        other = events[tuple(slice(max(s, 0), n + min(s, 0)) for s, n in both)]
        counts = counts.at[jnp.ravel(one) * size + jnp.ravel(other)].add(1)
    counts = counts.reshape(size, size)
    counts = counts + counts.T
    return counts + jnp.diag(jnp.zeros(size, jnp.int32).at[jnp.ravel(events)].add(1)) if itself else counts


@jax.jit
def _information(joint: Float[Array, "m m"]) -> Float[Array, "m m"]:
    total = jnp.log(jnp.sum(joint))
    marginal = jnp.log(jnp.sum(joint, axis=1))
    return jnp.log(joint) + total - (marginal[:, None] + marginal[None, :])


@jax.jit
def _eigenvectors(kernel: Float[Array, "m m"], shift: Array) -> Float[Array, "m m"]:
    values, vectors = jnp.linalg.eigh(kernel + shift)
    roots = jnp.sqrt(jnp.maximum(values, jnp.zeros_like(values)))
    return jnp.flip(vectors * roots[None, :], axis=1)


@partial(jax.jit, static_argnums=1)
def _smallest_shift(kernel: Float[Array, "m m"], along: str) -> Float[Array, ""]:
    if along == "diagonal":
        return -jnp.linalg.eigvalsh(kernel)[0]
    m = kernel.shape[0]
    means = jnp.mean(kernel, axis=1)
    level = jnp.mean(means)
    centered = kernel - means[:, None] - means[None, :] + level
    values, vectors = jnp.linalg.eigh(centered)
    across = jnp.sum(vectors * (math.sqrt(m) * (means - level))[:, None], axis=0)
    smallest = 10 * m * jnp.finfo(kernel.dtype).eps * jnp.max(jnp.abs(jnp.linalg.eigvalsh(kernel)))
    inside = values > smallest
    possible = jnp.all(values >= -smallest) & jnp.all(inside | (jnp.abs(across) <= smallest))
    needed = jnp.sum(jnp.where(inside, across**2 / jnp.where(inside, values, jnp.ones_like(values)), 0)) / m - level
    return jnp.where(possible, needed, jnp.full_like(needed, jnp.inf))
