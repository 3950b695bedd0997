"""Small matrices with numbers that every floating dtype holds exactly."""

import ml_dtypes
import numpy as np
import pytest

DTYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}


@pytest.fixture(params=DTYPES, ids=list(DTYPES))
def dtype(request):
    return np.dtype(DTYPES[request.param])


@pytest.fixture
def matrix():
    """`matrix(n, d, dtype, start)`: consecutive integers from `start`, exact up to 256."""

    def make(n=6, d=4, dtype=np.float32, start=0):
        return (np.arange(n * d).reshape(n, d) + start).astype(dtype)

    return make
