"""What `jaxalign compare` computes when no measure is named; apart, so that help does not wait for JAX."""

#: The `k` of mutual nearest neighbors.
DEFAULT_NEIGHBORS = 10
DEFAULT_MEASURES = ("cka:estimator=unbiased", f"mutual_knn:k={DEFAULT_NEIGHBORS}")
