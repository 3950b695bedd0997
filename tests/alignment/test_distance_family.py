"""Distance correlation and covariance: values of the definition, relations to CKA, HSIC and angles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles import kernel_family as oracle

from jaxalign import angular_cka, cka, distance_correlation, distance_covariance, hsic
from jaxalign.kernels import RBF, Distance

#: Székely, Rizzo and Bakirov's root, its square, and the bias-corrected square (hyppo with bias=False).
REFERENCE = {
    "A": (0.827222171552289, 0.5307084150525059, 1.0948421748909418),
    "B": (0.9556308308561854, 0.8112610709505018, 4.958735637174967),
    "D": (0.5087167614634713, 0.05288021089871229, 0.11485606569844922),
}


@jax.jit
def everything(x, y):
    return {
        (score.__name__, exponent, estimator): score(x, y, exponent=exponent, estimator=estimator)
        for score in (distance_correlation, distance_covariance)
        for exponent in (1.0, 0.5, 2.0)
        for estimator in ("biased", "unbiased")
    }


@pytest.mark.parametrize("case", ["A", *(pytest.param(case, marks=pytest.mark.slow) for case in "BD")])
def test_values_equal_the_definition(x64, case):
    x, y = (jnp.asarray(v, float) for v in CASES[case])
    tolerance, found = 1e-9 if x64 else 1e-5, everything(x, y)
    for exponent in (1.0, 0.5, 2.0):
        k, l = (-oracle.distance(v, exponent) for v in CASES[case])
        biased, covariance = oracle.cka(k, l), oracle.hsic_biased(k, l)
        correlations = [found["distance_correlation", exponent, estimator] for estimator in ("biased", "unbiased")]
        covariances = [found["distance_covariance", exponent, estimator] for estimator in ("biased", "unbiased")]
        assert float(correlations[0]) == pytest.approx(np.sqrt(biased), rel=tolerance)
        assert float(covariances[0]) == pytest.approx(np.sqrt(covariance), rel=tolerance)
        assert float(correlations[1]) == pytest.approx(oracle.cka(k, l, "unbiased"), rel=20 * tolerance)
        assert float(covariances[1]) == pytest.approx(oracle.hsic_song(k, l), rel=20 * tolerance)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("case", REFERENCE)
def test_values_of_other_libraries(case):
    """The stored squares carry the rounding of distances from products, 1e-9 here."""
    x, y = CASES[case]
    root, corrected, covariance = REFERENCE[case]
    found = everything(x, y)
    assert float(found["distance_correlation", 1.0, "biased"]) == pytest.approx(root, rel=2e-9)
    assert float(found["distance_correlation", 1.0, "unbiased"]) == pytest.approx(corrected, rel=1e-8)
    assert float(found["distance_covariance", 1.0, "biased"]) ** 2 == pytest.approx(covariance, rel=1e-8)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_relations():
    x, y = CASES["A"]
    assert float(distance_correlation(x, y)) ** 2 == pytest.approx(float(cka(x, y, kernel=Distance())))
    assert float(distance_covariance(x, y)) ** 2 == pytest.approx(float(hsic(x, y, kernel=Distance())))
    assert float(distance_correlation(x, y, exponent=2.0)) ** 2 == pytest.approx(float(cka(x, y)))
    assert np.cos(float(angular_cka(x, y, kernel=RBF(3.0)))) == pytest.approx(float(cka(x, y, kernel=RBF(3.0))))
    assert float(angular_cka(x, y)) == pytest.approx(0.9792363949046319)  # netrep, wrongu/repsim


@pytest.mark.slow
def test_an_angle_of_0_has_no_slope_and_no_nan():
    x = CASES["A"][0].astype(np.float32)
    value, gradient = jax.value_and_grad(lambda x, y: angular_cka(x, y))(x, 2 * x)
    assert 0 <= float(value) < 2e-3
    assert np.all(np.isfinite(gradient))
    assert np.all(np.isfinite(jax.grad(lambda x: distance_correlation(x, x[:, :1] * 0 + 1))(x)))
    assert np.isnan(angular_cka(x, np.ones_like(x)))
    assert np.isnan(distance_correlation(x, np.ones_like(x)))
    assert float(distance_covariance(x, np.ones_like(x))) == 0


@pytest.mark.slow
def test_independent_inputs_with_many_features():
    """The plug-in estimate is near 1, the corrected one near 0: why both exist."""
    g = np.random.default_rng(0)
    x, y = (g.standard_normal((64, 768)).astype(np.float32) for _ in range(2))
    assert float(distance_correlation(x, y)) > 0.9
    assert abs(float(distance_correlation(x, y, estimator="unbiased"))) < 0.1


@pytest.mark.parametrize(("exponent", "error"), [(0.0, ValueError), (2.5, ValueError), ("one", TypeError)])
def test_wrong_exponents_are_named(exponent, error):
    x = CASES["A"][0].astype(np.float32)
    with pytest.raises(error, match="exponent must be"):
        distance_correlation(x, x, exponent=exponent)
