"""Result dtypes, and the accumulation dtype and precision of every product on the way."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxalign.alignment import cka, hsic, kernel_alignment, mutual_knn
from jaxalign.kernels import RBF, Cosine, Distance, Laplacian, Linear, Polynomial

SCORES = {
    "kernel_alignment": partial(kernel_alignment, kernel=Polynomial()),
    "cka linear": cka,
    "cka linear, unbiased": partial(cka, estimator="unbiased"),
    "cka cosine": partial(cka, kernel=Cosine(), estimator="unbiased"),
    "cka rbf": partial(cka, kernel=RBF()),
    "hsic": partial(hsic, kernel=Laplacian("mean"), kernel_y=Distance(), estimator="unbiased"),
    "mutual_knn": partial(mutual_knn, k=3),
    "mutual_knn euclidean": partial(mutual_knn, k=3, metric="euclidean"),
}
#: Sizes that take moments, tiles, and several blocks.
SIZES = [(40, 4), (10, 40), (1100, 3)]


def inner_jaxprs(value) -> Iterator:
    if hasattr(value, "eqns"):
        yield value
    elif hasattr(value, "jaxpr"):
        yield value.jaxpr
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from inner_jaxprs(v)


def products(jaxpr) -> Iterator:
    """Every `dot_general`, however deep in loops, branches and calls."""
    for equation in jaxpr.eqns:
        if equation.primitive is lax.dot_general_p:
            yield equation
        for value in equation.params.values():
            for inner in inner_jaxprs(value):
                yield from products(inner)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("name", SCORES)
def test_every_product_accumulates_in_float32_at_full_precision(name, dtype):
    for n, d in SIZES:
        x = jax.ShapeDtypeStruct((n, d), dtype)
        gradient = jax.grad(SCORES[name], allow_int=True) if dtype == "float32" else SCORES[name]
        for function in (SCORES[name], gradient):
            found = list(products(jax.make_jaxpr(function)(x, x).jaxpr))
            assert found
            for equation in found:
                preferred, precision = equation.params["preferred_element_type"], equation.params["precision"]
                assert preferred == jnp.float32, equation
                assert precision in (lax.Precision.HIGHEST, (lax.Precision.HIGHEST,) * 2), equation


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_results_are_float32(dtype):
    for name, score in SCORES.items():
        for n, d in SIZES:
            result = jax.eval_shape(score, jax.ShapeDtypeStruct((n, d), dtype), jax.ShapeDtypeStruct((n, d), "float32"))
            assert (result.shape, result.dtype) == ((), jnp.float32), name


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_results_are_float64_as_soon_as_one_input_is():
    for name, score in SCORES.items():
        for one in ("float64", "float32", "bfloat16"):
            result = jax.eval_shape(score, jax.ShapeDtypeStruct((20, 3), one), jax.ShapeDtypeStruct((20, 3), "float64"))
            assert (result.shape, result.dtype) == ((), jnp.float64), (name, one)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
def test_half_precision_is_the_float32_score_of_the_rounded_values(dtype):
    g = np.random.default_rng(0)
    x, y = (jnp.asarray(g.standard_normal((40, 4)) + 3, dtype) for _ in range(2))

    @jax.jit
    def run(x, y):
        return [cka(x, y), hsic(x, y, kernel=Laplacian(2.0), kernel_y=Cosine()), mutual_knn(x, y, k=3)]

    np.testing.assert_allclose(run(x, y), run(x.astype("float32"), y.astype("float32")), rtol=1e-6)


def test_the_search_for_products_looks_inside():
    """The tests above would pass if it found nothing, or only what is on top."""

    def inside(x):
        return lax.fori_loop(0, 3, lambda i, v: jax.jit(jnp.matmul)(v, v), x)

    found = list(products(jax.make_jaxpr(inside)(jnp.ones((2, 2))).jaxpr))
    assert len(found) == 1
    assert found[0].params["precision"] is None
    assert (
        len(list(products(jax.make_jaxpr(partial(cka, kernel=Linear()))(jnp.ones((40, 4)), jnp.ones((40, 4))).jaxpr)))
        > 2
    )
