"""The floors of the package hold: who may import whom, what, and how long a file may be.

Imports are read from the source with `ast`, so a function-level import counts as much as
one at the top, and nothing has to be installed or to run. The last tests feed the rules
sources that break them, and fail if a rule has stopped looking.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "jaxalign"
ROOT = Path(__file__).resolve().parents[1] / PACKAGE

#: Top-level folder or file -> (floor, step). A file imports from smaller pairs and from its own
#: folder; parts with the same pair do not know one another. New parts are entered here.
FLOORS: dict[str, tuple[int, int]] = {
    "_core": (0, 0),
    "preprocess": (1, 0),
    "kernels": (2, 0),
    "engines": (2, 1),
    "signatures": (2, 2),
    "alignment": (3, 0),
    "stitching": (3, 1),
    "task": (3, 1),
    "identifiability": (3, 1),
    "losses": (4, 0),
    "measures": (4, 0),
    "streaming": (4, 0),
    "inference": (5, 0),
    "comparison": (5, 1),
    "features": (5, 1),
    "dynamics": (5, 2),
    "studies": (6, 0),
    "report": (6, 0),
    "cli": (7, 0),
}
#: Not on any floor: `__init__` imports everything, `_version` nothing.
OUTSIDE = {"", "_version"}

#: What a file may import at module level besides the standard library.
CORE_PACKAGES = {PACKAGE, "jax", "flax", "optax", "numpy", "chex"}
#: The same, inside a `try` that provides for its absence.
TRIED_PACKAGES = {"jaxtyping"}
CLI_PACKAGES = {"typer", "rich"}

LINE_LIMIT = 400
VAGUE_NAMES = {"utils.py", "util.py", "helpers.py", "helper.py"}


@dataclass(frozen=True)
class Import:
    """One imported module, and where the statement stands."""

    module: str
    line: int
    at_module_level: bool
    tried: bool


@dataclass(frozen=True)
class Module:
    """A parsed file: its path below the package and its dotted name."""

    path: str
    tree: ast.Module
    lines: int

    @property
    def name(self) -> str:
        parts = [PACKAGE, *self.path.removesuffix(".py").split("/")]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def part(self) -> str:
        return part_of(self.name)


def parse(path: str, source: str) -> Module:
    return Module(path, ast.parse(source, path), len(source.splitlines()))


def part_of(module: str) -> str:
    """`jaxalign.kernels.radial` -> `kernels`; the package itself is the empty string."""
    return module.split(".")[1] if "." in module else ""


def inside(module: str) -> bool:
    return module == PACKAGE or module.startswith(PACKAGE + ".")


def imports(module: Module, known: set[str]) -> Iterator[Import]:
    """Every import of a file; `from a import b` means `a.b` where that is a module in `known`."""
    yield from _walk(module, module.tree, known, at_module_level=True, tried=False)


def _walk(module: Module, node: ast.AST, known: set[str], *, at_module_level: bool, tried: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, at_module_level, tried)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(module, child)
            for alias in child.names:
                full = f"{base}.{alias.name}"
                yield Import(full if full in known else base, child.lineno, at_module_level, tried)
        else:
            in_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for_types = isinstance(child, ast.If) and ast.unparse(child.test).split(".")[-1] == "TYPE_CHECKING"
            yield from _walk(
                module,
                child,
                known,
                at_module_level=at_module_level and not in_function and not for_types,
                tried=tried or isinstance(child, ast.Try),
            )


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    """The module that a `from` statement names, relative ones resolved."""
    if not node.level:
        return node.module or ""
    package = module.name.split(".")
    package = package if module.path.endswith("__init__.py") else package[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


# The rules. Each takes all files and returns one sentence for every break.


def floor_breaks(modules: list[Module]) -> list[str]:
    known, breaks = {m.name for m in modules}, []
    for m in modules:
        if m.part in OUTSIDE:
            continue
        if m.part not in FLOORS:
            breaks.append(f"{m.path}: no floor is given for {m.part!r} in FLOORS")
            continue
        for i in imports(m, known):
            target = part_of(i.module)
            if not inside(i.module) or target in {m.part, "_version"}:
                continue
            if target == "":
                breaks.append(f"{m.path}:{i.line}: imports the package root; import from the file that defines it")
            elif target not in FLOORS or FLOORS[target] >= FLOORS[m.part]:
                breaks.append(f"{m.path}:{i.line}: {m.part} may not import {i.module}")
    return list(dict.fromkeys(breaks))


def foreign_breaks(modules: list[Module]) -> list[str]:
    known, breaks = {m.name for m in modules}, []
    for m in modules:
        allowed = CORE_PACKAGES | (CLI_PACKAGES if m.part == "cli" else set())
        for i in imports(m, known):
            top = i.module.split(".")[0]
            optional = top not in allowed | sys.stdlib_module_names
            if i.at_module_level and optional and not (i.tried and top in TRIED_PACKAGES):
                breaks.append(f"{m.path}:{i.line}: {top} is optional; import it inside the function that needs it")
    return list(dict.fromkeys(breaks))


def private_breaks(modules: list[Module]) -> list[str]:
    known, breaks = {m.name for m in modules}, []
    for m in modules:
        named = [(i.module, i.line) for i in imports(m, known)]
        for node in ast.walk(m.tree):
            if isinstance(node, ast.Attribute):
                named.append((ast.unparse(node), node.lineno))
            elif isinstance(node, ast.ImportFrom) and not node.level:
                named += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
        for dotted, line in named:
            first, *rest = dotted.split(".")
            private = [r for r in rest if r.startswith("_") and not r.startswith("__")]
            if private and first in {"jax", "jnp", "jaxlib", "flax", "optax"}:
                breaks.append(f"{m.path}:{line}: {private[0]} of {first} is private")
    return sorted(set(breaks))


def pytree_breaks(modules: list[Module]) -> list[str]:
    """Classes of `register_dataclass` can be mistaken for one another, see `pytree_dataclass`."""
    return [
        f"{m.path}:{node.lineno}: use pytree_dataclass"
        for m in modules
        for node in ast.walk(m.tree)
        if isinstance(node, ast.Attribute) and node.attr == "register_dataclass"
    ]


def shape_breaks(modules: list[Module]) -> list[str]:
    breaks = [f"{m.path}: {m.lines} lines, over {LINE_LIMIT}" for m in modules if m.lines > LINE_LIMIT]
    return breaks + [f"{m.path}: name the subject" for m in modules if m.path.split("/")[-1] in VAGUE_NAMES]


def cycle_breaks(modules: list[Module]) -> list[str]:
    """Modules that import themselves through others, at whatever level the imports stand."""
    known = {m.name for m in modules}
    edges = {m.name: sorted({i.module for i in imports(m, known)} & known) for m in modules}
    breaks, done = [], set()

    def visit(name: str, trail: list[str]) -> None:
        if name in trail:
            breaks.append(" -> ".join([*trail[trail.index(name) :], name]))
        elif name not in done:
            for target in edges[name]:
                visit(target, [*trail, name])
            done.add(name)

    for name in edges:
        visit(name, [])
    return breaks


RULES = [floor_breaks, foreign_breaks, private_breaks, pytree_breaks, shape_breaks, cycle_breaks]


@pytest.fixture(scope="module")
def package() -> list[Module]:
    files = sorted(ROOT.rglob("*.py"))
    assert files, f"no files under {ROOT}"
    return [parse(f.relative_to(ROOT).as_posix(), f.read_text(encoding="utf-8")) for f in files]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(package, rule):
    breaks = rule(package)
    assert not breaks, "\n" + "\n".join(breaks)


def test_every_file_is_read(package):
    assert {"_core/numerics.py", "_core/checks.py", "_version.py"} <= {m.path for m in package}
    numerics = next(m for m in package if m.path == "_core/numerics.py")
    names = {m.name for m in package}
    assert {i.module for i in imports(numerics, names)} >= {"jax", "jax.numpy", "jaxalign._core.typing"}


BROKEN = {
    "a class whose structure is another's": (
        pytree_breaks,
        {"kernels/a.py": "import jax\n@jax.tree_util.register_dataclass\nclass A: ..."},
    ),
    "a higher floor": (floor_breaks, {"kernels/a.py": "from jaxalign.alignment.kernel import cka"}),
    "a higher floor, in a function": (floor_breaks, {"_core/a.py": "def f():\n    import jaxalign.cli"}),
    "a higher floor, relative": (floor_breaks, {"kernels/a.py": "from ..measures import Measure"}),
    "a later step of the same floor": (floor_breaks, {"kernels/a.py": "from jaxalign.signatures import gram"}),
    "a sibling": (floor_breaks, {"stitching/a.py": "from jaxalign.task.kare import kare"}),
    "a sibling through the root": (
        floor_breaks,
        {"stitching/a.py": "from jaxalign import task", "task/__init__.py": ""},
    ),
    "the root": (floor_breaks, {"cli/a.py": "import jaxalign as ja"}),
    "a part without a floor": (floor_breaks, {"extras/a.py": "import jax"}),
    "an optional package on top": (foreign_breaks, {"features/a.py": "import torch"}),
    "an optional package, tried": (
        foreign_breaks,
        {"features/a.py": "try:\n    import torch\nexcept OSError: ..."},
    ),
    "an optional package in a class": (foreign_breaks, {"report/a.py": "class A:\n    from pandas import DataFrame"}),
    "the cli's packages elsewhere": (foreign_breaks, {"report/a.py": "from rich.table import Table"}),
    "untried jaxtyping": (foreign_breaks, {"_core/a.py": "from jaxtyping import Float"}),
    "jax internals": (private_breaks, {"_core/a.py": "from jax._src import core"}),
    "jax internals by attribute": (private_breaks, {"_core/a.py": "import jax\nx = jax._src.core"}),
    "jax.numpy internals": (private_breaks, {"_core/a.py": "from jax.numpy import _array"}),
    "a long file": (shape_breaks, {"_core/a.py": "x = 1\n" * 401}),
    "a vague name": (shape_breaks, {"kernels/utils.py": ""}),
    "a cycle": (
        cycle_breaks,
        {
            "_core/a.py": "from jaxalign._core import b",
            "_core/b.py": "def f():\n    from jaxalign._core.c import g",
            "_core/c.py": "from .a import h",
        },
    ),
    "a cycle through __init__": (
        cycle_breaks,
        {"kernels/__init__.py": "from .a import A as A", "kernels/a.py": "from jaxalign.kernels import B"},
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_noticed(case):
    rule, files = BROKEN[case]
    assert len(rule([parse(path, source) for path, source in files.items()])) == 1


SOUND = {
    "__init__.py": "from jaxalign.cli import main as main\nfrom jaxalign.kernels import Linear as Linear",
    "_version.py": "__version__ = '1'",
    "_core/typing.py": "try:\n    from jaxtyping import Float\nexcept ImportError:\n    Float = None",
    "kernels/__init__.py": "from jaxalign.kernels.linear import Linear as Linear",
    "kernels/linear.py": "import jax\nfrom jaxalign._core.typing import Float\nfrom .base import Kernel",
    "kernels/base.py": "from abc import ABC\nimport jax.numpy as jnp\nx = jnp.float32.__name__",
    "engines/tiles.py": "from jaxalign.kernels import Linear",
    "signatures/gram.py": "from jaxalign.engines import tiles\n\n\ndef f():\n    import torch",
    "features/capture.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
    "cli/__init__.py": "import typer\nfrom rich.table import Table\nfrom jaxalign._version import __version__",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_sound_package_is_not_blamed(rule):
    assert rule([parse(path, source + "\n") for path, source in SOUND.items()]) == []
