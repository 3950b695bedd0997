"""Tables for a terminal."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from rich.console import Console

from jaxalign.report.groups import Group
from jaxalign.report.tables import add_row, best_pairs, best_pairs_title, group_table, plain_table


def printed(table, width=80):
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return stream.getvalue()


def cells(text):
    return [line.split() for line in text.splitlines()[2:]]


def test_best_pairs_closest_first_in_either_direction(result):
    table, left_out = best_pairs(result, "cka[linear,biased]", limit=20)
    assert left_out == 0
    assert cells(printed(table)) == [
        ["red", "last", "blue", "first", "0.900"],
        ["blue", "last", "green", "first", "0.900"],
        ["red", "last", "green", "first", "0.700"],
    ]
    table, left_out = best_pairs(result, "distance", limit=2)
    assert left_out == 1
    assert [row[-1] for row in cells(printed(table))] == ["0.100", "0.100"]


def test_undefined_scores_come_last_and_are_called_so(result):
    matrix = result.values["distance"].copy()
    matrix[:2, 2:4] = matrix[2:4, :2] = np.nan
    changed = dataclasses.replace(result, values={**result.values, "distance": matrix})
    table, _ = best_pairs(changed, "distance", limit=20)
    assert cells(printed(table))[-1] == ["red", "-", "blue", "-", "undefined"]


def test_one_model_is_not_named(result):
    layers = tuple(("red", f"layer{i}") for i in range(6))
    alone = dataclasses.replace(result, layers_a=layers, layers_b=layers)
    assert cells(printed(best_pairs(alone, "distance", limit=5)[0])) == [["layer0", "layer1", "0.100"]]
    assert "two different layers" in best_pairs_title(alone, "distance")


def test_the_title_says_how_to_read_the_numbers(result):
    assert best_pairs_title(result, "distance") == (
        "distance[2]: lowest score of any layer of one model with any layer of the other\n"
        "50 examples; from 0 to inf, lower is more alike; unrelated: a lot"
    )


def test_groups_side_by_side_fit_a_terminal():
    groups = [Group("trained, same architecture", np.array([0.5, 0.7])), Group("none", np.array([np.nan]))]
    text = printed(group_table({"cka[linear,unbiased]": groups, "mutual_knn": groups}))
    assert max(map(len, text.splitlines())) <= 80
    assert "trained, same architecture" in text
    assert text.splitlines()[-2].split()[-3:] == ["2", "0.600", "0.600"]
    assert "undefined" in text


def test_long_names_are_folded_and_brackets_printed():
    table = plain_table("name")
    add_row(table, "[bold]" + "x" * 50)
    text = printed(table, width=30)
    assert text.count("x") == 50
    assert "[bold]" in text
