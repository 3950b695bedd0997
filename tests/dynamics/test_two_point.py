"""The motion of a pair against its equations, integrated by SciPy, against golden values, and where it degenerates."""

from math import log, sqrt

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.dynamics import (
    TwoPointParams,
    TwoPointState,
    conserved,
    fixed_point,
    flow_time,
    linear_spectrum,
    loss_curve,
    regime_index,
    two_point_ode,
    two_point_rhs,
    two_point_trajectory,
)
from tests.oracles import dynamics as oracle

START = TwoPointState(0.25, 0.04, 0.04 - 0.2 * sqrt(0.5))
PARAMS = TwoPointParams(0.5, 1.0, dx2=1.0, dy2=0.5)
TIMES = np.array([0.0, 0.3, 1.0, 2.5, 8.0])


def of(case):
    return TwoPointState(*case[4:]), TwoPointParams(*case[:4])


def stacked(state):
    return np.stack([np.asarray(z) for z in state], axis=-1)


@pytest.fixture(scope="module")
def many():
    """States and constants of 200 random pairs, as arrays, and what gradient flow makes of them."""
    cases = oracle.random_cases(200)
    columns = np.array(cases).T
    flows = np.stack([oracle.gradient_flow(case, TIMES[1:]) for case in cases], axis=1)
    return TwoPointState(*columns[4:]), TwoPointParams(*columns[:4]), flows


