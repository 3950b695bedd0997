"""Measures that are one another in other words: each relation on 200 random instances, in float64, to 1e-9.

What `docs/equivalences.md` shows on one input. Which relations are in print, and where print is wrong, is said there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign as ja
from jaxalign.kernels import RBF, Distance
from jaxalign.task import kare

INSTANCES, N, P, Q = 200, 14, 3, 4

pytestmark = pytest.mark.usefixtures("float64")


def instances():
    """Pairs of dependent inputs, features of many scales, with a mean."""
    g = np.random.default_rng(0)
    x = g.standard_normal((INSTANCES, N, P)) * np.exp(g.standard_normal((INSTANCES, 1, P)))
    noise = np.exp(g.uniform(-3, 1, (INSTANCES, 1, 1)))
    y = np.tanh(x @ g.standard_normal((INSTANCES, P, Q))) + noise * g.standard_normal((INSTANCES, N, Q))
    return x + g.standard_normal((INSTANCES, 1, P)), y + g.standard_normal((INSTANCES, 1, Q))


X, Y = instances()


def on_all(function, *more):
    """What a function of a pair makes of all instances, as NumPy."""
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(function))(X, Y, *more))


def close(one, other, rtol=1e-9, atol=1e-12):
    assert one.shape[0] == INSTANCES
    np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


def norm(k):
    """`‖K‖ / n`, the `N` of the relations."""
    return jnp.sqrt(jnp.sum(k * k)) / k.shape[0]


def centered(x):
    return x - jnp.mean(x, axis=0)[None, :]


def double_centered(k):
    return centered(centered(k).T)


def test_distance_alignment_of_unit_rows_is_kernel_alignment():
    def both(x, y):
        unit = [ja.preprocess.normalize_rows(v) for v in (x, y)]
        n1, n2 = (norm(v @ v.T) for v in unit)
        alignment = ja.kernel_alignment(*unit)
        return ja.distance_alignment(x, y), 4 * (n1**2 + n2**2 - 2 * alignment * n1 * n2), (n1, n2, alignment)

    distance, formula, (n1, _, alignment) = on_all(both)
    close(distance, formula)
    # As printed, with the norm itself for C, it is another number; with its square it is right where norms are equal.
    printed = 8 * n1 * (1 - alignment)
    assert np.all(np.abs(printed - distance) > 1e-3 * distance)


def test_distance_alignment_of_unit_rows_with_equal_norms():
    """Rows of a matrix and of the same ones in another order: both norms are equal."""

    def both(x, y):
        other = x[::-1]
        unit = [ja.preprocess.normalize_rows(v) for v in (x, other)]
        n1 = norm(unit[0] @ unit[0].T)
        return ja.distance_alignment(x, other), 8 * n1**2 * (1 - ja.kernel_alignment(*unit))

    close(*on_all(both))


def test_centered_distance_alignment_of_any_rows_is_cka():
    def both(x, y):
        n1, n2 = (norm(centered(v) @ centered(v).T) for v in (x, y))
        found = ja.distance_alignment(x, y, rows="raw", centered=True)
        return found, 4 * (n1**2 + n2**2 - 2 * ja.cka(x, y) * n1 * n2)

    close(*on_all(both))


def test_hsic_is_the_squared_mmd_of_the_joint_from_the_product():
    kernel = RBF(2.0)

    def both(x, y):
        k, h = kernel(x), kernel(y)
        of_all = jnp.mean(k * h) + jnp.mean(k) * jnp.mean(h) - 2 * jnp.mean(jnp.mean(k, axis=1) * jnp.mean(h, axis=1))
        return ja.hsic(x, y, kernel=kernel), of_all

    close(*on_all(both))


def test_hsic_is_mmd_by_its_own_function():
    """A product of two RBF kernels is the RBF kernel of both inputs side by side: `mmd` takes the two samples."""

    def both(x, y):
        x, y = x[:8], y[:8]
        joint = jnp.concatenate([x, y], axis=1)
        product = jnp.concatenate([jnp.repeat(x, 8, axis=0), jnp.tile(y, (8, 1))], axis=1)
        kernel = RBF(2.0)
        return ja.hsic(x, y, kernel=kernel), ja.mmd(joint, product, kernel=kernel) ** 2

    close(*on_all(both), rtol=1e-8, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [1.0, 0.5])
def test_distance_correlation_is_cka(exponent):
    def both(x, y):
        kernel = Distance(exponent)
        # With the kernel -‖x - y‖ / 2, whose centered form for exponent 2 is the linear one, it is 4 HSIC.
        half = [double_centered(kernel(v) / 2) for v in (x, y)]
        return (
            (ja.distance_correlation(x, y, exponent=exponent) ** 2, ja.cka(x, y, kernel=kernel)),
            (ja.distance_covariance(x, y, exponent=exponent) ** 2, ja.hsic(x, y, kernel=kernel)),
            (ja.hsic(x, y, kernel=kernel), 4 * jnp.sum(half[0] * half[1]) / N**2),
        )

    for pair in on_all(both):
        close(*pair)


def test_at_exponent_two_it_is_linear_cka():
    def both(x, y):
        return ja.distance_correlation(x, y, exponent=2.0) ** 2, ja.cka(x, y)

    close(*on_all(both))


@pytest.mark.parametrize("kernel", [RBF(2.0), None], ids=["rbf", "linear"])
def test_coco_is_between_hsic_and_its_share(kernel):
    given = {} if kernel is None else {"kernel": kernel}

    def both(x, y):
        return ja.constrained_covariance(x, y, **given) ** 2, ja.hsic(x, y, **given)

    largest, total = on_all(both)
    rank = min(P, Q) if kernel is None else N - 1
    assert np.all(largest <= total * (1 + 1e-9))
    assert np.all(total <= rank * largest * (1 + 1e-9))
    # With one feature on a side the linear operator has rank 1, and all three are equal.
    if kernel is None:
        close(*on_all(lambda x, y: both(x[:, :1], y)))


def test_kernel_information_is_between_halves_of_hsic():
    def both(x, y):
        kernel = RBF(2.0)
        information = ja.kernel_mutual_information(x, y, kernel=kernel)
        return information, ja.hsic(x, y, kernel=kernel), ja.constrained_covariance(x, y, kernel=kernel)

    information, total, largest = on_all(both)
    assert np.all(total / 2 <= information * (1 + 1e-9))
    assert np.all(information <= total / 2 / (1 - largest**2) * (1 + 1e-9))


def test_kernel_canonical_correlation_without_a_ridge_is_cca():
    def both(x, y):
        top = ja.canonical_correlations(x, y)[0]
        return top, *(ja.kernel_canonical_correlation(x, y, ridge=ridge) for ridge in (0.0, 1e-13, 1e-3))

    top, none, little, more = on_all(both)
    close(none, top)
    close(little, top)
    assert np.all(more < top)


def test_gaussian_dependence_is_that_of_covariances():
    def both(x, y):
        rho = ja.canonical_correlations(x, y)
        x, y = centered(x), centered(y)
        joint = jnp.concatenate([x, y], axis=1)
        logs = [jnp.linalg.slogdet(v.T @ v)[1] for v in (x, y, joint)]
        # The eigenvalues of the joint covariance of whitened inputs are 1 ± rho, and 1.
        roots = jnp.sqrt(1 + rho) + jnp.sqrt(1 - rho)
        information, transport = ja.gaussian_mutual_information(x, y), ja.gaussian_wasserstein_dependence(x, y)
        return (
            (information, (logs[0] + logs[1] - logs[2]) / 2),
            (information, -0.5 * jnp.sum(jnp.log1p(-rho * rho))),
            (transport, jnp.sum(4 - 2 * roots)),
        )

    for pair in on_all(both):
        close(*pair)


def test_the_printed_wasserstein_formula_contradicts_the_one_for_gaussians():
    def both(rho):
        covariance = jnp.array([[1.0, 0.0], [0.0, 1.0]]) + rho * jnp.array([[0.0, 1.0], [1.0, 0.0]])
        values, vectors = jnp.linalg.eigh(covariance)
        root = (vectors * jnp.sqrt(values)[None, :]) @ vectors.T
        distance = jnp.trace(covariance + jnp.eye(2) - 2 * root)
        return distance, 4 - 2 * jnp.sqrt(1 + rho) - 2 * jnp.sqrt(1 - rho), 2 * (1 - jnp.sqrt(1 - rho**2))

    rho = np.linspace(0.01, 0.99, INSTANCES)
    distance, corrected, printed = (np.asarray(v) for v in jax.jit(jax.vmap(both))(rho))
    close(distance, corrected)
    assert np.all(printed > distance * 1.5)
    at = jax.jit(both)(0.6)
    np.testing.assert_allclose(at, [0.205266807798, 0.205266807798, 0.4], atol=1e-11)


@pytest.mark.slow
def test_cca_r_squared_and_cka():
    def both(x, y):
        rho = ja.canonical_correlations(x, y)
        bases = [ja.preprocess.whiten(v) for v in (x, y)]
        squared = ja.linear_predictivity(x, y)
        participation = ja.participation_ratio(y)
        return (
            (ja.cka(*bases), jnp.sum(rho**2) / np.sqrt(P * Q)),
            (ja.cca(x, y, reduce="mean_squared"), jnp.sum(rho**2) / min(P, Q)),
            (ja.cka(bases[0], y), squared * jnp.sqrt(participation / P)),
            (ja.gulp(x, y) ** 2, P + Q - 2 * jnp.sum(rho**2)),
        )

    for pair in on_all(both):
        close(*pair)


def limit(x, y, affine, penalty):
    """λ (variance - error) / (2 ‖Σ₁‖ ‖Σ₂‖) of ridge stitching: kernel alignment for a large λ, up to a term in 1/λ."""
    x, y = (centered(v) if affine else v for v in (x, y))
    moments = [v.T @ v / N for v in (x, y)]
    fit = ja.stitching.ridge(x, y, penalty=penalty, affine=affine)
    sizes = [jnp.sqrt(jnp.sum(m * m)) for m in moments]
    return penalty * (fit.variance - fit.error) / (2 * sizes[0] * sizes[1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::jaxalign.UninformativeWarning")
@pytest.mark.parametrize("affine", [False, True], ids=["linear", "affine"])
def test_alignment_is_the_limit_of_ridge_stitching(affine):
    def both(x, y):
        # Three values of a power series in 1/λ, from which its first terms are taken off.
        penalty = 2e3 * jnp.sum(x * x) / N
        one, two, four = (limit(x, y, affine, penalty * factor) for factor in (1, 2, 4))
        first, second = 2 * two - one, 2 * four - two
        alignment = ja.cka(x, y) if affine else ja.kernel_alignment(x, y)
        r_squared = ja.stitching.least_squares(x, y, affine=affine).r_squared
        small = ja.stitching.ridge(x, y, penalty=1e-14 * penalty, affine=affine).r_squared
        return ((4 * second - first) / 3, alignment), (small, r_squared)

    heavy, light = on_all(both)
    close(*heavy)
    close(*light)


@pytest.mark.filterwarnings("ignore::jaxalign.UninformativeWarning")
def test_kare_is_generalized_cross_validation():
    def both(x, y, penalty):
        path = ja.stitching.ridge_path(x, y, penalties=penalty[None], affine=False)
        return kare(x, y, penalty=penalty), path.gcv_errors[0]

    penalties = np.exp(np.random.default_rng(1).uniform(-8, 4, INSTANCES))
    close(*on_all(both, penalties))


def test_kare_of_another_kernel_is_generalized_cross_validation():
    kernel = RBF(2.0)

    def both(x, y, penalty):
        k = kernel(x)
        hat = k @ jnp.linalg.inv(k + N * penalty * jnp.eye(N))
        error = jnp.sum((y - hat @ y) ** 2) / N
        return kare(x, y, penalty=penalty, kernel=kernel), error / (1 - jnp.trace(hat) / N) ** 2

    close(*on_all(both, np.exp(np.random.default_rng(1).uniform(-4, 4, INSTANCES))))
