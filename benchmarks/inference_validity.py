"""Whether tests reject unrelated inputs as often as they say, how near closed forms come to permutations, and power."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.dependence import SIMULATIONS, simulate
from jaxalign import measures
from jaxalign.inference.closed_form import closed_form_test
from jaxalign.inference.independence import k_sample_test
from jaxalign.inference.permutation import permutation_test
from jaxalign.kernels import RBF

LEVEL = 0.05
#: Data sets and examples for the size: the standard error of a rate of 0.05 is 0.0034.
SETS, EXAMPLES = 4000, 50
#: Orders of a permutation test, of which 10 of 200 are exactly the level; and data sets for it.
ORDERS, ORDER_SETS = 199, 4000
#: Data sets and orders that closed forms are held against.
NEAR_SETS, NEAR_ORDERS = 100, 2000
#: Data sets and examples for the power; hyppo sees the first of these only, with its permutations.
POWER_SETS, POWER_EXAMPLES, PEER_SETS, PEER_ORDERS = 500, 100, 100, 200

HSIC = measures.hsic(kernel=RBF())
UNBIASED_HSIC = measures.cka(kernel=RBF(), estimator="unbiased")
DCOR = measures.distance_correlation()
UNBIASED_DCOR = measures.distance_correlation(estimator="unbiased")
RV = measures.cka()
#: In closed form: name -> measure and null.
FAST = {
    "hsic moments": (HSIC, "moments"),
    "hsic gamma": (HSIC, "gamma"),
    "hsic chi2": (UNBIASED_HSIC, "chi2"),
    "rv moments": (RV, "moments"),
    "rv unbiased moments": (measures.cka(estimator="unbiased"), "moments"),
    "dcor moments": (DCOR, "moments"),
    "dcor gamma": (DCOR, "gamma"),
    "dcor unbiased moments": (UNBIASED_DCOR, "moments"),
    "dcor chi2": (UNBIASED_DCOR, "chi2"),
}
#: By permutations.
SLOW = {
    "hsic": HSIC,
    "dcor": DCOR,
    "rv": RV,
    "unbiased cka": measures.cka(estimator="unbiased"),
    "mutual_knn": measures.mutual_knn(k=5, metric="euclidean"),
    "rsa": measures.rsa(metric="euclidean"),
    "procrustes": measures.procrustes_distance(),
}

Test = Callable[[Array, Array, Array], Array]


Data = tuple[Array, Array]
#: Features of the inputs; narrower ones are filled up with zeros, which all measures here ignore, to compile once.
WIDTHS = 20, 40


def _wide(x: Array, y: Array) -> Data:
    padded = [jnp.pad(v, ((0, 0), (0, width - v.shape[1]))) for v, width in zip((x, y), WIDTHS, strict=True)]
    return padded[0], padded[1]


def _normal(key: Array, p: int, q: int) -> Data:
    one, other = jax.random.split(key)
    return _wide(jax.random.normal(one, (EXAMPLES, p)), jax.random.normal(other, (EXAMPLES, q)))


def _heavy(key: Array, p: int, q: int) -> Data:
    one, other = jax.random.split(key)
    return _wide(jax.random.t(one, 2.0, (EXAMPLES, p)), jax.random.t(other, 2.0, (EXAMPLES, q)))


def _mixed(key: Array) -> Data:
    x, y = _normal(key, 1, 40)
    return jnp.where(x == 0, 0, jnp.exp(1.5 * x)), y


#: Unrelated inputs.
UNRELATED: dict[str, Callable[[Array], Data]] = {
    "normal 1 and 1": lambda key: _normal(key, 1, 1),
    "normal 20 and 5": lambda key: _normal(key, 20, 5),
    "Student t(2) 3 and 3": lambda key: _heavy(key, 3, 3),
    "lognormal 1, normal 40": _mixed,
}


def data_sets(draw: Callable[[Array], Data], sets: int, *, seed: int = 0) -> Data:
    """So many data sets, `(sets, n, p)` and `(sets, n, q)`."""
    return jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(seed), sets))


def compiled(test: Test) -> Callable[[Data], np.ndarray]:
    """From data sets to p-values, one data set after the other."""

    def all_of(xs: Array, ys: Array) -> Array:
        keys = jax.random.split(jax.random.key(1), xs.shape[0])
        return jax.lax.map(lambda args: test(*args), (xs, ys, keys))

    call = jax.jit(all_of)
    return lambda data: np.asarray(call(*data))


def fast(measure: measures.Measure, null: str) -> Test:
    """A test in closed form."""
    return lambda x, y, key: closed_form_test(measure, x, y, null=null).pvalue


def one_bandwidth(null: str) -> Test:
    """HSIC with the median bandwidth of the first input for both, as hyppo 0.5 has it (where it is an oversight)."""

    def test(x: Array, y: Array, key: Array) -> Array:
        kernel = RBF().fit(x)
        return closed_form_test(measures.cka(kernel=kernel, estimator="unbiased"), x, y, null=null).pvalue

    return test


def by_orders(measure: measures.Measure, orders: int) -> Test:
    """A permutation test."""
    return lambda x, y, key: permutation_test(measure, x, y, permutations=orders, key=key).pvalue


def two_samples(method: str, null: str) -> Test:
    """20 and 30 examples of one distribution, which the first input has."""
    return lambda x, y, key: k_sample_test([x[:20], x[20:]], method=method, null=null).pvalue


def size_rows() -> list[dict[str, Any]]:
    """How often unrelated inputs are rejected."""
    tests = {name: fast(*parts) for name, parts in FAST.items()}
    for method, null in (("hsic", "moments"), ("dcor", "moments"), ("hsic", "chi2")):
        tests[f"two samples, {method} {null}"] = two_samples(method, null)
    by_order = {f"{name}, {ORDERS} permutations": by_orders(m, ORDERS) for name, m in SLOW.items()}
    sets = {name: data_sets(draw, SETS) for name, draw in UNRELATED.items()}
    rows = []
    print(f"\nshare of {SETS} ({ORDER_SETS}) unrelated data sets, n = {EXAMPLES}, with p <= {LEVEL} (goal 0.05 ± 0.01)")
    print(f"  {'':36s}" + "".join(f"{name:>24s}" for name in UNRELATED))
    for name, test in (tests | by_order).items():
        rates, run, count = [], compiled(test), ORDER_SETS if name in by_order else SETS
        for data, drawn in sets.items():
            # In float32, 10 / 200 is above 0.05.
            rate = float(np.mean(run((drawn[0][:count], drawn[1][:count])) <= LEVEL + 1e-6))
            rates.append(rate)
            row = {"what": "size", "test": name, "data": data, "sets": count, "n": EXAMPLES, "rate": rate}
            rows.append(row | {"met": bool(abs(rate - LEVEL) <= 0.01)})
        print(f"  {name:36s}" + "".join(f"{rate:24.4f}" for rate in rates), flush=True)
    return rows


def near_rows() -> list[dict[str, Any]]:
    """How far p-values in closed form are from those of many permutations."""
    sets = {name: data_sets(draw, NEAR_SETS, seed=1) for name, draw in UNRELATED.items()}
    exact: dict[str, dict[str, np.ndarray]] = {}
    rows = []
    print(f"\nmean |p - p of {NEAR_ORDERS} permutations| over {NEAR_SETS} data sets; largest where that is below 0.1")
    for name, (measure, null) in FAST.items():
        if measure.definition not in exact:
            run = compiled(by_orders(measure, NEAR_ORDERS))
            exact[measure.definition] = {data: run(drawn) for data, drawn in sets.items()}
        found, run = [], compiled(fast(measure, null))
        for data, drawn in sets.items():
            by_order = exact[measure.definition][data]
            apart = np.abs(run(drawn) - by_order)
            tail = float(np.max(apart[by_order < 0.1], initial=0))
            found.append((float(np.mean(apart)), tail))
            rows.append({"what": "near", "test": name, "data": data, "mean": found[-1][0], "largest_below_0.1": tail})
        print(f"  {name:36s}" + "".join(f"{f'{mean:.4f} {tail:.4f}':>24s}" for mean, tail in found), flush=True)
    return rows


def _peer_pvalues(data: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray] | None:
    """Hsic and Dcorr of hyppo, by its permutations and by its chi-square; None where it is not installed."""
    try:
        from hyppo.independence import Dcorr, Hsic  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    found: dict[str, list[float]] = {}
    np.random.seed(0)  # noqa: NPY002 (its permutations come from there)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x, y in data:
            for name, peer in (("hsic", Hsic), ("dcor", Dcorr)):
                by_order = peer().test(x, y, reps=PEER_ORDERS, workers=1, auto=False)
                found.setdefault(f"{name} permutation", []).append(float(by_order[1]))
                found.setdefault(f"{name} chi2", []).append(float(peer().test(x, y, auto=True)[1]))
    return {name: np.array(values) for name, values in found.items()}


def power_rows() -> list[dict[str, Any]]:
    """How often dependence is seen, beside hyppo on the same data sets."""
    chosen = ("hsic moments", "hsic chi2", "dcor unbiased moments", "dcor chi2", "rv moments")
    tests = {name: compiled(fast(*FAST[name])) for name in chosen}
    tests |= {f"hsic one bandwidth {null}": compiled(one_bandwidth(null)) for null in ("moments", "chi2")}
    tests["mutual_knn permutation"] = compiled(by_orders(SLOW["mutual_knn"], ORDERS))
    same = {
        "hsic moments": "hsic permutation",
        "hsic chi2": "hsic chi2",
        "hsic one bandwidth moments": "hsic permutation",
        "hsic one bandwidth chi2": "hsic chi2",
        "dcor unbiased moments": "dcor permutation",
        "dcor chi2": "dcor chi2",
    }
    rows = []
    print(f"\npower, n = {POWER_EXAMPLES}, {POWER_SETS} data sets; in brackets hyppo's and ours on {PEER_SETS} of them")
    for simulation in SIMULATIONS:
        drawn = data_sets(functools.partial(_simulated, simulation), POWER_SETS)
        few = [
            (np.asarray(x, float), np.asarray(y, float)) for x, y in zip(*(v[:PEER_SETS] for v in drawn), strict=True)
        ]
        peers = _peer_pvalues(few)
        line = f"  {simulation:24s}"
        for name, run in tests.items():
            values = run(drawn)
            row: dict[str, Any] = {"what": "power", "simulation": simulation, "test": name, "n": POWER_EXAMPLES}
            row |= {"sets": POWER_SETS, "power": float(np.mean(values <= LEVEL + 1e-6))}
            line += f" {name} {row['power']:.2f}"
            if peers is not None and name in same:
                theirs = peers[same[name]]
                row |= {
                    "hyppo": same[name],
                    "hyppo_sets": PEER_SETS,
                    "hyppo_power": float(np.mean(theirs <= LEVEL)),
                    "power_on_those": float(np.mean(values[:PEER_SETS] <= LEVEL + 1e-6)),
                    "mean_difference_of_p": float(np.mean(np.abs(theirs - values[:PEER_SETS]))),
                }
                line += f" ({row['hyppo_power']:.2f} {row['power_on_those']:.2f})"
            rows.append(row)
        print(line, flush=True)
    return rows


def _simulated(simulation: str, key: Array) -> Data:
    return simulate(simulation, key, POWER_EXAMPLES)


def rows() -> list[dict[str, Any]]:
    """Size, nearness to permutations, power."""
    return [*size_rows(), *near_rows(), *power_rows()]
