"""Every pair of some models, compared by what their outputs determine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import as_array, check_floating, check_integer, describe
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array, Float, Int
from jaxalign.identifiability import (
    identifiability_distance,
    kl_divergence,
    label_order_from_logprobs,
    llv_distance,
    logit_distance,
    mean_cca_from_logprobs,
)

#: Numbers of each pair, in the order of `ModelPairs`.
VALUES = ("llv", "t1", "t2", "d_f", "d_g", "d_fg", "cca_f", "cca_g", "kl", "kl_reversed", "logit_distance")


@dataclass(frozen=True, eq=False)
class ModelPairs:
    """How far apart two models are, for all `p = s (s - 1) / 2` pairs of `s` models; all arrays have shape `(p,)`.

    Attributes:
      first: number of the first model of a pair.
      second: of the other one, which is larger.
      llv: `llv_distance`, with sets selected for the pair.
      t1: its term over inputs.
      t2: its term over labels.
      d_f: dissimilarity of embeddings.
      d_g: of unembeddings.
      d_fg: the larger, `identifiability_distance`.
      cca_f: mean canonical correlation of embeddings.
      cca_g: of unembeddings.
      kl: `kl_divergence` of the second model from the first, in nats.
      kl_reversed: of the first from the second.
      logit_distance: of centered logits.
      same_order: whether labels lie around the circle in the same order; None unless models have two dimensions.
    """

    first: np.ndarray
    second: np.ndarray
    llv: np.ndarray
    t1: np.ndarray
    t2: np.ndarray
    d_f: np.ndarray
    d_g: np.ndarray
    d_fg: np.ndarray
    cca_f: np.ndarray
    cca_g: np.ndarray
    kl: np.ndarray
    kl_reversed: np.ndarray
    logit_distance: np.ndarray
    same_order: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.first)

    def among(self, kept: np.ndarray) -> ModelPairs:
        """Pairs of which both models are kept: booleans, shape `(s,)`."""
        both = kept[self.first] & kept[self.second]
        columns: dict[str, Any] = {name: None if v is None else v[both] for name, v in vars(self).items()}
        return ModelPairs(**columns)

    def to_dict(self) -> dict[str, list[Any] | None]:
        """Columns as plain lists."""
        return {name: None if values is None else values.tolist() for name, values in vars(self).items()}


def compare_models(
    logp: Float[Array, "s n c"], *, m: int, key: Array | int, tuples: int = 200
) -> tuple[ModelPairs, Int[np.ndarray, "s c"] | None]:
    """Compare every two of some models by all distances of `jaxalign.identifiability`, as one program.

    Labels and inputs are selected for each pair (`select_sets`), as in the paper: distances of different pairs are not
    one metric.

    Args:
      logp: logits or log-probabilities of `s` models, shape `(s, n, c)`, the same inputs and labels.
      m: dimension of the models.
      key: for drawing sets of inputs.
      tuples: how many of them are tried for each pair.

    Returns:
      The pairs; and each model's circular order of labels `(s, c)`, None unless `m` is 2. Distances are NaN where one
      of both models tells no inputs, or no labels, apart.

    Raises:
      ValueError: on wrong shapes, or fewer than two models.
      TypeError: on non-floating input.

    Example:
      >>> f = jax.random.normal(jax.random.key(0), (3, 50, 2))
      >>> g = jax.random.normal(jax.random.key(1), (3, 4, 2))
      >>> pairs, orders = compare_models(jnp.einsum("snm,scm->snc", f, g), m=2, key=0)
      >>> len(pairs), orders.shape, bool((pairs.d_fg <= 2 * np.maximum(pairs.t1, pairs.t2) ** 2).all())
      (3, (3, 4), True)

    Reference:
      Nielsen et al. (2025), arXiv:2506.03784.
    """
    name = "compare_models"
    logp = as_array(name, "logp", logp)
    check_floating(name, "logp", logp)
    check_integer(name, "m", m, minimum=1)
    check_integer(name, "tuples", tuples, minimum=1)
    if logp.ndim != 3 or logp.shape[0] < 2:
        raise ValueError(f"{name}: logp must have shape (s, n, c) with at least two models, got {describe(logp)}")
    if not bool(jnp.all(jnp.isfinite(logp))):
        raise ValueError(f"{name}: logp must be finite, got NaN or infinity; see take_labels")
    first, second = (side.astype(np.int32) for side in np.triu_indices(logp.shape[0], 1))
    keys = jax.random.split(as_key(name, key), len(first))
    values = _compare(logp, jnp.asarray(first), jnp.asarray(second), keys, m=m, tuples=tuples)
    columns = {label: np.asarray(column) for label, column in values.items()}
    orders = np.asarray(jax.vmap(label_order_from_logprobs)(logp)) if m == 2 and logp.shape[2] > 2 else None
    same = None if orders is None else (orders[first] == orders[second]).all(axis=1)
    return ModelPairs(first, second, **columns, same_order=same), orders


@partial(jax.jit, static_argnames=("m", "tuples"))
def _compare(
    logp: Float[Array, "s n c"], first: Int[Array, "p"], second: Int[Array, "p"], keys: Array, *, m: int, tuples: int
) -> dict[str, Float[Array, "p"]]:
    def of_pair(pair: tuple[Array, Array, Array]) -> dict[str, Array]:
        i, j, key = pair
        one, other = logp[i], logp[j]
        llv = llv_distance(one, other, m=m, key=key, tuples=tuples)
        apart = identifiability_distance(one, other, sets=llv.sets)
        correlations = mean_cca_from_logprobs(one, other, m=m, m2=m)
        values = (
            *(llv.value, llv.t1, llv.t2),
            *(apart.d_f, apart.d_g, apart.value),
            *(correlations.f, correlations.g),
            *(kl_divergence(one, other), kl_divergence(other, one)),
            logit_distance(one, other),
        )
        return dict(zip(VALUES, values, strict=True))

    return jax.lax.map(of_pair, (first, second, keys))
