"""Second moments of data in pieces against the definitions on all rows, and golden values."""

from __future__ import annotations

import itertools
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import PartitionSpec
from oracles import stitching as rows_oracle
from oracles import streaming as oracle
from oracles.streaming import W2, Z1, Z2, Y

from jaxalign.streaming import Misalignment, accumulate, row_blocks, stream

RNG = np.random.default_rng(0)
GOLDEN = {
    "kernel_alignment": 0.729187362302,
    "cka": 0.725823276969,
    "linear.forward.value": 58 / 41,
    "affine.forward.value": 0.443428571429,
    "linear.backward.value": 0.685714285714,
    "affine.backward.value": 0.2,
    "linear.forward.variance": 5.0,
    "affine.forward.variance": 3.92,
    "affine.forward.r_squared": 0.886880466472,
    "linear.forward.orthogonal": 1.964420921467,
    "linear.forward.scaled_orthogonal": 1.946177735539,
    "linear.head.head_risk": 0.95,
    "linear.head.stitched_risk": 0.448780487805,
    "linear.head.misalignment": 0.691463414634,
    "linear.head.bound": 3.262438730797,
    "linear.head.risk": 0.082926829268,
    "linear.head.probe_risk": 0.082926829268,
    "linear.head.best_head_risk": 0.164285714286,
}


def at(result, path):
    return reduce(getattr, path.split("."), result)


def assert_golden(result):
    for path, value in GOLDEN.items():
        np.testing.assert_allclose(at(result, path), value, atol=2e-12, rtol=0, err_msg=path)
    forward = result.linear.forward
    np.testing.assert_allclose(forward.ridge, [1.43393547326, 58 / 41], atol=2e-11)
    np.testing.assert_allclose(forward.low_rank(1), 1.929340441433, atol=2e-12)
    np.testing.assert_allclose(forward.source_eigenvalues, [1.52360679775, 1.07639320225], atol=2e-11)
    np.testing.assert_allclose(forward.target_eigenvalues, [3.1416407865, 1.4, 0.4583592135], atol=2e-10)
    kernel = [[1.317073170732, 0.390243902439, -0.682926829268], [0.09756097561, 0.658536585366, 0.09756097561]]
    np.testing.assert_allclose(forward.kernel, kernel, atol=2e-12)
    assert result.examples == 5
    assert result.linear.head.is_linear_probe


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_golden_values_in_blocks(float64, rows):
    accumulator = Misalignment(penalties=(0.1, 0), w2=W2)
    assert_golden(stream(accumulator, row_blocks(Z1, Z2, Y, rows=rows)))


def test_golden_values_merged_in_any_order(float64):
    accumulator = Misalignment(penalties=(0.1, 0), w2=W2)
    states = [accumulate(accumulator, [batch]) for batch in row_blocks(Z1, Z2, Y, rows=1)]
    for order in itertools.islice(itertools.permutations(states), 0, 120, 7):
        assert_golden(accumulator.result(reduce(accumulator.merge, order)))
    tree = accumulator.merge(accumulator.merge(*states[:2]), accumulator.merge(*states[2:4]))
    assert_golden(accumulator.result(accumulator.merge(accumulator.init(2, 3, 1), accumulator.merge(tree, states[4]))))


def test_the_interval_of_the_golden_values(float64):
    result = stream(Misalignment(), [(Z1, Z2)])
    np.testing.assert_allclose(result.linear.forward.interval, [0.979944116195, 1.902087856939], atol=1e-10)
    for side, affine in ((result.linear, False), (result.affine, True)):
        for one, other, found in ((Z1, Z2, side.forward), (Z2, Z1, side.backward)):
            spectra = oracle.spectrum(one, affine), oracle.spectrum(other, affine)
            low, high = oracle.interval(*spectra, oracle.alignment(one, other, affine))
            np.testing.assert_allclose(found.interval, [low, high], atol=1e-9)
            assert found.interval[0] <= found.value <= found.interval[1]


