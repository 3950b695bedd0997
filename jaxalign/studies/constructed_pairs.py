"""What a small divergence is worth, and how close the bounds come: pairs of models that are built, not trained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import check_distinct, check_integer, check_positive
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array, Float
from jaxalign.identifiability import (
    identifiability_distance,
    kl_divergence,
    llv_distance,
    log_probs,
    logit_distance,
    mean_cca_from_logprobs,
    select_sets,
)
from jaxalign.identifiability.constructions import permuted_clusters

#: Lengths of unembeddings of table 1.
NORMS = (1, 3, 5, 10, 15, 18, 20)
#: Size of one step of `noise_ladder`, by the number of labels.
STEP_SIZES = {4: 0.005, 5: 0.004, 6: 0.004, 10: 0.0025, 18: 0.002}


def divergence_table(
    *,
    key: Array | int,
    norms: Sequence[float] = NORMS,
    classes: int = 7,
    per_class: int = 500,
    tuples: int = 100,
) -> dict[str, Float[np.ndarray, "r"]]:
    """Two models that become one distribution, and stay dissimilar: table 1 of the paper.

    For each length of unembeddings a new pair of `permuted_clusters` is drawn. The divergence vanishes, the
    log-likelihood variance distance and the dissimilarity of representations do not move, and the logit distance grows.

    Args:
      key: for the pairs and for drawing sets of inputs.
      norms: lengths of unembeddings ρ, positive.
      classes: number of labels, at least 5.
      per_class: inputs of each label.
      tuples: how many sets of inputs are tried for each pair.

    Returns:
      Columns of shape `(r,)`, a row for each length: `norm`, `kl` and `kl_reversed`, `nll` of the first model, `llv`,
      `cca_f`, `d_f` (the table's largest d_SVD), `d_g`, `logit_distance`. Logarithms are natural.

    Raises:
      ValueError, TypeError: for lengths that are not positive or repeat, and for numbers out of range.

    Example:
      >>> table = divergence_table(key=0, norms=[5.0, 20.0], per_class=50, tuples=10)
      >>> bool(table["kl"][1] < 1e-3 * table["kl"][0]), bool(abs(table["llv"] - 1.32).max() < 0.02)
      (True, True)

    Reference:
      Table 1 of Nielsen et al. (2025), arXiv:2506.03784.
    """
    name = "divergence_table"
    check_distinct(name, "norms", norms, check_positive)
    check_integer(name, "classes", classes, minimum=5)
    check_integer(name, "tuples", tuples, minimum=1)
    keys = jax.random.split(as_key(name, key), len(norms))
    rows = _divergences(jnp.asarray(norms, float), keys, classes=classes, per_class=per_class, tuples=tuples)
    order = ("kl", "kl_reversed", "nll", "llv", "cca_f", "d_f", "d_g", "logit_distance")
    return {"norm": np.asarray(norms, float), **{label: np.asarray(rows[label]) for label in order}}


@partial(jax.jit, static_argnames=("classes", "per_class", "tuples"))
def _divergences(norms: Array, keys: Array, *, classes: int, per_class: int, tuples: int) -> dict[str, Array]:
    def of_norm(row: tuple[Array, Array]) -> dict[str, Array]:
        norm, key = row
        for_pair, for_sets = jax.random.split(key)
        pair = permuted_clusters(for_pair, norm=norm, classes=classes, per_class=per_class)
        logp, logp2 = pair.log_probs()
        assert pair.labels is not None
        llv = llv_distance(logp, logp2, m=2, key=for_sets, tuples=tuples)
        apart = identifiability_distance(logp, logp2, sets=llv.sets)
        return {
            "kl": kl_divergence(logp, logp2),
            "kl_reversed": kl_divergence(logp2, logp),
            "nll": -jnp.mean(jnp.take_along_axis(logp, pair.labels[:, None], axis=1)),
            "llv": llv.value,
            "cca_f": mean_cca_from_logprobs(logp, logp2, m=2, m2=2).f,
            "d_f": apart.d_f,
            "d_g": apart.d_g,
            "logit_distance": logit_distance(logp, logp2),
        }

    return jax.lax.map(of_norm, (norms, keys))


def noise_ladder(
    classes: int, *, key: Array | int, levels: int = 250, step_size: float | None = None, per_class: int = 500
) -> dict[str, Float[np.ndarray, "r"]]:
    """A model beside itself with more and more noise in its embeddings: how close the bounds come to being reached.

    Clusters on a circle with unembeddings of length 20 and embeddings of length 5; the other model has normal noise of
    `step_size * level` added to its embeddings. Labels and inputs are selected once, at the middle level, so that all
    levels are distances of one metric.

    Args:
      classes: number of labels, at least 4.
      key: for the clusters, the noise and the sets of inputs.
      levels: how many.
      step_size: standard deviation of the noise of the first level; by default the paper's for 4, 5, 6, 10, 18 labels.
      per_class: inputs of each label.

    Returns:
      Columns of shape `(levels,)`: `noise`, `llv` (the paper's ε), `d_fg`, `kl`.

    Raises:
      ValueError, TypeError: for numbers out of range, and without `step_size` for other numbers of labels.

    Example:
      >>> ladder = noise_ladder(5, key=0, levels=4, per_class=20)
      >>> bool((ladder["d_fg"] <= 2 * ladder["llv"] ** 2).all())
      True

    Reference:
      Figure 16, left, of Nielsen et al. (2025), arXiv:2506.03784.
    """
    name = "noise_ladder"
    check_integer(name, "classes", classes, minimum=4)
    check_integer(name, "levels", levels, minimum=1)
    if step_size is None:
        if classes not in STEP_SIZES:
            raise ValueError(f"{name}: step_size must be given for other than {list(STEP_SIZES)} labels, got {classes}")
        step_size = STEP_SIZES[classes]
    check_positive(name, "step_size", step_size)
    noise = step_size * np.arange(1, levels + 1)
    columns = _ladder(jnp.asarray(noise, float), as_key(name, key), classes=classes, per_class=per_class)
    return {"noise": noise, **{label: np.asarray(columns[label]) for label in ("llv", "d_fg", "kl")}}


@partial(jax.jit, static_argnames=("classes", "per_class"))
def _ladder(noise: Array, key: Array, *, classes: int, per_class: int) -> dict[str, Any]:
    for_model, for_noise, for_sets = jax.random.split(key, 3)
    pair = permuted_clusters(
        for_model, norm=20.0, classes=classes, per_class=per_class, length=5.0, permutation=range(classes)
    )
    logp = log_probs(pair.f, pair.g)
    keys = jax.random.split(for_noise, noise.shape[0])

    def noisy(size: Array, key: Array) -> Array:
        return log_probs(pair.f + size * jax.random.normal(key, pair.f.shape, pair.f.dtype), pair.g)

    middle = noise.shape[0] // 2
    sets = select_sets(logp, noisy(noise[middle], keys[middle]), m=2, key=for_sets)

    def of_level(row: tuple[Array, Array]) -> dict[str, Array]:
        other = noisy(*row)
        return {
            "llv": llv_distance(logp, other, sets=sets).value,
            "d_fg": identifiability_distance(logp, other, sets=sets).value,
            "kl": kl_divergence(logp, other),
        }

    return jax.lax.map(of_level, (noise, keys))
