"""Permutation tests against a loop over the same orders, and against all orders there are."""

from __future__ import annotations

import itertools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2_contingency

import jaxalign as ja
from jaxalign import measures
from jaxalign.inference import Blocks, CircularShift, Free, Within, permutation_test
from jaxalign.inference import null as nulls
from jaxalign.inference.null import BATCH_BYTES, BATCH_SIZE, COLUMNS, design, draw_scores, fitting_batch

G = np.random.default_rng(5)
X = G.normal(size=(12, 3)).astype(np.float32)
Y = (X @ G.normal(size=(3, 4)) + 1.5 * G.normal(size=(12, 4))).astype(np.float32)


def orders(scheme, key, count, n, mask=None):
    """The orders in which the null distribution is scored, `(count, n)`."""
    rows, columns = design(scheme, count)
    itself = jax.tree_util.Partial(lambda indices: indices[None, :])
    table = draw_scores(itself, scheme, key, jnp.uint32(0), mask, n=n, count=rows, columns=columns)
    return np.asarray(table).reshape(-1, n)[1:]


def null_by_loop(measure, x, y, scheme, key, count, mask=None):
    table = orders(scheme, jax.random.key(key), count, len(x), mask)
    assert table.shape == (count, len(x))
    return np.array([float(measure(x, y[order], mask=mask)) for order in table])


@pytest.mark.parametrize(
    ("measure", "scheme"),
    [
        (measures.cka(kernel=ja.RBF()), Free()),
        (measures.mutual_knn(k=3), Within(np.arange(12) % 2)),
        pytest.param(measures.procrustes_distance(), Blocks(3), marks=pytest.mark.slow),
        pytest.param(measures.rsa(), CircularShift(2), marks=pytest.mark.slow),
    ],
    ids=["cka", "knn", "procrustes", "rsa"],
)
def test_the_null_is_that_of_a_loop(measure, scheme):
    result = permutation_test(measure, X, Y, permutations=23, key=3, scheme=scheme)
    null = null_by_loop(measure, X, Y, scheme, 3, 23)
    np.testing.assert_allclose(result.null, null, rtol=1e-4, atol=1e-5)
    assert float(result.statistic) == float(measure(X, Y))
    sign = 1 if measure.larger_is_closer else -1
    extreme = np.sum(sign * null >= sign * float(result.statistic) - 1e-5)
    assert float(result.pvalue) == pytest.approx((1 + extreme) / 24, rel=1e-6)


@pytest.mark.slow
def test_the_null_is_that_of_all_orders(float64):
    x, y = X[:6].astype(float), Y[:6].astype(float)
    measure = measures.cka()
    every = np.array([float(measure(x, y[list(order)])) for order in itertools.permutations(range(6))])
    share = np.mean(every >= float(measure(x, y)) - 1e-12)
    result = permutation_test(measure, x, y, permutations=3999, key=0)
    assert (np.abs(np.asarray(result.null)[:, None] - every[None, :]).min(axis=1) < 1e-12).all()
    assert float(result.pvalue) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 3999))


@pytest.mark.slow
def test_alternatives():
    measure = measures.cka(estimator="unbiased")
    results = {
        side: permutation_test(measure, X, Y, permutations=99, key=1, alternative=side)
        for side in ("closer", "farther", "two_sided")
    }
    pvalues = {side: float(result.pvalue) for side, result in results.items()}
    assert pvalues["closer"] + pvalues["farther"] == pytest.approx(1.01)
    assert pvalues["two_sided"] == pytest.approx(min(1, 2 * min(pvalues["closer"], pvalues["farther"])))
    distance = permutation_test(measures.angular_cka(), X, Y, permutations=99, key=1)
    similarity = permutation_test(measures.cka(), X, Y, permutations=99, key=1)
    assert float(distance.pvalue) == float(similarity.pvalue)


@pytest.mark.slow
def test_equal_scores_are_ties_whatever_their_rounding():
    constant = np.ones((12, 1), np.float32)
    shuffled_alike = np.concatenate([constant, X[:, :1] * 0], axis=1)
    assert np.isnan(float(permutation_test(measures.cka(), shuffled_alike, Y, permutations=9, key=0).pvalue))
    # Two groups of equal rows: of 924 orders 2 give the score, and 3/7 of random ones some of few others.
    groups = np.repeat([[0.1], [0.7]], 6, axis=0).astype(np.float32)
    result = permutation_test(measures.cka(kernel=ja.RBF(0.3)), groups, groups * 3, permutations=499, key=0)
    ties = np.isclose(result.null, float(result.statistic), rtol=1e-5).sum()
    assert float(result.pvalue) == pytest.approx((1 + ties) / 500)
    same = permutation_test(measures.mutual_knn(k=11), X, Y, permutations=9, key=0)  # all are neighbors of all
    assert float(same.pvalue) == 1


