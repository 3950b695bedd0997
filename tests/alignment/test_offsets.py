"""Features far from the origin, and outlier dimensions: float32 against float64 on the same float32 values."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.inputs import make_pair
from oracles import kernel_family as oracle
from oracles import neighbor_family as nearest

from jaxalign.engines.moments import moment_products
from jaxalign.engines.neighbors import nearest_neighbors
from jaxalign.engines.tiles import tile_products
from jaxalign.kernels import RBF, Cosine, Distance, Laplacian, Linear, MedianDistance, Polynomial
from jaxalign.signatures import GramSignature

#: Means in units of the standard deviation; `massive` is one dimension five times as wide with
#: mean 300, and one entry of 1000 in another: what large language models are known for.
PLACES = [0, 10, 100, "massive"]
KERNELS = {
    "linear": (Linear(), oracle.linear),
    "cosine": (Cosine(), oracle.cosine),
    "rbf, fixed": (RBF(5.0), lambda x: oracle.rbf(x, 5.0)),
    "rbf, median": (RBF(), lambda x: oracle.rbf(x, oracle.median_sigma(x))),
    "rbf, kornblith": (
        RBF(MedianDistance(scale=0.5, diagonal=True)),
        lambda x: oracle.rbf(x, oracle.median_sigma(x, 0.5, diagonal=True)),
    ),
    "laplacian": (Laplacian(), lambda x: oracle.laplacian(x, oracle.median_sigma(x))),
    "distance": (Distance(), oracle.distance),
    "distance, 3/2": (Distance(1.5), lambda x: oracle.distance(x, 1.5)),
    "polynomial": (Polynomial(scale=1 / 24), lambda x: oracle.polynomial(x, scale=1 / 24)),
}


@cache
def inputs(n, place):
    x, y = make_pair(n, 24, 32, 8, 0)

    def moved(x):
        if place != "massive":
            return x + place * x.std(axis=0)
        x = x.copy()
        x[:, 3] = 5 * x[:, 3] + 300
        x[7, 5] += 1000
        return x

    return moved(x).astype(np.float32), moved(y).astype(np.float32)


@cache
def program(names):
    """Every kernel through every engine that serves it, biased and unbiased, as one program for all places."""

    @jax.jit
    def run(x, y):
        found = {}
        for name in names:
            kernel = KERNELS[name][0]
            engines = {"tiles": tile_products} | ({"moments": moment_products} if kernel.dot_product else {})
            for engine, products_of in engines.items():
                for centering in ("biased", "unbiased"):
                    signature = GramSignature(kernel, centering=centering)
                    products = products_of([signature(x)], [signature(y)], centering=centering)
                    found[name, engine, centering] = products.cosine()[0, 0], products.inner()[0, 0]
        return list(found.values())

    keys = []
    for name in names:
        for engine in ("tiles", *(["moments"] if KERNELS[name][0].dot_product else [])):
            keys += [(name, engine, centering) for centering in ("biased", "unbiased")]
    return lambda x, y: dict(zip(keys, run(x, y), strict=True))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("n", [300, 1000])
def test_centered_scores_keep_their_digits_anywhere(n, place):
    # The larger size only where engines work in several blocks of something.
    names = tuple(KERNELS) if n == 300 else ("linear", "distance")
    x, y = inputs(n, place)
    matrices = {name: [KERNELS[name][1](v) for v in (x, y)] for name in names}
    for (name, engine, centering), (found, inner) in program(names)(x, y).items():
        center = oracle.h_center if centering == "biased" else oracle.u_center
        k, l = (center(matrix) for matrix in matrices[name])
        product, norms = np.sum(k * l), np.sqrt(np.sum(k * k) * np.sum(l * l))
        # A polynomial does not move with its inputs: at mean 100 the entries themselves lack the digits.
        limit = 3e-5 if name == "polynomial" and place == 100 else 1e-6
        where = f"{name}, {engine}, {centering}"
        assert abs(float(found) - product / norms) < limit, where
        # HSIC relative to its largest possible value: it may itself be near 0.
        assert abs(float(inner) - product) < 2 * limit * norms, where


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbors_are_found_anywhere(metric):
    find = jax.jit(lambda x: nearest_neighbors(x, k=10, metric=metric))
    for place in PLACES:
        x, _ = inputs(300, place)
        found, expected = np.asarray(find(jnp.asarray(x))), nearest.neighbors(x, 10, metric)
        # Neighbors may change places only with others that are as close, up to rounding.
        differ = 1 - nearest.overlap(found, expected)
        assert differ <= {0: 0, 10: 0, 100: 0.001, "massive": 0.001}[place], (place, differ)
