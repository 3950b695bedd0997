"""One network's activations fed to another: maps in closed form, maps that are trained, and what they cost."""

from jaxalign.stitching.affine import Affine as Affine
from jaxalign.stitching.affine import Conv1x1 as Conv1x1
from jaxalign.stitching.affine import TokenAffine as TokenAffine
from jaxalign.stitching.fit import FitResult as FitResult
from jaxalign.stitching.fit import fit as fit
from jaxalign.stitching.fit_many import FitMany as FitMany
from jaxalign.stitching.fit_many import fit_many as fit_many
from jaxalign.stitching.fit_pairs import PairMaps as PairMaps
from jaxalign.stitching.fit_pairs import fit_pairs as fit_pairs
from jaxalign.stitching.losses import cross_entropy as cross_entropy
from jaxalign.stitching.losses import kl_divergence as kl_divergence
from jaxalign.stitching.losses import squared as squared
from jaxalign.stitching.losses import zero_one as zero_one
from jaxalign.stitching.nonlinear_modules import MLP as MLP
from jaxalign.stitching.nonlinear_modules import Residual as Residual
from jaxalign.stitching.permutation_module import Permutation as Permutation
from jaxalign.stitching.restricted_modules import LowRank as LowRank
from jaxalign.stitching.restricted_modules import Orthogonal as Orthogonal
