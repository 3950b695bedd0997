"""A world of colored shapes, seen as images and told in captions that say less or more of it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from jaxalign._core.checks import check_integer
from jaxalign._core.keys import as_key
from jaxalign._core.typing import Array, Bool, Float, Int

SHAPES = ("square", "disc", "cross", "bar")
COLORS = ("red", "green", "blue", "yellow", "cyan", "magenta")
SIZES = ("small", "large")
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")
#: Cells of an image across and down, pixels of a cell, most objects of a scene.
CELLS, PIXELS, MOST = 3, 6, 3
SIDE = CELLS * PIXELS
#: How much captions say: shapes; colors too; places too; sizes too.
DENSITIES = (1, 2, 3, 4)

_OTHER_WORDS = {
    "square": "box", "disc": "ball", "cross": "plus", "bar": "stick",
    "red": "scarlet", "green": "lime", "blue": "navy", "yellow": "gold", "cyan": "teal", "magenta": "pink",
    "small": "little", "large": "big",
    "top": "upper", "middle": "mid", "bottom": "lower",
    "left": "west", "center": "inner", "right": "east",
}  # fmt: skip
_PADDING, _START, _END, _AND = "<pad>", "<start>", "<end>", "and"
#: Every word that captions have; a token is a place here, 0 is padding.
VOCABULARY = (_PADDING, _START, _END, _AND, *_OTHER_WORDS, *_OTHER_WORDS.values())
_TOKENS = {word: token for token, word in enumerate(VOCABULARY)}
#: Tokens of the longest caption: start, three objects of five words, two "and", end.
LENGTH = 1 + 5 * MOST + (MOST - 1) + 1

_RGB = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]], np.float32)


#: Themes of scenes, and how different they are unless said.
THEMES, STRUCTURE = 8, 2.0
_WORLD = 2024  # what themes prefer is the same in all scenes


class Scenes(NamedTuple):
    """What there is to see, object by object; no two objects of a scene are in one cell.

    Attributes:
      theme: of each scene, `(n,)`, which neither images nor captions tell but by what there is.
      objects: how many each scene has, `(n,)`, from 1 to 3.
      shape: `(n, 3)`, places in `SHAPES`; as all that follows meaningless for objects that there are not.
      color: `(n, 3)`, in `COLORS`.
      size: `(n, 3)`, in `SIZES`.
      cell: `(n, 3)`, row times 3 plus column.
    """

    theme: Int[np.ndarray, "n"]
    objects: Int[np.ndarray, "n"]
    shape: Int[np.ndarray, "n 3"]
    color: Int[np.ndarray, "n 3"]
    size: Int[np.ndarray, "n 3"]
    cell: Int[np.ndarray, "n 3"]


def make_scenes(n: int, *, key: Array | int, structure: float = STRUCTURE) -> Scenes:
    """Draw scenes of one to three objects, of which a theme of the scene prefers some.

    Themes are what there is to know of this world: who has seen a red bar at the top knows what else to expect. In a
    world without, shapes, colors, sizes and places are independent of one another, and nothing can be learned of it but
    how it is told or lit.

    Args:
      n: how many.
      key: for all of it.
      structure: how much themes prefer: logits are this times normal numbers; with 0 all is equally likely.

    Raises:
      ValueError: for fewer than one, and a negative structure.
      TypeError: for a number that is no integer.

    Example:
      >>> make_scenes(4, key=0).cell.shape
      (4, 3)
    """
    check_integer("make_scenes", "n", n, minimum=1)
    if not structure >= 0:
        raise ValueError(f"make_scenes: structure must be at least 0, got {structure}")
    rng, world = _generator("make_scenes", key), np.random.default_rng(_WORLD)
    theme = rng.integers(THEMES, size=n)

    def drawn(kinds: int, *, different: bool = False) -> np.ndarray:
        logits = structure * world.standard_normal((THEMES, kinds))[theme]
        # The largest of logits with Gumbel noise are a draw; the next ones a draw without replacement.
        noisy = logits[:, None] + rng.gumbel(size=(n, 1 if different else MOST, kinds))
        return np.argsort(-noisy[:, 0], axis=1)[:, :MOST] if different else noisy.argmax(axis=2)

    return Scenes(
        theme=theme,
        objects=rng.integers(1, MOST + 1, n),
        shape=drawn(len(SHAPES)),
        color=drawn(len(COLORS)),
        size=drawn(len(SIZES)),
        cell=drawn(CELLS * CELLS, different=True),
    )


def render(scenes: Scenes, *, key: Array | int) -> Float[np.ndarray, "n 18 18 3"]:
    """Images of scenes, 18 by 18 pixels, with what no caption says: where in its cell an object is, light and grain.

    Args:
      scenes: of `make_scenes`.
      key: for place, light and grain.

    Returns:
      Float32, about from 0 to 1: objects on black.

    Example:
      >>> render(make_scenes(4, key=0), key=1).shape
      (4, 18, 18, 3)
    """
    rng = _generator("render", key)
    n = len(scenes.objects)
    images = np.zeros((n, SIDE, SIDE, 3), np.float32)
    moved = rng.integers(0, 2, size=(n, MOST, 2))
    for i in range(n):
        for j in range(scenes.objects[i]):
            row, column = np.divmod(scenes.cell[i, j], CELLS) * np.array(PIXELS) + moved[i, j]
            mask = _mask(int(scenes.shape[i, j]), int(scenes.size[i, j]))
            images[i, row : row + PIXELS - 1, column : column + PIXELS - 1][mask] = _RGB[scenes.color[i, j]]
    light = rng.uniform(0.7, 1.0, size=(n, 1, 1, 1))
    return (images * light + 0.05 * rng.standard_normal(images.shape)).astype(np.float32)


def captions(
    scenes: Scenes, *, density: int, key: Array | int
) -> tuple[Int[np.ndarray, "n 19"], Bool[np.ndarray, "n 19"]]:
    """Captions of scenes as tokens, with what no image shows: the order of objects, and which of two words is taken.

    Args:
      scenes: of `make_scenes`.
      density: 1: the shapes of objects; 2: their colors too; 3: and where they are; 4: and how large.
      key: for order and words.

    Returns:
      Tokens, places in `VOCABULARY`, int32, and which are no padding.

    Raises:
      ValueError: for another density.

    Example:
      >>> tokens, mask = captions(make_scenes(4, key=0), density=2, key=1)
      >>> tokens.shape, VOCABULARY[tokens[0, 0]]
      ((4, 19), '<start>')
    """
    check_integer("captions", "density", density, minimum=1)
    if density > DENSITIES[-1]:
        raise ValueError(f"captions: density must be at most {DENSITIES[-1]}, got {density}")
    rng = _generator("captions", key)
    tokens = np.zeros((len(scenes.objects), LENGTH), np.int32)
    for i, count in enumerate(scenes.objects):
        words = [_START]
        for place, j in enumerate(rng.permutation(count)):
            words += ([_AND] if place else []) + _words(scenes, i, int(j), density)
        words = [_OTHER_WORDS.get(word, word) if rng.random() < 0.5 else word for word in [*words, _END]]
        tokens[i, : len(words)] = [_TOKENS[word] for word in words]
    return tokens, tokens > 0


def _words(scenes: Scenes, i: int, j: int, density: int) -> list[str]:
    row, column = divmod(int(scenes.cell[i, j]), CELLS)
    words = [SIZES[scenes.size[i, j]]] if density > 3 else []
    words += [COLORS[scenes.color[i, j]]] if density > 1 else []
    words.append(SHAPES[scenes.shape[i, j]])
    return words + ([ROWS[row], COLUMNS[column]] if density > 2 else [])


def _mask(shape: int, size: int) -> Bool[np.ndarray, "5 5"]:
    """Which of the pixels of a cell are an object's."""
    across, down = np.meshgrid(np.arange(PIXELS - 1) - 2, np.arange(PIXELS - 1) - 2)
    reach = 1 + size
    inside = (abs(across) <= reach) & (abs(down) <= reach)
    return {
        "square": inside,
        "disc": inside & (across**2 + down**2 <= reach**2),
        "cross": inside & ((across == down) | (across == -down)),
        "bar": inside & (down == 0),
    }[SHAPES[shape]]


def _generator(function: str, key: Array | int) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(as_key(function, key))).astype(np.uint32))
