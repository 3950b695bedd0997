"""One setting for the whole suite: strict promotion, four fake devices, no silent warnings.

Nearly all time of a test goes into compiling a program that runs once, so XLA is asked not to
optimize. Set `XLA_FLAGS` to run the suite with other flags, such as those of a user (none).
"""

import gc
import os
from pathlib import Path

os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0 "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

MOST_MEMORY_MAPS = 20_000


def pytest_collection_finish():
    """Tracing makes many small objects: seldom look for garbage, and never among what imports left."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def pytest_runtest_teardown(item, nextitem):
    """Forget compiled programs between files before there are too many of them.

    Every program takes a few memory maps. At 65 530 of them, which is what Linux gives a process, LLVM crashes.
    """
    if nextitem is not None and nextitem.path != item.path and memory_maps() > MOST_MEMORY_MAPS:
        jax.clear_caches()


def memory_maps():
    """How many this process has; 0 where the system does not say."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else 0


@pytest.fixture(autouse=True)
def own_numbers(request):
    """Generators of a module begin anew in every test: its data do not depend on which tests ran before it."""
    states = request.module.__dict__.setdefault("_generator_states", {})
    for name, value in list(vars(request.module).items()):
        if isinstance(value, np.random.Generator):
            state = states.setdefault(name, value.bit_generator.state)
            value.bit_generator.state = state


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
