"""All models of one width on one task, and how far every two of them are apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import check_distinct, check_integer
from jaxalign._core.numerics import matmul
from jaxalign._core.typing import Array, Float
from jaxalign.studies.model_pairs import ModelPairs, compare_models
from jaxalign.studies.wedge_models import EPOCHS, train_wedge_models
from jaxalign.studies.wedges import make_wedges

SEEDS = tuple(range(20))
#: Models that are right less often on points held out are left out, as in the paper.
LEAST_ACCURACY = 0.9


@dataclass(frozen=True, eq=False)
class WidthSetting:
    """All models of one width on one task, and every pair of them.

    Attributes:
      classes: number of labels.
      width: hidden units of a layer.
      epochs: passes over the points.
      seeds: of the models, shape `(s,)`.
      accuracy: on points held out, shape `(s,)`.
      nll: mean negative log-likelihood of their labels, nats, shape `(s,)`.
      orders: of labels around the circle, shape `(s, c)`.
      pairs: of all models, those of low accuracy too.
    """

    classes: int
    width: int
    epochs: int
    seeds: np.ndarray
    accuracy: np.ndarray
    nll: np.ndarray
    orders: np.ndarray
    pairs: ModelPairs

    @property
    def kept(self) -> np.ndarray:
        """Which models are accurate enough to be compared, shape `(s,)`, booleans."""
        return self.accuracy > LEAST_ACCURACY

    @property
    def natural(self) -> np.ndarray:
        """Of which models labels lie around the circle in the order of the wedges, shape `(s,)`, booleans."""
        return (self.orders == np.arange(self.classes)[None, :]).all(axis=1)

    def summary(self) -> dict[str, Any]:
        """One row of the table of the study, over the pairs of models that were kept.

        For each of `llv`, `d_fg`, `cca_f` and `kl`: mean, standard deviation, median, and the medians of pairs of the
        same and of another order of labels. None where there is no such pair.
        """
        pairs = self.pairs.among(self.kept)
        assert pairs.same_order is not None
        row: dict[str, Any] = {
            "classes": self.classes,
            "width": self.width,
            "models": len(self.seeds),
            "kept": int(self.kept.sum()),
            "natural": int((self.natural & self.kept).sum()),
            "pairs": len(pairs),
            "pairs_same_order": int(pairs.same_order.sum()),
        }
        for name in ("llv", "d_fg", "cca_f", "kl"):
            values = getattr(pairs, name)
            row |= {
                name: _over(np.mean, values),
                f"{name}_std": _over(np.std, values),
                f"{name}_median": _over(np.median, values),
                f"{name}_same_order": _over(np.median, values[pairs.same_order]),
                f"{name}_other_order": _over(np.median, values[~pairs.same_order]),
            }
        return row


def _over(reduce: Callable[[np.ndarray], Any], values: np.ndarray) -> float | None:
    return float(reduce(values)) if len(values) else None


def width_setting(
    classes: int,
    width: int,
    *,
    seeds: Sequence[int] = SEEDS,
    epochs: int = EPOCHS,
    progress: Callable[[str], None] | None = None,
) -> WidthSetting:
    """Train all models of one width on one task, and compare every two of them on the points held out.

    Distances are in the precision of JAX: in 64 bits where `jax_enable_x64` is on. In 32 bits dissimilarities below
    about 1e-6 are rounding.

    Args:
      classes: number of labels, at least 4: of three no label can be left out.
      width: hidden units of each layer.
      seeds: of initial weights, at least two.
      epochs: passes over the points.
      progress: called with a line of text after each pass.

    Returns:
      Models and pairs.

    Raises:
      ValueError: for fewer than 4 classes or two seeds.
      TypeError: for numbers that are not integers.

    Example:
      >>> setting = width_setting(4, 8, seeds=[0, 1, 2], epochs=1)
      >>> len(setting.pairs), setting.orders.shape
      (3, (3, 4))

    Reference:
      Nielsen et al. (2025), arXiv:2506.03784, section 5; the order of labels was found for this project.
    """
    check_integer("width_setting", "classes", classes, minimum=4)
    check_distinct("width_setting", "seeds", seeds, partial(check_integer, minimum=0))
    if len(seeds) < 2:
        raise ValueError(f"width_setting: seeds must be at least two, got {seeds!r}")
    models = train_wedge_models(make_wedges(classes), width=width, seeds=seeds, epochs=epochs, progress=progress)
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    pairs, orders = compare_models(_logits(models.f.astype(dtype), models.g.astype(dtype)), m=2, key=0)
    assert orders is not None
    return WidthSetting(int(classes), int(width), int(epochs), models.seeds, models.accuracy, models.nll, orders, pairs)


def _logits(f: np.ndarray, g: np.ndarray) -> Float[Array, "s n c"]:
    return jax.vmap(matmul)(jnp.asarray(f), jnp.asarray(g).transpose(0, 2, 1))