def test_the_interval_where_alignment_is_the_largest_there_is():
    """Rounding of float32 moments must not ask for an impossible one."""
    x = RNG.standard_normal((50, 4)).astype(np.float32)
    low, high = stream(Misalignment(), [(x, x @ np.linalg.qr(RNG.standard_normal((4, 4)))[0])]).linear.forward.interval
    assert 0 <= low <= high < 1e-4


def draw(n=60, p=5, q=4, t=3):
    x = RNG.standard_normal((n, p)) @ RNG.standard_normal((p, p)) + 3
    y = x @ RNG.standard_normal((p, q)) + 2 * RNG.standard_normal((n, q)) - 2
    return x, y, y @ RNG.standard_normal((q, t)) + RNG.standard_normal((n, t)) + 1


@pytest.mark.parametrize(("p", "q"), [(5, 4), (3, 6), (4, 4)])
def test_the_definitions(float64, p, q):
    x, y, _ = draw(p=p, q=q)
    result = stream(Misalignment(penalties=(0.3, 5.0)), row_blocks(x, y, rows=17))
    for side, affine in ((result.linear, False), (result.affine, True)):
        np.testing.assert_allclose(side.alignment, oracle.alignment(x, y, affine), rtol=1e-11)
        for one, other, found in ((x, y, side.forward), (y, x, side.backward)):
            np.testing.assert_allclose(found.value, oracle.residual(one, other, affine), rtol=1e-10)
            np.testing.assert_allclose(found.variance, np.mean(np.sum(oracle.about(other, affine) ** 2, 1)), rtol=1e-11)
            for penalty, value in zip((0.3, 5.0), found.ridge, strict=True):
                fitted = rows_oracle.ridge(one, other, penalty, affine)
                np.testing.assert_allclose(value, rows_oracle.error(one, other, *fitted), rtol=1e-10)
            np.testing.assert_allclose(
                [found.orthogonal, found.scaled_orthogonal], oracle.rotation_errors(one, other, affine), rtol=1e-10
            )
            centered = [oracle.about(z, affine) for z in (one, other)]
            for rank in (1, 2, 3):
                kernel = rows_oracle.low_rank(*centered, rank)
                np.testing.assert_allclose(found.low_rank(rank), rows_oracle.error(*centered, kernel, 0), rtol=1e-10)
            np.testing.assert_allclose(found.source_eigenvalues, oracle.spectrum(one, affine), rtol=1e-10)
            assert found.rank == one.shape[1]
            assert found.resolved
            assert not found.overfit
            stitch = found.stitch()
            np.testing.assert_allclose(
                np.mean(np.sum((np.asarray(stitch(jnp.asarray(one))) - other) ** 2, 1)), found.value, rtol=1e-10
            )
            assert bool(jnp.isclose(stitch.error, found.value))


@pytest.mark.slow
@pytest.mark.parametrize("rank", [None, 1, 2])
def test_risks_under_a_linear_head(float64, rank):
    x, y, targets = draw()
    head, bias = RNG.standard_normal((4, 3)), RNG.standard_normal(3)
    if rank is not None:
        head = RNG.standard_normal((4, rank)) @ RNG.standard_normal((rank, 3))
    result = stream(Misalignment(w2=head, b2=bias), row_blocks(x, y, targets, rows=25))
    for side, affine in ((result.linear, False), (result.affine, True)):
        expected = oracle.head_risks(x, y, head, bias, targets, affine)
        found = side.head
        for name, value in expected.items():
            np.testing.assert_allclose(getattr(found, name), value, rtol=1e-9, err_msg=name)
        assert found.head_rank == (rank or 3)
        assert found.is_linear_probe == (rank is None)
        np.testing.assert_allclose(found.excess, expected["risk"] - expected["probe_risk"], atol=1e-9)
        assert found.probe_risk <= found.risk + 1e-12
        assert found.risk <= found.stitched_risk + 1e-12
        assert found.stitched_risk <= found.bound + 1e-12
        outputs = np.asarray(found.stitch()(jnp.asarray(x))) @ head + bias
        np.testing.assert_allclose(np.mean(np.sum((outputs - targets) ** 2, 1)), found.risk, rtol=1e-9)


