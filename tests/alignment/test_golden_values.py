"""Values against published implementations and against definitions, in float64 and float32."""

from __future__ import annotations

import json
import math
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import CASES, large_pair
from oracles import kernel_family as oracle
from oracles import neighbor_family as nearest

from jaxalign.alignment import cka, hsic, kernel_alignment, mutual_knn
from jaxalign.kernels import RBF, Cosine, Distance, Laplacian, MeanDistance, MedianDistance, Polynomial

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "peers.json").read_text())
SIMILARITY = {
    "value": lambda v: v,
    "1 - value": lambda v: 1 - v,
    "value ** 2": lambda v: v**2,
    "cos(value)": math.cos,
}
HALF, HALF_KORNBLITH = MedianDistance(scale=0.5), MedianDistance(scale=0.5, diagonal=True)

#: Kernel and the same from its definition.
KERNELS = {
    "cosine": (Cosine(), oracle.cosine),
    "rbf_median": (RBF(), lambda x: oracle.rbf(x, oracle.median_sigma(x))),
    "rbf_half_median": (RBF(HALF), lambda x: oracle.rbf(x, oracle.median_sigma(x, 0.5))),
    "rbf_kornblith": (RBF("kornblith"), lambda x: oracle.rbf(x, oracle.median_sigma(x, diagonal=True))),
    "rbf_half_kornblith": (RBF(HALF_KORNBLITH), lambda x: oracle.rbf(x, oracle.median_sigma(x, 0.5, diagonal=True))),
    "rbf_mean": (RBF(MeanDistance()), lambda x: oracle.rbf(x, oracle.mean_sigma(x))),
    "rbf_2": (RBF(2.0), lambda x: oracle.rbf(x, 2.0)),
    "laplacian": (Laplacian(), lambda x: oracle.laplacian(x, oracle.median_sigma(x))),
    "polynomial": (
        Polynomial(2, scale=0.5, offset=2.0),
        lambda x: oracle.polynomial(x, 2, 0.5, 2.0),
    ),
    "distance": (Distance(), oracle.distance),
    "distance_3/2": (Distance(1.5), lambda x: oracle.distance(x, 1.5)),
}


SCORES = {
    "kernel_alignment_linear": kernel_alignment,
    "cka_linear": cka,
    "cka_linear_unbiased": partial(cka, estimator="unbiased"),
    "hsic_linear_n2": hsic,
    "hsic_linear_nm1": partial(hsic, scaling="nm1"),
    "hsic_linear_unbiased": partial(hsic, estimator="unbiased"),
    "hsic_rbf_unbiased": partial(hsic, kernel=RBF(), estimator="unbiased"),
    "hsic_distance": partial(hsic, kernel=Distance()),
    "kernel_alignment_rbf_2": partial(kernel_alignment, kernel=RBF(2.0)),
    "cka_rbf_of_x_distance_of_y": partial(cka, kernel=RBF(), kernel_y=Distance()),
}
SCORES |= {f"cka_{name}": partial(cka, kernel=kernel) for name, (kernel, _) in KERNELS.items()}
SCORES |= {
    f"cka_{name}_unbiased": partial(cka, kernel=kernel, estimator="unbiased") for name, (kernel, _) in KERNELS.items()
}
for k in (1, 5, 10):
    SCORES[f"mutual_knn_{k}"] = partial(mutual_knn, k=k)
    SCORES[f"mutual_knn_{k}_euclidean"] = partial(mutual_knn, k=k, metric="euclidean")


# One program for all values of a case.
@partial(jax.jit, static_argnums=2)
def library(x, y, names):
    return {name: SCORES[name](x, y) for name in names}


@cache
def values(case, dtype):
    """All scores in float64 of case A, elsewhere those with a golden value."""
    golden = set(GOLDEN["reference"][case]) | {e["measure"] for e in GOLDEN["peers"].values() if case in e["values"]}
    with jax.enable_x64(dtype == "float64"):
        x, y = (jnp.asarray(v, dtype) for v in CASES[case])
        everything = (case, dtype) == ("A", "float64")
        golden = golden if dtype == "float64" else set(GOLDEN["reference"][case])
        found = library(x, y, tuple(name for name in SCORES if everything or name in golden))
        return {name: float(value) for name, value in found.items()}


