"""Outputs of classifiers: how often two of them predict the same, and what is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType

import jax.numpy as jnp

from jaxalign._core.checks import check_pair, check_rows, describe
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, safe_divide
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.alignment.pairs import score_pairs
from jaxalign.signatures.outputs import Predictions, PredictionSignature


def check_classes(function: str, classes_x: int, classes_y: int) -> None:
    """Raise unless two outputs are about the same classes."""
    if classes_x != classes_y:
        raise ValueError(
            f"{function}: x and y must have one column for each class, the same in both, "
            f"got {classes_x} and {classes_y} columns"
        )


def _disagreement(x: Predictions, y: Predictions) -> Scalar:
    return x.share(x.classes != y.classes)


def _kappa(x: Predictions, y: Predictions) -> Scalar:
    by_chance = jnp.sum(x.shares * y.shares)
    return safe_divide(x.share(x.classes == y.classes) - by_chance, 1 - by_chance, otherwise=jnp.nan)


#: By the name of the function.
AGREEMENTS: Mapping[str, Callable[[Predictions, Predictions], Scalar]] = MappingProxyType(
    {"disagreement": _disagreement, "cohen_kappa": _kappa}
)


@pytree_dataclass
class PredictionScore:
    """How often two classifiers predict the same.

    Attributes:
      agreement: one of `AGREEMENTS`.
    """

    agreement: str = field(metadata={"static": True})

    def __call__(self, x: Predictions, y: Predictions) -> Scalar:
        """The score of one pair."""
        check_classes(self.agreement, x.shares.shape[0], y.shares.shape[0])
        return jnp.where(x.defined & y.defined, AGREEMENTS[self.agreement](x, y), jnp.nan)

    def matrix(self, a: Sequence[Predictions], b: Sequence[Predictions] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        return score_pairs(self, a, b, symmetric=True)


def _prediction_score(function: str, x: Array, y: Array, mask: Array | None) -> Scalar:
    check_pair(function, x, y, mask)
    signature, dtype = PredictionSignature(), accum_dtype(x, y)
    return PredictionScore(function)(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))


@jit()
def disagreement(
    x: Float[Array, "n c"], y: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""Disagreement: the share of examples for which two classifiers predict different classes.

    $$\frac1n \sum_i [\arg\max_c x_{ic} \ne \arg\max_c y_{ic}]$$

    Args:
      x: logits, probabilities or their logarithms, shape `(n, c)`, a column for each class.
      y: those of the other classifier, shape `(n, c)`, same examples and classes in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`. Of equal logits the first class is predicted. NaN when no row counts, or one
      holds NaN or nothing above minus infinity. The gradient is 0.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, or different numbers of classes.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[2., 0.], [0., 1.]])
      >>> float(disagreement(x, x[::-1])), float(disagreement(x, x - 1))
      (1.0, 0.0)

    Reference:
      Madani, Pennock and Flake (2004), Co-validation: using model disagreement on unlabeled data to validate
      classification algorithms; churn: Milani Fard et al. (2016), Launch and iterate.
    """
    return _prediction_score("disagreement", x, y, mask)


@jit()
def cohen_kappa(
    x: Float[Array, "n c"], y: Float[Array, "n c"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""Cohen's kappa: the agreement of two classifiers beyond what their predictions would have at random.

    $$\kappa = \frac{p_o - p_e}{1 - p_e}, \qquad p_e = \sum_c p_c(x)\, p_c(y)$$

    with the share $p_o$ of examples of equal predictions, and the shares $p_c$ of predictions of class $c$.

    Args:
      x: logits, probabilities or their logarithms, shape `(n, c)`, a column for each class.
      y: those of the other classifier, shape `(n, c)`, same examples and classes in the same order.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[-1, 1]`: 1 for equal predictions, 0 as at random. NaN when both always predict one class,
      the same; and where `disagreement` is NaN. The gradient is 0.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, or different numbers of classes.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> x = jnp.array([[2., 0.], [0., 1.], [0., 3.], [1., 0.]])
      >>> float(cohen_kappa(x, x)), float(cohen_kappa(x, x[jnp.array([0, 1, 3, 2])]))
      (1.0, 0.0)

    Reference:
      Cohen (1960), A coefficient of agreement for nominal scales.
    """
    return _prediction_score("cohen_kappa", x, y, mask)


@jit()
def accuracy(
    x: Float[Array, "n c"], labels: Int[Array, "n"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""Accuracy: the share of examples for which a classifier predicts the label.

    Args:
      x: logits, probabilities or their logarithms, shape `(n, c)`, a column for each class.
      labels: shape `(n,)`, integers; one that is no column is never predicted.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[0, 1]`; NaN as for `disagreement`. The gradient is 0.

    Raises:
      ValueError: at trace time, when `x` is not an `(n, c)` matrix, or `labels` or `mask` not `(n,)`.
      TypeError: at trace time, for `x` that is not floating or labels that are no integers.

    Example:
      >>> float(accuracy(jnp.array([[2., 0.], [0., 1.]]), jnp.array([0, 0])))
      0.5
    """
    check_rows("accuracy", x, mask)
    _check_labels("accuracy", labels, x.shape[0])
    return _accuracy(x, labels, mask)


@jit()
def accuracy_difference(
    x: Float[Array, "n c"], y: Float[Array, "n c"], labels: Int[Array, "n"], *, mask: Bool[Array, "n"] | None = None
) -> Float[Array, ""]:
    r"""The absolute difference of the accuracies of two classifiers; 0 does not mean that they predict the same.

    Args:
      x: logits, probabilities or their logarithms, shape `(n, c)`, a column for each class.
      y: those of the other classifier, shape `(n, c)`, same examples and classes in the same order.
      labels: shape `(n,)`, integers; one that is no column is never predicted.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar between 0 and `disagreement(x, y)`; NaN where that is. The gradient is 0.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch, or different numbers of classes.
      TypeError: at trace time, on non-floating input or labels that are no integers.

    Example:
      >>> x = jnp.array([[2., 0.], [0., 1.]])
      >>> float(accuracy_difference(x, x[::-1], jnp.array([0, 1])))
      1.0
    """
    check_pair("accuracy_difference", x, y, mask)
    check_classes("accuracy_difference", x.shape[1], y.shape[1])
    _check_labels("accuracy_difference", labels, x.shape[0])
    dtype = accum_dtype(x, y)
    return jnp.abs(_accuracy(x.astype(dtype), labels, mask) - _accuracy(y.astype(dtype), labels, mask))


def _accuracy(x: Array, labels: Array, mask: Array | None) -> Scalar:
    predictions = PredictionSignature()(x, mask)
    right = predictions.classes == labels.astype(predictions.classes.dtype)
    return jnp.where(predictions.defined, predictions.share(right), jnp.nan)


def _check_labels(function: str, labels: Array, rows: int) -> None:
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"{function}: labels must be integers, numbers of classes, got {describe(labels)}")
    if labels.shape != (rows,):
        raise ValueError(f"{function}: labels must have shape ({rows},), one for each row, got {tuple(labels.shape)}")
