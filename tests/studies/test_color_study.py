"""Colors of screens and of the eye, and colors by their neighbors in photographs."""

import numpy as np
import pytest

from jaxalign.studies import color_figure, color_study, srgb_to_cielab

#: sRGB of 0 .. 255 and its CIELAB under D65, as in published tables (two digits).
KNOWN = {
    (255, 255, 255): (100.00, 0.00, 0.00),
    (0, 0, 0): (0.00, 0.00, 0.00),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (255, 255, 0): (97.14, -21.55, 94.48),
    (0, 255, 255): (91.11, -48.09, -14.13),
    (255, 0, 255): (60.32, 98.23, -60.82),
    (128, 128, 128): (53.59, 0.00, 0.00),
}


def test_known_colors_are_where_tables_have_them():
    found = srgb_to_cielab(np.array(list(KNOWN)) / 255)
    np.testing.assert_allclose(found, list(KNOWN.values()), atol=0.01)


def test_near_black_it_is_linear_and_any_shape_will_do():
    dark = srgb_to_cielab(np.full((2, 4, 3), 0.02))
    np.testing.assert_allclose(dark[..., 0], 0.02 / 12.92 * 24389 / 27, rtol=1e-12)
    np.testing.assert_allclose(dark[..., 1:], 0, atol=1e-12)
    grays = srgb_to_cielab(np.linspace(0, 1, 200)[:, None].repeat(3, axis=1))[:, 0]
    assert (np.diff(grays) > 0).all()


@pytest.mark.slow
def test_colors_that_meet_are_alike_and_not_where_pixels_are_mixed():
    pytest.importorskip("sklearn")
    pytest.importorskip("PIL")
    pytest.importorskip("matplotlib")
    study = color_study(0, colors=24, dim=4, steps=500, permutations=199)
    for world in ("both", "china", "flower"):
        assert study[f"closed/{world}"].shape == (len(study[f"colors/{world}"]), 4)
        assert study[f"scores/{world}"].shape == (4, 4)
        assert (study[f"scores/{world}"][:, 0] > 0.2).all()
        assert (study[f"scores/{world}"][:, 1] < 0.05).all()
    assert np.abs(study["scores/mixed"][:3, 0]).max() < 0.3
    assert (study["scores/mixed"][:3, 0] < study["scores/both"][:3, 0]).all()
    np.testing.assert_allclose(study["lab/both"], srgb_to_cielab(study["colors/both"]), rtol=1e-5, atol=1e-4)
    drawn = color_figure(study)
    assert drawn.arrays["map/learned"].shape == (24, 2)
    np.testing.assert_allclose(drawn.figure.axes[0].collections[0].get_offsets(), drawn.arrays["map/lab"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: srgb_to_cielab(np.zeros((2, 4))),
            r"srgb_to_cielab: colors must have 3 .* got shape \(2, 4\)",
        ),
        (lambda: srgb_to_cielab(np.array([0, 0, 255])), r"colors must be in \[0, 1\], got 0 to 255"),
        (lambda: srgb_to_cielab(np.array([0, np.nan, 0])), r"colors must be in \[0, 1\]"),
        (lambda: color_study(colors=4), "color_study: colors must be at least 8, got 4"),
        (lambda: color_study(smoothing=0.0), "smoothing must be positive"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
