"""Targets: where they are looked for, and what is said of bad ones."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from nestling.cli._target import BadTargetError, load
from nestling.observe import describe

GOOD = """\
from nestling import chain, leaf, named, nop, timeouts

class Settings:
    app = chain(nop(), nop())

class Server:
    async def run(self, f):
        await f()

app = chain(nop(), nop())
has_a_name = named("shop", app)
has_a_name_inside = timeouts(has_a_name, stop=1)
server = Server()

def make(color="red"):
    return app
"""

BAD = """\
from nestling import nop

number = 3

def needs(argument):
    return nop()

def returns_nothing():
    pass

def fails():
    raise ValueError("first line\\nsecond line")

async def coroutine():
    return nop()

class Lazy:
    @property
    def app(self):
        raise OSError("not yet")

lazy = Lazy()

class Server:
    async def run(self, f):
        await f()

class Sync:
    def run(self, f):
        pass

sync = Sync()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path, None, None]:
    """Be in an empty folder, and forget what was imported from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def problem(target: str) -> str:
    with pytest.raises(BadTargetError) as raised:
        load(target)
    text = str(raised.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("app", "app"),
        ("make", "make"),
        ("server", "server"),
        ("Settings.app", "app"),
        ("has_a_name", "shop"),
        ("has_a_name_inside", "shop"),
    ],
)
def test_what_has_no_name_gets_that_of_its_attribute(
    folder: Path, attribute: str, name: str
) -> None:
    (folder / "service.py").write_text(GOOD)
    assert describe(load(f"service:{attribute}")).name == name


def test_a_module_is_found_in_the_current_folder_and_in_packages_there(folder: Path) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "service.py").write_text(GOOD)
    assert describe(load("package.service:app")).kind == "chain"


def test_a_file_finds_the_modules_beside_it(folder: Path) -> None:
    (folder / "services").mkdir()
    (folder / "services" / "base.py").write_text(GOOD)
    (folder / "services" / "top.py").write_text("from base import app as it\n")
    assert describe(load("services/top.py:it")).name == "it"
    assert describe(load(f"{folder}/services/top.py:it")).name == "it"


def test_a_file_that_is_called_like_a_module_in_use_replaces_nothing(folder: Path) -> None:
    import json

    (folder / "json.py").write_text(GOOD)
    assert describe(load("json.py:app")).kind == "chain"
    assert sys.modules["json"] is json


@pytest.mark.parametrize("target", ["service", "service:", ":app", ""])
def test_a_target_without_both_parts_is_refused(target: str) -> None:
    shapes = "module:attribute or path/to/file.py:attribute"
    assert problem(target) == f"{target!r} is not of the form {shapes}"


def test_a_bad_name_is_refused() -> None:
    assert problem("service:1") == "'1' in 'service:1' is not the name of an attribute"
    assert problem("a-b:app").startswith("'a-b' is not the name of a module; write module:")


def test_a_missing_module_is_named(folder: Path) -> None:
    assert problem("service_x:app") == "there is no module 'service_x'"
    assert problem("service_x.web:app") == "there is no module 'service_x'"
    (folder / "service.py").write_text(GOOD)
    assert problem("service.web:app") == "there is no module 'service.web'"


def test_a_missing_file_is_named(folder: Path) -> None:
    assert problem("no/service.py:app") == "there is no file 'no/service.py'"
    (folder / "service.txt").touch()
    assert problem("./service.txt:app").startswith("'service.txt' is not a Python file")


def test_a_missing_attribute_is_named_and_one_like_it_is_proposed(folder: Path) -> None:
    (folder / "service.py").write_text(GOOD)
    assert problem("service:zzz") == "'service' has no attribute 'zzz'"
    assert problem("service:servr") == "'service' has no attribute 'servr'; is 'server' meant?"
    assert problem("service:Settings.x") == "'service.Settings' has no attribute 'x'"


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        (
            "number",
            "'bad:number' must be a runnable, an object with 'async def run(self, f)', not 3 (int)",
        ),
        ("needs", "'bad:needs' is a function with arguments; a target is called without any"),
        ("returns_nothing", "'bad:returns_nothing' is a function that returned None"),
        ("coroutine", "'bad:coroutine' is an async function"),
        ("Server", "'bad:Server' must be a runnable, "),
        ("sync", "'bad:sync' must be a runnable: "),
        ("lazy.app", "reading 'app' of 'bad.lazy' failed: OSError: not yet ("),
        ("fails", "calling 'bad:fails' failed: ValueError: first line second line ("),
    ],
)
def test_what_is_no_runnable_is_explained(folder: Path, attribute: str, text: str) -> None:
    (folder / "bad.py").write_text(BAD)
    assert problem(f"bad:{attribute}").startswith(text)


@pytest.mark.parametrize("target", ["broken:app", "broken.py:app"])
@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("x = 1\nraise OSError('no')\n", "OSError: no ({file}:2)"),
        ("x = 1\nx = = 2\n", "SyntaxError: invalid syntax ({file}:2)"),
        ("\nimport sys; sys.exit('bye')\n", "SystemExit: bye ({file}:2)"),
        ("\n\nimport no_such_module\n", "No module named 'no_such_module' ({file}:3)"),
        ("import json.nothing\n", "No module named 'json.nothing' ({file}:1)"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_with_the_line(
    folder: Path, target: str, code: str, text: str
) -> None:
    file = folder / "broken.py"
    file.write_text(code)
    told = problem(target)
    assert told.startswith(f"importing {target.partition(':')[0]!r} failed: ")
    assert told.endswith(text.format(file=file))
