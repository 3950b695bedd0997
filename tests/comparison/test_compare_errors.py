"""What is not an input of `compare` is refused before any work, in words that name the argument."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign as ja

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
CKA = ja.measures.cka()
IDS = [f"id{i}" for i in range(40)]
SHIFTED = [*IDS[1:], IDS[0]]
LAYERS = ja.features.Layers({"x": X}, ids=IDS)


def raises(kind, match, *args, **kwargs):
    with pytest.raises(kind, match=match) as caught:
        ja.compare(*args, **{"measures": CKA, **kwargs})
    assert str(caught.value).startswith("compare: ")


REPS = {
    "an array": (TypeError, r"reps_a must be a list of arrays, .*got ndarray float32 \(40, 3\); put it in a list", X),
    "text": (TypeError, "reps_a must be a list of arrays, .*got str 'x'", "x"),
    "nothing": (TypeError, "reps_a must be a list .*got NoneType", None),
    "an empty list": (ValueError, "reps_a must hold at least one layer, got an empty list", []),
    "an empty dict": (ValueError, "reps_a must hold at least one layer, got an empty dict", {}),
    "an empty model": (ValueError, "model 'm' of reps_a has no layers", {"m": {}, "n": [X]}),
    "a list of models": (TypeError, r"reps_a\[0\] must be an array, got dict; several models go by name", [{"x": X}]),
    "a list of lists": (TypeError, r"reps_a\[0\] must be an array .*got list", [[X]]),
    "numbered layers": (TypeError, "reps_a must have names that are strings, got int 3", {3: X}),
    "layers and models": (TypeError, "either layers to arrays or models to layers", {"x": X, "m": {"y": X}}),
    "three levels": (TypeError, "nested at most as model, layer, array", {"m": {"n": {"x": X}}}),
    "a number": (TypeError, r"reps_a\['x'\] must be an array .*got float 3.0", {"x": 3.0}),
    "a NumPy scalar": (
        ValueError,
        r"reps_a layer 'x' must have shape \(examples, features\), got float32 float32 \(\)",
        {"x": np.float32(1)},
    ),
    "three axes": (ValueError, r"layer 'm/y' must have shape .*\(40, 1, 3\)", {"m": {"x": X, "y": X[:, None]}}),
    "integers": (TypeError, "layer 'x' must be floating point, got ndarray int", {"x": X.astype(int)}),
    "complex": (TypeError, "layer 'x' must be floating point", {"x": X.astype(complex)}),
    "objects": (TypeError, "layer 'x' must be floating point", {"x": X.astype(object)}),
    "very long floats": (TypeError, "layer 'x' must be float64 or narrower", {"x": X.astype(np.longdouble)}),
    "no rows": (ValueError, r"layer 'x' must not be empty, got ndarray float32 \(0, 3\)", {"x": X[:0]}),
    "no features": (ValueError, "layer 'x' must not be empty", {"x": X[:, :0]}),
    "rows": (ValueError, "all layers of reps_a .*'x' has 40, 'y' has 39", {"x": X, "y": X[1:]}),
}


@pytest.mark.parametrize("case", REPS)
def test_other_layers_are_refused(case):
    kind, match, reps = REPS[case]
    raises(kind, match, reps)
    if reps is not None:  # no second side is one side with itself
        raises(kind, match.replace("reps_a", "reps_b"), [X], reps)


def test_both_sides_must_have_the_same_number_of_rows():
    raises(ValueError, "reps_a and reps_b must have the same number of rows.*got 40 and 39", [X], [X[1:]])


MEASURES = {
    "a name": (TypeError, r"got str 'cka'; did you mean jaxalign.measures.cka\(\)\?", "cka"),
    "names": (TypeError, r"got str 'mutual_kn'; did you mean jaxalign.measures.mutual_knn\(\)\?", ["mutual_kn"]),
    "a strange name": (TypeError, r"got str 'xyz'$", ["xyz"]),
    "the function": (TypeError, r"got function; did you mean jaxalign.measures.cka\(\)\?", ja.cka),
    "the factory": (TypeError, r"got function; did you mean jaxalign.measures.hsic\(\)\?", [ja.measures.hsic]),
    "a lambda": (TypeError, r"got function$", [lambda x, y: 0]),
    "a partial": (TypeError, r"got partial$", [functools.partial(ja.cka, estimator="unbiased")]),
    "the catalogue": (TypeError, "got mappingproxy; pass a list of its values", ja.MEASURES),
    "nothing": (TypeError, "got NoneType", None),
    "none": (ValueError, "at least one measure", []),
    "duplicates": (ValueError, r"measures must differ, got cka\[linear,biased\], cka\[linear,biased\]", [CKA, CKA]),
}


@pytest.mark.parametrize("case", MEASURES)
def test_other_measures_are_refused(case):
    kind, match, measures = MEASURES[case]
    raises(kind, match, [X], measures=measures)


def test_what_a_measure_refuses_is_refused_before_any_work(tmp_path, monkeypatch):
    def explode(*_):
        raise AssertionError("work was done")

    monkeypatch.setattr("jaxalign.comparison.blocks.BlockScores.run", explode)
    match = r"mutual_knn\[k=40,metric=cosine\]: .*k must be smaller than the number of rows \(40\).*got 40"
    raises(ValueError, match, [X, X[:, :2]], measures=[CKA, ja.measures.mutual_knn(k=40)])


IDS_CASES = {
    "too few": (ValueError, r"ids of reps_a must have shape \(40,\), one per row, got \(39,\)", IDS[1:], None),
    "none at all": (ValueError, r"must have shape \(40,\), one per row, got \(0,\)", [], None),
    "a table": (ValueError, r"must have shape \(40,\).*got \(40, 1\)", np.array(IDS)[:, None], None),
    "floats": (TypeError, "ids of reps_a must be all integers or all strings, got float", [1.5] * 40, None),
    "an array of floats": (TypeError, "ids of reps_a must be integers or strings, got ndarray", np.ones(40), None),
    "a mixture": (TypeError, "must be all integers or all strings, got int, str", [1, *IDS[1:]], None),
    "a mixture of objects": (TypeError, "got int, str", np.array([1, *IDS[1:]], object), None),
    "booleans": (TypeError, "got bool", [True] * 40, None),
    "repeated": (
        ValueError,
        "ids of reps_a must all be different, but 'id3' stands for rows 3, 39",
        [*IDS[:-1], "id3"],
        None,
    ),
    "other examples": (
        ValueError,
        r"row 39 is example 'id39' in reps_a and 'new' in reps_b; .*\(1 of 40 rows differ\)",
        IDS,
        [*IDS[:-1], "new"],
    ),
    "another order": (
        ValueError,
        "row 0 is example 'id0' in reps_a and 'id1' in reps_b; .*different order",
        IDS,
        SHIFTED,
    ),
    "text and numbers": (
        ValueError,
        r"of one kind.*reps_a are integers, such as 0, those of reps_b are strings, such as '0'",
        range(40),
        [str(i) for i in range(40)],
    ),
}


@pytest.mark.parametrize("case", IDS_CASES)
def test_ids_that_do_not_fit_are_refused(case):
    kind, match, ids_a, ids_b = IDS_CASES[case]
    raises(kind, match, [X], None if ids_b is None else [X], ids_a=ids_a, ids_b=ids_b)
    if ids_b is None:
        raises(kind, match.replace("reps_a", "reps_b"), [X], [X], ids_b=ids_a)


def test_ids_that_come_with_the_layers_are_checked():
    shifted = ja.features.Layers({"x": X}, ids=SHIFTED)
    raises(ValueError, "'id0' in reps_a and 'id1' in reps_b", LAYERS, shifted)
    raises(ValueError, "'id0' in reps_a and 'id1' in reps_b", LAYERS, [X], ids_b=SHIFTED)
    raises(ValueError, "'id1' in reps_a and 'id0' in reps_a", LAYERS, ids_a=SHIFTED)
    raises(ValueError, "'id0' in model 'm' of reps_a and 'id1' in model 'n' of reps_a", {"m": LAYERS, "n": shifted})
    raises(ValueError, "'id0' in reps_a and 'id1' in reps_b", [X], {"n": shifted}, ids_a=IDS)


def test_equal_ids_of_other_types_pass():
    pairs = [
        (np.arange(40), list(range(40))),
        (np.arange(40, dtype=np.uint8), np.arange(40)),
        (np.array(IDS, object), np.array(IDS, "U20")),
        (jnp.arange(40), range(40)),
    ]
    for one, other in pairs:
        assert ja.compare([X], [X], measures=ja.measures.mutual_knn(k=5), ids_a=one, ids_b=other).info["ids_checked"]


def test_other_options_are_refused():
    raises(ValueError, "ids_b must be None when there is no reps_b", [X], ids_b=IDS)
    raises(TypeError, "mask must be boolean", [X], mask=np.ones(40))
    raises(ValueError, r"mask must have shape \(40,\)", [X], mask=np.ones(39, bool))
    raises(TypeError, "mask must be an array", [X], mask=[True] * 40)
    raises(ValueError, "max_memory must be at least 1, got 0", [X], max_memory=0)
    raises(TypeError, "max_memory must be an integer, got float", [X], max_memory=1e9)
    raises(TypeError, "resume must be the path of a folder, got bool True", [X], resume=True)
