"""The study of widths: data, models, pairs of them, and files that survive a stop."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.identifiability import identify, label_order
from jaxalign.studies import (
    compare_models,
    make_wedges,
    read_width_study,
    summary_table,
    train_wedge_models,
    width_setting,
    width_study,
)
from jaxalign.studies import wedge_models as training
from jaxalign.studies.wedges import wedge_of


def test_opposite_wedges_have_the_same_label():
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False) + 0.01
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    expected = (np.arange(36) // 3) % 6
    np.testing.assert_array_equal(wedge_of(points, 6), expected)
    np.testing.assert_array_equal(wedge_of(-points, 6), expected)
    # Rounding the angle of the last of these up to pi gives no seventh label.
    assert wedge_of(np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, -1e-30]]), 6).tolist() in ([0, 0, 5], [0, 5, 5])


def test_points_are_those_of_the_paper():
    wedges = make_wedges(6)
    x = np.random.default_rng(0).normal(0, 3, (20_000, 2)).astype(np.float32)
    np.testing.assert_array_equal(wedges.x_train, x)
    assert len(wedges.x_test) == 2000
    np.testing.assert_allclose(np.bincount(wedges.y_train) / 20_000, 1 / 6, atol=0.01)


def test_initial_weights_are_uniform_in_the_inverse_root_of_inputs():
    models = [training.WedgeModel(5, 64, 2, rngs=training.nnx.Rngs(jax.random.key(seed))) for seed in (0, 1)]
    for net, inputs in ((models[0].embed, 2), (models[0].unembed, 4)):
        sizes = [layer.kernel.shape for layer in net.layers]
        assert sizes == [(inputs, 64), (64, 64), (64, 64), (64, 2)]
        assert [layer.bias is not None for layer in net.layers] == [True, True, True, False]
        for layer in net.layers:
            limit = layer.kernel.shape[0] ** -0.5
            for leaf in (layer.kernel, layer.bias):
                if leaf is not None:
                    assert 0.9 * limit < np.abs(leaf[...]).max() <= limit
    assert not np.allclose(models[0].embed.layers[0].kernel[...], models[1].embed.layers[0].kernel[...])


def test_one_step_is_that_of_adam_on_the_mean_of_the_batch():
    """20 points are one batch, padded: padding must not count."""
    wedges = make_wedges(4, train=20, test=20)
    weights, state = training._start(jnp.asarray([3], jnp.uint32), (4, 8, 2))
    graphdef = training.nnx.split(training.WedgeModel(4, 8, 2, rngs=training.nnx.Rngs(0)))[0]
    x, y = jnp.asarray(wedges.x_train), jnp.asarray(wedges.y_train)

    def loss(weights):
        logp = jax.nn.log_softmax(training.nnx.merge(graphdef, weights)(x))
        return -jnp.mean(jnp.take_along_axis(logp, y[:, None], axis=1))

    one = jax.tree.map(lambda leaf: leaf[0], weights)
    gradient = jax.grad(loss)(one)
    # The first step of Adam: the learning rate times the sign, but for gradients near its epsilon.
    expected = jax.tree.map(lambda w, g: w - 1e-4 * g / (jnp.abs(g) + 1e-8), one, gradient)
    after, _ = training._train(graphdef, weights, state, x, y, jnp.int32(0))
    found, wanted, slope = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (after, expected, gradient)
    )
    known = np.abs(slope) > 1e-5  # of smaller ones even the sign may be rounding
    assert known.sum() > 50
    np.testing.assert_allclose(found[known], wanted[known], atol=2e-7)


def test_seeds_together_are_seeds_one_by_one():
    wedges = make_wedges(4, train=512, test=100)
    settings, seeds = {"width": 8, "epochs": 2}, [5, 2, 9]
    together = train_wedge_models(wedges, seeds=seeds, **settings)
    for place, seed in enumerate(seeds):
        alone = train_wedge_models(wedges, seeds=[seed], **settings)
        np.testing.assert_allclose(together.f[place], alone.f[0], atol=1e-5)
        np.testing.assert_allclose(together.g[place], alone.g[0], atol=1e-4)
        np.testing.assert_allclose(together.nll[place], alone.nll[0], rtol=1e-5)
    assert np.abs(together.f[0] - together.f[1]).max() > 0.01
    with jax.enable_x64(True):
        np.testing.assert_array_equal(train_wedge_models(wedges, seeds=seeds, **settings).f, together.f)


@pytest.mark.slow
def test_training_learns_the_wedges():
    models = train_wedge_models(make_wedges(4, train=5000), width=32, seeds=[0, 1], epochs=96)
    assert models.accuracy.min() > 0.9
    logp = jax.nn.log_softmax(models.f[0] @ models.g[0].T)
    truth = make_wedges(4).y_test
    np.testing.assert_allclose(models.nll[0], -np.mean(logp[np.arange(2000), truth]), rtol=1e-4)


@pytest.fixture(scope="module")
def four_models():
    """Embeddings and unembeddings; the last model is the first in other coordinates."""
    rng = np.random.default_rng(7)
    f, g = rng.normal(size=(4, 60, 2)), rng.normal(size=(4, 5, 2))
    a = np.array([[2.0, 1.0], [0.0, 1.0]])
    f[3], g[3] = f[0] @ a.T, g[0] @ np.linalg.inv(a) + 1.0
    return f, g


@pytest.mark.slow
def test_pairs_are_those_of_identify(float64, four_models):
    f, g = four_models
    logits = np.einsum("snm,scm->snc", f, g)
    pairs, orders = compare_models(logits, m=2, key=0, tuples=5)
    assert list(zip(pairs.first, pairs.second, strict=True)) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    keys = jax.random.split(jax.random.key(0), 6)
    for at in (1, 4):
        i, j = pairs.first[at], pairs.second[at]
        one = identify(logits[i], logits[j], key=keys[at], m=2, tuples=5)
        for name in ("llv", "t1", "t2", "d_f", "d_g", "d_fg", "cca_f", "cca_g", "kl", "kl_reversed", "logit_distance"):
            np.testing.assert_allclose(getattr(pairs, name)[at], getattr(one, name), rtol=1e-9, err_msg=name)
        assert pairs.same_order[at] == one.same_label_order
    for order, unembeddings in zip(orders, g, strict=True):
        np.testing.assert_array_equal(order, label_order(unembeddings))


def test_equal_models_are_found_equal(float64, four_models):
    pairs, _ = compare_models(np.einsum("snm,scm->snc", *four_models), m=2, key=0, tuples=5)
    equal = (pairs.first == 0) & (pairs.second == 3)
    assert pairs.same_order[equal].all()
    for name in ("llv", "d_fg", "kl", "logit_distance"):
        np.testing.assert_allclose(getattr(pairs, name)[equal], 0, atol=1e-7, err_msg=name)
        assert (getattr(pairs, name)[~equal] > 0.1).all()
    np.testing.assert_allclose([pairs.cca_f[equal], pairs.cca_g[equal]], 1)


def test_pairs_among_models_that_are_kept():
    logits = np.random.default_rng(0).normal(size=(4, 30, 5)).astype(np.float32)
    pairs, orders = compare_models(logits, m=3, key=0, tuples=3)
    assert orders is None
    assert pairs.same_order is None
    kept = pairs.among(np.array([True, False, True, True]))
    assert list(zip(kept.first, kept.second, strict=True)) == [(0, 2), (0, 3), (2, 3)]
    np.testing.assert_array_equal(kept.kl, pairs.kl[[1, 2, 5]])


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.ones((3, 4), np.float32), r"shape \(s, n, c\) with at least two models, got .*\(3, 4\)"),
        (np.ones((1, 9, 4), np.float32), "at least two models"),
        (np.full((2, 9, 4), -np.inf, np.float32), "must be finite"),
    ],
)
def test_mistakes_in_models_are_named(logits, message):
    with pytest.raises(ValueError, match=f"compare_models: logp .*{message}"):
        compare_models(logits, m=2, key=0)


def settings(**changes):
    return {"classes": [4], "widths": [4, 8], "seeds": [0, 1, 2], "epochs": 1, **changes}


@pytest.mark.slow
def test_a_study_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    first = width_study(tmp_path / "new", **settings(widths=[4]))
    monkeypatch.setattr("jaxalign.studies.width_files.width_setting", lambda c, width, **_: first[0])
    lines = []
    again = width_study(tmp_path / "new", **settings(), progress=lines.append)
    assert [line.split("/")[-1] for line in lines] == [
        "c04-w004.json: 0 of 3 models kept",
        "c04-w008.json: 0 of 3 models kept",
    ]
    for one, other in zip(first, again, strict=False):
        np.testing.assert_allclose(one.nll, other.nll, rtol=1e-4)
        np.testing.assert_allclose(one.pairs.llv, other.pairs.llv, rtol=1e-4)
        np.testing.assert_array_equal(one.orders, other.orders)
    assert len(read_width_study(tmp_path / "new")) == 2


def test_files_that_do_not_fit_are_named(tmp_path):
    width_study(tmp_path, **settings(widths=[4]))
    with pytest.raises(ValueError, match=r"c04-w004\.json is of 3 seeds and 1 passes, asked for are 2 and 1"):
        width_study(tmp_path, **settings(widths=[4], seeds=[0, 1]))
    path = tmp_path / "c04-w004.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match=r"c04-w004\.json is not a file of width_study"):
        read_width_study(tmp_path)
    path.write_text(json.dumps({"format": 0}))
    with pytest.raises(ValueError, match="another format"):
        read_width_study(tmp_path)
    with pytest.raises(FileNotFoundError, match="no files"):
        read_width_study(tmp_path / "none")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make_wedges(1), ValueError, "make_wedges: classes must be at least 2"),
        (lambda: width_setting(3, 8), ValueError, "width_setting: classes must be at least 4"),
        (lambda: width_setting(4, 8, seeds=[1]), ValueError, "seeds must be at least two"),
        (lambda: width_study("x", widths=[]), ValueError, "width_study: widths must name at least one"),
        (lambda: width_study("x", seeds=[1, 1]), ValueError, "width_study: seeds must not repeat"),
        (lambda: train_wedge_models(make_wedges(4), width=8.0, seeds=[0]), TypeError, "width must be an integer"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_table_counts_models_and_orders(tmp_path):
    (setting,) = width_study(tmp_path, **settings(widths=[4]))
    accurate = type(setting)(**{**vars(setting), "accuracy": np.array([0.95, 0.5, 0.92])})
    row = accurate.summary()
    assert (row["kept"], row["pairs"], row["models"]) == (2, 1, 3)
    assert row["llv"] == row["llv_median"] == accurate.pairs.llv[1]
    same = bool(accurate.pairs.same_order[1])
    assert (row["llv_same_order"] is None) != same
    assert (row["llv_other_order"] is None) == same
    assert row["natural"] == int((setting.orders[[0, 2]] == np.arange(4)).all(axis=1).sum())
    assert "4      4   2/3" in summary_table([accurate])
