"""Slopes of a head between activations, beside what is said to be its Lipschitz constant."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxalign._core.numerics import widen
from jaxalign._core.typing import Array, Float
from jaxalign.stitching.rows import example_lengths


def check_constant(
    function: str, lipschitz: float | None, changes: Array, moves: Array, used: Array, outputs: Array, inputs: Array
) -> None:
    """Raise when a slope of the head is larger than what is said to be its constant, and than rounding can make it.

    Args:
      function: for the message.
      lipschitz: the constant; None passes.
      changes: of the outputs, one length for each example.
      moves: of the inputs.
      used: which examples count.
      outputs: of the intact model, in the precision that they came in.
      inputs: of the head.
    """
    if lipschitz is None:
        return
    rounding = evaluation_rounding(lipschitz, outputs, inputs)
    change, move, slack = (np.asarray(v, np.float64)[np.asarray(used)] for v in (changes, moves, rounding))
    wrong = change > lipschitz * move * (1 + 1e-4) + slack
    if wrong.any():
        worst = float((change[wrong] / np.maximum(move[wrong], 1e-300)).max())
        raise ValueError(
            f"{function}: lipschitz={lipschitz:.6g} is no constant of this head: between activations of z2 and "
            f"what the stitch makes of z1 it has a slope of {worst:.6g}"
        )


def evaluation_rounding(lipschitz: float, outputs: Array, inputs: Array) -> Float[Array, "n"]:
    """By how much rounding may have moved the outputs of a head, about: that of its outputs and of its inputs."""
    eps = max(float(jnp.finfo(outputs.dtype).eps), float(jnp.finfo(widen(inputs).dtype).eps))
    lengths = example_lengths(widen(outputs)), example_lengths(widen(inputs))
    return 32 * eps * (lengths[0] + lipschitz * lengths[1].astype(lengths[0].dtype))


def largest_slope(changes: Array, moves: Array, used: Array, lipschitz: float | None) -> float:
    """The largest ratio of a change in outputs to that in inputs, at most the constant of the head; 0 without one."""
    change, move = (np.asarray(v, np.float64)[np.asarray(used) & (np.asarray(moves) > 0)] for v in (changes, moves))
    slope = float((change / move).max(initial=0.0))
    return slope if lipschitz is None else min(slope, lipschitz)
