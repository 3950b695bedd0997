"""PyTorch modules as models whose layers are captured: by hooks, which are gone afterwards."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import describe
from jaxalign._core.digests import digest
from jaxalign._core.typing import Array
from jaxalign.features.batches import Batch
from jaxalign.features.calls import apply_to
from jaxalign.features.layers import BFLOAT16
from jaxalign.features.pooling import Pool, pooled_rows

if TYPE_CHECKING:
    import torch  # in functions otherwise: this file can be read without it


class _Shape(NamedTuple):
    shape: tuple[int, ...]
    dtype: Any

    @property
    def ndim(self) -> int:
        """How many axes."""
        return len(self.shape)


class TorchModel:
    """A PyTorch module.

    Layers are its submodules that put out one tensor, or something whose first entry is one, such as the blocks of
    Hugging Face; and `hidden_states.0`, `hidden_states.1` and so on where a model can return these.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._has_states = hasattr(getattr(module, "config", None), "output_hidden_states")

    @property
    def facts(self) -> dict[str, Any]:
        """Its name, and its number of parameters."""
        sizes = [parameter.numel() for parameter in self._module.parameters()]
        return {"model": type(self._module).__name__, "parameters": sum(sizes)}

    @property
    def digest(self) -> str:
        """Of parameters and buffers."""
        return digest(*(_as_numpy(values) for values in self._module.state_dict().values() if _is_tensor(values)))

    def as_input(self, function: str, x: Any) -> Any:
        """As NumPy arrays; tensors are made of them on the device of the model.

        Raises:
          TypeError: for what is no array.
        """
        if isinstance(x, Mapping):
            return {name: self.as_input(function, value) for name, value in x.items()}
        if isinstance(x, tuple):
            return tuple(self.as_input(function, value) for value in x)
        if isinstance(x, jax.ShapeDtypeStruct):
            return np.zeros(x.shape, x.dtype)
        array = _as_numpy(x) if hasattr(x, "detach") else np.asarray(x)
        if array.dtype.kind not in "fiub" and array.dtype != BFLOAT16:
            raise TypeError(f"{function}: batches must hold arrays of numbers, got {describe(x)}")
        return array

    def shapes(self, x: Any, *, evaluate: bool) -> Mapping[str, Any]:
        """Of one run of the model."""
        found: OrderedDict[str, _Shape] = OrderedDict()

        def note(name: str, values: torch.Tensor) -> None:
            found[name] = _Shape(tuple(values.shape), jnp.dtype(str(values.dtype).removeprefix("torch.")))

        self._run(x, note, evaluate=evaluate)
        return found

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
        """Pooled as soon as a layer finishes, so that no more than one layer is kept whole."""
        wanted, found = set(names), {}

        def note(name: str, values: torch.Tensor) -> None:
            if name in wanted:
                # A copy: what follows may write into the tensor.
                first = self._channels_first(values) if channels is None else channels == "first"
                rows = pooled_rows(name, _as_jax(values), batch.mask, pool, channels_first=first)
                found[name] = np.array(rows.astype(dtype))

        self._run(batch.x, note, evaluate=evaluate)
        return [found[name] for name in names]

    def _channels_first(self, values: torch.Tensor) -> bool:
        """As convolutions have it, but for models of timm that say otherwise."""
        said = getattr(self._module, "output_fmt", "NCHW")
        return values.ndim >= 4 and getattr(said, "value", said) != "NHWC"

    def _run(self, x: Any, note: Callable[[str, torch.Tensor], None], *, evaluate: bool) -> None:
        """Run the model, and tell of everything that a layer puts out; the model is then as it was before."""
        import torch

        counts: dict[str, int] = {}

        def tell(name: str, output: Any) -> None:
            values = _first_tensor(output)
            if values is not None:
                counts[name] = counts.get(name, 0) + 1
                note(name if counts[name] == 1 else f"{name}#{counts[name]}", values)

        device = next((p.device for p in self._module.parameters()), torch.device("cpu"))
        with _hooks(self._module, tell), _mode(self._module, evaluate=evaluate), torch.no_grad():
            inputs = jax.tree.map(lambda array: _as_torch(array, device), x)
            if self._has_states and isinstance(inputs, Mapping):
                inputs = {**inputs, "output_hidden_states": True, "return_dict": True}
            output = apply_to(self._module, inputs)
        for number, state in enumerate(getattr(output, "hidden_states", None) or ()):
            tell(f"hidden_states.{number}", state)


@contextlib.contextmanager
def _hooks(module: torch.nn.Module, tell: Callable[[str, Any], None]) -> Iterator[None]:
    """Have all submodules tell what they put out, and nothing left of it, whatever happens."""
    handles = []
    try:
        for name, submodule in module.named_modules():
            if name:
                handles.append(submodule.register_forward_hook(lambda _, inputs, output, name=name: tell(name, output)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _mode(module: torch.nn.Module, *, evaluate: bool) -> Iterator[None]:
    """Evaluation mode for a while, if it is asked for; modes and buffers are then what they were before."""
    import torch

    before = {submodule: submodule.training for submodule in module.modules()}
    buffers = [] if evaluate else [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        if evaluate:
            module.eval()
        yield
    finally:
        for submodule, training in before.items():
            submodule.training = training
        with torch.no_grad():
            for buffer, values in buffers:
                buffer.copy_(values)


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _as_numpy(values: torch.Tensor) -> np.ndarray:
    """A tensor as an array; bfloat16 by way of its bits."""
    import torch

    values = values.detach().cpu()
    return values.view(torch.int16).numpy().view(BFLOAT16) if values.dtype == torch.bfloat16 else values.numpy()


def _as_torch(array: np.ndarray, device: torch.device) -> torch.Tensor:
    import torch

    if array.dtype == BFLOAT16:
        return torch.as_tensor(array.view(np.int16), device=device).view(torch.bfloat16)
    return torch.as_tensor(array, device=device)


def _first_tensor(output: Any) -> torch.Tensor | None:
    import torch

    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    elif isinstance(output, Mapping) and output:
        output = next(iter(output.values()))
    return output if isinstance(output, torch.Tensor) else None


def _as_jax(values: torch.Tensor) -> Array:
    """On the host or where it is, without a copy where JAX can."""
    values = values.detach().contiguous()
    return jax.dlpack.from_dlpack(values if values.device.type == "cpu" else values.cpu())
