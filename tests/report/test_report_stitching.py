"""The picture of networks stitched into one another."""

from __future__ import annotations

import numpy as np
import pytest

from jaxalign.report.stitching_figure import stitching_figure


@pytest.fixture
def axes():
    figure = stitching_figure(
        np.array([[np.nan, 0.5], [0.4, np.nan], [0.1, 0.2]]),
        np.array([[0.01, 0.02], [0.03, 0.04], [0.3, 0.2]]),
        sources=["red", "blue", "green"],
        targets=["red", "blue"],
        baselines={"intact": np.array([0.0, 0.02]), "nothing": np.array([0.9, 0.8])},
        kinds=np.array([["", "alike"], ["alike", ""], ["unlike", "unlike"]]),
        measure="cka",
        title="A title",
        note="A note",
    )
    return figure.axes[:3]


def test_rows_columns_and_numbers_are_where_they_belong(axes):
    left, middle, _ = axes
    numbers = {text.get_position()[::-1]: text.get_text() for text in left.texts}
    assert numbers == {(0, 1): "0.50", (1, 0): "0.40", (2, 0): "0.10", (2, 1): "0.20"}
    assert [label.get_text() for label in middle.get_yticklabels()] == ["red", "blue", "green", "intact", "nothing"]
    assert [label.get_text() for label in middle.get_xticklabels()] == ["red", "blue"]
    numbers = {text.get_position()[::-1]: text.get_text() for text in middle.texts}
    assert [numbers[2, 0], numbers[3, 1], numbers[4, 0]] == ["30", "2", "90"]
    assert middle.images[0].get_clim() == pytest.approx((0, 30))


def test_pairs_are_dots_by_kind_and_baselines_lines(axes):
    right = axes[2]
    dots = {dots.get_label(): dots.get_offsets().tolist() for dots in right.collections}
    assert dots["alike"] == [[0.5, 2.0], [0.4, 3.0]]
    assert dots["unlike"] == [[0.1, 30.0], [0.2, 20.0]]
    lines = {line.get_label(): line.get_ydata()[0] for line in right.lines}
    assert lines == pytest.approx({"intact, mean": 1.0, "nothing, mean": 85.0})
