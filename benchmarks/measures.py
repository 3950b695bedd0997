"""Every measure of the catalogue on one pair, beside whoever has it: n = 1024 and 10 000, d = 768."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

import jaxalign as ja
from benchmarks import measure_peers as by
from benchmarks import peers
from benchmarks.cases import Case
from benchmarks.problems import layers

SIZES = (1024, 10_000)
WIDTH = 768
RIDGE = 0.1

Peer = Callable[[np.ndarray, np.ndarray], Any]


@dataclass(frozen=True)
class Entry:
    """A measure and who else has it.

    Attributes:
      measure: ours.
      peers: by name, on float32 arrays.
      largest: examples beyond which a peer, or we, need minutes or all memory.
    """

    measure: ja.Measure
    peers: dict[str, Peer]
    largest: int = 10_000


def _hyppo(x: np.ndarray, y: np.ndarray) -> float:
    return peers.hyppo_distance_correlation(x, y)


def _torch_distance_correlation(x: np.ndarray, y: np.ndarray) -> float:
    one, other = peers.tensors([x, y])
    return peers.cdist_distance_correlation(one, other)


def _rsa(metric: str, comparison: str, **options: Any) -> Entry:
    method = {"correlation": "correlation", "sqeuclidean": "euclidean"}[metric]
    theirs = {"pearson": "corr", "spearman": "spearman", "kendall": "tau-b", "whitened_cosine": "cosine_cov"}[
        comparison
    ]
    found: dict[str, Peer] = {"rsatoolbox": lambda x, y: by.rsatoolbox_rsa(x, y, method, theirs)}
    if comparison != "whitened_cosine":
        found["SciPy"] = lambda x, y: by.scipy_rsa(x, y, metric, comparison)
    return Entry(ja.measures.rsa(metric=metric, comparison=comparison), found, **options)


ENTRIES: tuple[Entry, ...] = (
    Entry(ja.measures.kernel_alignment(), {"torch": by.torch_kernel_alignment}),
    Entry(ja.measures.cka(), {"torch": by.torch_cka}),
    Entry(ja.measures.cka(estimator="unbiased"), {"torch": by.torch_unbiased_cka}),
    Entry(ja.measures.cka(estimator="lange"), {}),
    Entry(ja.measures.cka(estimator="minibatch"), {}),
    Entry(ja.measures.cka(estimator="feature_corrected"), {}),
    Entry(ja.measures.hsic(), {"torch": by.torch_hsic}),
    Entry(ja.measures.constrained_covariance(), {"torch": by.torch_operator_singular_values}),
    Entry(
        ja.measures.kernel_canonical_correlation(ridge=RIDGE),
        {"torch": lambda x, y: float(by.torch_ridge_cca(x, y, RIDGE)[0])},
    ),
    Entry(
        ja.measures.distance_correlation(),
        {"torch": _torch_distance_correlation, "hyppo": _hyppo},
    ),
    _rsa("correlation", "pearson"),
    _rsa("correlation", "spearman", largest=1024),
    _rsa("correlation", "kendall", largest=1024),
    _rsa("sqeuclidean", "whitened_cosine", largest=1024),
    Entry(ja.measures.mutual_knn(), {"torch": by.torch_mutual_knn}),
    Entry(ja.measures.cycle_knn(), {"torch, NumPy": by.numpy_cycle_knn}),
    Entry(ja.measures.lcs_knn(), {"torch, Python": by.python_lcs_knn}),
    Entry(ja.measures.edit_distance_knn(), {"torch, Python": by.python_edit_distance_knn}),
    Entry(ja.measures.jaccard_knn(), {"torch, NumPy": by.numpy_jaccard_knn}),
    Entry(ja.measures.rank_similarity_knn(), {"torch, Python": by.python_rank_similarity_knn}),
    Entry(ja.measures.second_order_cosine(), {"torch, NumPy loop": by.python_second_order_cosine}),
    Entry(ja.measures.cknna(), {"torch masks, as published": by.torch_cknna}, largest=1024),
    Entry(ja.measures.soft_knn(), {}),
    Entry(
        ja.measures.cca(),
        {
            "torch SVD": lambda x, y: float(by.torch_correlations(x, y).mean()),
            "torch QR": lambda x, y: float(by.torch_qr_correlations(x, y).mean()),
        },
    ),
    Entry(ja.measures.svcca(), {"torch": by.torch_svcca}),
    Entry(ja.measures.pwcca(), {"torch": by.torch_pwcca}),
    Entry(
        ja.measures.ridge_cca(ridge=RIDGE),
        {"torch": lambda x, y: float(by.torch_ridge_cca(x, y, RIDGE).mean())},
    ),
    Entry(ja.measures.eigenspace_overlap(), {"torch": by.torch_eigenspace_overlap}),
    Entry(
        ja.measures.linear_predictivity(),
        {"torch lstsq": by.torch_predictivity, "scikit-learn": by.sklearn_predictivity},
    ),
    Entry(ja.measures.pls_svd(), {"torch": by.torch_pls_svd}),
    Entry(ja.measures.procrustes_distance(), {"torch": by.torch_procrustes}),
    Entry(ja.measures.permutation_distance(), {"torch, SciPy": by.scipy_permutation}),
    Entry(ja.measures.correlation_match(), {"torch, SciPy": by.scipy_correlation_match}),
    Entry(ja.measures.soft_matching_distance(), {"torch, SciPy": by.scipy_permutation}),
    Entry(ja.measures.aligned_cosine(), {"SciPy": by.scipy_aligned_cosine}),
    Entry(ja.measures.rsm_distance(), {"SciPy": by.scipy_rsm_distance}),
    Entry(ja.measures.distance_alignment(), {}),
    Entry(ja.measures.linear_predictivity(folds=5), {"scikit-learn": by.sklearn_held_out}),
    Entry(ja.measures.intrinsic_dimension_difference(), {"scikit-learn": by.sklearn_intrinsic_dimension}),
    Entry(ja.measures.uniformity_difference(), {"torch": by.torch_uniformity}),
    Entry(ja.measures.imd(), {}),
    Entry(ja.measures.cohen_kappa(), {"scikit-learn": by.sklearn_cohen_kappa}),
    Entry(ja.measures.jensen_shannon(), {"SciPy": by.scipy_jensen_shannon}),
)


def cases() -> Iterator[Case]:
    """All measures at one size, then at the next."""
    for n in SIZES:
        x, y = layers(2, n, WIDTH)
        yield from (_case(entry, x, y) for entry in ENTRIES if n <= entry.largest)


def _case(entry: Entry, x: np.ndarray, y: np.ndarray) -> Case:
    """The first peer's value in float64 says how far ours is off."""
    pair = [jnp.asarray(v) for v in (x, y)]
    exact = next(iter(entry.peers.values()), None)

    def error(value: Any) -> float:
        return abs(float(value) / float(exact(x.astype(np.float64), y.astype(np.float64))) - 1) if exact else 0.0

    return Case(
        f"{entry.measure.definition}, n={len(x)}, d={x.shape[1]}",
        lambda: float(entry.measure(*pair)),
        {name: lambda peer=peer: peer(x, y) for name, peer in entry.peers.items()},
        dict.fromkeys(entry.peers, 1),
        error if exact else None,
        repeats=3,
    )
