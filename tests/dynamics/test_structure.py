"""Matrices of pairs, states read off activations, and linear networks of any width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from jaxalign.dynamics import (
    TwoPointParams,
    TwoPointState,
    final_distance_matrix,
    fixed_point,
    pair_states,
    pairwise_states,
    smoothed_distance_matrix,
    two_point_trajectory,
    wide_linear_fixed_point,
    wide_linear_trajectory,
)

RNG = np.random.default_rng(0)
HIDDEN, OUTPUTS, TARGETS = RNG.normal(size=(6, 2, 4)), RNG.normal(size=(6, 3)), RNG.normal(size=(6, 3))


def squared_distances(z):
    z = z.reshape(len(z), -1)
    return ((z[:, None] - z[None]) ** 2).sum(axis=-1)


def test_states_from_their_definition(float64):
    state = pairwise_states(HIDDEN, OUTPUTS, TARGETS)
    np.testing.assert_allclose(state.h, squared_distances(HIDDEN), rtol=1e-13)
    np.testing.assert_allclose(state.y, squared_distances(OUTPUTS), rtol=1e-13)
    for i, j in ((0, 1), (4, 2)):
        dy, dt = OUTPUTS[j] - OUTPUTS[i], TARGETS[j] - TARGETS[i]
        assert float(state.w[i, j]) == pytest.approx(dy @ (dy - dt))
    pairs = np.array([[0, 1], [4, 2], [5, 5]])
    for a, b in zip(pair_states(HIDDEN, OUTPUTS, TARGETS, pairs), state, strict=True):
        np.testing.assert_allclose(a, np.asarray(b)[pairs[:, 0], pairs[:, 1]], rtol=1e-13)


def test_states_of_half_precision_are_differences_in_single():
    hidden = jnp.asarray([[1000.0], [1008.0]], jnp.bfloat16)
    state = pair_states(hidden, np.zeros((2, 1), np.float32), np.zeros((2, 1), np.float32), np.array([[0, 1]]))
    assert state.h.dtype == jnp.float32
    assert state.h.tolist() == [64.0]


def test_final_distances_are_the_ends_of_all_pairs(float64):
    h0, y0, dx2 = (squared_distances(RNG.normal(size=(6, 3))) for _ in range(3))
    dy2 = squared_distances(np.array([[0.0], [0.0], [1.0], [1.0], [2.0], [2.0]]))
    found = final_distance_matrix(h0, y0, dx2, dy2, ratio=0.3)
    assert (np.diag(found) == 0).all()
    for i, j in np.argwhere(~np.eye(6, dtype=bool)):
        start = TwoPointState(h0[i, j], y0[i, j], y0[i, j])
        end = fixed_point(start, TwoPointParams(0.3, 1.0, dx2[i, j], dy2[i, j]))
        assert float(found[i, j]) == pytest.approx(float(end.h_inf), rel=1e-12)
    # Of inputs that are the same with the same targets nothing is asked.
    twice = np.zeros((2, 2))
    assert final_distance_matrix(twice, twice, twice, twice, ratio=1.0).tolist() == [[0, 0], [0, 0]]


def test_smoothed_distances_from_their_definition(float64):
    x, targets = RNG.normal(size=(7, 3)), np.eye(3)[[0, 0, 1, 1, 2, 2, 2]]
    areas = np.sqrt(squared_distances(x) * squared_distances(targets))
    expected = np.exp(-areas) @ areas @ np.exp(-areas)
    np.testing.assert_allclose(smoothed_distance_matrix(x, targets), expected, rtol=1e-12)


def test_wide_linear_networks_follow_their_gradient_flow(float64):
    params = TwoPointParams(0.7, 1.3, dx2=1.5, dy2=0.5)
    a, b, d = 0.7 * 1.5, 1.3, np.sqrt(0.5)
    for scale in (0.05, 0.5, 2.0):
        dh, readout = scale * RNG.normal(size=(2, 5))

        def move(_, z):
            p, v = z[:5], z[5:]
            return np.concatenate([-a / 2 * (p @ v - d) * v, -b / 2 * (p @ v - d) * p])

        times = np.array([0.5, 2.0, 6.0])
        start = np.concatenate([dh, readout])
        z = scipy.integrate.solve_ivp(move, (0, 6), start, "DOP853", times, rtol=1e-13, atol=1e-15).y
        out = (z[:5] * z[5:]).sum(axis=0)
        expected = [(z[:5] ** 2).sum(axis=0), out**2, out**2 - d * out]
        np.testing.assert_allclose(np.stack(wide_linear_trajectory(times, dh, readout, params)), expected, atol=1e-10)
        end = wide_linear_trajectory(500.0, dh, readout, params)
        assert float(wide_linear_fixed_point(dh, readout, params)) == pytest.approx(float(end.h), rel=1e-10)


@pytest.mark.parametrize("readout", [[1000.0, -300.0], [-0.29995, -0.39995], [0.0, 0.0]])
def test_wide_linear_networks_keep_their_digits_in_single_precision(readout):
    """Large readouts, and ones that are nearly on the wrong side: against gradient flow in double precision."""
    dh, readout = np.array([0.0625, 0.25]), np.array(readout)
    if abs(readout[0]) < 1:
        dh = -np.float32(readout) + 1e-4 if readout.any() else dh
    dh, readout = (np.float32(z) for z in (dh, readout))
    params = TwoPointParams(0.5, 0.5, dx2=1.0, dy2=0.5)

    def move(_, z):
        p, v = z[:2], z[2:]
        return np.concatenate([-(p @ v - np.sqrt(0.5)) * v, -(p @ v - np.sqrt(0.5)) * p]) / 4

    times, start = np.array([1e-3, 1.0, 120.0]), np.concatenate([dh, readout]).astype(float)
    z = scipy.integrate.solve_ivp(move, (0, 120), start, "Radau", times, rtol=1e-10, atol=1e-12).y
    h, out = (z[:2] ** 2).sum(axis=0), (z[:2] * z[2:]).sum(axis=0)
    found = wide_linear_trajectory(np.float32(times), dh, readout, params)
    assert found.h.dtype == np.float32
    np.testing.assert_allclose(found.h, h, rtol=2e-3)
    np.testing.assert_allclose(found.y, out**2, rtol=2e-3, atol=1e-5)
    assert float(wide_linear_fixed_point(dh, readout, params)) == pytest.approx(float(h[-1]), rel=1e-4)


def test_wide_linear_networks_on_the_wrong_side_never_learn(float64):
    dh, params = np.array([0.3, 0.4]), TwoPointParams(1.0, 1.0, dx2=1.0, dy2=0.5)
    times, drive = np.array([0.0, 1.0, 5.0]), np.sqrt(0.5)
    theory = two_point_trajectory(times, TwoPointState(0.25, 0.0625, 0.0625 + drive * 0.25), params)
    np.testing.assert_allclose(np.stack(wide_linear_trajectory(times, dh, -dh, params)), theory, atol=1e-12)
    assert np.all(np.abs(np.stack(wide_linear_trajectory(1e4, dh, -dh, params))) < 1e-12)
    agreeing = wide_linear_trajectory(3.0, dh, -dh, params._replace(dy2=0.0)).h
    assert float(agreeing) == pytest.approx(0.25 / (1 + 0.25 * 3))
    assert not np.any(np.stack(wide_linear_trajectory(times, 0 * dh, 0 * dh, params)))


def test_one_unit_is_the_theory(float64):
    params = TwoPointParams(0.7, 1.3, dx2=1.5, dy2=0.5)
    times = np.linspace(0, 8, 20)
    start = TwoPointState(0.09, 0.09 * 0.16, 0.09 * 0.16 - np.sqrt(0.5) * 0.12)
    one = wide_linear_trajectory(times, np.array([0.3]), np.array([0.4]), params)
    for a, b in zip(one, two_point_trajectory(times, start, params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-13)


def test_how_far_the_theory_is_from_wide_networks(float64):
    """The gap of equal scales: none at both ends, 15.5 % near an initial distance of 0.7 of the targets'."""
    sizes = np.geomspace(1e-3, 1e3, 400)
    truth, theory = np.sqrt(sizes**2 + 0.5), sizes / 2 + np.sqrt(sizes**2 / 4 + 0.5)
    gap = theory / truth - 1
    assert gap.max() == pytest.approx(0.155, abs=1e-3)
    assert sizes[gap.argmax()] / np.sqrt(0.5) == pytest.approx(0.7, abs=0.03)
    width = 2000
    p, u = (np.sqrt(0.5 / width) * RNG.normal(size=width) for _ in range(2))
    params = TwoPointParams(1.0, 1.0, dx2=1.0, dy2=0.5)
    found = float(wide_linear_fixed_point(p, u, params))
    assert found == pytest.approx(np.sqrt((p @ p) ** 2 + 0.5), rel=0.03)


