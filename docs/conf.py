"""Sphinx configuration; `nox -s docs` builds with warnings as errors and without network."""

from __future__ import annotations

import re

from jaxalign import __version__

project = "jaxalign"
author = "The jaxalign developers"
project_copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"jaxalign {release}"

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "unsrt"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes are in the text; the annotations are strings such as "n p"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Reference", "Reference")]
default_role = "literal"  # `name` in a docstring is code

DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
INLINE = re.compile(r"(?<![\\$])\$([^$\n]+)\$")


def markdown_to_rst(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings write formulas and tables as Markdown does; hand them to Sphinx as reStructuredText."""
    text = DISPLAY.sub(_display, "\n".join(lines))
    text = INLINE.sub(lambda found: f":math:`{found[1].strip()}`", text)
    lines[:] = _tables(text).splitlines()


def _display(found: re.Match[str]) -> str:
    body = "\n".join("   " + line.strip() for line in found[1].strip().splitlines())
    return f"\n\n.. math::\n\n{body}\n\n"


def _tables(text: str) -> str:
    """Markdown tables, at any indentation, as list tables."""
    table = re.compile(r"^([ ]*)\|.*\|[ ]*\n\1\|[-| :]+\|[ ]*(?:\n\1\|.*\|[ ]*)+", re.MULTILINE)

    def convert(found: re.Match[str]) -> str:
        pad = found[1]
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in found[0].splitlines()]
        out = [f"{pad}.. list-table::", f"{pad}   :header-rows: 1", ""]
        for row in [rows[0], *rows[2:]]:
            out += [f"{pad}   {'* -' if i == 0 else '  -'} {cell}" for i, cell in enumerate(row)]
        return "\n".join(out)

    return table.sub(convert, text)


def setup(app) -> None:
    """Register the hook that runs before Napoleon."""
    app.connect("autodoc-process-docstring", markdown_to_rst, priority=400)
