"""Scores exactly as the published code computes them, to reproduce numbers; `jaxalign.measures` for all else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, check_choice, check_neighbors, check_pair, check_positive
from jaxalign._core.numerics import center_columns, normalize_rows, safe_divide
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.alignment.cca import svcca
from jaxalign.alignment.cknna import cknna
from jaxalign.alignment.kernel import hsic
from jaxalign.alignment.neighbors import cycle_knn, edit_distance_knn, lcs_knn, mutual_knn
from jaxalign.kernels import RBF, Kernel, Linear

#: What the published code adds to the denominators of `cka`, `unbiased_cka` and `cknna`.
EPS = 1e-6
_CCA_DIM = 10


def published_score(
    metric: str,
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    *,
    topk: int = 10,
    kernel_metric: str = "ip",
    rbf_sigma: float = 1.0,
) -> float:
    r"""One score with the quirks of platonic-rep, rows divided by their length as its drivers do.

    `mutual_knn`, `cycle_knn`, `edit_distance_knn`: the same as in this library.

    `lcs_knn`: a length from 0 to `topk`, which `jaxalign.lcs_knn` divides by `k`.

    `cka`, `unbiased_cka`: $10^{-6}$ is added to the denominator, $\sqrt{\mathrm{tr}(KHKH)\, \mathrm{tr}(LHLH)}$ or
    the same of unbiased HSIC, of which it is much where features are small: without rows of length one, those of
    length 0.01 have a score of 0.33 with themselves.

    `cknna`: likewise, and HSIC of neighbors alone is smaller still: 0.978 with itself at n = 4096, k = 2.

    `svcca`: ten directions by a randomized decomposition, then an iterative one, differ from run to run (0.37 to 0.47
    where 0.52 is exact). Here it is exact, of ten directions of standardized features.

    With the package `pymp` installed, as its authors recommend, its `lcs_knn` and `edit_distance_knn` are computed for
    a quarter of the examples only, without a message (0.609 for 2.578, and 0.766 for 0.080). That is not offered here.

    Args:
      metric: one of the above.
      x: activations, `(n, p)`.
      y: activations, `(n, q)`, same examples in the same order.
      topk: neighbors.
      kernel_metric: of `cka` and `unbiased_cka`: `"ip"`, inner products, or `"rbf"`.
      rbf_sigma: of `"rbf"`: $\exp(-d^2 / 2\sigma^2)$.

    Returns:
      The score; NaN where it is undefined.

    Raises:
      ValueError: for an unknown metric or kernel, shapes that do not fit, and `topk` that is not below `n`.
      TypeError: for arrays that are not floating point.

    Example:
      >>> x = jnp.arange(24.).reshape(12, 2) ** 2
      >>> published_score("mutual_knn", x, 2 * x, topk=3)
      1.0

    Reference:
      Huh et al. (2024), arXiv:2405.07987; `AlignmentMetrics` of its code, commit dcd76ba.
    """
    name = "published_score"
    check_choice(name, "metric", metric, METRICS)
    check_choice(name, "kernel_metric", kernel_metric, ("ip", "rbf"))
    check_positive(name, "rbf_sigma", rbf_sigma)
    x, y = as_array(name, "x", x), as_array(name, "y", y)
    check_pair(name, x, y)
    check_neighbors(name, topk, x.shape[0])
    kernel = Linear() if kernel_metric == "ip" else RBF(rbf_sigma)
    return float(METRICS[metric](normalize_rows(x), normalize_rows(y), topk, kernel))


class PublishedAlignment(NamedTuple):
    """What the published code says of two models.

    Attributes:
      score: of the closest layers; 0 where no score is above 0.
      indices: their places, of `x` and of `y`; None there.
      scores: of all layers, `(layers of x, layers of y)`, which the published code does not keep.
    """

    score: float
    indices: tuple[int, int] | None
    scores: np.ndarray


def published_alignment(
    x: Mapping[str, Any], y: Mapping[str, Any], metric: str = "mutual_knn", *, topk: int = 10
) -> PublishedAlignment:
    """The closest layers of two models as the published code finds them, from 0 up, the first of equals.

    It normalizes rows; limit outliers before, with `Preprocessing`. The files of its command line hold the place in
    `y` first: there it hands the models over the other way round.

    Args:
      x: name -> `(n, d)`, layers of a model.
      y: those of another.
      metric: as in `published_score`.
      topk: neighbors.

    Raises:
      ValueError: as `published_score`.
      TypeError: likewise.

    Reference:
      Huh et al. (2024), arXiv:2405.07987; `compute_score` of its code, commit dcd76ba.
    """
    columns = [jnp.asarray(np.asarray(layer)) for layer in y.values()]
    rows = (jnp.asarray(np.asarray(layer)) for layer in x.values())
    scores = np.array([[published_score(metric, one, other, topk=topk) for other in columns] for one in rows])
    best = np.unravel_index(np.argmax(np.nan_to_num(scores, nan=-np.inf)), scores.shape)
    if not scores[best] > 0:
        return PublishedAlignment(0.0, None, scores)
    return PublishedAlignment(float(scores[best]), (int(best[0]), int(best[1])), scores)


def _alignment_with_eps(estimator: str) -> Callable[[Array, Array, int, Kernel], Scalar]:
    @jax.jit
    def score(x: Array, y: Array, kernel: Kernel) -> Scalar:
        scaled = {"estimator": estimator, "scaling": "none" if estimator == "biased" else "n2", "kernel": kernel}
        cross, own_x, own_y = hsic(x, y, **scaled), hsic(x, x, **scaled), hsic(y, y, **scaled)
        return cross / (jnp.sqrt(own_x * own_y) + EPS)

    return lambda x, y, topk, kernel: score(x, y, kernel)


def _standardized(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Columns of mean 0 and standard deviation 1; constant ones are 0."""
    x = center_columns(x)
    return safe_divide(x, jnp.broadcast_to(jnp.std(x, axis=0), x.shape), otherwise=0.0)


#: Metric -> its score, of rows of length one, `topk` and a kernel.
METRICS: Mapping[str, Callable[[Array, Array, int, Kernel], Scalar]] = MappingProxyType(
    {
        "mutual_knn": lambda x, y, topk, kernel: mutual_knn(x, y, k=topk),
        "cycle_knn": lambda x, y, topk, kernel: cycle_knn(x, y, k=topk),
        "lcs_knn": lambda x, y, topk, kernel: lcs_knn(x, y, k=topk, normalize=False),
        "edit_distance_knn": lambda x, y, topk, kernel: edit_distance_knn(x, y, k=topk),
        "cka": _alignment_with_eps("biased"),
        "unbiased_cka": _alignment_with_eps("unbiased"),
        "cknna": lambda x, y, topk, kernel: cknna(x, y, k=topk, eps=EPS),
        "svcca": lambda x, y, topk, kernel: svcca(_standardized(x), _standardized(y), rank=_CCA_DIM),
    }
)
