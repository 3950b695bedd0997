"""No bound is violated by 20 000 random pairs of models, and those that can be attained are."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import identifiability as oracle

from jaxalign.identifiability import (
    cca_bound,
    constructions,
    identifiability_distance,
    identify,
    kl_bound,
    kl_divergence,
    llv_bound,
    llv_bound_tight,
    llv_distance,
    log_probs,
    logit_covariance_eigenvalues,
    logit_distance,
    logit_distance_bound,
    mean_cca_from_logprobs,
    narrow_student,
    pls_svd_distance,
    rep_distance,
    rep_distance_bound,
)
from jaxalign.signatures.whitened import UninformativeWarning

pytestmark = pytest.mark.filterwarnings("ignore::jaxalign.signatures.whitened.UninformativeWarning")
COUNT = 20_000
N, C, M = 7, 5, 2
SETS = {"label_pivot": 0, "labels": (1, 2, 3), "input_pivot": 0, "inputs": (4, 6)}


def pairs(count, *, free=False, seed=0):
    """Models, and others at distances from next to nothing to unrelated."""
    rng = np.random.default_rng(seed)
    scale = 10 ** rng.uniform(-5, 0.7, (count, 1, 1))
    f, g = rng.standard_normal((count, N, M)), 2 * rng.standard_normal((count, C, M))
    f2, g2 = f + scale * rng.standard_normal(f.shape), g + scale * rng.standard_normal(g.shape)
    p, q = (jnp.asarray(z) for z in (f @ g.swapaxes(1, 2), f2 @ g2.swapaxes(1, 2)))
    if free:
        q = p + jnp.asarray(scale * rng.standard_normal(p.shape))
    return tuple(jnp.asarray(v) for v in (f, g, f2, g2)), p, q


def test_no_bound_on_dissimilarity_is_violated(float64):
    def of(p, q):
        llv, apart = llv_distance(p, q, **SETS), identifiability_distance(p, q, **SETS)
        eps = jnp.maximum(llv.t1, llv.t2)
        ratios = jnp.stack([apart.d_f / (2 * llv.t1**2), apart.d_g / (2 * llv.t2**2)])
        return ratios, apart.value - llv_bound(eps, M), apart.value - llv_bound_tight(eps), apart.value

    for free in (False, True):
        _, p, q = pairs(COUNT // 2, free=free)
        ratios, paper, tight, values = jax.jit(jax.vmap(of))(p, q)
        assert not np.isnan(ratios).any()
        assert float(jnp.max(ratios)) <= 1 + 1e-9
        assert float(jnp.max(paper)) <= 0
        assert float(jnp.max(tight)) <= 1e-12
        assert float(jnp.max(ratios)) > 0.5  # not by a wide margin
        assert 0 <= float(jnp.min(values)) < 1e-9 < 0.5 < float(jnp.max(values)) <= 1


def test_no_bound_from_the_logit_distance_is_violated(float64):
    def of(parts, p, q):
        distance = logit_distance(p, q)
        least = jnp.exp(jnp.minimum(*(jnp.min(jax.nn.log_softmax(z, axis=1)) for z in (p, q))))
        kl, reverse = kl_divergence(p, q), kl_divergence(q, p)
        rep = rep_distance(*parts)
        correlation = mean_cca_from_logprobs(p, q, m=M, m2=M).f
        student = narrow_student(p, q, m=M, m2=M)
        eigenvalue = student.eigenvalues[M - 1]
        return (
            jnp.maximum(kl, reverse) / kl_bound(distance),
            distance / logit_distance_bound(jnp.minimum(kl, reverse), least=least, classes=C),
            rep.value / rep_distance_bound(distance, s_min=rep.s_min, m=M, classes=C),
            1 + cca_bound(distance, eigenvalue=eigenvalue, m=M) - correlation,
            student.bound / student.squared_distance,
        )

    found = jax.jit(jax.vmap(of))(*pairs(COUNT))
    names = ("kl", "logit", "rep", "cca", "student")
    for name, ratio, near in zip(names, found, (0.5, 0.3, 0.3, 0.9, 0.3), strict=True):
        assert not np.isnan(ratio).any(), name
        assert near < float(jnp.max(ratio)) <= 1 + 1e-6, (name, float(jnp.max(ratio)))


@pytest.mark.parametrize("noise", [0.0, 1e-12, 1e-3])
def test_no_bound_on_correlations_from_a_direction_that_does_not_vary(x64, noise):
    rng = np.random.default_rng(3)
    f, g, bias = rng.normal(size=(60, 2)), rng.normal(size=(6, 2)), rng.normal(size=6)
    f, g, bias, apart = (jnp.asarray(z, float) for z in (f, g, bias, noise * rng.normal(size=f.shape)))
    logp, logp2 = log_probs(f, g, bias=bias), log_probs(f + apart, g, bias=bias)  # of dimension 3; 2 vary
    assert (np.asarray(logit_covariance_eigenvalues(logp)[2:]) == 0).all()
    result = identify(logp, logp2, key=0, m=3, tuples=5)
    assert 0.66 < result.cca_f < 0.67
    assert result.cca_bound == 0
    assert str(result).count("only 2 vary over inputs, as with a bias") == 2


def test_a_narrow_student_loses_what_it_must(float64):
    rng = np.random.default_rng(0)
    f, g = rng.standard_normal((2000, 9, 3)), rng.standard_normal((2000, 6, 3))
    f2, g2 = rng.standard_normal((2000, 9, 2)), rng.standard_normal((2000, 6, 2))
    f2[:1000] = f[:1000, :, :2] + 0.1 * f2[:1000]
    g2[:1000] = g[:1000, :, :2]
    p, q = (jnp.asarray(z) for z in (f @ g.swapaxes(1, 2), f2 @ g2.swapaxes(1, 2)))
    found = jax.jit(jax.vmap(lambda p, q: narrow_student(p, q, m=3, m2=2)))(p, q)
    assert float(jnp.max(found.bound / found.squared_distance)) <= 1 + 1e-9
    assert float(jnp.min(found.bound - found.floor)) >= -1e-9
    # The student that keeps the leading principal components reaches it.
    u = oracle.centered(np.asarray(p[0]))
    mean = u.mean(axis=0)
    left, s, right = np.linalg.svd(u - mean, full_matrices=False)
    student = mean + (left[:, :2] * s[:2]) @ right[:2]
    best = narrow_student(p[0], student, m=3, m2=3)
    np.testing.assert_allclose(best.squared_distance, s[2] ** 2 / 9, rtol=1e-10)
    np.testing.assert_allclose(found.eigenvalues[0], s[:3] ** 2 / 9, rtol=1e-10)
    np.testing.assert_allclose(logit_covariance_eigenvalues(p[0])[:3], s[:3] ** 2 / 9, rtol=1e-10)
    rho = oracle.canonical(f[0], f2[0])
    np.testing.assert_allclose(found.correlations[0], [*rho, 0], atol=1e-10)
    np.testing.assert_allclose(found.bound[0], s[:3] ** 2 / 9 @ (1 - np.array([*rho, 0]) ** 2), rtol=1e-9)


def test_the_tight_bound_is_attained(float64):
    for eps, m, value in ((0.1, 1, 0.02), (0.5, 1, 0.5), (1 / np.sqrt(2), 1, 1.0), (0.2, 2, 0.08), (0.5, 2, 0.5)):
        pair = constructions.tightness_pair(eps, m=m)
        np.testing.assert_allclose(np.exp(pair.logp).sum(axis=1), 1, atol=1e-12)
        np.testing.assert_allclose(llv_distance(pair.logp, pair.logp2, sets=pair.sets).t1, eps, atol=1e-9)
        found = identifiability_distance(pair.logp, pair.logp2, sets=pair.sets)
        np.testing.assert_allclose(found.d_f, value, atol=1e-9)
        np.testing.assert_allclose(llv_bound_tight(eps), value, atol=1e-9)
    assert float(llv_bound(0.2, 2)) == pytest.approx(0.8)


def test_fixed_sets_make_a_metric_and_its_root_another(float64):
    rng = np.random.default_rng(1)
    scale = 10 ** rng.uniform(-3, 0.5, (COUNT, 3, 1, 1))
    base = rng.standard_normal((COUNT, 1, N, C))
    models = jnp.asarray(base + scale * rng.standard_normal((COUNT, 3, N, C)))

    def of(models):
        # Of the first two, of the last two, and of the first and the last.
        p, q = models[jnp.array([0, 1, 0])], models[jnp.array([1, 2, 2])]
        llv = jax.vmap(lambda p, q: llv_distance(p, q, **SETS, weight=0.1).value)(p, q)
        svd = jnp.sqrt(jax.vmap(lambda x, y: pls_svd_distance(x[:, :2], y[:, :2]))(p, q))
        logit = jax.vmap(logit_distance)(p, q)
        return jnp.stack([(v[2] - v[0] - v[1]) / v[2] for v in (llv, svd, logit)]), svd[2] ** 2 - svd[0] ** 2 - svd[
            1
        ] ** 2

    broken, squares = jax.jit(jax.vmap(of))(models)
    assert float(jnp.max(broken)) <= 1e-6
    assert float(jnp.max(broken)) > -0.1
    assert float(jnp.max(squares)) > 0.01  # the dissimilarity itself is none
    forth = llv_distance(models[0, 0], models[0, 1], **SETS)
    back = llv_distance(models[0, 1], models[0, 0], **SETS)
    np.testing.assert_allclose(forth.value, back.value, rtol=1e-12)


def test_the_symmetries_of_the_family_change_nothing(float64):
    rng = np.random.default_rng(2)
    f, f2 = rng.standard_normal((2, 20, M))
    g, g2 = rng.standard_normal((2, 6, M))
    a, b = rng.standard_normal((M, M)), rng.standard_normal(M)
    order = rng.permutation(6)
    sets = {"label_pivot": 0, "labels": [1, 2, 3], "input_pivot": 0, "inputs": [4, 6]}
    turned = {
        **sets,
        "label_pivot": int(np.argsort(order)[0]),
        "labels": [int(np.argsort(order)[j]) for j in (1, 2, 3)],
    }

    def values(f, g, f2, g2, sets):
        p, q = f @ g.T, f2 @ g2.T
        apart = identifiability_distance(p, q, **sets)
        correlations = mean_cca_from_logprobs(p, q, m=M, m2=M)
        found = [llv_distance(p, q, **sets).value, apart.d_f, apart.d_g, correlations.f, correlations.g]
        return [*found, kl_divergence(p, q), logit_distance(p, q)]

    base = values(f, g, f2, g2, sets)
    inverse = np.linalg.inv(a)
    np.testing.assert_allclose(values(f @ a.T, g @ inverse + b, f2, g2, sets), base, rtol=1e-9)
    np.testing.assert_allclose(values(f, g, f2 @ a.T, g2 @ inverse + b, sets), base, rtol=1e-9)
    np.testing.assert_allclose(values(f, g[order], f2, g2[order], turned), base, rtol=1e-9)
    rep = rep_distance(f, g, f2, g2).value
    np.testing.assert_allclose(rep_distance(f, g, f2 @ a.T, g2 @ inverse + b).value, rep, rtol=1e-9)
    assert abs(rep_distance(3 * f, g / 3, f2, g2).value / rep - 3) < 1e-9  # in units of the first
    # What is not claimed: a translation of embeddings is a bias of the head.
    assert abs(float(llv_distance((f + 1) @ g.T, f2 @ g2.T, **sets).value - base[0])) > 0.01


def test_bounds_say_when_they_say_nothing():
    for call, match in (
        (lambda: llv_bound(0.3, 2), r"llv_bound: vacuous: eps must be below 1 / \(2m\) = 0.25"),
        (lambda: llv_bound_tight(0.8), "vacuous: eps must be below 1 / sqrt"),
        (lambda: logit_distance_bound(1.0, least=1e-3, classes=5), "vacuous: any two models"),
        (lambda: rep_distance_bound(1.0, s_min=0.0, m=2, classes=5), r"s_min = 0"),
        (lambda: cca_bound(3.0, eigenvalue=0.5, m=2), "vacuous"),
    ):
        with pytest.warns(UninformativeWarning, match=match):
            call()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [float(v) for v in (llv_bound(0.0, 2), llv_bound_tight(0), kl_bound(2.0))] == [0, 0, 1]
        assert float(jax.jit(lambda eps: llv_bound(eps, 2))(0.9)) == 1
        np.testing.assert_allclose(logit_distance_bound(0.0, least=0.2, classes=4), 0)
        logit_distance_bound(1e-6, least=0.2, classes=4)
    for call, match in (
        (lambda: llv_bound(-0.1, 2), "eps must be at least 0"),
        (lambda: llv_bound(0.1, 0), "m must be at least 1"),
        (
            lambda: logit_distance_bound(0.1, least=0.5, classes=4),
            r"least must be above 0 and at most 1 / classes = 0.25",
        ),
        (lambda: constructions.tightness_pair(0.6, m=2), "eps at most"),
    ):
        with pytest.raises(ValueError, match=match):
            call()


def test_the_constants_of_the_specification(float64):
    # C for R = ln(1 / τ), of one label; here of the largest spread with two.
    for tau in (1e-1, 1e-4):
        spread = np.log((1 - tau) / tau)
        constant = spread**2 / (tau * (np.exp(-spread) - 1 + spread))
        np.testing.assert_allclose(logit_distance_bound(1e-9, least=tau, classes=2) ** 2, constant * 1e-9, rtol=1e-9)
