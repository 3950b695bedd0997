"""Misalignment against its closed forms in float64, its diagnostics, and what of it survives float32."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.signatures.whitened import UninformativeWarning
from jaxalign.stitching import gram_misalignment, layer_spectrum, least_squares, misalignment, ridge_path
from tests.oracles import certificates as oracle

pytestmark = pytest.mark.filterwarnings("ignore::jaxalign.signatures.whitened.UninformativeWarning")
RNG = np.random.default_rng(0)
X, NEAR = RNG.standard_normal((30, 4)) + 1, RNG.standard_normal((30, 4))
NEAR = X @ RNG.standard_normal((4, 4)) + 0.3 * NEAR
WIDE = np.hstack([NEAR, RNG.standard_normal((30, 2))])
CLASSES = {
    "linear": {},
    "affine": {"stitcher": "affine"},
    "ridge": {"stitcher": "ridge", "ridge": 0.1},
    "low_rank": {"stitcher": "low_rank", "rank": 2},
    "orthogonal": {"stitcher": "orthogonal"},
    "scaled_orthogonal": {"stitcher": "scaled_orthogonal"},
    "identity": {"stitcher": "identity"},
}


def cast(*arrays):
    return [jnp.asarray(array, float) for array in arrays]


def test_golden_values(float64):
    z1, z2 = cast(oracle.Z1, oracle.Z2)
    golden = {
        "linear": 58 / 41,
        "affine": 0.443428571429,
        "ridge": 1.43393547326,
        "orthogonal": 1.964420921467,
        "scaled_orthogonal": 1.946177735539,
    }
    for stitcher, value in golden.items():
        np.testing.assert_allclose(misalignment(z1, z2, **CLASSES[stitcher]).value, value, rtol=1e-9)
    np.testing.assert_allclose(misalignment(z1, z2, stitcher="low_rank", rank=1).value, 1.929340441433, rtol=1e-9)
    np.testing.assert_allclose(misalignment(z2, z1).value, 0.685714285714, rtol=1e-9)
    np.testing.assert_allclose(misalignment(z2, z1, stitcher="affine").value, 0.2, rtol=1e-9)
    found = misalignment(z1, z2)
    np.testing.assert_allclose(found.loo, 4.550793224971, rtol=1e-9)
    np.testing.assert_allclose(found.variance, 5, rtol=1e-9)
    kernel = [[1.317073170732, 0.390243902439, -0.682926829268], [0.09756097561, 0.658536585366, 0.09756097561]]
    np.testing.assert_allclose(found.stitch.kernel, kernel, rtol=1e-9)
    affine = misalignment(z1, z2, stitcher="affine")
    np.testing.assert_allclose(1 - affine.normalized, 0.886880466472, rtol=1e-9)
    np.testing.assert_allclose(affine.variance, 3.92, rtol=1e-9)
    kare = misalignment(z1, z2, stitcher="ridge", ridge=0.1).gcv
    np.testing.assert_allclose(kare, 3.620657196409, rtol=1e-9)
    np.testing.assert_allclose(layer_spectrum(z1), [1.52360679775, 1.07639320225], rtol=1e-9)
    np.testing.assert_allclose(layer_spectrum(z2), [3.1416407865, 1.4, 0.4583592135], rtol=1e-9)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("stitcher", CLASSES)
def test_values_equal_the_closed_forms(float64, stitcher, center):
    settings = CLASSES[stitcher]
    if stitcher != "affine":
        settings = {**settings, "center": center}
    pairs = {"identity": [(X, NEAR)], "orthogonal": [(X, WIDE), (WIDE, X)], "scaled_orthogonal": [(X, WIDE), (WIDE, X)]}
    for x, y in pairs.get(stitcher, [(X, WIDE)]):
        for weights in (np.ones(30), RNG.uniform(0, 1, 30)):
            found = misalignment(*cast(x, y), **settings, weights=jnp.asarray(weights))
            np.testing.assert_allclose(found.value, oracle.misalignment(x, y, **settings, weights=weights), rtol=1e-9)


def test_the_value_is_that_of_the_map_it_holds(float64):
    x, y = cast(X, WIDE)
    for stitcher, settings in CLASSES.items():
        if stitcher == "identity":
            continue
        found = misalignment(x, y, **settings)
        squares = np.sum((np.asarray(found.stitch(x)) - WIDE) ** 2, axis=1)
        np.testing.assert_allclose(found.value, squares.mean(), rtol=1e-9)
        np.testing.assert_allclose(found.standard_error, squares.std(ddof=1) / np.sqrt(30), rtol=1e-9)


def test_masked_examples_do_not_count(float64):
    mask = np.arange(30) % 3 > 0
    broken = np.where(mask[:, None], WIDE, np.nan)
    for stitcher in ("affine", "scaled_orthogonal"):
        settings = CLASSES[stitcher]
        found = misalignment(*cast(X, broken), **settings, mask=jnp.asarray(mask))
        fresh = misalignment(*cast(X[mask], WIDE[mask]), **settings)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(fresh), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-8)


@pytest.mark.slow
def test_of_tokens_it_is_their_number_times_the_mean(float64):
    x, y = RNG.standard_normal((20, 3, 4)), RNG.standard_normal((20, 3, 5))
    flat = misalignment(*cast(x.reshape(60, 4), y.reshape(60, 5)), stitcher="affine")
    found = misalignment(*cast(x, y), stitcher="affine")
    np.testing.assert_allclose(found.value, 3 * flat.value, rtol=1e-9)
    np.testing.assert_allclose(found.variance, 3 * flat.variance, rtol=1e-9)
    np.testing.assert_allclose(found.loo, 3 * flat.loo, rtol=1e-9)
    squares = np.sum((np.asarray(found.stitch(jnp.asarray(x))) - y) ** 2, axis=(1, 2))
    np.testing.assert_allclose(found.value, squares.mean(), rtol=1e-9)
    np.testing.assert_allclose(found.standard_error, squares.std(ddof=1) / np.sqrt(20), rtol=1e-9)
    # Tokens that are padding: the mean over examples of what is left of each.
    mask = RNG.uniform(size=(20, 3)) < 0.7
    mask[:, 0] = True
    found = misalignment(*cast(x, y), stitcher="affine", mask=jnp.asarray(mask))
    squares = np.sum((np.asarray(found.stitch(jnp.asarray(x))) - y) ** 2, axis=2) * mask
    np.testing.assert_allclose(found.value, squares.sum() / 20, rtol=1e-9)


@pytest.mark.slow
def test_held_out_rows_are_those_it_is_measured_on(float64):
    rows = np.array([1, 4, 5, 20, 29])
    rest = np.setdiff1d(np.arange(30), rows)
    x, y = cast(X, WIDE)
    found = misalignment(x, y, stitcher="affine", held_out=rows)
    fit = least_squares(x[rest], y[rest])
    np.testing.assert_allclose(found.stitch.kernel, fit.kernel, rtol=1e-8)
    np.testing.assert_allclose(found.value, np.mean(np.sum((fit(x[rows]) - y[rows]) ** 2, axis=1)), rtol=1e-8)
    np.testing.assert_allclose(found.variance, np.mean(np.sum((WIDE[rows] - WIDE[rest].mean(0)) ** 2, axis=1)))
    assert not bool(found.in_sample)
    assert not bool(found.degenerate)
    assert np.isnan(found.gcv)
    assert np.isnan(found.optimism)
    drawn = misalignment(x, y, held_out=0.3, key=0)
    assert float(drawn.value) != float(misalignment(x, y, held_out=0.3, key=1).value)
    with pytest.raises(ValueError, match="needs key="):
        misalignment(x, y, held_out=0.3)


@pytest.mark.slow
def test_gradients_are_those_of_the_envelope_theorem(float64):
    x, y = cast(X, WIDE)
    for center in (False, True):
        one, other = (z - z.mean(axis=0)[None] if center else z for z in (x, y))
        found = misalignment(x, y, center=center)
        residuals = other - one @ found.stitch.kernel
        gradients = jax.grad(lambda x, y, center=center: misalignment(x, y, center=center).value, (0, 1))(x, y)
        np.testing.assert_allclose(gradients[1], 2 / 30 * residuals, atol=1e-12)
        np.testing.assert_allclose(gradients[0], -2 / 30 * residuals @ found.stitch.kernel.T, atol=1e-12)


@pytest.mark.parametrize("stitcher", [name for name in CLASSES if name not in ("linear", "affine")])
def test_gradients_equal_finite_differences(float64, stitcher):
    settings = CLASSES[stitcher]
    # The padded problem for rotations into fewer features.
    for x, y in [(X, NEAR)] if stitcher != "orthogonal" else [(WIDE, X)]:
        value = jax.jit(lambda x, y: misalignment(x, y, **settings).value)
        directions = [RNG.standard_normal(z.shape) for z in (x, y)]
        found = sum(np.vdot(g, d) for g, d in zip(jax.grad(value, (0, 1))(*cast(x, y)), directions, strict=True))
        step = 1e-5
        ends = [value(*cast(*(z + s * step * d for z, d in zip((x, y), directions, strict=True)))) for s in (1, -1)]
        np.testing.assert_allclose(found, (ends[0] - ends[1]) / (2 * step), rtol=1e-6)


@pytest.mark.slow
def test_relations(float64):
    x, y = cast(X, NEAR)
    linear = float(misalignment(x, y))
    assert float(misalignment(x, y, stitcher="affine")) < linear
    invertible = jnp.asarray(RNG.standard_normal((4, 4)))
    np.testing.assert_allclose(float(misalignment(x @ invertible, y)), linear, rtol=1e-9)
    path = [float(misalignment(x, y, stitcher="ridge", ridge=r)) for r in (1e-9, 1e-3, 0.1, 10.0, 1e9)]
    assert path == sorted(path)
    np.testing.assert_allclose(path[0], linear, rtol=1e-6)
    np.testing.assert_allclose(path[-1], misalignment(x, y).variance, rtol=1e-6)
    ranks = [float(misalignment(x, y, stitcher="low_rank", rank=k)) for k in (1, 2, 3, 4)]
    assert ranks == sorted(ranks, reverse=True)
    np.testing.assert_allclose(ranks[-1], linear, rtol=1e-9)
    order = [float(misalignment(x, y, **CLASSES[s])) for s in ("linear", "scaled_orthogonal", "orthogonal", "identity")]
    assert order == sorted(order)
    # O3: a rotation and a scale away.
    rotation = jnp.linalg.qr(invertible)[0] * 2**0.5
    for stitcher in ("linear", "scaled_orthogonal"):
        assert float(misalignment(x, x @ rotation, stitcher=stitcher)) < 1e-28


@pytest.mark.slow
def test_the_optimism_of_gaussian_rows(float64):
    x = jnp.asarray(RNG.standard_normal((40, 12)))
    np.testing.assert_allclose(misalignment(x, x[:, :1]).optimism, 2.0635, rtol=1e-4)
    np.testing.assert_allclose(misalignment(x, x[:, :1], stitcher="affine").optimism, 2.2194, rtol=1e-4)
    assert np.isinf(misalignment(x[:13], x[:13, :1]).optimism)

    def errors(key, center):
        keys = jax.random.split(key, 3)
        z1, new = jax.random.normal(keys[0], (20, 6)), jax.random.normal(keys[1], (20, 6))
        noise = jax.random.normal(keys[2], (2, 20, 1))
        found = misalignment(z1, z1[:, :1] + noise[0], center=center)
        unseen = jnp.sum((found.stitch(new) - new[:, :1] - noise[1]) ** 2, axis=1)
        return found.value, jnp.mean(unseen), found.optimism

    for center in (False, True):
        fitted, unseen, factor = jax.vmap(lambda key, c=center: errors(key, c))(
            jax.random.split(jax.random.key(0), 4000)
        )
        ratio = float(unseen.mean() / fitted.mean())
        assert abs(ratio / float(factor[0]) - 1) < 4 * float(unseen.std() / unseen.mean()) / 4000**0.5


@pytest.mark.slow
def test_what_cannot_be_trusted_is_flagged():
    few = jnp.asarray(RNG.standard_normal((6, 4)), jnp.float32)
    with pytest.warns(UninformativeWarning, match="6 rows for 4 features"):
        assert bool(misalignment(few, few[:, ::-1]).degenerate)
    many = jnp.asarray(X, jnp.float32)
    assert not bool(misalignment(many, many[:, ::-1]).degenerate)
    constant = jnp.ones((30, 2), jnp.float32)
    assert bool(misalignment(many, constant, stitcher="affine").degenerate)
    assert np.isnan(misalignment(many, jnp.full((30, 2), jnp.nan, jnp.float32)).value)
    nothing = misalignment(many, many, mask=jnp.zeros(30, bool))
    assert np.isnan(nothing.value)
    assert bool(nothing.degenerate)


@pytest.mark.parametrize(("condition", "even"), [(10.0, False), (1e4, False), (10.0, True)])
def test_float32_keeps_the_digits_of_small_misalignments(condition, even):
    """Of layers that are linear maps of one another but for noise; also where all directions explain as much."""
    rng = np.random.default_rng(1)
    u, _ = np.linalg.qr(rng.standard_normal((400, 8)))
    x = u * np.geomspace(1, 1 / condition, 8) @ np.linalg.qr(rng.standard_normal((8, 8)))[0]
    signal = (u if even else x) @ rng.standard_normal((8, 5))
    for ratio in (1.0, 1e-3, 1e-6):
        noise = rng.standard_normal((400, 5))
        y = signal + noise * np.sqrt(ratio * np.sum(signal**2) / np.sum(noise**2))
        single = [np.asarray(z, np.float32) for z in (x, y)]
        fitted = np.linalg.lstsq(*(z.astype(np.float64) for z in single), rcond=None)[0]
        expected = np.sum((single[0].astype(np.float64) @ fitted - single[1]) ** 2) / 400
        np.testing.assert_allclose(misalignment(*map(jnp.asarray, single)).value, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_float32(dtype):
    x, y = (jnp.asarray(z, dtype) for z in (X, WIDE))
    found = misalignment(x, y, stitcher="affine")
    assert found.value.dtype == jnp.float32
    wide = misalignment(x.astype(jnp.float32), y.astype(jnp.float32), stitcher="affine")
    np.testing.assert_allclose(found.value, wide.value, rtol=1e-5)


@pytest.mark.slow
def test_jit_vmap_and_export():
    x, y = (jnp.asarray(np.stack([z, 2 * z]), jnp.float32) for z in (X, WIDE))
    settings = [{}, {"stitcher": "low_rank", "rank": 2}, {"stitcher": "orthogonal"}]
    for kwargs in settings:

        def value(x, y, kwargs=kwargs):
            return misalignment(x, y, **kwargs).value

        many = jax.jit(jax.vmap(value))(x, y)
        np.testing.assert_allclose(many, [value(x[0], y[0]), value(x[1], y[1])], rtol=1e-4)
    for platform in ("cpu", "cuda", "tpu"):
        exported = jax.export.export(jax.jit(lambda x, y: misalignment(x, y).value), platforms=[platform])(x[0], y[0])
        assert exported.out_avals[0].shape == ()


def test_mistakes_name_function_and_argument():
    x, y = jnp.asarray(X), jnp.asarray(WIDE)
    for settings, message in (
        ({"stitcher": "afine"}, "misalignment: stitcher must be one of .*did you mean 'affine'"),
        ({"stitcher": "ridge"}, "misalignment: stitcher='ridge' needs ridge="),
        ({"ridge": 1.0}, "misalignment: ridge belongs to"),
        ({"stitcher": "low_rank"}, "rank and stitcher='low_rank' go together"),
        ({"rank": 2}, "rank and stitcher='low_rank' go together"),
        ({"stitcher": "identity"}, "needs layers of one shape"),
        ({"stitcher": "affine", "center": False}, "for center=False take 'linear'"),
        ({"mask": jnp.ones(3, bool)}, "mask must have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            misalignment(x, y, **settings)
    with pytest.raises(ValueError, match="misalignment: z1 and z2 must hold the same examples"):
        misalignment(x, y[:5])
    with pytest.raises(TypeError, match="misalignment: z2 must be floating point"):
        misalignment(x, jnp.ones((30, 2), jnp.int32))


@pytest.mark.slow
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_from_kernel_matrices(float64, center, ridge):
    x, y = cast(X, WIDE)
    settings = {"stitcher": "ridge", "ridge": ridge} if ridge else {}
    found = gram_misalignment(x @ x.T, y @ y.T, ridge=ridge, center=center)
    same = misalignment(x, y, **settings, center=center)
    for name in ("value", "variance", "loo", "gcv", "normalized"):
        np.testing.assert_allclose(getattr(found, name), getattr(same, name), rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(found.degrees_of_freedom, same.stitch.degrees_of_freedom, rtol=1e-9)
    gradients = jax.grad(lambda x, y: gram_misalignment(x @ x.T, y @ y.T, ridge=ridge, center=center).value, (0, 1))
    expected = jax.grad(lambda x, y: misalignment(x, y, **settings, center=center).value, (0, 1))(x, y)
    for one, other in zip(gradients(x, y), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
    mask = np.arange(30) < 22
    kernels = [np.where(mask[:, None] & mask[None, :], z @ z.T, np.nan) for z in (X, WIDE)]
    found = gram_misalignment(*cast(*kernels), ridge=ridge, center=center, mask=jnp.asarray(mask))
    fresh = gram_misalignment(*(k[:22, :22] for k in cast(*kernels)), ridge=ridge, center=center)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(fresh), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_kernels_that_span_everything_are_flagged(float64):
    x, y = cast(X, WIDE)
    gaussian = jnp.exp(-jnp.sum((x[:, None] - x[None]) ** 2, axis=2) / 2)
    found = gram_misalignment(gaussian, y @ y.T)
    assert float(found.normalized) < 1e-12
    assert bool(found.degenerate)
    assert np.isinf(found.gcv)
    # With a penalty it is kernel ridge regression.
    ridge = 0.05
    fitted = np.asarray(gaussian) @ np.linalg.solve(np.asarray(gaussian) + 30 * ridge * np.eye(30), WIDE)
    found = gram_misalignment(gaussian, y @ y.T, ridge=ridge)
    np.testing.assert_allclose(found.value, np.sum((fitted - WIDE) ** 2) / 30, rtol=1e-9)
    slope = jax.grad(lambda r: gram_misalignment(gaussian, y @ y.T, ridge=r).value)(ridge)
    ends = [gram_misalignment(gaussian, y @ y.T, ridge=ridge + s).value for s in (1e-6, -1e-6)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)
    with pytest.raises(ValueError, match="gram_misalignment: k2 must be a square kernel matrix"):
        gram_misalignment(gaussian, y)


def test_generalized_cross_validation_is_that_of_the_path(float64):
    x, y = cast(X, WIDE)
    path = ridge_path(x, y, penalties=(0.1, 1.0), affine=False)
    for penalty, expected in zip((0.1, 1.0), path.gcv_errors, strict=True):
        np.testing.assert_allclose(misalignment(x, y, stitcher="ridge", ridge=penalty).gcv, expected, rtol=1e-9)


def test_no_warning_for_enough_rows():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = misalignment(jnp.asarray(X, jnp.float32), jnp.asarray(WIDE, jnp.float32))
    assert not bool(found.degenerate)
