"""One of two features, by context."""

from dataclasses import replace

import numpy as np
import pytest

from jaxalign.dynamics import SETTINGS
from jaxalign.studies import context_representations, make_context_task
from jaxalign.studies.context_task import feature_shares


def test_a_blob_is_where_it_should_be_and_the_context_says_what_counts():
    task = make_context_task(side=4, pixels=4)
    assert task.x.shape == (32, 18)
    image = task.x[6, :16].reshape(4, 4)  # row 1, column 2, of the first context
    assert np.unravel_index(image.argmax(), (4, 4)) == (1, 2)
    assert image.max() == 1
    np.testing.assert_allclose(image[1, 1], np.exp(-((1 / 3) ** 2) / (2 * 0.25**2)), rtol=1e-6)
    np.testing.assert_array_equal(task.x[[0, 16], 16:], np.eye(2))
    np.testing.assert_allclose(task.y[[6, 22], 0], [1 / 3, 2 / 3], rtol=1e-6)
    np.testing.assert_array_equal(task.x[:16, :16], task.x[16:, :16])


def test_shares_of_representations_that_are_known():
    task = make_context_task(side=5)
    down, across = task.features.T
    first = task.context == 0
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    # In the first context 9 parts of the variance are down and 1 across; in the second what counts is their product.
    centered = 2 * (down - 0.5), 2 * (across - 0.5)
    z = np.where(
        first[:, None],
        np.stack([3 * down, across, 0 * down], 1),
        np.stack([0 * down] * 2 + [np.multiply(*centered)], 1),
    )
    np.testing.assert_allclose(feature_shares(7 + z @ rotation, task), [[0.9, 0.1], [0.0, 0.0]], atol=1e-12)


@pytest.mark.slow
def test_small_weights_forget_the_feature_that_does_not_count_and_large_ones_keep_it():
    task = make_context_task(side=15)
    shares = {}
    for name, epochs in (("orthogonal_very_low", 2000), ("orthogonal_high", 750)):
        found = context_representations(replace(SETTINGS[name], epochs=2 * epochs), key=0, task=task)
        assert found["loss"][1] < 0.01 * found["loss"][0]
        assert found["projection"].shape == (450, 3)
        shares[name] = found["share"]
        if name == "orthogonal_high":
            np.testing.assert_allclose(found["share"], found["share_start"], atol=0.1)
    np.testing.assert_allclose(shares["orthogonal_very_low"], np.eye(2), atol=0.05)


@pytest.mark.parametrize(
    ("sizes", "message"), [({"side": 1}, "side must be at least 2"), ({"pixels": 0}, "pixels must")]
)
def test_mistakes_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        make_context_task(**sizes)
