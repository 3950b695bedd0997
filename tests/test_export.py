"""Every public function lowers for other machines, with any option."""

from __future__ import annotations

from functools import partial

import jax
import pytest
from jax import export

from jaxalign import (
    canonical_correlations,
    cka,
    concentricity,
    effective_rank,
    hsic,
    intrinsic_dimension,
    kernel_alignment,
    magnitude,
    measures,
    mmd,
    mutual_knn,
    participation_ratio,
    rdm,
    uniformity,
)
from jaxalign.kernels import RBF, Cosine, Distance, Laplacian, Polynomial

PLATFORMS = ["cpu", "cuda", "tpu"]
FUNCTIONS = {
    "kernel_alignment": kernel_alignment,
    "kernel_alignment polynomial": partial(kernel_alignment, kernel=Polynomial()),
    "cka": cka,
    "cka unbiased": partial(cka, estimator="unbiased"),
    "cka rbf": partial(cka, kernel=RBF(), kernel_y=Cosine(), estimator="unbiased"),
    "hsic": partial(hsic, kernel=Laplacian(2.0), kernel_y=Distance(1.5), scaling="nm1"),
    "hsic mean": partial(hsic, kernel=RBF("mean"), estimator="unbiased"),
    "mutual_knn": mutual_knn,
    "mutual_knn euclidean": partial(mutual_knn, k=100, metric="euclidean"),
    "matrix": lambda x, y, mask=None: measures.cka(kernel=RBF("kornblith")).matrix([x, y], mask=mask),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_lower_for_every_platform(name):
    function = FUNCTIONS[name]
    # Sizes at which sampling, several blocks and tiles take part.
    x, y = (jax.ShapeDtypeStruct((5000, d), "float32") for d in (16, 24))
    mask = jax.ShapeDtypeStruct((5000,), "bool")
    for arguments in ((x, y), (x, y, mask)):
        call = jax.jit(lambda x, y, mask=None: function(x, y, mask=mask))
        exported = export.export(call, platforms=PLATFORMS)(*arguments)
        assert exported.platforms == tuple(PLATFORMS)
        assert exported.out_avals[0].dtype == "float32"


#: As measures and as functions; kernels of other kinds are above.
CATALOGUE = [name for name in measures.MEASURES if name not in FUNCTIONS]


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_measure_lowers_for_every_platform(name):
    measure = measures.MEASURES[name]
    x, y = (jax.ShapeDtypeStruct((300, d), "float32") for d in (16, 16 if measure.same_features else 24))
    mask = jax.ShapeDtypeStruct((300,), "bool")
    call = jax.jit(lambda x, y, mask: measure.matrix([x, y], mask=mask))
    exported = export.export(call, platforms=PLATFORMS)(x, y, mask)
    assert exported.out_avals[0].shape == (2, 2)


DESCRIPTIONS = (participation_ratio, effective_rank, uniformity, magnitude, concentricity, intrinsic_dimension)
ONE = [(function, (jax.ShapeDtypeStruct((300, 16), "float32"),)) for function in DESCRIPTIONS]


def test_functions_that_are_no_measures_lower_for_every_platform():
    x, y = (jax.ShapeDtypeStruct((300, d), "float32") for d in (16, 24))
    for call, arguments in ((canonical_correlations, (x, y)), (rdm, (x,)), (mmd, (x, x)), *ONE):
        assert export.export(jax.jit(call), platforms=PLATFORMS)(*arguments).platforms == tuple(PLATFORMS)


@pytest.mark.parametrize("name", ["cka rbf", "mutual_knn"])
def test_gradients_lower_for_every_platform(name):
    function = FUNCTIONS[name]
    x, y = (jax.ShapeDtypeStruct((600, d), "float32") for d in (16, 24))
    exported = export.export(jax.jit(jax.grad(lambda x, y: function(x, y))), platforms=PLATFORMS)(x, y)
    assert exported.out_avals[0].shape == (600, 16)
