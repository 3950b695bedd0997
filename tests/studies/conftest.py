"""Files as CIFAR-10 is published in."""

from pathlib import Path

import numpy as np
import pytest

CIFAR10_FILES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


def write_cifar10(folder, counts=(3, 1, 2, 4, 1, 5)):
    """Random bytes and labels in the published format; images `(n, 3, 32, 32)` and labels, by name of the file."""
    rng, content = np.random.default_rng(7), {}
    for name, count in zip(CIFAR10_FILES, counts, strict=True):
        labels = rng.permutation(np.arange(count) % 10)
        planes = rng.integers(0, 256, (count, 3, 32, 32))
        with (Path(folder) / name).open("wb") as file:
            for label, image in zip(labels, planes, strict=True):
                file.write(bytes([label]))
                for plane in image:
                    for row in plane:
                        file.write(bytes(row.tolist()))
        content[name] = planes, labels
    return content


@pytest.fixture(name="write_cifar10")
def write_cifar10_fixture():
    return write_cifar10
