"""What a stitched model's outputs cost, example by example.

All have the same form: `loss(outputs, targets)` is a vector with one value for each example, the first axis; over
all other axes values are summed, so over tokens as well (`zero_one` takes their mean). Any function of this form
can be passed wherever a loss can.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax.nn import log_softmax

from jaxalign._core.checks import as_array, check_floating, describe
from jaxalign._core.numerics import accum_dtype, widen
from jaxalign._core.typing import Array, Float, Int

Loss = Callable[[Array, Array], Array]


def squared(outputs: Float[Array, "n *axes d"], targets: Float[Array, "n *axes d"]) -> Float[Array, "n"]:
    r"""Squared error, summed over everything but examples.

    $$\ell_i = \|o_i - y_i\|^2$$

    Args:
      outputs: shape `(n, ...)`.
      targets: the same shape.

    Returns:
      Shape `(n,)`, float32 or wider, at least 0.

    Raises:
      ValueError: when shapes differ, or have no features.
      TypeError: for targets that are not floating point.

    Example:
      >>> squared(jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 0.0]])).tolist()
      [5.0]
    """
    outputs, targets = _outputs("squared", outputs), as_array("squared", "targets", targets)
    check_floating("squared", "targets", targets)
    if outputs.shape != targets.shape:
        raise ValueError(f"squared: targets must have the shape of outputs, {outputs.shape}, got {describe(targets)}")
    dtype = accum_dtype(outputs, targets)
    difference = outputs.astype(dtype) - targets.astype(dtype)
    return _of_examples(difference * difference)


def cross_entropy(
    outputs: Float[Array, "n *axes c"], labels: Int[Array, "n *axes"] | Float[Array, "n *axes c"]
) -> Float[Array, "n"]:
    r"""Cross-entropy of the softmax of logits, in nats.

    $$\ell_i = -\sum_c y_{ic} \log \operatorname{softmax}(o_i)_c$$

    Args:
      outputs: logits, shape `(n, ..., c)`.
      labels: integers from 0 to `c - 1`, shape `(n, ...)`; or probabilities of the classes, shape `(n, ..., c)`.

    Returns:
      Shape `(n,)`, float32 or wider, at least 0; NaN where a label is out of range.

    Raises:
      ValueError: when shapes do not fit.
      TypeError: for labels of floating point that have no axis of classes, or that are boolean.

    Example:
      >>> round(float(cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([1]))[0]), 4)
      0.6931
    """
    outputs, labels = _outputs("cross_entropy", outputs), as_array("cross_entropy", "labels", labels)
    log = log_softmax(widen(outputs), axis=-1)
    if _are_integers("cross_entropy", "labels", labels, outputs):
        in_range = (labels >= 0) & (labels < outputs.shape[-1])
        picked = jnp.take_along_axis(log, jnp.where(in_range, labels, 0)[..., None], axis=-1)[..., 0]
        return _of_examples(jnp.where(in_range, -picked, jnp.nan))
    return _of_examples(-labels.astype(log.dtype) * log)


def kl_divergence(outputs: Float[Array, "n *axes c"], reference: Float[Array, "n *axes c"]) -> Float[Array, "n"]:
    r"""Divergence of the stitched model's predictions from those of a reference, in nats.

    $$\ell_i = \sum_c p_{ic} (\log p_{ic} - \log q_{ic}),\quad p = \operatorname{softmax}(r_i),\;
    q = \operatorname{softmax}(o_i)$$

    Args:
      outputs: logits, shape `(n, ..., c)`.
      reference: logits of the reference, such as the intact model, the same shape.

    Returns:
      Shape `(n,)`, float32 or wider; at least 0 but for rounding.

    Raises:
      ValueError: when shapes differ.
      TypeError: for a reference that is not floating point.

    Example:
      >>> kl_divergence(jnp.array([[1.0, 3.0]]), jnp.array([[0.0, 2.0]])).tolist()
      [0.0]
    """
    outputs, reference = _outputs("kl_divergence", outputs), as_array("kl_divergence", "reference", reference)
    check_floating("kl_divergence", "reference", reference)
    if outputs.shape != reference.shape:
        raise ValueError(
            f"kl_divergence: reference must have the shape of outputs, {outputs.shape}, got {describe(reference)}"
        )
    dtype = accum_dtype(outputs, reference)
    log_q, log_p = (log_softmax(logits.astype(dtype), axis=-1) for logits in (outputs, reference))
    return _of_examples(jnp.exp(log_p) * (log_p - log_q))


def zero_one(
    outputs: Float[Array, "n *axes c"], labels: Int[Array, "n *axes"] | Float[Array, "n *axes c"]
) -> Float[Array, "n"]:
    r"""Whether the prediction is wrong; over tokens, the share that is. For reports: it has no gradient.

    $$\ell_i = [\arg\max_c o_{ic} \ne y_i]$$

    Args:
      outputs: logits, shape `(n, ..., c)`; the first of equal ones is the prediction.
      labels: integers, shape `(n, ...)`; or logits or probabilities, `(n, ..., c)`, whose largest counts.

    Returns:
      Shape `(n,)`, float32 or wider, from 0 to 1.

    Raises:
      ValueError: when shapes do not fit.
      TypeError: for labels of floating point that have no axis of classes, or that are boolean.

    Example:
      >>> zero_one(jnp.array([[0.0, 1.0], [2.0, 1.0]]), jnp.array([1, 1])).tolist()
      [0.0, 1.0]
    """
    outputs, labels = _outputs("zero_one", outputs), as_array("zero_one", "labels", labels)
    right = labels if _are_integers("zero_one", "labels", labels, outputs) else jnp.argmax(labels, axis=-1)
    wrong = jnp.argmax(outputs, axis=-1) != right
    return jnp.mean(wrong.reshape(wrong.shape[0], -1), axis=1, dtype=accum_dtype(outputs))


def _outputs(function: str, outputs: Array) -> Array:
    outputs = as_array(function, "outputs", outputs)
    check_floating(function, "outputs", outputs)
    if outputs.ndim < 2:
        raise ValueError(f"{function}: outputs must have shape (examples, ..., features), got {describe(outputs)}")
    return outputs


def _are_integers(function: str, argument: str, labels: Array, outputs: Array) -> bool:
    """Whether labels name a class; raises unless they do, or weigh all classes, for every prediction."""
    if jnp.issubdtype(labels.dtype, jnp.integer):
        if labels.shape != outputs.shape[:-1]:
            raise ValueError(
                f"{function}: {argument} must have shape {outputs.shape[:-1]}, one for each prediction, "
                f"got {describe(labels)}"
            )
        return True
    if labels.dtype == jnp.bool_ or labels.ndim != outputs.ndim:
        raise TypeError(
            f"{function}: {argument} must be integers of shape {outputs.shape[:-1]}, or floating point of shape "
            f"{outputs.shape}, got {describe(labels)}"
        )
    if labels.shape != outputs.shape:
        raise ValueError(f"{function}: {argument} must have the shape of outputs, {outputs.shape}, got {labels.shape}")
    return False


def _of_examples(values: Array) -> Array:
    """Sums over all axes but the first."""
    return jnp.sum(values, axis=tuple(range(1, values.ndim)))
