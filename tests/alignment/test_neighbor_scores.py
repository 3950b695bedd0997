"""Scores of the neighbor family: values from the definitions, other libraries, bounds, masks, every pair."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import neighbor_family as oracle

import jaxalign as ja
from jaxalign.alignment import neighbor_lists
from jaxalign.alignment.pairs import score_pairs

DEFINITIONS = {
    "mutual_knn": partial(oracle.averaged, lambda a, b: len(set(a) & set(b)) / len(a)),
    "cycle_knn": oracle.cycle_knn,
    "lcs_knn": partial(oracle.averaged, lambda a, b: oracle.common_subsequence(a, b) / len(a)),
    "edit_distance_knn": partial(oracle.averaged, lambda a, b: 1 - oracle.levenshtein(a, b) / len(a)),
    "jaccard_knn": partial(oracle.averaged, oracle.jaccard),
    "rank_similarity_knn": partial(oracle.averaged, oracle.rank_similarity),
    "joint_rank_jaccard_knn": partial(
        oracle.averaged, lambda a, b: oracle.jaccard(a, b) * oracle.rank_similarity(a, b)
    ),
    "second_order_cosine": oracle.second_order_cosine,
}
#: What other libraries report for cases A and B at k = 10 (measured; their rows of unit length).
PEERS = {
    ("cycle_knn", "platonic-rep"): (0.984375, 1.0),
    ("lcs_knn", "platonic-rep, not divided by k"): (2.578125, 4.35),
    ("edit_distance_knn", "platonic-rep"): (0.0796875, 0.215),
    ("jaccard_knn", "ReSi"): (0.31246370427388226, 0.5658508158508159),
    ("rank_similarity_knn", "ReSi"): (0.22978754983849456, 0.4463959514555141),
    ("second_order_cosine", "ReSi, of distances"): (0.8608969184032064, 0.9782534893517442),
}


@jax.jit
def values(x, y):
    return {(name, k): getattr(ja, name)(x, y, k=k) for name in DEFINITIONS for k in (1, 3, 6)}


@pytest.mark.parametrize("case", ["A", pytest.param("B", marks=pytest.mark.slow)])
def test_values_equal_the_definitions(x64, case):
    x, y = CASES[case]
    found = values(*(jnp.asarray(v, float) for v in (x, y)))
    for (name, k), value in found.items():
        assert abs(float(value) - DEFINITIONS[name](x, y, k)) < (1e-12 if x64 else 1e-6), (name, k)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "library"), PEERS)
def test_values_of_other_libraries(name, library):
    settings = {
        "platonic-rep, not divided by k": {"normalize": False},
        "ReSi, of distances": {"entries": "distance"},
    }.get(library, {})
    for case, value in zip("AB", PEERS[name, library], strict=True):
        assert float(getattr(ja, name)(*CASES[case], k=10, **settings)) == pytest.approx(value, rel=1e-7)


def test_second_order_cosine_of_distances_is_another_number():
    """ReSi compares distances to neighbors where the definition compares similarities."""
    x, y = CASES["A"]
    assert oracle.second_order_cosine(x, y, 10, "distance") == pytest.approx(0.8608969184032064)
    found = ja.second_order_cosine(x.astype(np.float32), y.astype(np.float32))
    assert float(found) == pytest.approx(0.6361665, rel=1e-5)


def lists(n, k, seed):
    g = np.random.default_rng(seed)
    return np.stack([g.permutation(2 * k)[:k] for _ in range(n)], axis=1).astype(np.int32)


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 5])
def test_agreements_of_any_lists(k):
    a, b = lists(60, k, 0), lists(60, k, 1)
    expected = {
        "overlap": lambda a, b: len(set(a) & set(b)) / k,
        "jaccard": oracle.jaccard,
        "common_subsequence": oracle.common_subsequence,
        "edit_similarity": lambda a, b: 1 - oracle.levenshtein(a, b) / k,
        "rank_similarity": oracle.rank_similarity,
    }
    for name, of in expected.items():
        found = neighbor_lists.AGREEMENTS[name](jnp.asarray(a), jnp.asarray(b))
        np.testing.assert_allclose(found, [of(list(i), list(j)) for i, j in zip(a.T, b.T, strict=True)], atol=1e-6)


@pytest.mark.slow
def test_scores_of_one_input_with_itself_and_how_they_are_ordered():
    x, y = (v.astype(np.float32) for v in CASES["A"])
    for name in DEFINITIONS:
        if name != "cycle_knn":  # a neighbor's neighbor need not be the example
            assert float(values(x, 3 * x)[name, 3]) == pytest.approx(1, abs=1e-6), name
    found = {name: float(value) for (name, k), value in values(x, y).items() if k == 6}
    assert found["lcs_knn"] < found["mutual_knn"]
    assert found["jaccard_knn"] < found["mutual_knn"]
    assert found["joint_rank_jaccard_knn"] < min(found["jaccard_knn"], found["rank_similarity_knn"])


@pytest.mark.slow
def test_duplicated_rows_are_neighbors_by_lowest_index():
    """Every row three times: with k = 2 the neighbors of a row are its two copies, in order."""
    x = np.repeat(np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32), 3, axis=0)
    y = np.repeat(np.random.default_rng(1).standard_normal((7, 5)).astype(np.float32), 3, axis=0)
    for name in set(DEFINITIONS) - {"cycle_knn"}:
        assert float(getattr(ja, name)(x, y, k=2)) == pytest.approx(1, abs=1e-6), name
    assert float(ja.cycle_knn(x, y, k=2)) == 1
    # The neighbor at k = 1 is the first copy: that of the first copy is the second.
    assert float(ja.cycle_knn(x, y, k=1)) == pytest.approx(2 / 3)


@jax.jit
def scores(x, y, mask):
    return {name: getattr(ja, name)(x, y, k=3, mask=mask) for name in DEFINITIONS}


@pytest.mark.slow
@pytest.mark.parametrize("padding", [0.0, np.nan], ids=["zero", "nan"])
def test_masked_rows_do_not_count(padding):
    x, y = (v.astype(np.float32) for v in CASES["A"])
    mask = np.arange(len(x)) % 3 != 1
    padded = (np.where(mask[:, None], v, padding).astype(np.float32) for v in (x, y))
    found = scores(*padded, mask)
    for name, definition in DEFINITIONS.items():
        assert float(found[name]) == pytest.approx(definition(x[mask], y[mask], 3), rel=1e-6), name
    few = np.arange(len(x)) < 3
    assert all(np.isnan(value) for value in scores(x, y, few).values())
    assert all(np.isnan(value) for value in scores(np.ones_like(x), y, np.ones(len(x), bool)).values())


def test_second_order_cosine_has_a_gradient():
    x, y = (v[:12].astype(np.float32) for v in CASES["A"])
    gradient = jax.jit(jax.grad(lambda x: ja.second_order_cosine(x, y, k=3)))
    assert np.all(np.isfinite(gradient(x)))
    assert np.any(np.asarray(gradient(x)) != 0)
    x[3] = x[4] = 0
    assert np.all(np.isfinite(gradient(x)))


@pytest.mark.slow
@pytest.mark.parametrize("symmetric", [True, False])
def test_every_pair_is_scored_once_and_lands_in_its_place(symmetric):
    """Signatures of several shapes, which share loops only with their like."""
    g = np.random.default_rng(0)
    sides = [[jnp.asarray(g.standard_normal(size), jnp.float32) for size in sizes] for sizes in ((3, 2, 3, 4), (2, 3))]

    def score(x, y):
        return jnp.sum(x) * jnp.sum(y) + (0 if symmetric else 2 * jnp.sum(x))

    for a, b in ((sides[0], None), sides, (sides[0][:1], None)):
        expected = [[float(score(x, y)) for y in (a if b is None else b)] for x in a]
        np.testing.assert_allclose(score_pairs(score, a, b, symmetric=symmetric), expected, rtol=1e-6)


def test_examples_that_are_related_to_none_of_their_neighbors_are_left_out():
    g = np.random.default_rng(0)
    x = g.standard_normal((20, 4)).astype(np.float32)
    x[0] = 0
    assert float(ja.second_order_cosine(x, x, k=5)) == pytest.approx(1, abs=1e-6)
    copies = np.tile(x[1:4], (4, 1))
    assert np.isnan(ja.second_order_cosine(copies, copies, k=2, entries="distance"))


def test_lists_without_a_common_member_score_0_exactly():
    a, b = jnp.zeros((3, 1), jnp.int32) + jnp.arange(3)[:, None], jnp.arange(3, 6)[:, None]
    for name, agreement in neighbor_lists.AGREEMENTS.items():
        if name != "cycle":
            assert float(agreement(a, b)[0]) == 0, name
