"""Keys in all the forms that they come in."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign._core.keys import as_key


def test_every_form_is_the_same_key(x64):
    forms = [3, np.int64(3), np.uint8(3), jnp.asarray(3), jax.random.key(3), jax.random.PRNGKey(3)]
    for form in (*forms, np.asarray(jax.random.PRNGKey(3))):
        key = as_key("f", form)
        assert jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        assert jax.random.bits(key) == jax.random.bits(jax.random.key(3))
    assert jax.jit(lambda seed: jax.random.bits(as_key("f", seed)))(3) == jax.random.bits(jax.random.key(3))


@pytest.mark.parametrize("key", [True, 1.0, "0", None, jnp.zeros(2), jnp.zeros(3, jnp.uint32)], ids=repr)
def test_anything_else_is_named(key):
    with pytest.raises(TypeError, match=r"f: key must be one key, such as jax.random.key\(0\), or an integer, got"):
        as_key("f", key)


def test_several_keys_are_not_one():
    with pytest.raises(TypeError, match="f: key must be one key"):
        as_key("f", jax.random.split(jax.random.key(0)))
