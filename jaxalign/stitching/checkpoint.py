"""Training on disk: a run that was killed goes on with the same numbers, another run is refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import describe
from jaxalign._version import __version__

#: What orbax writes: one folder for each state that is kept, and unfinished ones.
_OWN = re.compile(r"\d+(\.orbax-checkpoint-tmp.*)?")


class Checkpoints:
    """A folder that holds the last state of one run, written by orbax, which is there whole or not at all.

    Args:
      function: for messages.
      folder: where; created if need be.
      facts: what determines the numbers of the run. A folder of another run is refused.

    Raises:
      TypeError: when `folder` is not a path.
      ValueError: when the folder belongs to another run, naming what differs, or holds other files.
      ImportError: when orbax is not installed.
    """

    def __init__(self, function: str, folder: str | os.PathLike[str], facts: Mapping[str, Any]):
        try:
            import orbax.checkpoint as ocp
        except ImportError as error:
            raise ImportError(f"{function}: checkpoint needs orbax; pip install orbax-checkpoint") from error
        if not isinstance(folder, (str, os.PathLike)):
            raise TypeError(f"{function}: checkpoint must be the path of a folder, got {describe(folder)}")
        self.function, self.folder = function, Path(folder).absolute()
        self.facts = json.loads(json.dumps(facts))
        found = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        if not found.is_dir():
            raise ValueError(
                f"{function}: checkpoint must be the path of a folder, got {self.folder}; {found} is a file"
            )
        if self.folder.is_dir():
            others = [entry.name for entry in sorted(self.folder.iterdir()) if not _OWN.fullmatch(entry.name)]
            if others:
                raise ValueError(
                    f"{function}: checkpoint folder {self.folder} holds other files, such as {others[0]}; "
                    "name an empty or new one"
                )
        self._ocp = ocp
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, step: int, state: Any) -> None:
        """Keep a pytree of arrays as the state after `step` steps; the one before is removed when it is there."""
        if step not in self._manager.all_steps():
            state_args = self._ocp.args.StandardSave(_arrays(state))  # type: ignore[call-arg]
            facts_args = self._ocp.args.JsonSave(self.facts)  # type: ignore[call-arg]
            self._manager.save(step, args=self._ocp.args.Composite(state=state_args, facts=facts_args))
            self._manager.wait_until_finished()

    def load(self, like: Any) -> Any | None:
        """The state that is kept, in the form of `like`; None when there is none."""
        step = self._manager.latest_step()
        if step is None:
            return None
        args = self._ocp.args
        found = self._manager.restore(step, args=args.Composite(facts=args.JsonRestore()))["facts"]
        different = [_difference(name, found.get(name), wanted) for name, wanted in self.facts.items()]
        different = [text for text in different if text]
        if different:
            raise ValueError(
                f"{self.function}: checkpoint folder {self.folder} belongs to another run ({'; '.join(different)}): "
                "delete it or name another folder"
            )
        restore = args.StandardRestore(_arrays(like))  # type: ignore[call-arg]
        kept = self._manager.restore(step, args=args.Composite(state=restore))["state"]
        leaves, structure = jax.tree.flatten(like)
        return jax.tree.unflatten(structure, [_restored(leaf, kept.get(str(i))) for i, leaf in enumerate(leaves)])

    def close(self) -> None:
        """Let go of the folder."""
        self._manager.close()


def program_digest(function: Any, *arguments: Any) -> str:
    """A fingerprint of what a function computes: of its program, constants included, not of its arguments' values."""
    program = jax.make_jaxpr(function)(*arguments)
    text = re.sub(r"0x[0-9a-f]+", "", str(program))  # addresses of functions
    return hashlib.sha256("\n".join([text, *map(data_digest, program.consts)]).encode()).hexdigest()[:16]


def data_digest(tree: Any) -> str:
    """Shapes, types and hashes of the bytes of the arrays of a pytree, wherever they are."""
    leaves = [np.asarray(jnp.asarray(_as_numbers(leaf))) for leaf in jax.tree.leaves(tree)]
    return " ".join(f"{leaf.dtype}{list(leaf.shape)}:{_hash(leaf)}" for leaf in leaves)


def package_versions() -> list[str]:
    """Versions that numbers may depend on."""
    return [f"jaxalign {__version__}", f"jax {jax.__version__}"]


def _hash(a: np.ndarray) -> str:
    flat = np.ascontiguousarray(a).reshape(-1)
    return hashlib.sha256(flat.view(np.uint8).data).hexdigest()[:16]


def _as_numbers(leaf: Any) -> Any:
    """A key of random numbers as its data; all else as it is."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(leaf)
    return leaf


def _arrays(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a pytree by number, as orbax takes them: none of them empty, no keys."""
    leaves = (np.asarray(_as_numbers(leaf)) for leaf in jax.tree.leaves(tree))
    return {str(i): leaf for i, leaf in enumerate(leaves) if leaf.size}


def _restored(like: Any, kept: Any) -> Any:
    """What was kept in the form of a leaf; a leaf that was empty is not kept."""
    if kept is None:
        return like
    if isinstance(like, jax.Array) and jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(kept), impl=jax.random.key_impl(like))
    return jnp.asarray(kept) if isinstance(like, jax.Array) else np.asarray(kept)


def _difference(name: str, found: Any, wanted: Any) -> str:
    if found == wanted:
        return ""
    # Fingerprints are text and tell nobody anything.
    return f"{name} differs" if isinstance(wanted, str) else f"{name}: {found} there, {wanted} here"
