"""COCO, kernel canonical correlation, kernel mutual information, MMD: values, relations, masks, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import kernel_family as oracle
from scipy.linalg import eigvals, inv

import jaxalign as ja
from jaxalign.kernels import RBF, Cosine, Distance, Laplacian, Linear

X = np.array([[1, 0], [0, 1], [2, 1], [-1, 1], [0, -2.0]])
Y = np.array([[1, 1, 0], [0, 2, 1], [3, 1, -1], [-1, 0, 2], [0, -1, 1.0]])
KERNELS = {
    "linear": (Linear(), oracle.linear),
    "cosine": (Cosine(), oracle.cosine),
    "rbf": (RBF(2.0), lambda x: oracle.rbf(x, 2.0)),
    "laplacian": (Laplacian(), lambda x: oracle.laplacian(x, oracle.median_sigma(x))),
    "distance": (Distance(), oracle.distance),
}


def operators(x, y, of):
    return [oracle.h_center(of(v)) / len(v) for v in (x, y)]


@pytest.mark.usefixtures("float64")
def test_exact_values_of_a_small_case():
    assert float(ja.constrained_covariance(X, Y)) == pytest.approx(1.826165383895, abs=1e-11)
    assert float(ja.constrained_covariance(X, Y, kernel=RBF(1.0))) == pytest.approx(0.222846875284, abs=1e-11)
    assert float(ja.kernel_mutual_information(X, Y, kernel=RBF(1.0))) == pytest.approx(0.064775096697, abs=1e-11)
    assert float(ja.kernel_canonical_correlation(X, Y, ridge=0.1)) == pytest.approx(0.939221527617, abs=1e-11)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in ("laplacian", "distance") else ()) for n in KERNELS]
)
def test_values_equal_the_definitions(x64, name):
    """Through eigenvalues of products of matrices that are not symmetric."""
    kernel, of = KERNELS[name]
    x, y = (v[:20] for v in CASES["A"])
    one, other = operators(x, y, of)
    singular = np.sqrt(np.maximum(eigvals(one @ other).real, 0))
    tolerance = 1e-9 if x64 else 1e-5
    arrays = [jnp.asarray(v, float) for v in (x, y)]
    assert float(ja.constrained_covariance(*arrays, kernel=kernel)) == pytest.approx(singular.max(), rel=tolerance)
    shrunk = [m @ inv(m + 0.3 * np.eye(20)) for m in (one, other)]
    top = np.sqrt(eigvals(shrunk[0] @ shrunk[1]).real.max())
    found = ja.kernel_canonical_correlation(*arrays, kernel=kernel, ridge=0.3)
    assert float(found) == pytest.approx(top, rel=tolerance)
    if singular.max() < 1:
        information = -0.5 * np.sum(np.log1p(-(singular**2)))
        found = ja.kernel_mutual_information(*arrays, kernel=kernel)
        assert float(found) == pytest.approx(information, rel=10 * tolerance)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_relations():
    x, y = CASES["A"]
    for kernel in (RBF(3.0), RBF(3.0) + Laplacian(2.0)):
        coco, hsic = (float(f(x, y, kernel=kernel)) for f in (ja.constrained_covariance, ja.hsic))
        assert coco**2 <= hsic <= 64 * coco**2
    information, hsic = (float(f(x, y, kernel=RBF(3.0))) for f in (ja.kernel_mutual_information, ja.hsic))
    coco = float(ja.constrained_covariance(x, y, kernel=RBF(3.0)))
    assert hsic / 2 <= information <= hsic / 2 / (1 - coco**2)
    # Without a ridge and with linear kernels: the largest canonical correlation.
    top = float(ja.cca(x, y, reduce="top"))
    assert float(ja.kernel_canonical_correlation(x, y, ridge=1e-13)) == pytest.approx(top)
    assert np.isinf(ja.kernel_mutual_information(10 * x, 10 * y, kernel=Linear()))


@pytest.mark.slow
def test_masked_rows_do_not_count():
    mask = np.arange(20) % 3 != 1
    x, y = (v[:20].astype(np.float32) for v in CASES["A"])
    padded = [np.where(mask[:, None], v, np.float32(np.nan)) for v in (x, y)]

    @jax.jit
    def scores(x, y, mask=None):
        found = [ja.mmd(x[:, :16], y[:, :16], mask=mask, estimator=e) for e in ("biased", "unbiased")]
        for kernel in (Linear(), RBF(), Distance()):
            found.append(ja.constrained_covariance(x, y, kernel=kernel, mask=mask))
            found.append(ja.kernel_canonical_correlation(x, y, kernel=kernel, ridge=0.3, mask=mask))
        return [*found, ja.kernel_mutual_information(x, y, mask=mask)]

    np.testing.assert_allclose(scores(*padded, mask), scores(x[mask], y[mask]), rtol=5e-5)


@pytest.mark.slow
def test_constant_inputs():
    x, y = (v[:20].astype(np.float32) for v in CASES["A"])
    flat = np.ones_like(x)
    for kernel in (Linear(), RBF(2.0)):
        assert float(ja.constrained_covariance(flat, y, kernel=kernel)) == pytest.approx(0, abs=1e-6)
        assert float(ja.kernel_mutual_information(flat, y, kernel=kernel)) == pytest.approx(0, abs=1e-6)
        assert np.isnan(ja.kernel_canonical_correlation(flat, y, kernel=kernel, ridge=0.1))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kernel", [pytest.param(Linear(), marks=pytest.mark.slow), RBF(3.0)], ids=["linear", "rbf"])
def test_gradients_equal_finite_differences(kernel):
    x, y = (v[:12, :4] for v in CASES["A"])
    scale = 0.3 if isinstance(kernel, Linear) else 1.0

    @jax.jit
    def total(x):
        return (
            ja.constrained_covariance(x, y, kernel=kernel)
            + ja.kernel_canonical_correlation(x, y, kernel=kernel, ridge=0.3)
            + ja.kernel_mutual_information(scale * x, scale * y, kernel=kernel)
            + ja.mmd(x, y, kernel=kernel)
        )

    direction = np.random.default_rng(0).standard_normal(x.shape)
    slope = (total(x + 1e-6 * direction) - total(x - 1e-6 * direction)) / 2e-6
    assert float(jnp.sum(jax.grad(total)(x) * direction)) == pytest.approx(float(slope), rel=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_mmd_of_two_samples():
    """Case D; hyppo and plain NumPy with the median of both samples together."""
    x, y = CASES["D"]
    assert float(ja.mmd(x, y)) ** 2 == pytest.approx(0.02509866355638679, rel=1e-10)
    assert float(ja.mmd(x, y, estimator="unbiased")) == pytest.approx(0.012065908275374682, rel=1e-10)
    few = y[:17]
    k = [
        oracle.rbf(np.concatenate([x, few]), 2.0)[a, b]
        for a in (slice(60), slice(60, None))
        for b in (slice(60), slice(60, None))
    ]
    square = k[0].mean() + k[3].mean() - 2 * k[1].mean()
    assert float(ja.mmd(x, few, kernel=RBF(2.0))) ** 2 == pytest.approx(square, rel=1e-10)
    # The linear kernel compares means.
    assert float(ja.mmd(x, few, kernel=Linear())) == pytest.approx(np.linalg.norm(x.mean(0) - few.mean(0)))
    assert float(ja.mmd(x, x)) == 0
    assert np.isnan(ja.mmd(x[:1], y, estimator="unbiased"))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: ja.mmd(X, Y), ValueError, "mmd: x and y must have the same number of features, got 2 and 3"),
        (lambda: ja.mmd(X, X, estimator="half"), ValueError, "mmd: estimator must be one of"),
        (lambda: ja.mmd(X, X, kernel="rbf"), TypeError, "mmd: kernel must be"),
        (lambda: ja.constrained_covariance(X, Y, kernel=RBF), TypeError, "constrained_covariance: kernel must be"),
        (lambda: ja.kernel_canonical_correlation(X, Y), TypeError, "ridge"),
    ],
)
def test_mistakes_are_named(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_mmd_of_means_far_from_the_origin():
    g = np.random.default_rng(0)
    x, y = (g.standard_normal((n, 8)).astype(np.float32) + np.float32(100 + shift) for n, shift in ((90, 0), (70, 0.1)))
    exact = np.linalg.norm(x.mean(0, dtype=np.float64) - y.mean(0, dtype=np.float64))
    assert float(ja.mmd(x, y, kernel=Linear())) == pytest.approx(exact, rel=1e-4)


@pytest.mark.slow
def test_a_wide_kernel_keeps_its_digits():
    x, y = (v[:30].astype(np.float32) for v in CASES["A"])
    found = [float(ja.constrained_covariance(x, y, kernel=RBF(3000.0)))]
    with jax.enable_x64(True):
        found.append(float(ja.constrained_covariance(*(v.astype(np.float64) for v in (x, y)), kernel=RBF(3000.0))))
    assert found[0] == pytest.approx(found[1], rel=1e-5)
