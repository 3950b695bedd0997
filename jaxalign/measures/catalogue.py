"""All measures by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from jaxalign.measures import kernel, neighbors
from jaxalign.measures.measure import Measure

#: Every measure under its name, with default settings.
MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        measure.name: measure
        for measure in (
            kernel.kernel_alignment(),
            kernel.cka(),
            kernel.hsic(),
            neighbors.mutual_knn(),
            neighbors.cycle_knn(),
            neighbors.lcs_knn(),
            neighbors.edit_distance_knn(),
            neighbors.jaccard_knn(),
            neighbors.rank_similarity_knn(),
            neighbors.joint_rank_jaccard_knn(),
            neighbors.second_order_cosine(),
        )
    }
)
