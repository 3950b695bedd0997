"""Both engines against matrices that are formed, centered and multiplied, for every size and centering."""

from __future__ import annotations

import collections
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import kernel_family as oracle

from jaxalign.engines import CENTERINGS, gram_products, moments, planner, tiles
from jaxalign.engines import heavy as heavy_module
from jaxalign.kernels import RBF, Linear
from jaxalign.signatures import GramSignature, batching

CENTER = oracle.CENTER


def layers(n, widths, seed=0):
    g = np.random.default_rng(seed)
    shared = g.standard_normal((n, 3))
    return [shared @ g.standard_normal((3, d)) + g.standard_normal((n, d)) + 2.0 for d in widths]


def dense(matrices_a, matrices_b, centering):
    """Inner products of centered matrices; what they are relative to is the product of norms."""
    a, b = ([CENTER[centering](k) for k in side] for side in (matrices_a, matrices_b))
    inner = np.array([[np.sum(k * l) for l in b] for k in a])
    norms = np.sqrt([[np.sum(k * k) * np.sum(l * l) for l in b] for k in a])
    return inner, norms


def assert_products(products, matrices_a, matrices_b, centering):
    inner, norms = dense(matrices_a, matrices_b, centering)
    scale = np.maximum(norms, 1e-300)
    np.testing.assert_allclose(np.asarray(products.inner()) / scale, inner / scale, atol=1e-10)
    np.testing.assert_allclose(products.cosine(), inner / norms, atol=1e-10)


def run(engine, centering, a, b):
    """Linear layers against other layers, and against themselves."""
    signature = GramSignature(Linear(), centering=centering)
    left, right = signature.many(a), signature.many(b)
    return engine(left, right, centering=centering), engine(left, None, centering=centering)


run_compiled = jax.jit(run, static_argnums=(0, 1))

SIZES = {tiles.tile_products: [2, 5, 16, 255, 256, 257, 600], moments.moment_products: [2, 5, 257, 1025]}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("engine", "n"),
    [
        pytest.param(engine, n, marks=pytest.mark.slow if n in (16, 255) else ())
        for engine, sizes in SIZES.items()
        for n in sizes
    ],
)
def test_engines_equal_the_dense_definition(engine, n):
    a, b = layers(n, [3, 8]), layers(n, [5], seed=1)
    matrices_a, matrices_b = ([oracle.linear(x) for x in side] for side in (a, b))
    arrays = [jnp.asarray(x) for x in a], [jnp.asarray(x) for x in b]
    for centering in CENTERINGS:
        if (centering == "none" and n != 5) or (centering in ("unbiased", "hollow") and n < 4):
            continue
        across, within = run_compiled(engine, centering, *arrays)
        assert_products(across, matrices_a, matrices_b, centering)
        assert_products(within, matrices_a, matrices_a, centering)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_tiles_of_other_kernels_in_many_blocks(monkeypatch):
    monkeypatch.setattr(tiles, "TILE_ROWS", 16)
    a, b = layers(70, [3, 6]), layers(70, [4], seed=1)

    @jax.jit
    def run_rbf(a, b):
        left, right = GramSignature(RBF(2.0)).many(a), GramSignature(RBF(3.0)).many(b)
        return [
            (tiles.tile_products(left, right, centering=c), tiles.tile_products(left, None, centering=c))
            for c in ("biased", "unbiased", "hollow")
        ]

    matrices_a, matrices_b = [oracle.rbf(x, 2.0) for x in a], [oracle.rbf(x, 3.0) for x in b]
    for centering, (across, within) in zip(("biased", "unbiased", "hollow"), run_rbf(a, b), strict=True):
        assert_products(across, matrices_a, matrices_b, centering)
        assert_products(within, matrices_a, matrices_a, centering)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kernel", [Linear(), RBF(3.0)], ids=["linear", "rbf"])
def test_layers_in_stacks_come_out_in_their_order(monkeypatch, kernel, masked):
    """Widths far apart, interleaved: each side has two stacks, and inner products tell layers and units apart."""
    monkeypatch.setattr(tiles, "TILE_ROWS", 16)
    monkeypatch.setattr(batching, "MOST_WIDTHS", 2)
    monkeypatch.setattr(batching, "WIDTH_MULTIPLE", 8)
    a, b = layers(50, [3, 20, 5, 17, 2]), layers(50, [19, 4, 18, 1], seed=1)
    a[2] *= 2
    mask = np.arange(50) % 5 != 0 if masked else None
    of = oracle.linear if isinstance(kernel, Linear) else (lambda x: oracle.rbf(x, 3.0))
    matrices_a, matrices_b = ([of(x if mask is None else x[mask]) for x in side] for side in (a, b))

    @jax.jit
    def products(a, b):
        signature = GramSignature(kernel, centering="unbiased")
        left, right = signature.many(a, mask), signature.many(b, mask)
        assert [len(stack.units) for stack in left.stacks] == [3, 2]
        return [tiles.tile_products(left, other, centering="unbiased") for other in (right, None)]

    across, within = products(a, b)
    assert_products(across, matrices_a, matrices_b, "unbiased")
    assert_products(within, matrices_a, matrices_a, "unbiased")


