"""How much `compare` does: each signature once, half of a symmetric matrix, blocks that fit, few compilations."""

from __future__ import annotations

import itertools
from dataclasses import field, replace
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxalign as ja
from jaxalign.comparison import blocks, kept, plan
from jaxalign.comparison.plan import block_bytes, cut_into_blocks

RBF_CKA = ja.measures.cka(kernel=ja.RBF(), estimator="unbiased")


# What blocks cover


@settings(max_examples=200, deadline=None)
@given(rows=st.integers(1, 30), columns=st.integers(1, 30), limit=st.integers(1, 40), mirrored=st.booleans())
def test_blocks_cover_every_pair_once(rows, columns, limit, mirrored):
    columns = rows if mirrored else columns
    found = cut_into_blocks(rows, columns, mirrored=mirrored, fits=lambda r, c: len(r) * len(c) <= limit)
    count = np.zeros((rows, columns), int)
    for block in found:
        count[np.ix_(block.rows, block.columns)] += 1
        if mirrored and block.rows != block.columns:
            count[np.ix_(block.columns, block.rows)] += 1
    assert (count == 1).all()
    assert all(len(block.rows) * len(block.columns) <= limit for block in found)
    assert len({block.name for block in found}) == len(found)


def test_blocks_are_as_few_as_fit():
    assert len(cut_into_blocks(200, 300, mirrored=False, fits=lambda r, c: True)) == 1
    assert len(cut_into_blocks(4, 4, mirrored=True, fits=lambda r, c: len(r) <= 2)) == 3
    assert len(cut_into_blocks(4, 4, mirrored=False, fits=lambda r, c: len(r) <= 2)) == 4
    single = cut_into_blocks(3, 2, mirrored=False, fits=lambda r, c: False)
    assert {(len(block.rows), len(block.columns)) for block in single} == {(1, 1)}


# Splitting changes nothing


class Watch:
    """Counts blocks, and the largest number of bytes that their layers take; they need not be computed for that."""

    def __init__(self, monkeypatch, compute=True):
        self.blocks, self.bytes = [], 0
        inner = ja.Measure.matrix if compute else lambda measure, a, b, mask: jnp.ones((len(a), len(b or a)))

        def matrix(measure, a, b=None, *, mask=None):
            self.blocks.append((len(a), None if b is None else len(b)))
            self.bytes = max(self.bytes, sum(x.nbytes for x in [*a, *(b or ())]))
            return inner(measure, a, b, mask=mask)

        monkeypatch.setattr(ja.Measure, "matrix", matrix)


WIDE = [8] * 6


@pytest.mark.parametrize("sides", ["one", "two"])
@pytest.mark.parametrize("measure", [ja.measures.cka(), RBF_CKA], ids=["linear", "rbf"])
def test_blocks_hold_no_more_than_max_memory_and_give_the_same(measure, sides, layers, monkeypatch):
    a, b = layers(1, WIDE), None if sides == "one" else layers(2, WIDE)
    whole = ja.compare(a, b, measures=measure)
    limit = block_bytes(40, 4, [8] * 4)
    watch = Watch(monkeypatch)
    split = ja.compare(a, b, measures=measure, max_memory=limit)
    np.testing.assert_allclose(split.values["cka"], whole.values["cka"], rtol=1e-6, atol=1e-7)
    assert watch.bytes * plan.COPIES <= limit
    # Six layers in three groups of two: off the diagonal that is four layers at a time.
    diagonal = [(2, None)] * 3 if sides == "one" else [(2, 2)] * 3
    assert sorted(watch.blocks, key=str) == sorted(diagonal + [(2, 2)] * (3 if sides == "one" else 6), key=str)
    if sides == "one":
        np.testing.assert_array_equal(split.values["cka"], split.values["cka"].T)