def definitions(x, y):
    """The same from the definitions."""
    k, l = oracle.linear(x), oracle.linear(y)
    rbf = KERNELS["rbf_median"][1]
    found = {
        "kernel_alignment_linear": oracle.kernel_alignment(k, l),
        "cka_linear": oracle.cka(k, l),
        "cka_linear_unbiased": oracle.cka(k, l, "unbiased"),
        "hsic_linear_n2": oracle.hsic_biased(k, l),
        "hsic_linear_nm1": oracle.hsic_biased(k, l, "nm1"),
        "hsic_linear_unbiased": oracle.hsic_song(k, l),
        "hsic_rbf_unbiased": oracle.hsic_song(rbf(x), rbf(y)),
        "hsic_distance": oracle.hsic_biased(oracle.distance(x), oracle.distance(y)),
        "kernel_alignment_rbf_2": oracle.kernel_alignment(oracle.rbf(x, 2.0), oracle.rbf(y, 2.0)),
        "cka_rbf_of_x_distance_of_y": oracle.cka(rbf(x), oracle.distance(y)),
    }
    for name, (_, of) in KERNELS.items():
        found[f"cka_{name}"] = oracle.cka(of(x), of(y))
        found[f"cka_{name}_unbiased"] = oracle.cka(of(x), of(y), "unbiased")
    return found


def assert_values(found, expected, dtype):
    """All names of `expected`, to 1e-10 in float64 and 1e-5 in float32."""
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    expected = {name: value for name, value in expected.items() if name in found}
    assert len(expected) > 3
    wrong = {
        name: (found[name], value)
        for name, value in expected.items()
        if not abs(found[name] - value) <= tolerance * abs(value)
    }
    assert not wrong, wrong


#: Ties are the harder case of the two that have as few features.
in_both = pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, "float64") for case in CASES] + [pytest.param(c, "float32", marks=pytest.mark.slow) for c in "BD"],
)


@in_both
def test_values_equal_the_reference(case, dtype):
    assert_values(values(case, dtype), GOLDEN["reference"][case], dtype)


@in_both
def test_values_equal_the_definitions(case, dtype):
    x, y = CASES[case]
    assert_values(values(case, dtype), definitions(x, y), dtype)


def test_neighbor_overlaps_equal_the_definition():
    x, y = CASES["A"]
    expected = {f"mutual_knn_{k}": nearest.mutual_knn(x, y, k) for k in (1, 5, 10)}
    expected |= {f"mutual_knn_{k}_euclidean": nearest.mutual_knn(x, y, k, "euclidean") for k in (1, 5, 10)}
    assert_values(values("A", "float64"), expected, "float64")


@pytest.mark.parametrize("peer", GOLDEN["peers"])
def test_values_equal_a_published_implementation(peer):
    entry = GOLDEN["peers"][peer]
    for case, value in entry["values"].items():
        found = values(case, "float64")[entry["measure"]]
        np.testing.assert_allclose(found, SIMILARITY[entry["similarity"]](value), rtol=1e-10, err_msg=case)


def test_every_golden_value_is_used():
    known = set(SCORES)
    assert {name for case in GOLDEN["reference"].values() for name in case} <= known
    assert {entry["measure"] for entry in GOLDEN["peers"].values()} <= known


def test_definitions_agree_with_one_another():
    x, y = CASES["A"]
    k, l = oracle.rbf(x, 3.0), oracle.linear(y)
    np.testing.assert_allclose(oracle.hsic_song(k, l), oracle.hsic_u(k, l), rtol=1e-12)
    np.testing.assert_allclose(oracle.u_center(k).sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(oracle.h_center(k).sum(axis=1), 0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN["float64_truth"]["T1024"])
def test_float32_at_the_size_of_a_model(name):
    x, y = (jnp.asarray(v) for v in large_pair())
    estimator = "unbiased" if name.endswith("unbiased") else "biased"
    found = cka(x, y, kernel=Cosine(), estimator=estimator) if "cosine" in name else cka(x, y, estimator=estimator)
    assert found.dtype == jnp.float32
    assert abs(float(found) - GOLDEN["float64_truth"]["T1024"][name]) < 3e-7
