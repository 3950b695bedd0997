"""Pictures show the numbers that they were given."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from jaxalign.studies import ModelPairs, WidthSetting
from jaxalign.studies.identifiability_figures import (
    bound_figure,
    divergence_figure,
    embeddings_figure,
    label_color,
    likeness_figure,
    width_figure,
)


def setting(classes, width, *, accuracy=(0.99, 0.95, 0.5, 0.97), seed=0):
    first, second = np.triu_indices(4, 1)
    rng = np.random.default_rng(seed)
    names = ("llv", "t1", "t2", "d_f", "d_g", "d_fg", "cca_f", "cca_g", "kl", "kl_reversed", "logit_distance")
    values = {name: rng.uniform(0.1, 0.9, 6) for name in names}
    pairs = ModelPairs(first, second, **values, same_order=np.array([True, False, True, False, False, True]))
    orders = np.tile(np.arange(classes), (4, 1))
    return WidthSetting(classes, width, 1, np.arange(4), np.array(accuracy), np.ones(4), orders, pairs)


def test_medians_and_quartiles_are_of_pairs_of_kept_models():
    settings = [setting(4, 32, seed=1), setting(4, 16), setting(6, 16, seed=2)]
    figure = width_figure(settings)
    assert [axes.get_title() for axes in figure.axes] == ["4 classes", "6 classes"]
    line = figure.axes[0].get_lines()[0]
    np.testing.assert_array_equal(line.get_xdata(), [16, 32])
    kept = [s.pairs.llv[[0, 2, 4]] for s in (settings[1], settings[0])]  # pairs without model 2
    np.testing.assert_allclose(line.get_ydata(), [np.median(values) for values in kept])
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["16\n3/4", "32\n3/4"]


def test_widths_without_pairs_are_left_out():
    figure = width_figure([setting(4, 16, accuracy=(0.99, 0.1, 0.2, 0.3)), setting(4, 32)])
    np.testing.assert_array_equal(figure.axes[0].get_lines()[0].get_xdata(), [32])


def test_where_no_model_was_kept_a_panel_says_so():
    none = setting(4, 16, accuracy=(0.1, 0.1, 0.2, 0.3))
    for draw in (width_figure, likeness_figure):
        figure = draw([none, setting(6, 16)])
        assert [text.get_text() for text in figure.axes[0].texts] == ["no two models were kept"]
        assert figure.axes[1].get_legend() is not None
        figure.savefig("/dev/null", format="png")


def test_points_are_pairs_by_their_order():
    one = setting(4, 16)
    same, other = likeness_figure([one]).axes[0].collections
    np.testing.assert_allclose(same.get_offsets(), np.stack([one.pairs.kl[[0, 2]], one.pairs.d_fg[[0, 2]]], axis=1))
    np.testing.assert_allclose(other.get_offsets(), [[one.pairs.kl[4], one.pairs.d_fg[4]]])


def test_bounds_are_drawn_as_far_as_they_say_something():
    figure = bound_figure({"left": {"a": (np.array([0.1]), np.array([0.01]))}, "right": {}})
    papers, tight = figure.axes[0].get_lines()
    np.testing.assert_allclose(papers.get_ydata(), 4 * papers.get_xdata())
    assert papers.get_xdata().max() <= 0.25
    np.testing.assert_allclose(tight.get_ydata(), 2 * tight.get_xdata() ** 2)
    np.testing.assert_allclose(tight.get_ydata()[-1], 1)


def test_embeddings_have_the_colors_of_their_labels():
    rng = np.random.default_rng(0)
    f, g, labels = rng.normal(size=(30, 2)), rng.normal(size=(5, 2)), np.arange(30) % 5
    figure = embeddings_figure(
        {"one": (f, g), "two": (f[:, :1], g[:, :1]), "three": (np.tile(f, 2), np.tile(g, 2))}, labels
    )
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "three"]
    for label, points in enumerate(figure.axes[0].collections):
        np.testing.assert_allclose(points.get_offsets(), f[labels == label])
        np.testing.assert_allclose(points.get_facecolor()[0, :3], to_rgb(label_color(label, 5)))
    arrows = [text.xy for text in figure.axes[0].texts if text.get_text() == ""]
    centered = g - g.mean(axis=0)
    ratios = arrows / centered
    np.testing.assert_allclose(ratios, ratios[0, 0])  # one factor for all
    assert ratios[0, 0] > 0
    # Of four columns that repeat two, the plane is the one of these two.
    lengths = [np.linalg.norm(figure.axes[k].collections[0].get_offsets(), axis=1) for k in (0, 2)]
    np.testing.assert_allclose(lengths[1], np.sqrt(2) * lengths[0])


def test_colors_differ():
    colors = {label_color(label, 10) for label in range(10)}
    assert len(colors) == 10
    assert all(0 <= part <= 1 for color in colors for part in color)


@pytest.mark.parametrize("name", ["kl", "nll", "llv", "d_f", "cca_f"])
def test_each_column_of_the_table_is_a_line(name):
    rng = np.random.default_rng(0)
    table = {column: rng.uniform(0.1, 1, 4) for column in ("norm", "kl", "nll", "llv", "d_f", "cca_f")}
    lines = [line.get_ydata() for axes in divergence_figure(table).axes for line in axes.get_lines()]
    assert sum(np.array_equal(line, table[name]) for line in lines) == 1