@pytest.mark.parametrize("name", oracle.GOLDEN)
def test_golden_values(float64, name):
    case, end, values = oracle.GOLDEN[name]
    state, params = of(case)
    times = np.array(list(values), float)
    expected = np.array(list(values.values()))
    np.testing.assert_allclose(stacked(two_point_trajectory(times, state, params)), expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(stacked(two_point_ode(times, state, params, substeps=2000)), expected, atol=1e-9)
    np.testing.assert_allclose(fixed_point(state, params).h_inf, end, rtol=1e-14)
    far = two_point_trajectory(np.array([0.0, 50.0]) / case.eta_y, state, params)
    kept = np.asarray(conserved(far, params))
    np.testing.assert_allclose(kept, kept[0], rtol=1e-12)


def test_pairs_merge_to_any_depth(float64):
    state, params = of(oracle.GOLDEN["merge"][0])
    assert float(two_point_trajectory(5.0, state, params).h) == pytest.approx(8.827074089534e-13, rel=1e-9)
    end = two_point_trajectory(1e6, state, params)
    assert stacked(end).tolist() == [0.0, 0.0, 0.0]


def test_closed_form_is_gradient_flow_in_all_regimes(float64, many):
    state, params, flows = many
    found = stacked(two_point_trajectory(TIMES[1:], state, params))
    np.testing.assert_allclose(found, flows, rtol=0, atol=2e-11)


def test_equations_as_printed_have_the_closed_form_as_their_solution(float64):
    case = oracle.GOLDEN["several outputs"][0]
    state, params = of(case)
    np.testing.assert_allclose(
        stacked(two_point_trajectory(TIMES[1:], state, params)), oracle.integrate(case, TIMES[1:]), atol=1e-11
    )
    np.testing.assert_allclose(stacked(two_point_rhs(state, params)), oracle.velocity(case, *case[4:]), rtol=1e-14)


def test_velocity_is_the_derivative_of_the_trajectory(float64, many):
    state, params, _ = many
    at = two_point_trajectory(0.7, state, params)
    moved = jax.jvp(lambda t: two_point_trajectory(t, state, params), (jnp.asarray(0.7),), (jnp.asarray(1.0),))[1]
    np.testing.assert_allclose(stacked(moved), stacked(two_point_rhs(at, params)), rtol=1e-6, atol=1e-9)


def test_conserved_quantity_and_properties_hold_for_random_pairs(float64, many):
    state, params, _ = many
    t = np.linspace(0, 30, 61)
    h, y, w = path = TwoPointState(*(np.asarray(z) for z in two_point_trajectory(t, state, params)))
    kept = np.asarray(conserved(path, TwoPointParams(*params[:4])))
    # C is a difference: its digits are those of the two terms.
    readout, encoder = params.eta_h * params.dx2 * y / h, params.eta_y * h
    # Where h is nearly 0, y / h has the digits of neither.
    assert np.max(np.where(h > 1e-3, np.abs(kept - kept[0]) / np.maximum(readout, encoder), 0)) < 1e-12
    assert (h >= 0).all()
    assert (y >= 0).all()
    assert (np.abs(y - w) <= np.sqrt(y * params.dy2) * (1 + 1e-9) + 1e-12).all()
    later = two_point_trajectory(1e6, state, params)
    np.testing.assert_allclose(later.h, fixed_point(state, params).h_inf, rtol=1e-6)
    np.testing.assert_allclose(later.y, params.dy2, rtol=1e-6)
    # Time and rates in other units; inputs further apart and a slower encoder.
    scaled = params._replace(eta_h=params.eta_h / 7, eta_y=params.eta_y / 7)
    np.testing.assert_allclose(stacked(two_point_trajectory(7 * t, state, scaled)), stacked(path), atol=1e-11)
    stretched = params._replace(eta_h=params.eta_h / 3, dx2=3 * params.dx2)
    np.testing.assert_allclose(stacked(two_point_trajectory(t, state, stretched)), stacked(path), atol=1e-11)


def test_outputs_turn_towards_their_targets(float64):
    state, params = of(oracle.GOLDEN["several outputs"][0])
    _, y, w = two_point_trajectory(np.linspace(0, 40, 100), state, params)
    cosine2 = np.asarray((y - w) ** 2 / (y * 0.5))
    assert cosine2[0] == pytest.approx(0.09)
    assert cosine2[-1] > 0.999
    assert (np.diff(cosine2) > 0).all()


def test_the_end_does_not_depend_on_w(float64):
    ends = [fixed_point(START._replace(w=w), PARAMS).h_inf for w in (-0.1, 0.0, 0.04, 0.1)]
    assert len({float(end) for end in ends}) == 1


def test_balanced_pairs_follow_the_logistic_curve(float64):
    case = oracle.Case(0.5, 1, 1, 0.5, 0.007071067811865476, 1e-4, 1e-4 - 0.01 * sqrt(0.5))
    state, params = of(case)
    times = np.array([5.0, 10.0, 15.0])
    outputs = np.sqrt(two_point_trajectory(times, state, params).y)
    np.testing.assert_allclose(outputs, [0.105189771902, 0.481120965758, 0.680855782898], atol=1e-11)
    d, rate = sqrt(0.5), sqrt(0.5 * 0.5)
    np.testing.assert_allclose(outputs, d / (1 + (d / 0.01 - 1) * np.exp(-rate * times)), rtol=1e-12)
    half = log(d / 0.01 - 1) / rate
    assert half == pytest.approx(8.488707014321717)
    assert float(two_point_trajectory(half, state, params).y) == pytest.approx(0.5 / 4)


def test_agreeing_targets_follow_their_own_formula(float64):
    state, params = of(oracle.GOLDEN["targets agree"][0])
    high, t = float(fixed_point(state, params).a_high), TIMES
    np.testing.assert_allclose(
        two_point_trajectory(t, state, params).h, high / (1 + (high / 0.25 - 1) * np.exp(-high * t)), rtol=1e-13
    )
    level = state._replace(h=0.2, y=0.08, w=0.08)
    np.testing.assert_allclose(two_point_trajectory(t, level, params).h, 0.2 / (1 + 0.2 * t), rtol=1e-13)


def test_the_most_degenerate_pair_has_a_gradient(float64):
    params = TwoPointParams(0.5, 1.0, dx2=1.0, dy2=0.0)

    def total(eta_h):
        path = two_point_trajectory(
            np.array([0.0, 1.0, 2.0]), TwoPointState(0.2, 0.08, 0.08), params._replace(eta_h=eta_h)
        )
        return sum(jnp.sum(z) for z in path)

    for derivative in (jax.grad, jax.jacfwd):
        assert float(derivative(total)(0.5)) == pytest.approx(-0.24275456, abs=1e-8)


def test_rates_of_zero(float64):
    frozen_encoder = two_point_trajectory(200.0, START, PARAMS._replace(eta_h=0.0))
    np.testing.assert_allclose(stacked(frozen_encoder), [0.25, 0.5, 0.0], atol=1e-10)
    assert float(fixed_point(START, PARAMS._replace(eta_h=0.0)).h_inf) == pytest.approx(0.25)
    for w in (START.w, 0.0):  # aligned, and not
        start, params = START._replace(w=w), PARAMS._replace(eta_y=0.0)
        frozen_decoder = two_point_trajectory(2000.0, start, params)
        assert float(frozen_decoder.h) == pytest.approx(float(fixed_point(start, params).h_inf))
        assert float(frozen_decoder.y / frozen_decoder.h) == pytest.approx(0.04 / 0.25)
    assert float(fixed_point(START, PARAMS._replace(eta_y=0.0)).h_inf) == pytest.approx(0.25 * 0.5 / 0.04)
    still = PARAMS._replace(eta_h=0.0, eta_y=0.0)
    np.testing.assert_allclose(stacked(two_point_trajectory(5.0, START, still)), stacked(START), rtol=1e-15)
    assert float(fixed_point(START, still).h_inf) == 0.25


def test_starts_without_outputs_or_without_anything(float64):
    silent = TwoPointState(0.25, 0.0, 0.0)
    np.testing.assert_allclose(two_point_trajectory(80.0, silent, PARAMS).y, 0.5, rtol=1e-9)
    nothing = TwoPointState(0.0, 0.0, 0.0)
    assert stacked(two_point_trajectory(TIMES, nothing, PARAMS)).tolist() == [[0.0] * 3] * len(TIMES)
    assert float(fixed_point(nothing, PARAMS).h_inf) == 0  # where the trajectory stays
    assert float(fixed_point(TwoPointState(1e-12, 0.0, 0.0), PARAMS).h_inf) > 0.1


def test_the_saddle_is_reached_only_from_its_stable_manifold(float64):
    balanced = TwoPointState(0.25, 0.25**2 * 2, 0.25**2 * 2 + sqrt(0.25**2 * 2 * 0.5))
    for t in (10.0, 100.0, 1e5):
        assert np.all(np.isfinite(stacked(two_point_trajectory(t, balanced, PARAMS))))
    np.testing.assert_allclose(stacked(two_point_trajectory(30.0, balanced, PARAMS)), 0, atol=1e-6)


def test_no_time_is_too_long(x64):
    for case, end, _ in oracle.GOLDEN.values():
        state, params = of(case)
        far = two_point_trajectory(1e7, state, params)
        np.testing.assert_allclose(far.h, end, rtol=1e-5, atol=1e-7)
        assert np.all(np.isfinite(stacked(far)))


def test_float32_is_as_good_as_its_digits():
    for case, _, values in oracle.GOLDEN.values():
        state, params = of(case)
        found = two_point_trajectory(np.array(list(values), np.float32), state, params)
        assert found.h.dtype == jnp.float32
        expected = np.array(list(values.values()))
        np.testing.assert_allclose(stacked(found), expected, rtol=0, atol=4e-7 * max(1, case.h))


def test_half_precision_is_widened():
    state = TwoPointState(*(jnp.asarray(z, jnp.bfloat16) for z in (0.25, 0.0625, -0.0625)))
    assert jax.eval_shape(lambda s: two_point_trajectory(1.0, s, PARAMS), state).h.dtype == jnp.float32


def test_gradients_forward_reverse_and_by_differences(float64):
    pairs = {name: of(case) for name, (case, *_) in oracle.GOLDEN.items()}
    pairs |= {f"random {i}": of(case) for i, case in enumerate(oracle.random_cases(5, seed=1))}

    def value(z, t):
        path = two_point_trajectory(t, TwoPointState(*z[4:]), TwoPointParams(*z[:4]))
        return jnp.sum(path.h) + 2 * jnp.sum(path.y) + 3 * jnp.sum(path.w)

    t = jnp.asarray(TIMES)
    forward, reverse = jax.jit(jax.jacfwd(value)), jax.jit(jax.grad(value))
    for name, (state, params) in pairs.items():
        z = jnp.asarray([*params[:4], *state])
        a, b = forward(z, t), reverse(z, t)
        assert np.all(np.isfinite(a)), name
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10, err_msg=name)
        for i in (0, 1, 2, 4):  # the others would leave what Cauchy and Schwarz allow
            step = 1e-6 * float(z[i])
            if i == 4 and float((z[5] - z[6]) ** 2) > 0.999 * float(z[5] * z[3]):
                continue
            slope = (value(z.at[i].add(step), t) - value(z.at[i].add(-step), t)) / (2 * step)
            assert float(a[i]) == pytest.approx(float(slope), rel=1e-5, abs=1e-7), (name, i)


