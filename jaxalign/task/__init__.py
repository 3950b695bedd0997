"""How a representation suits a task: alignment of its kernel with targets, and what that says about learning them.

`kernel_target_alignment` is a cosine, `cumulative_power` a curve over the spectrum, `kare` an estimate of the risk on
rows not seen, `source_norm` the size of the function that is to be learned, `kta_risk_bound` what the cosine
guarantees. `task_alignment` makes one page of them.
"""

from jaxalign.task.alignment import kernel_target_alignment as kernel_target_alignment
from jaxalign.task.kare import KarePath as KarePath
from jaxalign.task.kare import kare as kare
from jaxalign.task.kare import kare_path as kare_path
from jaxalign.task.power import CumulativePower as CumulativePower
from jaxalign.task.power import cumulative_power as cumulative_power
from jaxalign.task.power import source_norm as source_norm
from jaxalign.task.risk_bound import KtaRiskBound as KtaRiskBound
from jaxalign.task.risk_bound import kta_risk_bound as kta_risk_bound
from jaxalign.task.summary import TaskAlignment as TaskAlignment
from jaxalign.task.summary import task_alignment as task_alignment