@pytest.mark.slow
@pytest.mark.parametrize("engine", [tiles.tile_products, moments.moment_products])
@pytest.mark.parametrize("centering", ["biased", "unbiased"])
def test_a_bad_layer_spoils_no_other(engine, centering):
    """NaN in one layer of many: its scores are NaN, the others are what they are without it."""
    good = [x.astype(np.float32) for x in layers(60, [4, 3, 5, 2])]
    bad = [x.copy() for x in good]
    bad[2][7, 1] = np.nan

    @jax.jit
    def cosine(layers):
        return engine(GramSignature(Linear(), centering=centering).many(layers), None, centering=centering).cosine()

    found, expected = np.asarray(cosine(bad)), np.array(cosine(good))
    expected[2, :] = expected[:, 2] = np.nan
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_bad_layer_leaves_the_gradients_of_others_through_moments():
    xs = [jnp.asarray(x, jnp.float32) for x in layers(60, [4, 3, 5])]
    xs[2] = xs[2].at[7, 1].set(jnp.nan)

    def score(x):
        grams = GramSignature(Linear()).many([x, *xs[1:]])
        return moments.moment_products(grams, None, centering="biased").cosine()[0, 1]

    gradient = np.asarray(jax.jit(jax.grad(score))(xs[0]))
    assert np.all(np.isfinite(gradient))
    assert np.abs(gradient).max() > 1e-5


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("heavy", [1, 16])
def test_moments_in_many_blocks(monkeypatch, heavy):
    monkeypatch.setattr(moments, "BLOCK_ROWS", 16)
    monkeypatch.setattr(heavy_module, "HEAVY_ROWS", heavy)
    a, b = layers(70, [3, 6]), layers(70, [4], seed=1)
    a[0][5] *= 100
    matrices_a, matrices_b = ([oracle.linear(x) for x in side] for side in (a, b))
    for centering in ("biased", "unbiased", "hollow"):
        # Not `run_compiled`, which knows this shape under other settings.
        across, within = jax.jit(partial(run, moments.moment_products, centering))(a, b)
        assert_products(across, matrices_a, matrices_b, centering)
        assert_products(within, matrices_a, matrices_a, centering)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_disjoint_tile_sums_merge_to_the_whole(monkeypatch):
    monkeypatch.setattr(tiles, "TILE_ROWS", 16)
    grams = GramSignature(RBF(2.0)).many([jnp.asarray(x) for x in layers(40, [3, 6])])
    _, blocks = tiles.tile_plan(40)
    assert blocks == 3
    pairs = [tiles.tile_at(step, blocks) for step in range(tiles.tile_count(40))]

    @jax.jit
    def update(state, row, column):
        return tiles.update(state, grams, None, row, column, hollow=True)

    def add(pairs):
        state = tiles.init(grams, None)
        for row, column in pairs:
            state = update(state, jnp.asarray(row), jnp.asarray(column))
        return state

    merged = tiles.merge(add(pairs[4:]), add(pairs[:4]))
    found = tiles.finish(merged, grams, None, "unbiased")
    expected = tiles.tile_products(grams, None, centering="unbiased")
    np.testing.assert_allclose(found.cross, expected.cross, rtol=1e-12)
    np.testing.assert_allclose(found.self_a, expected.self_a, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [16, 256])
def test_a_plan_visits_each_of_two_mirrored_tiles_once(monkeypatch, rows):
    monkeypatch.setattr(tiles, "TILE_ROWS", rows)
    for n in [*range(1, 70), 255, 256, 257, 600, 1025, 5000]:
        size, blocks = tiles.tile_plan(n)
        assert blocks % 2 == 1
        assert size <= n
        assert size <= rows
        assert blocks * size >= n
        visits = collections.Counter(frozenset(tiles.tile_at(step, blocks)) for step in range(tiles.tile_count(n)))
        assert set(visits) == {frozenset(p) for p in itertools.combinations_with_replacement(range(blocks), 2)}
        assert set(visits.values()) == {1}


def grams_of(n, widths, kernel):
    """Gram matrices of which the plan may read anything but entries."""
    return jax.eval_shape(GramSignature(kernel).many, [jax.ShapeDtypeStruct((n, d), jnp.float32) for d in widths])


@pytest.mark.parametrize(
    ("n", "a", "b", "kernel", "moments_win"),
    [
        (1000, [8], [8], Linear(), True),
        (20, [64], [64], Linear(), False),
        (1000, [8], [8], RBF(1.0), False),
        (1000, [8] * 4, None, Linear(), True),
        (64, [64] * 4, None, Linear(), False),
    ],
)
def test_the_plan_takes_the_cheaper_engine(monkeypatch, n, a, b, kernel, moments_win):
    taken = []
    for name in ("moment_products", "tile_products"):
        monkeypatch.setattr(planner, name, lambda *args, name=name, **kwargs: taken.append(name))
    left, right = grams_of(n, a, kernel), None if b is None else grams_of(n, b, kernel)
    gram_products(left, right, centering="biased")
    assert taken == ["moment_products" if moments_win else "tile_products"]
    if kernel.dot_product:
        assert (planner.moment_cost(n, a, b or ()) <= planner.tile_cost(n, a, b or ())) == moments_win


@pytest.mark.slow
@pytest.mark.parametrize("centering", CENTERINGS)
def test_one_layer_with_itself(centering):
    """No pairs at all above the diagonal."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((60, 5)), jnp.float32)
    gram = GramSignature(Linear(), centering=centering)(x)
    found = moments.moment_products([gram], None, centering=centering)
    np.testing.assert_allclose(found.cosine(), [[1.0]], rtol=1e-6)
    np.testing.assert_allclose(found.cross, tiles.tile_products([gram], None, centering=centering).cross, rtol=1e-5)
