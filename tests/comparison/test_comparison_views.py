"""Tables, pictures and the progress bar: what a reader sees of a comparison."""

from __future__ import annotations

import builtins
import io
import math
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console

import jaxalign as ja
from jaxalign._core.progress import progress_bar

NAN = math.nan
A = [("m", "one"), ("m", "two"), ("n", "three")]
B = [("p[bold]", "x:key:"), ("p[bold]", "$y_1$")]
VALUES = [[0.1, 0.2], [NAN, 0.4], [0.5, 0.6]]


# Tables


def test_the_frame_has_one_row_for_each_pair_and_measure(make_result):
    result = make_result(VALUES, A, B)
    frame = result.to_dataframe()
    assert list(frame.columns) == ["measure", "model_a", "layer_a", "model_b", "layer_b", "value", "definition"]
    assert len(frame) == 6
    row = frame.iloc[4]
    assert tuple(row[:5]) == ("cka", "n", "three", "p[bold]", "x:key:")
    assert (row.value, row.definition) == (np.float32(0.5), "cka[linear,biased]")
    assert frame.value.dtype == np.float32
    assert frame.value.isna().tolist() == [False, False, True, False, False, False]


def test_the_frame_of_two_measures_has_both(layers):
    result = ja.compare(layers(1), measures=[ja.measures.cka(), ja.measures.mutual_knn(k=5)])
    frame = result.to_dataframe().set_index(["measure", "layer_a", "layer_b"])
    assert len(frame) == 18
    assert frame.value["mutual_knn", "0", "1"] == result.values["mutual_knn"][0, 1]


def test_the_dataset_has_names_as_coordinates(make_result):
    data = make_result(VALUES, A, B).to_xarray()
    assert data["cka"].dims == ("a", "b")
    assert data["cka"].attrs["definition"] == "cka[linear,biased]"
    assert float(data["cka"].sel(a="n/three", b="p[bold]/$y_1$")) == np.float32(0.6)
    assert data["layer_b"].values.tolist() == ["x:key:", "$y_1$"]
    assert data["model_a"].values.tolist() == ["m", "m", "n"]
    assert data.attrs["examples_used"] == "39"


def shown(table, width=100):
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    return out.getvalue()


def test_the_table_shows_names_as_they_are_best_first(make_result):
    text = shown(make_result(VALUES, A, B, definition="cka[red](rbf),biased]").to_table())
    words = " ".join(text.split())
    assert "cka[red](rbf),biased]: highest score over the layers of every two models" in words
    assert "39 examples; from 0 to 1, higher is more alike; unrelated: about 0" in words
    rows = [line.split() for line in text.splitlines() if line.startswith("│")]
    cells = [[cell for cell in row if cell != "│"] for row in rows]
    assert cells == [["n", "three", "p[bold]", "$y_1$", "0.600"], ["m", "two", "p[bold]", "$y_1$", "0.400"]]
    assert all(name in text for name in ("model a", "layer a", "model b", "layer b", "score"))


def test_the_table_of_a_distance_has_the_lowest_first_and_the_undefined_last(make_result):
    values = [[3.0, NAN], [2.0, NAN], [1.0, NAN]]
    result = make_result(values, [("m", "0"), ("n", "0"), ("o", "0")], [("p", "0"), ("q", "0")], closer=False)
    lines = [line for line in shown(result.to_table()).splitlines() if line.startswith("│")]
    assert [line.split()[1] for line in lines] == ["o", "n", "m", "m", "n", "o"]
    assert [line.split()[-2] for line in lines] == ["1.000", "2.000", "3.000", *["undefined"] * 3]
    assert "lowest score" in shown(result.to_table())


def test_small_scores_without_a_bound_keep_their_digits(make_result):
    result = make_result([[1.234e-7]], [("m", "0")], [("n", "0")], bounds=(0.0, math.inf))
    assert "1.23e-07" in shown(result.to_table())


def test_a_narrow_table_breaks_names_and_loses_nothing(make_result):
    name = "encoder.layers.12.attention.output.dense"
    text = shown(make_result([[0.5]], [("model" * 5, name)], [("other" * 5, name)]).to_table(), width=60)
    assert "…" not in text
    column = "".join(line.split("│")[2].strip() for line in text.splitlines() if line.startswith("│"))
    assert column == name


def test_a_table_of_unnamed_models_has_only_layers(make_result):
    text = shown(make_result([[0.5]], [("", "x")], [("", "y")]).to_table())
    assert "layer a" in text
    assert "model a" not in text


# Pictures


def drawn(figure):
    """The figure after matplotlib drew it, which is when bad labels fail."""
    FigureCanvasAgg(figure).draw()
    return figure


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def title(figure):
    return figure._suptitle.get_text().replace("\n", " ")


