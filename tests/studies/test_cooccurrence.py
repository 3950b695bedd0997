"""Counts of pairs against loops over them, and the kernel of their pointwise mutual information."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.studies import cooccurrence, pmi_embedding, pmi_kernel, psd_shift

RNG = np.random.default_rng(11)


def counted(events, reach, metric, size, itself):
    """Every ordered pair of places, one by one."""
    counts = np.zeros((size, size), int)
    places = list(np.ndindex(events.shape))
    for one in places:
        for other in places:
            steps = np.abs(np.subtract(one, other))
            distance = np.sqrt(np.sum(steps**2)) if metric == "euclidean" else steps.max()
            if distance <= reach and (itself or one != other):
                counts[events[one], events[other]] += 1
    return counts


def direct_pmi(counts, smoothing=0.0):
    joint = counts + smoothing
    joint = joint / joint.sum()
    with np.errstate(divide="ignore"):
        return np.log(joint / np.outer(joint.sum(1), joint.sum(0)))


def random_counts(size, most=30):
    half = RNG.integers(1, most, (size, size))
    return half + half.T


@pytest.mark.parametrize("metric", ["euclidean", "chebyshev"])
@pytest.mark.parametrize(("shape", "reach"), [((40,), 3), ((7, 5), 2.5), ((3, 4, 2), 9)])
def test_counts_are_of_all_ordered_pairs_of_places_within_reach(shape, reach, metric):
    events = RNG.integers(0, 4, shape)
    for itself in (False, True):
        expected = counted(events, reach, metric, 5, itself)
        found = cooccurrence(events, reach=reach, metric=metric, size=5, itself=itself)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        cooccurrence(events, reach=reach, metric=metric, size=5),
        expected - np.diag(np.bincount(events.ravel(), minlength=5)),
    )


def test_counts_under_jit_and_vmap_are_the_same():
    events = RNG.integers(0, 3, (4, 30))
    one = jax.jit(lambda e: cooccurrence(e, reach=2, size=3))
    found = jax.vmap(one)(jnp.asarray(events))
    np.testing.assert_array_equal(found, [counted(e, 2, "euclidean", 3, False) for e in events])
    with pytest.raises(TypeError, match="size must be known"):
        jax.jit(lambda e: cooccurrence(e, reach=2))(jnp.asarray(events))


def test_pmi_is_its_definition(x64):
    counts = random_counts(6)
    joint = counts / counts.sum()
    tolerance = 1e-12 if x64 else 2e-6
    for smoothing in (0.0, 0.5):
        found = pmi_kernel(counts, smoothing=smoothing)
        assert found.dtype == (jnp.float64 if x64 else jnp.float32)
        np.testing.assert_allclose(found, direct_pmi(counts, smoothing), atol=tolerance)
    np.testing.assert_allclose(pmi_kernel(joint), direct_pmi(counts), atol=tolerance)
    found = pmi_kernel(counts, positive=True)
    np.testing.assert_allclose(found, np.maximum(direct_pmi(counts), 0), atol=tolerance)
    assert (np.asarray(found) == 0).any()
    assert pmi_kernel(joint.astype(np.float32)).dtype == jnp.float32
    np.testing.assert_allclose(
        jax.jit(jax.vmap(pmi_kernel))(jnp.asarray([counts, 2 * counts]))[1], direct_pmi(counts), atol=tolerance
    )


def test_what_never_occurs_together_is_minus_infinity_unless_smoothed():
    counts = np.array([[2, 0, 1], [0, 4, 3], [1, 3, 0]])
    found = np.asarray(pmi_kernel(counts))
    np.testing.assert_array_equal(np.isneginf(found), counts == 0)
    assert not np.isnan(found).any()
    assert np.isfinite(pmi_kernel(counts, smoothing=0.1)).all()
    np.testing.assert_array_equal(np.asarray(pmi_kernel(counts, positive=True))[counts == 0], 0)


def test_one_event_tells_nothing():
    np.testing.assert_array_equal(pmi_kernel(np.array([[7]])), [[0.0]])
    np.testing.assert_array_equal(cooccurrence(np.zeros(5, int), reach=1), [[8]])
    assert float(psd_shift(np.array([[-2.0]]))) == 2
    np.testing.assert_array_equal(cooccurrence(np.array([1]), reach=2, size=2), np.zeros((2, 2)))


def test_an_event_without_pairs_is_an_error_and_under_jit_nan():
    counts = np.array([[1, 0], [0, 0]])
    with pytest.raises(ValueError, match=r"pmi_kernel: joint must have no row of zeros.* got zeros in row\(s\) 1"):
        pmi_kernel(counts)
    found = np.asarray(jax.jit(pmi_kernel)(jnp.asarray(counts)))
    np.testing.assert_array_equal(np.isnan(found), [[False, True], [True, True]])


def test_the_shift_is_the_smallest_that_leaves_no_negative_eigenvalue(float64):
    for _ in range(3):
        a = RNG.normal(size=(7, 7))
        kernel = a @ a.T - RNG.uniform(0, 5)
        shift = float(psd_shift(kernel))
        assert np.linalg.eigvalsh(kernel + shift)[0] == pytest.approx(0, abs=1e-9)
        assert np.linalg.eigvalsh(kernel + shift - 1e-3)[0] < -1e-6
    rank_two = RNG.normal(size=(7, 2))
    rank_two -= rank_two.mean(axis=0)
    assert float(psd_shift(rank_two @ rank_two.T - 3.0)) == pytest.approx(3.0)


def test_without_a_constant_that_does_it_the_shift_is_infinite(float64):
    centered = np.eye(4) - 1 / 4
    assert float(psd_shift(-centered)) == np.inf
    outside = np.zeros((3, 3))
    outside[0, 1:] = outside[1:, 0] = 1.0  # no negative curvature on centered vectors but for what is outside the range
    outside[0, 0] = 2.0
    assert float(psd_shift(outside)) == np.inf
    assert float(psd_shift(-centered, along="diagonal")) == pytest.approx(1.0)
    kernel = RNG.normal(size=(5, 5))
    kernel += kernel.T
    assert float(psd_shift(kernel, along="diagonal")) == pytest.approx(-np.linalg.eigvalsh(kernel)[0])
    assert float(psd_shift(np.eye(3), along="diagonal")) == pytest.approx(-1.0)


def test_a_kernel_as_in_the_proposition_of_the_paper_needs_no_more_than_its_least_entry(float64):
    size, low = 6, -3.0
    off = low + RNG.uniform(0, -low / size, (size, size))
    kernel = np.triu(off, 1) + np.triu(off, 1).T
    np.fill_diagonal(kernel, 0.0)
    assert float(psd_shift(kernel)) <= -low


def test_the_embedding_has_the_kernel_for_its_products(x64):
    a = RNG.normal(size=(6, 6))
    kernel = a @ a.T - 1.0
    shift = psd_shift(kernel)
    embedding = np.asarray(pmi_embedding(kernel, shift=shift))
    np.testing.assert_allclose(embedding @ embedding.T, kernel + float(shift), atol=1e-10 if x64 else 2e-5)
    values, vectors = np.linalg.eigh(kernel)
    values = np.maximum(values, 0)
    best = (vectors[:, -2:] * values[-2:]) @ vectors[:, -2:].T
    two = np.asarray(pmi_embedding(kernel, 2))
    assert two.shape == (6, 2)
    np.testing.assert_allclose(two @ two.T, best, atol=1e-10 if x64 else 2e-5)
    indefinite = np.asarray(pmi_embedding(-np.eye(3)))
    np.testing.assert_array_equal(indefinite, np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cooccurrence(np.zeros(3), reach=1), TypeError, "cooccurrence: events must be integers, got"),
        (lambda: cooccurrence(np.array([0, -1]), reach=1), ValueError, "events must be at least 0, got -1"),
        (lambda: cooccurrence(np.array([0, 3]), reach=1, size=3), ValueError, "events must be below size=3, got 3"),
        (lambda: cooccurrence(np.array([], int), reach=1), ValueError, "events must not be empty"),
        (lambda: cooccurrence(np.array([0, 1]), reach=0), ValueError, "reach must be positive"),
        (lambda: cooccurrence(np.array([0]), reach=1, metric="city"), ValueError, "metric must be one of"),
        (lambda: pmi_kernel(np.ones((2, 3))), ValueError, r"joint must have shape \(events, events\), got"),
        (lambda: pmi_kernel(np.array([[1.0, -1.0], [-1.0, 1.0]])), ValueError, "joint must not be negative, got -1"),
        (lambda: pmi_kernel(np.array([[1.0, np.nan], [1.0, 1.0]])), ValueError, "joint must be finite"),
        (lambda: pmi_kernel(np.array([[1.0, 2.0], [1.0, 1.0]])), ValueError, "joint must be symmetric"),
        (lambda: pmi_kernel(np.zeros((2, 2))), ValueError, "joint must have no row of zeros"),
        (lambda: pmi_kernel(np.eye(2), smoothing=-1.0), ValueError, "smoothing must be at least 0"),
        (lambda: psd_shift(np.array([[0.0, -np.inf], [-np.inf, 0.0]])), ValueError, "kernel must be finite"),
        (lambda: psd_shift(np.eye(2), along="row"), ValueError, "along must be one of"),
        (lambda: pmi_embedding(np.eye(2), 3), ValueError, "dim must be at most 2, the number of events, got 3"),
        (lambda: pmi_embedding([[1.0]]), TypeError, "kernel must be an array"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
