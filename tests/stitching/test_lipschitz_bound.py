"""Bounds of heads: of each layer, of networks against slopes, and what is refused."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxalign.stitching import (
    MLP,
    Affine,
    Conv1x1,
    LinearStitch,
    LowRank,
    Orthogonal,
    Permutation,
    Residual,
    TokenAffine,
)
from jaxalign.stitching.lipschitz import LipschitzBound, given, lipschitz_bound, mean_pool, residual

RNG = np.random.default_rng(0)
RNGS = nnx.Rngs(0)


def slopes(head, shape, *, pairs=400, scale=1.0):
    """The largest Jacobian norm at random points: below the constant."""
    points = jnp.asarray(scale * RNG.standard_normal((pairs, *shape)), jnp.float32)

    def norm(x):
        jacobian = jax.jacobian(lambda z: head(z[None])[0].ravel())(x)
        return jacobian.reshape(jacobian.shape[0], -1)

    return np.linalg.norm(np.asarray(jax.jit(jax.vmap(norm))(points), np.float64), 2, axis=(1, 2)).max()


def pure(module):
    graphdef, state = nnx.split(module)
    return lambda z: nnx.merge(graphdef, state)(z)


def randomized(module, scale=0.5):
    """Every parameter drawn anew, so that none is at a value where a mistake would not show."""
    graphdef, state = nnx.split(module)

    def draw(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return jnp.asarray(scale * RNG.standard_normal(leaf.shape), leaf.dtype)

    return nnx.merge(graphdef, jax.tree.map(draw, state))


MODULES = {
    "Affine": (lambda: Affine(3, 4, rngs=RNGS), (3,), 1.0),
    "TokenAffine": (lambda: TokenAffine(3, 4, rngs=RNGS), (2, 3), 1.0),
    "Conv1x1": (lambda: Conv1x1(3, 2, rngs=RNGS), (2, 2, 3), 1.0),
    "Conv1x1, coarser": (lambda: Conv1x1(2, 2, grid=(2, 3), rngs=RNGS), (4, 5, 2), 1.0),
    "Conv1x1, finer": (lambda: Conv1x1(2, 2, grid=(5, 3), rngs=RNGS), (2, 3, 2), 1.0),
    "LowRank": (lambda: LowRank(5, 4, 2, rngs=RNGS), (5,), 1.0),
    "Orthogonal, wide": (lambda: Orthogonal(3, 4, rngs=RNGS, use_scale=True), (3,), 1.0),
    "Orthogonal, tall": (lambda: Orthogonal(4, 3, rngs=RNGS), (4,), 1.0),
    "Permutation": (lambda: Permutation(4, 4, rngs=RNGS, iterations=3), (4,), 1.0),
    "MLP": (lambda: MLP(3, 2, hidden=[4, 5], rngs=RNGS, activation=nnx.gelu, skip=True), (3,), np.inf),
    "Residual": (lambda: Residual(3, 2, hidden=[6], rngs=RNGS), (3,), np.inf),
    "Linear": (lambda: nnx.Linear(3, 4, rngs=RNGS), (3,), 1.0),
    "LinearGeneral": (lambda: nnx.LinearGeneral((2, 3), (2, 2), axis=(-2, -1), rngs=RNGS), (2, 3), 1.0),
    "LinearGeneral of other axes": (lambda: nnx.LinearGeneral(2, 3, axis=-2, rngs=RNGS), (2, 4), 1.0),
    "Conv": (lambda: nnx.Conv(2, 3, (2, 2), padding="CIRCULAR", rngs=RNGS), (3, 4, 2), 1.0),
    "PReLU": (lambda: nnx.PReLU(1.5), (3,), 1.0),
    "LayerNorm": (lambda: nnx.LayerNorm(4, rngs=RNGS, epsilon=0.1), (4,), np.inf),
    "RMSNorm": (lambda: nnx.RMSNorm(4, rngs=RNGS, epsilon=0.1), (4,), np.inf),
    "GroupNorm": (lambda: nnx.GroupNorm(4, num_groups=2, rngs=RNGS, epsilon=0.1), (3, 4), np.inf),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    """Never below slopes; equal for linear ones."""
    make, shape, near = MODULES[name]
    module = make() if name == "PReLU" else randomized(make())
    bound = float(lipschitz_bound(module, input_shape=shape))
    steepest = slopes(pure(module), shape, pairs=20 if near == 1.0 else 300, scale=0.3)
    assert steepest <= bound * (1 + 1e-5)
    if near == 1.0:
        np.testing.assert_allclose(bound, steepest, rtol=1e-4)


def test_maps_beside_a_branch_count():
    """At its start the branch is 0, and the constant that of the linear map beside it."""
    stitch = LinearStitch.of(jnp.asarray(RNG.standard_normal((3, 2)), jnp.float32), jnp.zeros(2))
    norm = np.linalg.norm(stitch.kernel, 2)
    for kind in (MLP, Residual):
        module = kind.from_stitch(stitch, hidden=[4], rngs=RNGS)
        np.testing.assert_allclose(float(lipschitz_bound(module)), norm, rtol=1e-6)
    module.branch.kernels[-1] = nnx.Param(jnp.ones((4, 2)))
    branch = np.linalg.norm(module.branch.kernels[0][...], 2) * 8**0.5
    np.testing.assert_allclose(float(lipschitz_bound(module)), norm + branch, rtol=1e-6)


def test_batch_norm():
    module = nnx.BatchNorm(3, rngs=RNGS, epsilon=0.01)
    module.scale[...], module.var[...] = jnp.array([1.0, -3.0, 2.0]), jnp.array([1.0, 4.0, 0.25])
    module.eval()
    bound = float(lipschitz_bound(module))
    np.testing.assert_allclose(bound, 2 / np.sqrt(0.26), rtol=1e-6)
    np.testing.assert_allclose(slopes(pure(module), (2, 3), pairs=3), bound, rtol=1e-5)


def test_a_product_of_layers_and_its_table():
    first, second = RNG.standard_normal((4, 5)), RNG.standard_normal((5, 2))
    norms = [np.linalg.norm(a, 2) for a in (first, second)]
    bound = lipschitz_bound([first, "gelu", second, jax.nn.sigmoid])
    np.testing.assert_allclose(float(bound), norms[0] * 1.128993069 * norms[1] / 4, rtol=1e-6)
    rows = bound.rows()
    assert [row[:2] for row in rows] == [
        ("0", "matrix 4 -> 5"),
        ("1", "gelu"),
        ("2", "matrix 5 -> 2"),
        ("3", "sigmoid"),
    ]
    np.testing.assert_allclose([row[2] for row in rows], [norms[0], 1.128993069, norms[1], 0.25], rtol=1e-6)
    assert all(row[3] for row in rows)
    text = str(bound)
    assert text.splitlines()[0].startswith("Lipschitz constant at most ")
    assert len(text.splitlines()) == 5


def test_residual_blocks_and_lists_in_lists():
    a = 3 * np.eye(2)
    assert 4 <= float(lipschitz_bound(residual(a))) <= 4 * (1 + 1e-6)
    assert 8 <= float(lipschitz_bound([residual(a), residual("relu")])) <= 8 * (1 + 1e-6)
    inner = lipschitz_bound([residual(a, ["relu", 2.0]), ()])
    assert 7 <= float(inner) <= 7 * (1 + 1e-6)
    assert [row[0] for row in inner.rows()] == ["0", "0.0", "0.1", "0.1.0", "0.1.1", "1"]
    assert float(lipschitz_bound([])) == 1
    with pytest.raises(ValueError, match="at least one layer"):
        residual()


@pytest.mark.slow
def test_random_networks_are_not_steeper():
    """A thousand networks of residual blocks at once, each at a random point."""

    def network(w, x):
        hidden = jnp.tanh(x @ w[0])
        hidden = hidden + jax.nn.gelu(hidden @ w[1], approximate=False) @ w[2]
        return jax.nn.softmax(hidden @ w[3])

    w = RNG.standard_normal((1000, 4, 3, 3)) * 1.5
    x = RNG.standard_normal((1000, 3)) * 0.3
    jacobians = jax.jit(jax.vmap(jax.jacobian(network, argnums=1)))(
        jnp.asarray(w, jnp.float32), jnp.asarray(x, jnp.float32)
    )
    steep = np.linalg.norm(np.asarray(jacobians), 2, axis=(1, 2))
    gelu = partial(jax.nn.gelu, approximate=False)
    bounds = [
        float(lipschitz_bound([a, jnp.tanh, residual(b, gelu, c), d, jax.nn.softmax])) for a, b, c, d in np.asarray(w)
    ]
    assert np.all(steep <= np.array(bounds))


def test_sequential_of_a_small_network_with_a_grid():
    layers = [
        nnx.Conv(2, 3, (3, 3), strides=2, rngs=RNGS),
        nnx.Dropout(0.5, rngs=RNGS),
        nnx.relu,
        partial(nnx.max_pool, window_shape=(2, 2), strides=(1, 1)),
        partial(nnx.avg_pool, window_shape=(2, 1), strides=(1, 1), padding="SAME"),
        nnx.Conv(3, 4, (2, 2), rngs=RNGS),
    ]
    head = nnx.Sequential(*layers)
    head.eval()
    bound = lipschitz_bound([head, "mean_pool", nnx.Linear(4, 2, rngs=RNGS)], input_shape=(6, 6, 2))
    with jax.numpy_dtype_promotion("standard"):  # Flax's mean divides by an integer
        steepest = slopes(pure(head), (6, 6, 2), pairs=40)
    assert steepest <= float(lipschitz_bound(head, input_shape=(6, 6, 2)))
    assert [row[1] for row in bound.rows() if "pool" in row[1]] == ["max_pool 2x2", "avg_pool 2x1", "mean_pool 4"]
    assert float(lipschitz_bound([head])) > 0  # without a grid, looser


def test_mean_pool_divides_by_the_root_of_the_tokens():
    kernel = RNG.standard_normal((3, 3))
    norm = np.linalg.norm(kernel, 2)
    for shape, tokens in (((7, 3), 7), ((2, 3, 3), 6)):
        for layer in ("mean_pool", mean_pool(tokens)):
            np.testing.assert_allclose(
                float(lipschitz_bound([kernel, layer], input_shape=shape)), norm / tokens**0.5, rtol=1e-6
            )
    np.testing.assert_allclose(float(lipschitz_bound([mean_pool(9)])), 1 / 3, rtol=1e-6)
    with pytest.raises(ValueError, match="needs input_shape"):
        lipschitz_bound(["mean_pool"])
    with pytest.raises(ValueError, match="over 5 tokens, got 7"):
        lipschitz_bound([mean_pool(5)], input_shape=(7, 3))


def test_linear_stitches_and_their_grids():
    kernel = jnp.asarray(RNG.standard_normal((3, 2)), jnp.float32)
    stitch = LinearStitch.of(kernel, jnp.ones(2))
    np.testing.assert_allclose(float(lipschitz_bound(stitch)), np.linalg.norm(kernel, 2), rtol=1e-6)


@pytest.mark.slow
def test_linen():
    model = linen.Sequential(
        [
            linen.Conv(3, (2, 2)),
            linen.relu,
            linen.BatchNorm(use_running_average=True),
            linen.Dense(4),
            linen.LayerNorm(epsilon=0.1),
        ]
    )
    x = jnp.ones((1, 3, 3, 2))
    variables = model.init(jax.random.key(0), x)
    bound = lipschitz_bound((model, variables), input_shape=(3, 3, 2))
    assert slopes(lambda z: model.apply(variables, z), (3, 3, 2), pairs=50, scale=0.1) <= float(bound)
    dense = linen.Dense(4)
    variables = dense.init(jax.random.key(0), jnp.ones((1, 3)))
    np.testing.assert_allclose(
        float(lipschitz_bound((dense, variables))), np.linalg.norm(variables["params"]["kernel"], 2), rtol=1e-6
    )
    listed = lipschitz_bound([(dense, variables), "tanh", (dense, dense.init(jax.random.key(1), jnp.ones((1, 4))))])
    assert len(listed.layers) == 3
    with pytest.raises(TypeError, match="without variables"):
        lipschitz_bound(dense)
    with pytest.raises(ValueError, match="lacks 'kernel'"):
        lipschitz_bound((dense, {}))
    with pytest.raises(TypeError, match="call is not known"):
        lipschitz_bound((linen.Embed(3, 4), {}))
    with pytest.raises(TypeError, match="call is not known"):
        lipschitz_bound((type("Own", (linen.Dense,), {})(4), variables))
    with pytest.raises(TypeError, match="statistics of the batch"):
        lipschitz_bound((linen.BatchNorm(use_running_average=False), {}))


class Own(nnx.Module):
    def __init__(self):
        self.inner = nnx.Linear(2, 3, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return 5 * self.inner(x)


class Knowing(Own):
    def lipschitz_bound(self, input_shape):
        assert input_shape in (None, (2,))
        return lipschitz_bound([self.inner, 5.0])


class Subclass(nnx.Linear):
    def __call__(self, x):
        return 2 * super().__call__(x)


def test_modules_of_the_user():
    with pytest.raises(TypeError, match=r"layer 0 is a module Own.*list of its layers"):
        lipschitz_bound(Own())
    with pytest.raises(TypeError, match="layer 1 is a module Own"):
        lipschitz_bound(["relu", Own()])
    with pytest.raises(TypeError, match="module Subclass"):
        lipschitz_bound(Subclass(2, 3, rngs=RNGS))
    module = Knowing()
    expected = 5 * np.linalg.norm(module.inner.kernel[...], 2)
    np.testing.assert_allclose(float(lipschitz_bound(module)), expected, rtol=1e-6)
    np.testing.assert_allclose(float(lipschitz_bound([module, nnx.Linear(3, 1, rngs=RNGS), 0.0], input_shape=(2,))), 0)


@pytest.mark.parametrize(
    ("head", "error", "match"),
    [
        ([lambda x: x], TypeError, r"constant is not known.*given"),
        (["rellu"], ValueError, "did you mean 'relu'"),
        ([nnx.glu], ValueError, "no Lipschitz constant"),
        ([-1.0], ValueError, "layer 0 must be at least 0"),
        ([float("nan")], ValueError, "at least 0"),
        ([np.ones((3, 3, 1, 1))], ValueError, "weight matrix"),
        ([np.ones((2, 3)), "relu", np.ones((2, 3))], ValueError, r"layer 2 \(matrix 2 -> 3\) takes 2 features, got 3"),
        ([nnx.Linear], TypeError, "the class Linear"),
        (nnx.Embed(3, 4, rngs=nnx.Rngs(0)), TypeError, "whole numbers"),
        (nnx.MultiHeadAttention(2, 4, rngs=nnx.Rngs(0)), TypeError, "attention"),
        ([None], TypeError, "must be a layer"),
        ([np.ones((2, 2), int)], TypeError, "floating"),
        (["log_softmax"], ValueError, "pass input_shape"),
        (Conv1x1(2, 2, grid=(2, 2), rngs=nnx.Rngs(0)), ValueError, "pass input_shape"),
        (MLP(2, 2, hidden=[2], rngs=nnx.Rngs(0), activation=lambda x: x), TypeError, "activation that is not known"),
        (nnx.Linear(2, 2, dot_general=lambda *a, **k: None, rngs=nnx.Rngs(0)), TypeError, "of its own"),
    ],
)
def test_mistakes(head, error, match):
    with pytest.raises(error, match=match):
        lipschitz_bound(head)


def test_shapes_that_do_not_fit():
    with pytest.raises(TypeError, match="input_shape must be a tuple"):
        lipschitz_bound(["relu"], input_shape=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="must keep the shape"):
        lipschitz_bound([residual(np.ones((2, 3)))], input_shape=(2,))
    with pytest.raises(ValueError, match="takes a grid of 2 axes"):
        lipschitz_bound([nnx.Conv(2, 2, (3, 3), rngs=RNGS)], input_shape=(4, 2))
    with pytest.raises(ValueError, match="must take examples of shape"):
        lipschitz_bound([given(lambda x: x @ jnp.ones((3, 3)), 1.0)], input_shape=(2,))
    with pytest.raises(TypeError, match="must be a function"):
        given(3, 1.0)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="must be a number"):
        given(jnp.tanh, "one")  # pyright: ignore[reportArgumentType]


def test_it_is_a_pytree_and_rounded_up(x64):
    kernel = RNG.standard_normal((6, 6)).astype(np.float32)
    bound = lipschitz_bound([kernel, residual(kernel)])
    norm = np.linalg.norm(kernel.astype(np.float64), 2)
    assert float(bound) >= norm * (1 + norm)
    assert bound.value.dtype == (jnp.float64 if x64 else jnp.float32)
    doubled = jax.jit(lambda b: jax.tree.map(lambda v: 2 * v, b))(bound)
    assert isinstance(doubled, LipschitzBound)
    np.testing.assert_allclose(float(doubled), 2 * float(bound), rtol=1e-6)


def test_weights_that_are_not_finite_and_half_precision():
    assert np.isnan(float(lipschitz_bound([np.array([[np.nan]]), "relu"])))
    assert np.isnan(float(lipschitz_bound([np.array([[np.inf]]), 0.0])))
    module = nnx.Linear(4, 4, rngs=RNGS, dtype=jnp.bfloat16)
    rounded = np.asarray(module.kernel[...].astype(jnp.bfloat16)).astype(np.float64)
    np.testing.assert_allclose(float(lipschitz_bound(module)), np.linalg.norm(rounded, 2), rtol=1e-6)
    with pytest.raises(TypeError, match="outside of jit"):
        jax.jit(lambda w: lipschitz_bound([w]).value)(jnp.eye(2))