def test_vmap_jit_and_shapes_agree(float64, many):
    state, params, _ = many
    together = two_point_trajectory(TIMES, state, params)
    one_by_one = jax.jit(jax.vmap(lambda s, p: two_point_trajectory(TIMES, s, p), out_axes=1))
    for a, b in zip(together, one_by_one(state, TwoPointParams(*params[:4])), strict=True):
        assert a.shape == (len(TIMES), 200)
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    grid = two_point_trajectory(TIMES, START, PARAMS._replace(eta_h=np.ones((2, 3)), dy2=np.ones(3)))
    assert grid.h.shape == (len(TIMES), 2, 3)
    assert two_point_trajectory(1.0, START, PARAMS).h.shape == ()


def test_ode_has_both_derivatives(float64):
    def end(f, eta):
        return f(jnp.asarray([1.0, 3.0]), START, PARAMS._replace(eta_h=eta)).h[-1]

    exact = float(jax.grad(lambda eta: end(two_point_trajectory, eta))(0.5))
    for derivative in (jax.grad, jax.jacfwd):
        found = derivative(lambda eta: end(lambda *z: two_point_ode(*z, substeps=50), eta))(0.5)
        assert float(found) == pytest.approx(exact, rel=1e-6)


def test_fixed_point_in_every_regime(float64):
    rich = TwoPointState(1e-6, 1e-12, 1e-12 - sqrt(0.5e-12))
    assert float(fixed_point(rich, PARAMS).h_inf) == pytest.approx(0.5, rel=1e-4)
    assert float(fixed_point(rich, PARAMS).a_low) == pytest.approx(0.5)
    lazy = TwoPointState(100.0, 0.1, 0.0)
    end = fixed_point(lazy, PARAMS)
    assert float(end.h_inf) == pytest.approx(100.0, rel=1e-3)
    assert float(regime_index(lazy, PARAMS)) == pytest.approx(float(end.a_high / end.a_low))
    decoder = TwoPointState(1e-3, 0.4, 0.0)
    assert float(regime_index(decoder, PARAMS)) < -10
    assert float(fixed_point(decoder, PARAMS).h_inf) == pytest.approx(1e-3 * 0.5 / 0.4, rel=1e-4)
    merging, shrinking = TwoPointState(0.05, 0.5, 0.5), TwoPointState(0.25, 0.04, 0.04)
    agree = PARAMS._replace(dy2=0.0)
    assert float(fixed_point(merging, agree).h_inf) == 0
    assert float(fixed_point(shrinking, agree).h_inf) == pytest.approx(0.17)
    assert [float(regime_index(s, agree)) for s in (merging, shrinking)] == [-np.inf, np.inf]
    far_below = fixed_point(TwoPointState(1e-9, 1e-3, 0.0), PARAMS)
    assert float(far_below.h_inf) == pytest.approx(0.25 / 0.5 / 1e6 * (1 - 1e-12), rel=1e-9)


