"""What is not defined is an error that names what is to blame, and NaN inside `jit`; and other kinds of inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from oracles import identifiability as oracle

from jaxalign.identifiability import (
    anchors,
    centered_logits,
    finite_labels,
    identifiability_distance,
    identify,
    identify_representations,
    kl_divergence,
    linear_map_between,
    llv_distance,
    log_odds,
    log_probs,
    logit_distance,
    mean_cca_from_logprobs,
    most_variable_labels,
    narrow_student,
    pls_svd_distance,
    recovered_rank,
    rep_distance,
    row_blocks,
    select_sets,
    take_labels,
)

pytestmark = pytest.mark.filterwarnings("ignore::jaxalign.signatures.whitened.UninformativeWarning")
SETS = {"label_pivot": 0, "labels": (1, 2, 3), "input_pivot": 0, "inputs": (4, 6)}
RNG = np.random.default_rng(5)
P, Q = (oracle.log_softmax(2 * RNG.standard_normal((24, 6))).astype(np.float32) for _ in range(2))
DISTANCES = {
    "llv": lambda p, q, **more: llv_distance(p, q, **SETS, **more).value,
    "identifiability": lambda p, q, **more: identifiability_distance(p, q, **SETS, **more).value,
    "logit": logit_distance,
    "kl": kl_divergence,
}
OTHERS = {
    "pls_svd": pls_svd_distance,
    "cca": lambda p, q, **more: mean_cca_from_logprobs(p, q, m=2, m2=3, **more).f,
    "student": lambda p, q, **more: narrow_student(p, q, m=3, m2=2, **more).bound,
}


def changed(value, *place, model=P):
    found = model.copy()
    found[place] = value
    return found


def test_infinite_log_probabilities_are_named():
    broken = changed(-np.inf, 5, 4)
    match = "logp must be finite, got -inf for label 4 of input 5 \\(1 labels in all\\)"
    for call in (
        lambda p: llv_distance(p, Q, **{**SETS, "inputs": (5, 6)}),
        lambda p: identifiability_distance(p, Q, **{**SETS, "labels": (1, 4, 3)}),
        lambda p: logit_distance(p, Q),
        lambda p: mean_cca_from_logprobs(p, Q, m=2, m2=2),
        lambda p: select_sets(p, Q, key=0),
        recovered_rank,
    ):
        with pytest.raises(ValueError, match=match):
            call(broken)
    with pytest.raises(ValueError, match="logp2 must be finite, got nan for label 4 of input 5"):
        logit_distance(Q, changed(np.nan, 5, 4))
    assert np.isnan(jax.jit(lambda p: llv_distance(p, Q, **{**SETS, "inputs": (5, 6)}).value)(broken))
    # Labels that are finite in both; of the conditional distribution, or with the rest.
    labels = finite_labels(broken, changed(-np.inf, 3, 0, model=Q))
    assert labels.tolist() == [1, 2, 3, 5]
    kept = take_labels(broken, labels)
    np.testing.assert_allclose(jnp.exp(kept).sum(axis=1), 1, rtol=1e-5)
    rest = take_labels(P, [0, 2], policy="rest")
    np.testing.assert_allclose(rest[:, :2], P[:, [0, 2]], rtol=1e-5)
    np.testing.assert_allclose(jnp.exp(rest[:, 2]), np.exp(P[:, [1, 3, 4, 5]]).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(
        log_odds(kept, label_pivot=0, labels=[1]), log_odds(P, label_pivot=1, labels=[2]), atol=1e-5
    )


def test_divergence_of_impossible_labels():
    assert float(kl_divergence(P, changed(-np.inf, 0, 2, model=Q))) == np.inf
    both = kl_divergence(changed(-np.inf, 0, 2), changed(-np.inf, 0, 2, model=Q))
    assert np.isfinite(both)
    assert np.isfinite(kl_divergence(changed(-np.inf, 0, 2), Q))
    tiny = changed(-1000.0, 0, 2)
    assert float(kl_divergence(tiny, changed(-np.inf, 0, 2, model=Q))) == np.inf
    with pytest.raises(ValueError, match=r"logp2 must hold finite numbers.* input 3 does not"):
        kl_divergence(P, changed(np.nan, 3, 1))
    with pytest.raises(ValueError, match="mask must leave at least one input"):
        kl_divergence(P, Q, mask=np.zeros(24, bool))


def test_labels_and_inputs_that_say_nothing_are_named():
    constant = P.copy()
    constant[:, 2] = constant[:, 0] + 1
    psi = r"labels must tell .* in logp, the log-odds of label 2 against label 0 .*psi = 0\); leave it out"
    twins = P.copy()
    twins[6] = twins[0]
    phi = r"inputs must tell .* in logp2, inputs 6 and 0 have the same probabilities \(phi = 0\); leave it out"
    for function in (llv_distance, identifiability_distance):
        with pytest.raises(ValueError, match=psi):
            function(constant, Q, **SETS)
        with pytest.raises(ValueError, match=phi):
            function(Q, twins, **SETS)
    traced = jax.jit(lambda p, q: identifiability_distance(p, q, **SETS).value)
    assert np.isnan(traced(constant, Q))
    assert np.isnan(traced(Q, twins))
    # The selection keeps clear of one such pair; of more it cannot.
    sets = select_sets(constant, Q, key=0, m=2)
    assert {int(sets.label_pivot), *sets.labels.tolist()} >= {0, 2} or int(sets.left_out) in (0, 2)
    assert int(sets.label_pivot) not in (0, 2) or int(sets.left_out) in (0, 2)
    with pytest.raises(ValueError, match=r"labels must differ, but whatever is chosen .*psi = 0"):
        select_sets(np.tile(P[:1], (24, 1)), Q, key=0, m=2)
    collapsed = np.repeat(P[:1], 24, axis=0) + np.where(np.arange(24)[:, None] == 0, P[1:2], 0)
    with pytest.raises(ValueError, match=r"(inputs|labels) must differ"):
        select_sets(collapsed.astype(np.float32), Q, key=0, m=2)
    with pytest.raises(ValueError, match=r"columns of y must vary, got a constant one, 1"):
        pls_svd_distance(P[:, :2], np.column_stack([P[:, 0], np.full(24, 3, np.float32)]))
    g = np.array([[0, 0], [1, 1], [2, 2], [1, 0]], np.float32)
    with pytest.raises(ValueError, match=r"g must be in general position, got differences of labels \[0, 1, 2\]"):
        rep_distance(P[:, :2], g, P[:, :2], g)
    with pytest.raises(ValueError, match="differences of g must span all 2 dimensions"):
        linear_map_between(g[:3], g[:3])


def test_too_few_inputs_or_labels():
    with pytest.raises(ValueError, match="m=4 dimensions need at least m \\+ 1 = 5 inputs, got 4"):
        select_sets(P[:4], Q[:4], key=0, m=4)
    with pytest.raises(ValueError, match="need at least m \\+ 1 = 4 labels, got 3"):
        select_sets(P[:, :3], Q[:, :3], key=0, m=3)
    with pytest.raises(ValueError, match="with m \\+ 1 = 3 labels none can be left out; pass leave_out=None"):
        select_sets(P[:, :3], Q[:, :3], key=0, m=2)
    sets = select_sets(P[:, :3], Q[:, :3], key=0, m=2, leave_out=None)
    assert sets.labels.shape == (2,)
    assert sets.to_dict()["left_out"] is None
    with pytest.raises(ValueError, match="need at least m \\+ 1 = 3 inputs, got 2"):
        select_sets(P, Q, key=0, m=2, mask=np.arange(24) < 2)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"labels": (1, 0)}, "labels must not hold label_pivot"),
        ({"labels": (1, 9)}, r"labels must be in 0..5, got 9"),
        ({"labels": (1, 1)}, "labels must be different from one another"),
        ({"inputs": (0, 3)}, "inputs must not hold input_pivot"),
        ({"inputs": ()}, "inputs must be a list of integers, not empty"),
        ({"inputs": None}, "must be given together, got none of inputs"),
        ({"reduce": "median"}, "reduce must be one of"),
        ({"weight": -1.0}, "weight must be at least 0"),
        ({"key": 0}, "a key is for selecting sets"),
        ({"mask": np.arange(24) < 5}, "inputs must be inputs that count, got 6"),
        (dict.fromkeys(SETS), "give a key to select labels and inputs with"),
    ],
)
def test_mistakes_are_named(settings, match):
    with pytest.raises(ValueError, match=f"llv_distance: .*{match}"):
        llv_distance(P, Q, **{**SETS, **settings})


def test_probabilities_are_told_from_their_logarithms():
    for pair, argument in (((np.exp(P), Q), "logp"), ((P, np.exp(Q)), "logp2")):
        with pytest.raises(ValueError, match=f"identify: {argument} must be logits .* got probabilities"):
            identify(*pair, key=0, m=2)
    hidden = np.arange(24)[:, None] < 4
    with pytest.raises(ValueError, match="got probabilities"):
        identify(np.where(hidden, -5.0, np.exp(P)), Q, key=0, m=2, mask=~hidden[:, 0])


def test_masks_of_other_kinds_are_named():
    for function, arrays in ((recovered_rank, (P,)), (finite_labels, (P, Q))):
        with pytest.raises(ValueError, match=f"{function.__name__}: mask must have shape"):
            function(*arrays, mask=np.ones(5, bool))
        with pytest.raises(TypeError, match=f"{function.__name__}: mask must be boolean"):
            function(*arrays, mask=np.ones(24, int))
        with pytest.raises(TypeError, match=f"{function.__name__}: mask must be an array"):
            function(*arrays, mask=[True] * 24)


def test_more_mistakes_are_named():
    with pytest.raises(ValueError, match=r"logp and logp2 must have the same shape .* got \(24, 6\) and \(24, 5\)"):
        logit_distance(P, Q[:, :5])
    with pytest.raises(TypeError, match="logp must be floating point"):
        kl_divergence(np.ones((3, 3), int), P)
    with pytest.raises(TypeError, match="labels must hold integers"):
        llv_distance(P, Q, **{**SETS, "labels": (1.5, 2.5)})
    with pytest.raises(TypeError, match="m must be given inside jit"):
        jax.jit(lambda p: mean_cca_from_logprobs(p, p).f)(P)
    with pytest.raises(ValueError, match="f and g must have the same number of columns"):
        log_probs(P, Q[:, :3])
    with pytest.raises(ValueError, match="subsets of 8; draw some, by subsets= and key="):
        identifiability_distance(
            np.ones((4, 30), np.float32),
            np.ones((4, 30), np.float32),
            **{**SETS, "labels": range(1, 29), "inputs": [1]},
            size=8,
        )


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("identifiability", "logit", *OTHERS)]


@pytest.mark.parametrize("name", ["llv", "kl", *SLOW])
def test_masked_rows_are_a_subset_and_have_no_gradient(float64, name):
    function = {**DISTANCES, **OTHERS}[name]
    mask = np.arange(24) % 5 != 3
    p, q = (jnp.where(mask[:, None], z.astype(float), jnp.nan) for z in (P, Q))
    kept = np.flatnonzero(mask)
    moved = {**SETS, "inputs": tuple(int(np.searchsorted(kept, i)) for i in SETS["inputs"])}
    subset = {
        "llv": lambda p, q: llv_distance(p, q, **moved).value,
        "identifiability": lambda p, q: identifiability_distance(p, q, **moved).value,
    }.get(name, function)
    value = function(p, q, mask=jnp.asarray(mask))
    np.testing.assert_allclose(value, subset(P[mask].astype(float), Q[mask].astype(float)), rtol=1e-9)
    if name in ("llv", "identifiability", "kl"):
        part = jax.jit(jax.grad(lambda p: function(p, q, mask=jnp.asarray(mask))))(p)
        assert np.isfinite(part).all()
        assert np.asarray(part)[mask].any()
        assert not np.asarray(part)[~mask].any()


@pytest.mark.parametrize("name", ["llv", "identifiability", "logit", "kl"])
def test_gradients_are_those_of_the_definition(float64, name):
    function = DISTANCES[name]
    p, q, step = (z.astype(float) for z in (P, Q, RNG.standard_normal(P.shape)))
    of = jax.jit(jax.grad(function))
    gradient = of(p, q)
    numeric = (function(p + 1e-5 * step, q) - function(p - 1e-5 * step, q)) / 2e-5
    np.testing.assert_allclose(np.sum(gradient * step), numeric, rtol=1e-6)
    at_zero = of(p, p)
    assert np.isfinite(at_zero).all()
    if name != "llv":  # its largest term may be a difference of two deviations that are equal but for rounding
        np.testing.assert_allclose(at_zero, 0, atol=1e-5)


def test_float32_has_digits_of_small_distances():
    f, g = RNG.standard_normal((200, 2)), 5 * RNG.standard_normal((6, 2))
    near = f + 1e-3 * RNG.standard_normal(f.shape)
    p, q = (np.float32(oracle.log_probs(z, g)) for z in (f, near))
    wide = p.astype(float), q.astype(float)
    value, terms = oracle.llv(*wide, **SETS)
    result = llv_distance(p, q, **SETS)
    assert result.value.dtype == np.float32
    np.testing.assert_allclose([result.value, result.t3, result.t4], [value, *terms[2:]], rtol=2e-3)
    # A subtraction from 1 would leave nothing of it.
    exact = oracle.d_svd(wide[0][:, 1:3] - wide[0][:, :1], wide[1][:, 1:3] - wide[1][:, :1])
    assert exact < 1e-6
    found = pls_svd_distance(p[:, 1:3] - p[:, :1], q[:, 1:3] - q[:, :1])
    np.testing.assert_allclose(found, exact, rtol=1e-2)
    np.testing.assert_allclose(logit_distance(p, q), oracle.d_logit(*wide), rtol=1e-4)
    np.testing.assert_allclose(kl_divergence(p, q), oracle.kl(*wide), rtol=1e-2)
    # Log-probabilities down to -1000, and logits far from 0.
    p, q = (np.float32(oracle.log_probs(60 * z, g)) for z in (f, f + 0.1 * RNG.standard_normal(f.shape)))
    assert p.min() < -500
    value, _ = oracle.llv(p.astype(float), q.astype(float), **SETS)
    np.testing.assert_allclose(llv_distance(p, q, **SETS).value, value, rtol=1e-4)
    sets = select_sets(p, q, key=0, m=2)
    best, _, _ = oracle.best_labels(p.astype(float), q.astype(float))
    np.testing.assert_allclose(llv_distance(p, q, sets=sets).t1, best, rtol=1e-4)


def test_half_precision_is_computed_in_float32():
    narrow = [jnp.asarray(z, jnp.bfloat16) for z in (P, Q)]
    for function in (*DISTANCES.values(), *OTHERS.values()):
        assert jax.eval_shape(function, *narrow).dtype == jnp.float32
    for name in ("llv", "kl"):
        function = DISTANCES[name]
        found = function(*narrow)
        np.testing.assert_allclose(found, function(*(z.astype(jnp.float32) for z in narrow)), rtol=1e-4, atol=1e-6)
    assert centered_logits(narrow[0]).dtype == jnp.float32
    assert jax.eval_shape(log_probs, *narrow[:1], narrow[1]).dtype == jnp.float32


def test_blocks_of_rows_change_nothing(monkeypatch, float64):
    monkeypatch.setattr(row_blocks, "BLOCK_ENTRIES", 6 * 5)  # five rows at a time, the last three (or one)
    rows = 23  # no other test has compiled this
    p, q, step = (z[:rows].astype(float) for z in (P, Q, RNG.standard_normal(P.shape)))
    p, q = oracle.log_softmax(p), oracle.log_softmax(q)
    mask = np.arange(rows) < 21
    for f, known in ((kl_divergence, oracle.kl), (logit_distance, oracle.d_logit)):
        np.testing.assert_allclose(f(p, q), known(p, q), rtol=1e-12)
        np.testing.assert_allclose(f(p, q, mask=mask), known(p[mask], q[mask]), rtol=1e-12)
        if f is logit_distance:
            numeric = (known(p + 1e-5 * step, q) - known(p - 1e-5 * step, q)) / 2e-5
            np.testing.assert_allclose(np.sum(jax.grad(f)(p, q) * step), numeric, rtol=1e-6)
    value, _ = oracle.llv(p, q, **SETS)
    np.testing.assert_allclose(llv_distance(p, q, **SETS).value, value, rtol=1e-12)
    monkeypatch.setattr(anchors, "BLOCK_ENTRIES", 2 * rows)  # two labels at a time
    spread = np.minimum(*(oracle.centered(z).var(axis=0) for z in (p, q)))
    assert most_variable_labels(p, q, count=4).tolist() == np.argsort(-spread)[:4].tolist()


@pytest.mark.slow
def test_many_labels_go_in_groups(float64):
    p, q = (oracle.log_softmax(RNG.standard_normal((12, 300))) for _ in range(2))
    sets = {"label_pivot": 0, "labels": list(range(1, 299)), "input_pivot": 0, "inputs": [4, 6]}
    value, _ = oracle.llv(p, q, **sets)
    np.testing.assert_allclose(llv_distance(p, q, **sets).value, value, rtol=1e-12)
    drawn = identifiability_distance(p, q, **sets, size=3, subsets=20, key=0)
    assert 0 < float(drawn.value) <= 1


LOWERED = {
    **DISTANCES,
    **OTHERS,
    "select": lambda p, q, mask: select_sets(p, q, m=2, key=0, mask=mask).labels,
    "rep": lambda p, q, mask: rep_distance(p[:, :3], p[:7, :3], q[:, :3], q[:7, :3], mask=mask).value,
}


@pytest.mark.parametrize(
    "name",
    [
        "llv",
        "identifiability",
        *(pytest.param(n, marks=pytest.mark.slow) for n in LOWERED if n not in ("llv", "identifiability")),
    ],
)
def test_distances_lower_for_other_machines(name):
    p, mask = jax.ShapeDtypeStruct((5000, 40), "float32"), jax.ShapeDtypeStruct((5000,), "bool")
    call = jax.jit(lambda p, q, mask: LOWERED[name](p, q, mask=mask))
    exported = export.export(call, platforms=["cpu", "cuda", "tpu"])(p, p, mask)
    assert exported.platforms == ("cpu", "cuda", "tpu")


@pytest.mark.slow
def test_models_of_different_dimensions_are_compared_in_their_own(float64):
    rng = np.random.default_rng(5)
    f, g = rng.normal(size=(80, 3)), rng.normal(size=(7, 3))
    f2, g2 = f[:, :2] @ np.array([[1.0, 2.0], [0.0, 1.0]]), rng.normal(size=(7, 2))
    for one, other in (((f, g), (f2, g2)), ((f2, g2), (f, g))):
        sizes = one[1].shape[1], other[1].shape[1]
        for result in (
            identify(log_probs(*one), log_probs(*other), key=0, tuples=5),
            identify_representations(*one, *other, key=0, tuples=5),
        ):
            assert (result.dimension, result.dimension2) == sizes
            assert len(result.sets["inputs"]) == sizes[0]
            np.testing.assert_allclose(result.cca_f, 1, rtol=1e-9)  # of the two directions that both have
            assert result.cca_bound is None
            assert f"models of {sizes[0]} and {sizes[1]} dimensions" in str(result)
            assert f"dimension {sizes[0]} and {sizes[1]}" in str(result)


@pytest.mark.slow
def test_the_record_has_the_least_correlation_and_the_subset(float64):
    rng = np.random.default_rng(6)
    f, g = rng.normal(size=(80, 2)), rng.normal(size=(6, 2))
    logp, logp2 = log_probs(f, g), log_probs(f + 0.01 * rng.normal(size=f.shape), g)
    result = identify(logp, logp2, key=0, tuples=5)
    centered = np.asarray(logp) - np.asarray(logp).mean(axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(np.cov(centered.T, ddof=0))
    expected = 1 - result.logit_distance**2 / (2 * eigenvalues[-2])
    np.testing.assert_allclose(result.cca_bound, expected, rtol=1e-9)
    assert 0.9 < result.cca_bound <= result.cca_f
    assert set(result.subset) < set(result.sets["labels"])
    apart = identifiability_distance(logp, logp2, key=0, m=2, tuples=5)
    assert result.subset == tuple(int(label) for label in apart.subset)
    assert result.to_dict()["subset"] == list(result.subset)
