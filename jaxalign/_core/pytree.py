"""Immutable dataclasses that JAX can take apart and tell from one another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar, dataclass_transform

import jax

C = TypeVar("C", bound=type)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def pytree_dataclass(cls: C) -> C:
    """Make a class a frozen dataclass and a pytree.

    Fields with `metadata={"static": True}` are part of the structure, all others are children.

    `jax.tree_util.register_dataclass` would do the same, but up to jaxlib 0.10 at least the
    structures of two of its classes are equal when their static fields are, whatever the
    classes. Caches then mistake one for the other where hashes share a bucket: `jit` has been
    seen to run the program of an RBF kernel for a Laplacian one.

    Example:
      >>> a, b = (pytree_dataclass(type(name, (), {})) for name in "ab")
      >>> jax.tree.structure(a()) == jax.tree.structure(b())
      False
    """
    cls = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(cls)
    children = [f.name for f in fields if not f.metadata.get("static")]
    static = [f.name for f in fields if f.metadata.get("static")]
    keys = [jax.tree_util.GetAttrKey(name) for name in children]

    def flatten(value: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(value, name) for name in children), tuple(getattr(value, name) for name in static)

    def flatten_with_keys(value: Any) -> tuple[tuple[tuple[Any, Any], ...], tuple[Any, ...]]:
        values, facts = flatten(value)
        return tuple(zip(keys, values, strict=True)), facts

    def unflatten(facts: tuple[Any, ...], values: Iterable[Any]) -> Any:
        # Not through `__init__`: JAX also puts things together that are no numbers, and were checked before.
        value = object.__new__(cls)
        for name, content in [*zip(children, values, strict=True), *zip(static, facts, strict=True)]:
            object.__setattr__(value, name, content)
        return value

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
