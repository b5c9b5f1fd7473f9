from __future__ import annotations

from collections import Counter

import pytest

from tests.breakages.breakage import Breakage, MisfitError
from tests.breakages.catalogue import CATALOGUE
from tests.breakages.trial import PACKAGE, TESTS


@pytest.mark.parametrize("breakage", CATALOGUE, ids=lambda each: each.name)
def test_a_breakage_fits_the_source_and_what_it_makes_of_it_compiles(breakage: Breakage) -> None:
    source = (PACKAGE / breakage.file).read_text(encoding="utf-8")
    broken = breakage.applied_to(source)
    assert broken != source
    compile(broken, breakage.file, "exec")


def test_the_files_that_are_to_notice_a_breakage_exist() -> None:
    assert all(breakage.noticed_by for breakage in CATALOGUE)
    files = {file for breakage in CATALOGUE for file in breakage.noticed_by}
    assert [file for file in files if not (TESTS / file).is_file()] == []


def test_the_names_of_breakages_are_unique() -> None:
    assert [name for name, count in Counter(b.name for b in CATALOGUE).items() if count > 1] == []


@pytest.mark.parametrize("folder", ["_kernel", "supervise"])
def test_there_are_breakages_in_all_files_that_do_something(folder: str) -> None:
    assert len(CATALOGUE) >= 25
    files = {f"{folder}/{path.name}" for path in (PACKAGE / folder).glob("*.py")}
    unbroken = files - {breakage.file for breakage in CATALOGUE}
    assert {path.rpartition("/")[2] for path in unbroken} <= ONLY_VALUES


ONLY_VALUES = {
    *("__init__.py", "_events.py", "_runnable.py"),
    *("_chance.py", "_child.py", "_graph_node.py", "_happenings.py", "_place.py"),
}


@pytest.mark.parametrize("source", ["", "a + a"])
def test_a_breakage_that_does_not_fit_exactly_once_is_refused(source: str) -> None:
    breakage = Breakage(name="x", file="x.py", old="a", new="b", noticed_by=())
    with pytest.raises(MisfitError, match=r"'a' is \d times in x\.py, not once"):
        breakage.applied_to(source)
