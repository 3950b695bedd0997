"""The Platonic Representation Hypothesis as something to run: does alignment rise with competence, beyond chance?"""

from jaxalign.studies.platonic.convergence import PlatonicStudy as PlatonicStudy
from jaxalign.studies.platonic.convergence import platonic_study as platonic_study
from jaxalign.studies.platonic.digit_convergence import DigitConvergence as DigitConvergence
from jaxalign.studies.platonic.digit_convergence import digit_convergence as digit_convergence
from jaxalign.studies.platonic.digit_models import Shape as Shape
from jaxalign.studies.platonic.digit_models import Training as Training
from jaxalign.studies.platonic.digit_models import digit_networks as digit_networks
from jaxalign.studies.platonic.maps import Agreement as Agreement
from jaxalign.studies.platonic.maps import ModelMap as ModelMap
from jaxalign.studies.platonic.maps import metric_agreement as metric_agreement
from jaxalign.studies.platonic.maps import model_map as model_map
from jaxalign.studies.platonic.preprocessing import PreparedLayer as PreparedLayer
from jaxalign.studies.platonic.preprocessing import PreparedLayers as PreparedLayers
from jaxalign.studies.platonic.preprocessing import Preprocessing as Preprocessing
from jaxalign.studies.platonic.published import PublishedAlignment as PublishedAlignment
from jaxalign.studies.platonic.published import published_alignment as published_alignment
from jaxalign.studies.platonic.published import published_score as published_score
from jaxalign.studies.platonic.scale import ScaleCurve as ScaleCurve
from jaxalign.studies.platonic.scale import scale_curve as scale_curve
from jaxalign.studies.platonic.trends import Bins as Bins
from jaxalign.studies.platonic.trends import Trend as Trend
from jaxalign.studies.platonic.trends import competence_bins as competence_bins
from jaxalign.studies.platonic.trends import competence_trend as competence_trend
from jaxalign.studies.platonic.trends import pair_trend as pair_trend
