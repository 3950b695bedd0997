"""How often intervals hold what they are for, in populations where that is known, or found from many more data sets.

There are two things to hold: the score expected of data sets of the same size, and the value in the population. A score
without bias has one for both. Every data set has examples `x = z A + noise`, `y = z B + noise` with six shared factors.
Of tests it is how often p-values are at most 0.05, and the width says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxalign as ja
from jaxalign.inference.bootstrap import INTERVALS, bootstrap
from jaxalign.inference.difference import alignment_difference
from jaxalign.inference.kernel_alignment_interval import kernel_alignment_interval
from jaxalign.inference.standard_error import standard_error

FACTORS, WIDTHS, NOISE = 6, (10, 8), 0.7
LEVEL, NORMAL = 0.95, 1.959964
#: Data sets an interval is made for, and those from which the expected score is found.
DATA_SETS, FOR_EXPECTATION = 1000, 4000
#: Samples drawn for one interval.
SAMPLES = 400
#: What a coverage must be, and what chance alone makes of 95 % in so many data sets.
GOAL = (0.93, 0.97)

Interval = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def mixing() -> list[np.ndarray]:
    generator = np.random.default_rng(7)
    return [(generator.standard_normal((FACTORS, width)) / 2).astype(np.float32) for width in WIDTHS]


def data(key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
    """A data set of `n` examples."""
    keys = jax.random.split(key, 3)
    factors = jax.random.normal(keys[0], (n, FACTORS))
    one, other = (
        factors @ jnp.asarray(a) + NOISE * jax.random.normal(k, (n, a.shape[1]))
        for k, a in zip(keys[1:], mixing(), strict=True)
    )
    return one, other


def population() -> dict[str, float]:
    """Linear CKA, which is kernel alignment as means are 0, share of variance explained and mean correlation."""
    a, b = (m.astype(np.float64) for m in mixing())
    xx, yy, xy = a.T @ a + NOISE**2 * np.eye(WIDTHS[0]), b.T @ b + NOISE**2 * np.eye(WIDTHS[1]), a.T @ b
    cka = np.sum(xy**2) / np.sqrt(np.sum(xx**2) * np.sum(yy**2))
    explained = np.trace(xy.T @ np.linalg.solve(xx, xy)) / np.trace(yy)
    whitened = np.linalg.solve(np.linalg.cholesky(xx), xy) @ np.linalg.inv(np.linalg.cholesky(yy)).T
    correlations = np.linalg.svd(whitened, compute_uv=False)
    return {
        "cka[linear": float(cka),
        "kernel_alignment[linear": float(cka),
        "linear_predictivity": float(explained),
        "cca": float(correlations.mean()),
    }


def by_error(measure: ja.Measure, **settings: Any) -> Interval:
    """Score ± 1.96 standard errors."""

    def interval(x: jax.Array, y: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        score, error = measure(x, y), standard_error(measure, x, y, **settings)
        return score - NORMAL * error, score + NORMAL * error

    return interval


def by_bootstrap(measure: ja.Measure, **settings: Any) -> Interval:
    def interval(x: jax.Array, y: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = bootstrap(measure, x, y, key=key, samples=SAMPLES, batch_size=SAMPLES, level=LEVEL, **settings)
        return found.low, found.high

    return interval


def covered(interval: Interval, n: int, targets: dict[str, float], data_sets: int) -> dict[str, Any]:
    """The share of data sets whose interval holds each target, and the mean width."""

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return interval(*data(key, n), jax.random.fold_in(key, 9))

    keys = jax.random.split(jax.random.key(1), data_sets)
    low, high = (np.asarray(v) for v in jax.jit(lambda k: jax.lax.map(one, k))(keys))
    shares = {name: float(np.mean((low <= value) & (value <= high))) for name, value in targets.items()}
    return {"coverage": shares, "width": float(np.mean(high - low)), "data_sets": data_sets}


def expected(score: Callable[[jax.Array, jax.Array], jax.Array], n: int) -> tuple[float, float]:
    """Mean and standard deviation of a score over data sets."""
    keys = jax.random.split(jax.random.key(2), FOR_EXPECTATION)
    values = np.asarray(jax.jit(lambda k: jax.lax.map(lambda one: score(*data(one, n)), k))(keys), np.float64)
    return float(values.mean()), float(values.std())


def cases(n: int) -> list[tuple[str, str, Callable[..., Any], Interval, int]]:
    """What is looked at for `n` examples: definition, method, score, interval, data sets."""
    m = ja.measures
    cka, unbiased, alignment = m.cka(), m.cka(estimator="unbiased"), m.kernel_alignment()
    explained, correlation = m.linear_predictivity(), m.cca()
    rbf = m.cka(kernel=ja.RBF(4.0), estimator="unbiased")
    found: list[tuple[str, str, Callable[..., Any], Interval, int]] = []

    def add(measure: ja.Measure, method: str, interval: Interval, data_sets: int = DATA_SETS) -> None:
        found.append((measure.definition, method, measure, interval, data_sets))

    for measure in (cka, unbiased, rbf, alignment, m.hsic(), explained):
        add(measure, "delta", by_error(measure))
    if n > 300:
        return found
    for measure in (cka, unbiased, rbf, alignment, m.hsic(), m.distance_correlation()):
        add(measure, "bootstrap centered", by_bootstrap(measure), 1000 if n < 300 else 500)
    for kind in INTERVALS:
        if kind != "centered":
            add(unbiased, f"bootstrap {kind}", by_bootstrap(unbiased, interval=kind), 1000 if n < 300 else 500)
    for measure in (explained, correlation, m.procrustes_distance()):
        for kind in ("centered", "basic"):
            add(measure, f"bootstrap {kind}", by_bootstrap(measure, interval=kind), 500 if n < 300 else 300)
    for metric in ("correlation", "sqeuclidean"):
        rsa = m.rsa(metric=metric, comparison="pearson")
        add(rsa, "bootstrap centered", by_bootstrap(rsa), 1000 if n < 300 else 500)
    for measure in (cka, unbiased):
        add(measure, "jackknife", by_error(measure, method="jackknife"), 500)
        add(measure, "jackknife, 20 groups", by_error(measure, method="jackknife", groups=20), 500)
    if n < 300:
        for measure in (m.rsa(), m.mutual_knn(), m.mutual_knn(k=3)):
            add(measure, "bootstrap centered", by_bootstrap(measure), 300)
            add(measure, "jackknife", by_error(measure, method="jackknife"), 300)
        for measure in (explained, correlation):
            add(measure, "jackknife", by_error(measure, method="jackknife"), 300)
    return found


def row(definition: str, method: str, n: int, found: dict[str, Any]) -> dict[str, Any]:
    """A line of results, printed."""
    shares = "   ".join(f"{name} {share:.3f}" for name, share in found["coverage"].items())
    print(f"  n={n:5d}  {definition:42s} {method:26s} {shares}   width {found['width']:.3f}", flush=True)
    return {"measure": definition, "method": method, "n": n, **found, "goal": GOAL}


def rows() -> list[dict[str, Any]]:
    """Coverage of 95 % intervals."""
    print("\ncoverage of 95 % intervals: of the score expected of n examples, and of the value in the population")
    known, found = population(), []
    for n in (100, 300, 1000):
        expectations: dict[str, float] = {}
        for definition, method, score, interval, data_sets in cases(n):
            if definition not in expectations:
                expectations[definition] = expected(score, n)[0]
            targets = {"expected": expectations[definition]}
            for name, value in known.items():
                if definition.startswith(name):
                    targets["population"] = value
            found.append(row(definition, method, n, covered(interval, n, targets, data_sets)))
    return found + _differences() + _features() + _guaranteed()


def _differences() -> list[dict[str, Any]]:
    """`cka(x, y) - cka(x, z)`: `z` is `y` with noise, or both have as much, and the test should seldom reject."""
    found = []
    cka = ja.measures.cka(estimator="unbiased")
    for n in (100, 300):
        for noise, alike in ((0.8, False), (0.0, True)):

            def triple(
                x: jax.Array, y: jax.Array, key: jax.Array, noise: float = noise, alike: bool = alike
            ) -> tuple[jax.Array, jax.Array, jax.Array]:
                one, other = jax.random.normal(key, (2, *y.shape))
                return x, (y + 0.5 * one if alike else y), (y + 0.5 * other if alike else y + noise * other)

            def difference(x: jax.Array, y: jax.Array, triple: Any = triple) -> jax.Array:
                x, y, z = triple(x, y, jax.random.key(jax.lax.bitcast_convert_type(x[0, 0], jnp.int32)))
                return cka(x, y) - cka(x, z)

            def interval(
                x: jax.Array, y: jax.Array, key: jax.Array, triple: Any = triple
            ) -> tuple[jax.Array, jax.Array]:
                given = triple(x, y, jax.random.key(jax.lax.bitcast_convert_type(x[0, 0], jnp.int32)))
                result = alignment_difference(cka, *given, key=key, samples=SAMPLES, batch_size=SAMPLES)
                return result.low, result.high

            def rejected(
                x: jax.Array, y: jax.Array, key: jax.Array, triple: Any = triple
            ) -> tuple[jax.Array, jax.Array]:
                given = triple(x, y, jax.random.key(jax.lax.bitcast_convert_type(x[0, 0], jnp.int32)))
                p = alignment_difference(cka, *given, key=key, samples=SAMPLES, batch_size=SAMPLES).pvalue
                return p, jnp.full_like(p, 2.0)

            target = 0.0 if alike else expected(difference, n)[0]
            name = "difference, equally alike" if alike else "difference"
            found.append(row(cka.definition, name, n, covered(interval, n, {"expected": target}, 500)))
            share = covered(rejected, n, {"p <= 0.05": 0.05}, 500)
            found.append(row(cka.definition, f"{name}: test", n, share))
    return found


def _features() -> list[dict[str, Any]]:
    """Examples and features are both drawn: of many features, some."""
    found = []
    generator = np.random.default_rng(3)
    many = 2000
    loadings = [jnp.asarray(generator.standard_normal((FACTORS, many)) / 2, jnp.float32) for _ in range(2)]
    n, width = 200, 60

    def drawn(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(key, 5)
        factors = jax.random.normal(keys[0], (n, FACTORS))
        one, other = (
            factors @ jnp.take(a, jax.random.randint(k, (width,), 0, many), axis=1)
            + NOISE * jax.random.normal(noise, (n, width))
            for a, k, noise in zip(loadings, keys[1:3], keys[3:], strict=True)
        )
        return one, other

    cka = ja.measures.cka(estimator="unbiased")
    keys = jax.random.split(jax.random.key(2), FOR_EXPECTATION)
    target = float(np.mean(np.asarray(jax.jit(lambda k: jax.lax.map(lambda one: cka(*drawn(one)), k))(keys))))
    for kind, features in (("centered", True), ("percentile", True), ("basic", True), ("centered", False)):
        interval = by_bootstrap(cka, features=features, interval=kind)

        def one(key: jax.Array, interval: Interval = interval) -> tuple[jax.Array, jax.Array]:
            return interval(*drawn(key), jax.random.fold_in(key, 9))

        data_sets = 200
        sets = jax.random.split(jax.random.key(1), data_sets)
        low, high = (np.asarray(v) for v in jax.jit(lambda k, one=one: jax.lax.map(one, k))(sets))
        share = {"expected": float(np.mean((low <= target) & (target <= high)))}
        method = f"bootstrap {kind}, {'features' if features else 'examples only'}"
        result = {"coverage": share, "width": float(np.mean(high - low)), "data_sets": data_sets}
        found.append(row(f"{cka.definition}, {width} features", method, n, result))
    return found


def _guaranteed() -> list[dict[str, Any]]:
    """The interval with a guarantee, of unit rows of two features."""
    found = []

    def pair(key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
        one, other = jax.random.normal(key, (2, n, 2))
        return one, one + 0.5 * other

    # Unit rows are uniform on the circle: E cos² is 1/2, and of the product of both cosines what many pairs say.
    x, y = (v / jnp.linalg.norm(v, axis=1, keepdims=True) for v in pair(jax.random.key(5), 4_000_000))
    moment = np.asarray(x, np.float64).T @ np.asarray(y, np.float64) / len(x)
    target = float(np.sum(moment**2) / 0.5)
    for n in (200, 2000):

        def one(key: jax.Array, n: int = n) -> tuple[jax.Array, jax.Array]:
            return kernel_alignment_interval(*pair(key, n), kernel=ja.Cosine())

        sets = jax.random.split(jax.random.key(1), 300)
        low, high = (np.asarray(v) for v in jax.jit(lambda k, one=one: jax.lax.map(one, k))(sets))
        share = {"population": float(np.mean((low <= target) & (target <= high)))}
        result = {"coverage": share, "width": float(np.mean(high - low)), "data_sets": 300}
        found.append(row("kernel_alignment[cosine]", "guaranteed", n, result))
    return found
