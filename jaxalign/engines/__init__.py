"""Floor 2: joint sweeps over many representations, and the plan that chooses one."""

from jaxalign.engines.planner import gram_products as gram_products
from jaxalign.engines.products import CENTERINGS as CENTERINGS
from jaxalign.engines.products import Products as Products
