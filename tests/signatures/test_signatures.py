"""Signatures: permuting them is permuting rows, many together are each alone."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import kernel_family as oracle

from jaxalign._core.pytree import pytree_dataclass
from jaxalign.alignment import KernelScore, NeighborScore
from jaxalign.kernels import RBF, Distance, Linear, Sum
from jaxalign.signatures import GramSignature, NeighborSignature, batching
from jaxalign.signatures import gram as gram_file

CKA = KernelScore(centering="biased", scaling="cosine")


def rows(n, d, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal((n, d)), jnp.float32)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("make", [GramSignature(RBF()), NeighborSignature(3)], ids=["gram", "neighbors"])
def test_permuting_a_signature_is_permuting_rows(make, masked):
    x, order = rows(20, 4), jnp.asarray(np.random.default_rng(1).permutation(20))
    mask = jnp.arange(20) < 15 if masked else None
    sign = jax.jit(make.__call__)
    permuted = sign(x, mask).permute(order)
    again = sign(x[order], None if mask is None else mask[order])
    score = jax.jit(CKA.__call__ if isinstance(make, GramSignature) else NeighborScore().__call__)
    other = sign(rows(20, 4, seed=2), None if mask is None else mask[order])
    np.testing.assert_allclose(score(permuted, other), score(again, other), rtol=1e-5)
    if isinstance(make, NeighborSignature):
        counts = np.ones(20, bool) if mask is None else np.asarray(mask[order])
        np.testing.assert_array_equal(permuted.ids[counts], again.ids[counts])
    # Against the rows in their first order it is another score.
    assert abs(float(score(permuted, sign(x, mask))) - 1) > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("make", [GramSignature(RBF()), GramSignature(Linear()), NeighborSignature(3)])
def test_many_together_are_each_alone(monkeypatch, make):
    monkeypatch.setattr(batching, "WIDTH_MULTIPLE", 4)
    layers = [rows(20, d, seed=d) for d in (3, 9, 4, 1, 17, 14, 5, 2)]
    together, alone = (
        jax.jit(lambda layers: list(make.many(layers)))(layers),
        jax.jit(lambda layers: [make(x) for x in layers])(layers),
    )
    for one, other in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytree_dataclass
class PerFeature(Linear):
    """A kernel that sees how many features there are."""

    ignores_zero_features: ClassVar[bool] = False

    def evaluate(self, x, y):
        return super().evaluate(x, y) / x.shape[1]


def test_layers_are_not_padded_for_a_kernel_that_would_notice():
    layers = [rows(20, d, seed=d) for d in (3, 9, 3, 4, 9)]
    kernel = Sum(PerFeature(), RBF(2.0))
    score = jax.jit(lambda layers: CKA.matrix(GramSignature(kernel).many(layers)))
    pair = jax.jit(lambda x, y: CKA(GramSignature(kernel)(x), GramSignature(kernel)(y)))
    np.testing.assert_allclose(score(layers)[1, 3], pair(layers[1], layers[3]), rtol=1e-5)


def test_few_widths_are_compiled_and_few_columns_added():
    widths = [1, 63, 64, 65, 200, 300, 500, 500]
    padded = batching.padded_widths(widths)
    assert set(padded) == set(widths)
    assert all(padded[d] >= d and padded[d] % 64 == 0 for d in widths)
    assert len(set(padded.values())) <= batching.MOST_WIDTHS
    # 64, 128, 256, 320, 512 into three sizes: 64 for the three narrowest, 320, 512 leaves 128 -> 320.
    assert padded == {1: 64, 63: 64, 64: 64, 65: 320, 200: 320, 300: 320, 500: 512}
    assert batching.padded_widths([10, 700, 10]) == {10: 10, 700: 700}
    assert batching.padded_widths([10, 20, 30, 40]) == dict.fromkeys((10, 20, 30, 40), 64)


@pytest.mark.usefixtures("float64")
def test_the_shift_leaves_little_to_center():
    """One row lies far out: less its shift, its column is no larger than what centering leaves of it."""
    x = np.random.default_rng(0).standard_normal((100, 6))
    x[13] *= 1000

    @jax.jit
    def shifted(x):
        gram = GramSignature(Distance())(x)
        return gram.tile(gram) * gram.units

    left, raw = np.asarray(shifted(x)), oracle.distance(x)
    off = ~np.eye(100, dtype=bool)
    np.testing.assert_allclose(oracle.u_center(left), oracle.u_center(raw), rtol=1e-6, atol=1e-6)
    assert np.abs(left[off]).max() < 5 * np.abs(oracle.u_center(raw)).max()


@pytest.mark.usefixtures("float64")
def test_an_outlier_has_no_large_sums_about_the_origin_of_the_unbiased_form():
    """Rows of an inner product are centered about the mean of all but the longest ones."""
    x = np.random.default_rng(0).standard_normal((100, 6)) + 3
    x[13] += 1000

    def off_diagonal_sum(centering):
        k = np.asarray(jax.jit(lambda x: GramSignature(Linear(), centering=centering)(x).matrix())(x))
        return abs(k[13].sum() - k[13, 13])

    assert off_diagonal_sum("unbiased") < 0.05 * off_diagonal_sum("biased")


@pytest.mark.slow
def test_the_shift_of_equal_entries_is_exact():
    @jax.jit
    def tile(kernel, x):
        gram = GramSignature(kernel)(x)
        return gram.tile(gram)

    constant, apart = jnp.full((40, 40), 0.1), 7 * jnp.eye(40)
    assert np.all(np.asarray(tile(RBF(1.0), constant)) == 0)
    assert np.all(np.asarray(tile(Distance(), constant)) == 0)
    assert np.all(np.asarray(tile(RBF(0.01), apart))[~np.eye(40, dtype=bool)] == 0)
    assert np.all(np.asarray(GramSignature(Distance(), centering="none")(apart).shift) == 0)


def test_landmarks_are_rows_that_count(monkeypatch):
    monkeypatch.setattr(gram_file, "LANDMARKS", 4)
    x, mask = rows(30, 3), jnp.arange(30) >= 25
    signature = jax.jit(GramSignature(Distance()).__call__)
    padded, alone = signature(x, mask), signature(x[25:])
    np.testing.assert_allclose(padded.shift[25:], alone.shift, rtol=1e-5)
    np.testing.assert_allclose(padded.gain, alone.gain)
