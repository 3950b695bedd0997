"""Training: it reaches what closed forms reach, and every setting means what it says."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from jaxalign.stitching import (
    Affine,
    Conv1x1,
    FitResult,
    LowRank,
    TokenAffine,
    cross_entropy,
    fit,
    kl_divergence,
    squared,
    zero_one,
)

RNG = np.random.default_rng(0)
N, P, Q = 60, 5, 4
X = RNG.standard_normal((N, P)) * [1, 2, 0.5, 1, 1] + 3
Y = X @ RNG.standard_normal((P, Q)) + 0.5 * RNG.standard_normal((N, Q)) - 1
LABELS = RNG.integers(0, 3, N)
HEAD = RNG.standard_normal((Q, 3)).astype(np.float32)
ADAM = optax.adam(0.05)
SGD = optax.sgd(0.005)
LINE_SEARCH = optax.lbfgs()


def head(z):
    return z @ jnp.asarray(HEAD)


def f32(a):
    return jnp.asarray(a, jnp.float32)


def affine(seed=0):
    return Affine(P, Q, rngs=nnx.Rngs(seed))


def weights(result):
    return np.asarray(result.module.kernel[...]), np.asarray(result.module.bias[...])


def least_squares(x, y, penalty=0.0):
    """Kernel, bias and loss in float64."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y, n = x - mean_x, y - mean_y, len(x)
    kernel = np.linalg.solve(x.T @ x / n + penalty * np.eye(x.shape[1]), x.T @ y / n)
    return kernel, mean_y - mean_x @ kernel, ((x @ kernel - y) ** 2).sum() / n + penalty * (kernel**2).sum()


@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_the_affine_map_reaches_the_closed_form(penalty):
    result = fit(affine(), f32(X), f32(Y), optimizer=LINE_SEARCH, steps=60, penalty=penalty)
    kernel, bias, loss = least_squares(X, Y, penalty)
    if not penalty:
        design = np.c_[X, np.ones(N)]
        np.testing.assert_allclose(loss, ((design @ np.linalg.lstsq(design, Y)[0] - Y) ** 2).sum() / N, rtol=1e-9)
    np.testing.assert_allclose(result.losses[-1], loss, rtol=1e-4)
    np.testing.assert_allclose(weights(result)[0], kernel, atol=2e-3)
    np.testing.assert_allclose(weights(result)[1], bias, atol=1e-2)


def test_adam_reaches_the_closed_form_too():
    z = X - X.mean(0)
    schedule = optax.cosine_decay_schedule(0.2, 800)
    result = fit(affine(), f32(z), f32(Y), optimizer=optax.adam(schedule), steps=800)
    np.testing.assert_allclose(result.losses[-1], least_squares(z, Y)[2], rtol=1e-4)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_targets_are_labels_or_what_the_intact_model_makes_or_the_other_side():
    module = affine()
    out = np.asarray(module(f32(X)), np.float64)
    logits, intact = out @ HEAD, Y @ HEAD
    log_q = np.log(softmax(logits))
    p = softmax(intact)
    expected = {
        "other side": ({}, ((out - Y) ** 2).sum(1)),
        "intact model": ({"head": head}, ((logits - intact) ** 2).sum(1)),
        "its predictions": ({"head": head, "loss": kl_divergence}, (p * (np.log(p) - log_q)).sum(1)),
        "labels": ({"head": head, "labels": LABELS}, -log_q[np.arange(N), LABELS]),
        "numbers": ({"head": head, "labels": f32(Y[:, :3])}, ((logits - Y[:, :3]) ** 2).sum(1)),
        "probabilities": ({"head": head, "labels": f32(p), "loss": cross_entropy}, -(p * log_q).sum(1)),
    }
    for name, (settings, values) in expected.items():
        result = fit(module, f32(X), f32(Y), optimizer=SGD, steps=1, **settings)
        np.testing.assert_allclose(result.losses, [values.mean()], rtol=2e-4, err_msg=name)


