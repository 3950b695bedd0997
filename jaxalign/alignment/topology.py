"""Topology: holes that two representations do not share. Runs on the host: no `jit`, no gradient.

Persistent homology is computed by GUDHI, an optional package, in double precision.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxalign._core.checks import as_array, check_integer, check_pair, check_positive
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array, Bool, Float

#: Field of coefficients: the smallest.
FIELD = 2


def rtd(x: Float[Array, "n p"], y: Float[Array, "n q"], *, mask: Bool[Array, "n"] | None = None) -> float:
    r"""Representation topology divergence: how long holes last in one input that are filled in the other.

    Of the Euclidean distances $w$ of rows, each divided by the 0.9 quantile of its matrix, the graphs $w_x$ and
    $\min(w_x, w_y)$ are compared, scale by scale: clusters that are apart in one and joined in the other make a hole
    in a graph that holds both (of twice as many points). The result is the sum of lengths of the bars of dimension 1
    in its barcode, in the mean of both directions. Zero when all distances agree up to one scale.

    Not a function for `jit`, and no measure for `compare`: it runs on the host. Its time depends on the data: a
    tenth of a second to some seconds for 200 rows, a second to a minute for 500. Of more, take samples and their mean.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`, same examples in the same order.
      mask: shape `(n,)`; `False` rows do not count and may hold any value.

    Returns:
      A float, at least 0, which grows with `n`; NaN when the 0.9 quantile of an input's distances is 0, or an
      input holds NaN or infinity.

    Raises:
      ValueError: on rank or row-count mismatch.
      TypeError: on non-floating input.
      ImportError: without GUDHI (`pip install "jaxalign[topology]"`).

    Example:
      >>> x = np.array([[0.0], [1.0], [3.0], [7.0]])
      >>> rtd(x, 2 * x)
      0.0

    Reference:
      Barannikov et al. (2022), Representation topology divergence, arXiv:2201.00058; quantile and symmetry as in
      the authors' program, which takes the mean over 10 samples of 500 rows.
    """
    distances = _pair_distances("rtd", x, y, mask)
    scales = [np.quantile(d, 0.9) if d.size else 0.0 for d in distances]
    if not all(scale > 0 for scale in scales):  # NaN is not above 0 either
        return float("nan")
    w_x, w_y = (d / scale for d, scale in zip(distances, scales, strict=True))
    return (cross_barcode_length(w_x, w_y) + cross_barcode_length(w_y, w_x)) / 2


def cross_barcode_length(w: np.ndarray, other: np.ndarray) -> float:
    """The sum of lengths of the bars of dimension 1 between the graphs `w` and `min(w, other)`.

    Two copies of the points: those of the first are one point from the start, those of the second have the
    distances of the joint graph, and an edge between the copies is as long as in `w` (one of `ij` and `ji`
    is enough, and quicker).
    """
    _, rips_persistence = _gudhi("rtd")
    barcode = rips_persistence(homology_dimensions=1, input_type="full distance matrix", homology_coeff_field=FIELD)
    between = np.where(np.tri(len(w), k=-1, dtype=bool), np.inf, w)
    both = np.block([[np.zeros_like(w), between], [between.T, np.minimum(w, other)]])
    (bars,) = barcode.fit_transform([both])
    return float(np.sum(bars[:, 1] - bars[:, 0]))


def geometry_score(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    key: Array | int,
    landmarks: int = 64,
    gamma: float | None = None,
    repeats: int = 100,
    most_holes: int = 100,
    mask: Bool[Array, "n"] | None = None,
) -> float:
    r"""Geometry score: how differently often numbers of holes are seen while two clouds of rows are thickened.

    $$\sum_i (\mathrm{MRLT}_x(i) - \mathrm{MRLT}_y(i))^2$$

    where $\mathrm{MRLT}(i)$ is the share of thicknesses at which there are exactly $i$ holes of dimension 1, in
    the mean over `repeats` random choices of `landmarks`: corners of a witness complex, whose edges and triangles
    all rows vote for. Thickness goes from 0 to `gamma` times the largest distance of a row and a landmark.

    Not a function for `jit`, and no measure for `compare`: it runs on the host.

    Args:
      x: activations, shape `(n, p)`; row `i` is example `i`.
      y: activations, shape `(n, q)`. Which row is which example only decides that both inputs have the same
        landmarks: a cloud is at no distance from itself.
      key: a key of `jax.random`, or an integer to make one from; the same key gives the same value.
      landmarks: how many rows are corners, all different.
      gamma: the largest thickness, as a share of the largest distance. None for that of the authors,
        `n / 5000 / 128`, in which few rows hardly make a triangle: take 1/16 or so for hundreds of rows. The
        time grows with it.
      repeats: how often landmarks are chosen; the authors take 1000.
      most_holes: larger numbers of holes are not looked at.
      mask: shape `(n,)`; `False` rows do not count and may hold any value.

    Returns:
      A float in `[0, 2]`; NaN when all rows of an input are equal, or it holds NaN or infinity.

    Raises:
      ValueError: on rank or row-count mismatch, for more landmarks than rows, or numbers that are not positive.
      TypeError: on non-floating input, counts that are no integers, a `key` that is no key.
      ImportError: without GUDHI (`pip install "jaxalign[topology]"`).

    Example:
      >>> x = np.random.default_rng(0).normal(size=(80, 2))
      >>> geometry_score(x, 2 * x, key=0, repeats=3)
      0.0

    Reference:
      Khrulkov and Oseledets (2018), Geometry score, arXiv:1802.02664. Their program draws landmarks with
      repetition, of each input anew.
    """
    for option, value in (("landmarks", landmarks), ("repeats", repeats), ("most_holes", most_holes)):
        check_integer("geometry_score", option, value, minimum=1)
    if gamma is not None:
        check_positive("geometry_score", "gamma", gamma)
    key = as_key("geometry_score", key)
    distances = _pair_distances("geometry_score", x, y, mask)
    rows = len(distances[0])
    if landmarks > rows:
        raise ValueError(f"geometry_score: landmarks must be at most the number of rows ({rows}), got {landmarks}")
    if not all(np.max(d) > 0 for d in distances):
        return float("nan")
    thickest = rows / 5000 / 128 if gamma is None else gamma
    draws = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    chosen = [draws.choice(rows, landmarks, replace=False) for _ in range(repeats)]
    one, other = (
        np.mean([relative_living_times(d[:, corners], thickest, most_holes) for corners in chosen], axis=0)
        for d in distances
    )
    return float(np.sum((one - other) ** 2))


def relative_living_times(distances: np.ndarray, gamma: float, most_holes: int) -> np.ndarray:
    """For each number of holes below `most_holes`, the share of thicknesses at which there are that many.

    Args:
      distances: of rows to landmarks, `(n, landmarks)`.
      gamma: the largest thickness, as a share of the largest distance.
      most_holes: length of the result.
    """
    gudhi, _ = _gudhi("geometry_score")
    thickest = gamma * np.max(distances)
    nearest_first = np.argsort(distances, axis=1, kind="stable")
    # GUDHI asks for squares, which are another thickness; the score is defined with the distances themselves.
    table = np.dstack([nearest_first, np.take_along_axis(distances, nearest_first, axis=1)])
    complex_ = gudhi.WitnessComplex(table).create_simplex_tree(max_alpha_square=thickest, limit_dimension=2)
    # Holes also where there is no triangle at all.
    complex_.compute_persistence(homology_coeff_field=FIELD, persistence_dim_max=True)
    holes = np.reshape(complex_.persistence_intervals_in_dimension(1), (-1, 2))
    births, deaths = np.minimum(holes, thickest).T
    switches = np.unique(np.concatenate([[0, thickest], births, deaths]))
    middles = (switches[1:] + switches[:-1]) / 2
    alive = np.sum((births <= middles[:, None]) & (middles[:, None] < deaths), axis=1)
    return np.bincount(alive, np.diff(switches) / thickest, minlength=most_holes)[:most_holes]


def _pair_distances(function: str, x: Any, y: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """The Euclidean distances of the rows that count, of both inputs; NaN of an infinite row to itself."""
    _gudhi(function)  # its absence is known before any work
    from scipy.spatial.distance import cdist

    # What is on the host keeps its precision.
    x, y = (v if isinstance(v, np.ndarray) else as_array(function, n, v) for n, v in (("x", x), ("y", y)))
    mask = None if mask is None else as_array(function, "mask", mask)
    check_pair(function, x, y, mask)
    kept = slice(None) if mask is None else np.asarray(mask)
    x, y = (np.asarray(value, np.float64)[kept] for value in (x, y))
    return cdist(x, x), cdist(y, y)


def _gudhi(function: str) -> tuple[Any, Any]:
    """The package, and its interface to Ripser.

    Raises:
      ImportError: naming the extra, when it or what that interface needs is missing.
    """
    try:
        import gudhi
        from gudhi.sklearn import RipsPersistence
    except ImportError as error:
        raise ImportError(
            f'{function} needs gudhi and scikit-learn; install them with: pip install "jaxalign[topology]"'
        ) from error
    return gudhi, RipsPersistence
