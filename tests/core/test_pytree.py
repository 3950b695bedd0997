"""Dataclasses as pytrees: parts, structure, and no class taken for another."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import FrozenInstanceError, field

import jax
import jax.numpy as jnp
import pytest

from jaxalign import RBF, Cosine, Laplacian, Linear, pytree_dataclass
from jaxalign.kernels import MedianDistance, Product, Sum


@pytree_dataclass
class Scaled:
    factor: float | jax.Array = 1.0
    name: str = field(default="one", metadata={"static": True})

    def __post_init__(self):
        if isinstance(self.factor, float) and self.factor < 0:
            raise ValueError("negative")


def test_fields_are_children_or_structure():
    leaves, structure = jax.tree.flatten(Scaled(2.0, "two"))
    assert leaves == [2.0]
    assert jax.tree.unflatten(structure, [3.0]) == Scaled(3.0, "two")
    assert structure != jax.tree.structure(Scaled(2.0, "three"))
    assert [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(Scaled())] == [".factor"]


def test_instances_do_not_change_and_are_checked_where_they_are_made():
    with pytest.raises(FrozenInstanceError):
        Scaled().factor = 2.0  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="negative"):
        Scaled(-1.0)
    # JAX puts pytrees together from whatever it likes, which is no business of `__post_init__`.
    assert jax.tree.map(lambda x: -x, Scaled(1.0)).factor == -1.0


def test_a_pytree_goes_through_jit_grad_and_vmap():
    def f(scaled, x):
        return jnp.sum(scaled.factor * x)

    assert float(jax.jit(f)(Scaled(2.0), jnp.ones(3))) == 6
    assert float(jax.grad(f)(Scaled(2.0), jnp.ones(3)).factor) == 3
    stack = jax.tree.map(lambda *values: jnp.stack(values), Scaled(jnp.ones(())), Scaled(jnp.zeros(())))
    assert jax.vmap(f, (0, None))(stack, jnp.ones(3)).tolist() == [3, 0]


def test_classes_with_the_same_fields_have_structures_of_their_own():
    """Two that are equal make caches run the program of one for the other, now and then."""
    kernels = [RBF(), Laplacian(), RBF(1.0), Laplacian(1.0), Linear(), Cosine(), MedianDistance()]
    kernels += [Sum(RBF(), Linear()), Product(RBF(), Linear()), Sum(Laplacian(), Linear())]
    structures = [jax.tree.structure(kernel) for kernel in kernels]
    for one, other in itertools.combinations(structures, 2):
        assert one != other


def test_a_replaced_field_makes_another_instance():
    one = Scaled(2.0, "two")
    assert dataclasses.replace(one, factor=3.0) == Scaled(3.0, "two")
    assert one.factor == 2.0
