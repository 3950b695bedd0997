"""Aligned cosine: definition, ReSi's values, masks, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from scipy.linalg import orthogonal_procrustes
from scipy.optimize import linear_sum_assignment

from jaxalign.alignment.aligned_cosine import aligned_cosine
from jaxalign.measures.shape import aligned_cosine as measure

ALIGNMENTS = ("orthogonal", "permutation")
X, Y = CASES["A"]


def definition(x, y, alignment):
    """Rows of zero-padded inputs after scipy's alignment."""
    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(z, ((0, 0), (0, width - z.shape[1]))) for z in (x, y))
    if alignment == "orthogonal":
        x = x @ orthogonal_procrustes(x, y)[0]
    else:
        rows, columns = linear_sum_assignment(-x.T @ y)
        x = x[:, rows[np.argsort(columns)]]
    return np.mean(np.sum(x * y, axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1))


@jax.jit
def everything(x, y, mask=None):
    return {alignment: aligned_cosine(x, y, alignment=alignment, mask=mask) for alignment in ALIGNMENTS}


@pytest.mark.parametrize("swap", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_values_equal_the_definition(x64, swap):
    x, y = (Y, X) if swap else (X, Y)
    for alignment, value in everything(jnp.asarray(x, float), jnp.asarray(y, float)).items():
        assert float(value) == pytest.approx(definition(x, y, alignment), rel=1e-10 if x64 else 5e-6), alignment


@pytest.mark.parametrize(
    ("case", "value"),
    [
        ("A", 0.6896430350424063),
        pytest.param("B", 0.9193443932622994, marks=pytest.mark.slow),
        pytest.param("D", 0.726605072321607, marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("float64")
def test_values_of_resi(case, value):
    assert float(everything(*CASES[case])["orthogonal"]) == pytest.approx(value, rel=1e-10)


def test_what_alignment_undoes():
    x = X.astype(np.float32)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((24, 24)))[0].astype(np.float32)
    turned = 3 * np.pad(x, ((0, 0), (0, 8))) @ turn
    assert float(everything(x, turned)["orthogonal"]) == pytest.approx(1, abs=1e-6)
    for value in everything(x, np.pad(x[:, ::-1], ((0, 0), (5, 3)))).values():
        assert float(value) == pytest.approx(1, abs=1e-6)
    # Nothing is taken off: a shift is seen.
    assert float(everything(x, turned + 9)["orthogonal"]) < 0.9


def test_masked_rows_do_not_count():
    mask = np.arange(64) % 4 != 1
    x, y = (v.astype(np.float32) for v in (X, Y))
    found = everything(*(np.where(mask[:, None], v, np.float32(np.nan)) for v in (x, y)), mask)
    for alignment, value in found.items():
        assert float(value) == pytest.approx(definition(X[mask], Y[mask], alignment), rel=1e-5), alignment


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    inputs = (X[:20, :4], Y[:20, :5])
    directions = tuple(np.random.default_rng(i).standard_normal(v.shape) for i, v in enumerate(inputs))

    _, slope = jax.jit(lambda x, y: jax.jvp(aligned_cosine, (x, y), directions))(*inputs)
    step = 1e-6
    ahead, behind = (
        float(aligned_cosine(*(v + h * d for v, d in zip(inputs, directions, strict=True)))) for h in (step, -step)
    )
    assert float(slope) == pytest.approx((ahead - behind) / (2 * step), rel=1e-5)


def test_a_row_without_direction_is_no_number_and_gradients_are_finite():
    x, y = X.astype(np.float32), Y.astype(np.float32)
    still = x.copy()
    still[7] = 0
    for inputs in ((still, y), (x, np.pad(still, ((0, 0), (0, 8)))), (np.full_like(x, np.nan), y)):
        assert all(np.isnan(value) for value in everything(*inputs).values())
    slope = jax.jit(jax.grad(aligned_cosine))
    equal = np.eye(4, dtype=np.float32)[np.arange(64) % 4]  # equal singular values, or none
    for inputs in ((equal, equal), (equal, np.roll(equal, 1, axis=0) * [1, 1, 0, 0]), (still[:, :4], y[:, :4])):
        gradient = slope(inputs[0], np.asarray(inputs[1], np.float32))
        assert np.all(np.isfinite(gradient))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="aligned_cosine: alignment must be one of 'orthogonal', 'permutation'"):
        aligned_cosine(X, Y, alignment="rotation")
    with pytest.raises(ValueError, match="aligned_cosine: alignment must be one of"):
        measure(alignment="rotation")
    with pytest.raises(ValueError, match="aligned_cosine: x and y must have the same"):
        aligned_cosine(X, Y[:9])
