"""Floor 6: a comparison as files, tables and pictures for people who did not run it."""

from jaxalign.report.files import write_comparison as write_comparison
from jaxalign.report.groups import Group as Group
from jaxalign.report.groups import group_scores as group_scores
from jaxalign.report.summary import summary_figure as summary_figure
