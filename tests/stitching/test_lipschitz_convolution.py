"""Norms of convolutions against the matrix that Flax's own convolution has."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxalign.stitching.lipschitz import convolution as module
from jaxalign.stitching.lipschitz import convolution_norm_bound, lipschitz_bound
from jaxalign.stitching.lipschitz.convolution import convolution, norm_of_convolution

RNG = np.random.default_rng(0)


def flax_conv(kernel, *, strides=1, padding="SAME", dilation=1, groups=1):
    channels = kernel.shape[-2] * groups
    conv = nnx.Conv(
        channels,
        kernel.shape[-1],
        kernel.shape[:-2],
        strides=strides,
        padding=padding,
        kernel_dilation=dilation,
        feature_group_count=groups,
        param_dtype=kernel.dtype,
        rngs=nnx.Rngs(0),
    )
    conv.kernel = nnx.Param(jnp.asarray(kernel))
    return conv


def matrix_of(conv, grid):
    shape = (*grid, conv.in_features)
    basis = np.eye(np.prod(shape)).reshape(-1, *shape).astype(conv.kernel[...].dtype)
    return np.asarray(conv(jnp.asarray(basis))).reshape(len(basis), -1).T


def check(kernel, grid, **settings):
    """Not below the matrix's norm, with and without the grid, and equal where it says so."""
    norm = np.linalg.norm(matrix_of(flax_conv(kernel, **settings), grid), 2)
    bound, exact, _ = norm_of_convolution("test", convolution("test", kernel, **settings), grid)
    assert bound >= norm
    if exact:
        np.testing.assert_allclose(bound, norm, rtol=1e-10)
    if settings.get("padding") != "REFLECT":
        assert float(convolution_norm_bound(kernel, **settings)) >= norm * (1 - 1e-12)
    return bound / norm, exact


GRIDS = [((6,), (3,)), ((5,), (2,)), ((4, 3), (3, 2)), ((3, 3), (5, 3))]
PADDINGS = ["SAME", "VALID", "CIRCULAR", "REFLECT", "CAUSAL", [(0, 2)], [(3, 1)]]


