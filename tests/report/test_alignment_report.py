"""The page on two layers: every number is that of the function it comes from, notes say what data call for."""

from __future__ import annotations

import json
import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign as ja
from jaxalign import inference, measures, stitching
from jaxalign.report.alignment_directions import DirectionReport
from jaxalign.report.alignment_notes import notes
from jaxalign.report.alignment_stitched import is_probe, labels_of
from jaxalign.stitching import LinearStitch
from jaxalign.stitching.row_split import two_sides

RNG = np.random.default_rng(0)
Z1 = RNG.standard_normal((60, 4)) + 1
Z2 = np.hstack([Z1 @ RNG.standard_normal((4, 3)), 0.5 * RNG.standard_normal((60, 2))]) + 0.2 * RNG.standard_normal(
    (60, 5)
)
KERNEL = RNG.standard_normal((5, 3))


def head_of(kernel):
    kernel = jnp.asarray(kernel, float)
    return LinearStitch.of(kernel, jnp.zeros(kernel.shape[1], kernel.dtype))


@pytest.mark.slow
def test_numbers_are_those_of_the_functions_they_come_from(float64):
    z1, z2 = jnp.asarray(Z1), jnp.asarray(Z2)
    labels = jnp.asarray(np.argmax(Z2 @ KERNEL + RNG.standard_normal((60, 3)), axis=1), jnp.int32)
    report = ja.alignment_report(z1, z2, y=labels, head=head_of(KERNEL))
    cka = measures.cka()
    np.testing.assert_allclose(report.cka, ja.cka(z1, z2), rtol=1e-12)
    np.testing.assert_allclose(report.cka_standard_error, inference.standard_error(cka, z1, z2), rtol=1e-12)
    np.testing.assert_allclose(report.cka_chance, inference.chance_level(cka, z1, z2), rtol=1e-12)
    np.testing.assert_allclose(report.cka_adjusted, inference.chance_adjusted(cka, z1, z2), rtol=1e-12)
    np.testing.assert_allclose(report.kernel_alignment, ja.kernel_alignment(z1, z2), rtol=1e-12)
    assert report.cka_pvalue == 0.005
    odd, even = np.arange(1, 60, 2), np.arange(0, 60, 2)
    for direction, x, y in ((report.forward, z1, z2), (report.backward, z2, z1)):
        found = stitching.misalignment(x, y, stitcher="affine")
        for name in ("loo", "gcv", "optimism", "variance", "standard_error", "condition", "freedom_ratio"):
            np.testing.assert_allclose(getattr(direction, name), getattr(found, name), rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(direction.r_squared, ja.linear_predictivity(x, y), rtol=1e-9)
        np.testing.assert_allclose(direction.chance_r_squared, x.shape[1] / 59, rtol=1e-12)
        fit = stitching.ridge_path(x[even], y[even]).stitch
        residuals, spread = fit(x[odd]) - y[odd], y[odd] - y[even].mean(axis=0)[None]
        np.testing.assert_allclose(
            direction.held_out_r_squared, 1 - jnp.sum(residuals**2) / jnp.sum(spread**2), rtol=1e-9
        )
        spectra = [stitching.layer_spectrum(z, center=True) for z in (x, y)]
        np.testing.assert_allclose(
            direction.interval, stitching.misalignment_interval(*spectra, report.cka), rtol=1e-12
        )
        needed = stitching.required_alignment(*spectra, 0.1 * direction.variance)
        np.testing.assert_allclose(direction.required_cka, needed, rtol=1e-12)
        low, high = direction.r_squared_range
        assert low <= direction.r_squared <= high
    settings = {"targets": labels, "head": head_of(KERNEL), "loss": "cross_entropy"}
    inside = stitching.certificate(z1, z2, **settings)
    assert report.in_sample.tiers == inside.tiers
    fit = stitching.ridge_path(z1[even], z2[even]).stitch
    outside = stitching.certificate(z1[odd], z2[odd], **{**settings, "targets": labels[odd]}, stitch=fit)
    np.testing.assert_allclose(list(report.held_out.tiers.values())[:4], list(outside.tiers.values())[:4], rtol=1e-9)
    assert report.verdict == report.held_out.verdict
    assert report.held_out_examples == 30
    agreement = stitching.certified_agreement(z1[odd], z2[odd], head_of(KERNEL), stitch=fit, labels=labels[odd])
    assert report.agreement.certified_share == agreement.certified_share
    assert report.agreement.error_bound == agreement.error_bound
    targets = jax.nn.one_hot(labels, 3, dtype=float)
    task = ja.task.task_alignment(z2 - z2.mean(axis=0)[None], targets - targets.mean(axis=0)[None])
    np.testing.assert_allclose(report.task[1].kare.best, task.kare.best, rtol=1e-9)

    text = str(report)
    assert max(map(len, text.splitlines())) <= 96
    for number in (f"{report.cka:.4f}", f"{report.forward.held_out_r_squared:.3f}", f"{report.held_out.t3:.4g}"):
        assert number in text
    assert report.verdict in text
    assert str(agreement).split(";")[0] in " ".join(text.split())
    cosines = np.asarray(ja.canonical_correlations(z1, z2))
    np.testing.assert_allclose(report.forward.directions, np.sum(cosines**2) / 5, rtol=1e-12)
    np.testing.assert_allclose(report.backward.directions, np.sum(cosines**2) / 4, rtol=1e-12)
    low, high = report.forward.r_squared_range
    sentence = f"allows an R² from {low:.3f} to {high:.3f} first to second, where it is {report.forward.r_squared:.3f}"
    assert sentence in " ".join(text.split())
    assert report.held_out.held_out
    assert not report.in_sample.held_out
    assert f"{report.verdict.capitalize()}: {str(report.held_out)[len(report.verdict) + 2 :].splitlines()[0]}" in text
    assert f"± {report.cka_standard_error:.2g} " in text
    for shown in (*report.held_out.tiers.values(), report.in_sample.t4, report.forward.gcv, report.forward.optimism):
        assert math.isnan(shown) or f"{shown:.4g}" in text
    numbers = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert numbers["held_out"]["t4"] is None
    assert numbers["held_out"]["held_out"]
    assert numbers["held_out"]["t3"] == report.held_out.t3
    assert numbers["forward"]["misalignment"] == report.forward.misalignment
    assert numbers["agreement"]["certified_share"] == report.agreement.certified_share


@pytest.mark.slow
def test_masked_examples_do_not_count(float64):
    mask = np.arange(60) < 50
    broken = [jnp.asarray(np.where(mask[:, None], z, np.nan)) for z in (Z1, Z2)]
    report = ja.alignment_report(*broken, mask=jnp.asarray(mask))
    fresh = ja.alignment_report(jnp.asarray(Z1[mask]), jnp.asarray(Z2[mask]))
    assert report.examples == fresh.examples == 50
    np.testing.assert_allclose(report.cka, fresh.cka, rtol=1e-9)
    for name in ("r_squared", "held_out_r_squared", "loo", "required_cka", "interval"):
        np.testing.assert_allclose(getattr(report.forward, name), getattr(fresh.forward, name), rtol=1e-9)
    assert report.held_out is None
    assert report.agreement is None
    assert "Stitched risk" not in str(report)


def test_notes_say_where_alignment_misleads(float64):
    """Of one shape, so that one program serves all."""
    b = np.linalg.qr(np.c_[np.ones(60), RNG.standard_normal((60, 9))])[0][:, 1:] * 60**0.5

    def one(sizes):
        return jnp.asarray(b[:, :4] * sizes)

    def other(columns, sizes):
        return jnp.asarray(b[:, columns] * sizes)

    # As oracle O7: one large direction in common, small ones not.
    high = ja.alignment_report(one([10, 1, 1, 1]), other([0, 4, 5, 6, 7], [10, 1, 1, 1, 1]))
    np.testing.assert_allclose(high.cka, 1e4 / np.sqrt((1e4 + 3) * (1e4 + 4)), rtol=1e-9)
    np.testing.assert_allclose(high.forward.misalignment, 4, rtol=1e-9)
    np.testing.assert_allclose(high.forward.r_squared, 100 / 104, rtol=1e-9)
    np.testing.assert_allclose([high.forward.directions, high.backward.directions], [1 / 5, 1 / 4], rtol=1e-9)
    assert any("each counted alike, 80% are lost" in note for note in high.notes)
    lost = ja.alignment_report(one([10, 4, 1, 1]), other([0, 4, 5, 6, 7], [10, 4, 4, 1, 1]))
    assert lost.cka > 0.9
    assert any("of the variance is lost: that of small directions" in note for note in lost.notes)
    # And the other way round: all of one kind, of which CKA sees the one that became large.
    low = ja.alignment_report(one([1, 1, 1, 1]), other([0, 1, 2, 3, 3], [10, 1, 1, 1, 0]))
    np.testing.assert_allclose(low.cka, 103 / np.sqrt(4 * (1e4 + 3)), rtol=1e-9)
    far = ja.alignment_report(one([30, 1, 1, 1]), other([0, 1, 2, 3, 3], [1, 1, 1, 30, 0]))
    assert far.cka < 0.1
    np.testing.assert_allclose([far.forward.r_squared, far.forward.directions], 1, rtol=1e-9)
    for arrow in ("First to second", "Second to first"):
        assert any(note.startswith(f"{arrow}: CKA is low, yet a linear map explains 100%") for note in far.notes)
    assert not any("small" in note for note in (*far.notes, *low.notes))
    chance = ja.alignment_report(jnp.asarray(Z1), jnp.asarray(RNG.standard_normal((60, 5))))
    assert chance.cka_pvalue > 0.05
    assert any("unrelated layers" in note for note in chance.notes)
    probe = ja.alignment_report(jnp.asarray(Z1), jnp.asarray(Z2), y=jnp.asarray(Z2 @ KERNEL), head=head_of(KERNEL))
    assert probe.linear_probe
    assert any("linear probe" in note for note in probe.notes)
    assert probe.held_out.loss == "squared"
    other = ja.alignment_report(jnp.asarray(Z1), jnp.asarray(Z2), risk=0.5, head=head_of(KERNEL[:, [0, 0]]))
    assert not other.linear_probe
    assert other.agreement is None
    assert other.task is None
    assert math.isnan(other.held_out.t0)


@pytest.mark.parametrize("kind", ["constant", pytest.param("few", marks=pytest.mark.slow), "nan"])
def test_degenerate_layers_give_a_page(float64, kind):
    z1, z2 = jnp.asarray(Z1), jnp.asarray(Z2)
    if kind == "constant":
        z2 = jnp.ones_like(z2)
    elif kind == "few":
        z1, z2 = z1[:6], z2[:6]
    else:
        z1 = z1.at[3, 1].set(jnp.nan)
    labels = jnp.zeros(z1.shape[0], jnp.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = ja.alignment_report(z1, z2, y=labels, head=head_of(KERNEL[:, :2]))
        text = str(report)
    assert report.forward.degenerate
    assert report.in_sample.verdict == "degenerate"
    expected = (
        "as many features as examples, any layer would be fitted exactly" if kind == "few" else "CKA is not defined"
    )
    assert expected in " ".join(text.split())
    assert "nan" not in text
    json.dumps(report.to_dict(), allow_nan=False)


def test_nothing_is_called_held_out_where_nothing_is(float64):
    z1, z2 = jnp.asarray(Z1), jnp.asarray(Z2)
    report = ja.alignment_report(z1, z2, risk=0.5, head=head_of(KERNEL), loss="cross_entropy", held_out=0)
    assert report.held_out_examples == 0
    assert report.held_out is None
    assert report.verdict == report.in_sample.verdict
    assert math.isnan(report.forward.held_out_r_squared)
    np.testing.assert_allclose(report.forward.unseen_r_squared, 1 - report.forward.loo / report.forward.variance)
    assert report.agreement.counted.sum() == 60
    text = str(report)
    assert text.count("held out") == 1
    assert "none held out" in text


def test_a_key_draws_rows_and_orders(float64):
    z1, z2 = jnp.asarray(Z1), jnp.asarray(RNG.standard_normal((60, 5)))
    first, again, other = (ja.alignment_report(z1, z2, key=key).to_dict() for key in (0, jax.random.key(0), 1))
    assert first == again
    assert first["forward"]["held_out_r_squared"] != other["forward"]["held_out_r_squared"]
    assert first["cka_pvalue"] != other["cka_pvalue"]
    assert first["forward"]["loo"] == other["forward"]["loo"]
    rows = two_sides("test", 60, 0.5, None, jax.random.key(1))[1]
    assert ja.alignment_report(z1, z2, held_out=rows, key=1).to_dict() == other


class Bent:
    """Has the attributes of a linear layer, and is none."""

    kernel = KERNEL

    def __call__(self, z):
        return jnp.tanh(z @ jnp.asarray(KERNEL, z.dtype))


@pytest.mark.parametrize(
    ("head", "linear"),
    [
        (head_of(KERNEL), True),
        (lambda z: z @ jnp.asarray(KERNEL, z.dtype) + 3, True),
        (head_of(KERNEL[:, [0, 1, 1]]), False),
        (Bent(), False),
        (lambda z: jnp.maximum(z, 0) @ jnp.asarray(KERNEL, z.dtype), False),
    ],
    ids=["layer", "function", "rank 2 of 3", "tanh", "relu"],
)
def test_heads_are_linear_by_what_they_do(head, linear):
    rows = np.abs(Z2)  # on which a relu does nothing
    mask = np.arange(60) < 50
    broken = np.where(mask[:, None], rows, np.nan)
    assert is_probe(head, jnp.asarray(rows, jnp.float32), None) == linear
    assert is_probe(head, jnp.asarray(broken, jnp.float32), jnp.asarray(mask)) == linear


def direction(**changes):
    """A direction with nothing to note."""
    plain = dict.fromkeys(DirectionReport.__dataclass_fields__, 0.8)
    return DirectionReport(**{**plain, "optimism": 1.1, "degenerate": False, "variance": 1.0, "rank": 4, **changes})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ""),
        ({"pvalue": 0.2}, "no higher than that of unrelated"),
        ({"chance": 0.6}, "score a CKA of 0.60 here"),
        ({"forward": direction(optimism=2.0)}, "First to second: overfit. Rows not seen should be 2.0 times"),
        ({"backward": direction(degenerate=True, freedom_ratio=0.7)}, "Second to first: 0.7 degrees of freedom"),
        ({"backward": direction(degenerate=True, freedom_ratio=1.0)}, "as many features as examples"),
        ({"backward": direction(degenerate=True), "held_out": False}, "hold rows out"),
        ({"score": 0.95, "forward": direction(held_out_r_squared=0.7)}, "30% of the variance is lost"),
        ({"score": 0.95, "forward": direction(held_out_r_squared=0.9, directions=0.5)}, "50% are lost"),
        ({"score": 0.4, "forward": direction(held_out_r_squared=0.95)}, "CKA is low, yet a linear map explains 95%"),
        ({"linear_probe": True}, "is then a linear probe"),
        ({"score": math.nan, "backward": direction(variance=0.0)}, "not defined: the first layer is constant"),
        ({"score": math.nan}, "values that are not finite"),
    ],
)
def test_a_note_is_there_when_and_only_when_it_applies(change, says):
    plain = {"score": 0.7, "chance": 0.1, "pvalue": 0.005, "forward": direction(), "backward": direction()}
    found = notes(**{**plain, "held_out": True, "bounds": None, "linear_probe": False, **change})
    assert len(found) == bool(says)
    assert says in "".join(found)


