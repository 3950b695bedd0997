"""The README and some pages of the documentation are programs: their Python blocks run in order, in one namespace each.

A `text` block that directly follows a Python block is what that block prints.
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A Python block, the line of the file it begins on, and the output it promises."""

    line: int
    source: str
    output: str | None


def python_blocks(text: str) -> list[Block]:
    fences = list(FENCE.finditer(text))
    blocks = []
    for fence, after in zip(fences, [*fences[1:], None], strict=True):
        if fence[1] != "python":
            continue
        promised = after is not None and after[1] == "text" and not text[fence.end() : after.start()].strip()
        line = text.count("\n", 0, fence.start(2)) + 1
        blocks.append(Block(line, fence[2], after[2] if promised else None))
    return blocks


def execute(blocks: list[Block], name: str) -> None:
    """Run the blocks one after the other; tracebacks show the line of the file."""
    namespace: dict[str, object] = {"__name__": "readme"}
    for block in blocks:
        code = compile("\n" * (block.line - 1) + block.source, name, "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        if block.output is not None:
            assert printed.getvalue().split() == block.output.split(), f"output of {name}, line {block.line}"


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/quickstart.md",
        "docs/dynamics.md",
        *(
            pytest.param(f"docs/{name}.md", marks=pytest.mark.slow)
            for name in ("inference", "stitching", "certificates", "equivalences", "identifiability", "platonic")
        ),
    ],
)
def test_every_python_block_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = python_blocks(text)
    assert blocks
    assert len(blocks) == len(re.findall(r"^\s*(?:```|~~~)\s*py", text, re.MULTILINE)), "a block is not recognized"
    execute(blocks, page)


def test_the_first_bash_block_is_the_two_setup_commands():
    first = next(fence for fence in FENCE.finditer(README.read_text(encoding="utf-8")) if fence[1] == "bash")
    assert first[2].splitlines() == [
        'pip install -e ".[demo]" && jaxalign demo',
        'pip install -e ".[test]" && pytest',
    ]


BEFORE = "# Title\n\n```bash\nls\n```\n\n```python\nx = 1\n```\n\n"


def test_blocks_share_a_namespace_and_know_their_lines():
    blocks = python_blocks(BEFORE + "```python\nprint(x + 1)\n```\n\n```text\n2\n```\n")
    assert [block.line for block in blocks] == [8, 12]
    assert [block.output for block in blocks] == [None, "2\n"]
    execute(blocks, "synthetic")


def test_a_text_block_further_down_is_not_an_output():
    blocks = python_blocks(BEFORE + "Some words.\n\n```text\n3\n```\n")
    assert [block.output for block in blocks] == [None]


@pytest.mark.parametrize(
    ("source", "error"),
    [("raise KeyError\n", KeyError), ("y = undefined\n", NameError), ("print(x)\n```\n```text\n2\n", AssertionError)],
)
def test_a_wrong_block_is_noticed(source, error):
    with pytest.raises(error):
        execute(python_blocks(BEFORE + f"```python\n{source}```\n"), "synthetic")
