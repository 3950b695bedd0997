"""The heat trace of a representation's graph of nearest neighbors: its shape at all scales."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxalign._core.checks import check_integer
from jaxalign._core.keys import as_key
from jaxalign._core.lanczos import lanczos_quadrature
from jaxalign._core.numerics import accum_dtype, safe_divide, safe_sqrt, take_rows
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Int, Scalar
from jaxalign.signatures.neighbors import NeighborSignature

#: Times at which heat is looked at, evenly spread on a logarithmic scale between 1/10 and 10.
TIMES = 256
#: Probes that go through the graph at a time; a divisor of their usual number, for one program instead of two.
BLOCK_PROBES = 20


def heat_times(dtype: jnp.dtype) -> Float[Array, "t"]:
    """The times."""
    return 10 ** jnp.linspace(-1, 1, TIMES, dtype=dtype)


@pytree_dataclass
class HeatTraceSignature:
    r"""Makes the heat trace of a representation, `(256,)`, at `heat_times`.

    $$\mathrm{tr}\, e^{-t L}, \qquad L = I - M, \qquad M = D^{-1/2} A D^{-1/2}$$

    of the graph that joins every row with its nearest. That is $e^{-t} \mathrm{tr}\, e^{tM}$, and of the series of
    $e^{tM}$ the traces of the first three terms are known. Only the rest is estimated, by random signs, without
    most of the noise that an estimate of the whole would have.

    Args:
      key: a key or an integer that the signs are made from.
      k: number of neighbors, in Euclidean distance.
      steps: products with the graph for each vector of signs.
      probes: how many vectors of signs.
    """

    key: Any = 0
    k: int = field(default=5, metadata={"static": True})
    steps: int = field(default=10, metadata={"static": True})
    probes: int = field(default=100, metadata={"static": True})

    #: Far smaller than the representation: made once, and worth keeping.
    compact: ClassVar[bool] = True

    def __post_init__(self):
        check_integer("imd", "k", self.k, minimum=1)
        check_integer("imd", "steps", self.steps, minimum=2)
        check_integer("imd", "probes", self.probes, minimum=1)

    @property
    def ignores_zero_features(self) -> bool:
        """True: they change no distance."""
        return True

    @property
    def definition(self) -> str:
        """Graph and estimate, and the seed where it is a number."""
        seed = f",seed={self.key}" if isinstance(self.key, numbers.Integral) else ""
        return f"k={self.k},steps={self.steps},probes={self.probes}{seed}"

    def __call__(self, x: Float[Array, "n d"], mask: Bool[Array, "n"] | None = None) -> Float[Array, "t"]:
        """The signature of one representation, `(n, d)`."""
        return self.many([x], mask)[0]

    def many(
        self, layers: Sequence[Float[Array, "n _d"]], mask: Bool[Array, "n"] | None = None
    ) -> list[Float[Array, "t"]]:
        """The signatures of several representations of the same examples."""
        dtype = accum_dtype(*layers)
        counted = jnp.ones(layers[0].shape[0], bool) if mask is None else mask
        signs = self._signs(counted, dtype)
        found = NeighborSignature(self.k, "euclidean").many(layers, mask)
        # Lists are of one size, whatever the widths of layers: all go through one program.
        graphs = jnp.stack([neighbors.ids for neighbors in found])
        # With few rows that count, lists hold others.
        enough = jnp.sum(counted) > self.k
        defined = jnp.stack([neighbors.defined & enough for neighbors in found])
        traces = lax.map(lambda ids: self._trace(ids, counted, signs), graphs)
        return list(jnp.where(defined[:, None], traces, jnp.nan))

    def _signs(self, counted: Bool[Array, "n"], dtype: jnp.dtype) -> Float[Array, "probes n"]:
        """Random signs, 0 for rows that do not count; those of a row depend on how many count before it."""
        key = as_key("imd", self.key)

        def of_row(place: Array) -> Float[Array, "probes"]:
            return jax.random.rademacher(jax.random.fold_in(key, place), (self.probes,), dtype)

        places = jnp.cumsum(counted, dtype=jnp.int32)
        return jnp.where(counted[None, :], jax.vmap(of_row, out_axes=1)(places), 0)

    def _trace(
        self, ids: Int[Array, "n k"], counted: Bool[Array, "n"], signs: Float[Array, "probes n"]
    ) -> Float[Array, "t"]:
        product, squares = _graph(ids, counted, signs.dtype)
        nodes, weights = lax.map(
            lambda start: lanczos_quadrature(product, start, steps=self.steps), signs, batch_size=BLOCK_PROBES
        )
        count = jnp.sum(counted, dtype=signs.dtype)

        def at(t: Scalar) -> Scalar:
            power = t * nodes
            rest = jnp.exp(power) - 1 - power - power * power / 2
            return jnp.exp(-t) * (count + t * t / 2 * squares + count * jnp.sum(weights * rest) / self.probes)

        return lax.map(at, heat_times(signs.dtype))


def _graph(ids: Array, counted: Array, dtype: jnp.dtype) -> tuple[Callable[[Array], Array], Scalar]:
    """Products with `M` of the graph in which each row is joined with those in its list, and the trace of `M²`."""
    own = jnp.arange(ids.shape[0], dtype=ids.dtype)
    returned = jnp.any(take_rows(ids, ids) == own[:, None, None], axis=2)
    # Each entry of a list stands for both directions: an edge that two lists hold counts half in each.
    entries = jnp.where(returned, 0.5, 1).astype(dtype) * counted.astype(dtype)[:, None]

    def adjacent(v: Float[Array, "n"]) -> Float[Array, "n"]:
        out = jnp.sum(entries * take_rows(v, ids), axis=1)
        return out.at[ids].add(entries * v[:, None])

    degree = adjacent(jnp.ones(ids.shape[0], dtype))
    factors = safe_divide(jnp.ones_like(degree), safe_sqrt(degree))

    def product(v: Float[Array, "n"]) -> Float[Array, "n"]:
        return factors * adjacent(factors * v)

    squares = 2 * jnp.sum(entries * (factors**2)[:, None] * take_rows(factors**2, ids))
    return product, squares