@pytest.mark.slow
def test_padding_changes_nothing(float64):
    x, y = X.astype(float), Y.astype(float)
    mask = np.array([True] * 9 + [False] * 3)
    x[9:], y[9:] = np.nan, 1e30
    measure = measures.cka(kernel=ja.RBF())
    result = permutation_test(measure, x, y, permutations=31, key=2, mask=mask)
    assert float(result.statistic) == pytest.approx(float(measure(x[:9], y[:9])))
    null = null_by_loop(measure, np.where(mask[:, None], x, 0), np.where(mask[:, None], y, 0), Free(), 2, 31, mask)
    np.testing.assert_allclose(result.null, null, rtol=1e-6)


@pytest.mark.slow
def test_the_same_for_any_batch_size_under_jit_and_for_any_kind_of_key():
    measure = measures.cka(kernel=ja.RBF(1.0))
    one = permutation_test(measure, X, Y, permutations=23, key=4)
    many = permutation_test(measure, X, Y, permutations=23, key=jax.random.key(4), batch_size=7)
    np.testing.assert_allclose(one.null, many.null, rtol=2e-6)
    assert float(one.pvalue) == float(many.pvalue)
    inside = jax.jit(lambda x, y: permutation_test(measure, x, y, permutations=23, key=jax.random.PRNGKey(4)))(X, Y)
    np.testing.assert_allclose(one.null, inside.null, rtol=2e-6)
    assert not np.allclose(one.null, permutation_test(measure, X, Y, permutations=23, key=5).null)


