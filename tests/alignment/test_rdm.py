"""RDM: every dissimilarity against its definition, repeated measurements, noise, masks, gradients, edges."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import rsa_family as oracle
from scipy.spatial.distance import pdist, squareform

from jaxalign.alignment.rsa import rdm
from jaxalign.signatures.noise import noise_covariance
from jaxalign.signatures.whitened import UninformativeWarning

X = 3 * np.abs(CASES["A"][0][:24, :4])
PLATFORMS = ["cpu", "cuda", "tpu"]
SPREAD = np.random.default_rng(0).standard_normal((4, 4))
NOISE = SPREAD @ SPREAD.T + np.diag([1, 2, 0.5, 1])
#: Settings of `rdm`, and the definition.
MATRICES = {
    "correlation": ({"metric": "correlation"}, lambda x: squareform(pdist(x, "correlation"))),
    "cosine": ({"metric": "cosine"}, lambda x: squareform(pdist(x, "cosine"))),
    "euclidean": ({"metric": "euclidean"}, lambda x: squareform(pdist(x))),
    "sqeuclidean": ({"metric": "sqeuclidean"}, lambda x: squareform(pdist(x, "sqeuclidean"))),
    "mahalanobis": ({"metric": "mahalanobis"}, oracle.mahalanobis),
    "mahalanobis noise": ({"metric": "mahalanobis", "noise": NOISE}, lambda x: oracle.mahalanobis(x, NOISE)),
    "poisson": ({"metric": "poisson"}, oracle.poisson),
    "crossnobis 2": ({"metric": "crossnobis", "repeats": 2}, lambda x: oracle.crossnobis(x, 2)),
    "crossnobis 3 noise": (
        {"metric": "crossnobis", "repeats": 3, "noise": NOISE},
        lambda x: oracle.crossnobis(x, 3, NOISE),
    ),
    "averaged": ({"metric": "cosine", "repeats": 4}, lambda x: squareform(pdist(oracle.averaged(x, 4), "cosine"))),
}


@jax.jit
def matrices(x, noise, mask):
    def one(*, noise=None, **settings):
        return rdm(x, mask=mask, noise=noise, **settings)

    return {
        name: one(**settings | ({"noise": noise} if "noise" in settings else {}))
        for name, (settings, _) in MATRICES.items()
    }


def everything(x, mask=None):
    mask = np.ones(len(x), bool) if mask is None else mask
    found = matrices(*(jnp.asarray(v, float) for v in (x, NOISE)), mask)
    return {name: np.asarray(matrix) for name, matrix in found.items()}


def test_values_equal_the_definitions(x64):
    for name, found in everything(X).items():
        expected = MATRICES[name][1](X)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=(1e-12 if x64 else 1e-5) * scale, err_msg=name)
        np.testing.assert_array_equal(np.diag(found), 0)
        np.testing.assert_allclose(found, found.T, atol=1e-6 * scale)


@pytest.mark.slow
def test_far_from_the_origin():
    """Where the cosines of all rows are about 1."""
    far = (X + 100).astype(np.float32)
    for name, found in everything(far).items():
        expected = MATRICES[name][1](far.astype(np.float64))
        # A mean of four repeats is rounded far from the origin as well.
        tolerance = (1e-3 if name == "averaged" else 1e-4) * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=name)


@pytest.mark.usefixtures("float64")
def test_relations():
    """To squared Euclidean distances of whitened rows; of equal repeats crossnobis is such a distance as well."""
    whitened = X @ np.linalg.inv(np.linalg.cholesky(NOISE)).T
    found = everything(X)
    np.testing.assert_allclose(found["mahalanobis noise"] ** 2, squareform(pdist(whitened)) ** 2, rtol=1e-9)
    assert found["crossnobis 2"].min() < 0
    same = everything(np.tile(X[:8], (3, 1)))["crossnobis 3 noise"]
    np.testing.assert_allclose(same, squareform(pdist(whitened[:8])) ** 2, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_masked_rows_do_not_count():
    """An example counts when all its measurements do."""
    mask = np.ones(24, bool)
    mask[[2, 7, 19]] = False
    padded = np.where(mask[:, None], X, np.nan)
    for name, found in everything(padded, mask).items():
        repeats = MATRICES[name][0].get("repeats", 1)
        kept = mask.reshape(repeats, -1).all(axis=0)
        expected = MATRICES[name][1](X[np.tile(kept, repeats)])
        np.testing.assert_allclose(found[np.ix_(kept, kept)], expected, rtol=1e-9, atol=1e-12, err_msg=name)
        assert np.all(np.isnan(found[~kept])), name
        assert np.all(np.isnan(found[:, ~kept])), name


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences_and_are_finite():
    mask = np.ones(24, bool)
    mask[[2, 19]] = False
    weights = np.random.default_rng(1).standard_normal((24, 24))

    @jax.jit
    @jax.value_and_grad
    def total(x):
        found = matrices(x, NOISE, mask).values()
        return sum(jnp.nansum(matrix * weights[: len(matrix), : len(matrix)]) for matrix in found)

    direction = np.random.default_rng(0).standard_normal(X.shape)
    gradient = total(X)[1]
    ahead, behind = (total(X + h * direction)[0] for h in (1e-6, -1e-6))
    assert float(jnp.sum(gradient * direction)) == pytest.approx(float(ahead - behind) / 2e-6, rel=1e-6)
    assert not np.any(total(np.where(mask[:, None], X, np.nan))[1][~mask])
    degenerate = X.copy()
    degenerate[4:7], degenerate[:, 2] = degenerate[3], 1
    assert np.all(np.isfinite(total(degenerate)[1]))


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_any_units(size):
    """Distances in units of a covariance have none."""
    x = X.astype(np.float32)
    before, after = everything(x), everything(x * np.float32(size))
    noise = {"mahalanobis noise": size, "crossnobis 3 noise": size**2}
    factors = {"euclidean": size, "sqeuclidean": size**2} | noise
    for name in before.keys() - {"poisson"}:
        expected = before[name] * factors.get(name, 1)
        np.testing.assert_allclose(after[name], expected, atol=2e-5 * np.abs(expected).max(), err_msg=name)


def test_features_in_units_of_their_own():
    """The rounding of a covariance does not depend on them."""
    units = np.array([1e-9, 1, 1e9, 1e4])
    found = everything(X * units)["mahalanobis"]
    np.testing.assert_allclose(found, oracle.mahalanobis(X), atol=1e-4)


def test_nearly_equal_rows_are_at_no_negative_distance():
    """By poisson, of which rounding would make one."""
    x = 100 * X[:1] + 1e-3 * X
    found = everything(np.concatenate([x[:12], 100 * X[12:]]))["poisson"]
    assert found.min() == 0


@pytest.mark.usefixtures("float64")
def test_what_leaves_distances_in_units_of_a_covariance_as_they_are():
    before = everything(X)
    moved = everything(X @ SPREAD)["mahalanobis"]
    np.testing.assert_allclose(moved, before["mahalanobis"], rtol=1e-9, atol=1e-12)
    drift = np.repeat(np.random.default_rng(2).standard_normal((3, 4)), 8, axis=0)
    drifted = everything(X + drift)["crossnobis 3 noise"]
    np.testing.assert_allclose(drifted, before["crossnobis 3 noise"], atol=1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_the_noise_is_that_of_scikit_learn():
    ledoit_wolf = pytest.importorskip("sklearn.covariance").ledoit_wolf
    for repeats in (2, 3):
        blocks = X.reshape(repeats, -1, 4)
        expected, _ = ledoit_wolf(oracle.residuals(X, repeats), assume_centered=True)
        found = noise_covariance(jnp.asarray(blocks))
        np.testing.assert_allclose(found, expected * repeats / (repeats - 1), rtol=1e-12)


@pytest.mark.usefixtures("float64")
def test_crossnobis_is_not_raised_by_noise():
    """On average it is the distance of the means, which the distance of averages exceeds."""
    g = np.random.default_rng(0)
    means = g.standard_normal((5, 4))
    root = np.linalg.cholesky(NOISE)
    data = np.tile(means, (3, 1)) + g.standard_normal((4000, 15, 4)) @ root.T
    upper = np.triu_indices(5, 1)

    @jax.jit
    @jax.vmap
    def both(x):
        return [rdm(x, metric=metric, repeats=3, noise=NOISE) for metric in ("crossnobis", "mahalanobis")]

    cross, plain = (np.asarray(found)[:, *upper] for found in both(data))
    truth = oracle.mahalanobis(means, NOISE)[upper] ** 2
    error = cross.std(axis=0) / np.sqrt(len(cross))
    assert np.all(np.abs(cross.mean(axis=0) - truth) < 4 * error)
    # Twice the variance of a mean of three, in each of four directions.
    np.testing.assert_allclose((plain**2).mean(axis=0) - truth, 2 * 4 / 3, rtol=0.1)


@pytest.mark.usefixtures("float64")
def test_edges():
    same = np.tile(X[:12], (2, 1))
    # No noise to measure in units of; the mean of three equal numbers may be another.
    assert np.all(np.isnan(everything(same)["crossnobis 2"]))
    assert np.all(np.isnan(rdm(np.tile(X[:8], (3, 1)), metric="crossnobis", repeats=3)))
    negative = X.copy()
    negative[3, 1] = -0.05
    found = everything(negative)["poisson"]
    np.testing.assert_array_equal(np.isnan(found), (np.arange(24) == 3)[:, None] | (np.arange(24) == 3)[None, :])
    kept = np.arange(24) != 3
    np.testing.assert_allclose(found[np.ix_(kept, kept)], oracle.poisson(X[kept]), rtol=1e-9, atol=1e-12)
    # Features without noise, or without spread, count for nothing; units of others do not matter.
    units = np.diag([1, 1e-7, 1, 0])
    part = rdm(X @ (units + np.diag([0, 0, 0, 1])), metric="mahalanobis", noise=units @ NOISE @ units)
    np.testing.assert_allclose(part, oracle.mahalanobis(X[:, :3], NOISE[:3, :3]), rtol=1e-7)
    constant = rdm(X * np.array([1.0, 1, 1, 0]), metric="mahalanobis")
    np.testing.assert_allclose(constant, oracle.mahalanobis(X[:, :3]), rtol=1e-9, atol=1e-9)


def test_as_many_features_as_examples_say_nothing():
    x = jnp.asarray(CASES["A"][0][:9, :8], float)
    with pytest.warns(UninformativeWarning, match="9 examples of 8 features"):
        found = rdm(x, metric="mahalanobis")
    np.testing.assert_allclose(found, 4 * (1 - np.eye(9)), atol=1e-4)
    with pytest.warns(UninformativeWarning, match="9 examples of 8 features"):
        rdm(jnp.tile(x, (2, 1)), metric="mahalanobis", repeats=2)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"metric": "manhattan"}, ValueError, "rdm: metric must be one of"),
        ({"metric": "crossnobis"}, ValueError, "rdm: crossnobis needs every example measured repeats >= 2 times"),
        ({"repeats": 5}, ValueError, r"rdm: repeats must divide the number of rows \(24\), got 5"),
        ({"repeats": -1}, ValueError, "rdm: repeats must be at least 1"),
        ({"repeats": 1.5}, TypeError, "rdm: repeats must be an integer"),
        ({"noise": NOISE}, ValueError, "rdm: noise is used by mahalanobis and crossnobis only, got metric='corr"),
        ({"metric": "mahalanobis", "noise": NOISE[:3]}, ValueError, r"covariance of shape \(4, 4\), got .* \(3, 4\)"),
        ({"metric": "mahalanobis", "noise": np.eye(4, dtype=int)}, TypeError, "rdm: noise must be floating point"),
    ],
)
def test_mistakes_are_named(settings, error, says):
    with pytest.raises(error, match=says):
        rdm(X, **settings)


def test_lowers_for_every_platform():
    x, noise = (jax.ShapeDtypeStruct((n, 4), "float32") for n in (24, 4))
    exported = jax.export.export(matrices, platforms=PLATFORMS)(x, noise, jax.ShapeDtypeStruct((24,), "bool"))
    assert list(exported.platforms) == PLATFORMS