def square(n, value=1.0):
    return value * (1 - np.eye(n))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: final_distance_matrix(square(3), square(3), square(3), square(2), ratio=1.0),
            ValueError,
            "dy2 must be a sq",
        ),
        (
            lambda: final_distance_matrix(square(3), square(3), 0 * square(3), square(3), ratio=1.0),
            ValueError,
            "dx2 must be p",
        ),
        (
            lambda: final_distance_matrix(0 * square(3), square(3), square(3), square(3), ratio=1.0),
            ValueError,
            "h0 must be pos",
        ),
        (
            lambda: final_distance_matrix(-square(3), square(3), square(3), square(3), ratio=1.0),
            ValueError,
            "at least 0, got -1",
        ),
        (
            lambda: final_distance_matrix(square(3), square(3), square(3), square(3), ratio=0.0),
            ValueError,
            "ratio must be pos",
        ),
        (
            lambda: smoothed_distance_matrix(np.ones((3, 2)), np.ones((4, 2))),
            ValueError,
            "x and targets must have the same",
        ),
        (
            lambda: pairwise_states(HIDDEN, OUTPUTS, TARGETS[:, :2]),
            ValueError,
            "targets must have the shape of outputs",
        ),
        (lambda: pairwise_states(HIDDEN, OUTPUTS[:5], TARGETS[:5]), ValueError, "outputs must have 6 rows like hidden"),
        (lambda: pair_states(HIDDEN, OUTPUTS, TARGETS, np.ones((3, 2))), ValueError, "pairs must be integers"),
        (lambda: wide_linear_trajectory(1.0, np.ones(3), np.ones(2), PARAMS), ValueError, "readout must have shape"),
        (
            lambda: pair_states(np.ones((3, 2)), np.ones((3, 1)), np.ones((3, 1)), np.array([[0, 1], [0, 3]])),
            ValueError,
            "pairs must be rows from 0 to 2, got 3",
        ),
        (lambda: wide_linear_fixed_point(np.ones(3), np.ones(3), 1.0), TypeError, "params must be TwoPointParams"),
        (
            lambda: wide_linear_trajectory(1.0, np.ones(3), np.ones(3), PARAMS._replace(eta_h=0.0)),
            ValueError,
            "params.eta_h must be positive, got 0",
        ),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


PARAMS = TwoPointParams(1.0, 1.0, dx2=1.0, dy2=0.5)


def test_matrices_go_through_jit():
    ends = jax.jit(lambda h: final_distance_matrix(h, 0 * h, h, h, ratio=0.25))(jnp.asarray(square(3), jnp.float32))
    np.testing.assert_allclose(ends, square(3, 0.5 + 0.5**0.5), rtol=1e-6)
