"""Recording: the states of pairs before every step, as a loop that is stepped by hand sees them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from jaxalign.dynamics.networks import CNN, MLP
from jaxalign.dynamics.record import half_mean_squared_error, record, record_many
from jaxalign.dynamics.settings import two_points
from jaxalign.features.intermediates import intermediates

RNG = np.random.default_rng(0)
X, Y = (jnp.asarray(RNG.standard_normal((5, k)), jnp.float32) for k in (3, 2))
PAIRS = [(0, 1), (4, 2), (1, 3)]
SGD = optax.sgd(0.1)


def tanh_net(seed=0, **settings):
    return MLP(6, 2, rngs=nnx.Rngs(seed), activation="tanh", inputs=3, outputs=2, **settings)


def numpy_states(hidden, outputs, targets, pairs):
    """One state in float64: `h` of each layer, `y`, `w`, the loss and the error of the mean."""
    hidden = [np.asarray(h, np.float64).reshape(len(targets), -1) for h in hidden]
    outputs, targets = np.asarray(outputs, np.float64), np.asarray(targets, np.float64)
    h = [[((a[j] - a[i]) ** 2).sum() for i, j in pairs] for a in hidden]
    dy = [outputs[j] - outputs[i] for i, j in pairs]
    y = [d @ d for d in dy]
    w = [d @ d - d @ (targets[j] - targets[i]) for d, (i, j) in zip(dy, pairs, strict=True)]
    mean = [(((outputs[i] + outputs[j] - targets[i] - targets[j]) / 2) ** 2).sum() for i, j in pairs]
    return np.asarray(h), y, w, ((outputs - targets) ** 2).mean() / 2, mean


def numpy_descent(net, x, targets, pairs, steps, rate, batches=None):
    """Gradient descent of a tanh network, written out, and the states before every step and after the last."""
    kernels, biases = (
        [np.asarray(getattr(layer, part)[...], np.float64) for layer in [*net.hidden, net.output]]
        for part in ("kernel", "bias")
    )
    x, targets, states = np.asarray(x, np.float64), np.asarray(targets, np.float64), []

    def forward(x):
        z = [x]
        for n, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
            z.append(z[-1] @ kernel + bias)
            if n < len(kernels) - 1:
                z[-1] = np.tanh(z[-1])
        return z

    for step in range(steps + 1):
        z = forward(x)
        states.append(numpy_states(z[1:-1], z[-1], targets, pairs))
        if step == steps:
            break
        rows = np.arange(len(x)) if batches is None else batches[step]
        z = forward(x[rows])
        delta = (z[-1] - targets[rows]) / z[-1].size
        for n in reversed(range(len(kernels))):
            back = delta @ kernels[n].T
            kernels[n], biases[n] = kernels[n] - rate * z[n].T @ delta, biases[n] - rate * delta.sum(0)
            delta = back * (1 - z[n] ** 2)
    return [np.asarray(part) for part in zip(*states, strict=True)], kernels


def assert_recorded(run, expected, rows=slice(None), rtol=2e-4):
    h, y, w, loss, mean = (part[rows] for part in expected)
    for name, value in {"h": h, "y": y, "w": w, "loss": loss, "mean_error": mean}.items():
        np.testing.assert_allclose(getattr(run, name), value, rtol=rtol, atol=1e-5, err_msg=name)


def test_every_state_is_that_of_gradient_descent():
    net = tanh_net()
    before = jax.tree.map(jnp.copy, nnx.state(net))
    run = record(net, X, Y, optimizer=SGD, steps=30, pairs=PAIRS)
    expected, kernels = numpy_descent(net, X, Y, PAIRS, 30, 0.1)
    assert run.h.shape == (31, 2, 3)
    assert_recorded(run, expected)
    np.testing.assert_array_equal(run.steps, np.arange(31))
    assert run.layers == ("hidden.0", "hidden.1")
    np.testing.assert_array_equal(run.pairs, PAIRS)
    np.testing.assert_allclose(run.dx2, [((X[j] - X[i]) ** 2).sum() for i, j in PAIRS], rtol=1e-6)
    np.testing.assert_allclose(run.dy2, [((Y[j] - Y[i]) ** 2).sum() for i, j in PAIRS], rtol=1e-6)
    np.testing.assert_allclose(run.model.hidden[1].kernel[...], kernels[1], rtol=1e-4, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(net))  # the given one stays as it is
    for layer, index in (("hidden.1", 1), (0, 0), (-1, 1)):
        expected = (run.steps, run.h[:, index, 2], run.y[:, 2], run.w[:, 2])
        for ours, theirs in zip(run.trajectory(layer, 2), expected, strict=True):
            assert isinstance(ours, np.ndarray)
            np.testing.assert_array_equal(ours, theirs)


def test_all_pairs_are_recorded_by_default():
    run = record(tanh_net(), X, Y, optimizer=SGD, steps=1, at=[0])
    assert run.pairs.tolist() == [[i, j] for i in range(5) for j in range(i + 1, 5)]
    expected, _ = numpy_descent(tanh_net(), X, Y, run.pairs, 1, 0.1)
    assert_recorded(run, expected, slice(0, 1))


@pytest.mark.parametrize("own_pass", [False, True], ids=["as training computes it", "by a pass of its own"])
def test_chosen_steps_and_kept_activations_change_nothing(own_pass):
    # In evaluation mode a network without dropout is the same one, but not all steps are looked at.
    settings = {"optimizer": SGD, "steps": 23, "pairs": PAIRS}
    whole = record(tanh_net(), X, Y, kept=range(24), **settings)
    at, kept = [3, 4, 9, 21, 23], [0, 4, 17, 23]
    run = record(tanh_net(), X, Y, at=at, kept=kept, evaluate=own_pass, **settings)
    for name in ("h", "y", "w", "loss", "mean_error"):
        np.testing.assert_allclose(getattr(run, name), getattr(whole, name)[at], rtol=1e-5, atol=1e-7, err_msg=name)
    np.testing.assert_array_equal(run.steps, at)
    np.testing.assert_array_equal(run.kept_steps, kept)
    assert run.outputs.shape == (4, 5, 2)
    assert run.activations["hidden.1"].shape == (4, 5, 6)
    for k, step in enumerate(kept):
        hidden = [a[k] for a in run.activations.values()]
        np.testing.assert_allclose(run.outputs[k], whole.outputs[step], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(hidden[0], whole.activations["hidden.0"][step], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(numpy_states(hidden, run.outputs[k], Y, PAIRS)[0], whole.h[step], rtol=1e-4)
    outputs, found = intermediates(run.model, X, layers="hidden.*")
    np.testing.assert_allclose(run.outputs[-1], outputs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.activations["hidden.0"][-1], found["hidden.0"], rtol=1e-5, atol=1e-6)
    without = record(tanh_net(), X, Y, at=at, **settings)
    assert (without.activations, without.outputs, without.kept_steps.size) == ({}, None, 0)


def drawn(key, size, steps, n=5):
    key, per_epoch = jax.random.fold_in(jax.random.key(key), 0), n // size
    orders = [np.asarray(jax.random.permutation(jax.random.fold_in(key, e), n)) for e in range(-(-steps // per_epoch))]
    return [orders[s // per_epoch][(s % per_epoch) * size :][:size] for s in range(steps)]


def test_batches_are_drawn_without_replacement_and_all_rows_are_recorded():
    settings = {"optimizer": SGD, "steps": 9, "pairs": PAIRS, "batch_size": 2, "key": 3}
    expected, kernels = numpy_descent(tanh_net(), X, Y, PAIRS, 9, 0.1, drawn(3, 2, 9))
    run = record(tanh_net(), X, Y, **settings)
    assert_recorded(run, expected)
    np.testing.assert_allclose(run.model.hidden[1].kernel[...], kernels[1], rtol=1e-4, atol=1e-5)
    assert_recorded(record(tanh_net(), X, Y, at=[2, 3, 8], **settings), expected, [2, 3, 8])


def test_a_network_of_width_one_follows_the_closed_form(float64):
    net = MLP(1, 1, rngs=nnx.Rngs(0), activation="linear", param_dtype=jnp.float64)
    net.hidden[0].kernel[...], net.output.kernel[...] = jnp.full((1, 1), 0.5), jnp.full((1, 1), 0.4)
    x, y = two_points(1.0, 0.5, centered=True)
    at = [0, 2000, 10_000, 20_000]
    run = record(net, x, y, optimizer=optax.sgd(1e-3), steps=20_000, at=at)
    # O13 of the specification: the network, and the closed form, which it follows to the order of the learning rate.
    _, h, out, w = run.trajectory("hidden.0")
    np.testing.assert_allclose(h, [0.25, 0.364417, 0.706042, 0.752066], atol=6e-7)
    np.testing.assert_allclose(out, [0.04, 0.100003, 0.434954, 0.497920], atol=6e-7)
    np.testing.assert_allclose(h[1:], [0.364417, 0.706030, 0.752067], atol=2e-5)
    np.testing.assert_allclose(out[1:], [0.100002, 0.434936, 0.497918], atol=2e-5)
    np.testing.assert_allclose(w, out - np.sqrt(0.5 * out), atol=1e-12)
    np.testing.assert_allclose(run.mean_error, 0, atol=1e-20)


class LinenMLP(linen.Module):
    """The same network in Linen; its layers are those after the nonlinearity."""

    @linen.compact
    def __call__(self, x):
        for n in range(2):
            x = Tanh(name=f"hidden_{n}")(x)
        return linen.Dense(2, name="output")(x)


class Tanh(linen.Module):
    @linen.compact
    def __call__(self, x):
        return jnp.tanh(linen.Dense(6, name="dense")(x))


def in_linen(net):
    def dense(layer):
        return {"kernel": layer.kernel[...], "bias": layer.bias[...]}

    params = {f"hidden_{n}": {"dense": dense(layer)} for n, layer in enumerate(net.hidden)}
    return LinenMLP(), {"params": {**params, "output": dense(net.output)}}


def test_linen_gives_what_nnx_gives():
    settings = {"optimizer": optax.adam(0.01), "steps": 12, "batch_size": 2, "key": 0}
    ours = record(tanh_net(), X, Y, **settings)
    module, variables = in_linen(tanh_net())
    theirs = record((module, variables), X, Y, layers="hidden_?", **settings)
    assert theirs.layers == ("hidden_0", "hidden_1")
    for name in ("h", "y", "w", "loss", "mean_error"):
        np.testing.assert_allclose(getattr(theirs, name), getattr(ours, name), rtol=1e-4, atol=1e-5, err_msg=name)
    assert theirs.model[0] is module
    np.testing.assert_allclose(theirs.model[1]["params"]["output"]["kernel"], ours.model.output.kernel[...], rtol=1e-4)


def build(member):
    return tanh_net_of(member["key"], member["gain"])


def tanh_net_of(key, gain):
    return MLP(6, 2, rngs=nnx.Rngs(key), activation="tanh", inputs=3, outputs=2, gain=gain)


def make_sgd(member):
    return optax.sgd(member["lr"])


MEMBERS = {
    "key": jax.random.split(jax.random.key(7), 3),
    "gain": jnp.asarray([0.5, 1.0, 2.0]),
    "lr": jnp.asarray([0.2, 0.1, 0.05]),
}


@pytest.mark.parametrize(
    ("together", "settings"),
    [
        (True, {"at": [0, 3, 8], "kept": [3, 8]}),
        (False, {"batch_size": 2, "key": 5, "kept": [3]}),
        pytest.param(True, {"batch_size": 2, "key": 5, "kept": [3]}, marks=pytest.mark.slow),
        pytest.param(False, {"at": [0, 3, 8], "evaluate": True}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_many_are_as_one_by_one(together, settings):
    settings = {"steps": 8, "pairs": PAIRS, **settings}
    many = record_many(build, MEMBERS, X, Y, optimizer=make_sgd, together=together, **settings)
    assert len(many) == 3
    assert [one.h.tolist() for one in many] == many.h.tolist()
    with pytest.raises(IndexError):
        many.member(3)
    for i in range(3):
        member = {name: values[i] for name, values in MEMBERS.items()}
        own = {**settings, "key": jax.random.fold_in(jax.random.key(5), i)} if "key" in settings else settings
        one = record(build(member), X, Y, optimizer=make_sgd(member), **own)
        other = many.member(i)
        for name in ("h", "y", "w", "loss", "mean_error"):
            assert getattr(many, name).shape == (3, *getattr(one, name).shape)
            np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=2e-4, atol=1e-6, err_msg=name)
        for name in ("steps", "pairs", "dx2", "dy2", "kept_steps"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name))
        if "kept" in settings:
            np.testing.assert_allclose(other.outputs, one.outputs, rtol=2e-4, atol=1e-5)
            np.testing.assert_allclose(other.activations["hidden.1"], one.activations["hidden.1"], rtol=2e-4, atol=1e-5)
        params = (jax.tree.leaves(nnx.state(net, nnx.Param)) for net in (other.model, one.model))
        for a, b in zip(*params, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)


@pytest.mark.slow
def test_many_linen_models():
    def make(key):
        return LinenMLP(), LinenMLP().init(key, X)

    many = record_many(make, MEMBERS["key"], X, Y, optimizer=SGD, steps=5, layers="hidden_?")
    one = record(make(MEMBERS["key"][1]), X, Y, optimizer=SGD, steps=5, layers="hidden_?")
    np.testing.assert_allclose(many.member(1).h, one.h, rtol=1e-4)
    outputs = [module.apply(variables, X) for module, variables in (many.member(1).model, one.model)]
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-6)


class Noisy(nnx.Module):
    """A module with dropout and statistics of batches."""

    def __init__(self, *, rngs):
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.hidden = nnx.List([nnx.Linear(3, 2, rngs=rngs)])

    def __call__(self, x):
        return self.hidden[0](self.dropout(self.norm(x)))


def test_dropout_and_statistics_advance_as_stepped_by_hand():
    run = record(Noisy(rngs=nnx.Rngs(0)), X, Y, optimizer=SGD, steps=6)
    net, states, evaluated = Noisy(rngs=nnx.Rngs(0)), [], []
    optimizer = nnx.Optimizer(net, SGD, wrt=nnx.Param)
    for step in range(7):
        still = nnx.merge(*nnx.split(net), copy=True)
        still.eval()
        evaluated.append(half_mean_squared_error(still(X), Y))

        def objective(net):
            outputs = net(X)
            return half_mean_squared_error(outputs, Y), outputs

        (value, outputs), gradient = nnx.value_and_grad(objective, has_aux=True)(net)
        states.append((float(value), *numpy_states([outputs], outputs, Y, run.pairs)[:2]))
        if step < 6:
            optimizer.update(net, gradient)
        if step == 5:
            np.testing.assert_allclose(run.model.norm.mean[...], net.norm.mean[...], rtol=1e-4)
            assert int(run.model.dropout.rngs.count[...]) == int(net.dropout.rngs.count[...])
    for name, value in zip(("loss", "h", "y"), zip(*states, strict=True), strict=True):
        np.testing.assert_allclose(getattr(run, name), np.asarray(value), rtol=1e-4, atol=1e-5, err_msg=name)
    assert len(set(run.loss.tolist())) == 7
    looked = record(Noisy(rngs=nnx.Rngs(0)), X, Y, optimizer=SGD, steps=6, evaluate=True)
    np.testing.assert_allclose(looked.loss, evaluated, rtol=1e-4)
    np.testing.assert_allclose(looked.model.norm.mean[...], run.model.norm.mean[...], rtol=1e-5)


@pytest.mark.slow
def test_linen_dropout_draws_from_the_key_and_statistics_advance():
    class Module(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.BatchNorm(use_running_average=False, name="norm")(x)
            x = linen.Dropout(0.5, deterministic=False, name="dropout")(x)
            return linen.Dense(2, name="hidden")(x)

    module = Module()
    variables = module.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, X)
    frozen = optax.sgd(0.0)
    runs = [record((module, variables), X, Y, optimizer=frozen, steps=40, layers="hidden", key=k) for k in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0].loss, runs[1].loss)
    assert not np.any(runs[0].loss == runs[2].loss)
    assert len(set(runs[0].loss.tolist())) > 30
    mean = runs[0].model[1]["batch_stats"]["norm"]["mean"]
    np.testing.assert_allclose(mean, np.mean(X, 0) * (1 - 0.99**40), rtol=1e-4)


@pytest.mark.slow
def test_activations_of_any_shape_are_flattened():
    net = CNN(30, 2, rngs=nnx.Rngs(0), channels=4)
    x, y = two_points()
    run = record(net, x, y, optimizer=SGD, steps=3, layers=["first", "hidden.*"], kept=[2])
    _, found = intermediates(net, x, layers=["first", "hidden.*"])
    h = [float(jnp.sum((a[1] - a[0]) ** 2)) for a in found.values()]
    np.testing.assert_allclose(run.h[0, :, 0], h, rtol=1e-5)
    assert run.activations["hidden.1"].shape == (1, 2, 10, 4)


def test_a_loss_of_each_example_is_averaged():
    def each(outputs, targets):
        return jnp.mean((outputs - targets) ** 2, 1) / 2

    one, other = (record(tanh_net(), X, Y, optimizer=SGD, steps=3, loss=f) for f in (each, half_mean_squared_error))
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-5)
    np.testing.assert_allclose(one.h, other.h, rtol=1e-5)


def test_deep_layers_keep_their_order():
    # As strings, hidden.10 comes before hidden.2.
    net = MLP(4, 12, rngs=nnx.Rngs(0), activation="linear", gain=1.5)
    x, y = two_points()
    run = record(net, x, y, optimizer=optax.sgd(1e-9), steps=1, kept=[0])
    _, found = intermediates(net, x, layers="hidden.*")
    assert run.layers == tuple(f"hidden.{n}" for n in range(12)) == tuple(run.activations)
    np.testing.assert_allclose(run.h[0, :, 0], [jnp.sum((a[1] - a[0]) ** 2) for a in found.values()], rtol=1e-5)


def test_divergence_is_said_and_kept():
    huge = optax.sgd(1e4)
    with pytest.warns(RuntimeWarning, match=r"record: the loss before step \d+ was not finite. A smaller") as said:
        run = record(MLP(6, 2, rngs=nnx.Rngs(0), activation="linear"), *two_points(), optimizer=huge, steps=30)
    step = int(str(said[0].message).split("step ")[1].split(" ")[0])
    assert np.all(np.isfinite(run.loss[:step]))
    assert 0 < step < 30
    assert not np.isfinite(run.loss[step])
    with pytest.warns(RuntimeWarning, match="the loss before step 30 was not finite, the first recorded one"):
        record(MLP(6, 2, rngs=nnx.Rngs(0), activation="linear"), *two_points(), optimizer=huge, steps=30, at=[0, 30])
    with pytest.warns(RuntimeWarning, match="the parameters after the last step, 29, were not finite"):
        record(MLP(6, 2, rngs=nnx.Rngs(0), activation="linear"), *two_points(), optimizer=huge, steps=30, at=[0])
    members = {**MEMBERS, "lr": jnp.asarray([0.1, 1e9, 0.1])}

    def linear(member):
        return MLP(6, 2, rngs=nnx.Rngs(member["key"]), activation="linear")

    with pytest.warns(RuntimeWarning, match=r"record_many: members \[1\] diverged; of member 1 the loss before step"):
        many = record_many(linear, members, *two_points(), optimizer=make_sgd, steps=30)
    assert np.all(np.isfinite(many.loss[[0, 2]]))


def test_a_bar_is_shown_and_changes_nothing(capfd):
    settings = {"optimizer": SGD, "steps": 101, "pairs": PAIRS, "kept": [7, 90]}
    shown = record(tanh_net(), X, Y, progress=True, **settings)
    error = capfd.readouterr().err
    assert "training" in error
    assert "101/101" in error
    hidden = record(tanh_net(), X, Y, **settings)
    assert not capfd.readouterr().err
    np.testing.assert_allclose(shown.h, hidden.h, rtol=1e-5)
    np.testing.assert_allclose(shown.outputs, hidden.outputs, rtol=1e-5, atol=1e-6)


def test_float64_is_recorded_in_float64(float64):
    net = tanh_net(param_dtype=jnp.float64)
    x, y = np.asarray(X, np.float64), np.asarray(Y, np.float64)
    run = record(net, x, y, optimizer=SGD, steps=10, pairs=PAIRS)
    assert {getattr(run, name).dtype for name in ("h", "y", "w", "loss", "dx2")} == {np.dtype(np.float64)}
    expected, _ = numpy_descent(net, x, y, PAIRS, 10, 0.1)
    for ours, theirs in zip((run.h, run.y, run.w, run.loss, run.mean_error), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-13)


def test_other_data_and_weights_share_the_program():
    traces = []

    def counted(outputs, targets):
        traces.append(None)
        return half_mean_squared_error(outputs, targets)

    counts = []
    for seed in (0, 1):
        record(tanh_net(seed), X + seed, Y, optimizer=SGD, steps=4, loss=counted)
        counts.append(len(traces))
    assert counts[1] - counts[0] <= 1 < counts[0]  # the check of the loss alone, by shapes


def call(model=None, x=X, y=Y, **settings):
    return record(tanh_net() if model is None else model, x, y, **{"optimizer": SGD, "steps": 2, **settings})


ERRORS = [
    ({"y": Y[:4]}, ValueError, r"record: y must have one row for each of x, got array float32 \(4, 2\)"),
    ({"y": Y[:, :1]}, ValueError, r"model must give what y has, shape \(5, 1\), got \(5, 2\)"),
    ({"y": jnp.zeros((5, 2), int)}, TypeError, "y must be floating point"),
    ({"model": jnp.sin}, TypeError, r"record: model must be an NNX module or a pair"),
    ({"model": Noisy(rngs=nnx.Rngs(0)).dropout}, ValueError, "model must have parameters"),
    ({"layers": "hiden.*"}, ValueError, r"'hiden.\*' matches none of 'hidden.0', 'hidden.1', 'output'"),
    ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
    ({"pairs": [0, 1]}, ValueError, r"pairs must be integers of shape \(pairs, 2\), got ndarray int64 \(2,\)"),
    ({"pairs": [(0, 5)]}, ValueError, "pairs must be rows of x, from 0 to 4, got 0 to 5"),
    ({"x": jnp.ones((46, 3)), "y": jnp.ones((46, 2))}, ValueError, "pairs must be given for 46 rows, which have 1035"),
    ({"x": X[:1], "y": Y[:1]}, ValueError, "pairs must be given for 1 rows, which have 0 pairs"),
    ({"at": [0, 3]}, ValueError, r"at must increase, from 0 to at most 2, the end, got \[0, 3\]"),
    ({"at": [1, 1]}, ValueError, "at must increase"),
    ({"at": []}, ValueError, "at must hold at least one step"),
    ({"kept": [0.5]}, TypeError, "kept must be a list of integers, got ndarray float64"),
    ({"kept": [-1]}, ValueError, "kept must increase, from 0 to at most 2"),
    ({"batch_size": 2}, ValueError, "key must be given with batch_size"),
    ({"batch_size": 6, "key": 0}, ValueError, "batch_size must be at most the number of rows, 5, got 6"),
    ({"optimizer": 0.1}, TypeError, "optimizer must be an optax transformation, got float 0.1"),
    ({"optimizer": make_sgd}, TypeError, "optimizer must be an optax transformation, got function"),
    (
        {"loss": lambda o, t: (o - t) ** 2},
        ValueError,
        r"one number or one for each example, shape \(5,\)",
    ),
    ({"model": in_linen(tanh_net()), "evaluate": True, "layers": "*"}, ValueError, "evaluate is for NNX modules"),
]


@pytest.mark.parametrize(("settings", "error", "message"), ERRORS)
def test_mistakes_are_named_before_anything_runs(settings, error, message):
    with pytest.raises(error, match=message):
        call(**settings)


def test_mistakes_about_members_and_layers_are_named():
    for members in ({"key": MEMBERS["key"], "gain": jnp.ones(2)}, jnp.asarray(1.0), {}, jnp.ones((0,))):
        with pytest.raises(ValueError, match="record_many: members must be arrays with a common leading axis"):
            record_many(build, members, X, Y, optimizer=SGD, steps=2)
    with pytest.raises(TypeError, match="or a function that makes one, got float"):
        record_many(build, MEMBERS, X, Y, optimizer=0.1, steps=2)
    run = call()
    with pytest.raises(
        ValueError, match=r"layer must be one of 'hidden\.0', 'hidden\.1', got 'hidden\.2'; did you mean"
    ):
        run.trajectory("hidden.2")
    with pytest.raises(ValueError, match="layer must be less than the number of layers, 2, got 2"):
        run.trajectory(2)
    with pytest.raises(TypeError, match="layer must be a name or an integer, got float"):
        run.trajectory(0.5)
