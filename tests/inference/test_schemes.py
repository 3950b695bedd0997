"""Random orders: uniform among those that a scheme allows, and nothing else."""

from __future__ import annotations

import collections
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from jaxalign.inference import Blocks, CircularShift, Free, Within

MASK = np.array([True, False, True, True, False, True])
LABELS = np.array([0, 1, 0, 1, 0, 1])


def draws(scheme, n, mask=None, count=3000):
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(7), i))(jnp.arange(count))
    return np.asarray(jax.jit(jax.vmap(lambda key: scheme.draw(key, n, mask)))(keys))


@pytest.mark.parametrize(
    ("scheme", "n", "mask", "orders"),
    [
        (Free(), 4, None, 24),
        (Free(), 6, MASK, 24),
        (Within(LABELS), 6, None, 36),
        (Within(LABELS), 6, MASK, 4),
        (Within(np.array([7, 7, -1, 7, 3])), 5, None, 6),
        (Blocks(2), 8, None, 24),
        (CircularShift(2), 8, None, 6),
        (CircularShift(1), 5, None, 5),
    ],
)
def test_each_order_is_as_likely_as_any_other(scheme, n, mask, orders):
    found = draws(scheme, n, mask)
    assert (np.sort(found, axis=1) == np.arange(n)).all()
    counts = collections.Counter(map(tuple, found))
    assert len(counts) == orders
    assert chisquare(list(counts.values())).pvalue > 1e-3
    assert scheme.orders("test", n, mask) == pytest.approx(orders)


@pytest.mark.slow
def test_what_must_stay_stays():
    assert (draws(Free(), 6, MASK, 50)[:, ~MASK] == np.flatnonzero(~MASK)).all()
    moved = draws(Within(LABELS), 6, None, 50)
    assert (LABELS[moved] == LABELS).all()
    blocks = draws(Blocks(3), 12, None, 50).reshape(50, 4, 3)
    assert (np.diff(blocks, axis=2) == 1).all()
    assert (blocks[:, :, 0] % 3 == 0).all()
    shifted = draws(CircularShift(3), 10, None, 200)
    assert (np.diff(shifted, axis=1) % 10 == 1).all()
    assert set(shifted[:, 0]) == {0, 3, 4, 5, 6, 7}


def test_very_many_orders_are_infinite_or_large():
    assert Free().orders("test", 1000) > 1e300
    assert jax.jit(lambda mask: Free().orders("test", 6, mask) < math.inf)(MASK) == np.False_


@pytest.mark.parametrize(
    ("scheme", "n", "mask", "message"),
    [
        (Free(), 1, None, "test: Free leaves every example where it is"),
        (Free(), 6, np.arange(6) == 2, "test: Free leaves every example where it is"),
        (Within(np.arange(5)), 5, None, "test: Within leaves every example where it is"),
        (Within(LABELS), 5, None, r"labels of Within must be integers of shape \(5,\), got int64 \(6,\)"),
        (Within(np.zeros(5)), 5, None, r"labels of Within must be integers of shape \(5,\), got float64"),
        (Blocks(4), 10, None, "blocks of 4 examples must divide the 10 examples into two or more"),
        (Blocks(10), 10, None, "blocks of 10 examples must divide the 10 examples into two or more"),
        (Blocks(3), 6, MASK, "Blocks takes no mask"),
        (CircularShift(4), 7, None, "shifts of at least 4 need 8 examples, got 7"),
        (CircularShift(1), 6, MASK, "CircularShift takes no mask"),
    ],
)
def test_what_cannot_be_reordered_is_refused(scheme, n, mask, message):
    with pytest.raises(ValueError, match=message):
        scheme.orders("test", n, mask)


@pytest.mark.parametrize(("make", "error"), [(lambda: Blocks(0), ValueError), (lambda: CircularShift(1.5), TypeError)])
def test_settings_are_checked(make, error):
    with pytest.raises(error):
        make()
