"""All measures by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from jaxalign.measures import (
    dependence,
    dissimilarity,
    distance,
    geometry,
    heat,
    kernel,
    linear,
    neighbors,
    outputs,
    shape,
)
from jaxalign.measures.measure import Measure

#: Every measure under its name, with default settings.
MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        measure.name: measure
        for measure in (
            kernel.kernel_alignment(),
            kernel.cka(),
            kernel.angular_cka(),
            kernel.hsic(),
            dependence.constrained_covariance(),
            dependence.kernel_canonical_correlation(),
            dependence.kernel_mutual_information(),
            distance.distance_correlation(),
            distance.distance_covariance(),
            dissimilarity.rsa(),
            dissimilarity.rsm_distance(),
            dissimilarity.distance_alignment(),
            neighbors.mutual_knn(),
            neighbors.cycle_knn(),
            neighbors.lcs_knn(),
            neighbors.edit_distance_knn(),
            neighbors.jaccard_knn(),
            neighbors.rank_similarity_knn(),
            neighbors.joint_rank_jaccard_knn(),
            neighbors.second_order_cosine(),
            neighbors.cknna(),
            neighbors.soft_knn(),
            linear.cca(),
            linear.svcca(),
            linear.pwcca(),
            linear.ridge_cca(),
            linear.eigenspace_overlap(),
            linear.linear_predictivity(),
            linear.gulp(),
            linear.pls_svd(),
            linear.gaussian_mutual_information(),
            linear.gaussian_wasserstein_dependence(),
            shape.procrustes_distance(),
            shape.angular_procrustes(),
            shape.permutation_distance(),
            shape.soft_matching_distance(),
            shape.correlation_match(),
            shape.aligned_cosine(),
            shape.stochastic_shape_distance(),
            geometry.magnitude_difference(),
            geometry.concentricity_difference(),
            geometry.uniformity_difference(),
            geometry.intrinsic_dimension_difference(),
            geometry.participation_ratio_difference(),
            geometry.effective_rank_difference(),
            heat.imd(),
            outputs.disagreement(),
            outputs.cohen_kappa(),
            outputs.jensen_shannon(),
            outputs.kl_divergence(),
        )
    }
)
