"""Tests of independence, and of whether samples come from one distribution, as one verb each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, check_choice, check_floating, check_integer, check_pair, describe
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import accum_dtype
from jaxalign._core.pytree import pytree_dataclass
from jaxalign._core.typing import Array, Bool, Float, Scalar
from jaxalign.inference.closed_form import NULLS as CLOSED
from jaxalign.inference.closed_form import run_closed_form
from jaxalign.inference.permutation import permutation_test
from jaxalign.inference.schemes import Free, Scheme
from jaxalign.kernels import RBF, Kernel, Linear
from jaxalign.measures import Measure, cka, distance_correlation, hsic, mutual_knn, rsa

NULLS = ("permutation", *CLOSED)


def _hsic(null: str, kernel_y: Kernel | None) -> Measure:
    if null == "chi2":
        return cka(kernel=RBF(), kernel_y=kernel_y, estimator="unbiased")
    return hsic(kernel=RBF(), kernel_y=kernel_y)


def _dcor(null: str, kernel_y: Kernel | None) -> Measure:
    return distance_correlation(estimator="unbiased" if null == "chi2" else "biased")


def _rv(null: str, kernel_y: Kernel | None) -> Measure:
    return cka(estimator="unbiased" if null == "chi2" else "biased")


#: From the null, and the kernel for labels where the second input is those, to a measure.
METHODS: Mapping[str, Callable[[str, Kernel | None], Measure]] = MappingProxyType(
    {
        "hsic": _hsic,
        "dcor": _dcor,
        "rv": _rv,
        "mutual_knn": lambda null, kernel_y: mutual_knn(metric="euclidean"),
        "rsa": lambda null, kernel_y: rsa(metric="euclidean"),
    }
)
#: Methods that can tell classes apart: labels have no nearest neighbors, and two distances only.
SAMPLE_METHODS = ("hsic", "dcor", "rv", "mgc")
#: Methods with a null distribution in closed form.
FAST_METHODS = ("hsic", "dcor", "rv")


@pytree_dataclass
class IndependenceTest:
    """A measure of dependence, and how likely one as large is for independent inputs.

    Attributes:
      statistic: the value of the measure.
      pvalue: in `[0, 1]`, small where the inputs depend on one another.
    """

    statistic: Scalar
    pvalue: Scalar


def independence_test(
    x: Float[Array, "n p"] | Float[Array, "n"],
    y: Float[Array, "n q"] | Float[Array, "n"],
    *,
    method: str | Measure = "hsic",
    null: str = "permutation",
    permutations: int = 1000,
    key: Any = None,
    scheme: Scheme = Free(),  # noqa: B008 (immutable)
    mask: Bool[Array, "n"] | None = None,
) -> IndependenceTest:
    r"""Test whether two variables are independent.

    | method | statistic | sees |
    |---|---|---|
    | `"hsic"` | `hsic`, Gaussian kernels with the median bandwidth | any dependence |
    | `"dcor"` | `distance_correlation` | any dependence |
    | `"rv"` | linear `cka`, the RV coefficient | linear dependence |
    | `"mutual_knn"` | `mutual_knn`, 10 nearest by Euclidean distance | local dependence |
    | `"rsa"` | `rsa`, rank correlation of Euclidean distances | dependence of distances |
    | `"mgc"` | multiscale graph correlation, by SciPy on the host | any dependence, best at its own scale |

    Args:
      x: shape `(n, p)`, or `(n,)` for one number an example.
      y: shape `(n, q)` or `(n,)`, the same examples in the same order.
      method: one of these, or any `Measure` of paired examples.
      null: `"permutation"`, for every method and exact for exchangeable examples; or in closed form for
        `"hsic"`, `"dcor"`, `"rv"` and measures like them: `"moments"`, `"gamma"`, `"chi2"`, see `closed_form_test`.
        With `"chi2"` the statistic is the unbiased one, for `"hsic"` its cosine.
      permutations: how many random orders, where they are drawn.
      key: a PRNG key, or an integer to make one from; needed where orders are drawn, and not used elsewhere.
      scheme: which orders there are, see `permutation_test`; others than `Free()` only where orders are drawn here.
      mask: shape `(n,)`; `False` rows are padding and may hold any value.

    Returns:
      An `IndependenceTest`: `.statistic` and `.pvalue`, scalars; from permutations the p-value is at least
      `1 / (permutations + 1)`. NaN where the statistic is not defined.

    Raises:
      ValueError: for an unknown method or null, a null that the method does not have, no key where one is
        needed, and on rank or row-count mismatch.
      TypeError: on non-floating input, or a key that is none.

    Example:
      >>> import jax
      >>> x = jax.random.normal(jax.random.key(0), (100,))
      >>> float(independence_test(x, x**2, null="moments").pvalue) < 1e-6
      True
      >>> float(independence_test(x, x**2, method="dcor", key=0).pvalue) < 0.01
      True

    Reference:
      HSIC: Gretton et al. (2005); distance correlation: Székely et al. (2007); RV: Escoufier (1973); MGC: Vogelstein
      et al. (2019), eLife 8:e41690.
    """
    function = "independence_test"
    x, y = (_columns(function, name, value) for name, value in (("x", x), ("y", y)))
    mask = None if mask is None else as_array(function, "mask", mask)
    check_pair(function, x, y, mask)
    if not isinstance(method, Measure):
        check_choice(function, "method", method, (*METHODS, "mgc"))
    return _test(function, x, y, method, None, null, permutations, key, scheme, mask)


def k_sample_test(
    samples: Sequence[Float[Array, "_n d"]] | Sequence[Float[Array, "_n"]],
    *,
    method: str | Measure = "hsic",
    null: str = "permutation",
    permutations: int = 1000,
    key: Any = None,
) -> IndependenceTest:
    r"""Test whether several samples come from one distribution.

    That is, whether the pooled examples are independent of the number of the sample they come from. With `"hsic"`
    it is the test by the maximum mean discrepancy, with `"dcor"` that by the energy distance, up to weights of
    the sizes; with `"rv"` one of equal means.

    Args:
      samples: two or more arrays, `(n_i, d)` of the same features, or `(n_i,)`.
      method: `"hsic"`, `"dcor"`, `"rv"` or `"mgc"`, see `independence_test`; or a `Measure` of paired examples, the
        second input of which are labels, one column of 0 and 1 for each sample.
      null: see `independence_test`.
      permutations: how many random orders, where they are drawn.
      key: a PRNG key, or an integer to make one from; needed where orders are drawn, and not used elsewhere.

    Returns:
      An `IndependenceTest`: `.statistic` of pooled examples and labels, and `.pvalue`.

    Raises:
      ValueError: for fewer than two samples or different features, and as `independence_test`.
      TypeError: on non-floating input, or a key that is none.

    Example:
      >>> import jax
      >>> x, y = jax.random.normal(jax.random.key(0), (2, 50, 3))
      >>> float(k_sample_test([x, y + 1], null="moments").pvalue) < 1e-6
      True

    Reference:
      Gretton et al. (2012), A kernel two-sample test; Székely and Rizzo (2004), Testing for equal distributions in
      high dimension. As one with independence: Panda et al. (2019), arXiv:1910.08883.
    """
    function = "k_sample_test"
    if not isinstance(samples, Sequence) or len(samples) < 2:
        raise ValueError(f"{function}: samples must be a list of at least two arrays, got {describe(samples)}")
    arrays = [_columns(function, f"samples[{i}]", sample) for i, sample in enumerate(samples)]
    for i, array in enumerate(arrays):
        if array.shape[1] != arrays[0].shape[1]:
            raise ValueError(
                f"{function}: samples[{i}] must have {arrays[0].shape[1]} features like samples[0], "
                f"got {array.shape[1]}"
            )
    if not isinstance(method, Measure):
        check_choice(function, "method", method, SAMPLE_METHODS)
    dtype = accum_dtype(*arrays)
    pooled = jnp.concatenate([array.astype(dtype) for array in arrays])
    labels = np.repeat(np.arange(len(arrays)), [array.shape[0] for array in arrays])
    one_hot = jnp.asarray(labels[:, None] == np.arange(len(arrays))[None, :], dtype)
    return _test(function, pooled, one_hot, method, Linear(), null, permutations, key, Free(), None)


def _columns(function: str, argument: str, value: Any) -> Array:
    array = as_array(function, argument, value)
    check_floating(function, argument, array)
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise ValueError(
            f"{function}: {argument} must have shape (examples, features) or (examples,), got {describe(array)}"
        )
    return array[:, None] if array.ndim == 1 else array


def _test(
    function: str,
    x: Array,
    y: Array,
    method: str | Measure,
    kernel_y: Kernel | None,
    null: str,
    permutations: int,
    key: Any,
    scheme: Scheme,
    mask: Array | None,
) -> IndependenceTest:
    check_choice(function, "null", null, NULLS)
    if null == "permutation":
        check_integer(function, "permutations", permutations, minimum=1)
        if key is None:
            raise ValueError(
                f"{function}: key is needed to draw permutations, such as jax.random.key(0) or an integer; "
                f"null='moments' needs none"
            )
        key = as_key(function, key)
    elif isinstance(method, str) and method not in FAST_METHODS:
        raise ValueError(f"{function}: null={null!r} is for {', '.join(FAST_METHODS)}, got method {method!r}")
    if not isinstance(scheme, Free) and (null != "permutation" or method == "mgc"):
        of_all = "mgc" if method == "mgc" else f"null={null!r}"
        raise ValueError(
            f"{function}: scheme must be Free() for {of_all}, which is about all orders, got {type(scheme).__name__}"
        )
    if isinstance(method, str) and method == "mgc":
        return _graph_correlation(x, y, permutations, key, mask)
    measure = METHODS[method](null, kernel_y) if isinstance(method, str) else method
    if null == "permutation":
        found = permutation_test(measure, x, y, permutations=permutations, key=key, scheme=scheme, mask=mask)
    else:
        found = run_closed_form(function, measure, x, y, null, mask)
    return IndependenceTest(found.statistic, found.pvalue)


def _graph_correlation(x: Array, y: Array, permutations: int, key: Array, mask: Array | None) -> IndependenceTest:
    """By SciPy, on the host."""
    from scipy.stats import multiscale_graphcorr

    rows = np.ones(x.shape[0], bool) if mask is None else np.asarray(mask)
    seed = int(jax.random.bits(key, (), jnp.uint32))
    with warnings.catch_warnings():
        # That there are fewer than 1000 permutations, which was asked for.
        warnings.simplefilter("ignore", RuntimeWarning)
        found: Any = multiscale_graphcorr(
            np.asarray(x, np.float64)[rows], np.asarray(y, np.float64)[rows], reps=permutations, random_state=seed
        )
    dtype = accum_dtype(x, y)
    return IndependenceTest(jnp.asarray(found.statistic, dtype), jnp.asarray(found.pvalue, dtype))
