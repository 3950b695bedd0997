"""What is compiled once stays compiled: other data, other settings, other masks, ragged layers."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxalign import cka, hsic, measures, mutual_knn
from jaxalign.kernels import RBF, Laplacian, Polynomial
from jaxalign.signatures import batching, neighbors


def rows(n, d, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal((n, d)), jnp.float32)


X, Y = rows(20, 4), rows(20, 5, 1)


def traced_once(score):
    chex.clear_trace_counter()
    return jax.jit(chex.assert_max_traces(score, n=1))


def test_a_second_pair_of_the_same_shape_is_not_traced():
    for score in (cka, hsic, mutual_knn):
        run = traced_once(lambda x, y, score=score: score(x, y))
        assert float(run(X, Y)) != float(run(X[::-1], Y))


def test_another_setting_of_a_kernel_is_not_traced():
    run = traced_once(lambda kernel: cka(X, Y, kernel=kernel))
    assert len({float(run(RBF(sigma))) for sigma in (1.0, 2.0, 3)}) == 3
    run = traced_once(lambda kernel: cka(X, Y, kernel=kernel))
    assert float(run(Polynomial(2, 1.0, 1.0))) != float(run(Polynomial(2, 0.5, 2.0)))
    run = traced_once(lambda measure: measure(X, Y))
    assert float(run(measures.hsic(kernel=Laplacian(1.0)))) != float(run(measures.hsic(kernel=Laplacian(2.0))))


def test_another_mask_is_not_traced():
    run = traced_once(lambda mask: cka(X, Y, kernel=RBF(), estimator="unbiased", mask=mask))
    assert float(run(jnp.arange(20) < 10)) != float(run(jnp.arange(20) < 12))


def test_public_functions_keep_their_programs(caplog):
    """The functions themselves, not a jit around them: a second bandwidth, mask and pair compile nothing."""
    mask = jnp.arange(20) < 15
    cka(X, Y, kernel=RBF(1.0), mask=mask)
    measures.cka(kernel=RBF(1.0))(X, Y, mask=mask)
    x, other = X + 1, ~mask
    with jax.log_compiles(), caplog.at_level("WARNING"):
        cka(x, Y, kernel=RBF(2.0), mask=other)
        measures.cka(kernel=RBF(2.0))(x, Y, mask=other)
    assert not [r.message for r in caplog.records if "Compiling" in r.message]
    with jax.log_compiles(), caplog.at_level("WARNING"):
        cka(x, Y, kernel=RBF(2.0), estimator="unbiased", mask=other)
    assert [r.message for r in caplog.records if "Compiling" in r.message]


def test_a_ragged_matrix_is_traced_once_and_compiles_few_widths(monkeypatch):
    layers = [rows(40, 3 + 11 * i, i) for i in range(12)]
    calls = []
    work = batching.map_layers

    def counting(function, layers):
        def counted(x):
            calls.append(x.shape)
            return function(x)

        return work(counted, layers)

    monkeypatch.setattr(neighbors, "map_layers", counting)
    measure = measures.mutual_knn(k=7)
    first = measure.matrix(layers)
    traced = len(calls)
    assert traced <= 2 * batching.MOST_WIDTHS
    second = measure.matrix([x[::-1] for x in layers])
    assert len(calls) == traced
    np.testing.assert_allclose(first, second, atol=1e-6)
