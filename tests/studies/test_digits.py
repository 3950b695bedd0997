"""The digits: the split is what its documentation says, and the row numbers are right."""

import sys

import numpy as np
import pytest
from sklearn import datasets

from jaxalign.studies import load_digits


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_every_image_is_on_exactly_one_side(digits):
    ids = np.concatenate([digits.train_ids, digits.test_ids])
    np.testing.assert_array_equal(np.sort(ids), np.arange(1797))
    assert digits.test_ids.shape == (596,)
    assert np.all(np.diff(digits.test_ids) > 0)


@pytest.mark.parametrize("side", ["train", "test"])
def test_row_numbers_point_at_the_images_and_labels_of_scikit_learn(digits, side):
    pixels, labels = datasets.load_digits(return_X_y=True)
    x, y, ids = (getattr(digits, name) for name in (f"x_{side}", f"y_{side}", f"{side}_ids"))
    np.testing.assert_array_equal(x.reshape(len(ids), 64) * 16, pixels[ids])
    np.testing.assert_array_equal(y, labels[ids])
    assert (x.dtype, y.dtype, ids.dtype) == (np.float32, np.int32, np.int32)
    assert (x.min(), x.max()) == (0, 1)


def test_a_third_of_every_digit_is_held_out(digits):
    held_out, total = np.bincount(digits.y_test), np.bincount(np.concatenate([digits.y_train, digits.y_test]))
    np.testing.assert_array_equal(held_out, total // 3)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'load_digits needs scikit-learn.*"jaxalign\[demo\]"'):
        load_digits()
