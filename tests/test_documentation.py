"""Every public name has its place in the documentation."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import jaxalign

ROOT = Path(__file__).resolve().parents[1]


def documented(page: str) -> set[str]:
    """What the directives of a page document, by module and name."""
    names, module = set(), ""
    for directive, argument in re.findall(r"^\.\. (currentmodule|auto\w+):: ([\w.]+)$", page, re.MULTILINE):
        if directive == "currentmodule":
            module = argument
        elif directive != "automodule":
            names.add(f"{module}.{argument}")
    return names


def offered(module: ModuleType) -> set[str]:
    """Functions and classes that a module has under a public name."""
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {
        f"{module.__name__}.{name}"
        for name, value in public.items()
        if inspect.isfunction(value) or inspect.isclass(value) or hasattr(value, "__wrapped__")
    }


def test_the_api_page_names_what_the_package_offers():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    functions = offered(jaxalign)
    assert {"jaxalign.cka", "jaxalign.RBF", "jaxalign.compare"} <= functions
    assert not functions - documented(page)
    # Names that a package takes from its files are members only when asked for.
    catalogue = page[page.index(".. automodule:: jaxalign.measures") :].split("```")[0]
    assert ":imported-members:" in catalogue


def test_the_api_page_names_all_of_stitching():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = offered(jaxalign.stitching)
    assert {"jaxalign.stitching.ridge", "jaxalign.stitching.least_squares", "jaxalign.stitching.Affine"} <= names
    assert not names - documented(page)
    # Losses have names that measures have, too: that of another module does not count.
    assert "jaxalign.stitching.kl_divergence" not in documented(page.replace("jaxalign.stitching\n", "jaxalign\n"))


def test_the_readme_names_every_measure():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [name for name in jaxalign.MEASURES if f"`{name}`" not in readme]
