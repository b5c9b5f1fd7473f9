from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from nestling import chain, nop, parallel, running
from nestling.testing import Body, Probe, ProbeError, model, play, record
from nestling.testing._probe import KINDS, Kind


def whats(probe: Probe) -> list[tuple[float, str]]:
    start = probe.events[0].time
    return [(event.time - start, event.what) for event in probe.events]


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_records_its_life(kind: Kind) -> None:
    probe = Probe("db", kind=kind)
    async with running(parallel(probe, nop())):
        await trio.sleep(1)
    told = [what for _, what in whats(probe)]
    ends = "stopped, cancelled" if kind in {"leaf", "service"} else "stopped"
    assert told == ["starting", "running", "stopping", ends]


async def test_its_script_says_how_long_each_phase_takes(autojump_clock: object) -> None:
    del autojump_clock
    probe = Probe("db", start=1, stop=2)
    await probe.run(partial(trio.sleep, 4))
    assert whats(probe) == [(0, "starting"), (1, "running"), (5, "stopping"), (7, "stopped")]


async def test_it_may_end_by_itself(autojump_clock: object) -> None:
    del autojump_clock
    probe = Probe("db", run=3)
    await probe.run(trio.sleep_forever)
    assert whats(probe) == [(0, "starting"), (0, "running"), (3, "stopped, returned")]


@pytest.mark.parametrize("phase", ["start", "run", "stop"])
async def test_it_fails_where_its_script_says(phase: Any) -> None:
    with pytest.raises(ProbeError, match=f"db fails in {phase}"):
        await Probe("db", fail=phase).run(trio.lowlevel.checkpoint)
    broken = OSError("no")
    with pytest.raises(OSError, match="no") as caught:
        await Probe("db", fail=(phase, broken)).run(trio.lowlevel.checkpoint)
    assert caught.value is broken


async def test_an_error_alone_is_that_of_its_run(autojump_clock: object) -> None:
    del autojump_clock
    probe = Probe("db", run=2, fail=OSError("connection lost"))
    with pytest.raises(OSError, match="connection lost"):
        await probe.run(trio.sleep_forever)
    assert whats(probe)[-1] == (2, "stopped, failed")


async def test_it_may_ignore_a_cancellation_for_a_while(autojump_clock: object) -> None:
    del autojump_clock
    probe = Probe("db", start=9, ignore=3)
    with trio.move_on_after(1):
        await probe.run(trio.sleep_forever)
    assert whats(probe) == [(0, "starting"), (4, "stopped, cancelled")]


async def test_it_is_a_node_of_its_name() -> None:
    with record() as trace:
        await chain(Probe("db"), Probe("http")).run(trio.lowlevel.checkpoint)
    assert trace.names("running") == ["db", "http"]


def test_it_shows_its_script() -> None:
    assert repr(Probe("db")) == "Probe('db')"
    probe = Probe("db", start=1, run=2, stop=3, fail="run", ignore=4, on_return="stay")
    shown = "Probe('db', start=1, run=2, stop=3, ignore=4, on_return='stay', fail='run')"
    assert repr(probe).replace(".0", "") == shown
    assert (
        repr(Probe("a", kind="leaf", run=1)).replace(".0", "") == "Probe('a', run=1, kind='leaf')"
    )


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ({"start": -1}, r"start of Probe\('db'\) must be zero or more seconds"),
        ({"kind": "server"}, r"kind of Probe\('db'\) must be one of 'worker', "),
        ({"fail": "later"}, r"fail of Probe\('db'\) must be one of 'start', 'run', 'stop', an exc"),
        ({"fail": ("run", "x")}, r"fail of Probe\('db'\) must be one of"),
        ({"fail": ("run", OSError(), 3)}, r"fail of Probe\('db'\) must be one of"),
        ({"kind": "leaf", "start": 1}, r"Probe\('db'\) is a leaf, which has no start of its own"),
        ({"kind": "start_stop", "run": 1}, "is a start_stop, which has no run of its own"),
        ({"on_return": "go"}, r"on_return of Probe\('db'\) must be one of"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused(script: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Probe("db", **script)


def test_what_is_played_is_what_the_model_says() -> None:
    shop = chain(Probe("db", start=1, stop=2), Probe("http", stop=0.5))
    expected = model(shop, Body(3))
    played = play(shop, Body(3), seed=7)
    assert played.problems(expected) == []
    assert expected.allows(played.events)
    assert [event.name for event in expected.events][-4:] == ["http", "http", "db", "db"]
