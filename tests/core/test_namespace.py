"""What `import jaxalign` brings, and what it leaves for later."""

from __future__ import annotations

import subprocess
import sys

import pytest

import jaxalign


def test_stitching_is_imported_when_it_is_used():
    code = (
        "import sys, jaxalign; early = 'flax' in sys.modules; jaxalign.stitching.ridge; "
        "print(early, 'flax' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]


def test_other_names_are_not_made_up():
    with pytest.raises(AttributeError, match="has no attribute 'stiching'"):
        _ = jaxalign.stiching
