"""Tests of both widths run in float64 by default, in float32 among the slow tests, as each compiles anew."""

from __future__ import annotations

import jax
import pytest


@pytest.fixture(params=[pytest.param(False, marks=pytest.mark.slow), True], ids=["x32", "x64"])
def x64(request):
    """Runs the test with 64-bit types off and on; the value says which."""
    with jax.enable_x64(request.param):
        yield request.param