def test_spectrum_is_that_of_the_motion(float64):
    state, params = START, PARAMS
    np.testing.assert_allclose(linear_spectrum(state, params), [0, -0.592173540319, -0.507173540319], atol=1e-12)
    end = TwoPointState(fixed_point(state, params).h_inf, jnp.asarray(0.5), jnp.asarray(0.0))
    rows = jax.jacfwd(lambda z: jnp.stack(two_point_rhs(TwoPointState(*z), params)))(jnp.stack(end))
    expected = np.sort(np.linalg.eigvals(np.asarray(rows)).real)
    np.testing.assert_allclose(np.sort(linear_spectrum(state, params)), expected, atol=1e-9)


def test_loss_curve(float64):
    params = TwoPointParams(0.1, 0.1, dx2=1.0, dy2=0.5, eta_ybar=0.0133)
    path = TwoPointState(np.zeros(3), np.array([0, 0.1, 0.3]), np.array([0, -0.1, -0.05]))
    losses = loss_curve(np.array([0.0, 10.0, 100.0]), path, params, 0.909277)
    np.testing.assert_allclose(losses, [0.5171385, 0.373452735268, 0.044301154612], atol=1e-12)
    np.testing.assert_allclose(loss_curve(np.array([0.0, 10.0, 100.0]), path, params, 0.909277, outputs=4), losses / 4)
    assert float(loss_curve(0.0, TwoPointState(0.0, 0.0, 0.0), params, 0.0)) == 0.5 / 8


