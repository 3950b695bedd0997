"""Floor 5: every layer of every model against every other, and the result to keep."""

from jaxalign.comparison.result import Comparison as Comparison
from jaxalign.comparison.result import load_comparison as load_comparison
from jaxalign.comparison.run import compare as compare
from jaxalign.comparison.scores import BestPair as BestPair
from jaxalign.comparison.scores import Calibrated as Calibrated
from jaxalign.comparison.scores import CalibratedPair as CalibratedPair
