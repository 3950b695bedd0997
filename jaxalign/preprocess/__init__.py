"""Floor 1: what is done to activations before they are compared."""

from jaxalign.preprocess.centering import center as center
from jaxalign.preprocess.normalization import normalize_rows as normalize_rows
from jaxalign.preprocess.outliers import clamp as clamp
from jaxalign.preprocess.outliers import clamp_outliers as clamp_outliers
from jaxalign.preprocess.outliers import outlier_threshold as outlier_threshold
from jaxalign.preprocess.tokens import flatten_spatial as flatten_spatial
from jaxalign.preprocess.tokens import pool_tokens as pool_tokens
from jaxalign.preprocess.whitening import whiten as whiten