def test_mistakes_name_function_and_argument():
    z1, z2 = jnp.asarray(Z1, jnp.float32), jnp.asarray(Z2, jnp.float32)
    with pytest.raises(ValueError, match="alignment_report: z1 and z2 must have the same number of rows"):
        ja.alignment_report(z1, z2[:7])
    with pytest.raises(ValueError, match=r"alignment_report: z1 must have shape .*preprocess"):
        ja.alignment_report(z1[:, None], z2[:, None])
    with pytest.raises(ValueError, match="held_out must be at least 0 and below 1"):
        ja.alignment_report(z1, z2, held_out=1.5)
    head, labels = head_of(KERNEL), jnp.zeros(60, jnp.int32)
    for settings, says in (
        ({"head": head}, "head goes with y or risk"),
        ({"head": head, "y": labels, "risk": 1.0}, "the risk is measured with y; give one of both"),
        ({"lipschitz": 2.0, "y": labels}, "lipschitz without a head goes with risk"),
        ({"risk": 1.0}, "risk goes with head or lipschitz"),
        ({"loss": "squared"}, "loss goes with head or lipschitz"),
        ({"head": head, "y": labels, "loss": "hing"}, "did you mean 'hinge'"),
        ({"y": labels[:5]}, "y must have one row for each of the 60 examples"),
        ({"y": labels - 1}, "y must be labels from 0 on, got -1"),
    ):
        with pytest.raises(ValueError, match=f"alignment_report: .*{says}"):
            ja.alignment_report(z1, z2, **settings)


def test_labels_are_integers_or_one_hot_rows_that_count():
    one_hot = np.eye(3)[[0, 2, 1, 1]]
    assert labels_of(jnp.asarray(one_hot, jnp.float32), None).tolist() == [0, 2, 1, 1]
    one_hot[3] = np.nan
    assert labels_of(jnp.asarray(one_hot, jnp.float32), None) is None
    mask = jnp.asarray([True, True, True, False])
    assert labels_of(jnp.asarray(one_hot, jnp.float32), mask)[:3].tolist() == [0, 2, 1]
    assert labels_of(jnp.asarray([[0.5, 0.5]]), None) is None
    assert labels_of(jnp.asarray([4, 1]), None).tolist() == [4, 1]
