"""CIFAR-10 files: every byte where the published format puts it, and errors that name the file."""

import numpy as np
import pytest

from jaxalign.studies import cifar10
from jaxalign.studies.cifar10 import load_cifar10

FILES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def test_every_pixel_and_label_comes_from_its_byte(tmp_path, write_cifar10):
    content = write_cifar10(tmp_path)
    data = load_cifar10(tmp_path)
    assert data.names is None
    for images, labels, names in ((data.x_train, data.y_train, FILES[:5]), (data.x_test, data.y_test, FILES[5:])):
        planes = np.concatenate([content[name][0] for name in names])
        assert images.dtype == np.uint8
        assert labels.dtype == np.int32
        assert images.flags.c_contiguous
        assert images.shape == (len(planes), 32, 32, 3)
        np.testing.assert_array_equal(labels, np.concatenate([content[name][1] for name in names]))
        for channel in range(3):
            np.testing.assert_array_equal(images[..., channel], planes[:, channel])


def test_results_do_not_hang_on_the_files(tmp_path, write_cifar10):
    write_cifar10(tmp_path)
    data = load_cifar10(str(tmp_path))
    before = data.x_test.copy()
    (tmp_path / "test_batch.bin").write_bytes(b"\0" * (5 * 3073))
    np.testing.assert_array_equal(data.x_test, before)
    data.x_test[:] = 0  # may be written to


def test_names_are_read_when_they_are_there(tmp_path, write_cifar10):
    write_cifar10(tmp_path)
    meta = tmp_path / "batches.meta.txt"
    meta.write_text("\n".join(NAMES) + "\n\n")  # the published file ends in an empty line
    assert load_cifar10(tmp_path).names == tuple(NAMES)
    meta.write_text("\n".join(NAMES[:9]))
    with pytest.raises(ValueError, match=r"batches\.meta\.txt must name 10 labels, a line each, got 9"):
        load_cifar10(tmp_path)


def test_missing_files_are_all_named(tmp_path, write_cifar10):
    write_cifar10(tmp_path)
    for name in ("data_batch_3.bin", "test_batch.bin"):
        (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks data_batch_3\.bin, test_batch\.bin; nothing is downloaded"):
        load_cifar10(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "data_batch_2.bin is empty"),
        (b"\0" * 3072, "data_batch_2.bin must be records of 3073 bytes, got 3072 bytes"),
        (b"\0" * (2 * 3073 + 1), "data_batch_2.bin must be records of 3073 bytes, got 6147 bytes"),
        ((b"\x09" + b"\xff" * 3072) * 2 + b"\x0a" + b"\0" * 3072, "data_batch_2.bin must be 0 to 9, record 2 has 10"),
    ],
)
def test_damaged_files_are_named(tmp_path, write_cifar10, content, message):
    write_cifar10(tmp_path)
    (tmp_path / "data_batch_2.bin").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_cifar10(tmp_path)


def test_a_published_file_has_ten_thousand_records():
    assert 10_000 * cifar10._RECORD == 30_730_000  # bytes, as published
