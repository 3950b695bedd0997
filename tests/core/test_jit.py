"""The typed wrapper compiles once, keeps what a function says about itself, and converts at the door."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign._core.jit import jit

TRACES = []


@jit(static=("power",))
def score(x, y=None, *, mask=None, power: int = 1, weight=1.0):
    """Sum of a product."""
    TRACES.append(power)
    assert isinstance(x, jax.Array)
    y = jnp.ones_like(x) if y is None else y
    assert isinstance(y, jax.Array)
    product = (x * y) ** power
    return weight * jnp.sum(product if mask is None else jnp.where(mask[:, None], product, 0))


X = np.arange(6, dtype=np.float32).reshape(3, 2)
MASK = np.array([True, False, True])


class Foreign:
    """An array of another library."""

    def __init__(self, value):
        self.value = value

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.value, dtype)


def test_the_function_keeps_its_face():
    assert score.__name__ == "score"
    assert score.__doc__ == "Sum of a product."
    parameters = inspect.signature(score).parameters
    assert list(parameters) == ["x", "y", "mask", "power", "weight"]
    assert parameters["power"].default == 1


@pytest.mark.parametrize("wrap", [np.asarray, jnp.asarray, Foreign])
def test_arrays_are_converted_wherever_they_stand(wrap):
    expected = float(np.sum((X * X)[MASK]))
    assert score(wrap(X), wrap(X), mask=wrap(MASK)) == expected
    assert score(wrap(X), y=wrap(X), mask=wrap(MASK)) == expected
    assert score(y=wrap(X), x=wrap(X), mask=wrap(MASK)) == expected


def test_none_and_other_keywords_pass():
    assert score(X, None, mask=None) == 15
    assert score(X, weight=2) == 30
    assert score(X, weight=jnp.float32(2)) == 30
    assert score(X, power=2) == 55


def test_one_compilation_for_each_static_value_and_shape():
    TRACES.clear()
    x = np.ones((4, 7), np.float32)
    for weight in (1.0, 2.0, 3.0):  # an array, not a static fact
        score(x, weight=weight)
        score(jnp.asarray(2 * x), weight=weight)
    assert TRACES == [1]
    score(x, power=3)
    score(x[:2], power=3)
    assert TRACES == [1, 3, 3]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0],), {}, "score: x must be an array .*, got list"),
        ((X, 3.0), {}, "score: y must be an array .*, got float 3.0"),
        ((X,), {"y": "abc"}, "score: y must be an array .*, got str 'abc'"),
        ((X,), {"mask": [True]}, "score: mask must be an array .*, got list"),
        ((), {}, "score.* missing"),
        ((X, X, MASK), {}, "score.* takes .* positional argument"),
        ((X,), {"sigma": 1.0}, "score.* unexpected keyword argument 'sigma'"),
    ],
)
def test_errors_name_function_and_argument(arguments, options, message):
    with pytest.raises(TypeError, match=message):
        score(*arguments, **options)


def test_transformations_see_through_the_wrapper():
    x = jnp.asarray(X)
    np.testing.assert_array_equal(jax.grad(score)(x), np.ones((3, 2)))
    np.testing.assert_array_equal(jax.vmap(score)(x[None] * jnp.ones((2, 1, 1))), [15, 15])
    assert jax.jit(score)(x) == 15
    assert jax.eval_shape(score, jax.ShapeDtypeStruct((3, 2), jnp.bfloat16)).dtype == jnp.bfloat16


def test_positional_static_facts_are_not_arrays():
    @jit(static=("how",))
    def function(x, how):
        return x if how == "same" else -x

    assert function(np.float32([1, 2]), "other").tolist() == [-1, -2]


def test_a_traced_static_fact_is_named():
    with pytest.raises(TypeError, match=r"score: power must be known when it is compiled.*static_argnames"):
        jax.jit(lambda x, power: score(x, power=power))(X, 2)
