"""CKNNA: values of the dense definition and of platonic-rep, masks, gradients, memory."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES
from oracles.cknna import cknna as dense

from jaxalign import cknna, measures


@pytest.mark.parametrize(
    ("case", "estimator"),
    [
        ("A", "biased"),
        ("B", "unbiased"),
        pytest.param("A", "unbiased", marks=pytest.mark.slow),
        pytest.param("B", "biased", marks=pytest.mark.slow),
    ],
)
def test_values_equal_the_dense_definition(x64, case, estimator):
    x, y = CASES[case]
    for k in (2, 10):
        for one, other in ((x, y), (y, x)):
            found = float(cknna(jnp.asarray(one, float), jnp.asarray(other, float), k=k, estimator=estimator))
            assert found == pytest.approx(dense(one, other, k, estimator), rel=1e-10 if x64 else 1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_values_of_platonic_rep_with_and_without_its_eps():
    for case, exact, with_eps in (
        ("A", 0.4956746246103772, 0.49565907702977396),
        ("B", 0.8161314355344663, 0.8160946653092344),
    ):
        assert float(cknna(*CASES[case])) == pytest.approx(exact, rel=1e-10)
        assert float(cknna(*CASES[case], eps=1e-6)) == pytest.approx(with_eps, rel=1e-10)
        assert float(cknna(CASES[case][0], 3 * CASES[case][0])) == pytest.approx(1, abs=1e-12)


@pytest.mark.usefixtures("float64")
def test_it_is_not_quite_symmetric():
    x, y = CASES["A"]
    forth, back = float(cknna(x, y)), float(cknna(y, x))
    assert 1e-6 < abs(forth - back) < 1e-3
    matrix = measures.cknna().matrix([x, y])
    np.testing.assert_allclose([matrix[0, 1], matrix[1, 0]], [forth, back], rtol=1e-9)


@pytest.mark.slow
def test_masked_rows_do_not_count():
    x, y = (v.astype(np.float32) for v in CASES["A"])
    mask = np.arange(len(x)) % 3 != 1
    padded = [np.where(mask[:, None], v, np.float32(np.nan)) for v in (x, y)]
    for estimator in ("unbiased", "biased"):
        kept = dense(*(v[mask].astype(float) for v in (x, y)), 4, estimator)
        assert float(cknna(*padded, k=4, estimator=estimator, mask=mask)) == pytest.approx(kept, rel=2e-5)
    assert np.isnan(cknna(x, y, k=4, mask=np.arange(len(x)) < 4))


def test_undefined_is_nan():
    x, y = (v.astype(np.float32) for v in CASES["A"])
    assert np.isnan(cknna(np.ones_like(x), y, k=3))
    x[2, 1] = np.nan
    assert np.isnan(cknna(x, y, k=3))
    with pytest.raises(ValueError, match="cknna: k must be at least 2"):
        cknna(x, y, k=1)


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    x, y = (v[:12].copy() for v in CASES["A"])
    gradient = jax.grad(lambda x: cknna(x, y, k=3))(x)
    direction = np.random.default_rng(0).standard_normal(x.shape)
    step = 1e-6
    slope = (cknna(x + step * direction, y, k=3) - cknna(x - step * direction, y, k=3)) / (2 * step)
    assert float(jnp.sum(gradient * direction)) == pytest.approx(float(slope), rel=1e-6)
    x[3] = x[4] = 0
    assert np.all(np.isfinite(jax.grad(lambda x: cknna(x, y, k=3))(x)))


@pytest.mark.slow
def test_no_matrix_of_examples_is_formed():
    n = 20_000
    shape = jax.ShapeDtypeStruct((n, 16), "float32")
    needed = jax.jit(lambda x, y: cknna(x, y)).lower(shape, shape).compile().memory_analysis().temp_size_in_bytes
    assert needed < n * n / 4
