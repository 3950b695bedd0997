"""Contrastive learners over a few events, without sampling: what they find, and how fast."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxalign._core.checks import as_array, check_choice, check_integer, describe
from jaxalign._core.keys import as_key
from jaxalign._core.numerics import matmul
from jaxalign._core.typing import Array, Float, Int, Scalar
from jaxalign.studies.cooccurrence import as_joint, gram

LOSSES = ("nce", "infonce")
_RATE = 0.02
_SCALE = 0.3  # of initial entries


class Contrastive(NamedTuple):
    """What a contrastive learner ended with.

    Attributes:
      embedding: f, a vector for each event, `(m, dim)`.
      bias: b, added to products in the loss; 0 for InfoNCE, which does not see it.
      loss: before each step, `(steps,)`.
      path: embeddings at the steps asked for, `(len(at), m, dim)`.
    """

    embedding: Float[Array, "m d"]
    bias: Scalar
    loss: Float[Array, "steps"]
    path: Float[Array, "k m d"]


def nce_loss(
    scores: Float[Array, "m m"],
    joint: Float[Array, "m m"] | Int[Array, "m m"],
    *,
    negatives: int = 1,
    diagonal: bool = True,
) -> Scalar:
    r"""Binary noise-contrastive loss, expected over all pairs: tell pairs that occurred from k random ones.

    $$L(s) = -\sum_{ab} P(a, b) \log \sigma(s_{ab}) - k \sum_{ab} P(a) P(b) \log \sigma(-s_{ab})$$

    It is convex in the scores, and its gradient $P(a) P(b)\,(k\,\sigma(s_{ab}) - e^{K_{ab}} \sigma(-s_{ab}))$, with
    $K$ the PMI, is zero at $s = K - \log k$ and nowhere else.

    Args:
      scores: s, `(m, m)`; of a learner $\langle f(a), f(b) \rangle$ and a bias.
      joint: counts or probabilities of pairs, as for `pmi_kernel`.
      negatives: k.
      diagonal: whether pairs of an event with itself count.

    Returns:
      A scalar of at least 0.

    Raises:
      ValueError: for shapes that do not fit, and what `pmi_kernel` does not take.

    Example:
      >>> round(float(nce_loss(jnp.zeros((2, 2)), jnp.eye(2))), 4)
      1.3863

    Reference:
      Huh et al. (2024), arXiv:2405.07987, section 4.2; Gutmann and Hyvärinen (2010).
    """
    scores, joint, apart = _loss_inputs("nce_loss", scores, joint)
    if not diagonal:
        kept = 1 - jnp.eye(len(joint), dtype=joint.dtype)
        joint, apart = joint * kept, apart * kept
    return jnp.sum(joint * jax.nn.softplus(-scores)) + negatives * jnp.sum(apart * jax.nn.softplus(scores))


def infonce_loss(scores: Float[Array, "m m"], joint: Float[Array, "m m"] | Int[Array, "m m"]) -> Scalar:
    r"""InfoNCE, expected over all pairs and with ever more negatives: name the partner of each event.

    $$L(s) = -\sum_{ab} P(a, b) \Big(s_{ab} - \log \sum_c P(c)\, e^{s_{ac}}\Big)$$

    the limit of the usual loss less the logarithm of the number of candidates. It is least, minus the mutual
    information, where $P(b)\, e^{s_{ab}} / \sum_c P(c)\, e^{s_{ac}} = P(b \mid a)$, that is $s_{ab} = K_{ab} + g(a)$:
    the PMI up to a function of the row. A learner with one encoder has symmetric scores, so that $g(a) = g(b)$ for
    all pairs, and the function is a constant, as for `nce_loss` (ours).

    Args:
      scores: s, `(m, m)`, rows are what is given.
      joint: counts or probabilities of pairs, as for `pmi_kernel`.

    Returns:
      A scalar of at least minus the mutual information.

    Raises:
      ValueError: for shapes that do not fit, and what `pmi_kernel` does not take.

    Example:
      >>> float(infonce_loss(jnp.zeros((2, 2)), jnp.eye(2)))
      0.0

    Reference:
      van den Oord et al. (2018), arXiv:1807.03748.
    """
    scores, joint, _ = _loss_inputs("infonce_loss", scores, joint)
    marginal = jnp.log(jnp.sum(joint, axis=1))
    normalizer = jax.nn.logsumexp(scores + marginal[None, :], axis=1)
    return jnp.sum(joint * (normalizer[:, None] - scores))


def contrastive_embedding(
    joint: Float[Array, "m m"] | Int[Array, "m m"],
    dim: int,
    *,
    loss: str = "nce",
    negatives: int = 1,
    diagonal: bool = True,
    steps: int = 2000,
    optimizer: optax.GradientTransformation | None = None,
    batch_size: int | None = None,
    at: Sequence[int] = (),
    key: Array | int,
) -> Contrastive:
    r"""Train a vector for each event so that products of those that occur together are large.

    $$\langle f(a), f(b) \rangle \to K_{ab} + c$$

    with the PMI $K$, if there are dimensions enough and a constant $c$ that makes $K + c$ positive semi-definite, see
    `psd_shift`. Where events never occur together K is minus infinity, and training would not end: it is stopped
    after `steps`. The loss is that of the whole population, in closed form; `"nce"` has a bias that is learned, and
    goes from $-\log k$ to $-\log k - c$.

    Args:
      joint: counts or probabilities of pairs, as for `pmi_kernel`.
      dim: of the vectors; more than there are events are of no use.
      loss: `"nce"` or `"infonce"`, see `nce_loss` and `infonce_loss`.
      negatives: k of `"nce"`; of `"infonce"` used with `batch_size` only, in closed form there are ever more.
      diagonal: whether pairs of an event with itself count, `"nce"` in closed form only. Without them the diagonal of
        the kernel is free, and off it any PMI that is finite can be had.
      steps: of the optimizer.
      optimizer: of optax; Adam by default, its rate a cosine from 0.02 to 0. One and the same object
        compiles once.
      batch_size: pairs drawn in each step, with negatives of their own; None for the closed form.
      at: steps at which embeddings are kept, in `0 .. steps`, rising.
      key: for initial vectors (normal, 0.3 wide) and batches.

    Returns:
      Embedding, bias, losses and embeddings on the way. Goes through `vmap` over `joint` and `key`.

    Raises:
      ValueError, TypeError: for settings out of range, and what `pmi_kernel` does not take.

    Example:
      >>> fit = contrastive_embedding(jnp.array([[3.0, 1.0], [1.0, 3.0]]), 2, steps=100, key=0)
      >>> fit.embedding.shape, fit.loss.shape
      ((2, 2), (100,))

    Reference:
      Huh et al. (2024), arXiv:2405.07987, section 4.2; Levy and Goldberg (2014) for factors of the PMI.
    """
    name = "contrastive_embedding"
    check_choice(name, "loss", loss, LOSSES)
    for argument, value in {"dim": dim, "negatives": negatives, "steps": steps}.items():
        check_integer(name, argument, value, minimum=1)
    if batch_size is not None:
        check_integer(name, "batch_size", batch_size, minimum=1)
    if not isinstance(diagonal, bool):
        raise TypeError(f"{name}: diagonal must be True or False, got {describe(diagonal)}")
    if not diagonal and (loss != "nce" or batch_size is not None):
        raise ValueError(f"{name}: diagonal=False goes with loss='nce' without batch_size, got {loss!r}, {batch_size}")
    if not (optimizer is None or isinstance(optimizer, optax.GradientTransformation)):
        raise TypeError(f"{name}: optimizer must be a transformation of optax, got {describe(optimizer)}")
    at = tuple(at)
    if list(at) != sorted(set(at)) or any(not 0 <= step <= steps for step in at):
        raise ValueError(f"{name}: at must be steps in 0 .. {steps}, rising, got {at}")
    joint = as_joint(name, joint)
    optimizer = _default_optimizer(steps) if optimizer is None else optimizer
    settings = (dim, loss, negatives, diagonal, steps, optimizer, batch_size, at)
    return _train(joint, as_key(name, key), settings)


def draw(
    joint: Float[Array, "m m"], size: int, negatives: int, key: Array
) -> tuple[Int[Array, "n"], Int[Array, "n"], Int[Array, "n k"]]:
    """Pairs of events drawn from the joint distribution, and for each so many from the marginal one."""
    of_pairs, of_noise = jax.random.split(key)
    m = joint.shape[0]
    pairs = _drawn(jnp.ravel(joint), (size,), of_pairs)
    return pairs // m, pairs % m, _drawn(jnp.sum(joint, axis=0), (size, negatives), of_noise)


def _drawn(weights: Float[Array, "n"], shape: tuple[int, ...], key: Array) -> Int[Array, "..."]:
    up_to = jnp.cumsum(weights)
    places = jax.random.uniform(key, shape, weights.dtype) * up_to[-1]
    return jnp.searchsorted(up_to, places, side="right")


@functools.cache
def _default_optimizer(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(_RATE, steps))


@functools.partial(jax.jit, static_argnums=2)
def _train(joint: Float[Array, "m m"], key: Array, settings: tuple[Any, ...]) -> Contrastive:
    dim, loss, negatives, diagonal, steps, optimizer, batch_size, at = settings
    joint = joint / jnp.sum(joint)
    k = 1 if loss == "infonce" else negatives
    of_start, of_batches = jax.random.split(key)
    start = {
        "f": _SCALE * jax.random.normal(of_start, (joint.shape[0], dim), joint.dtype),
        "bias": jnp.asarray(-jnp.log(jnp.asarray(k, joint.dtype)), joint.dtype),
    }

    def objective(parameters: dict[str, Array], step: Array) -> Scalar:
        f, bias = parameters["f"], parameters["bias"]
        if batch_size is not None:
            batch = draw(joint, batch_size, negatives, jax.random.fold_in(of_batches, step))
            return _sampled_loss(f, bias, batch, loss)
        if loss == "infonce":
            return infonce_loss(gram(f), joint)
        return nce_loss(gram(f) + bias, joint, negatives=negatives, diagonal=diagonal)

    def advance(state: tuple[Any, Any], step: Array) -> tuple[tuple[Any, Any], Scalar]:
        parameters, memory = state
        value, gradient = jax.value_and_grad(objective)(parameters, step)
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer step counts
            updates, memory = optimizer.update(gradient, memory, parameters)
        return (optax.apply_updates(parameters, updates), memory), value

    state, losses, path, done = (start, optimizer.init(start)), [], [], 0
    for until in (*at, steps):
        state, values = jax.lax.scan(advance, state, jnp.arange(done, until))
        losses, path, done = [*losses, values], [*path, state[0]["f"]], until
    kept = jnp.stack(path[:-1]) if at else jnp.zeros((0, *start["f"].shape), joint.dtype)
    return Contrastive(state[0]["f"], state[0]["bias"], jnp.concatenate(losses), kept)


def _sampled_loss(f: Array, bias: Array, batch: tuple[Array, Array, Array], loss: str) -> Scalar:
    first, second, noise = batch
    right = jnp.sum(f[first] * f[second], axis=1) + bias
    wrong = jnp.squeeze(matmul(f[noise], f[first][:, :, None]), axis=2) + bias
    if loss == "infonce":
        candidates = jnp.concatenate([right[:, None], wrong], axis=1)
        return jnp.mean(jax.nn.logsumexp(candidates, axis=1) - right)
    return jnp.mean(jax.nn.softplus(-right)) + jnp.mean(jnp.sum(jax.nn.softplus(wrong), axis=1))


def _loss_inputs(function: str, scores: Any, joint: Any) -> tuple[Array, Array, Array]:
    """Scores, probabilities of pairs and those of pairs that are drawn apart."""
    scores, joint = as_array(function, "scores", scores), as_joint(function, joint)
    if scores.shape != joint.shape:
        raise ValueError(f"{function}: scores must have shape {joint.shape} like joint, got {describe(scores)}")
    dtype = jnp.promote_types(scores.dtype, joint.dtype)
    joint = joint.astype(dtype) / jnp.sum(joint).astype(dtype)
    marginal = jnp.sum(joint, axis=1)
    return scores.astype(dtype), joint, marginal[:, None] * marginal[None, :]