def cases(grids, paddings, strides, dilations, groups):
    for grid, size in grids:
        for padding in paddings:
            padding = padding * len(grid) if isinstance(padding, list) else padding
            for s in strides:
                for d in dilations:
                    if (padding == "CAUSAL" and len(grid) > 1) or (
                        padding == "VALID" and any((k - 1) * d >= n for k, n in zip(size, grid, strict=True))
                    ):
                        continue
                    for g in groups:
                        kernel = RNG.standard_normal((*size, 2 // g, 4))
                        yield kernel, grid, {"strides": s, "padding": padding, "dilation": d, "groups": g}


def test_not_below_the_matrix(float64):
    looseness = {}
    few = [*cases(GRIDS[:1], PADDINGS, [1], [1], [1]), *cases([GRIDS[2]], PADDINGS[:4], [2], [1], [2])]
    for kernel, grid, settings in few:
        ratio, exact = check(kernel, grid, **settings)
        looseness.setdefault(str(settings["padding"]), []).append(ratio)
        # Exact where it ought to be.
        if settings["padding"] == "CIRCULAR" and all(n % settings["strides"] == 0 for n in grid):
            assert exact
    assert np.median(looseness["SAME"]) < 1.5


@pytest.mark.slow
def test_not_below_the_matrix_of_any_settings(float64):
    checked = 0
    for kernel, grid, settings in cases(GRIDS, PADDINGS, [1, 2, 3], [1, 2], [1, 2]):
        if 0 not in convolution("test", kernel, **settings).output_grid(grid):
            check(kernel, grid, **settings)
            checked += 1
    assert checked > 100


def test_the_reshaped_kernel_does_not_bound(float64):
    """What is often taken for the norm is below it."""
    kernel = np.ones((3, 3, 1, 1)) / 9
    norm = np.linalg.norm(matrix_of(flax_conv(kernel, padding="CIRCULAR"), (5, 5)), 2)
    assert np.linalg.norm(kernel.reshape(9, 1), 2) < 0.4 < norm
    np.testing.assert_allclose(convolution_norm_bound(kernel, grid=(5, 5), padding="CIRCULAR"), 1, rtol=1e-12)


@pytest.mark.parametrize("grid", [(2,), (3,), (2, 3)])
def test_zeros_are_not_wrapped_around(float64, grid):
    """On the grid itself, taken as a circle, these differences are 0 or smaller than with padding by zeros."""
    line = np.array([1.0, 0, -1])
    kernel = line.reshape(3, 1, 1) if len(grid) == 1 else np.multiply.outer(line, line).reshape(3, 3, 1, 1)
    assert check(kernel, grid)[0] < 3
    assert float(convolution_norm_bound(kernel, grid=(2,) * len(grid), padding="CIRCULAR")) < 1e-12


def test_patches_are_exact(float64):
    kernel = RNG.standard_normal((2, 2, 3, 5))
    ratio, exact = check(kernel, (4, 4), strides=2, padding="VALID")
    assert exact
    assert ratio < 1 + 1e-10
    np.testing.assert_allclose(
        convolution_norm_bound(kernel, strides=2, padding="VALID"), np.linalg.norm(kernel.reshape(-1, 5), 2), rtol=1e-10
    )


def test_one_by_one_is_its_matrix(x64):
    kernel = RNG.standard_normal((1, 1, 4, 6))
    for grid in (None, (5, 7)):
        np.testing.assert_allclose(
            float(convolution_norm_bound(kernel, grid=grid)),
            np.linalg.norm(kernel[0, 0], 2),
            rtol=1e-10 if x64 else 2e-7,
        )


def test_depthwise(float64):
    kernel = RNG.standard_normal((3, 1, 4))
    ratio, exact = check(kernel, (6,), groups=4, padding="CIRCULAR")
    assert exact
    assert ratio < 1 + 1e-10


def test_few_frequencies_cover_all(float64, monkeypatch):
    """The factor for what lies between: without it, the bound would be below."""
    monkeypatch.setattr(module, "FREQUENCIES", 8)
    monkeypatch.setattr(module, "WORK", 0)
    for q in (2, 3, 5):
        for _ in range(20):
            kernel = RNG.standard_normal((q, 2, 2))
            transfer = np.einsum(
                "wt,tij->wij", np.exp(-2j * np.pi * np.outer(np.arange(997), np.arange(q)) / 997), kernel
            )
            sup = np.linalg.norm(transfer, 2, axis=(1, 2)).max()
            assert sup <= float(convolution_norm_bound(kernel, grid=(997,), padding="CIRCULAR")) <= 1.2 * sup
    monkeypatch.setattr(module, "product_up", lambda norm, factor: norm)
    low = [
        norm_of_convolution("t", convolution("t", k, padding="CIRCULAR"), (997,))[0]
        < np.linalg.norm(
            np.einsum("wt,tij->wij", np.exp(-2j * np.pi * np.outer(np.arange(997), np.arange(3)) / 997), k),
            2,
            axis=(1, 2),
        ).max()
        for k in RNG.standard_normal((20, 3, 2, 2))
    ]
    assert any(low)


def test_scale_and_degenerate(x64):
    kernel = RNG.standard_normal((3, 2, 2)).astype(np.float32)
    base = float(convolution_norm_bound(kernel, grid=(8,)))
    for scale in (2.0**-70, 2.0**60):
        np.testing.assert_allclose(
            float(convolution_norm_bound(kernel * np.float32(scale), grid=(8,))), base * scale, rtol=1e-6
        )
    assert float(convolution_norm_bound(np.zeros((3, 2, 2)), grid=(8,))) == 0
    assert np.isnan(float(convolution_norm_bound(np.full((3, 2, 2), np.inf), grid=(8,))))


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"padding": "SAM"}, ValueError, "padding must be one of"),
        ({"padding": [(1, 1), (1, 1)]}, ValueError, "padding"),
        ({"grid": (2,), "padding": "VALID"}, ValueError, "below the kernel"),
        ({"grid": (2, 2)}, ValueError, "grid must be one number"),
        ({"strides": 0}, ValueError, "strides must be at least 1"),
        ({"groups": 3}, ValueError, "groups must divide"),
        ({"padding": "REFLECT"}, ValueError, "needs the grid"),
    ],
)
def test_mistakes(settings, error, match):
    with pytest.raises(error, match=match):
        convolution_norm_bound(np.ones((3, 1, 2)), **settings)


def test_of_layers(float64):
    """Of a module with its grid; masked kernels; dilated inputs are refused."""
    conv = flax_conv(RNG.standard_normal((3, 2, 3, 4)), strides=2)
    bound = lipschitz_bound(conv, input_shape=(4, 4, 3))
    assert np.linalg.norm(matrix_of(conv, (4, 4)), 2) <= float(bound) <= float(lipschitz_bound(conv)) * 1.2
    conv.mask = nnx.data(jnp.zeros((3, 2, 3, 4)))
    assert float(lipschitz_bound(conv)) == 0
    conv.input_dilation = 2
    with pytest.raises(TypeError, match="dilated input"):
        lipschitz_bound(conv)
