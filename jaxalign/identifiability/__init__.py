"""What the distributions of two models say about their representations, and what they do not.

Everything is computed from log-probabilities `(inputs, labels)`: `llv_distance` bounds `identifiability_distance`,
`logit_distance` bounds `kl_divergence` and `rep_distance`, and `constructions` shows why a small divergence bounds
nothing. `identify` makes one page of them.
"""

from jaxalign.identifiability import constructions as constructions
from jaxalign.identifiability.anchors import most_variable_labels as most_variable_labels
from jaxalign.identifiability.bounds import cca_bound as cca_bound
from jaxalign.identifiability.bounds import kl_bound as kl_bound
from jaxalign.identifiability.bounds import llv_bound as llv_bound
from jaxalign.identifiability.bounds import llv_bound_tight as llv_bound_tight
from jaxalign.identifiability.bounds import logit_distance_bound as logit_distance_bound
from jaxalign.identifiability.bounds import rep_distance_bound as rep_distance_bound
from jaxalign.identifiability.canonical import MeanCCA as MeanCCA
from jaxalign.identifiability.canonical import mean_cca_from_logprobs as mean_cca_from_logprobs
from jaxalign.identifiability.divergence import kl_divergence as kl_divergence
from jaxalign.identifiability.identification import identify as identify
from jaxalign.identifiability.identification import identify_representations as identify_representations
from jaxalign.identifiability.label_order import label_order as label_order
from jaxalign.identifiability.label_order import label_order_from_logprobs as label_order_from_logprobs
from jaxalign.identifiability.linear_dissimilarity import IdentifiabilityDistance as IdentifiabilityDistance
from jaxalign.identifiability.linear_dissimilarity import identifiability_distance as identifiability_distance
from jaxalign.identifiability.linear_map import LinearMap as LinearMap
from jaxalign.identifiability.linear_map import linear_map_between as linear_map_between
from jaxalign.identifiability.llv import LLVDistance as LLVDistance
from jaxalign.identifiability.llv import llv_distance as llv_distance
from jaxalign.identifiability.log_probabilities import centered_logits as centered_logits
from jaxalign.identifiability.log_probabilities import finite_labels as finite_labels
from jaxalign.identifiability.log_probabilities import log_odds as log_odds
from jaxalign.identifiability.log_probabilities import log_probs as log_probs
from jaxalign.identifiability.log_probabilities import log_ratios as log_ratios
from jaxalign.identifiability.log_probabilities import recovered_rank as recovered_rank
from jaxalign.identifiability.log_probabilities import take_labels as take_labels
from jaxalign.identifiability.logit import logit_distance as logit_distance
from jaxalign.identifiability.narrow_student import StudentLoss as StudentLoss
from jaxalign.identifiability.narrow_student import logit_covariance_eigenvalues as logit_covariance_eigenvalues
from jaxalign.identifiability.narrow_student import narrow_student as narrow_student
from jaxalign.identifiability.pls_svd import pls_svd_distance as pls_svd_distance
from jaxalign.identifiability.record import Identification as Identification
from jaxalign.identifiability.rep_distance import RepDistance as RepDistance
from jaxalign.identifiability.rep_distance import rep_distance as rep_distance
from jaxalign.identifiability.selection import select_sets as select_sets
from jaxalign.identifiability.sets import Sets as Sets
