"""Every message names the function, the argument, what it must be and what came."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign._core import checks


class OnlyArray:
    """Speaks `__array__`, like a pandas frame."""

    def __init__(self, value):
        self.value = value

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.value, dtype)


class OnlyDLPack:
    """Speaks DLPack, like a tensor of another library."""

    def __init__(self, value):
        self.value = value

    def __dlpack__(self, **options):
        return self.value.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.value.__dlpack_device__()


class ArrayFailsDLPackWorks(OnlyDLPack):
    """Like a torch tensor in bfloat16, which NumPy cannot hold."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("unsupported ScalarType BFloat16")


@pytest.mark.parametrize("wrap", [OnlyArray, OnlyDLPack, ArrayFailsDLPackWorks, np.asarray, jnp.asarray])
def test_any_kind_of_array_is_taken(wrap):
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    out = checks.as_array("cka", "x", wrap(value))
    assert isinstance(out, jax.Array)
    np.testing.assert_array_equal(out, value)


def test_jax_arrays_and_tracers_pass_untouched():
    x = jnp.ones(3)
    assert checks.as_array("cka", "x", x) is x
    assert jax.jit(lambda x: checks.as_array("cka", "x", x) + 1)(x).tolist() == [2, 2, 2]
    assert checks.as_array("cka", "x", np.float32(2)).shape == ()


@pytest.mark.parametrize(
    ("value", "came"),
    [([1.0, 2.0], "list"), (2.5, "float 2.5"), (None, "NoneType"), ("abc", "str 'abc'"), (object(), "object")],
)
def test_what_is_no_array_is_refused(value, came):
    with pytest.raises(TypeError, match=f"^cka: x must be an array .*, got {came}$"):
        checks.as_array("cka", "x", value)


def test_arrays_of_objects_are_refused():
    with pytest.raises(TypeError, match=r"^cka: x must hold numbers, got an array of Python objects, shape \(2,\)$"):
        checks.as_array("cka", "x", np.array([object(), None]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (jnp.zeros((3, 4), jnp.bfloat16), "array bfloat16 (3, 4)"),
        (np.zeros((3, 4), np.float32), "ndarray float32 (3, 4)"),
        (True, "bool True"),
        (3, "int 3"),
        ("rbf", "str 'rbf'"),
        ({}, "dict"),
    ],
)
def test_describe(value, text):
    assert checks.describe(value) == text


def refused(error, message, check, *arguments, **options):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        check(*arguments, **options)


def test_check_floating():
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        checks.check_floating("cka", "x", jnp.zeros(2, dtype))
    message = "cka: x must be floating point, got array {} (2,); convert it with .astype(float)"
    for dtype in ("int32", "bool", "complex64"):
        refused(TypeError, message.format(dtype), checks.check_floating, "cka", "x", jnp.zeros(2, dtype))


def test_check_matrix():
    checks.check_matrix("cka", "x", jnp.zeros((1, 1)))
    message = "cka: y must have shape (examples, features), got array float32 "
    for shape in [(), (3,), (2, 3, 4)]:
        refused(ValueError, f"{message}{shape}", checks.check_matrix, "cka", "y", jnp.zeros(shape))
    for shape in [(0, 3), (3, 0)]:
        message = f"cka: y must not be empty, got array float32 {shape}"
        refused(ValueError, message, checks.check_matrix, "cka", "y", jnp.zeros(shape))
    refused(TypeError, "cka: y must be floating", checks.check_matrix, "cka", "y", jnp.zeros((2, 2), int))


def test_check_mask():
    checks.check_mask("cka", None, 3)
    checks.check_mask("cka", jnp.ones(3, bool), 3)
    message = "cka: mask must be boolean, got array int32 (3,)"
    refused(TypeError, message, checks.check_mask, "cka", jnp.ones(3, jnp.int32), 3)
    for shape in [(4,), (3, 1), ()]:
        message = f"cka: mask must have shape (3,), one entry a row, got {shape}"
        refused(ValueError, message, checks.check_mask, "cka", jnp.ones(shape, bool), 3)


def test_check_rows_and_pair():
    x, y = jnp.zeros((3, 2)), jnp.zeros((3, 5))
    checks.check_rows("center", x, jnp.ones(3, bool))
    checks.check_pair("cka", x, y, jnp.ones(3, bool))
    refused(ValueError, "center: z must have shape", checks.check_rows, "center", x[0], argument="z")
    refused(ValueError, "center: mask must have shape (3,)", checks.check_rows, "center", x, jnp.ones(2, bool))
    message = "cka: x and y must have the same number of rows, one per example, got 3 and 2"
    refused(ValueError, message, checks.check_pair, "cka", x, y[:2])
    refused(ValueError, "cka: x must have shape", checks.check_pair, "cka", x[0], y)
    refused(TypeError, "cka: y must be floating", checks.check_pair, "cka", x, y.astype(int))
    refused(ValueError, "cka: mask must have shape (3,)", checks.check_pair, "cka", x, y, jnp.ones(5, bool))


def test_checks_run_while_tracing():
    def function(x):
        checks.check_rows("center", x)
        return x

    message = r"center: x must have shape \(examples, features\), got array float32 \(3,\)"
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(function, jax.ShapeDtypeStruct((3,), jnp.float32))


def test_nearest_and_check_choice():
    assert checks.nearest("cca", ["cka", "hsic"]) == "; did you mean 'cka'?"
    assert checks.nearest("zzzz", ["cka", "hsic"]) == ""
    checks.check_choice("cka", "estimator", "biased", ("biased", "unbiased"))
    message = "cka: estimator must be one of 'biased', 'unbiased', got 'unbias'; did you mean 'unbiased'?"
    refused(ValueError, message, checks.check_choice, "cka", "estimator", "unbias", iter(("biased", "unbiased")))
    message = "cka: estimator must be one of 'biased', got 3"
    refused(ValueError, message, checks.check_choice, "cka", "estimator", 3, ("biased",))


def test_check_integer():
    for value in (2, np.int64(2)):
        checks.check_integer("mutual_knn", "k", value, minimum=2)
    refused(ValueError, "f: k must be at least 2, got 1", checks.check_integer, "f", "k", 1, minimum=2)
    for value, came in [(2.0, "float 2.0"), (True, "bool True"), ("2", "str '2'"), (jnp.array(2), "array int32 ()")]:
        message = f"f: k must be an integer, got {came}"
        refused(TypeError, message, checks.check_integer, "f", "k", value, minimum=0)


def test_check_neighbors():
    checks.check_neighbors("mutual_knn", 9, 10)
    message = "mutual_knn: k must be smaller than the number of rows (10), self excluded, got 10"
    refused(ValueError, message, checks.check_neighbors, "mutual_knn", 10, 10)
    refused(ValueError, "mutual_knn: k must be at least 1, got 0", checks.check_neighbors, "mutual_knn", 0, 10)


def test_check_positive():
    for value in (1, 0.5, np.float64(2), jnp.array(-1.0)):  # arrays are not read
        checks.check_positive("RBF", "bandwidth", value)
    for value in (0, -0.5, float("nan"), np.float64(-1)):
        refused(ValueError, "RBF: bandwidth must be positive, got", checks.check_positive, "RBF", "bandwidth", value)
    for value, came in [("median", "str 'median'"), (True, "bool True"), (None, "NoneType")]:
        message = f"RBF: bandwidth must be a number, got {came}"
        refused(TypeError, message, checks.check_positive, "RBF", "bandwidth", value)
    jax.jit(lambda v: checks.check_positive("RBF", "bandwidth", v))(1.0)
