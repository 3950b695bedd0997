"""A stitching module that matches units one to one."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.nn import logsumexp

from jaxalign._core.checks import check_integer, check_positive
from jaxalign._core.numerics import matmul, widen
from jaxalign._core.typing import Array, Float, Int
from jaxalign.alignment.shape import matched_features
from jaxalign.stitching.stitch_module import ClosedForm, StitchModule, add_bias, closed_form


class Permutation(StitchModule):
    r"""A soft matching of units, from which a hard one can be read.

    $$s(x) = x P + b,\qquad P = \arg\max_{P \in \mathcal{B}} \langle P, L \rangle + \tau H(P)$$

    over doubly stochastic matrices, with entropy $H$: rows and columns of `exp(logits / temperature)` are normalized
    in turn, in logarithms. The lower the temperature, the nearer is `P` to a permutation, and the more iterations it
    takes. The last pass is over columns, so that these sum to 1 exactly.

    Args:
      d_in: units that come in.
      d_out: units that go out, as many.
      rngs: its `params` stream draws the logits, small ones: the start is near the uniform matching.
      temperature: positive.
      iterations: of Sinkhorn's algorithm.
      use_bias: learn `b`; otherwise `bias` is None, and 0.
      param_dtype: of the parameters.

    Raises:
      ValueError: when `d_in` and `d_out` differ, or the temperature is not positive; when called, for anything but
        `(n, d_in)`.
      TypeError: for settings of the wrong type.

    Example:
      >>> module = Permutation(3, 3, rngs=nnx.Rngs(0))
      >>> jnp.sum(module.kernel, axis=0).round(4).tolist()
      [1.0, 1.0, 1.0]

    Reference:
      Mena et al. (2018), arXiv:1802.08665.
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        rngs: nnx.Rngs,
        temperature: float = 0.1,
        iterations: int = 50,
        use_bias: bool = False,
        param_dtype: Any = jnp.float32,
    ):
        super().__init__(d_in, d_out)
        if d_in != d_out:
            raise ValueError(f"Permutation: d_in and d_out must be equal, got {d_in} and {d_out}")
        check_positive("Permutation", "temperature", temperature)
        check_integer("Permutation", "iterations", iterations, minimum=1)
        self.temperature, self.iterations = float(temperature), int(iterations)
        self.logits = nnx.Param(nnx.initializers.normal(0.01)(rngs.params(), (d_in, d_in), param_dtype))
        self.bias = nnx.Param(jnp.zeros((d_out,), param_dtype)) if use_bias else None

    @property
    def kernel(self) -> Float[Array, "d d"]:
        """The soft matching `P`: entry `(i, j)` is how much of unit `i` goes to unit `j`."""

        def normalized(log: Array, _: None) -> tuple[Array, None]:
            log = log - logsumexp(log, axis=1, keepdims=True)
            return log - logsumexp(log, axis=0, keepdims=True), None

        log, _ = lax.scan(normalized, widen(self.logits[...]) / self.temperature, length=self.iterations)
        return jnp.exp(log)

    def indices(self) -> Int[Array, "d"]:
        """Which unit comes out at each place in the best one-to-one matching: the map is `x[:, indices]`."""
        rows, columns = matched_features(widen(self.logits[...]))
        return jnp.zeros(self.d_out, jnp.int32).at[columns].set(rows.astype(jnp.int32))

    def hard(self) -> Float[Array, "d d"]:
        """The permutation matrix of the best one-to-one matching: the map is `x @ hard()`."""
        eye = jnp.eye(self.d_in, dtype=widen(self.logits[...]).dtype)
        return eye[:, self.indices()]

    def __call__(self, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The softly matched activations, float32 or wider."""
        self.check_input(x)
        out = matmul(x, self.kernel)
        return out if self.bias is None else add_bias(out, self.bias[...])

    @classmethod
    def from_stitch(cls, stitch: ClosedForm, *, temperature: float = 0.1, iterations: int = 50) -> Permutation:
        """Start from the best soft matching at this temperature, that with the largest inner product with the kernel.

        `hard()` is the permutation nearest to the kernel: the closed form itself when that is a permutation. The soft
        map then is off by about `d exp(-1 / temperature)`. The bias is taken over.
        """
        kernel, bias = closed_form("Permutation.from_stitch", stitch)
        settings = {"temperature": temperature, "iterations": iterations}
        module = cls(*kernel.shape, rngs=nnx.Rngs(0), use_bias=True, **settings)
        module.logits, module.bias = nnx.Param(kernel), nnx.Param(bias)
        return module