def test_the_more_is_kept_the_fewer_orders_are_looked_at_together():
    def fitting(*sizes):
        return fitting_batch([jax.ShapeDtypeStruct((size // 4,), jnp.float32) for size in sizes])

    assert fitting() == fitting(BATCH_BYTES // BATCH_SIZE) == BATCH_SIZE
    assert fitting(BATCH_BYTES // 8, BATCH_BYTES // 8) == 4
    assert fitting(BATCH_BYTES // 2 + 4) == fitting(100 * BATCH_BYTES) == 1


@pytest.mark.parametrize(("given", "together"), [(None, 3), (2, 2)])
def test_so_many_orders_are_looked_at_together(given, together, monkeypatch):
    seen = []

    @jax.custom_batching.custom_vmap
    def first(kept, indices):
        return indices[:1, None].astype(kept.dtype)

    @first.def_vmap
    def _(size, _, kept, indices):
        seen.append(size)
        return indices[:, :1, None].astype(kept.dtype), True

    kept = jnp.zeros(100, jnp.float32)
    monkeypatch.setattr(nulls, "BATCH_BYTES", 3 * kept.nbytes)
    scores = jax.tree_util.Partial(first, kept)
    draw_scores(scores, Free(), jax.random.key(0), jnp.uint32(0), None, n=5, count=12, columns=1, batch_size=given)
    assert set(seen) == {together}


DEVICES = """
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxalign import measures
from jaxalign.inference import permutation_test
x, y = np.random.default_rng(0).normal(size=(2, 16, 4)).astype(np.float32)
mesh = jax.sharding.Mesh(np.array(jax.devices()), "n")
x, y = (jax.device_put(v, NamedSharding(mesh, PartitionSpec("n"))) for v in (x, y))
result = permutation_test(measures.mutual_knn(k=3), x, y, permutations=40, key=0)
print(len(jax.devices()), np.asarray(result.null).round(6).tolist())
"""


@pytest.mark.slow
def test_the_same_for_any_number_of_devices():
    def run(devices):
        environment = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
        done = subprocess.run([sys.executable, "-c", DEVICES], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        count, null = done.stdout.split(" ", 1)
        assert int(count) == devices
        return null

    assert run(1) == run(4)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_exports(platform):
    measure = measures.cka(kernel=ja.RBF())

    def test(x, y):
        return permutation_test(measure, x, y, permutations=5, key=0).pvalue

    shapes = [jax.ShapeDtypeStruct((20, 4), jnp.float32)] * 2
    assert jax.export.export(jax.jit(test), platforms=[platform])(*shapes).platforms == (platform,)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key": None}, TypeError, "permutation_test: key must be one key"),
        ({"permutations": 0}, ValueError, "permutation_test: permutations must be at least 1"),
        ({"batch_size": 0}, ValueError, "permutation_test: batch_size must be at least 1"),
        ({"alternative": "greater"}, ValueError, "permutation_test: alternative must be one of"),
        ({"scheme": "free"}, TypeError, "permutation_test: scheme must be one of jaxalign.inference"),
        ({"scheme": Within(np.arange(12))}, ValueError, "permutation_test: Within leaves every example"),
        ({"measure": ja.cka}, TypeError, "permutation_test: measure must be a Measure"),
        ({"measure": measures.imd()}, ValueError, "permutation_test: imd compares clouds of points"),
        ({"y": Y[:5]}, ValueError, "permutation_test: x and y must have the same number of rows"),
        ({"x": X.astype(int)}, TypeError, "permutation_test: x must"),
    ],
)
def test_mistakes_are_named(arguments, error, message):
    passed = {"measure": measures.cka(), "x": X, "y": Y, "key": 0, **arguments}
    measure, x, y = (passed.pop(name) for name in ("measure", "x", "y"))
    with pytest.raises(error, match=message):
        permutation_test(measure, x, y, **passed)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "columns"), [(Free(), 8), (Within(np.arange(12) % 3), 8), (CircularShift(2), 1)])
def test_orders_are_a_table_of_independent_ones(scheme, columns):
    assert design(scheme, 4799) == (4800 // columns, columns)
    table = orders(scheme, jax.random.key(0), 4799, 12)
    assert (np.sort(table, axis=1) == np.arange(12)).all()
    table = np.concatenate([np.arange(12)[None], table]).reshape(-1, columns, 12)
    if columns > 1:  # each entry: the order of its row after the inverse of that of its column
        inverse = np.argsort(table[0, 1:], axis=1)  # the first row holds the inverses of columns
        for row in table[:5]:
            for entry, of_column in zip(row[1:], inverse, strict=True):
                assert (entry[of_column] == row[0]).all()
    if isinstance(scheme, Free):
        # Where two examples go in two entries of one row, or of one column, is independent.
        for one, other in ((table[1:, 0], table[1:, 1]), (table[1::2, 3][:299], table[2::2, 3][:299])):
            counts = np.histogram2d(one[:, 5], other[:, 5], bins=3)[0]
            assert chi2_contingency(counts).pvalue > 1e-3


@pytest.mark.parametrize(("permutations", "expected"), [(1000, 7), (999, 8), (199, 8), (100, 1), (99, 5), (1, 2)])
def test_tables_have_as_many_entries_as_orders_and_one(permutations, expected):
    rows, columns = design(Free(), permutations)
    assert (rows * columns, columns) == (permutations + 1, expected)
    assert columns <= COLUMNS


@pytest.mark.slow
def test_ties_at_zero_are_ties():
    """Cosines that are 0 on paper, and an angle that is: rounding makes them differ in all digits."""
    halves, alternating = np.repeat([0.0, 1.0], 4)[:, None], np.tile(np.repeat([0.0, 1.0], 2), 2)[:, None]
    for scale, offset in ((1, 0), (0.37, 0), (0.3, 0.1)):
        x, y = ((scale * v + offset).astype(np.float32) for v in (halves, alternating))
        result = permutation_test(measures.cka(), x, y, permutations=999, key=0, alternative="farther")
        assert float(result.pvalue) == pytest.approx(36 / 70, abs=0.06)  # that of C(4, 2)² in C(8, 4)
    v = np.random.default_rng(0).normal(size=(2, 6))
    x = v[[0, 0, 0, 1, 1, 1, 0, 1]].astype(np.float32)
    turned = (x @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]).astype(np.float32)
    pvalues = [
        float(permutation_test(measure, x, turned, permutations=1999, key=0).pvalue)
        for measure in (measures.angular_cka(), measures.cka())
    ]
    assert pvalues[0] == pvalues[1] == pytest.approx(2 / 70, abs=0.015)


@pytest.mark.slow
def test_circular_shifts_are_no_more_often_extreme_than_by_chance():
    @jax.jit
    @jax.vmap
    def one(key):
        data, shifts = jax.random.split(key)
        x, y = jax.random.normal(data, (2, 12, 2))
        return permutation_test(measures.cka(), x, y, permutations=99, key=shifts, scheme=CircularShift()).pvalue

    pvalues = np.asarray(one(jax.random.split(jax.random.key(0), 1500)))
    for level in (0.01, 0.05, 0.1, 0.5):
        assert np.mean(pvalues <= level + 1e-6) <= level + 3 * np.sqrt(level * (1 - level) / 1500)
