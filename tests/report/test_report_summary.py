"""The one picture that sums up a comparison."""

from __future__ import annotations

import numpy as np
import pytest

from jaxalign.report.groups import group_scores
from jaxalign.report.summary import summary_figure

LAST = {"red": "last", "blue": "last", "green": "last"}


@pytest.fixture
def figure(result):
    groups = {
        key: group_scores(result, key, LAST, lambda a, b: "with red" if "red" in (a, b) else "without")
        for key in result.values
    }
    return summary_figure(
        result,
        groups,
        measure="cka[linear,biased]",
        layers=LAST,
        labels={"red": "Red (90 %)", "blue": "Blue (80 %)", "green": "Green (70 %)"},
        blocks={"red": "warm", "blue": "cold", "green": "cold"},
        title="A title",
        note="A note",
    )


def test_rows_columns_and_numbers_are_where_they_belong(figure):
    matrix, _, first, second = (axes for part in figure.subfigs for axes in part.axes)
    labels = [label.get_text() for label in matrix.get_yticklabels()]
    assert labels == ["Red (90 %)  last", "Blue (80 %)  last", "Green (70 %)  last"]
    numbers = {text.get_position()[::-1]: text.get_text() for text in matrix.texts}
    assert numbers == {(0, 1): "0.80", (1, 0): "0.80", (0, 2): "0.60", (2, 0): "0.60", (1, 2): "0.80", (2, 1): "0.80"}
    image = matrix.images[0].get_array()
    assert np.ma.is_masked(image[0, 0])
    assert image[0, 2] == pytest.approx(0.6)
    edges = sorted(line.get_ydata()[0] for line in matrix.lines if line.get_ydata()[0] == line.get_ydata()[1])
    assert edges == [0.5]
    assert [label.get_text() for label in first.get_yticklabels()] == ["with red", "without"]
    assert "unrelated: little" in first.get_title(loc="left")
    assert "distance[2]" in second.get_title(loc="left")
    assert [text.get_text() for text in second.texts] == ["0.30", "0.20", "mean"]


def test_it_can_be_drawn_and_says_what_it_is(figure, tmp_path):
    figure.savefig(tmp_path / "summary.png")
    assert figure.get_suptitle() == "A title"
    assert figure.get_supxlabel() == "A note"


def test_points_lie_at_their_scores(figure):
    panel = figure.subfigs[1].axes[0]
    with_red, without = (points.get_offsets() for points in panel.collections)
    np.testing.assert_allclose(sorted(with_red[:, 0]), [0.6, 0.8], atol=1e-6)
    np.testing.assert_allclose(without[:, 0], [0.8], atol=1e-6)
    assert np.all(np.abs(np.asarray(without)[:, 1] - 1) < 0.3)
