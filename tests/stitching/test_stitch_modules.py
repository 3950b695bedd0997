"""Stitching modules: what they compute, what they start from, and that JAX and Linen can take them."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxalign.stitching import (
    MLP,
    Affine,
    Conv1x1,
    LowRank,
    Orthogonal,
    Permutation,
    Residual,
    TokenAffine,
    least_squares,
)

RNG = np.random.default_rng(0)
RNGS = nnx.Rngs(0)


def rotation(d, seed=0, determinant=None):
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
    if determinant is not None and np.linalg.det(q) * determinant < 0:
        q[:, 0] *= -1
    return q


def stitch(kernel, bias=None):
    kernel = jnp.asarray(kernel, jnp.float32)
    bias = np.arange(kernel.shape[1]) / 4 if bias is None else bias
    return SimpleNamespace(kernel=kernel, bias=jnp.asarray(bias, jnp.float32))


MODULES = {
    "affine": (lambda rngs: Affine(6, 4, rngs=rngs), (5, 6), (5, 4)),
    "linear": (lambda rngs: Affine(6, 4, rngs=rngs, use_bias=False), (5, 6), (5, 4)),
    "tokens": (lambda rngs: TokenAffine(6, 4, rngs=rngs), (5, 3, 6), (5, 3, 4)),
    "conv": (lambda rngs: Conv1x1(6, 4, rngs=rngs), (5, 2, 3, 6), (5, 2, 3, 4)),
    "conv to a grid": (lambda rngs: Conv1x1(6, 4, grid=(4, 2), rngs=rngs), (5, 2, 3, 6), (5, 4, 2, 4)),
    "low rank": (lambda rngs: LowRank(6, 4, 2, rngs=rngs), (5, 6), (5, 4)),
    "narrowing": (lambda rngs: Orthogonal(6, 4, rngs=rngs), (5, 6), (5, 4)),
    "widening": (lambda rngs: Orthogonal(4, 6, rngs=rngs, use_scale=True), (5, 4), (5, 6)),
    "permutation": (lambda rngs: Permutation(4, 4, rngs=rngs), (5, 4), (5, 4)),
    "mlp": (lambda rngs: MLP(6, 4, hidden=[7, 8], rngs=rngs), (5, 6), (5, 4)),
    "mlp, skip": (lambda rngs: MLP(6, 4, hidden=[7], skip=True, rngs=rngs), (5, 6), (5, 4)),
    "residual": (lambda rngs: Residual(6, 4, hidden=[7], rngs=rngs), (5, 6), (5, 4)),
}


def draw(shape, dtype=jnp.float32, seed=1):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


#: Left to the slow tests: what others are made of, or stand for.
COVERED = {"linear", "tokens", "conv", "mlp", "widening"}


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] if name in COVERED else []) for name in MODULES], scope="module"
)
def case(request):
    make, shape_in, shape_out = MODULES[request.param]
    return make(nnx.Rngs(3)), shape_in, shape_out


def test_shapes_and_accumulation_in_float32(case):
    module, shape_in, shape_out = case
    graphdef, state = nnx.split(module)
    for dtype in (jnp.float32, jnp.bfloat16):
        x = jax.ShapeDtypeStruct(shape_in, dtype)
        half = jax.tree.map(lambda a, dtype=dtype: a.astype(dtype), state)
        weights = state if isinstance(module, Orthogonal) else half  # there are no solvers in half precision
        out = jax.eval_shape(lambda s, x: nnx.merge(graphdef, s)(x), weights, x)
        assert (out.shape, out.dtype) == (shape_out, jnp.float32)


def test_jit_vmap_and_grad_go_through_split_and_merge(case):
    module, shape_in, _ = case
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)
    x = draw((2, *shape_in))

    @jax.jit
    def value_and_gradient(params):
        def loss(p):
            return jnp.sum(jax.vmap(nnx.merge(graphdef, p, rest))(x) ** 2)

        return jax.value_and_grad(loss)(params)

    value, gradient = value_and_gradient(params)
    np.testing.assert_allclose(value, sum(float(jnp.sum(module(v) ** 2)) for v in x), rtol=1e-5)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)
    assert all(bool(jnp.all(jnp.isfinite(g))) for g in jax.tree.leaves(gradient))
    assert any(bool(jnp.any(g != 0)) for g in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_the_linen_module_has_the_same_output_and_gradient(case):
    module, shape_in, _ = case
    x = draw(shape_in)
    linen_module, variables = module.as_linen()
    np.testing.assert_allclose(jax.jit(linen_module.apply)(variables, x), module(x), rtol=1e-6, atol=1e-6)
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)
    ours = jax.grad(lambda p: jnp.sum(nnx.merge(graphdef, p, rest)(x) ** 3))(params)
    fixed = {name: value for name, value in variables.items() if name != "params"}
    theirs = jax.grad(lambda p: jnp.sum(linen_module.apply({**fixed, "params": p}, x) ** 3))(variables["params"])
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_linen_module_has_a_copy_of_the_weights_and_what_it_is_given_counts():
    module = Affine(3, 2, rngs=nnx.Rngs(0))
    linen_module, variables = module.as_linen()
    before = module.kernel[...]
    variables = jax.tree.map(jnp.zeros_like, variables)
    assert not jnp.any(linen_module.apply(variables, jnp.ones((1, 3))))
    np.testing.assert_array_equal(module.kernel[...], before)


def test_orthogonal_has_orthonormal_rows_or_columns_after_200_steps():
    for d_in, d_out in ((6, 6), (8, 5), (5, 8)):
        module = Orthogonal(d_in, d_out, rngs=nnx.Rngs(1))
        graphdef, params, rest = nnx.split(module, nnx.Param, ...)
        x, y = draw((30, d_in)), draw((30, d_out), seed=2)
        optimizer = optax.adam(0.05)

        @jax.jit
        def train(params, graphdef=graphdef, rest=rest, x=x, y=y, optimizer=optimizer):
            def step(carry, _):
                params, state = carry
                gradient = jax.grad(lambda p: jnp.mean((nnx.merge(graphdef, p, rest)(x) - y) ** 2))(params)
                updates, state = optimizer.update(gradient, state, params)
                return (optax.apply_updates(params, updates), state), None

            with jax.numpy_dtype_promotion("standard"):
                return jax.lax.scan(step, (params, optimizer.init(params)), length=200)[0][0]

        trained = nnx.merge(graphdef, train(params), rest)
        kernel = np.asarray(trained.kernel, np.float64)
        assert np.abs(kernel - np.asarray(module.kernel)).max() > 0.3
        inner = kernel @ kernel.T if d_in <= d_out else kernel.T @ kernel
        np.testing.assert_allclose(inner, np.eye(min(d_in, d_out)), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("determinant", [1, -1])
def test_orthogonal_starts_from_rotations_and_from_reflections(determinant):
    kernel = rotation(5, determinant=determinant)
    module = Orthogonal.from_stitch(stitch(kernel))
    np.testing.assert_allclose(module.kernel, kernel, atol=1e-6)
    scaled = Orthogonal.from_stitch(stitch(2.5 * kernel), use_scale=True)
    np.testing.assert_allclose(scaled.kernel, 2.5 * kernel, atol=3e-6)


@pytest.mark.slow
def test_orthogonal_starts_from_the_nearest_of_another_matrix():
    matrix = RNG.standard_normal((7, 4))
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    np.testing.assert_allclose(Orthogonal.from_stitch(stitch(matrix)).kernel, u @ vt, atol=1e-5)
    np.testing.assert_allclose(Orthogonal.from_stitch(stitch(matrix.T)).kernel, (u @ vt).T, atol=1e-5)
    with pytest.raises(ValueError, match="must have rank 4, got rank 3"):
        Orthogonal.from_stitch(stitch(matrix @ np.diag([1, 1, 1, 0])))


def affine_cases():
    kernel = RNG.standard_normal((6, 4))
    yield "affine", Affine.from_stitch(stitch(kernel)), kernel
    yield "low rank", LowRank.from_stitch(stitch(kernel), rank=4), kernel
    yield "mlp", MLP.from_stitch(stitch(kernel), hidden=[9], rngs=nnx.Rngs(0)), kernel
    yield "residual", Residual.from_stitch(stitch(kernel), hidden=[9], rngs=nnx.Rngs(0)), kernel
    tall = rotation(6)[:, :4]
    yield "orthogonal", Orthogonal.from_stitch(stitch(tall)), tall
    permutation = np.eye(6)[RNG.permutation(6)]
    yield "permutation", Permutation.from_stitch(stitch(permutation), temperature=0.05), permutation


@pytest.mark.slow
@pytest.mark.parametrize("name", ["affine", "low rank", "mlp", "residual", "orthogonal", "permutation"])
def test_the_start_is_the_closed_form(name):
    module, kernel = next((m, k) for n, m, k in affine_cases() if n == name)
    x = np.asarray(draw((5, 6)), np.float64)
    np.testing.assert_allclose(
        module(jnp.asarray(x, jnp.float32)), x @ kernel + np.arange(kernel.shape[1]) / 4, atol=1e-5
    )


def test_tokens_and_maps_start_as_the_closed_form_at_every_place():
    closed = stitch(RNG.standard_normal((6, 4)))
    tokens, maps = draw((2, 3, 6)), draw((2, 3, 5, 6))
    for module, x in ((TokenAffine.from_stitch(closed), tokens), (Conv1x1.from_stitch(closed), maps)):
        np.testing.assert_allclose(
            module(x), np.asarray(x) @ np.asarray(closed.kernel) + np.asarray(closed.bias), atol=1e-5
        )
    small = Conv1x1.from_stitch(closed, grid=(1, 1))(maps)  # all positions weigh something
    constant = Conv1x1.from_stitch(closed, grid=(7, 2))(jnp.ones((1, 3, 5, 6)))
    assert small.shape == (2, 1, 1, 4)
    np.testing.assert_allclose(constant[0, 6, 1], np.asarray(closed.kernel).sum(0) + np.asarray(closed.bias), atol=1e-5)


@pytest.mark.slow
def test_a_closed_form_that_resizes_is_taken_by_modules_that_do():
    maps, other = draw((9, 8, 8, 3)), draw((9, 4, 5, 2))
    closed = least_squares(maps, other)
    module = Conv1x1.from_stitch(closed)
    assert module.grid == (4, 5)
    np.testing.assert_allclose(module(maps), closed(maps), atol=1e-5)
    assert Conv1x1.from_stitch(closed, grid=(2, 2)).grid == (2, 2)
    for kind in (Affine, TokenAffine, partial(LowRank.from_stitch, rank=1), Orthogonal):
        start = getattr(kind, "from_stitch", kind)
        with pytest.raises(
            ValueError, match=r"from_stitch: stitch must be a map of features, .* to \(4, 5\); use Conv"
        ):
            start(closed)


def test_low_rank_starts_from_the_truncated_decomposition():
    matrix = RNG.standard_normal((6, 4))
    u, s, vt = np.linalg.svd(matrix)
    module = LowRank.from_stitch(stitch(matrix), rank=2)
    np.testing.assert_allclose(module.kernel, (u[:, :2] * s[:2]) @ vt[:2], atol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(module.down[...]), jnp.linalg.norm(module.up[...]), rtol=1e-5)


@pytest.mark.slow
def test_a_permutation_is_read_in_both_forms_and_sums_to_one(x64):
    order = np.array([2, 0, 3, 1])
    target = np.eye(4)[:, order]
    module = Permutation.from_stitch(stitch(target + 0.2 * RNG.standard_normal((4, 4))))
    x = draw((5, 4))
    np.testing.assert_array_equal(module.indices(), order)
    np.testing.assert_array_equal(module.hard(), target)
    np.testing.assert_array_equal(x[:, module.indices()], x @ module.hard())
    np.testing.assert_allclose(module.kernel.sum(0), 1, atol=1e-6)
    np.testing.assert_allclose(module.kernel.sum(1), 1, atol=2e-2)  # on the way there


def test_residual_starts_as_its_affine_part_and_can_leave_it():
    module, x = Residual(6, 4, hidden=[9], rngs=nnx.Rngs(0)), draw((5, 6))
    np.testing.assert_array_equal(module(x), module.base(x))
    graphdef, params = nnx.split(module)
    gradient = jax.grad(lambda p: jnp.sum(nnx.merge(graphdef, p)(x) ** 2))(params)
    assert jnp.any(gradient["branch"]["kernels"][1][...] != 0)


ERRORS = [
    (lambda: Affine(0, 3, rngs=RNGS), ValueError, "Affine: d_in must be at least 1, got 0"),
    (lambda: Affine(3, 2.0, rngs=RNGS), TypeError, "Affine: d_out must be an integer, got float 2.0"),
    (lambda: Affine(3, 2, rngs=RNGS)(jnp.ones((4, 5))), ValueError, r"Affine: x must have shape \(examples, 3\), got"),
    (lambda: TokenAffine(3, 2, rngs=RNGS)(jnp.ones((4, 3))), ValueError, r"shape \(examples, tokens, 3\), got"),
    (lambda: Conv1x1(3, 2, rngs=RNGS)(jnp.ones((4, 3))), ValueError, r"shape \(examples, height, width, 3\), got"),
    (lambda: Conv1x1(3, 2, grid=4, rngs=RNGS), TypeError, r"grid must be a tuple \(height, width\), got int 4"),
    (lambda: Conv1x1(3, 2, grid=(4, 0), rngs=RNGS), ValueError, "width of grid must be at least 1, got 0"),
    (lambda: LowRank(3, 2, 3, rngs=RNGS), ValueError, "rank must be at most min.d_in, d_out. = 2, got 3"),
    (lambda: Permutation(3, 2, rngs=RNGS), ValueError, "d_in and d_out must be equal, got 3 and 2"),
    (lambda: Permutation(3, 3, rngs=RNGS, temperature=0.0), ValueError, "temperature must be positive"),
    (lambda: MLP(3, 2, hidden=[], rngs=RNGS), ValueError, "MLP: hidden must name at least one layer"),
    (lambda: Residual(3, 2, hidden=[4, 0], rngs=RNGS), ValueError, r"Residual: hidden\[1\] must be at least 1, got 0"),
    (lambda: MLP(3, 2, hidden=8, rngs=RNGS), TypeError, "hidden must be a list or tuple of widths, got int 8"),
    (lambda: Affine.from_stitch(jnp.ones(3)), TypeError, "Affine.from_stitch: stitch must have a kernel and a bias"),
    (lambda: Affine.from_stitch(stitch(np.eye(3), np.ones(2))), ValueError, r"and a bias \(d_out,\), got"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
