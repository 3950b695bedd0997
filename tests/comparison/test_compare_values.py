"""`compare` gives what a loop over pairs gives, for every kind of input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import kernel_family as kernels
from oracles import neighbor_family as nearest

import jaxalign as ja

RBF = ja.RBF(bandwidth="median")
#: Measure factory and the function of the same name, with the same settings.
MEASURES = {
    "cka": (ja.measures.cka, ja.cka, {}),
    "cka unbiased": (ja.measures.cka, ja.cka, {"estimator": "unbiased"}),
    "cka rbf": (ja.measures.cka, ja.cka, {"kernel": RBF}),
    "cka of two kernels": (ja.measures.cka, ja.cka, {"kernel": ja.Linear(), "kernel_y": RBF}),
    "hsic": (ja.measures.hsic, ja.hsic, {"scaling": "nm1"}),
    "kernel_alignment": (ja.measures.kernel_alignment, ja.kernel_alignment, {}),
    "mutual_knn": (ja.measures.mutual_knn, ja.mutual_knn, {"k": 5}),
}
#: One for each way to a matrix of scores; all are among the slow tests.
TYPICAL = ("cka", "cka of two kernels", "kernel_alignment", "mutual_knn")


def loop(score, settings, a, b, mask=None):
    return np.asarray([[float(score(x, y, mask=mask, **settings)) for y in b] for x in a])


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in TYPICAL else pytest.mark.slow) for n in MEASURES])
def test_scores_are_those_of_a_loop_over_pairs(name, layers):
    factory, score, settings = MEASURES[name]
    a, b = layers(1), layers(2)[:1]
    one = ja.compare(a, measures=factory(**settings))
    two = ja.compare(a, b, measures=factory(**settings))
    key = factory().name
    np.testing.assert_allclose(one.values[key][:2], loop(score, settings, a[:2], a), rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(two.values[key], loop(score, settings, a, b), rtol=2e-5, atol=2e-6)
    assert one.values[key].dtype == np.float32
    assert (one.same, two.same) == (True, False)
    if factory(**settings).symmetric:
        np.testing.assert_array_equal(one.values[key], one.values[key].T)
    else:
        assert np.abs(one.values[key] - one.values[key].T).max() > 1e-3


def in_float64(a):
    """CKA, RBF CKA and mutual nearest neighbors of all pairs, from their definitions in NumPy."""
    linear = [kernels.linear(x) for x in a]
    rbf = [kernels.rbf(x, kernels.median_sigma(x)) for x in a]
    return {
        "cka[linear,biased]": np.asarray([[kernels.cka(x, y) for y in linear] for x in linear]),
        "cka[rbf(median),biased]": np.asarray([[kernels.cka(x, y) for y in rbf] for x in rbf]),
        "mutual_knn": np.asarray([[nearest.mutual_knn(x, y, 5) for y in a] for x in a]),
    }


EXAMPLES = [ja.measures.cka(), ja.measures.cka(kernel=RBF), ja.measures.mutual_knn(k=5)]


@pytest.mark.slow
def test_masked_rows_do_not_count(layers):
    a, mask = layers(1), np.arange(40) < 31
    spoiled = [np.where(mask[:, None], x, np.float32(np.nan)) for x in a]
    result = ja.compare(spoiled, measures=EXAMPLES, mask=mask)
    for key, expected in in_float64([x[:31] for x in a]).items():
        np.testing.assert_allclose(result.values[key], expected, rtol=2e-5)
    assert (result.info["examples"], result.info["examples_used"]) == (40, 31)


@pytest.mark.slow
def test_one_float64_layer_makes_all_float64(layers, float64):
    a = layers(1, dtype=np.float64)
    a[1] = a[1].astype(np.float32)
    result = ja.compare(a, measures=EXAMPLES)
    for key, expected in in_float64(a).items():
        np.testing.assert_allclose(result.values[key], expected, rtol=1e-11)
    assert result.info["dtypes"] == ["float32", "float64"]
    assert result.info["computed_in"] == ["float64"]
    # Signatures that are kept, of numbers and not only of indices, meet in one type too.
    ja.compare(a, measures=[ja.measures.cknna(k=5), ja.measures.uniformity_difference()])


class TensorLike:
    """What torch tensors have: `__array__`, and a dtype that is not NumPy's."""

    def __init__(self, array):
        self.array, self.dtype = array, "its own float32"

    def __array__(self, dtype=None, copy=None):
        return self.array


