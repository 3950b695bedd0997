"""CKA beyond the plug-in and the unbiased estimate: hollow, in batches, for sampled features, given a confounder."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import kernel_family as oracle

from jaxalign import RBF, Cosine, Linear, cka, compare, deconfounded_cka, hsic, measures
from jaxalign.engines import running_moments
from jaxalign.signatures.minibatches import cut_into_batches

Z = np.random.default_rng(5).standard_normal((64, 6)) + 0.4 * CASES["A"][0][:, :6]
MASK = np.arange(64) % 5 != 2


def batches_of(n, size):
    return np.array_split(np.arange(n), max(1, n // size))


@jax.jit
def everything(x, y, z, mask=None):
    return {
        "lange": cka(x, y, estimator="lange", mask=mask),
        "lange rbf": cka(x, y, kernel=RBF(6.0), estimator="lange", mask=mask),
        "lange hsic": hsic(x, y, kernel=RBF(6.0), estimator="lange", mask=mask),
        "sum": hsic(x, y, scaling="none", mask=mask),
        "batches": cka(x, y, estimator="minibatch", batch_size=10, mask=mask),
        "batches rbf": cka(x, y, kernel=RBF(6.0), estimator="minibatch", batch_size=10, mask=mask),
        "features": cka(x, y, estimator="feature_corrected", mask=mask),
        "given": deconfounded_cka(x, y, z, mask=mask),
        "given rbf": deconfounded_cka(x, y, z, kernel=RBF(6.0), kernel_z=Linear(), estimator="unbiased", mask=mask),
    }


#: One of each, for derivatives.
FEW = ("lange rbf", "batches", "features", "given")


def total(x, y, z, mask=None):
    found = everything(x, y, z, mask)
    return sum(found[name] for name in FEW)


def linear_scores(x, y, z):
    linear = [oracle.linear(v) for v in (x, y)]
    return {
        "lange": oracle.cka(*linear, "hollow"),
        "sum": np.trace(linear[0] @ oracle.h_center(linear[1])),
        "batches": oracle.minibatch_cka(x, y, batches_of(len(x), 10)),
        "features": oracle.feature_corrected_cka(x, y),
        "given": oracle.deconfounded_cka(*(oracle.linear(v - v.mean(axis=0)) for v in (x, y, z))),
    }


def rbf_scores(x, y, z):
    n, k, l = len(x), oracle.rbf(x, 6.0), oracle.rbf(y, 6.0)
    xy, xz, yz = (oracle.cka(*pair, "unbiased") for pair in ((k, l), (k, z @ z.T), (l, z @ z.T)))
    return {
        "lange rbf": oracle.cka(k, l, "hollow"),
        "lange hsic": np.sum(oracle.hollow_center(k) * oracle.hollow_center(l)) / (n * (n - 3)),
        "batches rbf": oracle.minibatch_cka(x, y, batches_of(n, 10), lambda v: oracle.rbf(v, 6.0)),
        "given rbf": (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)),
    }


def expected(x, y, z):
    return linear_scores(x, y, z) | rbf_scores(x, y, z)


def test_values_equal_the_definitions(x64):
    """64 rows in 6 batches of two sizes."""
    x, y = CASES["A"]
    found = everything(*(jnp.asarray(v, float) for v in (x, y, Z)))
    for name, value in expected(x, y, Z).items():
        assert float(found[name]) == pytest.approx(value, rel=1e-10 if x64 else 2e-5), name


@pytest.mark.slow
def test_masked_rows_do_not_count():
    """What stands in for padding has no say, and no gradient; batches are those of the rows that count."""
    x, y = (v.astype(np.float32) for v in CASES["A"])
    z = Z.astype(np.float32)
    padded = [np.where(MASK[:, None], v, np.float32(np.nan)) for v in (x, y, z)]
    found = everything(*padded, MASK)
    for name, value in expected(*(v[MASK].astype(float) for v in (x, y, z))).items():
        assert float(found[name]) == pytest.approx(value, rel=5e-5), name
    gradient = np.asarray(jax.jit(jax.grad(total))(*padded, MASK))
    assert np.all(gradient[~MASK] == 0)
    assert np.all(np.isfinite(gradient))


@pytest.mark.usefixtures("float64")
def test_values_of_published_implementations():
    """wrongu/repsim returns the arc cosine of the hollow estimate; ckatorch has batches of 32 rows."""
    for case, angle in (("A", 1.038597607885881), ("B", 0.6644420086991912), ("D", 1.506586113206504)):
        assert np.arccos(float(cka(*CASES[case], estimator="lange"))) == pytest.approx(angle, rel=1e-10)
    found = cka(*CASES["A"], estimator="minibatch", batch_size=32)
    assert float(found) == pytest.approx(0.5108838850727265, rel=1e-10)
    # Of cases with no multiple of 32 rows, ckatorch was given the first 32.
    for case, value in (("B", 0.8010528893872283), ("D", 0.09971402909363786)):
        first = [v[:32] for v in CASES[case]]
        assert float(cka(*first, estimator="minibatch", batch_size=32)) == pytest.approx(value, rel=1e-10)


def test_size_does_not_matter_to_batches():
    x, y = (v.astype(np.float32) for v in CASES["A"])
    one = float(cka(x, y, estimator="minibatch", batch_size=20))
    for scale in (1e-30, 1e-20, 1e20, 1e30):
        found = cka(x * np.float32(scale), y, estimator="minibatch", batch_size=20)
        assert float(found) == pytest.approx(one, rel=1e-5), scale


@pytest.mark.slow
@pytest.mark.parametrize(("n", "size"), [(12, 4), (13, 4), (15, 4), (7, 4), (4, 4), (3, 4), (64, 10)])
def test_batches_hold_every_row_once(n, size):
    places, counted = cut_into_batches(n, size, None)
    found = [list(np.asarray(p)[... if counted is None else np.asarray(counted)[i]]) for i, p in enumerate(places)]
    assert found == [list(batch) for batch in batches_of(n, size)]


@pytest.mark.slow
@pytest.mark.parametrize("counted", [0, 1, 4, 9, 16, 20])
def test_batches_of_masked_rows(counted):
    mask = np.zeros(20, bool)
    mask[np.random.default_rng(1).permutation(20)[:counted]] = True
    places, here = (np.asarray(v) for v in cut_into_batches(20, 4, mask))
    found = [list(p[h]) for p, h in zip(places, here, strict=True)]
    wanted = np.array_split(np.flatnonzero(mask), max(1, counted // 4))
    assert found == [list(batch) for batch in wanted] + [[]] * (5 - len(wanted))


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    x, y = (v[:24] for v in CASES["A"])
    compiled = jax.jit(jax.value_and_grad(total))
    gradient = compiled(x, y, Z[:24])[1]
    direction = np.random.default_rng(0).standard_normal(x.shape)
    up, down = (compiled(x + step * direction, y, Z[:24])[0] for step in (1e-6, -1e-6))
    slope = (up - down) / 2e-6
    assert float(np.sum(gradient * direction)) == pytest.approx(float(slope), rel=1e-6)


@pytest.mark.slow
def test_far_rows_and_offsets_keep_the_digits():
    """Float32 inputs far from the origin, of any size, one row of them far out."""
    x, y = (v.astype(np.float32) for v in CASES["A"])
    far = x * np.float32(1e12) + np.float32(3e13)
    out = x.copy()
    out[7] *= 1000
    for one in (far, out):
        found, wanted = everything(one, y, Z.astype(np.float32)), linear_scores(one.astype(float), y.astype(float), Z)
        for name in ("lange", "batches", "features", "given"):
            assert float(found[name]) == pytest.approx(wanted[name], rel=2e-4, abs=2e-6), name


@pytest.mark.slow
def test_noise_scores_zero_and_sampled_features_score_what_the_population_does():
    """Two populations of 4000 features that share a signal, seen through 60 features each, 200 times."""
    g = np.random.default_rng(0)
    signal = g.standard_normal((60, 8))
    x, y = (signal @ g.standard_normal((8, 4000)) + g.standard_normal((60, 4000)) for _ in range(2))
    whole = float(cka(x.astype(np.float32), y.astype(np.float32), estimator="unbiased"))

    @jax.jit
    def both(x, y):
        return [cka(x, y, estimator=estimator) for estimator in ("unbiased", "feature_corrected")]

    def sample(v):
        return v[:, g.choice(4000, 60, replace=False)].astype(np.float32)

    plain, corrected = np.mean([both(sample(x), sample(y)) for _ in range(200)], axis=0)
    assert corrected == pytest.approx(whole, abs=0.02)
    assert plain < whole - 0.1
    noise = [g.standard_normal((60, 200)).astype(np.float32) for _ in range(2)]
    for estimator in ("lange", "minibatch", "feature_corrected"):
        assert abs(float(cka(*noise, estimator=estimator))) < 0.1 < float(cka(*noise)), estimator


@pytest.mark.slow
def test_what_is_not_defined_is_nan():
    x, y = (v.astype(np.float32) for v in CASES["A"])
    flat = np.ones_like(x)
    for name, value in everything(flat, y, Z.astype(np.float32)).items():
        assert np.isnan(value) or name in ("lange hsic", "sum"), name
    for estimator in ("lange", "minibatch", "feature_corrected"):
        assert np.isnan(cka(x[:3], y[:3], estimator=estimator)), estimator
    assert np.isnan(cka(x[:, :1], y, estimator="feature_corrected"))
    assert np.isnan(deconfounded_cka(x, y, 2 * x + 1))
    assert float(cka(x, x, estimator="feature_corrected")) > 1  # the same features, not others of a population


def test_a_constant_batch_adds_nothing():
    """Its units may be anything: those of the others still hold."""
    x, y = (v[:40].astype(np.float32) * np.float32(1e-12) for v in CASES["A"])
    x[10:20] = 0
    wide = [v.astype(float) * 1e12 for v in (x, y)]
    hsic = {
        name: sum(oracle.hsic_song(oracle.linear(a[rows]), oracle.linear(b[rows])) for rows in batches_of(40, 10))
        for name, (a, b) in {"xy": wide, "xx": (wide[0], wide[0]), "yy": (wide[1], wide[1])}.items()
    }
    wanted = hsic["xy"] / np.sqrt(hsic["xx"] * hsic["yy"])
    assert float(cka(x, y, estimator="minibatch", batch_size=10)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_sums_of_running_moments_are_enough():
    x, y = CASES["A"]
    state = running_moments.init([16, 24], float)
    for rows in batches_of(64, 20):
        state = running_moments.update(state, [jnp.asarray(x[rows]), jnp.asarray(y[rows])])
    found = running_moments.finish(state, centering="hollow").cosine()
    assert float(found[0, 1]) == pytest.approx(oracle.cka(oracle.linear(x), oracle.linear(y), "hollow"), rel=1e-10)


@pytest.mark.slow
def test_all_layers_at_once(tmp_path):
    """In `compare`, in blocks too small for all layers, with a confounder that the measure carries."""
    x, y = (v.astype(np.float32) for v in CASES["A"])
    z = Z.astype(np.float32)
    layers = {"a": x, "b": y, "c": x + y[:, :16], "d": y * 2}
    chosen = [
        measures.cka(estimator="lange", kernel=RBF(6.0)),
        measures.cka(estimator="minibatch", batch_size=10),
        measures.cka(estimator="feature_corrected"),
        measures.deconfounded_cka(z),
    ]
    result = compare(layers, measures=chosen, resume=tmp_path / "kept", max_memory=10_000)
    functions = [
        lambda x, y: cka(x, y, estimator="lange", kernel=RBF(6.0)),
        lambda x, y: cka(x, y, estimator="minibatch", batch_size=10),
        lambda x, y: cka(x, y, estimator="feature_corrected"),
        lambda x, y: deconfounded_cka(x, y, z),
    ]
    for found, function in zip(result.values.values(), functions, strict=True):
        assert float(found[1, 2]) == pytest.approx(float(function(layers["b"], layers["c"])), rel=1e-5)
        np.testing.assert_allclose(found, found.T)
    other = compare(layers, measures=[measures.deconfounded_cka(z + y[:, :6])])
    assert not np.allclose(other.values["deconfounded_cka"], result.values["deconfounded_cka"])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x, y: cka(x, y, batch_size=8), ValueError, "batch_size is for estimator='minibatch', got 8 with"),
        (lambda x, y: cka(x, y, estimator="minibatch", batch_size=3), ValueError, "batch_size must be at least 4"),
        (lambda x, y: cka(x, y, estimator="minibatch", batch_size=8.0), TypeError, "batch_size must be an integer"),
        (
            lambda x, y: cka(x, y, kernel=Cosine(), estimator="feature_corrected"),
            ValueError,
            "kernel must be Linear(), got Cosine()",
        ),
        (lambda x, y: deconfounded_cka(x, y, x[:9]), ValueError, "deconfounded_cka: x and z must have the same number"),
        (lambda x, y: deconfounded_cka(x, y, x, estimator="lange"), ValueError, "estimator must be one of"),
        (lambda x, y: measures.deconfounded_cka(x[0]), ValueError, "deconfounded_cka: z must have shape"),
        (lambda x, y: measures.deconfounded_cka(x[:9])(x, y), ValueError, "must have 64 rows like the inputs, got 9"),
    ],
)
def test_mistakes_are_named(call, error, says):
    x, y = (v.astype(np.float32) for v in CASES["A"])
    with pytest.raises(error) as caught:
        call(x, y)
    assert says in str(caught.value)
