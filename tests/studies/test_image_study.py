"""The study of images: pairs of models, files, pictures, and the module that runs it on files of CIFAR-10."""

import json

import numpy as np
import pytest

from jaxalign.identifiability import label_order
from jaxalign.studies import image_pairs, load_digits
from jaxalign.studies.image_models import ImageModels
from jaxalign.studies.image_pair_figures import embeddings_figure, losses_figure
from jaxalign.studies.image_study import ImageStudy, image_study
from jaxalign.studies.model_pairs import ModelPairs

RNG = np.random.default_rng(3)


def made_up(seeds=3, m=2, classes=4, n=30):
    """A study of arrays without training, and pairs of other numbers than any."""
    models = ImageModels(
        "mlp",
        8,
        5,
        np.arange(seeds, dtype=np.int32) + 4,
        RNG.normal(size=(seeds, n, m)).astype(np.float32),
        RNG.normal(size=(seeds, classes, m)).astype(np.float32),
        np.linspace(0.5, 0.9, seeds),
        np.array([1.0, 0.25, 2.0])[:seeds],
    )
    first, second = np.triu_indices(seeds, 1)
    names = [name for name in ModelPairs.__dataclass_fields__ if name not in ("first", "second", "same_order")]
    columns = {name: np.arange(len(first)) + 10.0 * i for i, name in enumerate(names)}
    same = np.array([True, False, False])[: len(first)] if m == 2 else None
    pairs = ModelPairs(first, second, **columns, same_order=same)
    orders = np.tile(np.arange(classes), (seeds, 1)) if m == 2 else None
    labels = (np.arange(n) % classes).astype(np.int32)
    return ImageStudy("digits", tuple("abcd")[:classes], 100, 32, 1e-3, labels, models, pairs, orders)


def test_differences_of_losses_are_those_of_the_pairs():
    np.testing.assert_allclose(made_up().loss_differences, [0.75, 1.0, 1.75])


def test_files_hold_numbers_and_embeddings(tmp_path):
    study = made_up()
    study.pairs.kl[1] = np.inf
    numbers, arrays = study.save(tmp_path)
    assert (numbers.name, arrays.name) == ("digits-m2.json", "digits-m2.npz")
    content = json.loads(numbers.read_text(), parse_constant=pytest.fail)  # no NaN, no infinity
    assert content["pairs"]["kl"][1] is None
    assert content["pairs"]["cca_f"] == study.pairs.cca_f.tolist()
    assert content["pairs"]["loss_difference"] == [0.75, 1.0, 1.75]
    assert content["seeds"] == [4, 5, 6]
    assert content["orders"] == study.orders.tolist()
    assert (content["train"], content["test"], content["steps"], content["dimension"]) == (100, 30, 5, 2)
    with np.load(arrays) as stored:
        for name, expected in (("f", study.models.f), ("g", study.models.g), ("labels", study.labels)):
            np.testing.assert_array_equal(stored[name], expected)
        assert stored["seeds"].tolist() == [4, 5, 6]
    assert len(list(tmp_path.iterdir())) == 2


def test_the_table_has_a_row_for_each_model_and_pair_and_medians():
    lines = str(made_up()).splitlines()
    assert lines[2].split()[:3] == ["seed", "accuracy", "NLL"]
    assert lines[4].split() == ["5", "0.700", "0.250", "0", "1", "2", "3"]
    start = next(i for i, line in enumerate(lines) if "d_LLV" in line)
    assert [line.rstrip().split()[-1] for line in lines[start + 1 : start + 4]] == ["same", "another", "another"]
    assert lines[start + 2].split()[:3] == ["4,", "6", "1.000"]
    assert lines[-1].split() == ["median", "1.000", "51.000", "61.000", "71.000", "81.000", "91.000", "1.000"]
    without = str(made_up(m=3))
    assert "circle" not in without
    assert "another" not in without


@pytest.mark.parametrize("m", [1, 2, 3])
def test_embeddings_are_drawn_with_all_arrows_in_sight(m):
    study = made_up(m=m)
    study.models.g[:] *= 100  # of another size than embeddings
    study.models.f[:] += 5  # which lie to one side of where arrows begin
    figure = embeddings_figure(study)
    figure.draw_without_rendering()
    panels = [panel for panel in figure.axes if panel.has_data()]
    assert len(panels) == 3
    for panel in panels:
        assert sum(len(points.get_offsets()) for points in panel.collections) == 30
        (left, right), (low, high) = panel.get_xlim(), panel.get_ylim()
        numbers = [text for text in panel.texts if text.get_text()]
        assert [text.get_text() for text in numbers] == ["0", "1", "2", "3"]
        for text in numbers:
            x, y = text.get_position()
            assert left <= x <= right
            assert low <= y <= high
    assert ("0 1 2 3" in panels[0].get_title()) == (m == 2)


