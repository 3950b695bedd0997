"""Limits of outliers and rows of length one, against the published code in NumPy."""

from __future__ import annotations

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxalign.features import Layers
from jaxalign.studies.platonic import Preprocessing, preprocessing


def heavy(n=60, widths=(32, 32, 32), seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return {f"l{i}": (rng.standard_t(2, size=(n, d)) * (1 + i)).astype(dtype) for i, d in enumerate(widths)}


def published_limit(layers, quantile, exact):
    """`remove_outliers` of platonic-rep (commit dcd76ba) on layers side by side, with NumPy in place of torch."""
    entries = np.abs(np.concatenate([np.asarray(z, np.float32) for z in layers], axis=1))
    if exact:
        return np.sort(entries.ravel())[int(quantile * entries.size)]
    return np.mean(np.quantile(entries, quantile, axis=1))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("per", ["model", "layer"])
@pytest.mark.parametrize("quantile", [0.5, 0.95])
@pytest.mark.parametrize("block", [100, 1 << 24])
def test_layers_are_those_of_the_published_code(exact, per, quantile, block, monkeypatch):
    monkeypatch.setattr(preprocessing, "_BLOCK_ENTRIES", block)
    layers = heavy()
    prepared = Preprocessing(quantile=quantile, exact=exact, per=per)(layers)
    for name, z in layers.items():
        limit = published_limit(layers.values() if per == "model" else [z], quantile, exact)
        expected = np.clip(z, -limit, limit)
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(np.asarray(prepared[name]), expected, rtol=2e-6)
        np.testing.assert_allclose(prepared[name][5:9], expected[5:9], rtol=2e-6)
        assert prepared[name].limit == pytest.approx(limit, rel=1e-7)
        assert (prepared[name].shape, prepared[name].dtype, len(prepared[name])) == (z.shape, np.float32, 60)


def test_thresholds_that_the_published_code_printed():
    """One model of six layers, as in the tests of `jaxalign.preprocess.clamp_outliers`."""
    x = np.random.default_rng(4).standard_normal((200, 6, 32))
    layers = {f"{i}": x[:, i] for i in range(6)}
    limits = [Preprocessing(exact=True, per="layer")(layers)[name].limit for name in layers]
    np.testing.assert_allclose(
        limits, [np.sort(np.abs(z).ravel())[int(0.95 * z.size)] for z in layers.values()], rtol=1e-7
    )


@pytest.mark.parametrize("rank", [0, 1, 17, 5758, 5759])
def test_the_entry_of_a_rank_is_exact_also_among_equals(rank):
    rng = np.random.default_rng(1)
    arrays = [np.round(rng.normal(size=(60, 48)), 1).astype(np.float32) * 2.0**power for power in (-140, 3)]
    expected = np.sort(np.abs(np.concatenate(arrays)).ravel())[rank]
    assert preprocessing.magnitude_at(arrays, rank) == expected


def test_other_types_are_read_as_float32_and_layers_of_other_widths_share_a_limit():
    layers = heavy(widths=(8, 20))
    for dtype in (np.float64, np.float16, ml_dtypes.bfloat16):
        cast = {name: z.astype(dtype) for name, z in layers.items()}
        limit = published_limit(cast.values(), 0.95, True)
        prepared = Preprocessing(exact=True)(cast)
        assert [prepared[name].limit for name in cast] == [limit, limit]
        assert np.asarray(prepared["l0"]).dtype == np.float32


def test_rows_that_are_zero_tiny_or_huge():
    z = np.array([[0.0, 0.0], [3e-40, 4e-40], [3e38, 0.0], [2e38, 2e38]], np.float32)
    found = np.asarray(Preprocessing(quantile=1)({"z": z})["z"])
    np.testing.assert_allclose(found, [[0, 0], [0.6, 0.8], [1, 0], [0.5**0.5, 0.5**0.5]], rtol=1e-5)


def test_nan_stays_where_it_is_seen():
    layers = heavy()
    layers["l1"][3, 4] = np.nan
    for exact in (True, False):
        prepared = Preprocessing(exact=exact)(layers)
        assert np.isnan(prepared["l0"].limit)
        assert np.isnan(np.asarray(prepared["l0"])).any()


def test_steps_can_be_left_out_and_are_written_down():
    layers = heavy()
    kept = Preprocessing(quantile=1, normalize=False)
    assert kept.definition == "none"
    np.testing.assert_array_equal(np.asarray(kept(layers)["l0"]), layers["l0"])
    assert (
        Preprocessing(exact=True, per="layer").definition == "clamp[quantile=0.95,of all entries,per=layer] unit rows"
    )
    assert Preprocessing(quantile=0.9, normalize=False).definition == "clamp[quantile=0.9,mean over examples,per=model]"
    rows = np.linalg.norm(np.asarray(Preprocessing(normalize=False)(layers)["l0"]), axis=1)
    assert rows.std() > 0.1


def test_ids_and_facts_come_along():
    layers = Layers(heavy(), ids=range(60), facts={"parameters": 3})
    prepared = Preprocessing()(layers)
    assert (list(prepared), prepared.facts["parameters"]) == (["l0", "l1", "l2"], 3)
    np.testing.assert_array_equal(prepared.ids, np.arange(60))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"quantile": 0.0}, ValueError, "quantile must be above 0 and at most 1, got 0"),
        ({"quantile": 1.5}, ValueError, "at most 1, got 1.5"),
        ({"quantile": "0.9"}, TypeError, "quantile must be a number"),
        ({"per": "models"}, ValueError, "per must be one of .*did you mean 'model'"),
    ],
)
def test_settings_that_are_none(settings, error, message):
    with pytest.raises(error, match=message):
        Preprocessing(**settings)


def test_layers_that_are_none():
    with pytest.raises(ValueError, match=r"layer 'a': must have shape \(examples, features\)"):
        Preprocessing()({"a": jnp.ones((2, 3, 4))})
