"""Floor 6: experiments on real and generated data that need no download."""

from jaxalign.studies.cifar10 import Cifar10 as Cifar10
from jaxalign.studies.cifar10 import load_cifar10 as load_cifar10
from jaxalign.studies.constructed_pairs import divergence_table as divergence_table
from jaxalign.studies.constructed_pairs import noise_ladder as noise_ladder
from jaxalign.studies.digits import Digits as Digits
from jaxalign.studies.digits import load_digits as load_digits
from jaxalign.studies.image_models import ImageModels as ImageModels
from jaxalign.studies.image_models import train_image_models as train_image_models
from jaxalign.studies.image_study import ImageStudy as ImageStudy
from jaxalign.studies.image_study import image_study as image_study
from jaxalign.studies.model_pairs import ModelPairs as ModelPairs
from jaxalign.studies.model_pairs import compare_models as compare_models
from jaxalign.studies.wedge_models import WedgeModels as WedgeModels
from jaxalign.studies.wedge_models import train_wedge_models as train_wedge_models
from jaxalign.studies.wedges import Wedges as Wedges
from jaxalign.studies.wedges import make_wedges as make_wedges
from jaxalign.studies.width_files import read_width_study as read_width_study
from jaxalign.studies.width_files import summary_table as summary_table
from jaxalign.studies.width_files import width_study as width_study
from jaxalign.studies.width_setting import WidthSetting as WidthSetting
from jaxalign.studies.width_setting import width_setting as width_setting
from jaxalign.studies.zoo import LinearHead as LinearHead
from jaxalign.studies.zoo import ZooModel as ZooModel
from jaxalign.studies.zoo import train_zoo as train_zoo
from jaxalign.studies.zoo_stitching import ZooStitching as ZooStitching
from jaxalign.studies.zoo_stitching import stitch_zoo as stitch_zoo
