"""The handwritten digits that come with scikit-learn, in a fixed split.

There are 1797 gray images of 8 by 8 pixels, about 180 of each digit, stored inside
scikit-learn itself: nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLASSES = 10
SIDE = 8  # pixels
_BRIGHTEST = 16  # pixels are stored as whole numbers from 0 to 16
_HELD_OUT_EVERY = 3


@dataclass(frozen=True, eq=False)
class Digits:
    """Images and labels, split into rows to train on and rows held out.

    Attributes:
      x_train: training images, shape `(n_train, 8, 8)`, float32 in `[0, 1]`.
      y_train: their digits, shape `(n_train,)`, int32 in `0 .. 9`.
      x_test: held-out images, shape `(n_test, 8, 8)`, float32 in `[0, 1]`.
      y_test: their digits, shape `(n_test,)`, int32 in `0 .. 9`.
      train_ids: row numbers of the training images in scikit-learn's data set, shape `(n_train,)`, int32.
      test_ids: row numbers of the held-out images, shape `(n_test,)`, int32, ascending.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    train_ids: np.ndarray
    test_ids: np.ndarray


def load_digits() -> Digits:
    """The 1797 digits of scikit-learn, 1201 to train on and 596 held out.

    Of each digit, in the order of the data set, every third image is held out. The rule
    is stratified by construction and needs no random numbers, so that the split is the
    same in every version of NumPy and scikit-learn. The data set is ordered by writer:
    both sides hold images of every writer.

    Returns:
      Images in `[0, 1]`, labels and row numbers.

    Raises:
      ImportError: when scikit-learn is not installed.

    Example:
      >>> digits = load_digits()
      >>> digits.x_train.shape, digits.x_test.shape
      ((1201, 8, 8), (596, 8, 8))

    Reference:
      Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine
      Learning Repository; the images are its test set.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError('load_digits needs scikit-learn; install it with: pip install "jaxalign[demo]"') from error
    pixels, labels = datasets.load_digits(return_X_y=True)
    x = (np.asarray(pixels) / _BRIGHTEST).reshape(-1, SIDE, SIDE).astype(np.float32)
    y = np.asarray(labels).astype(np.int32)
    held_out = _held_out(y)
    test_ids, train_ids = (np.flatnonzero(rows).astype(np.int32) for rows in (held_out, ~held_out))
    return Digits(x[train_ids], y[train_ids], x[test_ids], y[test_ids], train_ids, test_ids)


def _held_out(labels: np.ndarray) -> np.ndarray:
    """Which rows are every third of their own class, shape `(n,)`, boolean."""
    held_out = np.zeros(labels.shape, dtype=bool)
    for digit in range(CLASSES):
        held_out[np.flatnonzero(labels == digit)[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY]] = True
    return held_out
