"""The page for those who come from elsewhere: its programs run, and what it names is there."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import trio

import nestling
import nestling.supervise
from nestling import RestartLimitError, nop, run_until_signal, running
from nestling.testing import Probe, record
from tests.docs.happenings import events, failing, steps

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
ROWS = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", PAGE.replace("| |", "| - |"), re.MULTILINE)

BEING_BUILT = {"Controller", "Jobs", "closing"}
PLACES = (nestling, nestling.supervise, import_module("nestling.adapters.asgi"))


def page() -> dict[str, Any]:
    """Run the programs of the page, one after the other, and return what they define."""
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    return names


def mentioned() -> list[str]:
    """Return what the middle column names."""
    return [span for _, here, _ in ROWS for span in re.findall(r"`(.+?)`", here)]


def test_the_tables_are_read() -> None:
    assert len(ROWS) > 60
    assert {"Supervisor(strategy=...)", "leaf(run, stop)", "nestling tree"} <= set(mentioned())


@pytest.mark.parametrize("text", sorted(set(mentioned())))
def test_what_the_page_names_is_there(text: str) -> None:
    if text.startswith("nestling "):
        command = [sys.executable, "-m", *text.split(), "--help"]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
        return
    name, _, arguments = text.rstrip(")").partition("(")
    if name in BEING_BUILT and not hasattr(nestling.supervise, name):
        return
    found = named_by(name)
    keywords = [each.partition("=")[0].strip() for each in arguments.split(",") if each]
    assert found is not None
    assert not keywords or set(keywords) <= set(inspect.signature(found).parameters)


def named_by(name: str) -> Any:
    """Return what a name of the page stands for; None if there is nothing of that name."""
    module, _, attribute = name.rpartition(".")
    if module in {"trio", "nestling.observe"}:
        return getattr(import_module(module), attribute, None)
    first, *rest = name.split(".")
    for place in PLACES:
        found: Any = getattr(place, first, None)
        if found is not None:
            for part in rest:
                # What an instance only has is annotated in its class.
                found = getattr(found, part, None) or inspect.get_annotations(found).get(part)
            return found
    return None


async def test_the_program_for_erlang() -> None:
    make_call_center = page()["make_call_center"]
    with record() as trace, pytest.raises(RestartLimitError):
        async with running(make_call_center(nop(), failing(), Probe("inside"))):
            await trio.sleep_forever()
    assert steps(trace, "pool", "listener", "billing") == [
        "pool starting",
        "pool running",
        "listener starting",
        "listener running",
        "billing starting",
        "billing running",
        "listener stopping",
        "listener stopped",
        "listener restarting",
        "billing stopping",
        "billing stopped",
        "listener starting",
        "listener running",
        "billing starting",
        "billing running",
        "listener stopping",
        "listener stopped",
        "billing stopping",
        "billing stopped",
        "pool stopping",
        "pool stopped",
    ]
    assert trace.events[-1].time == 2


async def test_the_program_for_go() -> None:
    names = page()
    greeter = names["Greeter"]()
    await run_until_signal(names["make_greeting"](greeter), signals=())
    assert greeter.said == [
        "the server is ready",
        "the client asks, and stops all of it",
        "the server has stopped",
    ]


async def test_the_program_for_systemd() -> None:
    make_units = page()["make_units"]
    happened: list[str] = []

    async def migrate() -> None:
        await trio.sleep(1)
        happened.append("migrated")

    async def roll_back() -> None:
        happened.append("rolled back")

    units = make_units(migrate, roll_back, failing(0.25), Probe("inside"))
    with record() as trace, pytest.raises(ExceptionGroup) as caught:
        async with running(units):
            await trio.sleep_forever()
    restarts = [event.time for event in events(trace, "Restarting")]
    assert restarts == [0.25, 2.5, 4.75, 7], "0.25 s of running, 2 s of waiting; and no fifth one"
    (error,) = caught.value.exceptions
    assert isinstance(error, RestartLimitError)
    assert happened == ["migrated", "rolled back"]
