"""Alignment with a task: the worked example, definitions, relations, precision, masks, mistakes."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from oracles import task as oracle
from oracles.task import inputs

from jaxalign.kernels import RBF, Cosine, Distance, Linear
from jaxalign.task import (
    cumulative_power,
    kare,
    kare_path,
    kernel_target_alignment,
    kta_risk_bound,
    source_norm,
    task_alignment,
)

Z1 = np.array([[1, 0], [0, 1], [2, 1], [-1, 1], [0, -2.0]])
Z2 = np.array([[1, 1, 0], [0, 2, 1], [3, 1, -1], [-1, 0, 2], [0, -1, 1.0]])
Y = np.array([[1], [0], [2], [-1], [1.0]])
PENALTIES = (1e-3, 0.1, 2.0)
MASK = np.arange(12) % 4 != 2


@jax.jit
def everything(z, y, mask=None, kernel=Linear()):  # noqa: B008 (immutable)
    """All numbers in one dictionary, each by its own function."""
    power = cumulative_power(z, y, kernel=kernel, mask=mask)
    bound = kta_risk_bound(z, y, kernel=kernel, mask=mask)
    path = kare_path(z, y, kernel=kernel, penalties=PENALTIES, mask=mask)
    return {
        "alignment": kernel_target_alignment(z, y, kernel=kernel, mask=mask),
        "centered": kernel_target_alignment(z, y, kernel=kernel, center=True, mask=mask),
        "kare": jnp.stack([kare(z, y, kernel=kernel, penalty=one, mask=mask) for one in PENALTIES]),
        "path": path.values,
        "power": power.values,
        "powers": power.powers,
        "eigenvalues": power.eigenvalues,
        "explained": power.explained,
        "norms": jnp.stack([source_norm(z, y, order=r, kernel=kernel, mask=mask) for r in (0.0, 0.5, 1.2)]),
        "risk": bound.risk,
        "bound": bound.bound,
    }


def defined(k, y):
    """The same by the oracle, for a kernel matrix."""
    values, powers = oracle.spectrum(k, y)
    risk, bound = oracle.risk_and_bound(k, y)
    return {
        "alignment": oracle.alignment(k, y),
        "centered": oracle.alignment(k, y, center=True),
        "kare": [oracle.kare(k, y, one) for one in PENALTIES],
        "path": [oracle.gcv(k, y, one) for one in PENALTIES],
        "power": oracle.cumulative_power(k, y),
        "powers": powers,
        "eigenvalues": values,
        "explained": oracle.explained(k, y),
        "norms": [oracle.source_norm(k, y, r) for r in (0.0, 0.5, 1.2)],
        "risk": risk,
        "bound": bound,
    }


def agree(found, expected, rtol, atol=0.0):
    for name, value in expected.items():
        value = np.asarray(value)
        got = np.asarray(found[name], np.float64)
        if value.ndim and name in ("power", "powers", "eigenvalues"):
            # Of fewer directions than the smaller side of the input, the rest is known.
            rest = got[value.size :]
            np.testing.assert_array_equal(rest, np.ones_like(rest) if name == "power" else np.zeros_like(rest))
            got = got[: value.size]
        np.testing.assert_allclose(got, value, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.usefixtures("float64")
def test_the_worked_example():
    found = task_alignment(Z1, Y, penalties=(0.1,))
    assert float(found.alignment) == pytest.approx(0.566688054129, abs=1e-11)
    assert float(found.centered_alignment) == pytest.approx(0.572296067662, abs=1e-11)
    assert float(found.kare.best) == pytest.approx(0.232211427986, abs=1e-11)
    assert float(kare(Z1, Z2, penalty=0.1)) == pytest.approx(3.620657196409, abs=1e-11)
    assert float(cumulative_power(Z1, Y).values[0]) == pytest.approx(0.1057894973, abs=1e-10)
    np.testing.assert_allclose(cumulative_power(Z1, Y).eigenvalues, [1.52360679775, 1.07639320225], atol=1e-11)
    assert float(found.power.explained) == pytest.approx(0.940766550523, abs=1e-11)
    assert float(found.source_norm) ** 2 == pytest.approx(1.185603807258, abs=1e-11)
    assert float(found.bound.risk) == pytest.approx(0.298330919704, abs=1e-11)
    assert float(found.bound.bound) == pytest.approx(1.21327344844, abs=1e-11)


#: Tall, wide, and square inputs, of several outputs and one.
SHAPES = [(12, 3, 2), (7, 9, 1), (6, 6, 3)]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_equal_the_definitions(shape):
    z, y = inputs(*shape)
    found = everything(z, y)
    agree(found, defined(oracle.gram(z), y), 1e-9)
    np.testing.assert_allclose(found["kare"], found["path"], rtol=1e-13)
    assert found["power"].shape == (min(shape[:2]),)


@pytest.mark.usefixtures("float64")
def test_other_kernels_equal_the_definitions():
    z, y = inputs(8, 3, 2)
    agree(everything(z, y, kernel=RBF(1.3)), defined(oracle.rbf(z, 1.3), y), 1e-9)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    agree(everything(z, y, kernel=Cosine()), defined(oracle.gram(unit), y), 1e-9)


@pytest.mark.usefixtures("float64")
def test_many_random_tasks():
    """A vectorized loop: the estimate is that of cross-validation, the bound holds, order 1/2 is `yᵀK⁺y`."""
    g = np.random.default_rng(1)
    z = g.standard_normal((2000, 9, 4)) * np.exp(g.standard_normal((2000, 1, 4)))
    y = g.standard_normal((2000, 9, 2)) + g.standard_normal((2000, 9, 2)) ** 3

    def numbers(z, y, scale):
        penalty = 0.07 * scale
        bound = kta_risk_bound(z, y)
        return kare(z, y, penalty=penalty), source_norm(z, y, order=0.5), bound.risk, bound.bound

    scale = np.mean(z**2, axis=(1, 2))
    risk_estimate, norm, risk, bound = jax.jit(jax.vmap(numbers))(z, y, scale)
    k = z @ z.transpose(0, 2, 1)
    hat = k @ np.linalg.inv(k + 9 * (0.07 * scale)[:, None, None] * np.eye(9))
    slack = 1 - np.trace(hat, axis1=1, axis2=2) / 9
    gcv = np.sum((y - hat @ y) ** 2, axis=(1, 2)) / 9 / slack**2
    np.testing.assert_allclose(risk_estimate, gcv, rtol=1e-9)
    inverse = np.linalg.pinv(k, rcond=1e-11, hermitian=True)
    np.testing.assert_allclose(norm**2, np.einsum("bit,bij,bjt->b", y, inverse, y), rtol=1e-8)
    assert np.all(np.asarray(risk) <= np.asarray(bound) * (1 + 1e-12))
    assert np.all(np.asarray(risk) >= 0)


@pytest.mark.usefixtures("float64")
def test_the_printed_predictor_would_break_its_bound():
    """K = 0.1 y yᵀ: alignment 1 and bound 0, which the predictor over the mean of squares misses by far."""
    y = np.array([[1.0], [-1.0]])
    found = kta_risk_bound(np.sqrt(0.1) * y, y)
    assert float(found.risk) == pytest.approx(0, abs=1e-15)
    assert float(found.bound) == pytest.approx(0, abs=1e-15)
    k = 0.1 * y @ y.T
    assert np.mean((y - k @ y / 2 / np.mean(k**2)) ** 2) == pytest.approx(81)


def test_the_bound_is_that_of_wrong_signs():
    """Targets of ±1: the risk is at most 2 (1 - A), and no fewer signs are wrong than that."""
    g = np.random.default_rng(2)
    y = np.sign(g.standard_normal((500, 20))).astype(np.float32)
    z = (y[:, :, None] + g.standard_normal((500, 20, 3))).astype(np.float32)
    found = jax.jit(jax.vmap(kta_risk_bound))(z, y)
    alignment = jax.jit(jax.vmap(kernel_target_alignment))(z, y)
    np.testing.assert_allclose(found.bound, 2 * (1 - alignment), rtol=1e-4)
    wrong = np.mean(np.sign(np.einsum("bid,bjd,bj->bi", z, z, y)) != y, axis=1)
    assert np.all(wrong <= np.asarray(found.bound))
    assert np.any(wrong > 0)


@pytest.mark.slow
def test_penalties_at_the_ends():
    """Towards 0 the estimate is that of least squares, or of an interpolation; towards infinity the scale of y."""
    with jax.enable_x64(True):
        for shape in SHAPES:
            z, y = inputs(*shape)
            n, d, _ = shape
            low = float(kare(z, y, penalty=1e-14))
            if n > d:
                outside = y - z @ np.linalg.lstsq(z, y)[0]
                expected = n * np.sum(outside**2) / (n - d) ** 2
            else:
                inverse = np.linalg.inv(oracle.gram(z))
                expected = n * np.sum((inverse @ y) ** 2) / np.trace(inverse) ** 2
            assert low == pytest.approx(expected, rel=1e-6)
            # A traced 0 is the limit itself.
            assert float(jax.jit(lambda p, z=z, y=y: kare(z, y, penalty=p))(0.0)) == pytest.approx(expected, rel=1e-9)
            assert float(kare(z, y, penalty=1e12)) == pytest.approx(np.sum(y**2) / n, rel=1e-9)


@pytest.mark.slow
def test_float32_is_near_float64_on_spectra_of_a_thousandth():
    g = np.random.default_rng(3)
    basis = np.linalg.qr(g.standard_normal((30, 6)))[0]
    z = (basis * np.logspace(0, -3, 6)) @ np.linalg.qr(g.standard_normal((6, 6)))[0].T
    y = basis @ (np.logspace(0, -3, 6)[:, None] * g.standard_normal((6, 2))) + 1e-3 * g.standard_normal((30, 2))
    z, y = z.astype(np.float32), y.astype(np.float32)
    found = everything(z, y)
    assert all(value.dtype == jnp.float32 for value in found.values())
    expected = defined(oracle.gram(z), y)
    agree(found, expected, 3e-4)
    tiny = float(kare(z, y, penalty=1e-9))
    assert tiny == pytest.approx(oracle.kare(oracle.gram(z), y, 1e-9), rel=1e-3)


@pytest.mark.slow
def test_half_precision_is_taken_in_float32():
    z, y = (jnp.asarray(v, jnp.bfloat16) for v in inputs(12, 3, 2))
    found = jax.eval_shape(everything, z, y)
    assert all(value.dtype == jnp.float32 for value in found.values())
    z64, y64 = (np.asarray(v.astype(jnp.float32), np.float64) for v in (z, y))
    agree(everything(z, y), defined(oracle.gram(z64), y64), 5e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [Linear(), RBF(1.3)], ids=["linear", "rbf"])
def test_masked_rows_do_not_count(kernel):
    with jax.enable_x64(True):
        z, y = inputs(12, 3, 2)
        padded = [np.where(MASK[:, None], v, np.nan) for v in (z, y)]
        found = everything(*padded, MASK, kernel=kernel)
        k = oracle.gram(z[MASK]) if kernel == Linear() else oracle.rbf(z[MASK], 1.3)
        agree(found, defined(k, y[MASK]), 1e-9)
        slope = jax.jit(jax.grad(lambda z: kare(z, padded[1], penalty=0.1, kernel=kernel, mask=MASK)))(padded[0])
        assert np.all(np.asarray(slope)[~MASK] == 0)
        assert np.any(np.asarray(slope)[MASK] != 0)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_more_features_than_rows_that_count():
    z, y = inputs(12, 10, 2)
    agree(everything(z, y, MASK), defined(oracle.gram(z[MASK]), y[MASK]), 1e-8)


@pytest.mark.slow
def test_a_kernel_with_negative_eigenvalues_has_no_risk_estimate():
    z, y = (v.astype(np.float32) for v in inputs(8, 3, 2))
    found = everything(z, y, kernel=Distance())
    for name, value in found.items():
        if name in ("kare", "path", "power", "explained", "norms", "powers", "eigenvalues"):
            assert np.all(np.isnan(value)), name
    assert np.isfinite(found["centered"])
    assert float(found["risk"]) <= float(found["bound"])


def test_ties_are_named():
    z = np.linalg.qr(np.random.default_rng(5).standard_normal((9, 4)))[0].astype(np.float32) * np.float32([2, 1, 1, 0])
    found = cumulative_power(z, z[:, :1])
    assert found.determined.tolist() == [True, False, True, True]
    assert np.all(np.asarray(found.eigenvalues)[:3] > 0)
    assert float(found.eigenvalues[3]) == 0


@pytest.mark.usefixtures("float64")
def test_a_vector_of_targets_is_one_column():
    z, y = inputs(7, 9, 1)
    one, other = (everything(z, v) for v in (y, y[:, 0]))
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.mark.slow
def test_a_summary_holds_the_others_and_prints():
    z, y = (v.astype(np.float32) for v in inputs(12, 3, 2))
    found = task_alignment(z, y, penalties=PENALTIES)
    expected = everything(z, y)
    for value, name in [
        (found.alignment, "alignment"),
        (found.centered_alignment, "centered"),
        (found.kare.values, "path"),
        (found.power.values, "power"),
        (found.source_norm, "norms"),
        (found.bound.risk, "risk"),
        (found.bound.bound, "bound"),
    ]:
        np.testing.assert_allclose(value, expected[name][1] if name == "norms" else expected[name], rtol=1e-5)
    assert float(found.scale) == pytest.approx(np.sum(y**2) / 12, rel=1e-5)
    assert float(found.kare.best) == float(jnp.min(found.kare.values))
    assert float(found.kare.best_penalty) in np.float32(PENALTIES)
    assert f"{float(found.alignment):.4f}" in str(found)
    assert "12 examples" in str(found)
    assert str(task_alignment(0 * z, y))
    assert task_alignment(z, y).kare.penalties.shape == (24,)


@pytest.mark.slow
def test_functions_lower_for_every_platform():
    shapes = [jax.ShapeDtypeStruct((300, d), "float32") for d in (16, 3)]
    mask = jax.ShapeDtypeStruct((300,), "bool")
    for kernel in (Linear(), RBF(2.0)):
        call = jax.jit(lambda z, y, mask, kernel=kernel: task_alignment(z, y, kernel=kernel, mask=mask))
        assert export.export(call, platforms=["cpu", "cuda", "tpu"])(*shapes, mask).platforms == ("cpu", "cuda", "tpu")


X, T = Z1.astype(np.float32), Y.astype(np.float32)
ALL = (
    kernel_target_alignment,
    partial(kare, penalty=0.1),
    kare_path,
    cumulative_power,
    partial(source_norm, order=0.5),
    kta_risk_bound,
    task_alignment,
)


@pytest.mark.parametrize("function", ALL, ids=lambda f: getattr(f, "func", f).__name__)
def test_labels_have_to_be_numbers(function):
    name = getattr(function, "func", function).__name__
    with pytest.raises(TypeError, match=rf"{name}: y must be floating point.*jax.nn.one_hot"):
        function(X, np.arange(5))
    with pytest.raises(ValueError, match=f"{name}: z and y must have the same number of rows"):
        function(X, T[:4])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: kare(X, T, penalty=0.0), ValueError, "kare: penalty must be positive, got 0.0"),
        (lambda: kare(X, T, penalty=-1), ValueError, "kare: penalty must be at least 0, got -1"),
        (lambda: kare(X, T, penalty=np.ones(2)), ValueError, "kare: penalty must be one number"),
        (lambda: kare_path(X, T, penalties=(1.0, 0.0)), ValueError, "kare_path: penalties must be positive, got 0.0"),
        (lambda: kare_path(X, T, penalties=()), ValueError, "kare_path: penalties must be a vector"),
        (lambda: source_norm(X, T, order=-0.5), ValueError, "source_norm: order must be at least 0"),
        (lambda: kernel_target_alignment(X[0], T), ValueError, "z must have shape"),
        (lambda: kernel_target_alignment(X, T, kernel="rbf"), TypeError, "kernel_target_alignment: kernel must be"),
        (lambda: kare(X, T, penalty=0.1, kernel="rbf"), TypeError, "kare: kernel must be a Kernel"),
        (lambda: kta_risk_bound(X, T[None]), ValueError, "kta_risk_bound: y must have shape"),
        (lambda: cumulative_power(X, T, mask=np.ones(5)), TypeError, "cumulative_power: mask must be boolean"),
        (lambda: kernel_target_alignment(X, T, center="yes"), TypeError, "center must be True or False"),
    ],
)
def test_mistakes_are_named(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
