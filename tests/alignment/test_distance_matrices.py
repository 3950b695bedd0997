"""Differences of distance matrices: norms, the identities with alignment, bounds, masks, gradients, metric axioms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import kernel_family, rsa_family

from jaxalign.alignment.distance_matrices import METRICS, NORMS, distance_alignment, rsm_distance
from jaxalign.measures import dissimilarity as measures

NORM_OF = {
    "frobenius": np.linalg.norm,
    "spectral": lambda d: np.linalg.norm(d, 2),
    "vector": lambda d: np.linalg.norm(d[np.triu_indices(len(d), 1)]),
}
X, Y = (3 * np.abs(v[:16, :5]) for v in CASES["A"])


def difference(x, y, metric):
    return rsa_family.matrix(x, metric) - rsa_family.matrix(y, metric)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def mean_square(x, y, rows="unit", centered=False):
    d = difference(*(unit(v) if rows == "unit" else v for v in (x, y)), "sqeuclidean")
    return np.mean((kernel_family.h_center(d) if centered else d) ** 2)


#: All norms of one metric, and another metric; all of them with `rdm`.
DISTANCES = {("euclidean", norm): of for norm, of in NORM_OF.items()} | {("cosine", "frobenius"): np.linalg.norm}
ALIGNMENTS = [(rows, centered) for rows in ("unit", "raw") for centered in (False, True)]


@jax.jit
def compiled(x, y, mask):
    norms = {(metric, norm): rsm_distance(x, y, metric=metric, norm=norm, mask=mask) for metric, norm in DISTANCES}
    aligned = {
        (rows, centered): distance_alignment(x, y, rows=rows, centered=centered, mask=mask)
        for rows, centered in ALIGNMENTS
    }
    return norms, aligned


def everything(x, y, mask=None):
    """What one program for 16 examples returns: norms and alignments by name."""
    mask = np.ones(16, bool) if mask is None else mask
    norms, aligned = compiled(*(jnp.asarray(v, float) for v in (x, y)), mask)
    return {key: float(value) for key, value in {**norms, **aligned}.items()}


def definitions(x, y):
    norms = {(metric, norm): of(difference(x, y, metric)) for (metric, norm), of in DISTANCES.items()}
    return norms | {(rows, centered): mean_square(x, y, rows, centered) for rows, centered in ALIGNMENTS}


def test_values_equal_the_definitions(x64):
    assert everything(X, Y) == pytest.approx(definitions(X, Y), rel=1e-10 if x64 else 1e-5)


@pytest.mark.usefixtures("float64")
def test_masked_rows_do_not_count():
    mask = np.arange(16) % 5 != 1
    found = everything(*(np.where(mask[:, None], v, np.nan) for v in (X, Y)), mask)
    assert found == pytest.approx(definitions(X[mask], Y[mask]), rel=1e-9)


@pytest.mark.usefixtures("float64")
def test_other_libraries_and_the_norm_they_name():
    """ReSi says the norm of the vector of entries, 67.79, and returns the spectral norm of the matrix."""
    x, y = CASES["A"]
    found = {norm: float(rsm_distance(x, y, norm=norm)) for norm in NORMS}
    assert found["frobenius"] == pytest.approx(95.87246053224479, rel=1e-10)
    assert found["vector"] == pytest.approx(67.79206697138993, rel=1e-10)
    assert found["spectral"] == pytest.approx(59.22624696668664, rel=1e-10)


@pytest.mark.usefixtures("float64")
def test_distance_alignment_by_hand():
    """An example of five rows that was computed independently; and the printed `8 C (1 - A)`."""
    x = np.array([[1, 0], [0, 1], [2, 1], [-1, 1], [0, -2.0]])
    y = np.array([[1, 1, 0], [0, 2, 1], [3, 1, -1], [-1, 0, 2], [0, -1, 1.0]])
    value = float(distance_alignment(x, y))
    assert value == pytest.approx(1.083827094817, rel=1e-11)
    alignment, one, other = 0.710507012696, 0.709929573972, 0.650650024626
    assert value == pytest.approx(4 * (one**2 + other**2 - 2 * alignment * one * other), rel=1e-11)
    signs, turned = np.array([[1], [1], [-1], [-1.0]]), np.array([[1], [-1], [1], [-1.0]])
    # The largest there is: N = 1 and A = 0.
    assert float(distance_alignment(signs, turned)) == pytest.approx(8, rel=1e-12)


@pytest.mark.usefixtures("float64")
def test_distance_alignment_is_a_function_of_kernel_alignment():
    found = everything(X, Y)
    for rows, centered in ALIGNMENTS:
        k, l = (kernel_family.linear(unit(v) if rows == "unit" else v) for v in (X, Y))
        if centered:
            k, l = kernel_family.h_center(k), kernel_family.h_center(l)
        elif rows == "raw":
            continue  # no such relation: lengths count
        squares = np.sum(k * k) + np.sum(l * l) - 2 * np.sum(k * l)
        assert found[rows, centered] == pytest.approx(4 * squares / 16**2, rel=1e-10)


@pytest.mark.usefixtures("float64")
def test_undefined_is_nan():
    zero, nan = (np.where(np.arange(16)[:, None] == 3, value, X) for value in (0, np.nan))
    for changed, undefined in ((zero, {"cosine", "unit"}), (nan, {"cosine", "unit", "euclidean", "raw"})):
        for found in (everything(changed, Y), everything(Y, changed)):
            assert {key[0] for key, value in found.items() if np.isnan(value)} == undefined
    for key, value in everything(X, Y, np.zeros(16, bool)).items():
        assert np.isnan(value) if key in ALIGNMENTS else value == 0, key


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences_and_are_finite():
    @jax.jit
    @jax.value_and_grad
    def total(x, y):
        norms = [rsm_distance(x, y, norm=norm) for norm in NORMS]
        return sum(norms) + sum(distance_alignment(x, y, rows=rows, centered=centered) for rows, centered in ALIGNMENTS)

    direction = np.random.default_rng(0).standard_normal(X.shape)
    ahead, behind = (total(X + h * direction, Y)[0] for h in (1e-6, -1e-6))
    slope = float(jnp.sum(total(X, Y)[1] * direction))
    assert slope == pytest.approx(float(ahead - behind) / 2e-6, rel=1e-6)
    doubled = X.copy()
    doubled[4] = doubled[3]
    for x, y in ((doubled, Y), (X, X), (doubled, doubled), (np.eye(16, 5), np.eye(16, 5)[::-1] + 1)):
        assert np.all(np.isfinite(total(x, y)[1]))
    assert not np.any(total(X, X)[1])


@pytest.mark.slow
@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_any_units(size):
    """Of raw rows `distance_alignment` has the fourth power of the units, which is out of range."""
    x, y = (v.astype(np.float32) for v in (X, Y))
    before, after = everything(x, y), everything(*(v * np.float32(size) for v in (x, y)))
    for key in before.keys() - {("raw", False), ("raw", True)}:
        expected = before[key] * (size if key[0] == "euclidean" else 1)
        assert after[key] == pytest.approx(expected, rel=2e-5), key


@pytest.mark.slow
def test_measures():
    """What they claim: bounds, invariances in both directions, axioms of a metric."""
    g = np.random.default_rng(5)
    layers = [v.astype(np.float32) for v in (X, Y, X[:, ::-1] + 0.3 * Y, X[:, :3], np.abs(g.standard_normal((16, 5))))]
    turn = np.linalg.qr(g.standard_normal((5, 5)))[0]
    actions = {
        "translation": X + np.arange(5),
        "scaling": 2 * X,
        "row_scaling": X * np.linspace(1, 2, 16)[:, None],
        "permutation": X[:, ::-1],
        "orthogonal": X @ turn,
        "feature_scaling": X * np.linspace(1, 2, 5),
        "invertible_linear": X @ (np.eye(5) + np.eye(5, k=1)),
    }
    for measure in [measures.rsm_distance(metric=m) for m in METRICS if m != "poisson"] + [
        measures.rsm_distance(norm="spectral"),
        measures.distance_alignment(),
        measures.distance_alignment(rows="raw", centered=True),
    ]:
        changed = [X, *actions.values()]
        found = np.asarray(measure.matrix([v.astype(np.float32) for v in changed], layers[1:2]))[:, 0]
        same = np.abs(found[1:] / found[0] - 1) < 2e-5
        assert dict(zip(actions, same, strict=True)) == {name: name in measure.invariances for name in actions}
        distances = np.asarray(measure.matrix(layers), np.float64)
        np.testing.assert_array_equal(distances, distances.T)
        assert np.all((distances >= measure.bounds[0]) & (distances <= measure.bounds[1])), measure.definition
        assert np.all(np.diag(distances) < 1e-3 * distances.max())
        through = distances[:, :, None] + distances[None, :, :]
        assert np.all(distances[:, None, :] <= through * (1 + 1e-5)) or not measure.metric


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: rsm_distance(X, Y, norm="nuclear"), "rsm_distance: norm must be one of"),
        (lambda: rsm_distance(X, Y, metric="crossnobis"), "rsm_distance: metric must be one of"),
        (lambda: rsm_distance(X, Y[:9]), "rsm_distance: x and y must have the same number of rows"),
        (lambda: distance_alignment(X, Y, rows="one"), "distance_alignment: rows must be one of"),
        (lambda: measures.rsm_distance(norm="nuclear"), "rsm_distance: norm must be one of"),
        (lambda: measures.distance_alignment(rows="one"), "distance_alignment: rows must be one of"),
    ],
)
def test_mistakes_are_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_lowers_for_every_platform():
    x, mask = jax.ShapeDtypeStruct((16, 5), "float32"), jax.ShapeDtypeStruct((16,), "bool")
    platforms = ["cpu", "cuda", "tpu"]
    assert list(jax.export.export(compiled, platforms=platforms)(x, x, mask).platforms) == platforms
