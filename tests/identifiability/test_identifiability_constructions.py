"""Pairs of models that are close in one respect and far in another, with the values known of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import identifiability as oracle

from jaxalign.identifiability import (
    constructions,
    identifiability_distance,
    identify,
    identify_representations,
    kl_divergence,
    label_order,
    label_order_from_logprobs,
    llv_distance,
    log_probs,
    logit_distance,
    mean_cca_from_logprobs,
    select_sets,
)

pytestmark = pytest.mark.filterwarnings("ignore::jaxalign.signatures.whitened.UninformativeWarning")
EXACT = {"rtol": 0, "atol": 1e-9}


def noise_free(norm, classes=7):
    return constructions.permuted_clusters(0, norm=norm, classes=classes, per_class=1, jitter=0.0, spread=0.0)


def test_golden_divergences_of_permuted_clusters(float64):
    norms = jnp.array([1.0, 3, 5, 10, 18, 20])

    def of(norm):
        p, q = noise_free(norm).log_probs()
        return kl_divergence(p, q), kl_divergence(q, p), logit_distance(p, q), -jnp.mean(jnp.diagonal(p))

    kl, reverse, logit, nll = jax.jit(jax.vmap(of))(norms)
    known = [0.7837491253, 0.8804000100, 0.3746652791, 0.0181402803, 7.908978434e-5, 1.949007695e-5]
    np.testing.assert_allclose(kl, known, **EXACT)
    np.testing.assert_allclose([reverse[1], nll[1]], [1.57327685, 0.1908052164], atol=1e-8)
    np.testing.assert_allclose(logit, norms * 5.2915026221, rtol=1e-10)
    five = [kl_divergence(*noise_free(norm, 5).log_probs()) for norm in (5.0, 10.0)]
    np.testing.assert_allclose(five, [0.022269576, 4.4536082e-5], atol=1e-9)


def test_golden_distances_of_permuted_clusters(float64):
    for norm in (3.0, 18.0):
        p, q = noise_free(norm).log_probs()
        sets = select_sets(p, q, key=0, m=2)
        assert (int(sets.label_pivot), int(sets.left_out)) == (0, 1)  # of seven equal ones the first
        np.testing.assert_allclose(llv_distance(p, q, sets=sets).t1, 1.3179439400, **EXACT)
        best = {"input_pivot": 1, "inputs": [3, 6], "label_pivot": 0, "labels": [2, 3, 4, 5, 6]}
        np.testing.assert_allclose(llv_distance(p, q, **best).t2, 0.8197650410, **EXACT)
        np.testing.assert_allclose(mean_cca_from_logprobs(p, q, m=2, m2=2).correlations_f, 0, atol=1e-12)
    np.testing.assert_allclose(oracle.best_inputs(*(np.asarray(z) for z in (p, q)), 2)[0], 0.8197650410, **EXACT)


def test_permuted_clusters_of_any_number_of_labels(float64):
    for classes in (5, 6, 7, 8, 9, 10, 12, 13):
        places = constructions.cluster_permutation(classes)
        assert sorted(places) == list(range(classes))
        angles = 2 * np.pi * np.arange(classes) / classes
        g = np.column_stack([np.cos(angles), np.sin(angles)])
        expected = 1 / 6 if classes == 6 else 0
        np.testing.assert_allclose(oracle.canonical(g, g[list(places)]).mean(), expected, atol=1e-9)
        if classes % 2 and classes != 7:
            assert places == tuple(2 * k % classes for k in range(classes))


@pytest.mark.slow
def test_the_table_of_the_paper(float64):
    known = {1: (0.7876, 1.317), 3: (0.8864, 1.317), 5: (0.3818, 1.317), 10: (0.01965, 1.318), 18: (1.04e-4, 1.317)}
    for norm, (kl, llv) in known.items():
        pair = constructions.permuted_clusters(norm, norm=float(norm))
        p, q = pair.log_probs()
        sets = select_sets(p, q, key=0, m=2, tuples=100)
        np.testing.assert_allclose(kl_divergence(p, q), kl, rtol=0.02)
        np.testing.assert_allclose(llv_distance(p, q, sets=sets).value, llv, atol=0.002)
        assert float(mean_cca_from_logprobs(p, q, m=2, m2=2).f) < 0.003
        assert float(identifiability_distance(p, q, sets=sets).d_f) > 0.999


def test_the_recipe_of_permuted_clusters():
    pair = constructions.permuted_clusters(1, norm=3.0, per_class=400)
    assert pair.f.shape == (2800, 2)
    assert pair.labels.shape == (2800,)
    lengths, angles = np.hypot(*np.asarray(pair.f).T), np.arctan2(*np.asarray(pair.f)[:, ::-1].T)
    np.testing.assert_allclose(np.hypot(*np.asarray(pair.f2).T), lengths, rtol=1e-6)  # lengths stay
    assert 2 <= lengths.min() < 2.0001
    np.testing.assert_allclose((lengths - 2).mean(), 0.01 * np.sqrt(2 / np.pi), rtol=0.05)
    off = (angles - 2 * np.pi * np.asarray(pair.labels) / 7 + np.pi) % (2 * np.pi) - np.pi
    assert np.pi / 64 * 0.99 < np.abs(off).max() <= np.pi / 64 * 1.0001
    places = np.array(constructions.cluster_permutation(7))
    angles2 = np.arctan2(*np.asarray(pair.f2)[:, ::-1].T)
    off2 = (angles2 - 2 * np.pi * places[np.asarray(pair.labels)] / 7 + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(off2.reshape(7, -1), off.reshape(7, -1)[places], atol=1e-5)  # jitter goes along
    for settings, match in (
        ({"classes": 4}, "classes must be at least 5"),
        ({"permutation": [0, 1, 1, 2, 3, 4, 5]}, r"permutation must hold each of 0..6 once"),
        ({"norm": 0.0}, "norm must be positive"),
    ):
        with pytest.raises(ValueError, match=match):
            constructions.permuted_clusters(0, **{"norm": 1.0, **settings})


@pytest.mark.slow
def test_opposite_rotations_are_not_seen_by_correlations(float64):
    rng = np.random.default_rng(0)
    f, g = rng.standard_normal((40, 2)), rng.standard_normal((6, 2))
    pair = constructions.opposite_rotations(f, g, angle=0.6)
    p, q = pair.log_probs()
    found = mean_cca_from_logprobs(p, q, m=2, m2=2)
    np.testing.assert_allclose([found.f, found.g], 1, atol=1e-12)
    right = constructions.opposite_rotations(f, g)
    np.testing.assert_allclose(right.f2 @ right.g2.T, -f @ g.T, atol=1e-12)
    result = identify(p, q, key=0)
    assert result.d_fg > 0.1
    assert any("turned one way" in note for note in result.notes)


def test_the_order_of_labels_around_the_circle():
    angles = np.array([0.3, 1.0, 2.0, 3.0, 4.5])
    g = np.column_stack([np.cos(angles), np.sin(angles)])
    assert label_order(g.astype(np.float32)).tolist() == [0, 1, 2, 3, 4]
    assert label_order(g[::-1].astype(np.float32)).tolist() == [0, 1, 2, 3, 4]  # a reflection
    assert label_order(np.roll(g, 2, axis=0).astype(np.float32)).tolist() == [0, 1, 2, 3, 4]
    swapped = g[[0, 2, 1, 3, 4]].astype(np.float32)
    assert label_order(swapped).tolist() == [0, 2, 1, 3, 4]
    f = np.random.default_rng(0).standard_normal((12, 2)).astype(np.float32)
    assert label_order_from_logprobs(f @ swapped.T).tolist() == [0, 2, 1, 3, 4]
    turn = np.array([[2, 1], [0.3, -1]], np.float32)
    assert label_order(swapped @ turn + 5).tolist() == [0, 2, 1, 3, 4]
    with pytest.raises(ValueError, match="g must have 2 columns"):
        label_order(np.ones((4, 3), np.float32))


def test_a_record_of_two_models(float64):
    import json

    pair = constructions.permuted_clusters(0, norm=18.0, per_class=6)
    p, q = pair.log_probs()
    result = identify(p, q, key=0)
    sets = select_sets(p, q, key=0)
    llv = llv_distance(p, q, sets=sets)
    assert result.dimension == 2
    assert result.llv == float(llv.value)
    assert (result.t1, result.t2, result.t3, result.t4) == tuple(float(t) for t in (llv.t1, llv.t2, llv.t3, llv.t4))
    assert result.d_fg == float(identifiability_distance(p, q, sets=sets).value)
    assert result.sets == sets.to_dict()
    assert result.kl < 1e-3 < result.kl_bound
    assert result.bound == 1
    assert any("small divergence, or equal accuracy, says nothing" in note for note in result.notes)
    assert any("different orders" in note for note in result.notes)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["notes"] == list(result.notes)
    text = str(result)
    assert "log-likelihood variance distance" in text
    assert "note: " in text


def test_bounds_of_the_record_are_of_the_larger_of_both_terms(float64):
    rng = np.random.default_rng(2)
    logp = log_probs(rng.normal(size=(30, 2)), rng.normal(size=(6, 2)))
    for bias, larger in ((np.array([0.0, 0.3, -0.2, 0.1, 0.4, 0.0]), "t2"), (None, "t1")):
        other = constructions.at_temperature(logp, 1.5) if bias is None else constructions.with_bias(logp, bias)
        result = identify(logp, other, key=0, m=2, tuples=5)
        assert max(result.t1, result.t2) == getattr(result, larger)
        np.testing.assert_allclose(result.bound_tight, min(1, 2 * getattr(result, larger) ** 2), rtol=1e-12)
        np.testing.assert_allclose(result.bound, min(1, 4 * getattr(result, larger)), rtol=1e-12)


@pytest.mark.slow
def test_records_of_other_kinds(float64):
    pair = constructions.permuted_clusters(0, norm=18.0, per_class=6)
    p, q = pair.log_probs()
    sets = select_sets(p, q, key=0)
    # Temperature, representations at hand, labels that are not finite.
    warm = identify(p, constructions.at_temperature(p, 1.5), key=0)
    assert any("sees no temperature" in note for note in warm.notes)
    known = identify_representations(pair.f, pair.g, 2 * pair.f, pair.g / 2, key=0)
    assert known.rep_distance < 1e-12 < known.s_min
    assert known.same_label_order
    impossible = jnp.concatenate([jnp.full((len(p), 1), -jnp.inf), p], axis=1), jnp.concatenate([q[:, :1], q], axis=1)
    with pytest.raises(ValueError, match="must be finite"):
        identify(*impossible, key=0)
    dropped = identify(*impossible, key=0, drop_infinite=True)
    assert dropped.dropped_labels == 1
    assert dropped.labels == 7
    assert dropped.sets["labels"] == [label + 1 for label in sets.to_dict()["labels"]]
    with pytest.raises(TypeError, match="call it outside jit"):
        jax.jit(lambda p: identify(p, p, key=0))(p)
