"""Where bounds could silently be too low: precision, weights, targets, constants, scales."""

from __future__ import annotations

import math
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxalign.signatures.whitened import UninformativeWarning
from jaxalign.stitching import (
    certificate,
    certified_agreement,
    layer_certificates,
    layer_spectrum,
    least_squares,
    lipschitz_bound,
    misalignment,
    misalignment_interval,
    required_alignment,
    stitching_bound,
    stitching_path,
)

pytestmark = pytest.mark.filterwarnings("ignore::jaxalign.signatures.whitened.UninformativeWarning")


def test_weights_of_examples_with_different_numbers_of_tokens(float64):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 10, 2)), rng.standard_normal((6, 10, 3))
    mask = np.zeros((6, 10), bool)
    mask[:, 0] = mask[0] = True
    weights = np.array([1000.0, 1, 1, 1, 1, 1])
    found = misalignment(jnp.asarray(x), jnp.asarray(y), mask=jnp.asarray(mask), weights=jnp.asarray(weights))
    squares = np.sum(np.sum((np.asarray(found.stitch(jnp.asarray(x))) - y) ** 2, axis=2) * mask, axis=1)
    np.testing.assert_allclose(found.value, weights @ squares / weights.sum(), rtol=1e-9)


def test_moves_of_the_size_of_rounding_count_in_slopes():
    rng = np.random.default_rng(0)
    z2 = jnp.asarray(1000 + rng.standard_normal((200, 16)), jnp.float32)
    z1 = z2 + jnp.asarray(1e-3 * rng.standard_normal((200, 16)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((16, 3)), jnp.float32)
    head = lambda z: (z - 1000) @ kernel  # noqa: E731
    found = certificate(z1, z2, targets=head(z2), head=head, lipschitz=lipschitz_bound([kernel]))
    assert found.t0 <= found.t1 * (1 + 1e-5)
    assert found.t1 <= found.t2 * (1 + 1e-3)
    assert found.local_lipschitz > 0


@pytest.mark.parametrize(
    ("loss", "targets", "says"),
    [
        ("cross_entropy", np.eye(3)[[0, 1, 2, 0]] * 5, "probabilities of sum 1"),
        ("cross_entropy", np.array([0, 1, 2, 3]), "labels from 0 to 2"),
        ("multiclass_hinge", np.array([0, 1, -1, 2]), "labels from 0 to 2"),
        ("hinge", np.full((4, 1), 5.0), "must be -1 or 1 for hinge"),
        ("logistic", np.array([[0.0], [1], [1], [0]]), "must be -1 or 1 for logistic"),
    ],
)
def test_targets_with_which_a_loss_has_another_constant_are_refused(loss, targets, says):
    width = 1 if loss in ("hinge", "logistic") else 3
    z = jnp.asarray(np.random.default_rng(0).standard_normal((4, width)), jnp.float32)
    targets = jnp.asarray(targets, jnp.int32 if targets.dtype.kind == "i" else jnp.float32)
    with pytest.raises(ValueError, match=says):
        certificate(z, z, targets=targets, head=lambda z: z, lipschitz=1.0, loss=loss, stitch=lambda z: -z)


def test_small_features_are_directions_of_the_interval_too():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 200, 1))
    for small in (1e-3, 1e-5, 1e-8):
        z1, z2 = jnp.asarray(np.hstack([a, small * b]), jnp.float32), jnp.asarray(np.hstack([a, b]), jnp.float32)
        alignment = stitching_path(z1, z2, penalties=(1.0,)).kernel_alignment
        low, high = misalignment_interval(layer_spectrum(z1), layer_spectrum(z2), alignment)
        value = misalignment(z1, z2).value
        assert low <= value + 1e-5
        assert value <= high
        cuts = layer_certificates([z1], [z2], risk=0.0, lipschitz=[1.0], stitcher="linear")
        np.testing.assert_allclose(cuts.misalignment[0, 0], value, atol=1e-6)


def test_a_small_layer_beside_a_large_one_keeps_its_misalignment():
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(rng.standard_normal((40, 3)), jnp.float32) for _ in range(2))
    found = layer_certificates([x], [1e15 * y, 1e-15 * y], risk=0.1, lipschitz=[1.0, 1e15])
    direct = [float(misalignment(x, scale * y, stitcher="affine")) for scale in (1e15, 1e-15)]
    np.testing.assert_allclose(found.misalignment[0], direct, rtol=1e-4)


def test_few_rows_are_never_the_best_cut():
    rng = np.random.default_rng(0)
    wide, narrow, y = (jnp.asarray(rng.standard_normal((20, d)), jnp.float32) for d in (50, 2, 3))
    with pytest.warns(UninformativeWarning, match="layer 0"):
        found = layer_certificates([wide, narrow], [y], risk=0.1, lipschitz=[1.0])
    assert found.bounds[0, 0] < found.bounds[1, 0]
    assert found.overfit.tolist() == [[True], [False]]
    assert found.best[0] == "layer 1"
    assert "!" in str(found)


