"""Predictions certified unchanged: the golden table, no certificate broken, bounds on the error."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxalign.stitching import LinearStitch, certified_agreement, least_squares

RNG = np.random.default_rng(0)
Z2 = np.array([[2.0, 0, 0], [0, 1, 0], [0, 0.2, 0.3], [1, 0.9, 0]])
MAPPED = np.array([[1.5, 0.2, 0], [0.3, 0.8, 0], [0.1, 0.35, 0.2], [1, 0.9, 0.05]])


def unchanged(z):
    return z


def test_golden_table(float64):
    labels = jnp.array([0, 1, 2, 0], jnp.int32)
    arrays = [jnp.asarray(z) for z in (MAPPED, Z2)]
    found = certified_agreement(*arrays, unchanged, stitch=unchanged, lipschitz=1.0, labels=labels)
    assert found.certified.tolist() == [True, True, False, True] == found.agree.tolist()
    np.testing.assert_allclose(found.gap, [2, 1, 0.1, 0.1], rtol=1e-12)
    np.testing.assert_allclose(found.reach, np.sqrt(2) * np.linalg.norm(MAPPED - Z2, axis=1), rtol=1e-12)
    assert (found.certified_share, found.agreement, found.error, found.error_bound) == (0.75, 0.75, 0.25, 0.25)
    text = str(found)
    assert text == "75.0% of 4 predictions certified unchanged; 75.0% are unchanged; error 25.0%, at most 25.0%"
    # By the misalignment alone: the least over all margins, tried one by one.
    moved = np.mean(np.sum((MAPPED - Z2) ** 2, axis=1))
    margins = np.array([2, 1, 0.1, 0.1])
    tried = [np.mean(margins <= g) + 2 * moved / g**2 for g in np.r_[np.linspace(0.01, 3, 3000), margins - 1e-12]]
    np.testing.assert_allclose(found.margin_bound, min(1, *tried), rtol=1e-6)


@pytest.mark.parametrize("kind", ["near", "adversarial"])
def test_no_certificate_is_broken(float64, kind):
    """Thousands of predictions, moved at random or straight to where they change."""
    z2 = jnp.asarray(RNG.standard_normal((4000, 5)))
    head = nnx.Linear(5, 4, rngs=nnx.Rngs(0), param_dtype=jnp.float64)
    kernel = np.asarray(head.kernel[...])
    if kind == "near":
        direction = RNG.standard_normal((4000, 5))
    else:
        logits = np.asarray(head(z2))
        order = np.argsort(logits, axis=1)
        direction = kernel.T[order[:, -2]] - kernel.T[order[:, -1]]
    direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    z1 = z2 + jnp.asarray(direction * RNG.uniform(0, 0.3, (4000, 1)))
    labels = jnp.asarray(RNG.integers(0, 4, 4000), jnp.int32)
    found = certified_agreement(z1, z2, head, stitch=unchanged, labels=labels)
    assert 0.1 < found.certified_share <= found.agreement < 1
    assert not (found.certified & ~found.agree).any()
    assert found.error <= found.error_bound <= found.margin_bound <= 1


@pytest.mark.slow
def test_the_certificate_is_tight_for_two_classes(float64):
    """A head that spreads two logits apart as fast as its constant allows: what is not certified can change."""
    head = LinearStitch.of(jnp.array([[1.0, -1.0]]) / 2**0.5, jnp.zeros(2))
    gaps = np.linspace(0.1, 2, 20)
    z2 = jnp.asarray(gaps[:, None] / 2**0.5)
    for beyond, share in ((0.999, 1.0), (1.001, 0.0)):
        found = certified_agreement(z2 * (1 - beyond), z2, head, stitch=unchanged, lipschitz=1.0)
        assert (found.certified_share, found.agreement) == (share, share)


@pytest.mark.slow
def test_masks_maps_and_mistakes(float64):
    x, y = RNG.standard_normal((30, 3)), RNG.standard_normal((30, 4))
    y[:, :3] += 5 * x
    mask = np.arange(30) < 20
    stitch = least_squares(jnp.asarray(x[mask]), jnp.asarray(y[mask]))
    labels = np.where(mask, 1, -9)
    broken = [jnp.asarray(np.where(mask[:, None], z, np.nan)) for z in (x, y)]
    settings = {"stitch": stitch, "lipschitz": 1.0}
    found = certified_agreement(
        *broken, unchanged, **settings, labels=jnp.asarray(labels, jnp.int32), mask=jnp.asarray(mask)
    )
    fresh = certified_agreement(
        *(jnp.asarray(z[mask]) for z in (x, y)), unchanged, **settings, labels=jnp.ones(20, jnp.int32)
    )
    assert found.certified[mask].tolist() == fresh.certified.tolist()
    assert not found.certified[~mask].any()
    for name in ("error", "error_bound", "margin_bound", "certified_share", "agreement"):
        np.testing.assert_allclose(getattr(found, name), getattr(fresh, name), rtol=1e-9)
    assert math.isnan(certified_agreement(*broken, unchanged, **settings, mask=jnp.asarray(mask)).error)
    x, y = jnp.asarray(x), jnp.asarray(y)
    with pytest.raises(TypeError, match="no Lipschitz constant is known"):
        certified_agreement(x, y, unchanged, stitch=stitch)
    with pytest.raises(ValueError, match="labels must be from 0 to 3"):
        certified_agreement(x, y, unchanged, **settings, labels=jnp.full(30, 4, jnp.int32))
    with pytest.raises(TypeError, match="labels must be integers"):
        certified_agreement(x, y, unchanged, **settings, labels=jnp.ones(30))
    with pytest.raises(ValueError, match=r"logits .* of at least 2"):
        certified_agreement(x, y, lambda z: z[:, :1], **settings)
    with pytest.raises(ValueError, match="stitch must map z1 to the shape of z2"):
        certified_agreement(x, y, unchanged, stitch=unchanged, lipschitz=1.0)


def test_what_rounding_could_decide_is_not_certified():
    z2 = jnp.array([[1.0, 1.0 - 1e-7, 0.0], [1.0, 1.0, 0.0], [1.0, 0.5, 0.0]], jnp.float32)
    found = certified_agreement(z2, z2, unchanged, stitch=unchanged, lipschitz=1.0)
    assert found.certified.tolist() == [False, False, True]
