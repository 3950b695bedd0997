"""How representations of two inputs approach or separate while a network learns: theory, fits and recordings."""

from jaxalign.dynamics.fit import TwoPointFit as TwoPointFit
from jaxalign.dynamics.fit import fit_two_point as fit_two_point
from jaxalign.dynamics.fixed_point import FixedPoint as FixedPoint
from jaxalign.dynamics.fixed_point import conserved as conserved
from jaxalign.dynamics.fixed_point import fixed_point as fixed_point
from jaxalign.dynamics.fixed_point import linear_spectrum as linear_spectrum
from jaxalign.dynamics.fixed_point import regime_index as regime_index
from jaxalign.dynamics.loss import loss_curve as loss_curve
from jaxalign.dynamics.ode import two_point_ode as two_point_ode
from jaxalign.dynamics.states import pair_states as pair_states
from jaxalign.dynamics.states import pairwise_states as pairwise_states
from jaxalign.dynamics.structure import final_distance_matrix as final_distance_matrix
from jaxalign.dynamics.structure import smoothed_distance_matrix as smoothed_distance_matrix
from jaxalign.dynamics.trajectory import two_point_trajectory as two_point_trajectory
from jaxalign.dynamics.two_point import TwoPointParams as TwoPointParams
from jaxalign.dynamics.two_point import TwoPointState as TwoPointState
from jaxalign.dynamics.two_point import flow_time as flow_time
from jaxalign.dynamics.two_point import two_point_rhs as two_point_rhs
from jaxalign.dynamics.wide_linear import wide_linear_fixed_point as wide_linear_fixed_point
from jaxalign.dynamics.wide_linear import wide_linear_trajectory as wide_linear_trajectory
