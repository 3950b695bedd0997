"""Floor 6: experiments on real data that run in seconds and need no download."""

from jaxalign.studies.digits import Digits as Digits
from jaxalign.studies.digits import load_digits as load_digits
from jaxalign.studies.zoo import LinearHead as LinearHead
from jaxalign.studies.zoo import ZooModel as ZooModel
from jaxalign.studies.zoo import train_zoo as train_zoo
from jaxalign.studies.zoo_stitching import ZooStitching as ZooStitching
from jaxalign.studies.zoo_stitching import stitch_zoo as stitch_zoo
