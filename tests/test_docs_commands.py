"""docs/commands.md: what it says of commands, options, trackers, protocols and figures is what the program declares."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
NAMES = "\n## Trackers\n"


def test_the_page_is_what_the_program_declares():
    made = runpy.run_path(str(DOCS / "reference.py"))["page"]()
    commands, names = (DOCS / "commands.md").read_text(encoding="utf-8").split(NAMES)
    assert commands == made.split(NAMES)[0], "run: python docs/reference.py"
    stale = set(names.splitlines()) - set(made.splitlines())  # what is new may come to the page later
    assert not stale, "run: python docs/reference.py"
