"""Pairs of models that show what distances between distributions and representations do not see in one another."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, check_integer, check_matrix, check_positive, describe
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import widen
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Float, Int, Scalar
from jaxalign.identifiability.log_probabilities import log_probs
from jaxalign.identifiability.sets import Sets

#: Permutations that are not multiplications: of seven labels the authors', of six the one of least correlation.
PERMUTATIONS = {6: (0, 2, 4, 1, 5, 3), 7: (5, 0, 2, 4, 6, 1, 3)}


@pytree_dataclass
class ModelPair:
    """Two models of the same inputs and labels.

    Attributes:
      f: embeddings of the first, `(n, m)`.
      g: unembeddings of the first, `(c, m)`.
      f2: embeddings of the other.
      g2: unembeddings of the other.
      labels: of the inputs, `(n,)`, where they have one.
    """

    f: Float[Array, "n m"]
    g: Float[Array, "c m"]
    f2: Float[Array, "n p"]
    g2: Float[Array, "c p"]
    labels: Int[Array, "n"] | None = None

    def log_probs(self) -> tuple[Float[Array, "n c"], Float[Array, "n c"]]:
        """Of both models."""
        return log_probs(self.f, self.g), log_probs(self.f2, self.g2)


@pytree_dataclass
class LogProbsPair:
    """Log-probabilities `(n, c)` of two models, and sets of labels and inputs on which they show what they are for."""

    logp: Float[Array, "n c"]
    logp2: Float[Array, "n c"]
    sets: Sets


def cluster_permutation(classes: int) -> tuple[int, ...]:
    """Which place on the circle each label goes to in `permuted_clusters`, with embeddings that correlate least.

    Odd numbers of labels go to twice their place, even ones to the least multiple that makes a permutation other than
    a rotation or reflection; both have canonical correlations of 0. Seven have that of the authors (`2k + 5`), six the
    one of the least mean correlation, 1/6: with six labels 0 cannot be had.

    Raises:
      ValueError, TypeError: for fewer than 5 labels: centers of 3 are always linear images of one another, of 4
        they correlate by 1/2 at least.

    Example:
      >>> cluster_permutation(5), cluster_permutation(7)
      ((0, 2, 4, 1, 3), (5, 0, 2, 4, 6, 1, 3))
    """
    check_integer("cluster_permutation", "classes", classes, minimum=5)
    if classes in PERMUTATIONS:
        return PERMUTATIONS[classes]
    factor = next(a for a in range(2, classes - 1) if math.gcd(a, classes) == 1)
    return tuple(factor * k % classes for k in range(classes))


def permuted_clusters(
    key: Array | int,
    *,
    norm: float | Scalar,
    classes: int = 7,
    per_class: int = 500,
    jitter: float | Scalar = math.pi / 64,
    length: float | Scalar = 2.0,
    spread: float | Scalar = 0.01,
    permutation: Any = None,
) -> ModelPair:
    r"""Two models that become one distribution as unembeddings grow, with representations that have nothing in common.

    Inputs $(k, i)$ of label $k$ lie on a circle, at the angle $\theta_k + \eta_{k,i}$ with $\theta_k = 2\pi k/K$, and
    unembeddings at $\theta_k$. The second model has whole clusters exchanged, with their unembeddings:
    $\theta_{\pi(k)} + \eta_{\pi(k),i}$ and $\theta_{\pi(k)}$. Both predict the label; the divergence falls like
    $\rho r \exp(-\rho r (1 - \cos(2\pi/K)))$, `llv_distance` and `identifiability_distance` stay, `logit_distance`
    grows.

    Args:
      key: `jax.random.key(0)` or an integer.
      norm: ρ, length of the unembeddings.
      classes: K, number of labels, at least 5; at least 2 where a permutation is given.
      per_class: inputs of each label.
      jitter: angles η are uniform between minus and plus this; 0 for none.
      length: r, length of the embeddings, plus the magnitude of a normal number times `spread`.
      spread: as said; 0 for none.
      permutation: π; by default `cluster_permutation(classes)`.

    Returns:
      A `ModelPair` of `classes * per_class` inputs, sorted by label, in 2 dimensions. With jitter and spread 0 the
      canonical correlations are exactly 0 for permutations by `cluster_permutation`, six labels excepted.

    Raises:
      ValueError, TypeError: for numbers out of range, and what is not a permutation.

    Example:
      >>> pair = permuted_clusters(0, norm=20.0, per_class=1, jitter=0.0, spread=0.0)
      >>> p, q = (jnp.exp(logp) for logp in pair.log_probs())
      >>> round(float(jnp.abs(p - q).max()), 4)
      0.0

    Reference:
      The construction behind theorem 3.1 of Nielsen et al. (2025), arXiv:2506.03784, as for table 1 in the authors'
      code. Other numbers of labels than 7, and the form of the permutation, were derived for this project.
    """
    name = "permuted_clusters"
    check_integer(name, "classes", classes, minimum=5 if permutation is None else 2)
    check_integer(name, "per_class", per_class, minimum=1)
    check_positive(name, "norm", norm)
    check_positive(name, "length", length)
    places = cluster_permutation(classes) if permutation is None else tuple(int(k) for k in permutation)
    if sorted(places) != list(range(classes)):
        raise ValueError(f"{name}: permutation must hold each of 0..{classes - 1} once, got {places}")
    for_angles, for_lengths = jax.random.split(as_key(name, key))
    dtype = jnp.zeros(()).dtype
    theta = 2 * math.pi * jnp.arange(classes, dtype=dtype) / classes
    order = jnp.asarray(places, jnp.int32)
    eta = jnp.asarray(jitter, dtype) * jax.random.uniform(for_angles, (classes, per_class), dtype, -1, 1)
    radius = jax.random.normal(for_lengths, (classes, per_class), dtype)
    radius = jnp.asarray(length, dtype) + jnp.abs(jnp.asarray(spread, dtype) * radius)

    def on_circle(angles: Array) -> Array:
        return jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)

    def embeddings(angles: Array) -> Array:
        return (radius[:, :, None] * on_circle(angles)).reshape(-1, 2)

    angles = theta[:, None] + eta
    size = jnp.asarray(norm, dtype)
    return ModelPair(
        f=embeddings(angles),
        g=size * on_circle(theta),
        f2=embeddings(angles[order]),
        g2=size * on_circle(theta[order]),
        labels=jnp.repeat(jnp.arange(classes, dtype=jnp.int32), per_class),
    )


def opposite_rotations(
    f: Float[Array, "n m"], g: Float[Array, "c m"], *, angle: float | Scalar = math.pi / 2
) -> ModelPair:
    r"""A model, and the same with embeddings turned one way and unembeddings the other, in the first two dimensions.

    Canonical correlations of embeddings, and of unembeddings, are all 1. Logits become $f^\top R(-2\alpha) g$: at a
    right angle and in two dimensions their negatives, so that the least likely label becomes the most likely one.

    Args:
      f: embeddings, shape `(n, m)` with `m >= 2`.
      g: unembeddings, shape `(c, m)`.
      angle: α in radians.

    Returns:
      A `ModelPair`.

    Raises:
      ValueError, TypeError: for what are not two matrices of the same width, at least 2.

    Example:
      >>> pair = opposite_rotations(jnp.array([[1., 0.]]), jnp.array([[1., 0.], [0., 1.], [-1., 0.]]))
      >>> [int(jnp.argmax(logp)) for logp in pair.log_probs()]
      [0, 2]

    Reference:
      Derived for this project.
    """
    name = "opposite_rotations"
    f, g = as_array(name, "f", f), as_array(name, "g", g)
    check_matrix(name, "f", f)
    check_matrix(name, "g", g)
    if f.shape[1] != g.shape[1] or f.shape[1] < 2:
        raise ValueError(
            f"{name}: f and g must have the same number of columns, at least 2, got {describe(f)} and {describe(g)}"
        )

    def turned(x: Array, sign: float) -> Array:
        x = widen(x)
        turn = sign * jnp.asarray(angle, x.dtype)
        one, other = x[:, :1], x[:, 1:2]
        cosine, sine = jnp.cos(turn), jnp.sin(turn)
        return jnp.concatenate([cosine * one - sine * other, sine * one + cosine * other, x[:, 2:]], axis=1)

    return ModelPair(widen(f), widen(g), turned(f, 1.0), turned(g, -1.0))


def at_temperature(logp: Float[Array, "n c"], temperature: float | Scalar) -> Float[Array, "n c"]:
    """A model at another temperature: `identifiability_distance` from it is 0, `llv_distance` is not.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`.
      temperature: T > 0; logits are divided by it.

    Returns:
      Log-probabilities, shape `(n, c)`.

    Raises:
      ValueError, TypeError: for a temperature that is not positive, and what is not a matrix.

    Example:
      >>> [round(float(p), 4) for p in jnp.exp(at_temperature(jnp.log(jnp.array([[0.8, 0.2]])), 2.0))[0]]
      [0.6667, 0.3333]

    Reference:
      Derived for this project.
    """
    check_positive("at_temperature", "temperature", temperature)
    logp = as_array("at_temperature", "logp", logp)
    check_matrix("at_temperature", "logp", logp)
    rows = widen(logp)
    return jax.nn.log_softmax(rows / jnp.asarray(temperature, rows.dtype), axis=1)


def with_bias(logp: Float[Array, "n c"], bias: Float[Array, "c"]) -> Float[Array, "n c"]:
    """A model whose head has other biases: `identifiability_distance` from it is 0, `llv_distance` is not.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`.
      bias: what is added to the logits, shape `(c,)`.

    Returns:
      Log-probabilities, shape `(n, c)`; their centered logits have one dimension more, see `recovered_rank`.

    Raises:
      ValueError, TypeError: for shapes that do not fit.

    Example:
      >>> [round(float(p), 4) for p in jnp.exp(with_bias(jnp.zeros((1, 2)), jnp.log(jnp.array([3., 1.]))))[0]]
      [0.75, 0.25]

    Reference:
      Derived for this project.
    """
    logp, bias = as_array("with_bias", "logp", logp), as_array("with_bias", "bias", bias)
    check_matrix("with_bias", "logp", logp)
    if bias.shape != (logp.shape[1],):
        raise ValueError(f"with_bias: bias must have shape ({logp.shape[1]},), got {describe(bias)}")
    rows = widen(logp)
    return jax.nn.log_softmax(rows + bias.astype(rows.dtype)[None, :], axis=1)


def tightness_pair(eps: float, *, m: int = 1) -> LogProbsPair:
    r"""Two models for which $d_f = 2 \epsilon^2$ with $T_1 = \epsilon$: `llv_bound_tight` is attained.

    Args:
      eps: ε, above 0 and at most `1 / sqrt(2 m)`: 0.7071 in one dimension, 0.5 in two.
      m: dimension, 1 (4 inputs, 3 labels) or 2 (8 inputs, 4 labels).

    Returns:
      A `LogProbsPair`; inputs of the sets are arbitrary, as only $T_1$ and $d_f$ are meant.

    Raises:
      ValueError, TypeError: for numbers out of range.

    Example:
      >>> tightness_pair(0.5).logp.shape
      (4, 3)

    Reference:
      Derived for this project.
    """
    check_integer("tightness_pair", "m", m, minimum=1)
    check_positive("tightness_pair", "eps", eps)
    if m > 2 or eps > 1 / math.sqrt(2 * m) + 1e-12:
        raise ValueError(f"tightness_pair: m must be 1 or 2, and eps at most 1 / sqrt(2m), got m={m} and eps={eps}")
    signs = np.array([[(-1.0) ** (row >> bit & 1) for bit in range(m + 1)] for row in range(2 ** (m + 1))])
    own, free = signs[:, :m], signs[:, m]
    delta = eps**2 * own.sum(axis=1) + math.sqrt(max(eps**2 - m * eps**4, 0.0)) * free

    def model(pivot: np.ndarray, columns: np.ndarray) -> Array:
        known = np.column_stack([pivot, columns])
        return jnp.asarray(np.column_stack([known, np.log1p(-np.exp(known).sum(axis=1))]), jnp.zeros(()).dtype)

    return LogProbsPair(
        logp=model(np.full(len(signs), -3.0), own - 3),
        logp2=model(delta - 3, own - delta[:, None] - 3),
        sets=Sets(
            label_pivot=jnp.int32(0),
            labels=jnp.arange(1, m + 1, dtype=jnp.int32),
            input_pivot=jnp.int32(0),
            inputs=jnp.arange(1, m + 1, dtype=jnp.int32),
            left_out=jnp.int32(m + 1),
        ),
    )
