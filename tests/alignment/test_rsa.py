"""RSA: comparisons against SciPy and rsatoolbox's values, ties, masks, sizes, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import kernel_family, shape_family
from oracles import rsa_family as oracle
from scipy.stats import rankdata

from jaxalign.alignment.rsa import rsa
from jaxalign.measures.dissimilarity import rsa as rsa_measure
from jaxalign.signatures.dissimilarities import DISSIMILARITIES
from jaxalign.signatures.rdm import pairs_once, ranks

COMPARED = oracle.COMPARED
#: Every matrix by one comparison or two.
EACH = [
    ("correlation", "pearson"),
    ("cosine", "cosine"),
    ("sqeuclidean", "cosine"),
    ("sqeuclidean", "bures"),
    ("mahalanobis", "whitened_cosine"),
    ("crossnobis", "cosine"),
    ("crossnobis", "bures"),
    ("poisson", "whitened_correlation"),
]
#: And one matrix by all comparisons.
ONE = [("euclidean", comparison) for comparison in COMPARED]
#: And every matrix by every comparison, in two halves with all matrices and all comparisons in each.
HALVES = [
    [(m, c) for i, m in enumerate(DISSIMILARITIES) for j, c in enumerate(COMPARED) if (i + j) % 2 == half]
    for half in (0, 1)
]
BY_ORDER = ("spearman", "kendall", "tau_a", "rho_a")


def repeats_of(metric, repeats=2):
    return repeats if metric == "crossnobis" else 1


def counts(n):
    """Inputs that every dissimilarity takes: not negative, fewer features than rows."""
    return [3 * np.abs(v[:n, :5]) for v in CASES["A"]]


def several(pairs, repeats=2):
    def scores(x, y, mask=None):
        return [
            rsa(x, y, metric=metric, comparison=comparison, repeats=repeats_of(metric, repeats), mask=mask)
            for metric, comparison in pairs
        ]

    return jax.jit(scores)


compiled = {"each": (EACH, several(EACH)), "one": (ONE, several(ONE))}


def scored(program, x, y, mask=None):
    """Pairs of names and the scores of 16 examples: every matrix in float32, all comparisons in float64."""
    mask = np.ones(16, bool) if mask is None else mask
    pairs, call = compiled[program]
    with jax.enable_x64(program == "one"):
        return list(zip(pairs, map(float, call(*(jnp.asarray(v, float) for v in (x, y)), mask)), strict=True))


def check_values(found, x, y, *, tolerance, repeats=2):
    for (metric, comparison), value in found:
        expected = oracle.rsa(x, y, metric, comparison, repeats_of(metric, repeats))
        # In float32 two of a hundred close dissimilarities may change places.
        near = 1e-3 if tolerance > 1e-6 and comparison in BY_ORDER else tolerance
        assert abs(float(value) - expected) < near, (metric, comparison)


PROGRAMS = pytest.mark.parametrize(("program", "tolerance"), [("each", 2e-5), ("one", 1e-10)])


@PROGRAMS
def test_values_equal_the_definitions(program, tolerance):
    """For an even number of examples half a row of pairs is there twice."""
    check_values(scored(program, *counts(16)), *counts(16), tolerance=tolerance)


@pytest.mark.slow
def test_all_values_equal_the_definitions(x64):
    """Of an odd number of examples, and of repeats: half of the pairs in float32, the others in float64."""
    x, y = counts(15)
    found = several(HALVES[x64], repeats=3)(jnp.asarray(x, float), jnp.asarray(y, float))
    check_values(zip(HALVES[x64], found, strict=True), x, y, tolerance=1e-10 if x64 else 2e-5, repeats=3)


#: rsatoolbox 0.3.2, and ReSi's RSA, for cases A, B and D; None where a constant row has no correlation.
PEERS = {
    ("correlation", "spearman"): (0.5102917107575095, 0.8068222435504433, None),
    ("correlation", "pearson"): (0.5258605895177023, 0.8235080204193453, None),
    ("correlation", "cosine"): (0.953295622688873, 0.9884653911846949, None),
    ("correlation", "whitened_cosine"): (0.5836612987957154, 0.8700544262669319, None),
    ("correlation", "whitened_correlation"): (0.5225431706786464, 0.8220312081835229, None),
    ("correlation", "bures"): (0.6996819814995138, 0.9268307720988446, None),
    ("sqeuclidean", "spearman"): (0.3815062647515028, 0.7247031584915113, 0.018662849810680626),
    ("sqeuclidean", "pearson"): (0.3726677778130374, 0.6971190266411154, 0.03215201898139913),
    ("sqeuclidean", "cosine"): (0.8925134614380735, 0.9490018618096873, 0.7980508011447438),
    ("sqeuclidean", "rho_a"): (0.38150626475150284, 0.7247031584915112, 0.0184695486539702),
    ("sqeuclidean", "whitened_cosine"): (0.55765655633049, 0.8279634656765356, 0.1343514696912874),
    ("sqeuclidean", "whitened_correlation"): (0.49946652466439173, 0.7744096824066468, 0.06152153740201292),
    ("sqeuclidean", "bures"): (0.6964334827782267, 0.910545852575338, 0.29253477757595503),
}


def check_peers(found, case):
    for pair, value in found:
        expected = PEERS[pair]["ABD".index(case)]
        if expected is None:
            assert np.isnan(value), pair
        else:
            # Their Bures similarity takes roots of eigenvalues that are rounding.
            assert float(value) == pytest.approx(expected, rel=2e-7 if pair[1] == "bures" else 1e-10), pair


@pytest.mark.parametrize("case", [pytest.param("A", marks=pytest.mark.slow), "B"])
def test_the_definitions_are_those_of_other_libraries(case):
    check_peers([(pair, oracle.rsa(*CASES[case], *pair)) for pair in PEERS], case)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_values_of_other_libraries():
    """Of ties, and of rows that are constant; the definitions have those of A and B."""
    check_peers(zip(PEERS, several(PEERS)(*CASES["D"]), strict=True), "D")


def test_the_definitions_are_those_of_other_measures():
    """Squared distances, double-centered, are linear kernel matrices."""
    x, y = CASES["B"]
    whitened, bures, plain = (oracle.rsa(x, y, "sqeuclidean", c) for c in ("whitened_cosine", "bures", "cosine"))
    assert whitened == pytest.approx(kernel_family.cka(kernel_family.linear(x), kernel_family.linear(y)), rel=1e-10)
    assert bures == pytest.approx(np.cos(shape_family.angular_procrustes(x, y)), rel=1e-10)
    assert plain > whitened + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3, 6, 7, 10])
def test_every_pair_counts_once(n):
    columns, weights = pairs_once(n)
    total = np.zeros((n, n))
    for i, (row, weight) in enumerate(zip(np.asarray(columns), np.asarray(weights), strict=True)):
        for j, w in zip(row, weight, strict=True):
            total[i, j] += w
            total[j, i] += w
    np.testing.assert_array_equal(total, 1 - np.eye(n))


def test_ranks_with_many_ties():
    values = np.random.default_rng(0).integers(0, 5, (9, 4)).astype(np.float32)
    found = np.asarray(jax.jit(ranks)(jnp.asarray(values), jnp.ones((9, 4), jnp.float32)))
    np.testing.assert_allclose(found.ravel(), (rankdata(values) - 0.5) / 36, atol=1e-6)


def test_ties_between_dissimilarities():
    """One-hot rows: few different distances. Coefficients that correct for ties, and those that do not."""
    g = np.random.default_rng(1)
    x, y = (np.eye(5)[g.integers(0, 4, 16)] for _ in range(2))
    check_values(scored("one", x, y), x, y, tolerance=1e-10)


@PROGRAMS
def test_masked_rows_do_not_count(program, tolerance):
    """An example of two measurements counts when both rows do."""
    mask = np.ones(16, bool)
    mask[[3, 5, 13]] = False
    both = np.tile(mask[:8] & mask[8:], 2)
    x, y = counts(16)
    found = scored(program, *(np.where(mask[:, None], v, np.nan) for v in (x, y)), mask)
    for repeats, kept in ((1, mask), (2, both)):
        part = [one for one in found if repeats_of(one[0][0]) == repeats]
        check_values(part, x[kept], y[kept], tolerance=tolerance)


@pytest.mark.parametrize("program", compiled)
def test_what_is_not_defined_is_nan(program):
    x, y = counts(16)
    row = np.arange(16)[:, None] == 3
    undefined = {
        "a constant row": (np.where(row, 0.1, x), {"correlation"}),
        "a zero row": (np.where(row, 0, x), {"correlation", "cosine"}),
        "a negative row": (np.where(row, -x, x), {"poisson"}),
        "not a number": (np.where(row, np.nan, x), set(DISSIMILARITIES)),
    }
    for name, (z, metrics) in undefined.items():
        for inputs in ((z, y), (y, z)):
            for (metric, comparison), value in scored(program, *inputs):
                assert np.isnan(value) == (metric in metrics), (name, metric, comparison)
    for pair, value in scored(program, np.ones_like(x), y):
        # These two take no account of ties.
        assert value == 0 if pair[1] in ("tau_a", "rho_a") else np.isnan(value), pair


def test_examples_that_are_equally_far_apart():
    """Nothing is left to compare once the mean is taken off; and rounding is no spread."""
    x, y = np.zeros((16, 5)), counts(16)[1]
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    x[:6] = np.linalg.svd(np.eye(6) - 1 / 6)[0][:, :5] @ turn
    alike = {"tau_a", "rho_a", "cosine", "whitened_cosine", "bures"}
    for (_, comparison), value in scored("one", x, y, np.arange(16) < 6):
        assert np.isnan(value) == (comparison not in alike), (comparison, value)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences_and_are_finite():
    """Of the comparisons; those of dissimilarities are tested with `rdm`."""
    pairs = [("sqeuclidean", comparison) for comparison in COMPARED if comparison not in BY_ORDER]
    pairs += [("cosine", "pearson"), ("cosine", "whitened_cosine")]
    scores, weights = several(pairs), np.linspace(1, 2, len(pairs))
    slope = jax.jit(jax.value_and_grad(lambda x, y: jnp.sum(jnp.stack(scores(x, y)) * weights)))
    x, y = counts(12)
    direction = np.random.default_rng(0).standard_normal(x.shape)
    ahead, behind = (slope(x + h * direction, y)[0] for h in (1e-6, -1e-6))
    gradient = slope(x, y)[1]
    assert float(jnp.sum(gradient * direction)) == pytest.approx(float(ahead - behind) / 2e-6, rel=1e-6)
    doubled, undefined = x.copy(), x.copy()
    doubled[4], doubled[:, 2] = doubled[3], 1
    undefined[4] = 0
    for z in (doubled, undefined, np.ones_like(x)):
        assert np.all(np.isfinite(slope(z, y)[1]))


@pytest.mark.parametrize("size", [1e-9, 1e12])
def test_any_units(size):
    x, y = counts(16)
    for (pair, before), (_, after) in zip(*(scored("each", v, y) for v in (x, x * size)), strict=True):
        if pair[0] != "poisson":
            assert after == pytest.approx(before, abs=2e-5), pair


@pytest.mark.parametrize(
    ("setting", "error", "says"),
    [
        ({"metric": "l1"}, ValueError, "rsa: metric must be one of"),
        ({"comparison": "tau"}, ValueError, "rsa: comparison must be one of"),
        ({"metric": "crossnobis"}, ValueError, "rsa: crossnobis needs every example measured repeats >= 2 times"),
        ({"repeats": 3}, ValueError, r"rsa: repeats must divide the number of rows \(16\), got 3"),
        ({"repeats": 0}, ValueError, "rsa: repeats must be at least 1, got 0"),
        ({"repeats": 2.0}, TypeError, "rsa: repeats must be an integer"),
    ],
)
def test_mistakes_are_named(setting, error, says):
    x = counts(16)[0].astype(np.float32)
    with pytest.raises(error, match=says):
        rsa(x, x, **setting)
    with pytest.raises(error, match=says):
        rsa_measure(**setting)(x, x)


@pytest.mark.slow
def test_the_measure_is_the_function_on_layers_of_any_width():
    """Zero features would change crossnobis and correlation: layers are padded with them elsewhere."""
    x, y = (v.astype(np.float32) for v in counts(16))
    layers = [x, y, x[:, :3], y[:, :2], x[:, :4]]
    for metric, comparison in (("crossnobis", "pearson"), ("mahalanobis", "whitened_cosine")):
        measure = rsa_measure(metric=metric, comparison=comparison, repeats=2)
        found = measure.matrix(layers)
        expected = [[oracle.rsa(a, b, metric, comparison, 2) for b in layers] for a in layers]
        np.testing.assert_allclose(found, expected, atol=2e-4)
    assert measure.definition == "rsa[mahalanobis,repeats=2,whitened_cosine]"


@pytest.mark.slow
def test_lowers_for_every_platform():
    x, mask = jax.ShapeDtypeStruct((64, 8), "float32"), jax.ShapeDtypeStruct((64,), "bool")
    exported = jax.export.export(several(EACH + ONE), platforms=["cpu", "cuda", "tpu"])(x, x, mask)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert {out.dtype for out in exported.out_avals} == {np.dtype("float32")}


def test_squared_distances_of_any_size():
    x, y = (v[:16].astype(np.float32) for v in CASES["A"])

    @jax.jit
    def both(x):
        return [rsa(x, y, metric="sqeuclidean", comparison=c) for c in ("pearson", "whitened_cosine")]

    one = both(x)
    for scale in (1e-25, 1e-20, 1e20, 1e25):
        np.testing.assert_allclose(both(x * np.float32(scale)), one, rtol=1e-5)
