"""The bound on stitching risk, from three numbers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxalign._core.checks import describe
from jaxalign._core.numerics import safe_sqrt
from jaxalign._core.typing import Array, Float


def stitching_bound(
    risk: Float[Array, "*shape"] | float,
    lipschitz: Float[Array, "*shape"] | float,
    misalignment: Float[Array, "*shape"] | float,
    *,
    loss_lipschitz: Float[Array, "*shape"] | float | None = None,
) -> Float[Array, "*shape"]:
    r"""What stitching costs at most: the risk of the target model, and what its head makes of the misalignment.

    $$R_{st} \le \big(\sqrt{R_2} + \kappa \sqrt{\tilde A}\big)^2 \text{ for the squared loss}, \qquad
      R_{st} \le R_2 + L \kappa \sqrt{\tilde A} \text{ for a loss of Lipschitz constant } L$$

    Args:
      risk: R₂, mean loss of the target model with its own layer, at least 0 for the squared loss.
      lipschitz: κ, a Lipschitz constant of its head; `lipschitz_bound` has it.
      misalignment: Ã, in the square of the units of the layer that the head reads: of everything an example has there.
      loss_lipschitz: L; None for the squared loss. √2 for cross-entropy.

    Returns:
      An upper bound on the risk of the stitched model, and so of the best one, of the broadcast shape of all; NaN where
      one of them is negative.

    Raises:
      TypeError: for what is no number.

    Example:
      >>> bounds = stitching_bound(0.25, jnp.array([4., 2., 1.]), jnp.array([0.01, 0.09, 0.25]))
      >>> [round(float(bound), 4) for bound in bounds]
      [0.81, 1.21, 1.0]

    Reference:
      Theorem 1 of Insulla et al. (2025), arXiv:2502.14047; for Lipschitz losses derived for this project.
    """
    # Results of `lipschitz_bound`, `stitching_error` and `misalignment` stand for their values.
    given = {
        name: getattr(value, "value", value)
        for name, value in (("risk", risk), ("lipschitz", lipschitz), ("misalignment", misalignment))
    }
    if loss_lipschitz is not None:
        given["loss_lipschitz"] = loss_lipschitz
    for argument, value in given.items():
        if isinstance(value, bool) or not (isinstance(value, (int, float)) or hasattr(value, "dtype")):
            raise TypeError(f"stitching_bound: {argument} must be a number or an array, got {describe(value)}")
    values: dict[str, Any] = dict(zip(given, jnp.broadcast_arrays(*map(jnp.asarray, given.values())), strict=True))
    reach = values["lipschitz"] * safe_sqrt(values["misalignment"])
    if loss_lipschitz is None:
        bound = (safe_sqrt(values["risk"]) + reach) ** 2
    else:
        bound = values["risk"] + values["loss_lipschitz"] * reach
    negative = (values["lipschitz"] < 0) | (values["misalignment"] < 0)
    if loss_lipschitz is None:
        negative = negative | (values["risk"] < 0)
    return jnp.where(negative, jnp.nan, bound)