def test_rows_of_the_picture_are_a_and_columns_b(make_result):
    figure = drawn(make_result(VALUES, A, B).plot())
    axes, bar = figure.axes[:2]
    assert ticks(axes.yaxis) == ["one", "two", "three"]
    assert ticks(axes.xaxis) == ["x:key:", "$y_1$"]
    image = axes.images[0]
    np.testing.assert_array_equal(image.get_array().filled(NAN), np.float32(VALUES))
    assert image.origin == "upper"
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # row 0 on top
    numbers = {text.get_position(): text.get_text() for text in axes.texts}
    assert numbers == {(0, 0): "0.10", (1, 0): "0.20", (1, 1): "0.40", (0, 2): "0.50", (1, 2): "0.60"}
    assert title(figure) == (
        "cka[linear,biased]: every layer against every layer "
        "39 examples; from 0 to 1, higher is more alike; unrelated: about 0"
    )
    assert bar.get_ylabel() == "cka[linear,biased]\n(higher is more alike; grey: no score)"
    assert image.get_clim() == (0.0, 1.0)
    outer = axes.child_axes[0]
    assert ticks(outer.yaxis) == ["m", "n"]
    assert outer.yaxis.get_ticklocs().tolist() == [0.5, 2.0]
    assert outer.get_ylabel() == "rows: layers, by model"
    assert axes.get_xlabel() == "columns: layers of p[bold]"
    assert [line.get_ydata()[0] for line in axes.lines] == [1.5]


def test_unnamed_sides_say_which_argument_they_are(make_result):
    two = drawn(make_result(VALUES[:2], [("", "0"), ("", "1")], [("", "0"), ("", "1")]).plot()).axes[0]
    assert (two.get_ylabel(), two.get_xlabel()) == ("rows: layers of reps_a", "columns: layers of reps_b")
    one = drawn(make_result([[1.0, 0.5], [0.5, 1.0]]).plot()).axes[0]
    assert (one.get_ylabel(), one.get_xlabel()) == ("rows: layers of reps_a", "columns: layers of reps_a")


def test_models_in_the_picture_are_their_best_pairs(make_result):
    values = [[1.0, 0.9, 0.2], [0.9, 1.0, 0.7], [0.2, 0.7, 1.0]]
    figure = drawn(make_result(values, A).plot(by="model"))
    axes = figure.axes[0]
    assert ticks(axes.yaxis) == ticks(axes.xaxis) == ["m", "n"]
    array = axes.images[0].get_array().filled(NAN)
    np.testing.assert_allclose(array, [[NAN, 0.7], [0.7, NAN]], rtol=1e-6)
    assert "highest score over the layers of two models; a model with itself is grey" in title(figure)
    figure = drawn(make_result(VALUES, A, B, closer=False).plot(by="model"))
    assert "lowest score" in title(figure)
    assert "lower is more alike" in figure.axes[1].get_ylabel()
    assert figure.axes[0].get_ylabel() == "rows: models of reps_a"
    np.testing.assert_allclose(figure.axes[0].images[0].get_array().filled(NAN), [[0.1], [0.5]], rtol=1e-6)


LIMITS = {
    "known": ([[0.3]], (0.0, 1.0), (0.0, 1.0)),
    "no upper": ([[0.3, 5.0]], (0.0, math.inf), (0.0, 5.0)),
    "no bounds": ([[-2.0, 5.0]], (-math.inf, math.inf), (-2.0, 5.0)),
    "nothing negative": ([[0.3]], (-1.0, 1.0), (0.0, 1.0)),
    "hardly negative": ([[-0.05, 0.3]], (-1.0, 1.0), (-0.05, 1.0)),
    "negative": ([[-0.5, 0.3]], (-1.0, 1.0), (-1.0, 1.0)),
    "one value": ([[7.0]], (-math.inf, math.inf), (6.5, 7.5)),
    "zeros": ([[0.0]], (0.0, math.inf), (-0.5, 0.5)),
    "undefined": ([[NAN]], (0.0, math.inf), (0.0, 1.0)),
}


@pytest.mark.parametrize("case", LIMITS)
def test_colors_span_the_possible_scores(case, make_result):
    values, bounds, expected = LIMITS[case]
    layers = [("", str(i)) for i in range(len(values[0]))]
    figure = drawn(make_result(values, [("", "0")], layers, bounds=bounds).plot())
    np.testing.assert_allclose(figure.axes[0].images[0].get_clim(), expected, rtol=1e-6)


def test_names_of_any_kind_are_drawn_as_they_are(make_result):
    odd = ["$\\frac{a$", "a_b^c", "%d", "\\alpha", "层", "long " * 20]
    for by in ("layer", "model"):
        figure = drawn(make_result(np.eye(6), [(name, name) for name in odd], definition="$x$[_y_]").plot(by=by))
        names = ticks(figure.axes[0].yaxis)
        assert names[:5] == odd[:5]
        assert len(names[5]) <= 56
        assert "…" in names[5]


def test_layers_named_by_long_paths_are_told_apart(make_result):
    names = [f"transformer.blocks.{i}.mlp.output.dropout" for i in range(12)]
    figure = drawn(make_result(np.eye(12), [("", name) for name in names]).plot())
    assert ticks(figure.axes[0].yaxis) == names