class Lazy:
    """What datasets in files have: a shape and a dtype before anything is read."""

    def __init__(self, array):
        self.array, self.reads = array, 0
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, array.dtype

    def __array__(self, dtype=None, copy=None):
        self.reads += 1
        return self.array


def forms(a, folder):
    names = ["one", "two", "three"]
    named = dict(zip(names, a, strict=True))
    np.save(folder / "two.npy", a[1])
    mapped = [a[0], np.load(folder / "two.npy", mmap_mode="r"), a[2]]
    unnamed, given = [("", "0"), ("", "1"), ("", "2")], [("", name) for name in names]
    return {
        "list": (a, unnamed),
        "tuple": (tuple(a), unnamed),
        "jax": ([jnp.asarray(x) for x in a], unnamed),
        "memory map": (mapped, unnamed),
        "tensors": ([TensorLike(x) for x in a], unnamed),
        "lazy": ([Lazy(x) for x in a], unnamed),
        "fortran order": ([np.asfortranarray(x) for x in a], unnamed),
        "other byte order": ([x.astype(">f4") for x in a], unnamed),
        "dict": (named, given),
        "Layers": (ja.features.Layers(named, ids=range(40)), given),
        "models": (
            {"m": {"one": a[0], "two": a[1]}, "n": [a[2]]},
            [("m", "one"), ("m", "two"), ("n", "0")],
        ),
        "models of Layers": (
            {"m": ja.features.Layers({"one": a[0], "two": a[1]}), "n": ja.features.Layers({"three": a[2]})},
            [("m", "one"), ("m", "two"), ("n", "three")],
        ),
    }


def test_every_form_of_input_means_the_same(layers, tmp_path):
    a = layers(1)
    measures = [ja.measures.cka(), ja.measures.mutual_knn(k=5)]
    expected = ja.compare(a, measures=measures)
    for form, (reps, names) in forms(a, tmp_path).items():
        result = ja.compare(reps, measures=measures)
        assert list(result.layers_a) == names == list(result.layers_b), form
        for key in ("cka", "mutual_knn"):
            np.testing.assert_array_equal(result.values[key], expected.values[key], form)
        assert result.info["dtypes"] == ([">f4"] if form == "other byte order" else ["float32"])
        assert result.widths_a == (3, 17, 3)


def test_layers_are_read_when_their_turn_comes(layers):
    lazy = [Lazy(x) for x in layers(1)]
    with pytest.raises(ValueError, match="k must be smaller"):
        ja.compare(lazy, measures=[ja.measures.cka(), ja.measures.mutual_knn(k=40)])
    assert [layer.reads for layer in lazy] == [0, 0, 0]


def test_models_are_named_in_order(layers):
    a = layers(1)
    result = ja.compare({"z": {"l": a[0]}, "a": {"k": a[1], "l": a[2]}}, {"b": a[:2]}, measures=ja.measures.cka())
    assert result.names_a == ("z/l", "a/k", "a/l")
    assert result.names_b == ("b/0", "b/1")
    assert (result.models_a, result.models_b) == (("z", "a"), ("b",))
    assert result.values["cka"].shape == (3, 2)


@pytest.mark.slow
def test_half_precision_is_computed_in_float32(layers):
    a = [jnp.asarray(x, jnp.bfloat16) for x in layers(1)]
    mixed = [a[0], np.asarray(a[1]), a[2].astype(jnp.float32)]  # one of them an ml_dtypes array
    result = ja.compare(mixed, measures=[ja.measures.cka(), ja.measures.mutual_knn(k=5)])
    expected = in_float64([np.asarray(x.astype(jnp.float32)) for x in a])
    np.testing.assert_allclose(result.values["cka"], expected["cka[linear,biased]"], rtol=2e-5)
    np.testing.assert_allclose(result.values["mutual_knn"], expected["mutual_knn"], rtol=2e-5)
    assert result.info["dtypes"] == ["bfloat16", "float32"]
    assert result.info["computed_in"] == ["float32"]