@pytest.mark.slow
def test_padding_counts_as_memory(layers, monkeypatch):
    """Four narrow widths are stacked as wide ones: a limit that the layers alone would keep cuts blocks."""
    a = layers(1, (2, 3, 4, 5, 6, 7))
    watch = Watch(monkeypatch, compute=False)
    ja.compare(a, measures=RBF_CKA, max_memory=block_bytes(40, 4, [64] * 3))
    assert len(watch.blocks) > 1
    watch.blocks.clear()
    ja.compare(a, measures=RBF_CKA, max_memory=block_bytes(40, 4, [64] * 6))
    assert watch.blocks == [(6, None)]


def test_one_sweep_serves_all_layers(layers, monkeypatch):
    watch = Watch(monkeypatch)
    ja.compare(layers(1, WIDE), measures=[ja.measures.cka(), ja.measures.hsic()])
    assert watch.blocks == [(6, None), (6, None)]


def test_linear_blocks_are_cut_by_cost_and_sweeps_are_not(layers, monkeypatch):
    """Products of features cost the same in blocks; kernels would be evaluated anew in each."""
    swept = []
    monkeypatch.setattr(blocks, "sweep_in_parts", lambda measure, a, b, *_, **__: swept.append(len(a)) or np.eye(6))
    monkeypatch.setattr(blocks, "PIECE_COST", 600 * 8 * 8 * 8)
    a = layers(1, WIDE, rows=600)
    watch = Watch(monkeypatch)
    ja.compare(a, measures=ja.measures.cka())
    assert len(watch.blocks) > 3
    assert swept == []
    watch.blocks.clear()
    ja.compare(a, measures=RBF_CKA)
    assert watch.blocks == []
    assert swept == [6]


SWEPT = {
    "cka unbiased": RBF_CKA,
    "hsic": ja.measures.hsic(kernel=ja.RBF(), scaling="nm1"),
    "hsic n2": ja.measures.hsic(kernel=ja.RBF()),
    "hsic unbiased": ja.measures.hsic(kernel=ja.RBF(), estimator="unbiased"),
    "kernel_alignment": ja.measures.kernel_alignment(kernel=ja.RBF(bandwidth=3.0)),
    "two kernels": ja.measures.cka(kernel=ja.RBF(), kernel_y=ja.Laplacian(bandwidth=2.0)),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in ("hsic unbiased", "two kernels") else pytest.mark.slow) for n in SWEPT]
)
def test_a_sweep_in_parts_gives_what_one_sweep_gives(name, layers, monkeypatch):
    rows = 600  # three block rows of tiles, the last one short
    a = layers(1, [8, 8], rows=rows)
    measure = SWEPT[name]
    whole = ja.compare(a, measures=measure)
    calls = []
    inner = blocks.sweep_in_parts
    monkeypatch.setattr(blocks, "PIECE_COST", 1.0)
    monkeypatch.setattr(blocks, "sweep_in_parts", lambda *x, **y: calls.append(y["parts"]) or inner(*x, **y))
    parts = ja.compare(a, measures=measure)
    assert calls == [6]
    np.testing.assert_allclose(parts.values[measure.name], whole.values[measure.name], rtol=1e-6)


# Signatures once


@ja.pytree_dataclass
class CountingSignature:
    """The mean of every row, and a note of every layer it was taken of."""

    seen: tuple = field(default=(), metadata={"static": True})
    compact: ClassVar[bool] = True
    ignores_zero_features: ClassVar[bool] = True
    made: ClassVar[list[int]] = []

    definition: ClassVar[str] = "row means"

    def __call__(self, x, mask=None):
        jax.debug.callback(lambda: self.made.append(x.shape[1]), ordered=True)
        return jnp.sum(x, axis=1)

    def many(self, layers, mask=None):
        return [self(x, mask) for x in layers]


NUMBERS = itertools.count()


@ja.pytree_dataclass
class Slope:
    """The slope of one on the other: not symmetric. Programs of another number do not know this one."""

    number: int = field(metadata={"static": True})
    pairs: ClassVar[list] = []

    def __call__(self, x, y):
        return self.matrix([x], [y])[0, 0]

    def matrix(self, a, b=None):
        self.pairs.append((len(a), None if b is None else len(b)))
        a = jnp.stack(a)
        b = a if b is None else jnp.stack(b)
        return (a @ b.T) / jnp.sum(b * b, axis=1)[None, :]


