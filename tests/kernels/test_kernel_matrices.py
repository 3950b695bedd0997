"""Kernels as matrices: values, hyperparameters, pytrees, and errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import kernel_family as oracle

from jaxalign.kernels import RBF, Cosine, Distance, Laplacian, Linear, MedianDistance, Polynomial, Product, Sum
from jaxalign.signatures import GramSignature

X = np.random.default_rng(0).standard_normal((9, 4))
KERNELS = {
    "linear": (Linear(), oracle.linear),
    "cosine": (Cosine(), oracle.cosine),
    "polynomial": (Polynomial(2, 0.5, 2.0), lambda x: oracle.polynomial(x, 2, 0.5, 2.0)),
    "rbf": (RBF(2.0), lambda x: oracle.rbf(x, 2.0)),
    "laplacian": (Laplacian(2.0), lambda x: oracle.laplacian(x, 2.0)),
    "distance": (Distance(), oracle.distance),
    "distance, 0.5": (Distance(0.5), lambda x: oracle.distance(x, 0.5)),
    "distance, 2": (Distance(2), lambda x: oracle.distance(x, 2)),
    "sum": (RBF(2.0) + Linear(), lambda x: oracle.rbf(x, 2.0) + oracle.linear(x)),
    "product": (Cosine() * RBF(2.0), lambda x: oracle.cosine(x) * oracle.rbf(x, 2.0)),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", KERNELS)
def test_matrix_and_diagonal_equal_the_definition(name):
    kernel, of = KERNELS[name]

    @jax.jit
    def parts(x):
        return kernel(x), kernel(x[:5], x[3:]), kernel.diag(x)

    expected = of(X)
    for found, value in zip(parts(X), (expected, expected[:5, 3:], np.diag(expected)), strict=True):
        np.testing.assert_allclose(found, value, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", KERNELS)
def test_deviations_are_the_matrix_up_to_a_constant(name):
    kernel, of = KERNELS[name]
    constants = np.asarray(jax.jit(lambda x: kernel.deviate(kernel.scaled(x), kernel.scaled(x)))(X)) - of(X)
    np.testing.assert_allclose(constants, constants[0, 0], atol=1e-12)


def test_distances_keep_their_digits_far_from_the_origin():
    far = (X + 1000).astype(np.float32)
    for kernel, of in (KERNELS["rbf"], KERNELS["laplacian"], KERNELS["distance"]):
        near, across = jax.jit(lambda x, kernel=kernel: (kernel(x), kernel(x[:5], x[5:])))(far)
        np.testing.assert_allclose(near, of(far), atol=2e-6)
        np.testing.assert_allclose(across, of(far)[:5, 5:], atol=2e-6)


def test_equal_rows_have_distance_0_exactly():
    """With many features, whose squared lengths and products do not round alike."""
    label = np.arange(60) % 3
    x = np.random.default_rng(1).standard_normal((3, 301)).astype(np.float32)[label]
    same = label[:, None] == label[None, :]
    assert np.all(np.asarray(Distance()(x))[same] == 0)
    assert np.all(np.asarray(RBF(20.0)(x))[same] == 1)
    assert np.all(np.asarray(Distance()(x))[~same] < -0.1)


def test_a_zero_row_has_cosine_0():
    x = X.astype(np.float32).copy()
    x[2] = 0
    np.testing.assert_allclose(Cosine()(x), oracle.cosine(x), atol=1e-6)
    assert np.all(np.asarray(Cosine()(x))[2] == 0)


def test_nan_in_a_row_is_nan_in_its_entries():
    x = X.astype(np.float32).copy()
    x[2, 1] = np.nan

    @jax.jit
    def matrices(x):
        return {name: kernel.evaluate(kernel.scaled(x), kernel.scaled(x)) for name, (kernel, _) in KERNELS.items()}

    for name, matrix in matrices(x).items():
        matrix = np.asarray(matrix)
        assert np.isnan(matrix[2]).all(), name
        assert np.isfinite(np.delete(np.delete(matrix, 2, 0), 2, 1)).all(), name


def test_half_precision_is_widened_and_mixed_dtypes_meet():
    x = jnp.asarray(X, jnp.bfloat16)

    @jax.jit
    def matrices(x):
        return {name: kernel(x, x.astype(jnp.float32)) for name, (kernel, _) in KERNELS.items()}

    for name, matrix in matrices(x).items():
        assert matrix.dtype == jnp.float32
        np.testing.assert_allclose(matrix, KERNELS[name][1](x), rtol=1e-4, atol=1e-4, err_msg=name)


def test_hyperparameters_are_leaves_and_facts_are_not():
    assert jax.tree.leaves(RBF(2.0)) == [2.0]
    assert jax.tree.leaves(Polynomial(3, 0.5, 2.0)) == [0.5, 2.0]
    assert jax.tree.leaves(RBF(2.0) + Laplacian(3.0)) == [2.0, 3.0]
    for kernel in (Linear(), Cosine(), Distance(1.5), RBF(), RBF("kornblith")):
        assert jax.tree.leaves(kernel) == []
    assert jax.tree.structure(RBF("median")) == jax.tree.structure(RBF(MedianDistance()))
    assert jax.tree.structure(Distance(1.5)) != jax.tree.structure(Distance(1.0))


def test_kernels_map_over_their_hyperparameters():
    x = jnp.asarray(X, jnp.float32)
    found = jax.vmap(lambda sigma: RBF(sigma)(x))(jnp.asarray([1.0, 2.0]))
    np.testing.assert_allclose(found[1], oracle.rbf(X, 2.0), atol=1e-6)


@pytest.mark.slow
def test_sums_and_products_inherit_what_both_parts_have():
    assert isinstance(RBF() + Distance(), Sum)
    assert isinstance(RBF() * Distance(), Product)
    assert (RBF() + Distance()).translation_invariant
    assert not (RBF() + Linear()).translation_invariant
    assert (Linear() * Distance()).homogeneous
    assert not (RBF(2.0) * Linear()).homogeneous
    fitted = (RBF() * Laplacian()).fit(jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(fitted.right.bandwidth, oracle.median_sigma(X), rtol=1e-6)


def test_definitions_name_every_setting():
    assert [k.definition for k in (Linear(), Cosine(), RBF(), RBF(2.0), Laplacian("kornblith"))] == [
        "linear",
        "cosine",
        "rbf(median)",
        "rbf(sigma=2.0)",
        "laplacian(kornblith)",
    ]
    assert Polynomial(2, 0.5, 2.0).definition == "polynomial(degree=2,scale=0.5,offset=2.0)"
    assert Distance(1.5).definition == "distance(exponent=1.5)"
    assert (RBF(MedianDistance(scale=0.5)) + Linear()).definition == "(rbf(median,scale=0.5) + linear)"


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: RBF(0.0), ValueError, "RBF: bandwidth must be positive, got 0.0"),
        (lambda: Laplacian(-1.0), ValueError, "Laplacian: bandwidth must be positive"),
        (lambda: RBF(True), TypeError, "RBF: bandwidth must be a number"),
        (lambda: RBF("medain"), ValueError, "did you mean 'median'"),
        (lambda: MedianDistance(scale=0.0), ValueError, "scale must be positive"),
        (lambda: Polynomial(0), ValueError, "degree must be at least 1"),
        (lambda: Polynomial(2.5), TypeError, "degree must be an integer"),
        (lambda: Distance(0.0), ValueError, "exponent must be in (0, 2]"),
        (lambda: Distance(2.5), ValueError, "exponent must be in (0, 2]"),
        (lambda: Distance("1"), TypeError, "exponent must be a number"),
        (lambda: Linear()([[1.0, 2.0]]), TypeError, "Linear: x must be an array"),
        (lambda: Linear()(np.ones((2, 2), int)), TypeError, "Linear: x must be floating point"),
        (lambda: RBF()(np.ones(3, np.float32)), ValueError, "RBF: x must have shape (examples, features)"),
        (
            lambda: RBF()(np.ones((3, 2), np.float32), np.ones((3, 4), np.float32)),
            ValueError,
            "same number of features, got 2 and 4",
        ),
        (lambda: RBF().evaluate(jnp.ones((2, 2)), jnp.ones((2, 2))), ValueError, "call kernel.fit(x)"),
    ],
)
def test_mistakes_are_named(make, error, says):
    with pytest.raises(error) as caught:
        make()
    assert says in str(caught.value)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", KERNELS)
def test_a_gram_gives_its_matrix_back_in_the_users_units(name):
    kernel, of = KERNELS[name]
    mask = np.arange(9) != 4
    x = np.where(mask[:, None], X, np.nan)
    matrix = np.asarray(jax.jit(lambda x, mask: GramSignature(kernel, centering="none")(x, mask).matrix())(x, mask))
    np.testing.assert_allclose(matrix[np.ix_(mask, mask)], of(X[mask]), atol=1e-12)
    assert np.all(matrix[4] == 0)
    assert np.all(matrix[:, 4] == 0)