def numpy_sgd(x, y, batches, rate=0.005, penalty=0.0):
    kernel, bias = (np.asarray(p, np.float64) for p in (affine().kernel[...], affine().bias[...]))
    losses = []
    for rows in batches:
        residual = x[rows] @ kernel + bias - y[rows]
        losses.append((residual**2).sum(1).mean() + penalty * (kernel**2).sum())
        kernel = kernel - rate * 2 * (x[rows].T @ residual / len(rows) + penalty * kernel)
        bias = bias - rate * 2 * residual.mean(0)
    return kernel, bias, losses


def drawn(key, size, steps, n=N):
    """Rows of each step: a new order in each epoch, without what is left over."""
    key, per_epoch = jax.random.fold_in(jax.random.key(key), 1), n // size
    orders = [np.asarray(jax.random.permutation(jax.random.fold_in(key, e), n)) for e in range(-(-steps // per_epoch))]
    return [orders[s // per_epoch][(s % per_epoch) * size :][:size] for s in range(steps)]


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({}, None),
        ({"accumulate": 7}, None),
        ({"batch_size": 16, "key": 3}, 16),
        ({"batch_size": 8, "accumulate": 2, "key": 3}, 16),
        ({"batch_size": 4, "accumulate": 4, "key": 3, "penalty": 0.5}, 16),
    ],
    ids=str,
)
def test_batches_are_drawn_without_replacement_and_accumulated(settings, size):
    batches = [np.arange(N)] * 8 if size is None else drawn(3, size, 8)
    kernel, bias, losses = numpy_sgd(X, Y, batches, penalty=settings.get("penalty", 0.0))
    result = fit(affine(), f32(X), f32(Y), optimizer=SGD, steps=8, **settings)
    np.testing.assert_allclose(result.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(weights(result)[0], kernel, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weights(result)[1], bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"accumulate": 4}, {"batch_size": 10, "key": 0}], ids=str)
def test_padding_may_hold_anything_and_does_not_count(settings):
    mask = np.arange(N) % 3 != 1
    x, y = (np.where(mask[:, None], a, np.nan) for a in (X, Y))
    result = fit(affine(), f32(x), f32(y), optimizer=SGD, steps=6, mask=jnp.asarray(mask), **settings)
    if "batch_size" in settings:
        # An order of all rows, of which those that count come first.
        key = jax.random.fold_in(jax.random.key(0), 1)
        orders = [np.asarray(jax.random.permutation(jax.random.fold_in(key, e), N)) for e in range(2)]
        batches = [o[mask[o]][10 * b :][:10] for o in orders for b in range(4)][:6]
    else:
        batches = [np.flatnonzero(mask)] * 6
    kernel, _, losses = numpy_sgd(X, Y, batches)
    np.testing.assert_allclose(result.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(weights(result)[0], kernel, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"accumulate": 7}], ids=str)
def test_padding_does_not_break_heads_that_cannot_take_zeros(settings):
    def unit(z):
        return z / jnp.linalg.norm(z, axis=1, keepdims=True)  # 0 / 0 for a row of zeros

    module = Affine(P, Q, rngs=nnx.Rngs(0), use_bias=False)
    mask = jnp.arange(N) < 50
    run = fit(
        module, f32(X), f32(Y), optimizer=SGD, steps=3, head=unit, mask=mask, held_out=(f32(X), f32(Y)), **settings
    )
    whole = fit(module, f32(X[:50]), f32(Y[:50]), optimizer=SGD, steps=3, head=unit)
    np.testing.assert_allclose(run.losses, whole.losses, rtol=1e-5)


@pytest.mark.slow
def test_weights_are_repetitions(x64):
    counts = RNG.integers(0, 3, N)
    result = fit(affine(), f32(X), f32(Y), optimizer=SGD, steps=6, weights=f32(counts))
    kernel, _, losses = numpy_sgd(X, Y, [np.repeat(np.arange(N), counts)] * 6)
    np.testing.assert_allclose(result.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(weights(result)[0], kernel, rtol=1e-4, atol=1e-5)


def test_labels_of_padding_may_be_anything():
    mask = np.arange(N) < 40
    result = fit(affine(), f32(X), labels=np.where(mask, LABELS, -7), head=head, optimizer=SGD, steps=2, mask=mask)
    whole = fit(affine(), f32(X[:40]), labels=LABELS[:40], head=head, optimizer=SGD, steps=2)
    np.testing.assert_allclose(result.losses, whole.losses, rtol=1e-5)


@pytest.mark.slow
def test_early_stopping_takes_the_module_of_the_best_look():
    x, y = f32(RNG.standard_normal((30, 20))), f32(RNG.standard_normal((30, 2)))
    other = f32(RNG.standard_normal((40, 20))), f32(RNG.standard_normal((40, 2)))
    module = LowRank(20, 2, 2, rngs=nnx.Rngs(0))
    settings = {"optimizer": ADAM, "steps": 400, "held_out": other, "evaluate_every": 5}
    result = fit(module, x, y, patience=3, **settings)
    whole = fit(module, x, y, **settings)
    looks = result.held_out_losses
    assert result.stopped_at == result.held_out_steps[-1] < 400 == whole.stopped_at
    assert result.best_step == result.held_out_steps[np.argmin(looks)] == result.stopped_at - 15
    np.testing.assert_array_equal(result.held_out_steps, np.arange(len(looks)) * 5)
    np.testing.assert_array_equal(whole.losses[: result.stopped_at], result.losses)
    np.testing.assert_array_equal(whole.held_out_losses[: len(looks)], looks)
    np.testing.assert_allclose(jnp.mean(squared(result.module(other[0]), other[1])), looks.min(), rtol=1e-5)
    np.testing.assert_allclose(
        jnp.mean(squared(whole.module(other[0]), other[1])), whole.held_out_losses[-1], rtol=1e-5
    )


def test_numbers_of_numpy_are_shares_too():
    run = fit(affine(), f32(X), f32(Y), optimizer=SGD, steps=2, held_out=np.float32(0.2), key=0)
    assert len(run.held_out_losses) == 3


def test_a_share_is_held_out_and_looking_changes_nothing():
    settings = {"optimizer": SGD, "steps": 7, "key": 1, "held_out": 0.25, "penalty": 0.1}
    often = fit(affine(), f32(X), f32(Y), evaluate_every=1, **settings)
    seldom = fit(affine(), f32(X), f32(Y), evaluate_every=5, **settings)
    np.testing.assert_array_equal(often.losses, seldom.losses)
    np.testing.assert_array_equal(seldom.held_out_steps, [0, 5, 7])
    np.testing.assert_array_equal(often.held_out_losses[[0, 5, 7]], seldom.held_out_losses)
    order = np.asarray(jax.random.permutation(jax.random.fold_in(jax.random.key(1), 0), N))
    module, rows = affine(), order[:15]
    first = squared(module(f32(X)), f32(Y))
    np.testing.assert_allclose(often.held_out_losses[0], first[rows].mean(), rtol=1e-5)
    penalty = 0.1 * float(jnp.sum(module.kernel[...] ** 2))
    np.testing.assert_allclose(often.losses[0], np.delete(first, rows).mean() + penalty, rtol=1e-5)


@pytest.mark.slow
def test_tokens_and_feature_maps_are_fitted():
    tokens, maps = f32(RNG.standard_normal((8, 3, 4))), f32(RNG.standard_normal((8, 4, 4, 3)))
    for module, x, y in (
        (TokenAffine(4, 2, rngs=nnx.Rngs(0)), tokens, tokens[:, :, :2]),
        (Conv1x1(3, 2, grid=(2, 2), rngs=nnx.Rngs(0)), maps, maps[:, ::2, ::2, :2]),
    ):
        result = fit(module, x, y, optimizer=ADAM, steps=2, batch_size=4, key=0, held_out=0.25)
        np.testing.assert_allclose(result.losses[0] > 0, True)
        assert result.module(x).shape == y.shape


class Noisy(nnx.Module):
    """A module with dropout and statistics of batches."""

    def __init__(self, *, rngs):
        self.norm = nnx.BatchNorm(P, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.affine = Affine(P, Q, rngs=rngs)

    def __call__(self, x):
        return self.affine(self.dropout(self.norm(x)))


@pytest.mark.slow
def test_dropout_and_statistics_work_and_the_given_module_stays_as_it_is(x64):
    module = Noisy(rngs=nnx.Rngs(0))
    before = [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(module, nnx.Param, nnx.BatchStat))]
    result = fit(module, f32(X), f32(Y), optimizer=SGD, steps=40, held_out=(f32(X), f32(Y)), accumulate=2)
    for a, b in zip(before, jax.tree.leaves(nnx.state(module, nnx.Param, nnx.BatchStat)), strict=True):
        np.testing.assert_array_equal(a, b)
    trained = result.module
    # Each of two parts in 40 steps moves the running mean by a hundredth.
    np.testing.assert_allclose(trained.norm.mean[...], X.mean(0) * (1 - 0.99**80), rtol=0.05)
    assert not trained.dropout.deterministic
    trained.eval()
    np.testing.assert_allclose(jnp.mean(squared(trained(f32(X)), f32(Y))), result.held_out_losses[-1], rtol=1e-5)


def test_heads_of_one_structure_share_the_program():
    traces = []

    def counted(outputs, targets):
        traces.append(None)
        return squared(outputs, targets)

    counts, class_head = [], linen.Dense(3)
    for seed in (0, 1):
        heads = (
            nnx.Linear(Q, 3, rngs=nnx.Rngs(seed)),
            (class_head, class_head.init(jax.random.key(seed), f32(Y))),
        )
        for one in heads:
            before = len(traces)
            result = fit(affine(seed), f32(X), f32(Y), optimizer=SGD, steps=3, head=one, loss=counted)
            assert isinstance(result, FitResult)
            counts.append(len(traces) - before)
    assert max(counts[2:]) <= 1 < min(counts[:2])  # the check of the loss alone, by shapes


def test_the_head_is_not_trained():
    linear = nnx.Linear(Q, 3, rngs=nnx.Rngs(0))
    before = np.asarray(linear.kernel[...])
    fit(affine(), f32(X), f32(Y), optimizer=SGD, steps=3, head=linear)
    np.testing.assert_array_equal(linear.kernel[...], before)


@pytest.mark.slow
def test_float64_is_trained_in_float64(float64):
    module = Affine(P, Q, rngs=nnx.Rngs(0), param_dtype=jnp.float64)
    result = fit(module, jnp.asarray(X), jnp.asarray(Y), optimizer=LINE_SEARCH, steps=60, penalty=0.1)
    assert result.losses.dtype == np.float64
    np.testing.assert_allclose(result.losses[-1], least_squares(X, Y, 0.1)[2], rtol=1e-9)


def call(module=None, x=None, y=None, **settings):
    settings = {"optimizer": SGD, "steps": 2, **settings}
    return fit(
        affine() if module is None else module, f32(X) if x is None else x, f32(Y) if y is None else y, **settings
    )


ERRORS = [
    ({"y": f32(Y[:50])}, ValueError, "fit: y must have one row for each of the 60 of x, got array float32 .50, 4."),
    ({"labels": LABELS[:50], "head": head}, ValueError, "fit: y and labels must have one row for each of x"),
    (
        {"y": f32(Y[:9]), "labels": LABELS, "head": head},
        ValueError,
        "fit: y and labels must have one row for each of x",
    ),
    ({"x": f32(X[:, :3])}, ValueError, r"module must take x, of width 3 .* Affine: x must have shape \(examples, 5\)"),
    ({"y": f32(Y[:, :3])}, ValueError, r"module must give what y has, shape \(60, 3\), got \(60, 4\)"),
    ({"head": lambda z: z @ jnp.ones((7, 3))}, ValueError, "head must take what the module gives, of width 4"),
    ({"head": head, "y": f32(X)}, ValueError, "head must take y, of width 5"),
    ({"head": head, "labels": LABELS + 1}, ValueError, "labels must lie between 0 and 2, .* got values from 1 to 3"),
    ({"head": head, "labels": LABELS[:, None]}, ValueError, r"cross_entropy: labels must have shape \(60,\)"),
    ({"head": head, "labels": f32(LABELS), "loss": cross_entropy}, TypeError, "labels must be integers of shape"),
    ({"loss": zero_one}, ValueError, "loss must have a gradient"),
    ({"loss": "mse"}, TypeError, "loss must be a function of outputs and targets, got str 'mse'"),
    ({"loss": lambda o, t: jnp.mean((o - t) ** 2)}, ValueError, r"one value for each example, shape \(60,\), got \(\)"),
    ({"module": nnx.Linear}, TypeError, "module must be an nnx.Module, got the class Linear"),
    ({"module": nnx.Dropout(0.5, rngs=nnx.Rngs(0))}, ValueError, "module must have parameters"),
    ({"optimizer": 0.1}, TypeError, "optimizer must be an optax transformation, got float 0.1"),
    ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
    ({"penalty": -1.0}, ValueError, "penalty must be at least 0, got -1.0"),
    ({"batch_size": 8}, ValueError, "key must be given with batch_size"),
    ({"held_out": 0.2}, ValueError, "key must be given with a fraction"),
    ({"batch_size": 40, "accumulate": 2, "key": 0}, ValueError, "at most the number of rows that count, 60, got 80"),
    ({"mask": jnp.zeros(N, bool)}, ValueError, "no row counts"),
    ({"mask": jnp.ones(50, bool)}, ValueError, r"mask must have shape \(60,\)"),
    ({"weights": -jnp.ones(N)}, ValueError, "weights must be finite and at least 0"),
    ({"patience": 2}, ValueError, "patience needs held_out"),
    ({"held_out": 2.0, "key": 0}, ValueError, "held_out must lie between 0 and 1, got 2.0"),
    ({"held_out": 0.001, "key": 0}, ValueError, "at least 2 examples on both sides, got 60 to fit on and 0"),
    ({"held_out": (f32(X), f32(Y[:5]))}, ValueError, "held-out y must have one row for each of the 60 of held-out x"),
    (
        {"head": head, "labels": LABELS, "held_out": (f32(X), f32(X[:, :3]))},
        ValueError,
        r"fit: held_out must be a pair \(x, labels\), labels of integers of shape \(rows\) like .* float32 \(60, 3\)",
    ),
    (
        {"head": head, "labels": f32(X[:, :3]), "held_out": (f32(X), f32(LABELS))},
        ValueError,
        r"labels of numbers of shape \(rows, 3\) like those that are trained on, got array float32 \(60,\)",
    ),
    ({"held_out": 5}, TypeError, r"held_out must be a share of rows or a pair \(x, y\), got int 5"),
    ({"checkpoint_every": 5}, ValueError, "checkpoint_every needs checkpoint"),
]


@pytest.mark.parametrize(("settings", "error", "message"), ERRORS)
def test_mistakes_are_named_before_anything_runs(settings, error, message):
    with pytest.raises(error, match=message):
        call(**settings)


def test_a_bar_is_shown_when_asked_for(capfd):
    shown = fit(affine(), f32(X), f32(Y), optimizer=SGD, steps=100, progress=True)
    error = capfd.readouterr().err
    assert "training" in error
    assert "100/100" in error
    np.testing.assert_array_equal(shown.losses, fit(affine(), f32(X), f32(Y), optimizer=SGD, steps=100).losses)
    assert not capfd.readouterr().err


def test_something_must_be_aimed_at():
    with pytest.raises(ValueError, match="fit: y or labels must be given, got neither"):
        fit(affine(), f32(X), optimizer=SGD, steps=2)
