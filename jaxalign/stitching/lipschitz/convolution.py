"""The norm of a whole convolution as a map of feature maps, which its reshaped kernel does not have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import lax

from jaxalign._core.checks import check_choice, check_integer, describe
from jaxalign._core.typing import Array, Float, Scalar
from jaxalign.stitching.lipschitz.norms import (
    UNIT,
    binary_scaled,
    host_array,
    norm_of_stacks,
    product_up,
    root_up,
    round_up,
    sum_up,
    times_power,
)

PADDINGS = ("SAME", "SAME_LOWER", "VALID", "CIRCULAR", "REFLECT", "CAUSAL")
#: Frequencies that are looked at: at least so many, and more while their matrices are small.
FREQUENCIES = 512
WORK = 5e9
CHUNK_ENTRIES = 2**21  # of the matrices that are in memory together


@dataclass(frozen=True)
class Convolution:
    """A convolution with channels last, its settings one for each axis of the grid.

    Attributes:
      kernel: `(*sizes, channels in over groups, channels out)`, float64.
      strides: one for each axis.
      padding: a name, or what is added before and after on each axis.
      dilation: of the kernel, one for each axis.
      groups: of channels.
    """

    kernel: np.ndarray
    strides: tuple[int, ...]
    padding: str | tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def spans(self) -> tuple[int, ...]:
        """How far the dilated kernel reaches on each axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel.shape, self.dilation, strict=False))

    def pads(self, grid: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """What is added before and after on each axis; for a circular padding what is wrapped around."""
        if self.padding in ("CIRCULAR", "REFLECT"):
            return tuple(((span - 1) // 2, span // 2) for span in self.spans)
        if self.padding == "CAUSAL":
            return tuple((span - 1, 0) for span in self.spans)
        if isinstance(self.padding, str):
            return tuple(lax.padtype_to_pads(tuple(grid), self.spans, self.strides, self.padding))
        return self.padding

    def output_grid(self, grid: Sequence[int]) -> tuple[int, ...]:
        """The grid that goes out."""
        sizes = zip(grid, self.pads(grid), self.spans, self.strides, strict=True)
        return tuple(max((n + before + after - span) // s + 1, 0) for n, (before, after), span, s in sizes)


def convolution(
    function: str, kernel: Any, *, strides: Any = 1, padding: Any = "SAME", dilation: Any = 1, groups: int = 1
) -> Convolution:
    """A convolution of settings as Flax takes them.

    Raises:
      ValueError, TypeError: for settings that do not fit the kernel.
    """
    host = host_array(function, "kernel", kernel)
    if host.ndim < 3:
        raise ValueError(
            f"{function}: kernel must have shape (*sizes, channels in, channels out), got {describe(kernel)}"
        )
    axes = host.ndim - 2
    check_integer(function, "groups", groups, minimum=1)
    if host.shape[-1] % groups:
        raise ValueError(f"{function}: groups must divide the {host.shape[-1]} channels that go out, got {groups}")
    if isinstance(padding, str):
        check_choice(function, "padding", padding, PADDINGS)
    else:
        pairs = [padding] * axes if isinstance(padding, int) else list(padding)
        pairs = [(p, p) if isinstance(p, int) else tuple(p) for p in pairs]
        if len(pairs) != axes or any(len(p) != 2 for p in pairs):
            raise ValueError(f"{function}: padding must be a name, or a number or a pair for each axis, got {padding}")
        padding = tuple((int(before), int(after)) for before, after in pairs)
    return Convolution(
        host,
        _each(function, "strides", strides, axes),
        padding,
        _each(function, "dilation", dilation, axes),
        int(groups),
    )


def convolution_norm_bound(
    kernel: Float[Array, "*sizes c d"],
    *,
    grid: Sequence[int] | None = None,
    strides: int | Sequence[int] = 1,
    padding: str | int | Sequence[Any] = "SAME",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Scalar:
    r"""An upper bound of the operator norm of a convolution, as a map of whole feature maps.

    $$\|K\|_{op} \le \max_\omega \|\hat K(\omega)\|_{op}, \qquad
    \hat K(\omega) = \textstyle\sum_t K_t\, e^{-i t \omega}$$

    with the frequencies of the grid; equality for circular padding. A convolution with padding by zeros is part of a
    circular one on a larger grid. With a stride `s`, the `s` phases of the input are channels of a coarser grid,
    exact again for circular padding where the stride divides the grid. Groups are apart from each other. Without a
    grid, or where there are too many frequencies, `m` of them on each axis that has `q` taps, and a factor
    `1 / cos(pi (q - 1) / 2 m)` that covers those in between.

    Args:
      kernel: shape `(*sizes, channels in / groups, channels out)`, as in Flax; concrete, since it is read on the host.
      grid: the sizes of the feature maps that go in, `(h, w)` or `(t,)`; None for a bound over all grids.
      strides: one, or one for each axis.
      padding: "SAME", "SAME_LOWER", "VALID", "CIRCULAR", "REFLECT", "CAUSAL", or zeros to add, a number or a pair for
        each axis.
      dilation: of the kernel.
      groups: of channels.

    Returns:
      A scalar, 0 or more, float32 (float64 with 64-bit types on), rounded up; NaN unless the kernel is finite. For
      padding by zeros it is above the norm by some percent as a rule, less on larger grids. No gradient.

    Raises:
      ValueError: for settings that do not fit, a grid below the kernel, or "REFLECT" without a grid.
      TypeError: for what holds no floating numbers, and for traced values.

    Example:
      >>> import jax.numpy as jnp
      >>> mean = jnp.full((3, 3, 1, 1), 1 / 9)
      >>> round(float(convolution_norm_bound(mean, grid=(8, 8), padding="CIRCULAR")), 4)
      1.0

    Reference:
      Sedghi, Gupta and Long (2019), arXiv:1805.10408, for circular padding; parts of matrices and phases are standard;
      between frequencies: derived for this project from Duffin and Schaeffer (1938), as Ehlich and Zeller (1964) do
      for polynomials.
    """
    name = "convolution_norm_bound"
    conv = convolution(name, kernel, strides=strides, padding=padding, dilation=dilation, groups=groups)
    if grid is not None:
        grid = _each(name, "grid", grid, conv.kernel.ndim - 2)
    return round_up(norm_of_convolution(name, conv, grid)[0])


def norm_of_convolution(function: str, conv: Convolution, grid: Sequence[int] | None) -> tuple[float, bool, str]:
    """The bound, whether it is exact, and a note.

    Raises:
      ValueError: for a grid below the kernel, or a reflection without a grid.
    """
    if grid is not None and 0 in conv.output_grid(grid):
        raise ValueError(f"{function}: a grid of {tuple(grid)} is below the kernel, which reaches over {conv.spans}")
    scaled, exponent = binary_scaled(conv.kernel)
    if scaled is None:
        return math.nan, False, "weights are not finite"
    if conv.padding == "REFLECT":
        if grid is None:
            raise ValueError(f"{function}: a convolution that reflects needs the grid; pass input_shape")
        larger = tuple(n + sum(p) for n, p in zip(grid, conv.pads(grid), strict=True))
        inner = Convolution(conv.kernel, conv.strides, "VALID", conv.dilation, conv.groups)
        copies = math.prod(
            int(np.max(np.bincount(np.pad(np.arange(n), pads, mode="reflect"))))  # of the most frequent entry
            for n, pads in zip(grid, conv.pads(grid), strict=True)
        )
        norm = norm_of_convolution(function, inner, larger)[0]
        return product_up(norm, root_up(copies)), False, "reflected rows count twice or more"

    axes = [_axis(conv, axis, grid) for axis in range(conv.kernel.ndim - 2)]
    poly = _phases_as_channels(scaled, conv, axes)
    taps, (_, rows, columns) = poly.shape[: len(axes)], poly.shape[len(axes) :]
    most = max(FREQUENCIES, int(WORK / min(rows, columns) ** 3))
    counts, factor = _frequency_counts([a.coarse for a in axes], taps, most)
    # Rounding of the transfer matrices: of the phases, and of as many products as there are taps.
    sizes = np.sqrt(np.sum(poly**2, axis=(-1, -2))).reshape(-1, conv.groups).sum(axis=0).max()
    rounding = 4 * UNIT * (math.prod(taps) + 2 * len(taps) + 4) * float(sizes) * 1.001
    norm = sum_up(norm_of_stacks(_transfer_matrices(poly, counts)), rounding)
    value = times_power(product_up(norm, factor), exponent)
    if factor > 1:
        return value, False, f"all frequencies, from {' x '.join(map(str, counts))} of them"
    reasons = [a.reason for a in axes if a.reason]
    return value, not reasons, reasons[0] if reasons else ""


@dataclass(frozen=True)
class _Axis:
    """One axis as a circular convolution: its stride, the size of the coarse grid, and why it is no equality."""

    stride: int
    coarse: int | None
    reason: str


def _axis(conv: Convolution, axis: int, grid: Sequence[int] | None) -> _Axis:
    stride, span = conv.strides[axis], conv.spans[axis]
    if conv.padding == "CIRCULAR":
        if span == 1 and grid is None and stride == 1:
            return _Axis(1, 1, "")
        if grid is None or grid[axis] % stride:
            reason = "stride not counted" if stride > 1 else "all grids"
            return _Axis(1, None if grid is None else grid[axis], reason)
        return _Axis(stride, grid[axis] // stride, "")
    if grid is None:
        unpadded = conv.padding == "VALID" if isinstance(conv.padding, str) else conv.padding[axis] == (0, 0)
        apart = span <= stride and (span == 1 or unpadded)
        return _Axis(stride, 1 if span <= stride else None, "" if apart else "all grids")
    n, (before, after) = grid[axis], conv.pads(grid)[axis]
    # No output and input may meet around the edge that do not meet otherwise, and no two outputs may be the same.
    size = max(n + max(before, after, 0), conv.output_grid(grid)[axis] * stride)
    coarse = -(-size // stride)
    apart = span <= stride and max(before, after) <= 0
    return _Axis(stride, 1 if span <= stride else coarse, "" if apart else "as if circular on a larger grid")


def _phases_as_channels(kernel: np.ndarray, conv: Convolution, axes: list[_Axis]) -> np.ndarray:
    """`(*taps, groups, phases * channels in, channels out)` of a convolution of stride 1 on the coarse grid."""
    sizes, (channels, outputs) = kernel.shape[:-2], kernel.shape[-2:]
    strides = [a.stride for a in axes]
    places = [[divmod(t * d, s) for t in range(k)] for k, d, s in zip(sizes, conv.dilation, strides, strict=True)]
    taps = [max(q for q, _ in place) + 1 for place in places]
    group = outputs // conv.groups
    poly = np.zeros((*taps, *strides, conv.groups, channels, group))
    for t in np.ndindex(*sizes):
        where = [place[i] for place, i in zip(places, t, strict=True)]
        block = kernel[t].reshape(channels, conv.groups, group).transpose(1, 0, 2)
        poly[(*(q for q, _ in where), *(r for _, r in where))] = block
    poly = np.moveaxis(poly, -3, len(taps))  # groups before the phases
    return poly.reshape(*taps, conv.groups, math.prod(strides) * channels, group)


def _frequency_counts(coarse: Sequence[int | None], taps: Sequence[int], most: int) -> tuple[tuple[int, ...], float]:
    """How many frequencies to take on each axis, and the factor that covers those in between.

    A function of exponential type `(q - 1) / 2` with maximum 1 at some point is at least the cosine of that times the
    distance, near it; the next of `m` frequencies is not farther than `pi / m`.
    """
    wide = [q > 1 for q in taps]
    share = int((2 * most) ** (1 / max(sum(wide), 1)))
    known = [1 if not w else n for n, w in zip(coarse, wide, strict=True)]
    if all(n is not None for n in known) and math.prod(n or 1 for n in known) <= 2 * most:
        return tuple(n or 1 for n in known), 1.0
    counts, factor = [], 1.0
    for n, q in zip(known, taps, strict=True):
        m = max(min(share, 32 * q), 4 * q)
        if n is not None and n <= m:
            counts.append(n)
        else:
            counts.append(m)
            factor = product_up(factor, (1 + 1e-14) / math.cos(math.pi * (q - 1) / (2 * m)))
    return tuple(counts), factor


def _transfer_matrices(poly: np.ndarray, counts: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The matrices at all frequencies but complex conjugates, in stacks; groups are apart."""
    taps = poly.shape[: len(counts)]
    rows, columns = poly.shape[-2:]
    flat = poly.reshape(math.prod(taps), -1)
    if all(m == 1 for m in counts):
        yield np.sum(flat, axis=0).reshape(-1, rows, columns)
        return
    # exp(-2 pi i k q / m), from whole numbers below m.
    phases = [
        np.exp(-2j * np.pi * ((np.arange(m)[:, None] * np.arange(q)[None, :]) % m) / m)
        for m, q in zip(counts, taps, strict=True)
    ]
    half = (*counts[:-1], counts[-1] // 2 + 1)
    total, length = math.prod(half), max(1, CHUNK_ENTRIES // max(flat.shape[1], flat.shape[0]))
    spread = np.linspace(0, total - 1, min(total, 8)).astype(int)  # a good level first saves work later
    for chosen in [spread, *(np.arange(i, min(i + length, total)) for i in range(0, total, length))]:
        at = np.ones((len(chosen), 1), complex)
        for k, phase in zip(np.unravel_index(chosen, half), phases, strict=True):
            at = (at[:, :, None] * phase[k][:, None, :]).reshape(len(chosen), -1)
        yield (at @ flat).reshape(-1, rows, columns)


def _each(function: str, argument: str, value: Any, axes: int) -> tuple[int, ...]:
    """One integer for each axis."""
    value = 1 if value is None else value
    values = [value] * axes if isinstance(value, (int, np.integer)) else list(value)
    if len(values) != axes:
        raise ValueError(f"{function}: {argument} must be one number, or {axes}, one for each axis, got {value}")
    for one in values:
        check_integer(function, argument, one, minimum=1)
    return tuple(int(one) for one in values)
