"""Topology on the host: barcodes by brute force, known shapes, subsets, keys, what is missing."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import topology as oracle

from jaxalign.alignment.topology import cross_barcode_length, geometry_score, relative_living_times, rtd

pytest.importorskip("gudhi", reason="needs gudhi: the extra `topology`")
pytest.importorskip("sklearn", reason="needs scikit-learn: the extra `topology`")

X, Y = CASES["A"]
G = np.random.default_rng(0)


def circle(n, center=0.0):
    angles = 2 * np.pi * (np.arange(n) + 0.3 * G.random(n)) / n
    return np.stack([np.cos(angles) + center, np.sin(angles)], axis=1)


ONE, DISC = circle(80), np.sqrt(G.random((80, 1))) * circle(80)
TWO = np.concatenate([circle(40), circle(40, center=4)])


def test_barcodes_equal_brute_force():
    for n, p, q in ((2, 1, 1), (5, 3, 2), (6, 2, 4)):
        for _ in range(4):
            x, y = G.standard_normal((n, p)), G.standard_normal((n, q))
            assert rtd(x, y) == pytest.approx(oracle.rtd(x, y), abs=1e-12)
            assert rtd(y, x) == pytest.approx(rtd(x, y))


def test_a_barcode_by_hand():
    """Two points at 1, and at 0.3 in the joint graph: from there on a loop through both copies, until 1 fills it."""
    far, near = (np.array([[0, d], [d, 0]]) for d in (1.0, 0.3))
    assert cross_barcode_length(far, near) == pytest.approx(0.7, abs=1e-12)
    assert cross_barcode_length(near, far) == 0


def test_equal_shapes_are_at_no_distance():
    assert rtd(X, X) == 0
    assert rtd(X, 3 * X + 1) == pytest.approx(0, abs=1e-10)
    turn = np.linalg.qr(G.standard_normal((16, 16)))[0]
    assert rtd(X, X @ turn) == pytest.approx(0, abs=1e-10)
    assert geometry_score(X, 3 * X + 1, key=0, landmarks=20, repeats=5) == pytest.approx(0, abs=1e-6)


def test_shapes_that_differ_are_apart():
    noise = [0.02 * G.standard_normal((80, 2)) for _ in range(3)]
    assert rtd(ONE, TWO) > 2 * rtd(ONE, ONE + noise[0])
    scores = {
        name: geometry_score(ONE, other, key=0, landmarks=24, gamma=1 / 16, repeats=20)
        for name, other in {"same": ONE + noise[1], "two": TWO, "disc": DISC}.items()
    }
    assert scores["same"] < 0.1 < 0.5 < min(scores["two"], scores["disc"])


def test_living_times_equal_brute_force():
    for gamma in (0.02, 0.2):
        for n in (12, 40):
            x = G.standard_normal((n, 2))
            distances = np.linalg.norm(x[:, None] - x[None, :7], axis=2)
            found = relative_living_times(distances, gamma, 5)
            assert found.shape == (5,)
            np.testing.assert_allclose(found, oracle.living_times(distances, gamma, 5), atol=2e-3)
    # A ring of corners without a triangle has its hole.
    distances = np.linalg.norm(ONE[:, None] - ONE[None, ::8], axis=2)
    np.testing.assert_allclose(relative_living_times(distances, 0.01, 3), [0, 1, 0], atol=0.2)


def test_masked_rows_do_not_count():
    mask = np.arange(64) % 4 != 1
    padded = [np.where(mask[:, None], v, np.nan) for v in (X, Y)]
    options = {"key": 0, "landmarks": 20, "gamma": 0.1, "repeats": 3}
    assert rtd(*padded, mask=mask) == rtd(X[mask], Y[mask]) != rtd(X, Y)
    assert geometry_score(*padded, mask=mask, **options) == geometry_score(X[mask], Y[mask], **options)


def test_the_same_key_is_the_same_value():
    options = {"landmarks": 20, "gamma": 0.1, "repeats": 3}
    found = geometry_score(X, Y, key=7, **options)
    assert geometry_score(X, Y, key=jax.random.key(7), **options) == found
    assert geometry_score(X, Y, key=8, **options) != found
    assert geometry_score(Y, X, key=7, **options) == found


def test_other_arrays_and_what_is_undefined():
    x, y = X[:20].astype(np.float32), Y[:20].astype(np.float32)
    assert rtd(jnp.asarray(x), jnp.asarray(y, jnp.bfloat16)) == pytest.approx(rtd(x, y), rel=0.1)
    for other in (np.ones_like(x), *(np.where(np.arange(20)[:, None] == 3, hole, x) for hole in (np.nan, np.inf))):
        assert np.isnan(rtd(x, other))
        assert np.isnan(geometry_score(other, x, key=0, landmarks=5, repeats=1))
    assert np.isnan(rtd(x, y, mask=np.zeros(20, bool)))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: rtd(X, Y[:9]), ValueError, "rtd: x and y must have the same number of rows"),
        (lambda: rtd(X, [1.0]), TypeError, "rtd: y must be an array"),
        (lambda: rtd(X, Y, mask=np.ones(64)), TypeError, "rtd: mask must be boolean"),
        (lambda: geometry_score(X, Y, key=0, landmarks=65), ValueError, r"at most the number of rows \(64\), got 65"),
        (lambda: geometry_score(X, Y, key=0, repeats=0), ValueError, "repeats must be at least 1"),
        (lambda: geometry_score(X, Y, key=0, gamma=-1), ValueError, "gamma must be positive"),
        (lambda: geometry_score(X, Y, key="0"), TypeError, "geometry_score: key must be one key"),
    ],
)
def test_mistakes_are_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gudhi", None)
    for call in (lambda: rtd(X, Y), lambda: geometry_score(X, Y, key=0)):
        with pytest.raises(ImportError, match=r'needs gudhi .* pip install "jaxalign\[topology\]"'):
            call()
