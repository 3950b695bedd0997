"""Scenes as images and in words, and models that see one of both."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxalign.features import Layers
from jaxalign.studies.platonic import (
    captions,
    language_models,
    make_scenes,
    platonic_study,
    render,
    scene_convergence,
    vision_models,
)
from jaxalign.studies.platonic import scenes as module
from jaxalign.studies.platonic.figures import density_figure, scenes_figure
from jaxalign.studies.platonic.scene_convergence import _of_widths
from jaxalign.studies.platonic.scene_models import SceneLanguageModel

SCENES = make_scenes(200, key=0)
MEANING = {other: word for word, other in module._OTHER_WORDS.items()}


def objects(i, density):
    """What a caption of a density says of a scene, as a sorted list of tuples of words."""
    found = []
    for j in range(SCENES.objects[i]):
        row, column = divmod(int(SCENES.cell[i, j]), 3)
        said = [module.SHAPES[SCENES.shape[i, j]]]
        said += [module.COLORS[SCENES.color[i, j]]] if density > 1 else []
        said += [module.ROWS[row], module.COLUMNS[column]] if density > 2 else []
        said += [module.SIZES[SCENES.size[i, j]]] if density > 3 else []
        found.append(tuple(sorted(said)))
    return sorted(found)


@pytest.mark.parametrize("density", [1, 2, 3, 4])
def test_captions_say_what_there_is(density):
    tokens, mask = captions(SCENES, density=density, key=1)
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(mask, tokens > 0)
    for i in range(200):
        words = [module.VOCABULARY[token] for token in tokens[i][mask[i]]]
        assert mask[i][: len(words)].all()
        assert (words[0], words[-1]) == ("<start>", "<end>")
        parts = " ".join(MEANING.get(word, word) for word in words[1:-1]).split(" and ")
        assert sorted(tuple(sorted(part.split())) for part in parts) == objects(i, density)


def test_words_and_their_order_are_drawn():
    one, other = (captions(SCENES, density=4, key=key)[0] for key in (1, 2))
    assert (one != other).any(axis=1).mean() > 0.9
    np.testing.assert_array_equal(one, captions(SCENES, density=4, key=1)[0])
    counts = np.bincount(one.ravel(), minlength=len(module.VOCABULARY))
    for word, second in module._OTHER_WORDS.items():
        share = counts[module.VOCABULARY.index(word)] / (
            counts[module.VOCABULARY.index(word)] + counts[module.VOCABULARY.index(second)]
        )
        assert 0.25 < share < 0.75


def test_images_show_what_there_is():
    images = render(SCENES, key=3)
    assert (images.shape, images.dtype) == ((200, 18, 18, 3), np.float32)
    np.testing.assert_array_equal(images, render(SCENES, key=3))
    channels = {"red": 0, "green": 1, "blue": 2, "yellow": (0, 1), "cyan": (1, 2), "magenta": (0, 2)}
    pixels = {"square": (9, 25), "disc": (5, 13), "cross": (5, 9), "bar": (3, 5)}
    for i in range(200):
        lit = images[i] > 0.4
        expected = np.zeros(3, int)
        cells = np.zeros((3, 3), bool)
        for j in range(SCENES.objects[i]):
            size = pixels[module.SHAPES[SCENES.shape[i, j]]][SCENES.size[i, j]]
            expected[np.atleast_1d(channels[module.COLORS[SCENES.color[i, j]]])] += size
            cells[divmod(int(SCENES.cell[i, j]), 3)] = True
        np.testing.assert_array_equal(lit.sum(axis=(0, 1)), expected)
        np.testing.assert_array_equal(lit.any(axis=2).reshape(3, 6, 3, 6).any(axis=(1, 3)), cells)


def test_scenes_without_structure_are_drawn_evenly():
    scenes = make_scenes(3000, key=5, structure=0.0)
    drawn = ((scenes.objects - 1, 3), (scenes.shape, 4), (scenes.color, 6), (scenes.size, 2), (scenes.cell, 9))
    for values, kinds in drawn:
        shares = np.bincount(values.ravel(), minlength=kinds) / values.size
        np.testing.assert_allclose(shares, 1 / kinds, atol=0.04)
    assert all(len(set(cells)) == 3 for cells in scenes.cell.tolist())


def test_themes_have_preferences_which_are_those_of_all_keys():
    shares = []
    for key in (5, 6):
        scenes = make_scenes(4000, key=key)
        shares.append([np.bincount(scenes.color[scenes.theme == theme].ravel(), minlength=6) for theme in range(8)])
    one, other = (np.array(counts) / np.sum(counts, axis=1, keepdims=True) for counts in shares)
    np.testing.assert_allclose(one, other, atol=0.06)
    assert np.ptp(one, axis=0).min() > 0.2
    logits = 2.0 * np.random.default_rng(module._WORLD).standard_normal((8, 4))  # of shapes, which come first
    scenes = make_scenes(20000, key=7)
    found = np.stack([np.bincount(scenes.shape[scenes.theme == theme].ravel(), minlength=4) for theme in range(8)])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found / found.sum(axis=1, keepdims=True), expected, atol=0.02)


def test_scenes_are_shown_with_their_captions():
    arrays, figure = scenes_figure(3, key=5)
    assert arrays["images"].shape == (3, 18, 18, 3)
    for panel, image, words in zip(figure.axes, arrays["images"], arrays["tokens"], strict=True):
        np.testing.assert_allclose(panel.get_images()[0].get_array(), np.clip(image, 0, 1))
        said = " ".join(module.VOCABULARY[word] for word in words[words > 0][1:-1])
        assert panel.get_xlabel().replace("\n", " ") == said


def test_padding_and_later_words_are_not_looked_at():
    net = SceneLanguageModel(8, rngs=nnx.Rngs(0))
    tokens, mask = captions(make_scenes(5, key=0), density=2, key=0)
    layers = net.activations(jnp.asarray(tokens), jnp.asarray(mask))
    assert list(layers) == ["embed", "block1", "block2"]
    other = net.activations(jnp.asarray(np.where(mask, tokens, 7)), jnp.asarray(mask))
    for name in layers:
        np.testing.assert_allclose(layers[name], other[name], atol=1e-5)
    changed = tokens.copy()
    changed[:, 5:] = 9
    np.testing.assert_allclose(net(jnp.asarray(tokens))[:, :5], net(jnp.asarray(changed))[:, :5], atol=1e-5)
    embed = net.embed(jnp.asarray(tokens)) + net.position[...][None]
    by_hand = [np.asarray(row)[real].mean(axis=0) for row, real in zip(embed, mask, strict=True)]
    np.testing.assert_allclose(layers["embed"], by_hand, atol=1e-5)


@pytest.mark.slow
def test_models_learn_and_bring_their_facts():
    small = {"key": 0, "widths": [4], "steps": [0, 60], "seeds": 2, "scenes": 256}
    for train, kind, layers in (
        (vision_models, "image", ["conv1", "conv2", "hidden"]),
        (language_models, "text", ["embed", "block1", "block2"]),
    ):
        models = train(**small)
        assert list(models) == [f"{kind}-w4-t{steps}-s{seed}" for steps in (0, 60) for seed in (0, 1)]
        for z in models.values():
            assert list(z) == layers
            assert z.rows == 512
            np.testing.assert_array_equal(z.ids, np.arange(512))
        loss = {name: z.facts["loss"] for name, z in models.items()}
        assert loss[f"{kind}-w4-t60-s0"] < 0.9 * loss[f"{kind}-w4-t0-s0"]
        assert loss[f"{kind}-w4-t60-s0"] != loss[f"{kind}-w4-t60-s1"]
    facts = models["text-w4-t60-s0"].facts
    assert facts["bits_per_token"] == pytest.approx(facts["loss"] / np.log(2))
    assert facts["density"] == 4


@pytest.mark.slow
def test_models_of_both_modalities_are_more_alike_than_chance_when_they_learned():
    seen = []
    found = scene_convergence(
        key=0, widths=[8], steps=[0, 100, 600], densities=[1, 4], scenes=1024, samples=100, each=seen.append
    )
    assert seen[:2] == ["vision models", "language models"]
    assert found.study.table().shape == (6, 6)
    chance = found.study.chance["mutual_knn"]
    assert abs(found.shuffled - chance) < 0.4 * chance
    assert found.trained > found.untrained > 2 * chance
    assert found.of_density.shape == (2, 2)
    assert found.of_density[1].mean() > found.of_density[0].mean()
    assert len(found.trend_of_seeds) == 2
    table, steps = found.study.table(), found.study.competence("steps")
    arrays, figure = density_figure(found)
    np.testing.assert_array_equal(arrays["alignment"], found.of_density)
    lines = {line.get_label(): line.get_xydata() for line in figure.axes[0].get_lines()}
    np.testing.assert_allclose(lines["mean"], np.stack([[1, 4], found.of_density.mean(axis=1)], axis=1))
    rows, columns = steps == 600, found.study.competence("steps", of="y") == 600
    assert found.trained == pytest.approx(table[np.ix_(rows, columns)].mean())
    within = found.study.trend("-loss", key=0, within="width")
    assert found.trend_within_widths.rho == within.rho
    assert found.widths == (8,)
    np.testing.assert_allclose(found.trained_of_widths, found.trained)
    np.testing.assert_allclose(found.untrained_of_widths, found.untrained)


def test_widths_are_those_of_language_models_in_rows_and_of_vision_models_in_columns():
    rng, sizes = np.random.default_rng(0), [(width, steps) for width in (8, 16) for steps in (0, 9)]
    language, vision = (
        {
            f"{width} {steps}": Layers({"z": rng.normal(size=(40, 5))}, facts={"width": width, "steps": steps})
            for width, steps in sizes
        }
        for _ in "xy"
    )
    study = platonic_study(language, vision)
    for steps in (0, 9):
        expected = [
            [study.table()[sizes.index((one, steps)), sizes.index((other, steps))] for other in (8, 16)]
            for one in (8, 16)
        ]
        np.testing.assert_allclose(_of_widths(study, (8, 16), steps), expected)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make_scenes(0, key=0), ValueError, "make_scenes: n must be at least 1"),
        (lambda: captions(SCENES, density=5, key=0), ValueError, "captions: density must be at most 4, got 5"),
        (lambda: captions(SCENES, density=0, key=0), ValueError, "captions: density must be at least 1"),
        (
            lambda: vision_models(key=0, widths=[]),
            ValueError,
            "vision_models: widths must be different ones, at",
        ),
        (lambda: vision_models(key=0, steps=[1, 1]), ValueError, "vision_models: steps must be different ones"),
        (
            lambda: language_models(key=0, widths=[6]),
            ValueError,
            "widths must be a multiple of 4, got 6",
        ),
        (lambda: language_models(key=0, seeds=0), ValueError, "language_models: seeds must be at least 1"),
        (lambda: render(SCENES, key="a"), TypeError, "render: key must be one key"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
