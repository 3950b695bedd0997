"""Transport plans: couplings, as cheap as a linear program finds, also with ties and many at a time."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.soft_matching import least_cost
from scipy.optimize import linear_sum_assignment

from jaxalign._core.transport import transport_plan

G = np.random.default_rng(0)
plan_of = jax.jit(transport_plan)


def cost_of(costs):
    """The cost of the plan, which is checked to be a coupling."""
    plan, (p, q) = np.asarray(plan_of(jnp.asarray(costs)), np.float64), costs.shape
    np.testing.assert_allclose(plan.sum(axis=1), 1 / p, rtol=1e-5)
    np.testing.assert_allclose(plan.sum(axis=0), 1 / q, rtol=1e-5)
    assert plan.min() >= 0
    return np.sum(plan * costs)


@pytest.mark.parametrize("shape", [(9, 12), (12, 7), (1, 5)])
def test_plans_are_as_cheap_as_can_be(shape):
    for costs in (
        G.standard_normal(shape).astype(np.float32),
        (3e38 * G.choice([-1, 1], shape)).astype(np.float32),  # differences are beyond float32
        G.integers(0, 3, shape).astype(np.float32),  # many plans cost the same
        np.zeros(shape, np.float32),
    ):
        assert cost_of(costs) == pytest.approx(least_cost(costs), rel=1e-6, abs=1e-7)


def test_plans_between_equal_numbers_are_assignments(x64):
    for costs in (G.standard_normal((30, 30)), G.integers(0, 4, (30, 30)).astype(float)):
        costs = np.asarray(costs, np.float64 if x64 else np.float32)
        expected = costs[linear_sum_assignment(costs)].mean()
        assert cost_of(costs) == pytest.approx(expected, rel=1e-13 if x64 else 1e-6)


def test_several_at_a_time_equal_one_after_the_other():
    """The shorter ones wait, and change no more."""
    costs = G.standard_normal((5, 9, 12)).astype(np.float32)
    costs[1] = 0
    np.testing.assert_array_equal(jax.jit(jax.vmap(transport_plan))(costs), jnp.stack([plan_of(c) for c in costs]))


def test_what_is_no_number_is_no_endless_loop():
    for value in (np.nan, np.inf, -np.inf):
        assert np.sum(plan_of(jnp.full((9, 12), value, jnp.float32))) == pytest.approx(1)


def test_there_is_no_gradient():
    costs = G.standard_normal((9, 12)).astype(np.float32)
    assert not np.any(jax.grad(lambda c: jnp.sum(plan_of(c) * 2))(costs))
