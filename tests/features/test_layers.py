"""The container: what it takes, what it keeps, and what it says about anything else."""

import pickle

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxalign.features import FeatureFileError, Layers
from jaxalign.features.layers import natural_key, row_blocks


def test_layers_keep_order_dtype_and_values(matrix):
    layers = Layers({"b": matrix(), "a": jnp.ones((6, 2), jnp.bfloat16)}, ids=range(6))
    assert list(layers) == ["b", "a"]
    assert len(layers) == 2
    assert layers.rows == 6
    assert layers.source is None
    assert type(layers["a"]) is np.ndarray
    assert layers["a"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(layers["b"], matrix())
    np.testing.assert_array_equal(layers.ids, np.arange(6))
    assert repr(layers) == "Layers(6 rows, int64 ids: 'b' float32 (6, 4), 'a' bfloat16 (6, 2))"


def test_layers_are_read_only_without_touching_the_original(matrix):
    original = matrix()
    ids = np.arange(6)
    layers = Layers({"a": original}, ids=ids)
    assert np.shares_memory(layers["a"], original)
    with pytest.raises(ValueError, match="read-only"):
        layers["a"][0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        layers.ids[0] = 1
    with pytest.raises(AttributeError):
        layers.ids = None
    with pytest.raises(TypeError):
        layers["b"] = original
    original[0, 0] = 5
    ids[0] = 50
    assert layers.ids[0] == 0


def test_layers_are_equal_only_to_themselves_and_survive_pickle(matrix):
    layers = Layers({"a": matrix()}, ids=list("abcdef"))
    assert layers == layers
    assert layers != Layers({"a": matrix()}, ids=list("abcdef"))
    assert {layers: 1}[layers] == 1
    copy = pickle.loads(pickle.dumps(layers))
    np.testing.assert_array_equal(copy["a"], layers["a"])
    np.testing.assert_array_equal(copy.ids, layers.ids)


def test_other_byte_order_becomes_native(matrix):
    layers = Layers({"a": matrix().astype(">f4")}, ids=np.arange(6, dtype=">i8"))
    assert layers["a"].dtype == np.dtype("=f4")
    assert layers.ids.dtype == np.dtype("=i8")
    np.testing.assert_array_equal(layers["a"], matrix())


class Tensor:
    """A bfloat16 tensor of another library: no NumPy form, but DLPack."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Got unsupported ScalarType BFloat16")

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_tensors_without_a_numpy_form_are_taken_through_dlpack():
    layers = Layers({"a": Tensor(jnp.ones((3, 2), jnp.bfloat16))})
    assert layers["a"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(layers["a"], np.ones((3, 2), ml_dtypes.bfloat16))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(3, np.float32), r"layer 'x': must have shape \(examples, features\), got .*\(3,\); array\[:, None\]"),
        (np.ones((3, 2, 2)), r"got .*\(3, 2, 2\); pool or flatten the other axes \(see jaxalign.preprocess\)"),
        (np.float32(1), r"must have shape"),
        (np.ones((3, 0)), r"must not be empty, got .*\(3, 0\)"),
        (np.ones((0, 3)), r"must not be empty"),
        (np.ones((3, 2), int), r"must hold float16, bfloat16, float32 or float64, got .*int64.*astype\(np.float32\)"),
        (np.ones((3, 2), bool), r"got .*bool.*astype"),
        (np.ones((3, 2), complex), r"got .*complex128"),
        (np.ones((3, 2), np.longdouble), r"must hold float16"),
        (np.ones((3, 2), ml_dtypes.float8_e5m2), r"got .*float8_e5m2"),
        (np.full((3, 2), "a"), r"got .*<U1"),
        (np.full((3, 2), None), r"got .*object.*Python objects; stack the rows"),
    ],
)
def test_arrays_that_are_no_layer(array, message):
    with pytest.raises(ValueError, match=message) as caught:
        Layers({"x": array})
    assert str(caught.value).startswith("Layers: layer 'x': ")
    assert not isinstance(caught.value, FeatureFileError)
    with pytest.raises(FeatureFileError, match=message) as caught:
        Layers({"x": array}, source="some/file.npz")
    assert str(caught.value).startswith("some/file.npz: layer 'x': ")


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({}, ValueError, "at least one layer"),
        ({"ids": np.ones((3, 2))}, ValueError, "'ids': the name is kept"),
        ({"": np.ones((3, 2))}, ValueError, "non-empty"),
        ({"a\0b": np.ones((3, 2))}, ValueError, "valid text"),
        ({"\ud800": np.ones((3, 2))}, ValueError, "valid text"),
        ({1: np.ones((3, 2))}, TypeError, "names must be strings, got int"),
        ({"a": [[1.0]]}, TypeError, "layer 'a' must be an array"),
        (np.ones((3, 2)), TypeError, "mapping of layer name to array, got ndarray"),
        ({"a": np.ones((3, 2)), "b": np.ones((4, 2))}, ValueError, "'a' has 3, 'b' has 4"),
    ],
)
def test_sets_that_are_no_layers(arrays, error, message):
    with pytest.raises(error, match=message):
        Layers(arrays)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([3, 1, 2], np.array([3, 1, 2])),
        (["x", "long name", ""], np.array(["x", "long name", ""])),
        (np.array(["x", "y", "z"], object), np.array(["x", "y", "z"])),
        (np.array([1, 2, 3], np.uint8), np.array([1, 2, 3], np.uint8)),
        (jnp.array([1, 2, 3]), np.array([1, 2, 3], np.int32)),
        ([np.int64(4), 5, 6], np.array([4, 5, 6])),
    ],
)
def test_ids_that_are_taken(ids, expected):
    got = Layers({"a": np.ones((3, 2))}, ids=ids).ids
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, "a", 2], "integers or strings"),
        ([True, False, True], "integers or strings"),
        ([1.0, 2.0, 3.0], "integers or strings"),
        (np.array([1, "a", 2], object), "integers or strings"),
        ([2**70, 1, 2], "integers or strings"),
        (np.array([b"a", b"b", b"c"]), "integers or strings"),
        ("abc", r"shape \(3,\), one per row, got ndarray <U3 \(\)"),
        ([1, 2], r"shape \(3,\), one per row, got ndarray int64 \(2,\)"),
        (np.ones((3, 1), int), r"shape \(3,\)"),
        ([7, 8, 7], "all be different, but 1 occur more than once: 7 is in rows 0, 2"),
        (["x", "y", "x"], "'x' is in rows 0, 2"),
        (np.array([0x110000, 1, 2], np.uint32).view("U1"), "not valid text"),
    ],
)
def test_ids_that_are_not_taken(ids, message):
    with pytest.raises(ValueError, match=message):
        Layers({"a": np.ones((3, 2))}, ids=ids)


def test_labels_and_facts_are_kept_and_read_only(matrix):
    layers = Layers({"a": matrix()}, labels=[1, 1, 0, 0, 2, 2], facts={"parameters": 63})
    assert (layers.labels.tolist(), dict(layers.facts)) == ([1, 1, 0, 0, 2, 2], {"parameters": 63})
    with pytest.raises(ValueError, match="read-only"):
        layers.labels[0] = 5
    with pytest.raises(TypeError):
        layers.facts["loss"] = 0.1
    copy = pickle.loads(pickle.dumps(layers))
    assert (copy.labels.tolist(), dict(copy.facts)) == ([1, 1, 0, 0, 2, 2], {"parameters": 63})


@pytest.mark.parametrize(
    ("beside", "error", "message"),
    [
        ({"labels": [0.5] * 6}, ValueError, "labels must be integers or strings, one per row, got"),
        ({"labels": [0] * 5}, ValueError, r"labels must have shape \(6,\), one per row"),
        ({"facts": [1]}, TypeError, "facts must be a mapping of names to values, got"),
        ({"facts": {"loss": np.ones(3)}}, ValueError, "facts must be texts, numbers, truth values or None by name"),
        ({"facts": {3: 1}}, ValueError, "by name, got 3"),
    ],
)
def test_labels_and_facts_that_are_not_taken(matrix, beside, error, message):
    with pytest.raises(error, match=message):
        Layers({"a": matrix()}, **beside)


def test_layers_named_like_what_is_beside_them(matrix):
    with pytest.raises(ValueError, match="a layer named 'labels' cannot be kept together with labels"):
        Layers({"labels": matrix()}, labels=[0] * 6)
    with pytest.raises(ValueError, match="a layer named 'facts' cannot be kept together with facts"):
        Layers({"facts": matrix()}, facts={"loss": 1.0})
    assert list(Layers({"labels": matrix(), "facts": matrix()})) == ["labels", "facts"]


def test_natural_order_reads_digits_as_numbers():
    names = ["layer10", "layer2", "layer2b", "embed", "2/x", "10/x", "layer02"]
    assert sorted(names, key=natural_key) == ["2/x", "10/x", "embed", "layer02", "layer2", "layer2b", "layer10"]


def test_row_blocks_cover_every_row_once():
    array = np.lib.stride_tricks.as_strided(np.zeros(1), (1001, 1 << 16), (0, 0))
    blocks = list(row_blocks(array))
    assert [start for start, _ in blocks] == list(range(0, 1001, 32))
    assert sum(len(block) for _, block in blocks) == 1001
    assert max(block.nbytes for _, block in blocks) <= 1 << 24
