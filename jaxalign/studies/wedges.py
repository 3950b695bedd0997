"""Points of the plane in wedges: the classification task whose learned representations are compared.

The plane is cut by `classes` lines through the origin; opposite wedges have the same label, so
that no linear classifier can tell labels apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jaxalign._core.checks import check_integer

#: Standard deviation of the points in each direction.
SPREAD = 3.0


@dataclass(frozen=True, eq=False)
class Wedges:
    """Points and labels, to train on and held out.

    Attributes:
      classes: how many labels there are.
      x_train: points, shape `(n_train, 2)`, float32.
      y_train: their labels, shape `(n_train,)`, int32 in `0 .. classes - 1`.
      x_test: points held out, shape `(n_test, 2)`, float32.
      y_test: their labels, shape `(n_test,)`, int32.
    """

    classes: int
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def make_wedges(classes: int, *, train: int = 20_000, test: int = 2_000) -> Wedges:
    r"""Draw points of the normal distribution $N(0, 3^2 I_2)$, labelled by the wedge that they lie in.

    The label of a point at angle $\theta$ is $\lfloor (\theta \bmod \pi)\, c / \pi \rfloor$.
    The same arguments give the same points: those to train on come from NumPy's generator with
    seed 0, those held out from seed 1, as in the paper.

    Args:
      classes: number of labels $c$, at least 2; the paper has 4, 6, 10 and 18.
      train: how many points to train on.
      test: how many are held out.

    Returns:
      Points and labels.

    Raises:
      ValueError: for fewer than 2 classes, or no points.
      TypeError: for numbers that are not integers.

    Example:
      >>> wedges = make_wedges(4, train=100, test=10)
      >>> wedges.x_train.shape, wedges.y_test
      ((100, 2), array([1, 2, 0, 2, 0, 1, 0, 2, 2, 0], dtype=int32))

    Reference:
      Nielsen et al. (2025), arXiv:2506.03784, section 5; after Roeder et al. (2021), arXiv:2007.00810.
    """
    check_integer("make_wedges", "classes", classes, minimum=2)
    check_integer("make_wedges", "train", train, minimum=1)
    check_integer("make_wedges", "test", test, minimum=1)
    (x_train, y_train), (x_test, y_test) = (_draw(seed, n, classes) for seed, n in ((0, train), (1, test)))
    return Wedges(int(classes), x_train, y_train, x_test, y_test)


def wedge_of(x: np.ndarray, classes: int) -> np.ndarray:
    """The label of each point `(n, 2)`, shape `(n,)`, int32."""
    angles = np.mod(np.arctan2(x[:, 1].astype(np.float64), x[:, 0].astype(np.float64)), np.pi)
    # An angle just below 0 may round to pi itself.
    return np.minimum(np.floor(angles * (classes / np.pi)), classes - 1).astype(np.int32)


def _draw(seed: int, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(seed).normal(0.0, SPREAD, (n, 2)).astype(np.float32)
    return x, wedge_of(x, classes)
