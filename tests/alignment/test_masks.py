"""A masked input is the subset of its rows: same score, no gradient on padding."""

from __future__ import annotations

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign._core.numerics import gram_matmul
from jaxalign._core.pytree import pytree_dataclass
from jaxalign.alignment import cka, hsic, kernel_alignment, mutual_knn
from jaxalign.engines import tiles
from jaxalign.kernels import RBF, Cosine, Distance, Kernel, Laplacian, Linear, MeanDistance, Polynomial

SCORES = {
    "kernel_alignment": kernel_alignment,
    "kernel_alignment rbf": partial(kernel_alignment, kernel=RBF(2.0)),
    "hsic": hsic,
    "hsic nm1": partial(hsic, kernel=RBF(2.0), scaling="nm1"),
    "hsic unbiased": partial(hsic, kernel=Distance(), estimator="unbiased"),
    "mutual_knn": partial(mutual_knn, k=3),
    "mutual_knn euclidean": partial(mutual_knn, k=3, metric="euclidean"),
    **{
        f"cka {kernel.definition} {estimator}": partial(cka, kernel=kernel, estimator=estimator)
        for kernel, estimator in (
            (Linear(), "biased"),
            (Linear(), "unbiased"),
            (RBF(), "biased"),
            (RBF(), "unbiased"),
            (RBF("kornblith"), "biased"),
            (RBF(MeanDistance()), "unbiased"),
            (Cosine(), "unbiased"),
            (Laplacian(2.0), "unbiased"),
            (Distance(), "biased"),
            (Polynomial(2), "biased"),
        )
    },
}
G = np.random.default_rng(0)
X, Y = G.standard_normal((24, 5)).astype(np.float32), G.standard_normal((24, 7)).astype(np.float32)
MASK = G.random(24) < 0.6


#: One of each kind in the default run, their relatives among the slow tests.
TYPICAL = (
    "kernel_alignment",
    "hsic nm1",
    "hsic unbiased",
    "mutual_knn",
    "cka linear biased",
    "cka rbf(median) unbiased",
    "cka cosine unbiased",
    "cka distance(exponent=1.0) biased",
)
OTHERS = tuple(name for name in SCORES if name not in TYPICAL)
each = pytest.mark.parametrize(
    "names", [pytest.param(TYPICAL, id="typical"), pytest.param(OTHERS, id="others", marks=pytest.mark.slow)]
)


@partial(jax.jit, static_argnums=0)
def masked(names, x, y, mask):
    return {name: SCORES[name](x, y, mask=mask) for name in names}


@cache
def subset(names):
    return jax.jit(lambda x, y: {name: SCORES[name](x, y) for name in names})(X[MASK], Y[MASK])


@each
@pytest.mark.parametrize("padding", [np.nan, np.inf, 1e30])
def test_masked_is_subset(names, padding):
    x, y = (np.where(MASK[:, None], v, np.float32(padding)) for v in (X, Y))
    for name, value in masked(names, x, y, MASK).items():
        np.testing.assert_allclose(value, subset(names)[name], rtol=2e-6, atol=2e-6, err_msg=name)


@each
def test_other_padding_rows_under_the_same_program(names):
    """The mask is a traced value."""
    order = np.random.default_rng(1).permutation(24)
    found = masked(names, X[order], Y[order], MASK[order])
    for name in names:
        np.testing.assert_allclose(found[name], subset(names)[name], rtol=2e-6, atol=2e-6, err_msg=name)


@each
@pytest.mark.parametrize("left", [0, 1, 3])
def test_too_few_rows_left(names, left):
    for name, value in masked(names, X, Y, np.arange(24) < left).items():
        if "unbiased" in name or "knn" in name or (left == 0 and name.startswith("hsic")):
            assert np.isnan(value), name
        if left <= 1 and name.startswith("cka"):
            assert np.isnan(value), name
        if name.startswith("mutual_knn"):
            assert not np.isnan(masked(names, X, Y, np.arange(24) < 4)[name])


@pytest.mark.slow
def test_no_gradient_on_padding():
    x = np.where(MASK[:, None], X, np.nan)
    names = [
        "hsic nm1",
        "kernel_alignment",
        "cka linear unbiased",
        "cka cosine unbiased",
        "cka distance(exponent=1.0) biased",
    ]

    def total(x, y, mask):
        return sum(SCORES[name](x, y, mask=mask) for name in names)

    gradient = jax.jit(jax.grad(total))(x, Y, MASK)
    gradient = np.asarray(gradient)
    assert np.all(gradient[~MASK] == 0)
    assert np.isfinite(gradient).all()
    assert np.all(np.any(gradient[MASK] != 0, axis=1))


@pytest.mark.slow
def test_masks_map_and_one_that_keeps_all_is_none():
    masks = jnp.stack([jnp.asarray(MASK), jnp.ones(24, bool)])
    score = partial(cka, kernel=RBF(2.0), kernel_y=Linear(), estimator="unbiased")

    @jax.jit
    def run(masks):
        return jax.vmap(lambda mask: score(X, Y, mask=mask))(masks), score(X[MASK], Y[MASK]), score(X, Y)

    found, subset, everything = run(masks)
    np.testing.assert_allclose(found, [subset, everything], atol=2e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kernel", [RBF(2.0), Polynomial(2)], ids=["rbf", "polynomial"])
def test_a_mask_under_64_bits(kernel):
    """Promotion is strict in this suite: indices of one width must not meet those of another."""
    score = jax.jit(partial(cka, kernel=kernel))
    x, y = X.astype(np.float64), Y.astype(np.float64)
    np.testing.assert_allclose(score(x, y, mask=MASK), score(x[MASK], y[MASK]), rtol=1e-12)


@pytree_dataclass
class Angular(Kernel):
    """One minus the angle: not defined for rows of length 0."""

    definition = "angular"

    def evaluate(self, x, y):
        cosine = gram_matmul(x, y) / (jnp.linalg.norm(x, axis=1)[:, None] * jnp.linalg.norm(y, axis=1)[None, :])
        return 1 - jnp.arccos(jnp.clip(cosine, -0.999, 0.999)) / jnp.pi

    def diag(self, x):
        return jnp.ones(x.shape[0], x.dtype)


@pytest.mark.slow
def test_a_kernel_never_sees_a_row_that_is_not_there(monkeypatch):
    """Neither padding nor what fills the last tile is handed to it as a row of zeros."""
    monkeypatch.setattr(tiles, "TILE_ROWS", 9)
    score = jax.jit(partial(cka, kernel=Angular()))
    expected = score(X[MASK], Y[MASK])
    np.testing.assert_allclose(score(X, Y, mask=MASK), expected, rtol=1e-5)
    gradient = jax.grad(lambda x: cka(x, Y, kernel=Angular(), mask=MASK))(jnp.asarray(X))
    assert np.all(np.isfinite(gradient))
    assert np.abs(gradient).max() > 0