def test_heads_in_half_precision():
    """Their rounding is not taken for a wrong constant, and nothing is certified that it could decide."""
    rng = np.random.default_rng(0)
    head = nnx.Linear(16, 3, rngs=nnx.Rngs(0), dtype=jnp.bfloat16)
    z2 = jnp.asarray(1 + 1e-3 * rng.standard_normal((400, 16)), jnp.float32)
    head.bias[...] = -jnp.sum(head.kernel[...], axis=0)
    z1 = z2 + jnp.asarray(1e-4 * rng.standard_normal((400, 16)), jnp.float32)
    found = certified_agreement(z1, z2, head, stitch=lambda z: z)
    assert not (found.certified & ~found.agree).any()
    certificate(z1, z2, risk=1.0, head=head, stitch=lambda z: z)


def test_a_wrong_constant_of_a_classifier_is_found_out():
    z2 = jnp.asarray(np.random.default_rng(0).standard_normal((40, 3)), jnp.float32)
    with pytest.raises(ValueError, match=r"certified_agreement: lipschitz=0\.001 is no constant of this head"):
        certified_agreement(z2 + 0.5, z2, lambda z: 2 * z, stitch=lambda z: z, lipschitz=1e-3)


def test_lists_of_numbers_are_no_matrix():
    for wrong in ([[[1.0, 0.0], [0.0, 1.0]]], ((0.0, 2.0), (3.0, 4.0))):
        with pytest.raises(TypeError, match="a weight matrix must be an array"):
            lipschitz_bound(wrong)
    assert float(lipschitz_bound([2.0, 3.0])) >= 6


def test_the_required_alignment_is_enough_in_float32():
    eig1, eig2 = jnp.array([4.0, 1.0]), jnp.array([3.0, 2.0])
    for epsilon in (4.9, 2.25, 1.0, 0.1):
        needed = required_alignment(eig1, eig2, epsilon)
        assert float(misalignment_interval(eig1, eig2, needed)[1]) <= epsilon
    # Nothing is beyond the largest alignment that there is.
    assert float(required_alignment(eig1, eig2, 0.0)) <= 14 / 221**0.5 * (1 + 1e-6)


def test_verdicts_without_targets_mind_the_risk(float64):
    rng = np.random.default_rng(0)
    z2 = jnp.asarray(rng.standard_normal((60, 3)))
    z1 = z2 + 0.01 * jnp.asarray(rng.standard_normal((60, 3)))
    head = nnx.Linear(3, 3, rngs=nnx.Rngs(0), param_dtype=jnp.float64)
    assert certificate(z1, z2, risk=0.0, head=head).verdict == "certified"
    assert certificate(z1, z2, risk=1e6, head=head).verdict == "vacuous"
    with pytest.raises(ValueError, match="at least 0 and finite"):
        certificate(z1, z2, risk=math.inf, head=head)
    labels = jnp.asarray(rng.integers(0, 3, 60), jnp.int32)
    one_hot = jnp.asarray(np.eye(3)[np.asarray(labels)])
    both = [certificate(z1, z2, targets=t, head=head, loss="cross_entropy") for t in (labels, one_hot)]
    np.testing.assert_allclose(both[0].baseline, both[1].baseline, rtol=1e-9)
    assert both[0].verdict == both[1].verdict


def test_numbers_that_are_none_are_named():
    z = jnp.asarray(np.random.default_rng(0).standard_normal((20, 3)), jnp.float32)
    for settings, says in (
        ({"risk": jnp.array([0.1, 0.2]), "lipschitz": 1.0}, "risk must be one number"),
        ({"risk": "a", "lipschitz": 1.0}, "risk must be one number"),
        ({"risk": 0.1, "lipschitz": jnp.array([1.0, 2])}, "lipschitz must be one number or a LipschitzBound"),
        ({"risk": 0.1, "lipschitz": "a"}, "lipschitz must be one number or a LipschitzBound"),
    ):
        with pytest.raises(TypeError, match=says):
            certificate(z, z, **settings)
    with pytest.raises(TypeError, match="lipschitz must hold one number for each layer"):
        layer_certificates([z], [z], risk=0.1, lipschitz=1.0)
    assert math.isnan(stitching_bound(0.1, -1.0, 0.1))
    assert math.isnan(stitching_bound(0.1, 1.0, -0.1))
    found = misalignment(z, 2 * z)
    np.testing.assert_allclose(
        stitching_bound(0.1, lipschitz_bound([1.0]), found), stitching_bound(0.1, 1.0, found.value)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = misalignment(z, 2 * z, held_out=0, key=0)
    assert bool(same.in_sample)


def test_a_map_that_is_given_may_be_of_other_rows():
    rng = np.random.default_rng(0)
    z1, z2 = (jnp.asarray(rng.standard_normal((100, 3)), jnp.float32) for _ in range(2))
    fit = least_squares(z1[:50], z2[:50])
    found = certificate(z1, z2, head=lambda z: z, targets=z2, stitch=fit, mask=jnp.arange(100) >= 50)
    assert "fitted" not in str(found)
