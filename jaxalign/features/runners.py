"""Models as something that makes rows of its layers out of a batch."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.digests import digest
from jaxalign._core.typing import Array
from jaxalign.features.batches import Batch
from jaxalign.features.calls import as_input
from jaxalign.features.intermediates import Network, as_capturable
from jaxalign.features.named import NamedFunction
from jaxalign.features.pooling import Pool, pooled_rows


class Runner(Protocol):
    """A model of any kind."""

    @property
    def facts(self) -> dict[str, Any]:
        """Its name, and its number of parameters."""
        ...

    @property
    def digest(self) -> str:
        """A text that is another one when weights or statistics are; those of a function are not known."""
        ...

    def as_input(self, function: str, x: Any) -> Any:
        """What the model takes, of arrays, tuples and mappings."""
        ...

    def shapes(self, x: Any, *, evaluate: bool) -> Mapping[str, Any]:
        """Layers in the order in which they finish, and what has the shape and type of each."""
        ...

    def rows(
        self,
        batch: Batch,
        names: Sequence[str],
        *,
        pool: Pool,
        channels: str | None,
        dtype: np.dtype,
        evaluate: bool,
    ) -> list[np.ndarray]:
        """One row for each example, of each of these layers."""
        ...


def as_runner(function: str, model: Any) -> Runner:
    """A model that can be run.

    Raises:
      TypeError: for what is none.
    """
    torch = sys.modules.get("torch")  # without it there is no such model
    if torch is not None and isinstance(model, torch.nn.Module):
        from jaxalign.features.torch_models import TorchModel

        return TorchModel(model)
    return JaxModel(function, model)


class JaxModel:
    """A Flax model, or a function."""

    def __init__(self, function: str, model: Any) -> None:
        self._network, self._params, self._rest = as_capturable(function, model)
        named = model[0] if isinstance(model, tuple) else model
        self._name = getattr(named, "__name__", type(named).__name__)

    @property
    def facts(self) -> dict[str, Any]:
        """Its name, and its number of parameters: that of a function is not known."""
        sizes = [leaf.size for leaf in jax.tree.leaves(self._params)]
        return {"model": self._name, **({"parameters": sum(sizes)} if sizes else {})}

    @property
    def digest(self) -> str:
        """Of all floating-point numbers: counts of random numbers drawn are no part of a model."""
        leaves = jax.tree.leaves((self._params, self._rest))
        return digest(*(leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)))

    def as_input(self, function: str, x: Any) -> Any:
        """As JAX arrays."""
        return as_input(function, x)

    def shapes(self, x: Any, *, evaluate: bool) -> Mapping[str, Any]:
        """Nothing is computed."""
        return jax.eval_shape(partial(self._network.run, evaluate=evaluate), self._params, self._rest, x)[1]

    def rows(
        self,
        batch: Batch,
        names: Sequence[str],
        *,
        pool: Pool,
        channels: str | None,
        dtype: np.dtype,
        evaluate: bool,
    ) -> list[np.ndarray]:
        """Pooled where they are computed."""
        weights = self._params, self._rest
        ways = {"pool": pool, "channels_first": channels == "first", "dtype": dtype.name, "evaluate": evaluate}
        found = _pooled(*weights, batch.x, batch.mask, network=self._network, names=tuple(names), **ways)
        return [np.asarray(z) for z in found]


@partial(jax.jit, static_argnames=("network", "pool", "channels_first", "dtype", "evaluate", "names"))
def _pooled(
    params: Any,
    rest: Any,
    x: Any,
    mask: Array | None,
    *,
    network: Network | NamedFunction,
    pool: Pool,
    channels_first: bool,
    dtype: str,
    evaluate: bool,
    names: tuple[str, ...],
) -> tuple[Array, ...]:
    _, found, _ = network.run(params, rest, x, evaluate=evaluate)
    pooled = (pooled_rows(name, found[name], mask, pool, channels_first=channels_first) for name in names)
    return tuple(rows.astype(dtype) for rows in pooled)
