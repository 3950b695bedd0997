"""Bounds for every place where two networks can be cut, and what they say of the risks of both."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, check_choice, describe
from jaxalign._core.least_squares import decompose
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.signatures.whitened import UninformativeWarning
from jaxalign.stitching.certificates.misalignment import rows_per_example
from jaxalign.stitching.regression import column_units
from jaxalign.stitching.rows import check_layers, paired_rows

FUNCTION = "layer_certificates"


@dataclass(frozen=True, eq=False)
class LayerCertificates:
    """Bounds on the squared risk of stitched models, cut after each layer of either; printed as a table.

    Attributes:
      names_1: layers of the model to go on from, from the input to the output.
      names_2: layers of the model whose head is used.
      misalignment: `(L1, L2)`, of each layer of model 2 from each of model 1.
      bounds: `(L1, L2)`, theorem 1 for each pair: the risk of model 1 up to the one, model 2 from the other on.
      overfit: `(L1, L2)`, whether there are fewer than two rows for a degree of freedom: such bounds say nothing of
        other examples.
      paired: pairs of positions at the same distance from the output, from the input on.
      risk: of model 2.
      lipschitz: κ of everything after each layer of model 2.
      difference: a bound on the difference of the least risks of both classes of models, from the pairs; NaN unless
        risk and constants of both are known. Conditional: see `conditional`.
      root_difference: the same of the difference of the roots of the risks.
    """

    names_1: tuple[str, ...]
    names_2: tuple[str, ...]
    misalignment: np.ndarray
    bounds: np.ndarray
    overfit: np.ndarray
    paired: tuple[tuple[int, int], ...]
    risk: float
    lipschitz: tuple[float, ...]
    difference: float
    root_difference: float

    #: What has to hold for `difference` and `root_difference`, and is not checked.
    conditional = (
        "holds for the least risks of two classes of models, each of which holds the stitched models of the other; "
        "the measured risks of two trained networks need not obey it"
    )

    @property
    def best(self) -> tuple[str, str, float]:
        """The cut of the least bound, of those with rows enough: layer of model 1, layer of model 2, bound."""
        return self._least([(i, j) for i in range(len(self.names_1)) for j in range(len(self.names_2))])

    @property
    def best_paired(self) -> tuple[str, str, float]:
        """The same among pairs at one distance from the output."""
        return self._least(self.paired)

    @property
    def excess(self) -> float:
        """By how much the stitched model of `best_paired` can be worse than model 2."""
        return self.best_paired[2] - self.risk

    def _least(self, pairs: Sequence[tuple[int, int]]) -> tuple[str, str, float]:
        known = [(i, j) for i, j in pairs if not (math.isnan(self.bounds[i, j]) or self.overfit[i, j])]
        if not known:
            return "", "", math.nan
        i, j = min(known, key=lambda pair: self.bounds[pair])
        return self.names_1[i], self.names_2[j], float(self.bounds[i, j])

    def __str__(self) -> str:
        columns = [f"{name} (κ {kappa:.3g})" for name, kappa in zip(self.names_2, self.lipschitz, strict=True)]
        width = max(map(len, self.names_1))
        lines = [" " * width + "  " + "  ".join(columns)]
        for i, name in enumerate(self.names_1):
            cells = []
            for j, column in enumerate(columns):
                mark = "!" if self.overfit[i, j] else "*" if (i, j) in self.paired else " "
                cells.append(f"{self.bounds[i, j]:.4g}{mark}".rjust(len(column)))
            lines.append(f"{name:<{width}}  " + "  ".join(cells))
        one, other, bound = self.best
        lines += [
            "",
            f"* same distance from the output; least bound {bound:.4g}: {one} -> {other}; risk {self.risk:.4g}",
        ]
        if not math.isnan(self.difference):
            lines.append(f"least risks differ by at most {self.difference:.4g} (conditional)")
        return "\n".join(lines)


def layer_certificates(
    layers_1: Sequence[Float[Array, "n *axes _p"]] | Mapping[str, Float[Array, "n *axes _p"]],
    layers_2: Sequence[Float[Array, "n *axes _q"]] | Mapping[str, Float[Array, "n *axes _q"]],
    *,
    risk: float,
    lipschitz: Sequence[Any],
    risk_1: float | None = None,
    lipschitz_1: Sequence[Any] | None = None,
    stitcher: str = "affine",
    mask: Bool[Array, "n"] | None = None,
) -> LayerCertificates:
    r"""What it can cost at most to cut two networks after any two layers, and to go from one into the other.

    $$R \le \big(\sqrt{R_2} + \kappa_j \sqrt{\tilde A_{ij}}\big)^2, \qquad
      |\sqrt{R_1^*} - \sqrt{R_2^*}| \le \max\big(\min_j \kappa_{2j} \sqrt{\tilde A_{2j}},
      \min_j \kappa_{1j} \sqrt{\tilde A_{1j}}\big)$$

    Args:
      layers_1: activations of the model to go on from, from the input to the output, all of the same examples; by
        name, or in a list. Rows, tokens or feature maps.
      layers_2: those of the model whose head is used.
      risk: R₂, mean squared error of model 2.
      lipschitz: for each layer of model 2 the Lipschitz constant of everything after it: numbers, or what
        `lipschitz_bound` returns.
      risk_1: that of model 1, for the difference of the risks.
      lipschitz_1: constants of model 1, likewise.
      stitcher: `"affine"`, or `"linear"` for maps without a bias.
      mask: shape `(n,)`; examples with `False` may hold any value.

    Returns:
      A `LayerCertificates`. Maps are least squares, on these examples: with fewer than two rows a feature (`overfit`)
      bounds say little of others, and with fewer rows than features nothing. Bounds of pairs that cannot be
      stitched, tokens into
      feature maps, are NaN. One decomposition serves all pairs of a layer of model 1. Not for use inside `jit`.

    Raises:
      ValueError: for no layers, other numbers of examples, constants that are not one for each layer, negative risks,
        one of `risk_1` and `lipschitz_1` without the other.
      TypeError: on non-floating input.

    Warns:
      UninformativeWarning: for layers of model 1 with fewer than two rows a degree of freedom.

    Example:
      >>> z = jnp.array([[1., 0.], [-1., 0.], [0., 1.], [0., -1.], [1., 1.], [-1., -1.]])
      >>> result = layer_certificates([z, z[:, :1]], [2 * z, z[:, 1:]], risk=0.25, lipschitz=[3.0, 1.0])
      >>> result.bounds.round(3).tolist(), result.paired
      ([[0.25, 0.25], [22.493, 1.457]], ((0, 0), (1, 1)))

    Reference:
      Theorem 1 and remark 6 of Insulla et al. (2025), arXiv:2502.14047, the latter corrected; the form with roots was
      derived for this project.
    """
    check_choice(FUNCTION, "stitcher", stitcher, ("affine", "linear"))
    names_1, ones = _named("layers_1", layers_1)
    names_2, others = _named("layers_2", layers_2)
    for other in (*ones[1:], *others):
        if other.ndim == 0 or other.shape[0] != ones[0].shape[0]:
            raise ValueError(
                f"{FUNCTION}: all layers must hold the same examples, {ones[0].shape[0]}, got shape {other.shape}"
            )
    mask = None if mask is None else as_array(FUNCTION, "mask", mask)
    kappas = _constants("lipschitz", lipschitz, names_2)
    if (risk_1 is None) != (lipschitz_1 is None):
        raise ValueError(f"{FUNCTION}: risk_1 and lipschitz_1 go together; give both, or neither")
    for argument, value in (("risk", risk), ("risk_1", risk_1)):
        if value is not None and not float(value) >= 0:
            raise ValueError(f"{FUNCTION}: {argument} must be at least 0, got {value}")

    misaligned, overfit = _misalignments(ones, others, center=stitcher == "affine", mask=mask)
    if overfit.any():
        few = ", ".join(name for name, row in zip(names_1, overfit, strict=True) if row.any())
        warnings.warn(
            f"{FUNCTION}: fewer than two rows for a degree of freedom of {few}; such cuts are never the best ones",
            UninformativeWarning,
            stacklevel=2,
        )
    reach = np.asarray(kappas)[None, :] * np.sqrt(misaligned)
    shortest = min(len(ones), len(others))
    paired = tuple((len(ones) - k, len(others) - k) for k in range(shortest, 0, -1))
    difference = root_difference = math.nan
    if risk_1 is not None and lipschitz_1 is not None:
        kappas_1 = _constants("lipschitz_1", lipschitz_1, names_1)
        back, _ = _misalignments(others, ones, center=stitcher == "affine", mask=mask)
        # Of pairs that cannot be stitched nothing follows; without any the difference is not bounded.
        into_2 = min((reach[pair] for pair in paired if reach[pair] == reach[pair]), default=math.inf)
        reach_1 = [kappas_1[i] * math.sqrt(back[j, i]) for i, j in paired]
        into_1 = min((value for value in reach_1 if value == value), default=math.inf)
        root_difference = float(max(into_1, into_2))
        difference = float(max(into_1**2 + 2 * into_1 * math.sqrt(risk_1), into_2**2 + 2 * into_2 * math.sqrt(risk)))
    return LayerCertificates(
        names_1=names_1,
        names_2=names_2,
        misalignment=misaligned,
        bounds=(math.sqrt(risk) + reach) ** 2,
        overfit=overfit,
        paired=paired,
        risk=float(risk),
        lipschitz=kappas,
        difference=difference,
        root_difference=root_difference,
    )


def _named(argument: str, layers: Any) -> tuple[tuple[str, ...], list[Array]]:
    """Layers and their names; `layer 0` and so on where they have none."""
    names = tuple(map(str, layers)) if isinstance(layers, Mapping) else None
    values = list(layers.values()) if isinstance(layers, Mapping) else list(layers)
    if not values:
        raise ValueError(f"{FUNCTION}: {argument} must hold at least one layer, got none")
    arrays = [as_array(FUNCTION, f"{argument}[{i}]", value) for i, value in enumerate(values)]
    for i, array in enumerate(arrays):
        check_layers(FUNCTION, array, array, names=(f"{argument}[{i}]", "itself"))
    return names or tuple(f"layer {i}" for i in range(len(values))), arrays


def _constants(argument: str, values: Any, names: tuple[str, ...]) -> tuple[float, ...]:
    """One number for each layer, at least 0."""
    if not isinstance(values, Sequence) and not hasattr(values, "__len__"):
        raise TypeError(f"{FUNCTION}: {argument} must hold one number for each layer, got {describe(values)}")
    numbers = tuple(float(value) for value in values)
    if len(numbers) != len(names) or not all(number >= 0 for number in numbers):
        raise ValueError(
            f"{FUNCTION}: {argument} must be a number of at least 0 for each of the {len(names)} layers, got {numbers}"
        )
    return numbers


def _misalignments(
    sources: list[Array], targets: list[Array], *, center: bool, mask: Array | None
) -> tuple[np.ndarray, np.ndarray]:
    """Those of all pairs, of examples, and which have too few rows; NaN for layers that cannot be stitched."""
    values = np.full((len(sources), len(targets)), math.nan)
    overfit = np.zeros(values.shape, bool)
    for i, source in enumerate(sources):
        groups: dict[tuple[int, ...], list[int]] = {}
        for j, target in enumerate(targets):
            if target.ndim == source.ndim and (target.ndim != 3 or target.shape[1] == source.shape[1]):
                groups.setdefault(target.shape[:-1], []).append(j)
        for members in groups.values():
            found, few = _errors(source, tuple(targets[j] for j in members), mask, center=center)
            values[i, members], overfit[i, members] = found, few
    return values, overfit


@partial(jax.jit, static_argnames=("center",))
def _errors(
    source: Array, targets: tuple[Array, ...], mask: Array | None, *, center: bool
) -> tuple[Float[Array, "m"], Bool[Array, ""]]:
    """What least squares leave of layers on the same rows, from one decomposition; and whether these are too few."""
    pairs = [paired_rows(FUNCTION, source, y, affine=center, mask=mask, weights=None)[0] for y in targets]
    x = pairs[0].x
    parts = decompose(x * column_units(x))
    left = [jnp.sum(parts.apart(rows.y)[1] ** 2) / rows.y_unit**2 for rows in pairs]
    freedom = (parts.rank + (1 if center else 0)).astype(x.dtype)
    factor = rows_per_example(pairs[0].shares.reshape(targets[0].shape[:-1]))
    return factor * jnp.stack(left), freedom > 0.5 * pairs[0].examples
