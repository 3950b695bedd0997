"""Training that ceases to be finite stops there, says so, and keeps the last good module."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxalign.stitching import fit, squared
from tests.stitching.test_fit import SGD, X, Y, affine, f32, weights


def test_a_loss_that_is_not_finite_stops_training_and_the_last_good_module_is_kept():
    wild = optax.sgd(1e12)
    with pytest.warns(RuntimeWarning, match="fit: the loss of step [0-9]+ was not finite; training stopped there"):
        result = fit(affine(), f32(X), f32(Y), optimizer=wild, steps=50)
    assert result.diverged_at == result.stopped_at == len(result.losses) - 1 > 1
    assert np.all(np.isfinite(result.losses[:-1]))
    assert not np.isfinite(result.losses[-1])
    np.testing.assert_allclose(jnp.mean(squared(result.module(f32(X)), f32(Y))), result.losses[-2], rtol=1e-5)


def not_differentiable_at_0(outputs, targets):
    """Finite, with a gradient of NaN."""
    return squared(outputs, targets) + jnp.sqrt(jnp.sum(outputs * 0, axis=1))


@pytest.mark.parametrize(
    "settings", [{"steps": 1}, {"steps": 3}, {"steps": 1, "held_out": (f32(X), f32(Y))}], ids=["one", "more", "looks"]
)
@pytest.mark.parametrize(
    "cause", [{"optimizer": optax.sgd(1e38)}, {"loss": not_differentiable_at_0}], ids=["rate", "gradient"]
)
def test_parameters_that_are_not_finite_are_not_returned(cause, settings):
    message = "fit: the parameters after step 0 were not finite; .* A smaller learning rate may help"
    with pytest.warns(RuntimeWarning, match=message):
        result = fit(affine(), f32(X), f32(Y), **{"optimizer": SGD, **cause, **settings})
    assert (result.diverged_at, result.stopped_at, len(result.losses)) == (0, 0, 1)
    np.testing.assert_allclose(result.losses, jnp.mean(squared(affine()(f32(X)), f32(Y))), rtol=1e-5)
    np.testing.assert_array_equal(weights(result)[0], affine().kernel[...])


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"x": f32(X).at[3, 1].set(jnp.nan)}, "x holds NaN or infinite values"),
        ({"y": f32(Y).at[3, 1].set(jnp.inf)}, "y or labels, holds NaN or infinite values"),
        ({"loss": lambda o, t: squared(o, t) * jnp.nan}, "the data are finite: look at the head, the loss and"),
    ],
)
def test_a_first_loss_that_is_not_finite_is_not_laid_to_the_learning_rate(settings, hint):
    with pytest.warns(RuntimeWarning, match=f"the loss of step 0 was not finite; .*{hint}"):
        result = fit(affine(), **{"x": f32(X), "y": f32(Y), "optimizer": SGD, "steps": 2, **settings})
    np.testing.assert_array_equal(weights(result)[0], affine().kernel[...])
