"""Scores of data that come in pieces: from disk, from a network, from several devices.

An accumulator (`Misalignment`) has a state that does not grow with the data: `init` makes one, `update` adds a batch,
`merge` joins two, `result` says what is in it. `stream` does all of that over batches, `row_blocks` makes batches of
files that are larger than memory.
"""

from jaxalign.streaming.accumulate import Accumulator as Accumulator
from jaxalign.streaming.accumulate import accumulate as accumulate
from jaxalign.streaming.accumulate import row_blocks as row_blocks
from jaxalign.streaming.accumulate import stream as stream
from jaxalign.streaming.misalignment import Misalignment as Misalignment
from jaxalign.streaming.moment_heads import MomentHeadRisk as MomentHeadRisk
from jaxalign.streaming.moment_maps import MomentMap as MomentMap
from jaxalign.streaming.residuals import MapResiduals as MapResiduals
from jaxalign.streaming.residuals import MeanResidual as MeanResidual
from jaxalign.streaming.result import MomentAlignment as MomentAlignment
from jaxalign.streaming.result import StreamedMisalignment as StreamedMisalignment
