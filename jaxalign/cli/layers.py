"""`jaxalign layers`: what layers a model has, or a file holds."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign import features
from jaxalign.cli.console import results
from jaxalign.cli.errors import Problem, bad_input
from jaxalign.features.files import SUFFIXES
from jaxalign.features.intermediates import matching
from jaxalign.features.runners import as_runner
from jaxalign.report.tables import add_row, plain_table

#: Name -> shape and type.
Listed = dict[str, tuple[tuple[int, ...], str]]


@dataclass(frozen=True)
class Request:
    """What `jaxalign layers --help` describes."""

    model: str
    patterns: tuple[str, ...] = ()
    shape: str | None = None
    tokens: str | None = None
    as_json: bool = False


def run_layers(request: Request) -> None:
    """Find the model, and print its layers.

    Raises:
      Problem: with the exit status, for whatever can be said in a sentence.
    """
    path = Path(request.model)
    patterns = list(request.patterns) or "*"
    if path.exists() and not (path / "config.json").is_file():
        layers, facts = _of_file(request, path, patterns)
    else:
        if not path.exists() and path.suffix.lower() in SUFFIXES:
            raise Problem(f"{path}: no such file or folder")
        x = _input(request)
        if path.exists():
            model = _hugging_face(path)
            x = {model.main_input_name: x}  # hidden states come with inputs by name
        else:
            model = _imported(request.model)
        layers, facts = _of_model(request.model, model, x, patterns)
    if request.as_json:
        listed = {name: {"shape": list(shape), "dtype": dtype} for name, (shape, dtype) in layers.items()}
        print(json.dumps({"layers": listed, "facts": facts}))
        return
    table = plain_table("layer", "shape", "type", numbers=("shape",))
    for name, (shape, dtype) in layers.items():
        add_row(table, name, " x ".join(map(str, shape)), dtype)
    results().print(table)
    if facts:
        print("\n" + ", ".join(f"{name} {value}" for name, value in facts.items()))


def _of_model(name: str, model: Any, x: Any, patterns: Any) -> tuple[Listed, dict[str, Any]]:
    try:
        return features.list_layers(model, x, layers=patterns), as_runner("list_layers", model).facts
    except Exception as error:  # the model is somebody's own, and may fail in any way
        said = str(error).partition("\n")[0]
        reason = said if said.startswith("list_layers: ") else f"fails on such an input: {type(error).__name__}: {said}"
        raise Problem(f"{name}: {reason}") from error


def _of_file(request: Request, path: Path, patterns: Any) -> tuple[Listed, dict[str, Any]]:
    if request.shape is not None or request.tokens is not None:
        raise Problem(f"{path}: is a file of layers: --input and --tokens are for models")
    with bad_input():
        found = features.load(path)
        names = matching("list_layers", found, patterns)
    return {name: (found[name].shape, str(found[name].dtype)) for name in names}, dict(found.facts)


def _imported(text: str) -> Any:
    """A model by `MODULE:NAME`, made if it is a function that makes one."""
    module, colon, name = text.partition(":")
    if not colon or not module or not name:
        raise Problem(f"{text}: no such file; a model is MODULE:NAME, a file one of {', '.join(SUFFIXES)} or a folder")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise Problem(f"{module}: cannot be imported: {error}") from error
        raise Problem(f"{module}: no such module in {os.getcwd()} or among what is installed") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise Problem(f"{module}: has no {name!r}")
        found = getattr(found, part)
    return _made(found)


def _made(found: Any) -> Any:
    """What a class or a function without arguments makes, and everything else as it is."""
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        return found
    needed = [
        p.name
        for p in inspect.signature(found.__init__ if inspect.isclass(found) else found).parameters.values()
        if p.name != "self" and p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if not needed:
        try:
            return found()
        except Exception as error:  # somebody's own, as models are
            said = str(error).partition("\n")[0]
            raise Problem(f"{found.__qualname__}: fails to make a model: {type(error).__name__}: {said}") from error
    if inspect.isclass(found):
        raise Problem(
            f"{found.__qualname__}: needs {', '.join(needed)}; name a function that makes one without arguments"
        )
    return found  # a model that is a function of arrays


def _hugging_face(path: Path) -> Any:
    """A model out of a folder, with its weights if there are any; nothing is fetched."""
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError as error:
        raise Problem(f"{path}: needs the packages transformers and torch ({error})") from None
    try:
        if any(path.glob("*.safetensors")) or any(path.glob("pytorch_model*.bin")):
            return AutoModel.from_pretrained(path, local_files_only=True)
        return AutoModel.from_config(AutoConfig.from_pretrained(path, local_files_only=True))
    except (OSError, ValueError, KeyError) as error:
        raise Problem(f"{path}: {error}") from None


def _input(request: Request) -> Any:
    """One batch of zeros."""
    if (request.shape is None) == (request.tokens is None):
        raise Problem("a model needs --input SHAPE or --tokens SHAPE, one of the two")
    option, text = ("--input", request.shape) if request.shape is not None else ("--tokens", request.tokens)
    try:
        shape = tuple(int(size) for size in str(text).replace("x", ",").split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise Problem(f"{option} must be sizes of at least 1, as 1,28,28,1, got {text!r}")
    return np.zeros(shape, np.float32 if request.tokens is None else np.int32)
