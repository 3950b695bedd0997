"""Neighbor family as measures."""

from __future__ import annotations

from jaxalign._core.checks import check_choice, check_integer
from jaxalign.alignment.cknna import CKNNAScore
from jaxalign.alignment.kernel import ESTIMATORS
from jaxalign.alignment.neighbors import NeighborScore
from jaxalign.alignment.second_order import ENTRIES, SecondOrderScore
from jaxalign.alignment.soft_neighbors import soft_knn_parts
from jaxalign.engines.neighbors import METRICS
from jaxalign.measures.measure import Measure
from jaxalign.signatures.neighborhoods import NeighborhoodSignature, NeighborKernelSignature
from jaxalign.signatures.neighbors import NeighborSignature

PLATONIC = "Huh et al. 2024, arXiv:2405.07987"
STABILITY = "Wang et al. 2020; Schumacher et al. 2021, arXiv:2005.10039"


def _neighbor_measure(
    name: str,
    agreement: str,
    k: int,
    metric: str,
    *,
    chance: str,
    reference: str,
    options: str = "",
    largest: float = 1.0,
    symmetric: bool = True,
) -> Measure:
    """A measure of lists of neighbors, with the invariances that follow from their metric."""
    check_integer(name, "k", k, minimum=1)
    check_choice(name, "metric", metric, METRICS)
    own = {"row_scaling"} if metric == "cosine" else {"translation"}
    return Measure(
        signature=NeighborSignature(k, metric),
        score=NeighborScore(agreement),
        name=name,
        options=options,
        bounds=(0.0, largest),
        symmetric=symmetric,
        invariances=frozenset({"scaling", "permutation", "orthogonal"} | own),
        chance=chance,
        reference=reference,
    )


def mutual_knn(*, k: int = 10, metric: str = "cosine") -> Measure:
    """`jaxalign.mutual_knn` as a measure."""
    return _neighbor_measure("mutual_knn", "overlap", k, metric, chance="k / (n - 1)", reference=PLATONIC)


def cycle_knn(*, k: int = 10, metric: str = "cosine") -> Measure:
    """`jaxalign.cycle_knn` as a measure."""
    chance = "about 1 - exp(-k**2 / (n - 1)): near 1 unless k is small"
    return _neighbor_measure("cycle_knn", "cycle", k, metric, chance=chance, reference=PLATONIC, symmetric=False)


def lcs_knn(*, k: int = 10, metric: str = "cosine", normalize: bool = True) -> Measure:
    """`jaxalign.lcs_knn` as a measure."""
    return _neighbor_measure(
        "lcs_knn",
        "ordered_overlap" if normalize else "common_subsequence",
        k,
        metric,
        options="" if normalize else "normalize=False",
        largest=1.0 if normalize else float(k),
        chance="below k / (n - 1)" + ("" if normalize else ", times k"),
        reference=PLATONIC,
    )


def edit_distance_knn(*, k: int = 10, metric: str = "cosine") -> Measure:
    """`jaxalign.edit_distance_knn` as a measure."""
    chance = "above 1 / (n - 1)"
    return _neighbor_measure("edit_distance_knn", "edit_similarity", k, metric, chance=chance, reference=PLATONIC)


def jaccard_knn(*, k: int = 10, metric: str = "cosine") -> Measure:
    """`jaxalign.jaccard_knn` as a measure."""
    chance = "about k / (2 (n - 1))"
    return _neighbor_measure("jaccard_knn", "jaccard", k, metric, chance=chance, reference=STABILITY)


def rank_similarity_knn(*, k: int = 10, metric: str = "cosine") -> Measure:
    """`jaxalign.rank_similarity_knn` as a measure."""
    chance = "below k / (n - 1)"
    return _neighbor_measure("rank_similarity_knn", "rank_similarity", k, metric, chance=chance, reference=STABILITY)


def joint_rank_jaccard_knn(*, k: int = 10, metric: str = "cosine") -> Measure:
    """`jaxalign.joint_rank_jaccard_knn` as a measure."""
    chance = "below that of either factor"
    return _neighbor_measure(
        "joint_rank_jaccard_knn", "joint_rank_jaccard", k, metric, chance=chance, reference=STABILITY
    )


def second_order_cosine(*, k: int = 10, entries: str = "similarity") -> Measure:
    """`jaxalign.second_order_cosine` as a measure."""
    check_integer("second_order_cosine", "k", k, minimum=1)
    check_choice("second_order_cosine", "entries", entries, ENTRIES)
    return Measure(
        signature=NeighborhoodSignature(k),
        score=SecondOrderScore(entries),
        name="second_order_cosine",
        options=entries,
        bounds=(-1.0 if entries == "similarity" else 0.0, 1.0),
        invariances=frozenset({"scaling", "row_scaling", "permutation", "orthogonal"}),
        chance="about 0 for features of mean 0, near 1 for others",
        reference="Hamilton et al. 2016, arXiv:1606.02821",
    )


def cknna(*, k: int = 10, estimator: str = "unbiased", eps: float = 0.0) -> Measure:
    """`jaxalign.cknna` as a measure."""
    check_integer("cknna", "k", k, minimum=2)
    check_choice("cknna", "estimator", estimator, ESTIMATORS)
    return Measure(
        signature=NeighborKernelSignature(k),
        score=CKNNAScore(estimator, eps),
        name="cknna",
        options=estimator + (f",eps={eps}" if eps else ""),
        bounds=(-1.0, 1.0),
        # Song's estimator of matrices that are not symmetric depends on their order.
        symmetric=estimator == "biased",
        invariances=frozenset({"scaling", "row_scaling", "permutation", "orthogonal"}),
        chance="about k / (n - 1)",
        reference=PLATONIC,
    )


def soft_knn(*, k: int = 10, temperature: float = 0.05, metric: str = "cosine") -> Measure:
    """`jaxalign.soft_knn` as a measure."""
    signature, score = soft_knn_parts(k, temperature, metric)
    own = {"row_scaling"} if metric == "cosine" else {"translation"}
    return Measure(
        signature=signature,
        score=score,
        name="soft_knn",
        invariances=frozenset({"scaling", "permutation", "orthogonal"} | own),
        chance="k / (n - 1) at a low temperature, up to 1 at a high one",
        reference="ours, after Huh et al. 2024, arXiv:2405.07987",
    )
