"""Every public function of `jaxalign.preprocess` lowers for CPU, CUDA and TPU, and takes NumPy arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import preprocess

ROWS = jax.ShapeDtypeStruct((8, 4), jnp.float32)
TOKENS = jax.ShapeDtypeStruct((8, 3, 4), jnp.float32)
MASK = jax.ShapeDtypeStruct((8,), jnp.bool_)
TOKEN_MASK = jax.ShapeDtypeStruct((8, 3), jnp.bool_)
CALLS = {
    "center": (lambda x, m: preprocess.center(x, mask=m), ROWS, MASK),
    "normalize_rows": (lambda x, m: preprocess.normalize_rows(x, mask=m), ROWS, MASK),
    "whiten": (lambda x, m: preprocess.whiten(x, mask=m), ROWS, MASK),
    "clamp": (lambda x, _: preprocess.clamp(x, threshold=1.0), ROWS, MASK),
    "clamp_outliers": (lambda x, m: preprocess.clamp_outliers(x, mask=m), TOKENS, MASK),
    "clamp_outliers, approximate": (lambda x, m: preprocess.clamp_outliers(x, exact=False, mask=m), TOKENS, MASK),
    "outlier_threshold": (lambda x, m: preprocess.outlier_threshold(x, mask=m), TOKENS, MASK),
    "pool_tokens, mean": (lambda x, m: preprocess.pool_tokens(x, m), TOKENS, TOKEN_MASK),
    "pool_tokens, max": (lambda x, m: preprocess.pool_tokens(x, m, how="max"), TOKENS, TOKEN_MASK),
    "pool_tokens, first": (lambda x, m: preprocess.pool_tokens(x, m, how="first"), TOKENS, TOKEN_MASK),
    "pool_tokens, last": (lambda x, m: preprocess.pool_tokens(x, m, how="last"), TOKENS, TOKEN_MASK),
    "pool_tokens, cls": (lambda x, m: preprocess.pool_tokens(x, m, how="cls"), TOKENS, TOKEN_MASK),
    "flatten_spatial": (lambda x, m: preprocess.flatten_spatial(x, m), TOKENS, TOKEN_MASK),
}


def test_every_public_function_is_here():
    public = {name for name in vars(preprocess) if callable(getattr(preprocess, name))}
    assert {name.split(",")[0] for name in CALLS} == public


@pytest.mark.parametrize("name", CALLS)
def test_value_and_gradient_lower_for_every_platform(name):
    function, *arguments = CALLS[name]

    def both(x, m):
        return function(x, m), jax.grad(lambda x: jnp.sum(jax.tree.leaves(function(x, m))[0]))(x)

    exported = jax.export.export(jax.jit(both), platforms=["cpu", "cuda", "tpu"])(*arguments)
    assert exported.platforms == ("cpu", "cuda", "tpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_numpy_arrays_are_taken(name):
    function, *arguments = CALLS[name]
    host = [np.ones(a.shape, a.dtype) for a in arguments]
    device = [jnp.asarray(a) for a in host]
    for left, right in zip(jax.tree.leaves(function(*host)), jax.tree.leaves(function(*device)), strict=True):
        np.testing.assert_array_equal(left, right)