@pytest.fixture
def counting():
    CountingSignature.made.clear()
    Slope.pairs.clear()
    score = Slope(next(NUMBERS))
    return ja.Measure(signature=CountingSignature(), score=score, name="slope", symmetric=False)


def test_every_signature_is_made_once(counting, layers):
    a, b = layers(1), layers(2)[:2]
    one = ja.compare(a, measures=counting)
    jax.effects_barrier()
    assert len(CountingSignature.made) == 3
    assert Slope.pairs == [(3, 3)]  # not symmetric: the whole matrix
    means = np.stack([x.sum(axis=1) for x in a])
    np.testing.assert_allclose(one.values["slope"], means @ means.T / (means**2).sum(axis=1), rtol=1e-4)
    assert np.abs(one.values["slope"] - one.values["slope"].T).max() > 1e-3
    CountingSignature.made.clear()
    ja.compare(a, b, measures=counting)
    jax.effects_barrier()
    assert len(CountingSignature.made) == 5
    CountingSignature.made.clear()
    ja.compare(a, measures=replace(counting, symmetric=True))
    jax.effects_barrier()
    assert len(CountingSignature.made) == 3
    assert Slope.pairs[-1] == (3, None)


@ja.pytree_dataclass
class LargeSignature(CountingSignature):
    """The same, but not worth keeping."""

    compact: ClassVar[bool] = False


def test_a_score_that_is_not_symmetric_is_never_mirrored(counting, layers):
    a = layers(1)
    kept_scores = ja.compare(a, measures=counting)
    in_blocks = ja.compare(a, measures=replace(counting, signature=LargeSignature()))
    assert Slope.pairs == [(3, 3), (3, 3)]
    np.testing.assert_allclose(in_blocks.values["slope"], kept_scores.values["slope"], rtol=1e-5)


# Compilations


#: Of layers that no other test has: their programs are compiled here.
ROWS = 43


@pytest.fixture
def compiled():
    """Counts programs that are compiled, not traced, while a test runs."""
    count = []

    def listen(name, seconds, **_):
        if name == "/jax/core/compile/backend_compile_duration":
            count.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield count
    jax.monitoring.unregister_event_duration_listener(listen)


RAGGED = (3, 16, 30, 64, 65, 100, 128, 150, 200, 256, 300, 512)


@pytest.mark.slow
def test_a_ragged_neighbor_search_compiles_three_searches(layers, compiled):
    measure = ja.measures.mutual_knn(k=5)
    a = layers(1, RAGGED, rows=ROWS)
    known = kept._sign._cache_size(), kept._score._cache_size()
    result = ja.compare(a, measures=measure)
    assert (kept._sign._cache_size() - known[0], kept._score._cache_size() - known[1]) == (3, 1)
    assert 4 <= len(compiled) <= 6  # besides these, conversions at most
    before = len(compiled)
    again = ja.compare([x + 0 for x in a], measures=measure)
    assert len(compiled) == before
    np.testing.assert_array_equal(again.values["mutual_knn"], result.values["mutual_knn"])


def test_a_ragged_linear_comparison_compiles_one_program(layers, compiled):
    a = layers(1, RAGGED, rows=ROWS)
    ja.compare(a, measures=ja.measures.cka())
    assert len(compiled) == 1
    ja.compare(a, measures=ja.measures.cka())
    assert len(compiled) == 1


def test_another_bandwidth_is_not_another_program(layers, compiled):
    for bandwidth in itertools.islice(itertools.count(1.0, 0.5), 3):
        ja.compare(layers(1, rows=ROWS), measures=ja.measures.cka(kernel=ja.RBF(bandwidth=bandwidth)))
    assert len(compiled) == 1
