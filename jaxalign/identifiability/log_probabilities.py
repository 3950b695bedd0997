"""Log-probabilities of a model, and what of them does not depend on how the model is written down."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxalign._core.checks import as_array, check_choice, check_floating, check_mask, check_matrix, describe
from jaxalign._core.jit import jit
from jaxalign._core.linalg import numerical_rank_mask
from jaxalign._core.numerics import binary_scale, gram_matmul, mask_rows, widen
from jaxalign._core.typing import Array, Bool, Float, Int
from jaxalign.identifiability.arguments import as_indices, check_models, raise_for_infinite


@jit()
def log_probs(
    f: Float[Array, "n m"], g: Float[Array, "c m"], *, bias: Float[Array, "c"] | None = None
) -> Float[Array, "n c"]:
    r"""Log-probabilities of labels from embeddings of inputs and unembeddings of labels.

    $$\log p(y \mid x) = f(x)^\top g(y) + b_y - \log \textstyle\sum_{y'} \exp(f(x)^\top g(y') + b_{y'})$$

    Args:
      f: embeddings, shape `(n, m)`; row `i` is input `i`.
      g: unembeddings, shape `(c, m)`; row `j` is label `j`. The weight of a linear layer of torch; the transpose of
        a kernel of Flax.
      bias: of the head, shape `(c,)`. It counts as one more dimension: `(f, 1)` and `(g, b)` are the same model.

    Returns:
      Shape `(n, c)`, at most 0, float32 or wider.

    Raises:
      ValueError: at trace time, when widths differ.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> f = jnp.array([[1., 0.]])
      >>> g = jnp.array([[0., 0.], [1., 0.], [0., 1.]])
      >>> [round(float(p), 4) for p in jnp.exp(log_probs(f, g))[0]]
      [0.2119, 0.5761, 0.2119]

    Reference:
      The model family of Nielsen et al. (2025), arXiv:2506.03784; with a bias derived for this project.
    """
    check_matrix("log_probs", "f", f)
    check_matrix("log_probs", "g", g)
    if f.shape[1] != g.shape[1]:
        raise ValueError(
            f"log_probs: f and g must have the same number of columns, got {describe(f)} and {describe(g)}"
        )
    logits = gram_matmul(f, g)
    if bias is not None:
        bias = as_array("log_probs", "bias", bias)
        check_floating("log_probs", "bias", bias)
        if bias.shape != (g.shape[0],):
            raise ValueError(f"log_probs: bias must have shape ({g.shape[0]},), got {describe(bias)}")
        logits = logits + bias.astype(logits.dtype)[None, :]
    return jax.nn.log_softmax(logits, axis=1)


@jit()
def centered_logits(logp: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None) -> Float[Array, "n c"]:
    r"""Centered logits (the centered log-ratio): log-probabilities minus their mean over labels.

    $$u(x)_y = \log p(y \mid x) - \tfrac1c \textstyle\sum_{y'} \log p(y' \mid x) = f(x)^\top (g(y) - \bar g)$$

    Args:
      logp: logits or log-probabilities, shape `(n, c)`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      Shape `(n, c)`, rows of sum 0, and 0 for padding. For a model of dimension m, of rank m (m + 1 with a bias). NaN
      in rows with minus infinity.

    Raises:
      ValueError: at trace time, on wrong shapes.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> [float(u) for u in centered_logits(jnp.array([[0., 1., 5.]]))[0]]
      [-2.0, -1.0, 3.0]

    Reference:
      Aitchison (1982), The statistical analysis of compositional data.
    """
    check_matrix("centered_logits", "logp", logp)
    check_mask("centered_logits", mask, logp.shape[0])
    rows = mask_rows(widen(logp), mask)
    rows = rows - rows[:, :1]  # exact where they are large and close together
    return rows - jnp.mean(rows, axis=1, keepdims=True)


def log_odds(
    logp: Float[Array, "n c"], *, label_pivot: int | Int[Array, ""], labels: Int[Array, "s"]
) -> Float[Array, "n s"]:
    r"""Log-odds of labels against a pivot: $\log p(y_j \mid x) - \log p(y_0 \mid x) = f(x)^\top (g(y_j) - g(y_0))$.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`.
      label_pivot: $y_0$, in `0..c-1`.
      labels: $y_j$, shape `(s,)`.

    Returns:
      Shape `(n, s)`: embeddings up to the linear map $L^\top$, which is all that probabilities know of them. The same
      for all labels as for any subset of them that holds these.

    Raises:
      ValueError: at trace time, on wrong shapes.
      TypeError: at trace time, on non-floating input, or indices that are not integers.

    Example:
      >>> log_odds(jnp.array([[0., 1., 5.]]), label_pivot=1, labels=jnp.array([0, 2])).tolist()
      [[-1.0, 4.0]]

    Reference:
      Nielsen et al. (2025), arXiv:2506.03784.
    """
    logp = as_array("log_odds", "logp", logp)
    check_matrix("log_odds", "logp", logp)
    pivot = as_indices("log_odds", "label_pivot", label_pivot, logp.shape[1], shape=())
    chosen = as_indices("log_odds", "labels", labels, logp.shape[1])
    return widen(jnp.take(logp, chosen, axis=1)) - widen(jnp.take(logp, pivot, axis=1))[:, None]


def log_ratios(
    logp: Float[Array, "n c"], *, input_pivot: int | Int[Array, ""], inputs: Int[Array, "s"]
) -> Float[Array, "c s"]:
    r"""Log-ratios of inputs against a pivot, for each label: $\log p(y \mid x_i) - \log p(y \mid x_0)$, centered.

    They are $(f(x_i) - f(x_0))^\top g(y)$ minus the mean over labels.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`.
      input_pivot: $x_0$, in `0..n-1`.
      inputs: $x_i$, shape `(s,)`.

    Returns:
      Shape `(c, s)`, columns of sum 0: unembeddings up to the linear map $N^\top$ and a constant vector.

    Raises:
      ValueError: at trace time, on wrong shapes.
      TypeError: at trace time, on non-floating input, or indices that are not integers.

    Example:
      >>> log_ratios(jnp.array([[0., 1., 5.], [0., 0., 0.]]), input_pivot=1, inputs=jnp.array([0])).tolist()
      [[-2.0], [-1.0], [3.0]]

    Reference:
      Nielsen et al. (2025), arXiv:2506.03784; the constant is taken off here.
    """
    logp = as_array("log_ratios", "logp", logp)
    check_matrix("log_ratios", "logp", logp)
    pivot = as_indices("log_ratios", "input_pivot", input_pivot, logp.shape[0], shape=())
    chosen = as_indices("log_ratios", "inputs", inputs, logp.shape[0])
    differences = widen(jnp.take(logp, chosen, axis=0)) - widen(jnp.take(logp, pivot, axis=0))[None, :]
    return (differences - jnp.mean(differences, axis=1, keepdims=True)).T


def finite_labels(
    logp: Float[Array, "n c"], logp2: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None
) -> Int[Array, "s"]:
    """Labels to which both models give a finite log-probability for every input.

    What is left out by `top-k` or by a mask over the vocabulary is minus infinity, of which no log-odds can be taken.
    Not for use inside `jit`: how many there are depends on values.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`.
      logp2: those of the other model, same inputs and labels.
      mask: shape `(n,)`; `False` rows do not count.

    Returns:
      Shape `(s,)`, in ascending order; for `take_labels`, for both models.

    Raises:
      ValueError: on wrong shapes.
      TypeError: on non-floating input, and for values that are traced.

    Example:
      >>> p = jnp.array([[0., 1., -jnp.inf], [0., 2., 1.]])
      >>> finite_labels(p, p).tolist()
      [0, 1]
    """
    name = "finite_labels"
    logp, logp2 = as_array(name, "logp", logp), as_array(name, "logp2", logp2)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_models(name, logp, logp2, mask)
    if isinstance(logp, Tracer) or isinstance(logp2, Tracer):
        raise TypeError(f"{name}: values must be known, got traced ones; call it outside jit")
    finite = jnp.isfinite(logp) & jnp.isfinite(logp2)
    if mask is not None:
        finite = finite | ~mask[:, None]
    return jnp.flatnonzero(jnp.all(finite, axis=0)).astype(jnp.int32)


def take_labels(
    logp: Float[Array, "n c"], labels: Int[Array, "s"], *, policy: str = "conditional"
) -> Float[Array, "n s"]:
    r"""A model on some of its labels only.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`.
      labels: which, shape `(s,)`.
      policy: `"conditional"`: probabilities given that the label is one of these, which sum to 1. `"rest"`: one more
        column, the last, holds the log-probability of all others together. Log-odds of these labels are the same for
        both; log-probabilities, and with them `llv_distance` and `kl_divergence`, are not.

    Returns:
      Log-probabilities, shape `(n, s)`, or `(n, s + 1)`. With `"rest"`, the last column is minus infinity where
      nothing is left over.

    Raises:
      ValueError: on wrong shapes, labels that do not exist, or an unknown policy.
      TypeError: on non-floating input.

    Example:
      >>> p = jnp.log(jnp.array([[0.5, 0.25, 0.25]]))
      >>> [round(float(v), 4) for v in jnp.exp(take_labels(p, jnp.array([0, 1])))[0]]
      [0.6667, 0.3333]
    """
    name = "take_labels"
    check_choice(name, "policy", policy, ("conditional", "rest"))
    logp = as_array(name, "logp", logp)
    check_matrix(name, "logp", logp)
    chosen = as_indices(name, "labels", labels, logp.shape[1])
    return _take_labels(logp, chosen, policy=policy)


@jit(static=("policy",))
def _take_labels(logp: Float[Array, "n c"], labels: Int[Array, "s"], *, policy: str) -> Float[Array, "n s"]:
    rows = widen(logp)
    kept = jnp.take(rows, labels, axis=1)
    if policy == "conditional":
        return jax.nn.log_softmax(kept, axis=1)
    others = jnp.ones(rows.shape[1], bool).at[labels].set(False)
    rest = jax.nn.logsumexp(jnp.where(others[None, :], rows, -jnp.inf), axis=1)
    return jax.nn.log_softmax(jnp.concatenate([kept, rest[:, None]], axis=1), axis=1)


@jit()
def _centered_singular_values(logp: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None) -> Float[Array, "r"]:
    u = centered_logits(logp, mask=mask)
    scale = binary_scale(u)
    return jnp.linalg.svd(u * scale, compute_uv=False) / scale


def directions_seen(
    s: Float[Array, "r"], logp: Float[Array, "n c"], mask: Bool[Array, "n"] | None = None
) -> Bool[Array, "r"]:
    """Which singular values of the centered logits are more than rounding, of these and of what they were made of."""
    n, c = logp.shape
    largest = jnp.max(jnp.abs(mask_rows(widen(logp), mask)))
    rounding = (math.sqrt(n) + math.sqrt(c)) * float(jnp.finfo(s.dtype).eps) * largest
    return numerical_rank_mask(s, (n, c), s.dtype) & ~(s <= rounding)


def recovered_rank(
    logp: Float[Array, "n c"], *, tolerance: float | None = None, mask: Bool[Array, "n"] | None = None
) -> Int[Array, ""]:
    """The dimension of a model, from its log-probabilities alone: the rank of the centered logits.

    For a model of dimension m it is m, or m + 1 when its head has a bias; less when embeddings or unembeddings do not
    span their space. Log-probabilities that were rounded (half precision, top-k) have full rank: give m yourself.

    Args:
      logp: logits or log-probabilities, shape `(n, c)`.
      tolerance: singular values above this share of the largest count; by default what rounding explains.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      An integer scalar, at most `min(n, c - 1)`.

    Raises:
      ValueError: on wrong shapes, and for values that are known not to be finite.
      TypeError: on non-floating input.

    Example:
      >>> f = jnp.array([[1., 0.], [0., 1.], [2., 1.], [1., -1.]])
      >>> g = jnp.array([[0., 0.], [1., 0.], [0., 1.], [1., 2.]])
      >>> int(recovered_rank(log_probs(f, g))), int(recovered_rank(log_probs(f, g, bias=jnp.array([0., 1., 0., 3.]))))
      (2, 3)

    Reference:
      Derived for this project from the identities of Nielsen et al. (2025), arXiv:2506.03784.
    """
    name = "recovered_rank"
    logp = as_array(name, "logp", logp)
    check_matrix(name, "logp", logp)
    mask = None if mask is None else as_array(name, "mask", mask)
    check_mask(name, mask, logp.shape[0])
    raise_for_infinite(name, mask, logp=logp)
    s = _centered_singular_values(logp, mask=mask)
    counted = directions_seen(s, logp, mask) if tolerance is None else s > tolerance * jnp.max(s)
    # Rows have sum 0: one direction less than labels, whatever rounding says.
    return jnp.minimum(jnp.sum(counted, dtype=jnp.int32), jnp.int32(logp.shape[1] - 1))
