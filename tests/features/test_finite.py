"""Where NaN and infinity are, what is said about them, and the mask."""

import tracemalloc

import numpy as np
import pytest

from jaxalign.features import FeatureFileError, Layers, check_finite, finite_mask, load, nonfinite_rows, save


@pytest.fixture
def broken(matrix, dtype):
    """Three layers of 60 rows: NaN in rows 17 and 40, infinity in 40 and 59; the last one is sound."""
    a, b, c = (matrix(60, 3, start=-100).astype(dtype) for _ in range(3))
    a[17, 0] = a[40, 2] = np.nan
    b[59, 1] = np.inf
    b[40, 1] = -np.inf
    return {"a": a, "b": b, "c": c}


def test_rows_are_found(broken):
    found = nonfinite_rows(broken)
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], [17, 40])
    np.testing.assert_array_equal(found["b"], [40, 59])
    assert found["a"].dtype == np.int64
    assert nonfinite_rows({"c": broken["c"]}) == {}


def test_extreme_numbers_are_finite(dtype):
    import ml_dtypes

    info = ml_dtypes.finfo(dtype)
    assert nonfinite_rows({"a": np.array([[info.max, info.min], [info.tiny, -0.0]], dtype)}) == {}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files_are_checked_without_being_changed(tmp_path, broken, suffix):
    path = tmp_path / f"x{suffix}"
    save(path, broken)
    layers = load(path)
    assert nonfinite_rows(layers).keys() == {"a", "b"}
    with pytest.raises(ValueError, match="NaN or infinity in") as caught:
        check_finite(layers)
    assert str(caught.value) == (
        f"{path}: NaN or infinity in layer 'a', 2 rows: 17 (NaN), 40 (NaN); layer 'b', 2 rows: 40 (infinity), "
        "59 (infinity). Correct the data, or leave such rows out with the mask of jaxalign.features.finite_mask"
    )
    assert not isinstance(caught.value, FeatureFileError)


def test_messages_name_the_set_and_stay_short(broken):
    with pytest.raises(ValueError, match=r"^teacher: NaN"):
        check_finite(Layers(broken, source="file"), name="teacher")
    with pytest.raises(ValueError, match=r"^layers: NaN .* layer 'x', 1 row: 1 \(NaN\)\. "):
        check_finite({"x": np.array([[1.0], [np.nan]])})
    bad = np.full((100, 2), np.inf)
    with pytest.raises(
        ValueError, match=r"'l0', 100 rows: 0 \(infinity\), .* 4 \(infinity\), \.\.\.; .*and 3 more layers"
    ):
        check_finite({f"l{i}": bad for i in range(8)})
    check_finite({"c": broken["c"]})


def test_mask_leaves_out_rows_of_any_layer_of_any_set(broken):
    mask = finite_mask({"a": broken["a"]}, {"b": broken["b"], "c": broken["c"]})
    assert mask.dtype == np.bool_
    assert mask.shape == (60,)
    np.testing.assert_array_equal(np.flatnonzero(~mask), [17, 40, 59])
    check_finite({name: array[mask] for name, array in broken.items()})
    assert finite_mask({"c": broken["c"]}).all()


def test_mask_needs_the_same_rows():
    with pytest.raises(ValueError, match=r"finite_mask: .*same number of rows.* got \[2, 3\]"):
        finite_mask({"a": np.ones((3, 1))}, {"b": np.ones((2, 1))})
    with pytest.raises(ValueError, match="got no layer"):
        finite_mask()


def test_a_large_file_is_looked_at_in_blocks(tmp_path):
    path = tmp_path / "x.npy"
    array = np.zeros((1 << 15, 1 << 9), np.float32)
    array[-1, -1] = array[1 << 14, 0] = np.nan
    save(path, {"x": array})
    layers = load(path)
    del array
    tracemalloc.start()
    found = nonfinite_rows(layers)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found["x"], [1 << 14, (1 << 15) - 1])
    assert layers["x"].nbytes == 1 << 26
    assert peak < 1 << 23
