"""Colors that are near one another in photographs: is their co-occurrence the geometry of perceived color?"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign._core.checks import check_integer, check_positive
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array, Float
from jaxalign.inference import permutation_test
from jaxalign.measures import mutual_knn as mutual_knn_measure
from jaxalign.measures import rsa as rsa_measure
from jaxalign.studies.contrastive import contrastive_embedding
from jaxalign.studies.cooccurrence import cooccurrence, pmi_embedding, pmi_kernel, psd_shift

#: The photographs of `sklearn.datasets.load_sample_images`, in its order.
PHOTOGRAPHS = ("china", "flower")
_SAMPLED = 20_000  # pixels of each photograph that clusters are made from
_SEEDS = 2**31 - 1
#: Linear sRGB to XYZ, its white D65 and the CIE's constants: IEC 61966-2-1 and CIE 15.
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_CUBE, _SLOPE = 216 / 24389, 24389 / 27


def srgb_to_cielab(colors: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    r"""Colors of screens in a space where distances are about as large as they look, for the white D65.

    $$L^* = 116 f(Y) - 16,\quad a^* = 500\,(f(X) - f(Y)),\quad b^* = 200\,(f(Y) - f(Z))$$

    with $X, Y, Z$ in units of those of white, and f the cube root, linear near black.

    Args:
      colors: red, green and blue, along the last axis, in `[0, 1]`.

    Returns:
      L* in `[0, 100]`, a* and b*, float64.

    Raises:
      ValueError: for values out of range and another number of channels.

    Example:
      >>> srgb_to_cielab(np.array([1.0, 0.0, 0.0])).round(1).tolist()
      [53.2, 80.1, 67.2]

    Reference:
      IEC 61966-2-1 for sRGB; CIE 15:2004 for CIELAB.
    """
    colors = np.asarray(colors, float)
    if colors.ndim == 0 or colors.shape[-1] != 3:
        raise ValueError(f"srgb_to_cielab: colors must have 3 channels on the last axis, got shape {colors.shape}")
    if not ((colors >= 0) & (colors <= 1)).all():
        raise ValueError(f"srgb_to_cielab: colors must be in [0, 1], got {colors.min():g} to {colors.max():g}")
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    relative = linear @ (_TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)).T
    bent = np.where(relative > _CUBE, np.cbrt(relative), (_SLOPE * relative + 16) / 116)
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def color_study(
    key: Array | int = 0,
    *,
    colors: int = 64,
    reach: float = 4.0,
    smoothing: float = 0.5,
    dim: int = 8,
    steps: int = 2000,
    neighbors: int = 5,
    permutations: int = 999,
) -> dict[str, np.ndarray]:
    """Embeddings of colors from co-occurrence in two photographs against CIELAB, with shuffled pixels for control.

    Colors are centers of k-means in RGB, one set for both photographs, of 20 000 pixels of each. Pairs are of pixels of
    one photograph within the reach, none with itself; both photographs together are the sum of their counts. Colors
    that a photograph does not have are left out of it. The embedding `"closed"` is that of the PMI kernel, less its
    mean, by eigenvectors; `"nce"` and `"infonce"` are learned. All have the same dimension, and counts smoothed alike.
    Distances are Euclidean. No embedding is told what a color looks like; but photographs are smooth and noisy, so that
    colors that are close in RGB meet where one cluster passes into the next.

    Args:
      key: for clusters, initial vectors, shuffled pixels and permutations.
      colors: how many.
      reach: of co-occurrence, in pixels.
      smoothing: of counts.
      dim: of embeddings.
      steps: of training.
      neighbors: of mutual k-nearest neighbors.
      permutations: for p-values.

    Returns:
      By name, for each of `both`, `china`, `flower`, `shuffled` (each photograph's pixels in random order, so that only
      which colors are in the same photograph is left) and `mixed` (pixels of both in random order):

      - `colors/...` red, green and blue, `(c, 3)`, and `lab/...`; `kernel/...` the PMI `(c, c)`; `shift/...` what must
        be added to it to be positive semi-definite;
      - `closed/...`, `nce/...`, `infonce/...` embeddings, `(c, dim)`;
      - `scores/...` rows closed form, NCE, InfoNCE and RGB; columns Spearman's correlation of distances with those in
        CIELAB, its p-value, the share of nearest neighbors in common, and its p-value.

    Raises:
      ValueError, TypeError: for settings out of range.
      ImportError: without scikit-learn or Pillow.

    Reference:
      Huh et al. (2024), arXiv:2405.07987, figure 8, with other photographs; colors as in Abdou et al. (2021).
    """
    name = "color_study"
    check_integer(name, "colors", colors, minimum=8)
    check_positive(name, "reach", reach)
    check_positive(name, "smoothing", smoothing)
    check_integer(name, "neighbors", neighbors, minimum=1)
    of_clusters, of_shuffling, of_training, of_tests = jax.random.split(as_key(name, key), 4)
    centers, images = _quantized(_photographs(), colors, int(jax.random.randint(of_clusters, (), 0, _SEEDS)))
    rng = np.random.default_rng(int(jax.random.randint(of_shuffling, (), 0, _SEEDS)))
    shuffled = [rng.permutation(image.ravel()).reshape(image.shape) for image in images]
    mixed = rng.permutation(np.concatenate([image.ravel() for image in images]))
    mixed = [part.reshape(image.shape) for part, image in zip(np.split(mixed, [images[0].size]), images, strict=True)]
    counts, apart, together = (
        [np.asarray(cooccurrence(jnp.asarray(image), reach=reach, size=colors)) for image in these]
        for these in (images, shuffled, mixed)
    )
    worlds = {"both": sum(counts), **dict(zip(PHOTOGRAPHS, counts, strict=True))}
    worlds |= {"shuffled": sum(apart), "mixed": sum(together)}
    found: dict[str, Any] = {}
    for world, count in worlds.items():
        there = np.flatnonzero(np.sum(count, axis=1))
        joint = jnp.asarray(np.asarray(count)[np.ix_(there, there)] + smoothing)
        kernel = pmi_kernel(joint)
        shift = psd_shift(kernel)
        shown = centers[there]
        lab = srgb_to_cielab(shown).astype(np.float32)
        train = {loss: contrastive_embedding(joint, dim, loss=loss, steps=steps, key=of_training) for loss in _LEARNED}
        embeddings = {
            "closed": pmi_embedding(kernel - jnp.mean(kernel), min(dim, len(there))),
            **{loss: fit.embedding for loss, fit in train.items()},
        }
        tests = partial(_scores, lab=lab, size=(colors, max(dim, 3)), permutations=permutations, key=of_tests)
        scores = [tests(np.asarray(x), k=min(neighbors, len(there) - 1)) for x in (*embeddings.values(), shown)]
        parts = {"colors": shown, "lab": lab, "kernel": kernel, "shift": shift, **embeddings, "scores": scores}
        found |= {f"{part}/{world}": np.asarray(value) for part, value in parts.items()}
    return found


_LEARNED = ("nce", "infonce")


def _scores(
    x: np.ndarray, *, lab: np.ndarray, size: tuple[int, int], k: int, permutations: int, key: Array
) -> list[float]:
    """Agreement of distances and of neighbors, each with its p-value; all of one size, which compiles once."""
    rows, columns = size
    mask = jnp.arange(rows) < len(x)
    one = jnp.pad(jnp.asarray(x, jnp.float32), ((0, rows - len(x)), (0, columns - x.shape[1])))
    other = jnp.pad(jnp.asarray(lab), ((0, rows - len(lab)), (0, 0)))
    found: list[float] = []
    for measure in (rsa_measure(metric="euclidean"), mutual_knn_measure(k=k, metric="euclidean")):
        test = permutation_test(measure, one, other, permutations=permutations, key=key, mask=mask)
        found += [float(test.statistic), float(test.pvalue)]
    return found


def _photographs() -> list[np.ndarray]:
    """Two, `(height, width, 3)`, in `[0, 1]`."""
    try:
        from sklearn.datasets import load_sample_images

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Pillow, as scikit-learn calls it
            return [np.asarray(image, np.float64) / 255 for image in load_sample_images().images]
    except ImportError as error:
        message = 'color_study needs scikit-learn and Pillow; install them with: pip install "jaxalign[demo]" pillow'
        raise ImportError(message) from error


def _quantized(images: list[np.ndarray], colors: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Centers of clusters of the colors of all images, `(c, 3)`, and of each image the index of the nearest one."""
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(seed)
    pixels = np.vstack([rng.permutation(image.reshape(-1, 3))[:_SAMPLED] for image in images])
    clusters = KMeans(colors, n_init="auto", random_state=seed).fit(pixels)
    nearest = [np.asarray(clusters.predict(image.reshape(-1, 3)), np.int32) for image in images]
    indices = [index.reshape(image.shape[:2]) for index, image in zip(nearest, images, strict=True)]
    return np.clip(clusters.cluster_centers_, 0, 1), indices