pytestmark = pytest.mark.filterwarnings("ignore:Glyph .* missing from font")


def test_many_layers_are_named_in_part(make_result):
    figure = make_result(np.eye(200), [("m", f"layer{i}") for i in range(200)]).plot()
    axes = figure.axes[0]
    assert ticks(axes.yaxis) == [f"layer{i}" for i in range(0, 200, 3)]
    assert axes.yaxis.get_ticklocs().tolist() == list(range(0, 200, 3))
    assert axes.get_ylabel() == "rows: layers of m (one in 3 named)"
    assert not axes.texts
    assert max(figure.get_size_inches()) < 20


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 1), (12, 24), (60, 60)])
@pytest.mark.parametrize("models", [1, 3])
def test_nothing_overlaps_the_cells_or_leaves_the_picture(shape, models, make_result):
    def name(side, count):
        return [(f"{side} {i * models // count}", f"encoder.block_{i}.output") for i in range(count)]

    figure = drawn(make_result(np.zeros(shape), name("model a", shape[0]), name("model b", shape[1])).plot())
    axes, renderer = figure.axes[0], FigureCanvasAgg(figure).get_renderer()
    cells, page = axes.get_window_extent(renderer), figure.bbox
    assert min(cells.width / shape[1], cells.height / shape[0]) >= 8  # pixels of a cell
    outer = {"x": [axes.xaxis], "y": [axes.yaxis]}
    for child in axes.child_axes:
        side = "y" if child.get_ylabel() else "x"
        outer[side].append(getattr(child, f"{side}axis"))
    for side, axis in ((side, axis) for side, both in outer.items() for axis in both):
        for label in (*axis.get_ticklabels(), axis.label):
            box = label.get_window_extent(renderer)
            if label.get_text():
                assert page.x0 <= box.x0 <= box.x1 <= page.x1, label
                assert page.y0 <= box.y0 <= box.y1 <= page.y1, label
                assert box.x1 <= cells.x0 + 1 if side == "y" else box.y1 <= cells.y0 + 1, label
    for both in outer.values():
        if len(both) == 2:  # models are outside of layers
            inner, models_box = (a.get_ticklabels()[0].get_window_extent(renderer) for a in both)
            assert models_box.x1 <= inner.x0 if both is outer["y"] else models_box.y1 <= inner.y0


# Optional packages


@pytest.mark.parametrize(
    ("package", "job", "call"),
    [
        ("pandas", "Comparison.to_dataframe", lambda result: result.to_dataframe()),
        ("xarray", "Comparison.to_xarray", lambda result: result.to_xarray()),
        ("rich", "Comparison.to_table", lambda result: result.to_table()),
        ("matplotlib", "Comparison.plot", lambda result: result.plot()),
    ],
)
def test_a_missing_package_is_named_with_its_extra(package, job, call, make_result, missing):
    missing(package)
    with pytest.raises(ImportError) as caught:
        call(make_result([[1.0]]))
    assert str(caught.value) == f'{job} needs {package}: pip install "jaxalign[report]"'


@pytest.fixture
def missing(monkeypatch):
    """Makes a package look as if it were not installed."""

    def hide(package):
        inner = builtins.__import__

        def find(name, *args, **kwargs):
            if name.split(".")[0] == package:
                raise ImportError(name)
            return inner(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", find)

    return hide


# The progress bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


KNN = ja.measures.mutual_knn(k=5)


def test_nothing_is_printed_where_nobody_watches(layers, capsys):
    ja.compare(layers(1), measures=KNN)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_a_bar_unless_told_otherwise(layers, capsys, monkeypatch):
    for progress, expected in ((None, True), (False, False)):
        monkeypatch.setattr(sys, "stderr", Terminal())
        ja.compare(layers(1), measures=KNN, progress=progress)
        assert ("3/3" in sys.stderr.getvalue()) == expected
    monkeypatch.setattr(sys, "stderr", Terminal())
    ja.compare(layers(1), measures=ja.measures.cka())  # one step
    assert sys.stderr.getvalue() == ""
    assert capsys.readouterr().out == ""


def test_a_bar_that_is_asked_for_is_on_the_error_stream(layers, capsys):
    ja.compare(layers(1), measures=[KNN, ja.measures.cka()], progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "4/4" in err


def test_a_bar_shows_names_as_they_are(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(2, doing="comparing", show=True) as tick:
        tick(0, now="cka[linear,biased]: a[/b]{0}")
        tick()
        tick()
    assert "cka[linear,biased]: a[/b]{0}" in sys.stderr.getvalue()


def test_no_bar_without_rich_or_without_a_stream(layers, capsys, monkeypatch, missing):
    monkeypatch.setattr(sys, "stderr", None)
    ja.compare(layers(1), measures=KNN)
    monkeypatch.undo()
    missing("rich")
    ja.compare(layers(1), measures=KNN, progress=True)
    assert capsys.readouterr() == ("", "")
