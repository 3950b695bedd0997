"""Distances between models against their definitions in float64, and golden values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import identifiability as oracle
from oracles.identifiability import F2, G2, SETS, F, G

from jaxalign.identifiability import (
    centered_logits,
    constructions,
    identifiability_distance,
    kl_divergence,
    linear_map_between,
    llv_distance,
    log_odds,
    log_probs,
    log_ratios,
    logit_distance,
    mean_cca_from_logprobs,
    narrow_student,
    pls_svd_distance,
    recovered_rank,
    rep_distance,
    select_sets,
)

pytestmark = pytest.mark.filterwarnings("ignore::jaxalign.signatures.whitened.UninformativeWarning")
P, Q = oracle.log_probs(F, G), oracle.log_probs(F2, G2)
EXACT = {"rtol": 0, "atol": 1e-9}
RNG = np.random.default_rng(0)


def test_golden_log_probs_and_divergences(float64):
    p, q = log_probs(F, G), log_probs(F2, G2)
    np.testing.assert_allclose(
        p[0], [-2.0546931995, -1.0546931995, -2.0546931995, -3.0546931995, -1.0546931995], **EXACT
    )
    np.testing.assert_allclose(kl_divergence(p, q), 0.0908297811, **EXACT)
    np.testing.assert_allclose(kl_divergence(q, p), 0.1048716861, **EXACT)
    np.testing.assert_allclose(logit_distance(p, q) ** 2, 1.1166666667, **EXACT)
    np.testing.assert_allclose([kl_divergence(p, q), logit_distance(p, q)], [oracle.kl(P, Q), oracle.d_logit(P, Q)])


def test_golden_llv_distance(float64):
    result = llv_distance(P, Q, **SETS)
    np.testing.assert_allclose(result.over_inputs.rest, [0.3378358204, 0.7281784069, 0.4066565152], **EXACT)
    np.testing.assert_allclose(result.over_inputs.pivot, [0.3645320635, 0.5812463878, 0.3389933620], **EXACT)
    np.testing.assert_allclose(result.over_labels.rest, [0.3622528286, 0.1356575789], **EXACT)
    np.testing.assert_allclose(result.over_labels.pivot, [0.4298287515, 0.2527172164], **EXACT)
    np.testing.assert_allclose([result.t3, result.t4], [0.2208082102, 0.2047610784], **EXACT)
    np.testing.assert_allclose(result.value, 0.7281784069, **EXACT)
    assert result.largest == ("t1", "rest", 2)
    np.testing.assert_allclose(llv_distance(P, Q, **SETS, weight=1.0).value, 0.7281784069, **EXACT)
    np.testing.assert_allclose(llv_distance(P, Q, **SETS, weight=1.0, reduce="sum").value, 1.5835764470, **EXACT)
    (_, _, psi), _ = oracle.llv_terms(P, Q, **SETS)
    label = SETS["labels"][int(np.argmax(np.abs(psi[:, 0] - psi[:, 1])))]
    assert llv_distance(P, Q, **SETS, weight=100.0).largest == ("t3", "scale", label)


@pytest.mark.parametrize("reduce", ["max", pytest.param("sum", marks=pytest.mark.slow), "mean"])
def test_llv_distance_is_the_definition(float64, reduce):
    p, q = (oracle.log_softmax(3 * RNG.standard_normal((20, 6))) for _ in range(2))
    sets = {"label_pivot": 2, "labels": [5, 0, 4], "input_pivot": 7, "inputs": [1, 19]}
    value, terms = oracle.llv(p, q, **sets, weight=0.3, reduce=reduce)
    result = llv_distance(p, q, **sets, weight=0.3, reduce=reduce)
    np.testing.assert_allclose(result.value, value, rtol=1e-12)
    np.testing.assert_allclose([result.t1, result.t2, result.t3, result.t4], terms, rtol=1e-12)
    # Logits are the same model; log-probabilities of it are what counts.
    shifted = llv_distance(p + 5 * RNG.standard_normal((20, 1)), q, **sets, weight=0.3, reduce=reduce)
    np.testing.assert_allclose(shifted.value, value, rtol=1e-12)


def test_golden_dissimilarity(float64):
    for chosen, value in (((1, 2), 0.0426741869), ((1, 3), 0.0222672700), ((2, 3), 0.0471543407)):
        one = identifiability_distance(P, Q, **{**SETS, "labels": chosen})
        np.testing.assert_allclose(one.d_f, value, **EXACT)
    result = identifiability_distance(P, Q, **SETS)
    np.testing.assert_allclose(
        [result.d_f, result.d_g, result.value], [0.0471543407, 0.0939398422, 0.0939398422], **EXACT
    )
    assert result.subset.tolist() == [2, 3]


def test_dissimilarity_from_probabilities_is_that_of_representations(float64):
    f, f2 = RNG.standard_normal((2, 30, 3))
    g, g2 = RNG.standard_normal((2, 7, 3))
    sets = {"label_pivot": 3, "labels": [0, 1, 5, 6], "input_pivot": 2, "inputs": [9, 4, 11]}
    of_inputs, d_g = oracle.d_fg(f, g, f2, g2, **sets)
    result = identifiability_distance(log_probs(f, g), log_probs(f2, g2), **sets)
    np.testing.assert_allclose([result.d_f, result.d_g], [of_inputs.max(), d_g], rtol=1e-11)
    drawn = identifiability_distance(log_probs(f, g), log_probs(f2, g2), **sets, subsets=3, key=0)
    assert np.isclose(of_inputs, drawn.d_f).any()
    odds = log_odds(log_probs(f, g), label_pivot=3, labels=[0, 5])
    np.testing.assert_allclose(odds, f @ (g[[0, 5]] - g[3]).T, atol=1e-12)
    ratios = log_ratios(log_probs(f, g), input_pivot=2, inputs=[9, 4])
    expected = g @ (f[[9, 4]] - f[2]).T
    np.testing.assert_allclose(ratios, expected - expected.mean(axis=0), atol=1e-12)


def test_golden_canonical_correlations(float64):
    result = mean_cca_from_logprobs(P, Q)
    np.testing.assert_allclose(result.correlations_f, [0.9887259049, 0.9717087611], **EXACT)
    np.testing.assert_allclose(result.correlations_g, [0.9944058926, 0.9057879402], **EXACT)
    np.testing.assert_allclose([result.f, result.g], [0.9802173330, 0.9500969164], **EXACT)
    f, f2 = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 2))
    g, g2 = RNG.standard_normal((5, 3)), RNG.standard_normal((5, 2))
    result = mean_cca_from_logprobs(log_probs(f, g), log_probs(f2, g2))
    np.testing.assert_allclose(result.correlations_f, oracle.canonical(f, f2), rtol=1e-11)
    np.testing.assert_allclose(result.correlations_g, oracle.canonical(g, g2), rtol=1e-11)


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-4])
def test_rounding_of_nearly_uniform_probabilities_is_no_direction(float64, spread):
    f, g = RNG.standard_normal((12, 2)), RNG.standard_normal((5, 2))
    assert int(recovered_rank(log_probs(spread * f, g))) == 2


def test_directions_that_are_not_there_count_0(float64):
    f, f2 = (x[:, [0, 1, 0]] for x in RNG.standard_normal((2, 12, 2)))  # of rank 2, of three dimensions
    g, g2 = RNG.standard_normal((2, 5, 3))
    logp, logp2 = log_probs(f, g), log_probs(f2, g2)
    expected = np.append(oracle.canonical(f[:, :2], f2[:, :2]), 0)
    result = mean_cca_from_logprobs(logp, logp2, m=3, m2=3)
    np.testing.assert_allclose(result.correlations_f, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(result.f, expected.sum() / 3, rtol=1e-11)
    np.testing.assert_allclose(result.correlations_g[2], 0, atol=1e-12)
    np.testing.assert_allclose(narrow_student(logp, logp2, m=3, m2=3).correlations, expected, rtol=1e-11, atol=1e-12)


def test_selection_goes_through_all_labels(float64):
    t1, pivot, left = oracle.best_labels(P, Q)
    np.testing.assert_allclose([t1, pivot, left], [0.4066565152, 0, 2], atol=1e-9)
    sets = select_sets(P, Q, key=0)
    assert (int(sets.label_pivot), int(sets.left_out), sets.labels.tolist()) == (0, 2, [1, 3, 4])
    for seed in range(3):
        p, q = (oracle.log_softmax(np.random.default_rng(s).standard_normal((24, 6))) for s in (seed, seed + 9))
        for leave_out in (1, None):
            sets = select_sets(p, q, key=0, m=2, leave_out=leave_out)
            best, pivot, left = oracle.best_labels(p, q, leave_out is not None)
            assert int(sets.label_pivot) == pivot
            assert sets.to_dict()["left_out"] == left
            np.testing.assert_allclose(llv_distance(p, q, sets=sets).t1, best, rtol=1e-12)


def test_selection_tries_every_disjoint_tuple_of_inputs(float64):
    p, q = (oracle.log_softmax(RNG.standard_normal((25, 5))) for _ in range(2))
    mask = np.arange(25) < 21
    sets = select_sets(p, q, key=3, m=2, mask=mask)
    inputs = [int(sets.input_pivot), *sets.inputs.tolist()]
    assert max(inputs) < 21
    # What the same key draws, one tuple after the other.
    order = np.argsort(np.where(mask, np.asarray(jax.random.uniform(jax.random.key(3), (25,), jnp.float32)), 2))
    drawn = order[:21].reshape(7, 3)
    terms = [oracle.llv(p, q, 0, [1], t[0], t[1:])[1][1] for t in drawn]
    assert inputs == drawn[int(np.argmin(terms))].tolist()
    few = select_sets(p, q, key=3, m=2, tuples=2, mask=mask)
    assert [int(few.input_pivot), *few.inputs.tolist()] == drawn[int(np.argmin(terms[:2]))].tolist()


@pytest.mark.slow
def test_selection_among_candidates(float64):
    p, q = (oracle.log_softmax(RNG.standard_normal((25, 9))) for _ in range(2))
    candidates = [7, 2, 0, 8, 4]
    sets = select_sets(p, q, key=0, m=2, labels=candidates)
    chosen = {int(sets.label_pivot), int(sets.left_out), *sets.labels.tolist()}
    assert chosen == set(candidates)
    values = {
        (k, left): oracle.llv(p, q, k, [j for j in candidates if j not in (k, left)], 0, [1])[1][0]
        for k in candidates
        for left in candidates
        if left != k
    }
    np.testing.assert_allclose(llv_distance(p, q, sets=sets).t1, min(values.values()), rtol=1e-12)


def test_models_of_equal_probabilities_are_one(float64):
    f2, g2 = np.array([[1.0, 0], [0, 1], [1, 1], [-1, 2]]), np.array([[0.0, 0], [1, 0], [0, 1], [2, -1]])
    a, b = np.array([[2.0, 1], [0, 1]]), np.array([3.0, -1])
    f, g = f2 @ a.T, g2 @ np.linalg.inv(a) + b
    p, q = log_probs(f, g), log_probs(f2, g2)
    np.testing.assert_allclose(p, q, atol=1e-14)
    np.testing.assert_allclose(p[0], [-2.49381171, -1.49381171, -2.49381171, -0.49381171], atol=1e-8)
    sets = {"label_pivot": 0, "labels": [1, 2], "input_pivot": 0, "inputs": [1, 2]}
    assert abs(float(llv_distance(p, q, **sets).value)) < 1e-14
    assert abs(float(identifiability_distance(p, q, **sets).value)) < 1e-14
    assert abs(float(kl_divergence(p, q))) < 1e-14
    assert abs(float(logit_distance(p, q))) < 1e-13
    # Three of these unembeddings are in line: d_rep averages over all of them.
    with pytest.raises(ValueError, match=r"g must be in general position, got differences of labels \[1, 2, 3\]"):
        rep_distance(f, g, f2, g2)
    assert abs(float(rep_distance(f, g[:3], f2, g2[:3]).value)) < 1e-13
    np.testing.assert_allclose([mean_cca_from_logprobs(p, q).f, mean_cca_from_logprobs(p, q).g], 1, atol=1e-13)
    for labels in ({}, {"labels": [1, 2], "label_pivot": 0}, {"labels": [3, 0], "label_pivot": 1}):
        found = linear_map_between(g, g2, **labels)
        np.testing.assert_allclose(found.matrix, a, atol=1e-12)
        assert float(found.residual) < 1e-14
    np.testing.assert_allclose(found.s_min, np.linalg.svd(g[[3, 0]] - g[1], compute_uv=False)[-1], rtol=1e-12)


def test_the_residual_is_what_the_map_leaves_of_the_other_model(float64):
    one, other = (g - g.mean(axis=0) for g in (3 * RNG.standard_normal((6, 2)), RNG.standard_normal((6, 4))))
    matrix = np.linalg.lstsq(one, other)[0]
    found = linear_map_between(one, other)
    np.testing.assert_allclose(found.matrix, matrix, rtol=1e-11)
    expected = np.linalg.norm(one @ matrix - other) / np.linalg.norm(other)
    assert 0.1 < expected < 0.95
    np.testing.assert_allclose(found.residual, expected, rtol=1e-12)


def test_golden_blind_spots(float64):
    warm = constructions.at_temperature(P, 2.0)
    result = llv_distance(P, warm, **SETS)
    np.testing.assert_allclose([result.value, result.t1, result.t2], [0.2187341888, 0.2187341888, 0], **EXACT)
    np.testing.assert_allclose([kl_divergence(P, warm), logit_distance(P, warm)], [0.0856269376, 1.1401754251], **EXACT)
    assert abs(float(identifiability_distance(P, warm, **SETS).value)) < 1e-14
    biased = constructions.with_bias(P, np.array([0, 0.5, -1, 0, 2]))
    np.testing.assert_allclose(biased, log_probs(F, G, bias=np.array([0, 0.5, -1, 0, 2])), atol=1e-14)
    result = llv_distance(biased, P, **SETS)
    np.testing.assert_allclose(
        [result.t1, result.t2, result.t3, result.t4], [0.6983140107, 0.9607689228, 0, 0], **EXACT
    )
    assert abs(float(identifiability_distance(P, biased, **SETS).value)) < 1e-14
    assert [int(recovered_rank(z)) for z in (P, warm, biased)] == [2, 2, 3]
    np.testing.assert_allclose(centered_logits(P), oracle.centered(P), atol=1e-14)


def test_golden_d_svd(float64):
    x = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    for map_ in (turn, np.diag([3.0, 5.0])):
        assert abs(float(pls_svd_distance(x, x @ map_))) < 1e-15
    np.testing.assert_allclose(pls_svd_distance(x, x @ np.array([[1.0, 1], [0, 1]])), 0.0761204675, **EXACT)
    for shape in ((20, 3), (20, 5)):
        x, y = RNG.standard_normal((20, 3)), RNG.standard_normal(shape)
        np.testing.assert_allclose(pls_svd_distance(x, y), oracle.d_svd(x, y), rtol=1e-12)


def test_golden_weight_zero_is_no_metric(float64):
    p = np.array(
        [[0.5, 0.3, 0.2], [0.3, 0.2, 0.5], [0.2, 0.5, 0.3], [0.4, 0.35, 0.25], [0.1, 0.6, 0.3], [0.45, 0.25, 0.3]]
    )
    q = p[:, :2] ** 2 / 0.38
    q = np.log(np.column_stack([q, 1 - q.sum(axis=1)]))
    sets = {"label_pivot": 0, "labels": [1], "input_pivot": 0, "inputs": [1, 2]}
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(np.exp(q), p, atol=0.01)
    result = llv_distance(np.log(p), q, **sets, weight=0.0)
    assert float(result.t1) < 1e-14
    np.testing.assert_allclose([result.t3, result.t4], [0.9641250057, 0.7952777745], **EXACT)
    assert float(result.value) == max(float(result.t1), float(result.t2))
    np.testing.assert_allclose(llv_distance(np.log(p), q, **sets).t3 * 1e-5, 9.641250057e-6, atol=1e-12)


def test_golden_rep_distance(float64):
    f, g = np.array([[1.0, 0], [0, 1], [1, 1], [2, -1]]), np.array([[0.0, 0], [1, 0], [0, 1], [2, 3]])
    f2, g2 = f.copy(), g.copy()
    f2[2], g2[3] = [1, 1.5], [2, 2]
    one, other = rep_distance(f, g, f2, g2), rep_distance(f2, g2, f, g)
    np.testing.assert_allclose([one.value**2, one.s_min], [0.1369357639, 0.4384471872], **EXACT)
    np.testing.assert_allclose([other.value**2, other.s_min], [0.1458333333, 0.5615528128], **EXACT)
    np.testing.assert_allclose(logit_distance(log_probs(f, g), log_probs(f2, g2)) ** 2, 0.421875, **EXACT)
    f, f2, g, g2 = *RNG.standard_normal((2, 9, 3)), *RNG.standard_normal((2, 6, 3))
    square, least = oracle.d_rep(f, g, f2, g2)
    found = rep_distance(f, g, f2, g2)
    np.testing.assert_allclose([found.value**2, found.s_min], [square, least], rtol=1e-10)
    many = rep_distance(f, g, f2, g2, subsets=4000, key=0)
    np.testing.assert_allclose(many.value**2, square, rtol=0.2)
    np.testing.assert_allclose(many.s_min, least, rtol=1e-10)


def test_golden_swapped_unembeddings(float64):
    angles = np.pi / 16 * np.array([0, 1, 2, 3, 10, 16, 20, 26])
    g = 5.5 * np.column_stack([np.cos(angles), np.sin(angles)])
    swapped = g[[0, 1, 2, 3, 5, 4, 7, 6]]
    f = RNG.standard_normal((20, 2))
    np.testing.assert_allclose(mean_cca_from_logprobs(f @ g.T, f @ swapped.T, m=2, m2=2).g, 0.6737729323, **EXACT)
