"""Misalignment of two layers, and what a linear head makes of it, in one pass over data that do not fit in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxalign._core.checks import (
    as_array,
    check_floating,
    check_integer,
    check_matrix,
    check_pair,
    check_ridge,
    describe,
)
from jaxalign._core.jit import jit
from jaxalign._core.numerics import widen
from jaxalign._core.typing import Array, Bool, Float
from jaxalign.engines import running_moments
from jaxalign.engines.running_moments import RunningMoments
from jaxalign.streaming.moment_heads import head_risk
from jaxalign.streaming.moment_maps import MomentMap, moment_map
from jaxalign.streaming.residuals import MapResiduals, map_residuals
from jaxalign.streaming.result import MomentAlignment, StreamedMisalignment


@dataclass(frozen=True, eq=False)
class Misalignment:
    r"""Accumulates second moments of two layers, and of targets, and says what they determine.

    $$\Sigma_{ab} = \tfrac1n \textstyle\sum_i z_{a,i} z_{b,i}^\top, \qquad
      \min_S \tfrac1n \sum_i \|z_{1,i} S - z_{2,i}\|^2 = \operatorname{tr} \Sigma_{22} -
      \operatorname{tr} \Sigma_{21} \Sigma_{11}^+ \Sigma_{12}$$

    A state does not grow with the number of rows: about `2 (p + q + t)²` numbers. Blocks are centered by their own mean
    and merged in sums of two floats, so that 10⁶ rows in float32 are as exact as one block. It is not as exact as
    `least_squares` on rows: a misalignment is a difference of moments, and has digits down to about 1e-6 of the
    variance in float32 (1e-14 in float64) for sources of condition 1, fewer for others. Every result says where they
    end (`rounding`, `resolved`); `residuals` goes over the data once more and has no such limit.

    Tokens and pixels are rows, `(b t, p)`: what bounds take is then `t` times the value, the sum over an example.

    Args:
      penalties: ridges λ, at least 0, for which misalignment is given as well, in the square of the units of the
        source: of the mean of squares, as in `jaxalign.stitching.ridge`.
      w2: the kernel `(q, t)` of a linear head on `y`, for risks: it computes `y @ w2 + b2`.
      b2: its bias `(t,)`; 0 by default.

    Raises:
      ValueError: for a negative penalty, a kernel that is no matrix or holds NaN, or a bias that does not fit.
      TypeError: on anything that is no number or not floating point.

    Example:
      >>> x = jnp.array([[1., 0.], [0., 1.], [2., 1.], [-1., 1.], [0., -2.]])
      >>> y = jnp.array([[1., 1.], [0., 2.], [3., 1.], [-1., 0.], [0., -1.]])
      >>> accumulator = Misalignment(penalties=(0.1,))
      >>> state = accumulator.init(2, 2)
      >>> for rows in (slice(0, 2), slice(2, 5)):
      ...     state = accumulator.update(state, x[rows], y[rows])
      >>> result = accumulator.result(state)
      >>> round(result.cka, 4), round(result.affine.forward.value, 4)
      (0.7471, 0.4434)

    Reference:
      Insulla et al. (2025), arXiv:2502.14047, for misalignment and the risk under a linear head (Lemma 2, its condition
      corrected to the rank of the head); the merge of moments: Chan, Golub and LeVeque (1983); the estimate of rounding
      is derived for this project.
    """

    penalties: tuple[float, ...] = ()
    w2: Any = None
    b2: Any = None
    #: Names of the arrays of a batch, in order.
    inputs: ClassVar[tuple[str, ...]] = ("x", "y", "targets")

    def __post_init__(self) -> None:
        for penalty in self.penalties:
            check_ridge("Misalignment", penalty, argument="penalties")
        object.__setattr__(self, "penalties", tuple(float(penalty) for penalty in self.penalties))
        if self.w2 is None:
            if self.b2 is not None:
                raise ValueError("Misalignment: b2 needs the kernel w2 of its head, got None")
            return
        check_matrix("Misalignment", "w2", as_array("Misalignment", "w2", self.w2))
        w2 = np.asarray(self.w2)
        b2 = np.zeros(w2.shape[1]) if self.b2 is None else np.asarray(as_array("Misalignment", "b2", self.b2))
        if b2.shape != (w2.shape[1],):
            raise ValueError(f"Misalignment: b2 must have shape ({w2.shape[1]},), got {describe(b2)}")
        if not (np.isfinite(w2.astype(float)).all() and np.isfinite(b2.astype(float)).all()):
            raise ValueError("Misalignment: w2 and b2 must be finite")
        object.__setattr__(self, "w2", w2)
        object.__setattr__(self, "b2", b2.astype(np.float64))

    def init(self, p: int, q: int, t: int = 0, *, dtype: jax.typing.DTypeLike | None = None) -> RunningMoments:
        """The state of no rows.

        Args:
          p: features of `x`.
          q: features of `y`.
          t: columns of the targets; 0 for none.
          dtype: that sums are kept in; by default float64 where 64-bit types are on, else float32.
        """
        for argument, value, least in (("p", p, 1), ("q", q, 1), ("t", t, 0)):
            check_integer("Misalignment.init", argument, value, minimum=least)
        if self.w2 is not None:
            if self.w2.shape[0] != q:
                raise ValueError(f"Misalignment.init: q must be {self.w2.shape[0]}, the height of w2, got {q}")
            if t not in (0, self.w2.shape[1]):
                raise ValueError(f"Misalignment.init: t must be {self.w2.shape[1]}, the width of w2, got {t}")
        dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
        if dtype not in (jnp.float32, jnp.float64):
            raise ValueError(f"Misalignment.init: dtype must be float32 or float64, got {dtype}")
        return running_moments.init((p, q, t) if t else (p, q), dtype)

    def update(
        self,
        state: RunningMoments,
        x: Float[Array, "n p"],
        y: Float[Array, "n q"],
        targets: Float[Array, "n t"] | None = None,
        *,
        mask: Bool[Array, "n"] | None = None,
    ) -> RunningMoments:
        """The state with the rows of a batch added; may be called inside `jit` and `lax.scan`.

        Args:
          state: from `init`, `update` or `merge`.
          x: activations, `(n, p)`; any number of rows, which compiles once for each.
          y: activations, `(n, q)`, same examples in the same order.
          targets: `(n, t)`, floating point, if the state is for targets.
          mask: `(n,)`; `False` rows do not count and may hold any value.

        Raises:
          ValueError: on shapes that are not those of the state.
          TypeError: on non-floating input.
        """
        name = "Misalignment.update"
        _check_state(name, state)
        x, y = as_array(name, "x", x), as_array(name, "y", y)
        mask = None if mask is None else as_array(name, "mask", mask)
        check_pair(name, x, y, mask)
        layers = {"x": x, "y": y}
        if (targets is None) != (len(state.widths) == 2):
            wanted = "None, the state has no targets" if targets is not None else f"(n, {state.widths[2]})"
            raise ValueError(f"{name}: targets must be {wanted}; got {describe(targets)}")
        if targets is not None:
            layers["targets"] = as_array(name, "targets", targets)
            check_floating(name, "targets", layers["targets"])
            check_pair(name, x, layers["targets"], mask, other="targets")
        for (argument, layer), width in zip(layers.items(), state.widths, strict=True):
            if layer.shape[1] != width:
                raise ValueError(f"{name}: {argument} must have {width} columns, got {describe(layer)}")
        return _update(x, y, layers.get("targets"), state=state, mask=mask)

    def merge(self, a: RunningMoments, b: RunningMoments) -> RunningMoments:
        """The state of the rows of both; may be called inside `jit` and `lax.scan`."""
        _check_state("Misalignment.merge", a)
        _check_state("Misalignment.merge", b)
        if a.widths != b.widths:
            raise ValueError(f"Misalignment.merge: both states must have widths {a.widths}, got {b.widths}")
        return _merge(a, b)

    def merge_across(self, state: RunningMoments, *, axis_name: str) -> RunningMoments:
        """The state of the rows of all devices along a mesh axis, inside `jax.shard_map`; the same on each."""
        _check_state("Misalignment.merge_across", state)
        return running_moments.merge_across(state, axis_name)

    def result(self, state: RunningMoments) -> StreamedMisalignment:
        """What the rows so far say; on the host in float64, so not inside `jit`.

        Args:
          state: from `update` or `merge`.

        Returns:
          A `StreamedMisalignment` of Python numbers and NumPy arrays; NaN where no row came, and where a row of a layer
          held NaN or infinity.

        Raises:
          TypeError: inside `jit`.
        """
        _check_state("Misalignment.result", state)
        if isinstance(state.count.high, Tracer):
            raise TypeError("Misalignment.result: state must hold numbers, got traced values; call it outside of jit")
        eps = float(jnp.finfo(state.mean.high.dtype).eps)
        count, mean, second = (_exact(part) for part in (state.count, state.mean, state.second))
        examples = float(count)
        bad = np.repeat(~np.asarray(state.sound), state.widths) | (examples == 0)
        mean = np.where(bad, np.nan, mean)
        covariance = np.where(bad[:, None] | bad[None, :], np.nan, second) / max(examples, 1.0)
        sides = [self._side(state.widths, covariance, mean, examples, affine, eps) for affine in (False, True)]
        return StreamedMisalignment(examples, *sides)

    def _side(
        self,
        widths: tuple[int, ...],
        covariance: np.ndarray,
        mean: np.ndarray,
        examples: float,
        affine: bool,
        eps: float,
    ) -> MomentAlignment:
        """Everything about linear maps, or about affine ones."""
        one, two = slice(0, widths[0]), slice(widths[0], widths[0] + widths[1])
        moments = covariance if affine else covariance + np.outer(mean, mean)

        def between(source: slice, target: slice) -> MomentMap:
            return moment_map(
                moments[source, source],
                moments[source, target],
                moments[target, target],
                means=(mean[source], mean[target]),
                affine=affine,
                penalties=self.penalties,
                examples=examples,
                eps=eps,
            )

        forward, head = between(one, two), None
        if self.w2 is not None and len(widths) == 3:
            head = head_risk(
                covariance,
                mean,
                (widths[0], widths[1], widths[2]),
                self.w2,
                self.b2,
                affine=affine,
                to_layer=forward.kernel,
                eps=eps,
            )
        return MomentAlignment(forward, between(two, one), head)

    def residuals(self, result: StreamedMisalignment, batches: Iterable[Any]) -> MapResiduals:
        """Goes over the data once more: mean squared residuals of the maps of a result, without cancellation.

        Each is an upper bound of the misalignment of the rows it is taken over, and near it as far as moments gave the
        map the digits. On rows that were not in the first pass it is the error on held-out data.

        Args:
          result: of a first pass.
          batches: as for `stream`; targets are not used.

        Returns:
          A `MapResiduals`, with standard errors over rows.
        """
        maps = (result.linear.forward, result.linear.backward, result.affine.forward, result.affine.backward)
        return map_residuals(tuple(m.stitch() for m in maps), batches)


@jit()
def _update(
    x: Float[Array, "n p"],
    y: Float[Array, "n q"],
    targets: Float[Array, "n t"] | None = None,
    *,
    state: RunningMoments,
    mask: Bool[Array, "n"] | None = None,
) -> RunningMoments:
    layers = [x, y] if targets is None else [x, y, targets]
    return running_moments.update(state, [widen(layer) for layer in layers], mask)


_merge = jax.jit(running_moments.merge)


def _check_state(function: str, state: Any) -> None:
    """Raise unless it is a state of two layers, or of two layers and targets."""
    if not isinstance(state, RunningMoments) or len(state.widths) not in (2, 3):
        raise TypeError(f"{function}: state must come from Misalignment.init, got {describe(state)}")


def _exact(part: Any) -> np.ndarray:
    """Both floats of a sum as one of float64."""
    return np.asarray(part.high, np.float64) + np.asarray(part.low, np.float64)
