"""What may stand in a list of layers beside them: residual blocks, means over tokens, functions with a constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxalign._core.checks import check_integer, describe


@dataclass(frozen=True)
class Residual:
    """A block `x + branch(x)`."""

    branch: tuple[Any, ...]


@dataclass(frozen=True)
class MeanPool:
    """The mean over tokens, or over the positions of a feature map."""

    tokens: int | None


@dataclass(frozen=True)
class Given:
    """A function and its constant."""

    function: Callable[..., Any]
    constant: float


def residual(*branch: Any) -> Residual:
    """A block `x + branch(x)` in a list of layers, of constant `1 + k` with `k` that of the branch.

    Args:
      branch: its layers, as in `lipschitz_bound`.

    Returns:
      What `lipschitz_bound` takes for a layer.

    Raises:
      ValueError: for no layers.

    Example:
      >>> from jaxalign.stitching.lipschitz import lipschitz_bound
      >>> float(lipschitz_bound([residual("relu")]))
      2.0
    """
    if not branch:
        raise ValueError("residual: branch must have at least one layer, got none")
    return Residual(tuple(branch))


def mean_pool(tokens: int | None = None) -> MeanPool:
    r"""The mean over all axes but the examples and the features, of constant $1 / \sqrt T$ for `T` tokens.

    Args:
      tokens: `T`, at least 1; for feature maps the number of positions. None where `input_shape` tells. The string
        "mean_pool" stands for that, too.

    Returns:
      What `lipschitz_bound` takes for a layer.

    Raises:
      ValueError, TypeError: for anything else than a whole number of at least 1.

    Example:
      >>> from jaxalign.stitching.lipschitz import lipschitz_bound
      >>> float(lipschitz_bound([mean_pool(16)])) - 0.25 < 1e-6
      True
    """
    if tokens is not None:
        check_integer("mean_pool", "tokens", tokens, minimum=1)
    return MeanPool(None if tokens is None else int(tokens))


def given(function: Callable[..., Any], constant: float) -> Given:
    """A function with a Lipschitz constant that you know, as a layer. The constant is taken as it is.

    Args:
      function: takes activations, examples first; it tells the shapes that follow, and is not looked into.
      constant: from l2 to l2, of one flattened example to one; 0 or more.

    Returns:
      What `lipschitz_bound` takes for a layer.

    Raises:
      ValueError: for a negative constant, or NaN.
      TypeError: for what cannot be called, or a constant that is no number.

    Example:
      >>> from jaxalign.stitching.lipschitz import lipschitz_bound
      >>> float(lipschitz_bound([given(lambda x: 3 * x, 3.0), "relu"]))
      3.0
    """
    if not callable(function):
        raise TypeError(f"given: function must be a function, got {describe(function)}")
    return Given(function, checked_constant("given", "constant", constant))


def checked_constant(function: str, argument: str, value: Any) -> float:
    """A number of at least 0.

    Raises:
      ValueError, TypeError: for anything else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{function}: {argument} must be a number, got {describe(value)}") from error
    if isinstance(value, bool):
        raise TypeError(f"{function}: {argument} must be a number, got {describe(value)}")
    if not number >= 0:
        raise ValueError(f"{function}: {argument} must be at least 0, got {value}")
    return number