def test_time_of_gradient_flow():
    np.testing.assert_allclose(flow_time(np.arange(3), 0.1), [0, 0.1, 0.2])


@pytest.mark.parametrize("function", [two_point_trajectory, two_point_ode])
@pytest.mark.parametrize(
    ("t", "state", "params", "error", "message"),
    [
        (
            1.0,
            START._replace(h=0.0),
            PARAMS,
            ValueError,
            "state.h must be positive where state.y is, got h = 0 and y = 0.04",
        ),
        (1.0, START._replace(w=0.3), PARAMS, ValueError, r"Cauchy and Schwarz.*got y = 0.04, w = 0.3, dy2 = 0.5"),
        (1.0, START._replace(y=-0.1), PARAMS, ValueError, "state.y is a squared distance, at least 0, got -0.1"),
        (1.0, START._replace(w=float("nan")), PARAMS, ValueError, "state.w must be finite, got nan"),
        (1.0, START, PARAMS._replace(dx2=0.0), ValueError, "params.dx2 must be positive, got 0"),
        (1.0, START, PARAMS._replace(eta_y=-1.0), ValueError, "params.eta_y must be finite and at least 0, got -1"),
        (1.0, START, PARAMS._replace(dy2=float("inf")), ValueError, "params.dy2 must be finite"),
        (np.array([0.0, 2.0, 1.0]), START, PARAMS, ValueError, "t must increase, got 2 and then 1 at index 2"),
        (np.array([0.0, 1.0, 1.0]), START, PARAMS, ValueError, "t must increase, got 1 and then 1"),
        (-1.0, START, PARAMS, ValueError, "t must be finite and at least 0, got -1"),
        (np.ones((2, 2)), START, PARAMS, ValueError, "t must be one time or have shape"),
        ("now", START, PARAMS, TypeError, "t must be an array"),
        (1.0, (0.25, 0.04, -0.1), PARAMS, TypeError, "state must be a TwoPointState, got tuple"),
        (1.0, START, START, TypeError, "params must be a TwoPointParams"),
        (1.0, START._replace(h=True), PARAMS, TypeError, "state.h must be an array"),
        (1.0, START._replace(h=np.ones(2)), PARAMS._replace(dx2=np.ones(3)), ValueError, "shapes must broadcast"),
        (1.0, START._replace(h=np.ones(2, int)), PARAMS, TypeError, "state.h must be floating point"),
    ],
)
def test_what_breaks_the_theory_is_named(function, t, state, params, error, message):
    with pytest.raises(error, match=f"{function.__name__}: .*{message}"):
        function(t, state, params)


def test_under_jit_impossible_states_are_nan():
    path = jax.jit(two_point_trajectory)
    for state in (START._replace(h=0.0), START._replace(w=0.3)):
        assert np.isnan(stacked(path(1.0, state, PARAMS))).all()
    assert np.isfinite(stacked(path(1.0, START, PARAMS))).all()


def test_mistakes_with_losses_are_named():
    path = TwoPointState(*np.zeros((3, 4)))
    times = np.arange(4.0)
    with pytest.raises(ValueError, match=r"loss_curve: params\.eta_ybar must be given"):
        loss_curve(times, path, PARAMS, 1.0)
    with pytest.raises(ValueError, match="trajectory must have 3 times like t"):
        loss_curve(times[:3], path, PARAMS._replace(eta_ybar=0.1), 1.0)
    with pytest.raises(ValueError, match=r"loss_curve: m0 is a squared distance, at least 0, got -1"):
        loss_curve(times, path, PARAMS._replace(eta_ybar=0.1), -1.0)
    with pytest.raises(
        ValueError, match=r"loss_curve: params and m0 must broadcast with shape \(.*\), got \(7,\) together"
    ):
        loss_curve(times, path, PARAMS._replace(eta_ybar=0.1), np.ones(7))
    with pytest.raises(ValueError, match="substeps must be at least 1"):
        two_point_ode(1.0, START, PARAMS, substeps=0)
