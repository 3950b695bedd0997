"""Every public name has its place in the documentation."""

from __future__ import annotations

import inspect
from pathlib import Path

import jaxalign

ROOT = Path(__file__).resolve().parents[1]


def test_the_api_page_names_what_the_package_offers():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    named = {line.split()[-1] for line in page.splitlines() if line.startswith(".. auto")}
    offered = {name: value for name, value in vars(jaxalign).items() if not name.startswith("_")}
    functions = {name for name, value in offered.items() if inspect.isfunction(value) or inspect.isclass(value)}
    assert {"cka", "RBF", "compare"} <= functions
    assert not functions - named
    # Names that a package takes from its files are members only when asked for.
    catalogue = page[page.index(".. automodule:: jaxalign.measures") :].split("```")[0]
    assert ":imported-members:" in catalogue


def test_the_readme_names_every_measure():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [name for name in jaxalign.MEASURES if f"`{name}`" not in readme]
