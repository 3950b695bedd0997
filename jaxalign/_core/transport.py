"""Exact optimal transport between two sets of points of equal weight.

With `p` points of weight `1 / p` and `q` of weight `1 / q`, weights are whole numbers of a common
unit, `gcd(p, q) / (p q)`. The plan is built by shortest augmenting paths, as in the Hungarian
algorithm, to which it reduces for `p == q`: every path carries at least one unit, so it ends.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from jaxalign._core.numerics import binary_scale, widen
from jaxalign._core.typing import Array, Bool, Float, Int


class _Plan(NamedTuple):
    """What has been transported, and the prices that prove it cheapest.

    `costs[i, j] - row_prices[i] - column_prices[j]` is never negative, and 0 where something flows.
    """

    flow: Int[Array, "q p"]
    supply: Int[Array, "p"]
    demand: Int[Array, "q"]
    row_prices: Float[Array, "p"]
    column_prices: Float[Array, "q"]


class _Search(NamedTuple):
    """Shortest paths from one row: forward along any entry, backward where something flows."""

    sink: Int[Array, ""]
    waiting: Bool[Array, "p"]  # rows reached, whose ways on have not been looked at
    reached: Bool[Array, "p"]
    row_distance: Float[Array, "p"]
    row_before: Int[Array, "p"]
    settled: Bool[Array, "q"]
    column_distance: Float[Array, "q"]
    column_before: Int[Array, "q"]


def transport_plan(costs: Float[Array, "p q"]) -> Float[Array, "p q"]:
    """The coupling with row sums `1 / p` and column sums `1 / q` that costs least.

    Exact up to the rounding of sums of costs; one of several, if several cost the same. No gradient.
    The time is of the order of `(p + q) p q` at worst; the memory that of `costs`. NaN and infinite
    costs count as 0.
    """
    costs = lax.stop_gradient(widen(costs))
    costs = jnp.where(jnp.isfinite(costs), costs, 0)
    costs = costs * binary_scale(costs)
    p, q = costs.shape
    unit = math.gcd(p, q)
    start = _Plan(
        flow=jnp.zeros((q, p), jnp.int32),
        supply=jnp.full(p, q // unit, jnp.int32),
        demand=jnp.full(q, p // unit, jnp.int32),
        row_prices=jnp.min(costs, axis=1),
        column_prices=jnp.zeros(q, costs.dtype),
    )
    plan = lax.while_loop(lambda plan: jnp.any(plan.supply > 0), lambda plan: _augment(costs, plan), start)
    return plan.flow.T.astype(costs.dtype) * (unit / p / q)


def _augment(costs: Float[Array, "p q"], plan: _Plan) -> _Plan:
    """Send what goes along the shortest path from one row that has something left to a column that lacks something."""
    source = jnp.argmax(plan.supply > 0).astype(jnp.int32)
    found = _search(costs, plan, source)
    length = found.column_distance[found.sink]
    onward, amount = _trace(plan, found, source)

    rows = lax.iota(jnp.int32, plan.supply.shape[0])
    on_path = onward >= 0
    gain = jnp.where(on_path, amount, 0)
    loss = jnp.where(on_path & (rows != source), amount, 0)
    return _Plan(
        flow=plan.flow.at[onward, rows].add(gain).at[found.row_before, rows].add(-loss),
        supply=plan.supply.at[source].add(-amount),
        demand=plan.demand.at[found.sink].add(-amount),
        row_prices=plan.row_prices + jnp.where(found.reached, length - found.row_distance, 0),
        column_prices=plan.column_prices - jnp.where(found.settled, length - found.column_distance, 0),
    )


def _search(costs: Float[Array, "p q"], plan: _Plan, source: Int[Array, ""]) -> _Search:
    """Dijkstra's algorithm with prices, until a column that lacks something is the nearest."""
    p, q = costs.shape
    is_source = lax.iota(jnp.int32, p) == source
    start = _Search(
        # Under `vmap` a problem that is solved goes along until all are: it must not search.
        sink=jnp.where(plan.supply[source] > 0, -1, 0).astype(jnp.int32),
        waiting=is_source,
        reached=is_source,
        row_distance=jnp.zeros(p, costs.dtype),
        row_before=jnp.full(p, -1, jnp.int32),
        settled=jnp.zeros(q, bool),
        column_distance=jnp.full(q, jnp.inf, costs.dtype),
        column_before=jnp.full(q, -1, jnp.int32),
    )

    def step(state: _Search) -> _Search:
        row = jnp.argmax(state.waiting).astype(jnp.int32)
        ways = state.row_distance[row] + (costs[row] - plan.row_prices[row] - plan.column_prices)
        shorter = state.waiting[row] & ~state.settled & (ways < state.column_distance)
        distance = jnp.where(shorter, ways, state.column_distance)
        waiting = state.waiting.at[row].set(False)

        # Once no row waits, the nearest column is as near as it gets: an end, or a way back to rows.
        settle = ~jnp.any(waiting)
        nearest = jnp.argmin(jnp.where(state.settled, jnp.inf, distance)).astype(jnp.int32)
        is_end = plan.demand[nearest] > 0
        new = settle & ~is_end & (plan.flow[nearest] > 0) & ~state.reached
        return _Search(
            sink=jnp.where(settle & is_end, nearest, -1),
            waiting=waiting | new,
            reached=state.reached | new,
            row_distance=jnp.where(new, distance[nearest], state.row_distance),
            row_before=jnp.where(new, nearest, state.row_before),
            settled=state.settled.at[nearest].set(settle | state.settled[nearest]),
            column_distance=distance,
            column_before=jnp.where(shorter, row, state.column_before),
        )

    return lax.while_loop(lambda state: state.sink < 0, step, start)


def _trace(plan: _Plan, found: _Search, source: Int[Array, ""]) -> tuple[Int[Array, "p"], Int[Array, ""]]:
    """The column that each row on the path sends to (-1 off the path), and how much all of it can carry."""

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        column, onward, amount, _ = state
        row = found.column_before[column]
        before = found.row_before[row]
        at_source = row == source
        amount = jnp.where(at_source, amount, jnp.minimum(amount, plan.flow[before, row]))
        return before, onward.at[row].set(column), amount, at_source

    most = jnp.minimum(plan.supply[source], plan.demand[found.sink])
    start = (found.sink, jnp.full_like(plan.supply, -1), most, most == 0)
    _, onward, amount, _ = lax.while_loop(lambda state: ~state[-1], step, start)
    return onward, amount
