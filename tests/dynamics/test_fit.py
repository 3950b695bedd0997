"""Rates fitted to trajectories that are known, with noise, in every regime; what is told of those that have none."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.dynamics import TwoPointParams, TwoPointState, fit_two_point, loss_curve, two_point_trajectory
from tests.oracles import dynamics as oracle

DEFAULT = oracle.GOLDEN["small weights"][0]


def made(case, times, **rates):
    return two_point_trajectory(times, TwoPointState(*case[4:]), TwoPointParams(*case[:4], **rates))


def noisy(path, size, seed=0):
    rng = np.random.default_rng(seed)
    later = np.arange(len(path.h)) > 0
    return TwoPointState(*(np.asarray(z) + size * later * rng.normal(size=len(path.h)) for z in path))


def test_rates_of_noise_free_pairs_are_recovered_in_all_regimes(float64):
    cases = oracle.random_cases(100)
    columns = np.array(cases).T
    times = np.linspace(0, 30, 200)
    path = two_point_trajectory(times, TwoPointState(*columns[4:]), TwoPointParams(*columns[:4]))
    fit = fit_two_point(times, path, columns[2], columns[3])
    np.testing.assert_allclose(fit.params.eta_h, columns[0], rtol=1e-9)
    np.testing.assert_allclose(fit.params.eta_y, columns[1], rtol=1e-9)
    assert fit.converged.all()
    assert (fit.sse < 1e-15).all()
    np.testing.assert_allclose(fit.ratio_endpoint, columns[0] / columns[1], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", oracle.GOLDEN)
def test_rates_of_the_golden_pairs(float64, name):
    case, _, values = oracle.GOLDEN[name]
    times = np.linspace(0, 3 * max(values), 300)
    path = made(case, times)
    mean_rate = 0.3 * case.eta_y
    losses = loss_curve(times, path, TwoPointParams(*case[:4], eta_ybar=mean_rate), 0.9)
    fit = fit_two_point(times, path, case.dx2, case.dy2, loss=losses, m0=0.9)
    found = [float(rate) for rate in (fit.params.eta_h, fit.params.eta_y, fit.params.eta_ybar)]
    np.testing.assert_allclose(found, [case.eta_h, case.eta_y, mean_rate], rtol=1e-9)
    assert bool(fit.eta_h_identifiable) == (name != "lazy")


def test_noise_moves_rates_as_little_as_it_should(float64):
    times = np.arange(6000.0)
    fit = fit_two_point(times, noisy(made(DEFAULT, times), 1e-3), 1.0, 0.5)
    assert float(fit.params.eta_h) == pytest.approx(DEFAULT.eta_h, rel=2e-3)
    assert float(fit.params.eta_y) == pytest.approx(DEFAULT.eta_y, rel=2e-3)
    assert float(fit.sse) == pytest.approx(3 * 6000 * 1e-6, rel=0.05)
    assert (fit.r2 > 0.99).all()
    np.testing.assert_allclose(fit.nrmse, np.sqrt(1e-6) / np.array([0.086, 0.506, 0.132]), rtol=0.1)
    theory = fit.trajectory(times)
    np.testing.assert_allclose(theory.h, made(DEFAULT, times).h, atol=1e-4)


def test_float32_recordings_are_fitted_as_well():
    times = np.arange(3000, dtype=np.float32)
    path = TwoPointState(*(np.asarray(z, np.float32) for z in made(DEFAULT, times)))
    fit = fit_two_point(times, path, 1.0, 0.5)
    assert fit.params.eta_h.dtype == jnp.float32
    assert float(fit.params.eta_h) == pytest.approx(DEFAULT.eta_h, rel=1e-3)
    assert float(fit.params.eta_y) == pytest.approx(DEFAULT.eta_y, rel=1e-3)


@pytest.mark.slow
def test_each_layer_is_fitted_by_itself_and_times_may_begin_late(float64):
    times = np.linspace(0, 20, 120)
    cases = [oracle.GOLDEN[name][0] for name in ("one output", "several outputs")]
    paths = [made(case, times) for case in cases]
    both = TwoPointState(*(np.stack(z, axis=1)[:, None] for z in zip(*paths, strict=True)))
    fit = fit_two_point(times, both, 1.0, np.full((1, 2), 0.5))
    assert fit.sse.shape == (1, 2)
    assert fit.r2.shape == (1, 2, 3)
    np.testing.assert_allclose(fit.params.eta_h, 0.5, rtol=1e-9)
    late = TwoPointState(*(np.asarray(z)[40:] for z in paths[0]))
    later = fit_two_point(times[40:], late, 1.0, 0.5)
    assert float(later.params.eta_h) == pytest.approx(0.5, rel=1e-9)
    np.testing.assert_allclose(later.trajectory(times[50:]).h, late.h[10:], rtol=1e-9)


def test_lazy_pairs_are_said_to_be_lazy(float64):
    times = np.arange(6000.0)
    case = oracle.Case(1e-3, 1e-3, 1.0, 0.5, 10.0, 0.1, 0.1 - 0.5 * np.sqrt(0.05))
    fit = fit_two_point(times, noisy(made(case, times), 1e-2), 1.0, 0.5)
    assert not bool(fit.eta_h_identifiable)
    assert bool(fit.eta_y_identifiable)
    assert float(fit.params.eta_y) == pytest.approx(1e-3, rel=0.02)
    assert bool(fit.converged)


def test_pairs_that_break_the_theory_are_told(float64):
    """Representations that move together while outputs move apart: no pair of the theory does that."""
    times = np.linspace(0, 10, 60)
    share = 1 - np.exp(-times)
    path = TwoPointState(1 - 0.5 * share, 0.01 + 0.4 * share, -0.05 * np.exp(-times))
    fit = fit_two_point(times, path, 1.0, 0.5)
    assert float(fit.ratio_endpoint) < 0
    assert not bool(fit.eta_h_identifiable)
    assert np.isfinite(float(fit.params.eta_h))


def test_what_is_constant_has_no_share_of_a_variance(float64):
    times = np.linspace(0, 10, 60)
    still = TwoPointState(*(np.full(60, z) for z in (0.5, 0.1, 0.05)))
    fit = fit_two_point(times, still, 1.0, 0.5, loss=np.full(60, 0.2), m0=0.1)
    assert np.isnan(fit.r2).all()
    assert np.isnan(fit.nrmse).all()
    assert np.isnan(fit.loss_r2)
    assert not bool(fit.eta_h_identifiable)
    assert float(fit.sse) > 0


@pytest.mark.slow
def test_weighting_by_range_counts_all_quantities_alike(float64):
    times = np.linspace(0, 30, 150)
    case = oracle.Case(0.5, 0.01, 1.0, 0.5, 0.25, 0.04, 0.04 - 0.2 * np.sqrt(0.5))  # h is a hundred times w
    path = noisy(made(case, times), 1e-3)
    # An error in the large quantity only: raw fits follow it, weighted ones less.
    bent = TwoPointState(path.h * (1 + 0.05 * np.sin(times)), path.y, path.w)
    raw, ranged = (fit_two_point(times, bent, 1.0, 0.5, weighting=w) for w in ("raw", "range"))
    assert float(raw.sse) <= float(ranged.sse)
    assert float(jnp.sum(ranged.nrmse**2)) <= float(jnp.sum(raw.nrmse**2))
    assert float(raw.params.eta_h) != float(ranged.params.eta_h)


@pytest.mark.slow
def test_loss_rate_counts_outputs(float64):
    times = np.linspace(0, 20, 100)
    case = oracle.GOLDEN["one output"][0]
    params = TwoPointParams(*case[:4], eta_ybar=0.7)
    path = made(case, times)
    losses = loss_curve(times, path, params, 0.4, outputs=3)
    fit = fit_two_point(times, path, 1.0, 0.5, loss=losses, m0=0.4, outputs=3)
    assert float(fit.params.eta_ybar) == pytest.approx(0.7, rel=1e-9)
    assert float(fit.loss_r2) == pytest.approx(1.0)
    bent = losses * (1 + 0.05 * np.sin(times))
    fit = fit_two_point(times, path, 1.0, 0.5, loss=bent, m0=0.4, outputs=3)
    errors = bent - loss_curve(times, fit.trajectory(times), fit.params, 0.4, outputs=3)
    assert float(fit.loss_sse) == pytest.approx(float(jnp.sum(errors**2)), rel=1e-6)
    assert float(fit.loss_r2) == pytest.approx(1 - float(fit.loss_sse) / float(jnp.var(bent) * 100), rel=1e-6)
    assert fit_two_point(times, path, 1.0, 0.5).params.eta_ybar is None


GOOD, PAIRS = TwoPointState(*np.ones((3, 4))), TwoPointState(*np.ones((3, 4, 2)))


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        ((np.arange(2.0), GOOD, 1.0, 0.5), {}, ValueError, "t must hold at least 3 times"),
        ((np.arange(5.0), GOOD, 1.0, 0.5), {}, ValueError, "trajectory must have 5 times like t, got shape"),
        ((np.array([0, 2, 1, 3.0]), GOOD, 1.0, 0.5), {}, ValueError, "t must increase, got 2 and then 1"),
        (
            (np.arange(4.0), GOOD._replace(h=np.array([1, 1, np.nan, 1])), 1.0, 0.5),
            {},
            ValueError,
            r"trajectory\.h must be",
        ),
        ((np.arange(4.0), GOOD, 0.0, 0.5), {}, ValueError, r"params\.dx2 must be positive"),
        ((np.arange(4.0), GOOD._replace(w=-np.ones(4)), 1.0, 0.5), {}, ValueError, "Cauchy and Schwarz"),
        ((np.arange(4.0), GOOD, np.ones(2), 1.0), {}, ValueError, "dx2 and dy2 must broadcast with shape"),
        ((np.arange(4.0), tuple(GOOD), 1.0, 0.5), {}, TypeError, "trajectory must be a TwoPointState"),
        ((np.arange(4.0), GOOD, 1.0, 1.0), {"weighting": "ranges"}, ValueError, "did you mean 'range'"),
        ((np.arange(4.0), GOOD, 1.0, 1.0), {"tolerance": 0.0}, ValueError, "tolerance must be positive"),
        ((np.arange(4.0), GOOD, 1.0, 1.0), {"loss": np.ones(4)}, ValueError, "m0 must be given with a loss"),
        ((np.arange(4.0), GOOD, 1.0, 1.0), {"loss": np.ones(3), "m0": 1.0}, ValueError, "loss must have 4 times"),
        (
            (np.arange(4.0), PAIRS, 1.0, 1.0),
            {"loss": np.ones(4), "m0": 1.0},
            ValueError,
            r"loss must broadcast with shape \(4, 2\), got shape \(4,\)",
        ),
        (
            (np.arange(4.0), PAIRS, 1.0, 1.0),
            {"loss": np.ones((4, 2)), "m0": np.ones(3)},
            ValueError,
            r"m0 must broadcast with shape \(2,\), got shape \(3,\)",
        ),
    ],
)
def test_mistakes_are_named(arguments, settings, error, message):
    with pytest.raises(error, match=message):
        fit_two_point(*arguments, **settings)


def test_fits_do_not_depend_on_what_is_fitted_beside_them(float64):
    times = np.linspace(0, 20, 60)
    path = made(oracle.GOLDEN["one output"][0], times)
    alone = fit_two_point(times, noisy(path, 1e-2), 1.0, 0.5)
    beside = TwoPointState(
        *(np.stack([a, b], axis=1) for a, b in zip(noisy(path, 1e-2), noisy(path, 0.1, 1), strict=True))
    )
    assert float(fit_two_point(times, beside, 1.0, 0.5).params.eta_h[0]) == pytest.approx(
        float(alone.params.eta_h), rel=1e-6
    )
