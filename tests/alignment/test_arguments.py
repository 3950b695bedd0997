"""What may be passed, and what the error says when it may not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.alignment import cka, hsic, kernel_alignment, mutual_knn
from jaxalign.kernels import RBF, Linear
from jaxalign.signatures import NeighborSignature

X, Y = (np.random.default_rng(s).standard_normal((10, 3)).astype(np.float32) for s in (0, 1))


class OnlyArray:
    """What a tensor of another library offers: `__array__`."""

    def __init__(self, value):
        self.value = value

    def __array__(self, dtype=None, copy=None):
        return self.value if dtype is None else self.value.astype(dtype)


class OnlyDLPack:
    """What a tensor of another library offers: DLPack."""

    def __init__(self, value):
        self.value = value

    def __dlpack__(self, **kwargs):
        return self.value.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.value.__dlpack_device__()


class NoNumpyForm(OnlyDLPack):
    """As torch.bfloat16: `__array__` raises, DLPack works."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Got unsupported ScalarType BFloat16")


@pytest.mark.parametrize("wrap", [np.asarray, jnp.asarray, OnlyArray, OnlyDLPack, NoNumpyForm])
def test_arrays_of_any_library_are_taken(wrap):
    assert float(cka(wrap(X), wrap(Y))) == float(cka(X, Y))
    assert float(cka(wrap(X), y=wrap(Y))) == float(cka(X, Y))
    mask = np.ones(10, bool)
    assert float(mutual_knn(wrap(X), wrap(Y), k=2, mask=OnlyArray(mask))) == float(mutual_knn(X, Y, k=2))


def test_numpy_float64_is_taken_without_x64():
    assert cka(X.astype(float), Y.astype(float)).dtype == jnp.float32


SCORES = [kernel_alignment, cka, hsic, mutual_knn]
WRONG = {
    "a list": (X.tolist(), Y, TypeError, "x must be an array (anything with __array__ or DLPack), got list"),
    "a list, y": (X, Y.tolist(), TypeError, "y must be an array"),
    "none": (None, Y, TypeError, "x must be an array (anything with __array__ or DLPack), got NoneType"),
    "objects": (np.array([[object()]]), Y, TypeError, "x must hold numbers"),
    "integers": (X.astype(int), Y, TypeError, "x must be floating point, got"),
    "complex": (X, Y.astype(complex), TypeError, "y must be floating point, got"),
    "one axis": (X[:, 0], Y, ValueError, "x must have shape (examples, features), got"),
    "three axes": (X, Y[None], ValueError, "y must have shape (examples, features), got"),
    "no rows": (X[:0], Y[:0], ValueError, "x must not be empty"),
    "no features": (X[:, :0], Y, ValueError, "x must not be empty"),
    "row counts": (X, Y[:8], ValueError, "x and y must have the same number of rows, one per example, got 10 and 8"),
}


@pytest.mark.parametrize("score", SCORES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_array_is_named(score, name):
    x, y, error, says = WRONG[name]
    with pytest.raises(error) as caught:
        score(x, y)
    assert says in str(caught.value)
    assert str(caught.value).startswith(score.__name__ + ":")


@pytest.mark.parametrize("score", SCORES, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("mask", "error", "says"),
    [
        (np.ones(10, int), TypeError, "mask must be boolean, got"),
        (np.ones(9, bool), ValueError, "mask must have shape (10,), one entry a row, got (9,)"),
        (np.ones((10, 1), bool), ValueError, "mask must have shape (10,)"),
        ([True] * 10, TypeError, "mask must be an array"),
    ],
)
def test_a_wrong_mask_is_named(score, mask, error, says):
    with pytest.raises(error) as caught:
        score(X, Y, mask=mask)
    assert str(caught.value).startswith(score.__name__ + ": ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: cka(X, Y, estimator="unbiassed"), ValueError, "cka: estimator must be one of 'biased', 'unbiased'"),
        (lambda: cka(X, Y, estimator="unbiassed"), ValueError, "did you mean 'unbiased'?"),
        (lambda: hsic(X, Y, estimator="Biased"), ValueError, "did you mean 'biased'?"),
        (lambda: hsic(X, Y, scaling="n"), ValueError, "hsic: scaling must be one of 'n2', 'nm1'"),
        (lambda: mutual_knn(X, Y, k=2, metric="cosin"), ValueError, "did you mean 'cosine'?"),
        (lambda: mutual_knn(X, Y, k=0), ValueError, "mutual_knn: k must be at least 1, got 0"),
        (lambda: mutual_knn(X, Y, k=10), ValueError, "k must be smaller than the number of rows (10)"),
        (lambda: mutual_knn(X, Y), ValueError, "k must be smaller than the number of rows (10)"),
        (lambda: mutual_knn(X, Y, k=2.0), TypeError, "mutual_knn: k must be an integer, got float 2.0"),
        (lambda: mutual_knn(X, Y, k=True), TypeError, "k must be an integer"),
        (lambda: mutual_knn(X, Y, k="2"), TypeError, "k must be an integer"),
        (lambda: mutual_knn(X, Y, k=None), TypeError, "k must be an integer"),
        (lambda: cka(X, Y, kernel="rbf"), TypeError, "cka: kernel must be a Kernel, got str 'rbf'"),
        (lambda: cka(X, Y, kernel=RBF), TypeError, "cka: kernel must be a Kernel, got the class RBF"),
        (lambda: cka(X, Y, kernel=None), TypeError, "cka: kernel must be a Kernel"),
        (lambda: hsic(X, Y, kernel_y="rbf"), TypeError, "hsic: kernel_y must be a Kernel | None, got str 'rbf'"),
        (
            lambda: cka(X, Y, esimator="u"),
            TypeError,
            "cka: unexpected keyword argument 'esimator'; did",
        ),
        (lambda: NeighborSignature(0), ValueError, "k must be at least 1"),
        (lambda: NeighborSignature(2.0), TypeError, "k must be an integer"),
    ],
)
def test_a_wrong_option_is_named(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)


def test_options_go_by_keyword():
    with pytest.raises(TypeError):
        cka(X, Y, Linear())
    with pytest.raises(TypeError):
        mutual_knn(X, Y, 3)


def test_numpy_integers_are_integers():
    assert float(mutual_knn(X, Y, k=np.int64(2))) == float(mutual_knn(X, Y, k=2))


def test_errors_come_at_trace_time():
    with pytest.raises(ValueError, match="same number of rows"):
        jax.eval_shape(cka, jax.ShapeDtypeStruct((4, 2), "float32"), jax.ShapeDtypeStruct((5, 2), "float32"))
