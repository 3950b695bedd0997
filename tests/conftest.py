"""One setting for the whole suite: strict promotion, four fake devices, no silent warnings."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(params=[False, True], ids=["x32", "x64"])
def x64(request):
    """Runs the test with 64-bit types off and on; the value says which."""
    with jax.enable_x64(request.param):
        yield request.param


@pytest.fixture
def float64():
    """Runs the test with 64-bit types on."""
    with jax.enable_x64(True):
        yield
