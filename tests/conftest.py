"""One setting for all tests: strict promotion, no silent warnings, no growing heap of programs."""

import gc
from pathlib import Path

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

MOST_MEMORY_MAPS = 20_000
#: Files that take a worker minutes: if they came last, the other one would wait.
LONG_FILES = ("test_notebooks.py", "test_readme.py", "test_measures.py", "test_reorderings.py", "test_certificate.py")


def pytest_collection_modifyitems(items):
    """Long files first."""
    items.sort(key=lambda item: item.path.name not in LONG_FILES)


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
