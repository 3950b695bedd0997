"""Is it more than chance: tests, intervals and calibrated scores for every measure."""

from jaxalign.inference.calibration import Calibration as Calibration
from jaxalign.inference.calibration import LayerCalibration as LayerCalibration
from jaxalign.inference.calibration import calibrate as calibrate
from jaxalign.inference.calibration import calibrate_layers as calibrate_layers
from jaxalign.inference.permutation import PermutationTest as PermutationTest
from jaxalign.inference.permutation import permutation_test as permutation_test
from jaxalign.inference.schemes import Blocks as Blocks
from jaxalign.inference.schemes import CircularShift as CircularShift
from jaxalign.inference.schemes import Free as Free
from jaxalign.inference.schemes import Scheme as Scheme
from jaxalign.inference.schemes import Within as Within
