"""CKA of what two representations share beyond a third: the inputs, say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

import jax.numpy as jnp

from jaxalign._core.checks import check_choice, check_matrix, check_pair
from jaxalign._core.jit import jit
from jaxalign._core.numerics import accum_dtype, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.alignment.kernel import ESTIMATORS, KernelScore
from jaxalign.alignment.kernel_reordering import OfKernels
from jaxalign.alignment.reordering import Finished
from jaxalign.engines.planner import gram_products
from jaxalign.kernels.base import Kernel, check_kernel
from jaxalign.kernels.dot_product import Linear
from jaxalign.kernels.gram import Gram, Grams
from jaxalign.signatures.gram import GramSignature


@pytree_dataclass
class DeconfoundedScore:
    """The partial correlation of two centered kernel matrices, given that of a confounder.

    Attributes:
      confounder: its rows, `(n, c)`.
      kernel: its kernel.
      estimator: one of `ESTIMATORS`.
    """

    confounder: Float[Array, "n c"]
    kernel: Kernel
    estimator: str = field(default="biased", metadata={"static": True})

    def __call__(self, x: Gram, y: Gram) -> Scalar:
        """The score of one pair."""
        return self.matrix([x], [y])[0, 0]

    def matrix(self, a: Sequence[Gram], b: Sequence[Gram] | None = None) -> Float[Array, "La Lb"]:
        """Every layer of one side against every layer of the other (None: against itself)."""
        a, b = Grams.of(a), None if b is None else Grams.of(b)
        given = self._given(a)
        products = gram_products(a.append(given), None if b is None else b.append(given), centering=self.estimator)
        cosines = products.cosine()
        return _partial(cosines[:-1, :-1], cosines[:-1, -1], cosines[-1, :-1])

    def reordering(self, a: Sequence[Gram], b: Sequence[Gram]) -> OfPartialCorrelations:
        """Scores as a function of the order of the examples of `b`, those of the confounder staying where they are."""
        a = Grams.of(a)
        given = self._given(a)
        plain = KernelScore(centering=self.estimator, scaling="cosine")
        return OfPartialCorrelations(plain.matrix(a, [given])[:, 0], plain.reordering(a.append(given), b))

    def _given(self, a: Grams) -> Gram:
        if self.confounder.shape[0] != a.examples:
            raise ValueError(
                f"deconfounded_cka: the confounder must have {a.examples} rows like the inputs, "
                f"got {self.confounder.shape[0]}"
            )
        rows = self.confounder.astype(a.stacks[0].raw.dtype)
        return GramSignature(self.kernel, centering=self.estimator)(rows, a.mask)


@pytree_dataclass
class OfPartialCorrelations:
    """Partial correlations under other orders of the examples of the second side.

    Attributes:
      of_a: correlations of the first side with the confounder.
      cosines: those of the first side, and of the confounder, with the second side.
    """

    of_a: Float[Array, "La"]
    cosines: OfKernels

    def __call__(self, indices: Int[Array, "n"]) -> Float[Array, "La Lb"]:
        """The scores when example `i` of the second side is what was example `indices[i]`."""
        return self.finish(self.cosines(indices))

    def finish(self, cosines: Float[Array, "_L Lb"]) -> Float[Array, "La Lb"]:
        """The scores from the correlations of the first side, and of the confounder, with the second."""
        return _partial(cosines[:-1], self.of_a, cosines[-1])

    def turned(self, orders: Int[Array, "m n"]) -> Finished:
        """The scores when the first side, and the confounder with it, is in each of the orders as well."""
        return Finished(self, self.cosines.turned(orders))


def _partial(direct: Float[Array, "La Lb"], of_a: Float[Array, "La"], of_b: Float[Array, "Lb"]) -> Array:
    """Correlations given a confounder, from those of both sides with it."""
    norms = _left_over(of_a)[:, None] * _left_over(of_b)[None, :]
    return safe_divide(direct - of_a[:, None] * of_b[None, :], norms, otherwise=jnp.nan)


def _left_over(cosine: Float[Array, "L"]) -> Float[Array, "L"]:
    """The sine; 0 where nothing but rounding is left."""
    square = (1 - cosine) * (1 + cosine)
    return safe_sqrt(jnp.where(square > 16 * jnp.finfo(square.dtype).eps, square, square * 0))


def deconfounded_parts(
    confounder: Array, kernel: Kernel, kernel_z: Kernel | None, estimator: str
) -> tuple[GramSignature, DeconfoundedScore]:
    """Signature and score behind `deconfounded_cka`.

    Raises:
      ValueError, TypeError: for a confounder that is no matrix, a kernel that is none, an unknown estimator.
    """
    check_matrix("deconfounded_cka", "z", confounder)
    check_choice("deconfounded_cka", "estimator", estimator, ESTIMATORS)
    own = kernel if kernel_z is None else kernel_z
    for one in (kernel, own):
        check_kernel("deconfounded_cka", one)
    return GramSignature(kernel, centering=estimator), DeconfoundedScore(confounder, own, estimator)


@jit(static=("estimator",))
def deconfounded_cka(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    z: Float[Array, "n c"],
    *,
    kernel: Kernel = Linear(),  # noqa: B008 (immutable)
    kernel_z: Kernel | None = None,
    estimator: str = "biased",
    mask: Bool[Array, "n"] | None = None,
) -> Float[Array, ""]:
    r"""CKA of two representations after what a third explains of their kernel matrices is taken off.

    $$\mathrm{CKA}(K - \alpha_x M,\, L - \alpha_y M) =
      \frac{c_{xy} - c_{xz} c_{yz}}{\sqrt{(1 - c_{xz}^2)(1 - c_{yz}^2)}}$$

    with $M$ the kernel matrix of `z`, the slopes $\alpha$ those of least squares between centered
    matrices, and $c$ the three values of CKA: a partial correlation.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      z: the confounder, shape `(n, c)`, same examples: the networks' inputs, whose own likeness makes even
        untrained networks alike.
      kernel: kernel for `x` and `y`, and for `z` unless `kernel_z` is given.
      kernel_z: kernel for `z`.
      estimator: `"biased"` or `"unbiased"`, as in `cka`.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      A scalar in `[-1, 1]` for biased CKA. NaN when an input is constant, or explained by `z` entirely.

    Raises:
      ValueError: at trace time, on rank or row-count mismatch or an unknown estimator.
      TypeError: at trace time, on non-floating input.

    Example:
      >>> z = jnp.array([[0., 1.], [1., 0.], [2., 2.], [3., 1.]])
      >>> x = jnp.array([[1.], [0.], [2.], [5.]])
      >>> round(float(deconfounded_cka(x, 3 * x + 1, z)), 4)
      1.0

    Reference:
      Cui et al. (2022), arXiv:2202.00095, whose regression has an intercept and uncentered matrices: the same
      for linear kernels of centered columns. What is left need not be positive semi-definite, and is not
      made so.
    """
    check_pair("deconfounded_cka", x, y, mask)
    check_pair("deconfounded_cka", x, z, mask, other="z")
    dtype = accum_dtype(x, y, z)
    signature, score = deconfounded_parts(z, kernel, kernel_z, estimator)
    return score(signature(x.astype(dtype), mask), signature(y.astype(dtype), mask))
