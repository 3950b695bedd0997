"""One setting for the whole suite: strict promotion, four fake devices, no silent warnings.

Nearly all time of a test goes into compiling a program that runs once, so XLA is asked not to
optimize. Set `XLA_FLAGS` to run the suite with other flags, such as those of a user (none).
"""

import os

os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0 "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)
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
