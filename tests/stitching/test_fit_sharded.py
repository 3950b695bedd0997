"""Examples that are spread over devices are trained on where they are, to the same numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxalign.stitching import Affine, fit

RNG = np.random.default_rng(0)
X, Y = (jnp.asarray(RNG.standard_normal((48, d)), jnp.float32) for d in (6, 4))
MASK = jnp.arange(48) % 5 != 0
ADAM = optax.adam(0.02)


@pytest.fixture(scope="module")
def rows():
    if jax.device_count() < 4:
        pytest.skip("needs four devices")
    mesh = jax.make_mesh((4,), ("examples",), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec("examples"))


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"mask": True, "accumulate": 2},
        pytest.param({"batch_size": 8, "key": 0, "held_out": True}, marks=pytest.mark.slow),
        {"head": True, "held_out": 0.25, "key": 0},
    ],
    ids=str,
)
def test_sharded_data_give_the_same_numbers(rows, settings):
    def run(place):
        x, y, mask = place(X), place(Y), place(MASK)
        chosen = dict(settings)
        if "mask" in chosen:
            chosen["mask"] = mask
        if chosen.get("held_out") is True:
            chosen["held_out"] = (x, y)
        if "head" in chosen:
            chosen["head"] = nnx.Linear(4, 3, rngs=nnx.Rngs(1))
        return fit(Affine(6, 4, rngs=nnx.Rngs(0)), x, y, optimizer=ADAM, steps=15, **chosen)

    one, four = run(lambda a: a), run(lambda a: jax.device_put(a, rows))
    np.testing.assert_allclose(four.losses, one.losses, rtol=1e-5)
    np.testing.assert_allclose(four.held_out_losses, one.held_out_losses, rtol=1e-5)
    np.testing.assert_allclose(four.module.kernel[...], one.module.kernel[...], rtol=1e-4, atol=1e-5)


def test_full_batches_stay_on_their_devices(rows):
    """No device gets all rows: the compiled program never gathers an array with them."""
    from jaxalign.stitching import squared
    from jaxalign.stitching.fit_arguments import checked_problem
    from jaxalign.stitching.objective import Examples
    from jaxalign.stitching.training import start, train

    graphdef, params, rest = nnx.split(Affine(6, 4, rngs=nnx.Rngs(0)), nnx.Param, ...)
    examples = Examples(jax.device_put(X, rows), jax.device_put(Y, rows), None)
    settings = {"loss": squared, "optimizer": ADAM, "penalty": 0.0, "key": None, "batch_size": None, "accumulate": 1}
    problem = checked_problem("fit", examples, None, graphdef, **settings)
    losses, zero = jnp.zeros(3, jnp.float32), jnp.asarray(0, jnp.int32)
    program = train.lower(problem, start(problem, (params, rest)), losses, zero, zero + 3).compile().as_text()
    assert "all-reduce" in program
    assert "f32[12,6]" in program
    assert "f32[48," not in program
