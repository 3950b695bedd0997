"""What several measures, or several models, have in common: agreement of measures, and a map of models."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxalign._core.checks import check_integer, describe
from jaxalign.studies.platonic.convergence import PlatonicStudy
from jaxalign.studies.platonic.trends import rank_correlation


class Agreement(NamedTuple):
    """Whether measures put pairs of models in the same order.

    Attributes:
      measures: their names.
      rho: Spearman's rank correlation of the scores of two measures, `(measures, measures)`; NaN for a constant one.
      pairs: of models, of which they are.
    """

    measures: tuple[str, ...]
    rho: np.ndarray
    pairs: int


def metric_agreement(study: PlatonicStudy, *, calibrated: bool = False) -> Agreement:
    """Rank correlations between measures, over pairs of models and their closest layers.

    Distances count with the opposite sign. Pairs for which a measure is undefined are left out for all.

    Args:
      study: with at least two measures.
      calibrated: of calibrated scores.

    Raises:
      ValueError: for one measure only, fewer than 3 pairs of models, or a study that was not calibrated.

    Reference:
      Huh et al. (2024), arXiv:2405.07987, figure 12.
    """
    names = tuple(study.comparison.values)
    if len(names) < 2:
        raise ValueError(f"metric_agreement: study must have at least two measures, got {', '.join(names)}")
    columns = []
    for name in names:
        table = study.table(name, calibrated=calibrated)
        sign = 1 if calibrated or study.comparison.larger_is_closer[name] else -1
        # Of one modality both halves: of a measure that is not symmetric they differ.
        columns.append(sign * (table[~np.eye(len(table), dtype=bool)] if study.comparison.same else table.ravel()))
    scores = np.stack(columns)
    scores = scores[:, np.isfinite(scores).all(axis=0)]
    pairs = scores.shape[1] // (2 if study.comparison.same else 1)
    if pairs < 3:
        raise ValueError(f"metric_agreement: study must have at least 3 pairs of models with all scores, got {pairs}")
    rho = np.array([[rank_correlation(one, other) for other in scores] for one in scores])
    return Agreement(names, rho, pairs)


class ModelMap(NamedTuple):
    """Models as points, the nearer the more aligned.

    Attributes:
      points: `(models, dim)`, along axes of falling variance.
      explained: the share of the squared distances that each axis has, of those that a Euclidean space can have,
        `(dim,)`.
      stress: root of the squared differences between distances on the map and those that were asked for, relative to
        the latter; 0 for an exact map.
    """

    points: np.ndarray
    explained: np.ndarray
    stress: float


def model_map(alignment: Any, *, dim: int = 2, floor: float | None = None) -> ModelMap:
    r"""A map of models by classical multidimensional scaling of $-\log$ alignment.

    Args:
      alignment: of all models with each other, `(models, models)`, above 0 and at most 1; the diagonal does not
        count, and of two entries that mirror each other the mean does.
      dim: axes.
      floor: what alignments below it are raised to, such as the level of chance, where $-\log$ says nothing.

    Returns:
      A `ModelMap`. The sign of each axis is such that the coordinate of the largest magnitude is positive.

    Raises:
      ValueError: for alignments that are not above 0 without a floor, or above 1, a matrix that is not square, fewer
        models than axes.
      TypeError: for values that are not real numbers.

    Example:
      >>> model_map(np.exp(-np.abs(np.subtract.outer([0., 1., 3.], [0., 1., 3.]))), dim=1).points.round(3).tolist()
      [[-1.333], [-0.333], [1.667]]

    Reference:
      Huh et al. (2024), arXiv:2405.07987, figure 2, which shows UMAP of the same distances; classical scaling has no
      setting and no randomness. Torgerson (1952).
    """
    name = "model_map"
    scores = np.asarray(alignment)
    if scores.dtype.kind not in "iufb":
        raise TypeError(f"{name}: alignment must hold real numbers, got {describe(scores)}")
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not len(scores):
        raise ValueError(f"{name}: alignment must have shape (models, models), got {tuple(scores.shape)}")
    check_integer(name, "dim", dim, minimum=1)
    models = len(scores)
    if dim >= models:
        raise ValueError(f"{name}: dim must be less than the number of models, {models}, got {dim}")
    scores = (scores.astype(np.float64) + scores.T) / 2
    np.fill_diagonal(scores, 1.0)
    if floor is not None:
        if not 0 < floor <= 1:
            raise ValueError(f"{name}: floor must be above 0 and at most 1, got {floor}")
        scores = np.where(scores < floor, floor, scores)
    bad = np.argwhere(~((scores > 0) & (scores <= 1 + 1e-6)))
    if len(bad):
        i, j = bad[0]
        raise ValueError(
            f"{name}: alignment must be above 0 and at most 1, got {scores[i, j]} at ({i}, {j}); "
            "floor= raises what is small"
        )
    distances = -np.log(np.minimum(scores, 1))
    centering = np.eye(models) - 1 / models
    values, vectors = np.linalg.eigh(-centering @ distances**2 @ centering / 2)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = np.maximum(values[:dim], 0)
    points = vectors[:, :dim] * np.sqrt(kept)
    points *= np.where(np.take_along_axis(points, np.abs(points).argmax(axis=0)[None], 0) < 0, -1, 1)
    on_map = np.linalg.norm(points[:, None] - points[None], axis=-1)
    size = np.sum(distances**2)
    stress = float(np.sqrt(np.sum((on_map - distances) ** 2) / size)) if size else 0.0
    total = np.sum(np.maximum(values, 0))
    return ModelMap(points, kept / total if total else np.zeros(dim), stress)
