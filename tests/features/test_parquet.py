"""Embeddings in Parquet files, as other programs write them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxalign.features import FeatureFileError, load, save


def lists(array, kind=pa.list_, value=None):
    return pa.array(array.tolist(), kind(value or pa.from_numpy_dtype(array.dtype)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "kind", [pa.list_, pa.large_list, lambda value: pa.list_(value, 4)], ids=["list", "large", "fixed"]
)
def test_columns_of_lists_are_layers(tmp_path, matrix, dtype, kind):
    array = matrix(dtype=dtype)
    table = pa.table(
        {
            "text": [f"t{i}" for i in range(6)],
            "small": lists(array, kind),
            "id": pa.array([f"e{i}" for i in range(6)]).dictionary_encode(),
            "large": lists(matrix(d=4, dtype=dtype, start=9), kind),
            "label": [0, 1, 0, 1, 2, 2],
            "counts": pa.array([[1, 2]] * 6),
        }
    ).replace_schema_metadata({"facts": '{"parameters": 63}'})
    pq.write_table(table, tmp_path / "model.parquet", row_group_size=4)
    layers = load(tmp_path / "model.parquet")
    assert list(layers) == ["small", "large"]
    assert layers["small"].dtype == dtype
    np.testing.assert_array_equal(layers["small"], array)
    np.testing.assert_array_equal(layers["large"], matrix(d=4, dtype=dtype, start=9))
    assert layers.ids.tolist() == [f"e{i}" for i in range(6)]
    assert layers.labels.tolist() == [0, 1, 0, 1, 2, 2]
    assert dict(layers.facts) == {"parameters": 63}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [[1.0, 2.0], None, [3.0, 4.0]]}, r"column 'x': row 1 has no list"),
        ({"x": [[1.0, 2.0], [1.0], [3.0, 4.0]]}, r"row 0 has 2 numbers, row 1 has 1"),
        ({"x": [[1.0, 2.0], [1.0, 2.0], [3.0, None]]}, r"column 'x': a number of row 2 is missing"),
        ({"x": [1.0, 2.0, 3.0]}, r"no layer: a column of lists of numbers is expected, .* got x double"),
        ({"x": [[1.0], [2.0], [3.0]], "id": [1, None, 3]}, r"column 'id': 1 of 3 rows have no value"),
        ({"x": [[1.0], [2.0], [3.0]], "id": [1, 2, 3], "ids": [1, 2, 3]}, "has both a column 'id' and a column 'ids'"),
        ({"x": [[1.0], [2.0], [3.0]], "id": [1, 1, 3]}, r"ids must all be different"),
        ({"x": [[], [], []], "y": [[1.0], [2.0], [3.0]]}, r"layer 'x'"),
    ],
)
def test_columns_that_are_no_layers(tmp_path, columns, message):
    table = pa.table(
        {
            name: pa.array(values, pa.list_(pa.float64())) if name == "x" and isinstance(values[0], list) else values
            for name, values in columns.items()
        }
    )
    pq.write_table(table, tmp_path / "model.parquet")
    with pytest.raises(FeatureFileError, match=rf"model.parquet: .*{message}"):
        load(tmp_path / "model.parquet")


def test_damage_and_other_files(tmp_path, matrix):
    path = tmp_path / "model.parquet"
    pq.write_table(
        pa.table({"x": lists(matrix())}), path, write_page_checksum=True, compression="none", use_dictionary=False
    )
    content = path.read_bytes()
    for bad in (content[:-10], b"", content[4:], content.replace(matrix()[2, 1:3].tobytes(), b"\xff" * 8)):
        path.write_bytes(bad)
        with pytest.raises(FeatureFileError, match=r"model.parquet: not a Parquet file, or truncated or damaged"):
            load(path)


def test_parquet_is_read_only(tmp_path, matrix):
    with pytest.raises(
        FeatureFileError, match=r"not one of .npy, .npz, .safetensors, .zarr: .parquet files are read, not"
    ):
        save(tmp_path / "model.parquet", {"x": matrix()})


def test_without_the_package(tmp_path, monkeypatch):
    (tmp_path / "model.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"model.parquet: Parquet files need pyarrow"):
        load(tmp_path / "model.parquet")
