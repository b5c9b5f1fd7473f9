"""What the documents repeat of the code is held against the code."""

from __future__ import annotations

import re
from pathlib import Path

import nestling
from nestling._kernel._states import diagram

DOCS = Path(__file__).parents[2] / "docs"


def test_every_public_name_is_documented_and_every_documented_name_is_public() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", (DOCS / "api.md").read_text(), flags=re.MULTILINE)
    assert sorted(documented) == sorted(nestling.__all__)


def test_every_public_name_has_a_docstring_and_no_other_is_exported() -> None:
    for name in set(nestling.__all__) - {"Callback"}:  # an alias cannot have one
        assert getattr(nestling, name).__doc__, name
    exported = {
        name
        for name, value in vars(nestling).items()
        if not name.startswith("_") and type(value).__name__ != "module"
    }
    assert exported == set(nestling.__all__)


def test_the_diagram_of_the_process_states_is_drawn_from_the_table() -> None:
    text = (DOCS / "process.md").read_text()
    drawn = re.search(r"<!-- states -->\n```mermaid\n(.*?)```", text, flags=re.DOTALL)
    assert drawn is not None
    assert drawn[1] == diagram()