@pytest.mark.slow
def test_known_extremes(float64):
    rotation = np.linalg.qr(RNG.standard_normal((2, 2)))[0]
    same = stream(Misalignment(), [(Z1, np.sqrt(2) * Z1 @ rotation)])  # O3
    np.testing.assert_allclose([same.kernel_alignment, same.cka], 1, atol=1e-12)
    for found in (same.linear.forward, same.linear.backward, same.affine.forward):
        np.testing.assert_allclose([found.value, found.scaled_orthogonal], 0, atol=1e-13)
        assert found.rounding < 1e-13
        assert not found.resolved
    x = np.array([[1.0, 0], [0, 1], [1, 1], [1, -1]])
    targets = np.array([[1.0, 0], [0, 1], [2, 1], [0, -1]])
    for head, risk in ((np.array([[1.0, 1], [0, 0]]), 7 / 12), (np.eye(2), 1 / 6)):  # O4
        found = stream(Misalignment(w2=head), [(x, x, targets)]).linear.head
        np.testing.assert_allclose([found.risk, found.probe_risk], [risk, 1 / 6], atol=1e-13)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    one, other = signs[:, :2] * [10, 1], signs[:, [0, 2]] * [10, 1]  # O7
    misled = stream(Misalignment(w2=np.array([[0.0], [1.0]])), [(one, other, signs[:, 2:])])
    np.testing.assert_allclose(misled.cka, 1e4 / (1e4 + 1), atol=1e-13)
    np.testing.assert_allclose(misled.affine.forward.value, 1, atol=1e-12)
    np.testing.assert_allclose([misled.affine.head.risk, misled.affine.head.head_risk], [1, 0], atol=1e-12)


@pytest.mark.slow
def test_a_mask_is_a_subset(x64):
    x, y, targets = draw()
    mask = RNG.uniform(size=len(x)) < 0.6
    accumulator, dtype = Misalignment(w2=np.ones((4, 3))), np.float64 if x64 else np.float32
    padded = [np.where(mask[:, None], a, np.nan).astype(dtype) for a in (x, y, targets)]
    batches = [
        {"x": padded[0][r], "y": padded[1][r], "targets": padded[2][r], "mask": mask[r]}
        for r in (slice(0, 30), slice(30, 60))
    ]
    nothing = {**batches[0], "mask": np.zeros(30, bool)}
    found = stream(accumulator, [nothing, batches[0], nothing, batches[1]])
    expected = stream(accumulator, [tuple(a[mask].astype(dtype) for a in (x, y, targets))])
    assert found.examples == mask.sum()
    for path in ("cka", "kernel_alignment", "linear.forward.value", "affine.backward.value", "affine.head.risk"):
        np.testing.assert_allclose(at(found, path), at(expected, path), rtol=1e-11 if x64 else 2e-5)
    assert accumulator.init(5, 4, 3).second.high.dtype == dtype


