"""Kernels of the distance between rows: RBF, Laplacian, negative distance."""

from __future__ import annotations

import numbers
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxalign._core.checks import check_positive, describe
from jaxalign._core.numerics import accum_dtype, safe_divide, safe_sqrt
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.kernels.bandwidth import BandwidthRule, as_bandwidth
from jaxalign.kernels.base import Kernel
from jaxalign.kernels.squared_distance import squared_distances


@dataclass(frozen=True)
class _Radial(Kernel):
    """A function of `|x - y| / bandwidth`, 1 at distance 0."""

    bandwidth: float | Array | str | BandwidthRule = "median"

    translation_invariant: ClassVar[bool] = True
    translation_centered: ClassVar[bool] = True
    ignores_zero_features: ClassVar[bool] = True

    def __post_init__(self):
        name = type(self).__name__
        if isinstance(self.bandwidth, str):
            object.__setattr__(self, "bandwidth", as_bandwidth(name, self.bandwidth))
        elif isinstance(self.bandwidth, numbers.Real | complex):
            check_positive(name, "bandwidth", self.bandwidth)
            # An int would be another compilation.
            object.__setattr__(self, "bandwidth", float(self.bandwidth))  # pyright: ignore[reportArgumentType]

    @property
    def scale_free(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return isinstance(self.bandwidth, BandwidthRule)

    @property
    def homogeneous(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.scale_free

    @property
    def definition(self) -> str:
        rule = self.bandwidth
        return (
            f"{type(self).__name__.lower()}({rule.definition if isinstance(rule, BandwidthRule) else f'sigma={rule}'})"
        )

    def fit(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> _Radial:
        """The same kernel with its bandwidth a number; no gradient flows through the rule."""
        if not isinstance(self.bandwidth, BandwidthRule):
            return self
        return type(self)(jax.lax.stop_gradient(self.bandwidth(x, mask)))

    @abstractmethod
    def _exponent(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """Logarithms of the entries."""

    def deviate(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """Entries less 1, which a bandwidth far above all distances brings them near to."""
        return jnp.expm1(self._exponent(x, y))

    def diag(self, x: Float[Array, "n d"]) -> Float[Array, "n"]:
        """Ones."""
        return jnp.ones(x.shape[0], accum_dtype(x))

    def _sigma(self, like: Array) -> Array:
        if isinstance(self.bandwidth, BandwidthRule):
            raise ValueError(
                f"{type(self).__name__}: bandwidth {self.bandwidth.definition!r} depends on the data; "
                "call kernel.fit(x) before kernel.evaluate"
            )
        if self.bandwidth is None or getattr(self.bandwidth, "shape", ()):
            got = describe(self.bandwidth)
            raise ValueError(f"{type(self).__name__}: bandwidth must be one number, a rule or its name, got {got}")
        return jnp.asarray(self.bandwidth, accum_dtype(like))


@pytree_dataclass
class RBF(_Radial):
    """`k(x, y) = exp(-|x - y|² / (2 σ²))`, the Gaussian kernel.

    Args:
      bandwidth: σ. A number, an array, a rule, or the name of a rule:
        `"median"`: σ² is the median squared distance of distinct examples;
        `"kornblith"`: the same median over all n² pairs, zeros of the diagonal included;
        `"mean"`: σ² is the mean squared distance of distinct examples.
        A rule that gives 0 (more than half of the pairs of examples coincide, as when 71 % of
        all rows are equal) makes the kernel constant, and a CKA on it NaN.

    Raises:
      ValueError: for a bandwidth that is not positive, an unknown rule, and, when evaluated, an
        array of several.
      TypeError: for a bandwidth that is not a number.
    """

    def evaluate(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """Gaussians of distances."""
        return jnp.exp(self._exponent(x, y))

    def _exponent(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        sigma = self._sigma(x)
        rate = safe_divide(jnp.ones_like(sigma), 2 * sigma * sigma)
        return -rate * squared_distances(x, y)


@pytree_dataclass
class Laplacian(_Radial):
    """`k(x, y) = exp(-|x - y| / σ)`, with the Euclidean distance; see `RBF` for σ."""

    def evaluate(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """Exponentials of distances."""
        return jnp.exp(self._exponent(x, y))

    def _exponent(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        sigma = self._sigma(x)
        rate = safe_divide(jnp.ones_like(sigma), sigma)
        return -rate * safe_sqrt(squared_distances(x, y))


@pytree_dataclass
class Distance(Kernel):
    """`k(x, y) = -|x - y| ** exponent`, the kernel behind distance covariance.

    Conditionally positive definite for `0 < exponent <= 2`: centered scores treat it as
    any other kernel (biased HSIC with it is the squared distance covariance, biased CKA
    the squared distance correlation). Uncentered scores have no such reading.

    Raises:
      ValueError: when `exponent` is outside (0, 2].
    """

    exponent: float = field(default=1.0, metadata={"static": True})

    translation_invariant: ClassVar[bool] = True
    translation_centered: ClassVar[bool] = True
    ignores_zero_features: ClassVar[bool] = True
    homogeneous: ClassVar[bool] = True

    def __post_init__(self):
        if isinstance(self.exponent, bool) or not isinstance(self.exponent, (int, float)):
            raise TypeError(f"Distance: exponent must be a number, got {describe(self.exponent)}")
        if not 0 < self.exponent <= 2:
            raise ValueError(f"Distance: exponent must be in (0, 2], got {self.exponent}")

    @property
    def definition(self) -> str:
        """`distance(exponent)`."""
        return f"distance(exponent={self.exponent})"

    def evaluate(self, x: Float[Array, "n d"], y: Float[Array, "m d"]) -> Float[Array, "n m"]:
        """Negative powers of distances."""
        squared = squared_distances(x, y)
        if self.exponent == 2:
            return -squared
        if self.exponent == 1:
            return -safe_sqrt(squared)
        apart = ~(squared <= 0)
        return -jnp.where(apart, jnp.where(apart, squared, 1) ** (self.exponent / 2), 0)

    def diag(self, x: Float[Array, "n d"]) -> Float[Array, "n"]:
        """Zeros."""
        return jnp.zeros(x.shape[0], accum_dtype(x))
