"""Derivatives of alignment with a task: against differences, at equal eigenvalues, where values are undefined."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.task import inputs

from jaxalign.kernels import RBF, Linear
from jaxalign.task import (
    cumulative_power,
    kare,
    kare_path,
    kernel_target_alignment,
    kta_risk_bound,
    source_norm,
    task_alignment,
)

SMOOTH = {
    "alignment": kernel_target_alignment,
    "centered": partial(kernel_target_alignment, center=True),
    "kare": partial(kare, penalty=0.1),
    "path": lambda z, y, **more: jnp.sum(kare_path(z, y, penalties=(0.01, 1.0), **more).values),
    "source norm": partial(source_norm, order=0.7),
    "risk": lambda z, y, **more: kta_risk_bound(z, y, **more).risk,
    "bound": lambda z, y, **more: kta_risk_bound(z, y, **more).bound,
    "explained": lambda z, y, **more: cumulative_power(z, y, **more).explained,
}


def total(z, y, **more):
    return jnp.stack([function(z, y, **more) for function in SMOOTH.values()])


values_and_slopes = jax.jit(lambda z, y: (total(z, y), jax.jacrev(total, argnums=(0, 1))(z, y)))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("shape", "kernel"),
    [((10, 3, 2), Linear()), ((5, 7, 2), Linear()), ((6, 2, 2), RBF(1.5))],
    ids=["tall", "wide", "rbf"],
)
def test_gradients_equal_finite_differences(shape, kernel):
    z, y = inputs(*shape)
    directions = tuple(np.random.default_rng(i).standard_normal(v.shape) for i, v in enumerate((z, y)))
    both = jax.jit(lambda z, y: jax.jvp(partial(total, kernel=kernel), (z, y), directions))
    _, tangents = both(z, y)
    step = 1e-6
    ahead, behind = (both(z + h * directions[0], y + h * directions[1])[0] for h in (step, -step))
    np.testing.assert_allclose(tangents, (ahead - behind) / (2 * step), rtol=2e-5, atol=1e-8)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_gradients_at_equal_singular_values_equal_finite_differences():
    """There the basis turns by any amount for a small change, and the numbers do not."""
    g = np.random.default_rng(4)
    z, y = np.linalg.qr(g.standard_normal((9, 3)))[0], g.standard_normal((9, 2))
    directions = (g.standard_normal(z.shape), g.standard_normal(y.shape))
    both = jax.jit(lambda z, y: jax.jvp(total, (z, y), directions))
    _, tangents = both(z, y)
    step = 1e-5
    ahead, behind = (both(z + h * directions[0], y + h * directions[1])[0] for h in (step, -step))
    np.testing.assert_allclose(tangents, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-8)
    assert not np.any(cumulative_power(z, y).determined[:-1])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_gradients_with_respect_to_settings():
    z, y = inputs(10, 3, 2)
    for function in (lambda p: kare(z, y, penalty=p), lambda p: source_norm(z, y, order=p)):
        both = jax.jit(jax.value_and_grad(function))
        slope = (both(0.3 + 1e-6)[0] - both(0.3 - 1e-6)[0]) / 2e-6
        assert float(both(0.3)[1]) == pytest.approx(float(slope), rel=1e-6)
    curvature = jax.jit(jax.grad(jax.grad(lambda p: kare(z, y, penalty=p))))(0.3)
    slope = jax.jit(jax.grad(lambda p: kare(z, y, penalty=p)))
    assert float(curvature) == pytest.approx(float((slope(0.3001) - slope(0.2999)) / 2e-4), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zero features", "zero targets", "one feature twice", "a constant"])
def test_gradients_are_finite_and_undefined_is_nan(kind):
    z, y = (v.astype(np.float32) for v in inputs(8, 3, 2))
    if kind == "zero features":
        z = 0 * z
    elif kind == "zero targets":
        y = 0 * y
    elif kind == "one feature twice":
        z[:, 1] = z[:, 0]
    else:
        z[:] = 1
    values, slopes = values_and_slopes(z, y)
    values = dict(zip(SMOOTH, np.asarray(values), strict=True))
    undefined = {
        "zero features": {"alignment", "centered", "source norm", "risk", "bound", "explained"},
        "zero targets": {"alignment", "centered", "explained"},
        "one feature twice": set(),
        "a constant": {"centered"},
    }[kind]
    assert {name for name, value in values.items() if np.isnan(value)} == undefined
    for slope in slopes:
        assert np.all(np.isfinite(slope))
    if kind == "zero features":
        assert float(kare(z, y, penalty=0.1)) == pytest.approx(np.sum(y**2) / 8, rel=1e-5)


@pytest.mark.slow
def test_no_matrix_of_rows_by_rows_is_made_of_few_features():
    rows = 700
    shapes = [jax.ShapeDtypeStruct((rows, d), "float32") for d in (4, 3)]
    functions = [*SMOOTH.values(), lambda z, y: task_alignment(z, y).kare.values[0]]
    for function in functions:
        text = jax.jit(jax.grad(lambda z, y, f=function: f(z, y))).lower(*shapes).as_text()
        assert f"{rows}x{rows}" not in text
