"""Maps between all layers at once are those that are trained one by one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxalign.stitching import Affine, fit, fit_pairs
from jaxalign.stitching.minibatches import epoch_order

RNG = np.random.default_rng(0)
N = 50
SIGNAL = RNG.standard_normal((N, 3))
A, B = (
    [SIGNAL @ RNG.standard_normal((3, d)) + 0.5 * RNG.standard_normal((N, d)) + 5 for d in widths]
    for widths in ((4, 6, 4), (5, 5, 3))
)
ADAM = optax.adam(0.05)


def f32(layers):
    return [jnp.asarray(v, jnp.float32) for v in layers]


def one_by_one(x, y, batches, *, penalty=0.0, affine=True, rate=0.05, mask=None):
    """Adam in NumPy from zero on centered data; the kernel, the bias and the losses."""
    keep = np.ones(len(x), bool) if mask is None else mask
    mean_x, mean_y = (v[keep].mean(0) if affine else 0 * v[0] for v in (x, y))
    x, y = x - mean_x, y - mean_y
    kernel, m, v, losses = np.zeros((x.shape[1], y.shape[1])), 0.0, 0.0, []
    for t, rows in enumerate(batches, start=1):
        residual = x[rows] @ kernel - y[rows]
        losses.append((residual**2).sum(1).mean() + penalty * (kernel**2).sum())
        gradient = 2 * x[rows].T @ residual / len(rows) + 2 * penalty * kernel
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        kernel = kernel - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return kernel, mean_y - mean_x @ kernel, losses


def drawn(key, size, steps, keep):
    counts = jnp.asarray(keep)
    per_epoch = int(keep.sum()) // size
    orders = [np.asarray(epoch_order(jax.random.key(key), e, N, counts)) for e in range(-(-steps // per_epoch))]
    return [orders[s // per_epoch][(s % per_epoch) * size :][:size] for s in range(steps)]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"penalty": 0.3},
        pytest.param({"affine": False}, marks=pytest.mark.slow),
        {"batch_size": 12, "key": 2, "penalty": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("masked", [False, True])
def test_all_pairs_are_what_adam_finds_one_by_one(settings, masked):
    keep = np.arange(N) % 4 != 1 if masked else np.ones(N, bool)
    a, b = ([np.where(keep[:, None], v, np.nan) for v in side] for side in (A, B))
    result = fit_pairs(f32(a), f32(b), optimizer=ADAM, steps=30, mask=jnp.asarray(keep) if masked else None, **settings)
    size = settings.get("batch_size")
    batches = [np.flatnonzero(keep)] * 30 if size is None else drawn(settings["key"], size, 30, keep)
    rules = {name: value for name, value in settings.items() if name in ("penalty", "affine")}
    assert result.losses.shape == (3, 3, 30)
    for i in range(3):
        for j in range(3):
            kernel, bias, losses = one_by_one(a[i], b[j], batches, mask=keep, **rules)
            np.testing.assert_allclose(result.kernels[i][j], kernel, atol=1e-4)
            np.testing.assert_allclose(result.biases[i][j], bias, atol=2e-3)
            np.testing.assert_allclose(result.losses[i, j], losses, rtol=1e-4)


def test_wide_layers_are_read_row_by_row_to_the_same_numbers(float64):
    wide, narrow = RNG.standard_normal((8, 20)), RNG.standard_normal((8, 2))
    result = fit_pairs([jnp.asarray(wide)], [jnp.asarray(narrow)], optimizer=ADAM, steps=20, penalty=0.2)
    kernel, bias, losses = one_by_one(wide, narrow, [np.arange(8)] * 20, penalty=0.2)
    np.testing.assert_allclose(result.kernels[0][0], kernel, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(result.losses[0, 0], losses, rtol=1e-9)
    np.testing.assert_allclose(result.biases[0][0], bias, rtol=1e-9)


def test_an_offset_does_not_cost_accuracy():
    far = [v + 1000 for v in A[:1]]
    near, shifted = (fit_pairs(f32(side), f32(B[:1]), optimizer=ADAM, steps=100) for side in (A[:1], far))
    np.testing.assert_allclose(shifted.kernels[0][0], near.kernels[0][0], atol=2e-3)
    np.testing.assert_allclose(shifted.losses, near.losses, rtol=2e-3)


@pytest.mark.slow
def test_optimizers_are_separate_for_each_pair(x64):
    """A bound on the length of a gradient is one for each pair."""
    clipped = optax.chain(optax.clip_by_global_norm(1e-3), optax.sgd(1.0))
    x, y = f32(A), f32(B)
    result = fit_pairs(x, y, optimizer=clipped, steps=1)
    for row in result.kernels:
        for kernel in row:
            np.testing.assert_allclose(jnp.linalg.norm(kernel), 1e-3, rtol=1e-4)
    together = fit_pairs(x, y, optimizer=clipped, steps=7, batch_size=10, key=0)
    alone = fit_pairs(x[2:], y[1:2], optimizer=clipped, steps=7, batch_size=10, key=0)
    np.testing.assert_allclose(together.kernels[2][1], alone.kernels[0][0], rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_pairs_agree_with_the_training_of_a_module():
    schedule = optax.adam(optax.cosine_decay_schedule(0.1, 600))
    result = fit_pairs(f32(A[:1]), f32(B[:1]), optimizer=schedule, steps=600, penalty=0.1)
    x, y = f32([A[0] - A[0].mean(0), B[0]])
    one = fit(Affine(4, 5, rngs=nnx.Rngs(0)), x, y, optimizer=optax.lbfgs(), steps=40, penalty=0.1)
    np.testing.assert_allclose(result.losses[0, 0, -1], one.losses[-1], rtol=1e-4)
    module = result.module(0, 0)
    np.testing.assert_allclose(module.kernel[...], one.module.kernel[...], atol=5e-3)
    np.testing.assert_allclose(module(f32(A)[0]), one.module(x), atol=0.05)


@pytest.mark.slow
def test_pairs_that_diverge_stop_alone():
    """Each at the last map with a finite loss; the others are not touched."""
    x, y = f32(A), [*f32(B), 1e25 * f32(B)[0]]
    mild = optax.sgd(1e-3)
    with pytest.warns(RuntimeWarning, match=rf"the kernel of pairs \(0, {len(B)}\).*the loss of step 0 was not finite"):
        maps = fit_pairs(x, y, optimizer=mild, steps=4)
    assert np.all(maps.diverged == (np.arange(len(y)) == len(B)))
    alone = fit_pairs(x, y[:-1], optimizer=mild, steps=4)
    np.testing.assert_allclose(maps.losses[:, :-1], alone.losses, rtol=1e-5)
    np.testing.assert_array_equal(maps.kernels[0][-1], 0)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 40])
@pytest.mark.parametrize("settings", [{}, {"batch_size": 10, "key": 0}], ids=["all rows", "batches"])
def test_maps_of_the_last_finite_loss_are_kept(steps, settings):
    y = [100 * f32(B)[0]]
    rate = optax.sgd(1e6 if steps > 1 else 3e38)
    with pytest.warns(RuntimeWarning, match=r"of pairs \(0, 0\) was not finite; .* a smaller learning rate may help"):
        maps = fit_pairs(f32(A[:1]), y, optimizer=rate, steps=steps, **settings)
    assert maps.diverged.tolist() == [[True]]
    kernel, losses = np.asarray(maps.kernels[0][0]), maps.losses[0, 0]
    assert np.all(np.isfinite(kernel))
    assert np.all(np.isfinite(maps.biases[0][0]))
    assert np.isfinite(losses[0])
    if steps > 1:
        assert np.isnan(losses[-1])
        last = int(np.flatnonzero(np.isfinite(losses))[-1])
        kept = fit_pairs(f32(A[:1]), y, optimizer=rate, steps=last, **settings)
        np.testing.assert_allclose(kernel, kept.kernels[0][0], rtol=1e-4)
    else:
        np.testing.assert_array_equal(kernel, 0)


ERRORS = [
    ({"layers_b": None}, TypeError, "fit_pairs: layers_b must be a list of activations, got NoneType"),
    ({"steps": 0}, ValueError, "fit_pairs: steps must be at least 1"),
    ({"batch_size": 8}, ValueError, "fit_pairs: key must be given with batch_size"),
    ({"batch_size": 51, "key": 0}, ValueError, "at most the number of rows that count, 50, got 51"),
    ({"penalty": -1}, ValueError, "penalty must be at least 0"),
    ({"optimizer": "adam"}, TypeError, "fit_pairs: optimizer must be an optax transformation, got str 'adam'"),
    ({"layers_b": [jnp.ones((N - 1, 2))]}, ValueError, r"b\[0\] must have 50 rows like a\[0\], got 49"),
    ({"layers_b": []}, ValueError, "b must hold at least one representation"),
    ({"layers_a": [jnp.ones((N, 2), jnp.int32)]}, TypeError, r"a\[0\] must be floating point"),
]


@pytest.mark.parametrize(("settings", "error", "message"), ERRORS)
def test_mistakes_are_named(settings, error, message):
    settings = {"layers_a": f32(A), "layers_b": f32(B), "optimizer": ADAM, "steps": 2, **settings}
    with pytest.raises(error, match=message):
        fit_pairs(settings.pop("layers_a"), settings.pop("layers_b"), **settings)