@pytest.mark.slow
def test_scan_vmap_and_devices(float64):
    x, y, _ = draw(n=64)
    accumulator, blocks = Misalignment(), (jnp.asarray(x).reshape(8, 8, 5), jnp.asarray(y).reshape(8, 8, 4))
    expected = stream(accumulator, [(x, y)])

    def add(state, batch):
        return accumulator.update(state, *batch), None

    scanned = jax.jit(lambda blocks: jax.lax.scan(add, accumulator.init(5, 4), blocks)[0])(blocks)
    states = jax.jit(jax.vmap(lambda x, y: accumulator.update(accumulator.init(5, 4), x, y)))(*blocks)
    merged = reduce(accumulator.merge, [jax.tree.map(lambda leaf, i=i: leaf[i], states) for i in range(8)])

    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.jit(
        jax.shard_map(
            lambda x, y: accumulator.merge_across(accumulator.update(accumulator.init(5, 4), x, y), axis_name="data"),
            mesh=mesh,
            in_specs=PartitionSpec("data"),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
    )(jnp.asarray(x), jnp.asarray(y))
    for state in (scanned, merged, sharded):
        found = accumulator.result(state)
        assert found.examples == 64
        for path in ("cka", "kernel_alignment", "linear.forward.value", "affine.backward.value"):
            np.testing.assert_allclose(at(found, path), at(expected, path), rtol=1e-12)


def test_update_and_merge_are_exported_for_accelerators():
    accumulator = Misalignment()
    state = accumulator.init(3, 2, 1)
    arrays = [jnp.ones((4, width)) for width in (3, 2, 1)]
    for platform in ("cuda", "tpu"):
        for function, inputs in ((accumulator.update, (state, *arrays)), (accumulator.merge, (state, state))):
            exported = export.export(jax.jit(function), platforms=[platform])(*inputs)
            assert exported.platforms == (platform,)
            assert [leaf.shape for leaf in exported.out_avals] == [leaf.shape for leaf in jax.tree.leaves(state)]


def test_half_precision_is_summed_in_float32():
    x, y, _ = draw()
    narrow = [jnp.asarray(a, jnp.bfloat16) for a in (x, y)]
    state = jax.eval_shape(Misalignment().update, Misalignment().init(5, 4), *narrow)
    assert all(leaf.dtype in (jnp.float32, jnp.bool_) for leaf in jax.tree.leaves(state))
    found = stream(Misalignment(), [narrow])
    expected = stream(Misalignment(), [[a.astype(jnp.float32) for a in narrow]])
    assert found.affine.forward.value == expected.affine.forward.value


def test_what_is_undefined_is_nan():
    x, y, _ = (a.astype(np.float32) for a in draw())
    accumulator = Misalignment(penalties=(1.0,))
    nothing = accumulator.result(accumulator.init(5, 4))
    assert nothing.examples == 0
    for side in (nothing.linear, nothing.affine):
        assert np.isnan([side.alignment, side.forward.value, side.forward.rounding, *side.forward.ridge]).all()
        assert not side.forward.resolved
    constant = stream(accumulator, [(np.full_like(x, 7.1), y)])
    assert np.isnan(constant.cka)
    assert constant.affine.forward.rank == 0
    assert constant.affine.forward.r_squared == 0.0
    np.testing.assert_allclose(constant.affine.forward.value, np.sum(y.var(axis=0)), rtol=1e-5)
    assert np.isnan(constant.affine.backward.r_squared)
    assert np.isfinite(constant.kernel_alignment)
    single = stream(accumulator, [(x[:1], y[:1])])
    assert np.isnan(single.cka)
    assert single.linear.forward.overfit
    spoiled = x.copy()
    spoiled[3, 1] = np.inf
    bad = stream(accumulator, [(x, y), (spoiled, y)])
    assert np.isnan([bad.cka, bad.linear.forward.value, bad.affine.backward.value, *bad.linear.forward.ridge]).all()
    np.testing.assert_allclose(bad.affine.forward.target_eigenvalues, oracle.spectrum(y, True), rtol=1e-4)


def test_mistakes_are_named():
    x, y, targets = (a.astype(np.float32) for a in draw())
    accumulator = Misalignment()
    state = accumulator.init(5, 4)
    with pytest.raises(ValueError, match=r"Misalignment.update: y must have 4 columns, got .* \(60, 5\)"):
        accumulator.update(state, x, x)
    with pytest.raises(ValueError, match=r"targets must be None"):
        accumulator.update(state, x, y, targets)
    with pytest.raises(ValueError, match=r"targets must be \(n, 3\); got NoneType"):
        accumulator.update(accumulator.init(5, 4, 3), x, y)
    with pytest.raises(TypeError, match="targets must be floating point"):
        accumulator.update(accumulator.init(5, 4, 3), x, y, targets.astype(int))
    with pytest.raises(ValueError, match="same number of rows"):
        accumulator.update(state, x, y[:-1])
    with pytest.raises(TypeError, match=r"Misalignment.update: state must come from Misalignment.init"):
        accumulator.update(x, x, y)
    with pytest.raises(TypeError, match="mask must be boolean"):
        accumulator.update(state, x, y, mask=np.ones(60))
    with pytest.raises(ValueError, match=r"both states must have widths \(5, 4\), got \(5, 3\)"):
        accumulator.merge(state, accumulator.init(5, 3))
    with pytest.raises(TypeError, match="outside of jit"):
        jax.jit(accumulator.result)(state)
    with pytest.raises(ValueError, match="dtype must be float32 or float64"):
        accumulator.init(5, 4, dtype=jnp.bfloat16)
    with pytest.raises(TypeError, match=r"Misalignment.init: p must be an integer"):
        accumulator.init(5.0, 4)
    with pytest.raises(ValueError, match="q must be 3, the height of w2, got 4"):
        Misalignment(w2=W2).init(5, 4)
    with pytest.raises(ValueError, match="penalties must be at least 0"):
        Misalignment(penalties=(-1.0,))
    with pytest.raises(ValueError, match="b2 needs the kernel"):
        Misalignment(b2=np.zeros(3))
    with pytest.raises(ValueError, match=r"b2 must have shape \(1,\)"):
        Misalignment(w2=W2, b2=np.zeros(3))
    with pytest.raises(ValueError, match="must be finite"):
        Misalignment(w2=W2 * np.nan)


def test_the_interval_of_features_that_are_combinations_of_others():
    """Their directions may be none, or too short to be seen: then whatever is left might be explained by them."""
    base = RNG.standard_normal((500, 3))
    y = (base @ RNG.standard_normal((3, 3)) + 2 * RNG.standard_normal((500, 3))).astype(np.float32)
    x = np.hstack([base, base @ RNG.standard_normal((3, 3))]).astype(np.float32)
    found = stream(Misalignment(), [(x, y)]).linear.forward
    spectra = oracle.spectrum(x.astype(float), False)[:3], oracle.spectrum(y.astype(float), False)
    expected = oracle.interval(*spectra, oracle.alignment(x.astype(float), y.astype(float), False))
    assert found.dropped
    assert not found.resolved
    assert found.interval[0] == 0
    np.testing.assert_allclose(found.interval[1], expected[1], rtol=1e-4)
    # Without them, the range is that of the rows.
    found = stream(Misalignment(), [(x[:, :3], y)]).linear.forward
    spectra = oracle.spectrum(x[:, :3].astype(float), False), spectra[1]
    expected = oracle.interval(*spectra, oracle.alignment(x[:, :3].astype(float), y.astype(float), False))
    assert expected[0] > 0.01 * found.variance
    np.testing.assert_allclose(found.interval, expected, rtol=1e-3)


def test_a_direction_too_short_to_count_is_not_passed_over():
    """Small features far from 0: of moments about 0 short directions are rounding, what they explain is unknown."""
    rng = np.random.default_rng(41)
    base = rng.standard_normal((2000, 4))
    y = (base @ rng.standard_normal((4, 2)) + 0.1 * rng.standard_normal((2000, 2))).astype(np.float32)
    x = (base * np.logspace(0, -2, 4) + 1e3).astype(np.float32)
    found = stream(Misalignment(), [(x, y)]).linear.forward
    truth = oracle.residual(x.astype(float), y.astype(float), False)
    assert found.value > 1.1 * truth
    assert not found.resolved
    assert found.interval[0] <= truth <= found.interval[1]


def test_the_interval_holds_the_value_in_float32():
    """Where features are combinations of others as well, whose directions have next to no length."""
    for seed in range(20):
        g = np.random.default_rng(seed)
        x = g.standard_normal((200, 4)) * 10.0 ** g.uniform(-3, 1, 4)
        y = (x[:, :3] / x[:, :3].std(axis=0) + g.uniform(0, 1) * g.standard_normal((200, 3))).astype(np.float32)
        x = np.hstack([x, x @ g.standard_normal((4, 2))]).astype(np.float32)
        found = stream(Misalignment(), [(x, y)]).affine.forward
        low, high = found.interval
        assert low <= found.value + found.rounding
        assert found.value <= high + found.rounding
        assert found.value < 0.9 * high or high < found.variance
