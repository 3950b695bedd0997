"""The finite-sample interval of kernel alignment against its formula in NumPy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.inference.kernel_alignment_interval import kernel_alignment_interval
from jaxalign.kernels.dot_product import Cosine, Linear, Polynomial
from jaxalign.kernels.radial import RBF, Laplacian
from tests.oracles import kernel_family


def oracle(k, m, c1, c2, delta):
    n = len(k)
    off = ~np.eye(n, dtype=bool)
    u = lambda a, b: np.sum((a * b)[off]) / (n * (n - 1))  # noqa: E731
    half, log = n // 2, np.log(6 / delta)
    t12 = c1 * c2 * np.sqrt(2 * log / half)
    t11, t22 = c1**2 * np.sqrt(log / (2 * half)), c2**2 * np.sqrt(log / (2 * half))
    low = max(u(k, m) - t12, 0) / np.sqrt((u(k, k) + t11) * (u(m, m) + t22))
    if min(u(k, k) - t11, u(m, m) - t22) <= 0:
        return low, 1.0
    return low, min(1, max(u(k, m) + t12, 0) / np.sqrt((u(k, k) - t11) * (u(m, m) - t22)))


def inputs(n, d=1):
    g = np.random.default_rng(0)
    x = g.standard_normal((n, d)) + 1
    return x, x * g.choice([1, -1], (n, 1), p=[0.8, 0.2])


@pytest.mark.parametrize("n", [31, pytest.param(1200, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("float64")
def test_values(n):
    x, y = inputs(n)
    cases = {
        "cosine": ({"kernel": Cosine()}, kernel_family.cosine(x), kernel_family.cosine(y), 1, 1),
        "two": (
            {"kernel": RBF(1.0) + Cosine(), "kernel_y": Laplacian(2.0), "level": 0.8},
            kernel_family.rbf(x, 1.0) + kernel_family.cosine(x),
            kernel_family.laplacian(y, 2.0),
            2,
            1,
        ),
        "linear": ({"bound": (50.0, 60.0)}, kernel_family.linear(x), kernel_family.linear(y), 50, 60),
    }
    for name, (settings, k, m, c1, c2) in cases.items():
        found = kernel_alignment_interval(x, y, **settings)
        expected = oracle(k, m, c1, c2, 1 - settings.get("level", 0.95))
        np.testing.assert_allclose(found, expected, atol=1e-10, err_msg=name)


@pytest.mark.slow
def test_the_guarantee_is_weak_at_few_examples():
    """Unit rows of two features: nearly nothing at 200, some at 2000, more at 20 000."""
    widths = []
    for n in (200, 2000, 20_000):
        g = np.random.default_rng(0)
        x = g.standard_normal((n, 2), dtype=np.float32)
        y = x + 0.5 * g.standard_normal((n, 2), dtype=np.float32)
        low, high = kernel_alignment_interval(x, y, kernel=Cosine())
        widths.append(float(high - low))
    np.testing.assert_allclose(widths, [1, 0.5, 0.2], atol=0.05)


@pytest.mark.slow
def test_masked_rows_do_not_count_and_undefined_is_nan():
    x, y = (np.float32(v) for v in inputs(60, 3))
    mask = np.arange(60) % 3 > 0
    expected = kernel_alignment_interval(x[mask], y[mask], kernel=Cosine(), level=0.01)
    broken = np.where(mask[:, None], x, np.nan)
    found = kernel_alignment_interval(broken, y, kernel=Cosine(), level=0.01, mask=mask)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.all(np.isnan(kernel_alignment_interval(broken, y, kernel=Cosine())))
    exceeded = kernel_alignment_interval(x, y, bound=(1.0, 1e3))  # by rows of x: nothing follows from it
    assert np.all(np.isnan(exceeded))
    assert [float(v) for v in kernel_alignment_interval(x[:1], y[:1], kernel=Cosine())] == [0, 1]


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({}, ValueError, "kernel_alignment_interval: entries of linear have no bound"),
        ({"kernel": Cosine(), "kernel_y": Cosine() * Polynomial()}, ValueError, "entries of polynomial"),
        ({"bound": 2.0}, TypeError, "bound must be two numbers"),
        ({"bound": (1.0, 0.0)}, ValueError, "bound must be positive, got 0.0"),
        ({"kernel": Cosine(), "level": 1.0}, ValueError, "level must be between 0 and 1, got 1.0"),
        ({"kernel": Linear}, TypeError, "kernel must be a Kernel"),
    ],
)
def test_mistakes_are_named(settings, error, says):
    x = jnp.ones((5, 2))
    with pytest.raises(error, match=says):
        kernel_alignment_interval(x, x, **settings)
