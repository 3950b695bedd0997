"""Scores by kind of pair."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jaxalign.report.groups import Group, group_scores, layer_matrix

LAST = {"red": "last", "blue": "last", "green": "last"}


def test_one_layer_of_each_model(result):
    np.testing.assert_allclose(
        layer_matrix(result, "distance", LAST), [[0, 0.2, 0.4], [0.2, 0, 0.2], [0.4, 0.2, 0]], atol=1e-6
    )
    np.testing.assert_allclose(
        layer_matrix(result, "distance", {"green": "first", "red": "last"}), [[0, 0.3], [0.3, 0]], atol=1e-6
    )


def test_a_layer_that_is_not_there(result):
    with pytest.raises(ValueError, match="no layer 'red/middle'"):
        layer_matrix(result, "distance", {"red": "middle"})


def test_every_pair_is_in_one_group(result):
    groups = group_scores(result, "distance", LAST, lambda a, b: "with red" if "red" in (a, b) else "without")
    assert [group.name for group in groups] == ["with red", "without"]
    np.testing.assert_allclose(groups[0].scores, [0.2, 0.4], atol=1e-6)
    np.testing.assert_allclose(groups[1].scores, [0.2], atol=1e-6)


def test_mean_and_range_pass_over_what_is_undefined():
    group = Group("some", np.array([0.5, np.nan, 0.25]))
    assert (group.mean, group.range) == (0.375, (0.25, 0.5))
    none = Group("none", np.array([np.nan]))
    assert math.isnan(none.mean)
    assert all(map(math.isnan, none.range))