def test_losses_are_drawn_against_likeness():
    study = made_up()
    panels = losses_figure([study, study]).axes
    assert len(panels) == 2
    np.testing.assert_allclose(
        panels[1].collections[0].get_offsets(), np.stack([study.loss_differences, study.pairs.cca_f], axis=1)
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": [0]}, r"seeds must be at least two, got \[0\]"),
        ({"dimension": 9}, "dimension must be at most 8 with 10 labels, got 9"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    with pytest.raises(ValueError, match=f"image_study: {message}"):
        image_study(load_digits(), **settings, progress=pytest.fail)


@pytest.mark.slow  # for one pair or many, all distances take ten seconds to compile
def test_the_module_runs_on_files_of_cifar10(tmp_path, write_cifar10, capsys):
    write_cifar10(tmp_path, (20, 10, 10, 10, 10, 40))
    out = tmp_path / "a" / "b"
    short = ["--network", "mlp", "--width", "8", "--steps", "3", "--seeds", "3", "--batch", "8"]
    image_pairs.main(["--cifar10", str(tmp_path), *short, "--out", str(out)])
    names = ["cifar10-losses.png", "cifar10-m2-embeddings.png", "cifar10-m2.json", "cifar10-m2.npz"]
    assert sorted(path.name for path in out.iterdir()) == names
    content = json.loads((out / "cifar10-m2.json").read_text())
    assert (content["data"], content["train"], content["test"], content["learning_rate"]) == ("cifar10", 60, 40, 1e-4)
    assert all(value is not None for value in content["pairs"]["llv"])
    printed = capsys.readouterr()
    assert "cifar10: mlp of width 8 to 2 dimensions, 3 steps on 60 images; 40 held out" in printed.out
    assert "3 of 3 steps" in printed.err
    # What is written is what the embeddings say.
    with np.load(out / "cifar10-m2.npz") as stored:
        f, g, labels = (stored[name].astype(np.float64) for name in ("f", "g", "labels"))
    logits = np.einsum("snm,scm->snc", f, g)
    logp = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    i, j = 0, 2
    at = content["pairs"]["first"].index(i) + 1
    assert (content["pairs"]["first"][at], content["pairs"]["second"][at]) == (i, j)
    kl = (np.exp(logp[i]) * (logp[i] - logp[j])).sum(axis=1).mean()
    np.testing.assert_allclose(content["pairs"]["kl"][at], kl, rtol=1e-6)
    nll = -np.take_along_axis(logp, labels.astype(int)[None, :, None], axis=2).mean(axis=(1, 2))
    np.testing.assert_allclose(content["nll"], nll, rtol=1e-5)
    assert content["orders"] == [label_order(one.astype(np.float32)).tolist() for one in g]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cifar10", "nowhere"], "load_cifar10: nowhere must hold data_batch_1.bin"),
        (["--seeds", "1"], "image_study: seeds must be at least two"),
        (["--steps", "-1"], "train_image_models: steps must be at least 0"),
    ],
)
def test_mistakes_end_with_a_sentence(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        image_pairs.main(arguments)
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.slow
def test_the_paper_s_network_runs_on_files_of_cifar10(tmp_path, write_cifar10, capsys):
    write_cifar10(tmp_path, (20, 10, 10, 10, 10, 40))
    short = ["--width", "2", "--steps", "2", "--seeds", "2", "--batch", "4", "--one-by-one", "--dimension", "3"]
    image_pairs.main(["--cifar10", str(tmp_path), *short])
    assert "cifar10: resnet18 of width 2 to 3 dimensions, 2 steps on 60 images" in capsys.readouterr().out


@pytest.mark.slow
def test_digits_have_other_orders_of_labels_from_other_seeds():
    study = image_study(load_digits(), seeds=[0, 1, 2, 3])
    assert study.models.network == "cnn"
    assert study.models.accuracy.min() > 0.85
    assert not study.pairs.same_order.any()
    assert np.median(study.pairs.cca_f) < 0.8
    assert np.median(study.pairs.llv) > 0.8