def test_float64_is_read_as_float32_without_64_bit_types(layers):
    a = [x.astype(np.float64) for x in layers(1)]
    result = ja.compare(a, measures=ja.measures.cka())
    assert result.info["dtypes"] == ["float64"]
    assert result.info["computed_in"] == ["float32"]


def test_undefined_scores_stay_nan(layers):
    a = layers(1)
    a[1] = np.ones_like(a[1])
    result = ja.compare(a, measures=[ja.measures.cka(), ja.measures.mutual_knn(k=5)])
    for matrix in result.values.values():
        assert np.isnan(matrix[1]).all()
        assert np.isnan(matrix[:, 1]).all()
        assert np.isfinite(matrix[np.ix_([0, 2], [0, 2])]).all()


@pytest.mark.slow
def test_what_was_computed_is_recorded(layers):
    ids = [f"digit {i}" for i in range(40)]
    measures = [
        ja.measures.mutual_knn(k=5, metric="euclidean"),
        ja.measures.cka(),
        ja.measures.cka(kernel=ja.RBF(bandwidth=2.5), estimator="unbiased"),
        ja.measures.hsic(scaling="nm1"),
    ]
    result = ja.compare(layers(1), layers(2), measures=measures, ids_a=ids, ids_b=np.array(ids))
    unbiased = "cka[rbf(sigma=2.5),unbiased]"
    assert list(result.values) == ["mutual_knn", "cka[linear,biased]", unbiased, "hsic"]
    assert result.definitions["mutual_knn"] == "mutual_knn[k=5,metric=euclidean]"
    assert result.definitions[unbiased] == unbiased
    assert result.definitions["hsic"] == "hsic[linear,biased,nm1]"
    assert result.bounds[unbiased] == (-1.0, 1.0)
    assert result.chance["mutual_knn"] == "k / (n - 1)"
    assert all(result.larger_is_closer.values())
    assert result.widths_a == (3, 17, 3)
    assert result.info == {
        "examples": 40,
        "examples_used": 40,
        "dtypes": ["float32"],
        "computed_in": ["float32"],
        "ids_checked": True,
        "seed": None,
        "jaxalign": ja.__version__,
        "jax": jax.__version__,
        "backend": "cpu",
    }


def test_ids_count_as_checked_only_when_every_side_and_model_has_them(layers):
    a, cka = layers(1), ja.measures.cka()
    known = ja.features.Layers({"one": a[0], "two": a[1], "three": a[2]}, ids=range(40))
    unknown = dict(known)
    checked = [
        (known, None, {}, True),
        (known, known, {}, True),
        (known, unknown, {}, False),
        (unknown, None, {}, False),
        (unknown, None, {"ids_a": range(40)}, True),
        (unknown, known, {"ids_a": range(40)}, True),
    ]
    for reps_a, reps_b, ids, expected in checked:
        assert ja.compare(reps_a, reps_b, measures=cka, **ids).info["ids_checked"] == expected
    for other, expected in ((known, True), (unknown, False)):
        models = {"m": ja.features.Layers({"one": a[0]}, ids=range(40)), "n": other}
        assert ja.compare(models, measures=ja.measures.mutual_knn(k=5)).info["ids_checked"] == expected


@pytest.mark.slow
def test_a_random_key_tells_measures_apart(layers, tmp_path):
    """As a key of either kind; a run with another key is another comparison."""
    a = layers(1)
    keys = [jax.random.key(1), jax.random.PRNGKey(1), 2]
    first, legacy, other = (ja.compare(a, measures=[ja.measures.imd(key=key)]).values["imd"] for key in keys)
    np.testing.assert_array_equal(first, legacy)
    assert np.abs(first - other).max() > 0
    ja.compare(a, measures=[ja.measures.imd(key=keys[0])], resume=tmp_path / "kept")
    with pytest.raises(ValueError, match="belongs to another comparison"):
        ja.compare(a, measures=[ja.measures.imd(key=jax.random.key(2))], resume=tmp_path / "kept")
