"""Do contrastive learners of different observations of one world find the same kernel, that of its PMI?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import check_distinct, check_integer, check_positive
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array
from jaxalign.studies.contrastive import LOSSES, contrastive_embedding
from jaxalign.studies.cooccurrence import cooccurrence, gram, kernel_agreement, pmi_embedding, pmi_kernel, psd_shift
from jaxalign.studies.event_worlds import EventWorld, event_world, sample_events

#: What is observed of events: two bijections, in sequences of their own; pairs of events taken for one; the first
#: with its order lost.
OBSERVED = ("first", "second", "lossy", "shuffled")


def pmi_study(
    key: Array | int,
    *,
    events: int = 24,
    window: int = 2,
    dims: Sequence[int] = (1, 2, 3, 4, 8, 16, 24),
    at: Sequence[int] = (0, 10, 20, 50, 100, 200, 500, 1000, 2000),
    lengths: Sequence[int] = (300, 1000, 3000, 10_000, 30_000, 100_000),
    seeds: int = 8,
    smoothing: float = 0.5,
) -> dict[str, np.ndarray]:
    """How close the products of learned vectors come to the PMI: by dimension, training and observations.

    Each seed is a world, with sequences, names of events and initial weights of its own. Agreement is two numbers: the
    cosine of centered kernels (CKA), and the correlation of entries off the diagonal, whose mean by chance is 0.

    Args:
      key: for all of it.
      events: of a world, at least 4 and even, so that two can be taken for one.
      window: of co-occurrence, to either side; an event co-occurs with itself.
      dims: of vectors trained on the true joint distribution, with the last of the steps of `at`.
      at: steps of training at which vectors of all dimensions are looked at, rising.
      lengths: of sequences; shorter ones are the beginnings of the longest one.
      seeds: worlds.
      smoothing: of counts, for learners as well.

    Returns:
      By name, with the last axis `(cosine, correlation)`:

      - `dims`, `at`, `lengths`; `shift`, the constant the true PMI needs to be positive semi-definite, `(seeds,)`;
      - `by_dim` `(dims, seeds, 2)`, learned and true; `by_dim_best` the same of the closed form;
      - `by_step_nce`, `by_step_infonce` `(at, seeds, 2)`;
      - `counted_first` and so on, the PMI of counts and the true one, `(lengths, seeds, 2)`, and `learned_first` and
        so on, learned from these counts and the true one, for each of `OBSERVED`;
      - `between_second`, `between_lossy`, `between_shuffled`: what was learned from the first observations and from
        these.

    Raises:
      ValueError, TypeError: for settings out of range.

    Reference:
      Huh et al. (2024), arXiv:2405.07987, section 4: the claim. The experiment is ours.
    """
    name = "pmi_study"
    check_integer(name, "events", events, minimum=4)
    if events % 2:
        raise ValueError(f"{name}: events must be even, got {events}")
    check_integer(name, "window", window, minimum=1)
    check_integer(name, "seeds", seeds, minimum=1)
    check_positive(name, "smoothing", smoothing)
    check_distinct(name, "dims", dims, partial(check_integer, minimum=1))
    check_distinct(name, "at", at, partial(check_integer, minimum=0))
    check_distinct(name, "lengths", lengths, partial(check_integer, minimum=2))
    of_worlds, of_runs = jax.random.split(as_key(name, key))
    worlds = jax.vmap(partial(event_world, events=events, window=window))(jax.random.split(of_worlds, seeds))
    keys = jax.random.split(of_runs, seeds)
    true = jax.vmap(pmi_kernel)(worlds.joint)
    found: dict[str, Any] = {"dims": dims, "at": at, "lengths": lengths, "shift": jax.vmap(psd_shift)(true)}
    train = partial(contrastive_embedding, steps=max(at))

    def learned(dim: int) -> Array:
        return jax.vmap(lambda joint, key: gram(train(joint, dim, key=key).embedding))(worlds.joint, keys)

    def best(dim: int) -> Array:
        return jax.vmap(lambda kernel: gram(pmi_embedding(kernel, dim, shift=jnp.maximum(psd_shift(kernel), 0))))(true)

    def on_the_way(loss: str) -> Array:
        run = partial(train, loss=loss, at=tuple(at))
        paths = jax.vmap(lambda joint, key: run(joint, events, key=key).path)(worlds.joint, keys)
        return jnp.swapaxes(jax.vmap(jax.vmap(gram))(paths), 0, 1)

    found["by_dim"] = [_agreement(learned(dim), true) for dim in dims]
    found["by_dim_best"] = [_agreement(best(min(dim, events)), true) for dim in dims]
    for loss in LOSSES:
        found[f"by_step_{loss}"] = [_agreement(kernels, true) for kernels in on_the_way(loss)]
    counted, kernels = _from_sequences(worlds, keys, lengths, window, smoothing, train)
    for which in OBSERVED:
        found[f"counted_{which}"] = [_agreement(kernel, true) for kernel in counted[which]]
        found[f"learned_{which}"] = [_agreement(kernel, true) for kernel in kernels[which]]
    for which in OBSERVED[1:]:
        found[f"between_{which}"] = [
            _agreement(one, other) for one, other in zip(kernels["first"], kernels[which], strict=True)
        ]
    return {name: np.asarray(value) for name, value in found.items()}


def _agreement(a: Array, b: Array) -> np.ndarray:
    """Of kernels of each seed, `(seeds, 2)`."""
    return np.stack(jax.vmap(kernel_agreement)(a, b), axis=-1)


def _from_sequences(
    worlds: EventWorld, keys: Array, lengths: Sequence[int], window: int, smoothing: float, train: Any
) -> tuple[dict[str, list[Array]], dict[str, list[Array]]]:
    """By kind of observation, for each length: kernels of events, counted and learned, `(seeds, m, m)`."""
    m = worlds.joint.shape[1]
    counted: dict[str, list[Array]] = {}
    learned: dict[str, list[Array]] = {}

    def observe(world: EventWorld, key: Array, which: str) -> tuple[Array, Array]:
        """A sequence of symbols, and the symbol of each event."""
        stream = OBSERVED.index("first" if which == "shuffled" else which)
        of_events, of_symbols, of_order = jax.random.split(jax.random.fold_in(key, stream), 3)
        symbols = jax.random.permutation(of_symbols, m) // (2 if which == "lossy" else 1)
        seen = symbols[sample_events(world, max(lengths), key=of_events)]
        return (jax.random.permutation(of_order, seen) if which == "shuffled" else seen), symbols

    for which in OBSERVED:
        size = m // 2 if which == "lossy" else m
        seen, symbols = jax.jit(jax.vmap(partial(observe, which=which)))(worlds, keys)

        @jax.jit
        @jax.vmap
        def fit(counts: Array, symbols: Array, key: Array, size: int = size) -> tuple[Array, Array]:
            kernel = pmi_kernel(counts, smoothing=smoothing)
            joint = counts.astype(kernel.dtype) + jnp.asarray(smoothing, kernel.dtype)
            vectors = train(joint, size, key=key).embedding
            return kernel[symbols][:, symbols], gram(vectors[symbols])

        counted[which], learned[which] = [], []
        for length in lengths:
            count = jax.jit(jax.vmap(partial(cooccurrence, reach=window, size=size, itself=True)))
            starts = jax.vmap(partial(jax.random.fold_in, data=OBSERVED.index(which)))(keys)
            of_counts, of_training = fit(count(seen[:, :length]), symbols, starts)
            counted[which].append(of_counts)
            learned[which].append(of_training)
    return counted, learned
