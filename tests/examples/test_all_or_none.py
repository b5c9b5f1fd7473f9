"""The weather station: one ends, all end; and whoever is too slow is named."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from docs.examples import all_or_none
from docs.examples.all_or_none import make_station
from nestling import Runnable, StopTimeoutError, running, start_stop
from nestling.testing import Probe, Trace, override, record, schedules

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

FILE = Path(all_or_none.__file__)
MEASURED = ["sensor: measured"] * 3 + ["sensor: the battery is empty"]


async def run_until_it_ends(station: Runnable) -> Trace:
    with record() as trace:
        async with running(station):
            await trio.Event().wait()
    return trace


def times(trace: Trace, phase: str) -> dict[str, float]:
    """Return when each node came to that phase, in seconds from the start."""
    start = trace.events[0].time
    return {
        event.path: round(event.time - start, 6)
        for event in trace.events
        if type(event).__name__.lower() == phase
    }


def test_the_program_ends_when_the_battery_is_empty() -> None:
    program = subprocess.run(
        [sys.executable, str(FILE)], capture_output=True, text=True, timeout=60, check=False
    )
    lines = program.stdout.splitlines()
    assert (program.returncode, program.stderr) == (0, "")
    assert lines[:4] == MEASURED
    assert sorted(lines[4:]) == [
        "archive: asked to stop",
        "archive: written",
        "display: asked to stop",
        "display: dark",
    ]


@schedules(10)
async def test_all_start_at_the_same_time_and_when_one_ends_the_others_are_asked_to_stop(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    trace = await run_until_it_ends(make_station(battery=3, seconds_to_write=1))
    services = ["station/sensor", "station/display", "station/archive"]
    assert times(trace, "starting") == dict.fromkeys(["station", *services], 0)
    ends = {"station/sensor": 0.3, "station/display": 0.3}
    assert times(trace, "stopped") == {**ends, "station/archive": 1.3, "station": 1.3}
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == MEASURED
    assert set(lines[4:6]) < {"archive: asked to stop", "display: asked to stop", "display: dark"}
    assert lines[-1] == "archive: written"


async def test_whoever_has_ended_by_itself_is_not_asked_to_stop(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    await run_until_it_ends(make_station(battery=3))
    assert "sensor: switched off" not in capsys.readouterr().out


async def test_whoever_stops_the_station_has_all_asked_at_once(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    with record() as trace:
        async with running(make_station(seconds_to_write=1)):
            await trio.sleep(0.25)
    assert times(trace, "stopping") == dict.fromkeys(times(trace, "starting"), 0.25)
    lines = capsys.readouterr().out.splitlines()
    asked = {"sensor: switched off", "display: asked to stop", "archive: asked to stop"}
    assert asked < set(lines)
    assert [lines.count(line) for line in asked] == [1, 1, 1], "each is asked once"


async def test_whoever_takes_longer_than_its_limit_is_forced_and_is_the_error(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    with record() as trace, pytest.raises(ExceptionGroup) as caught:
        async with running(make_station(battery=3, seconds_to_write=60)):
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert isinstance(error, StopTimeoutError)
    assert (error.path, error.seconds) == ("station/archive", 2)
    assert times(trace, "stopped")["station/archive"] == 2.3, "it is over when the error comes out"
    assert "archive: written" not in capsys.readouterr().out


async def test_where_the_limit_of_all_is_over_first_the_error_still_names_who_was_late(
    autojump_clock: MockClock,
) -> None:
    station = make_station(battery=3, seconds_to_write=60, service_limit=20, station_limit=15)
    with record() as trace, pytest.raises(StopTimeoutError) as caught:
        async with running(station):
            await trio.sleep_forever()
    assert (caught.value.path, caught.value.seconds) == ("station", 15)
    assert "station/archive" in caught.value.stuck
    assert "station/display" not in caught.value.stuck
    assert times(trace, "stopped")["station/archive"] == 15.3


async def test_every_failure_comes_out_with_the_name_of_whoever_failed(
    autojump_clock: MockClock,
) -> None:
    lost, torn = OSError("the sensor is lost"), ValueError("the tape is torn")

    async def tear() -> None:
        raise torn

    failing = {
        "sensor": Probe("sensor", run=1, fail=lost),
        "archive": start_stop(trio.lowlevel.checkpoint, tear),
    }
    with pytest.raises(ExceptionGroup) as caught:
        async with running(override(make_station(), failing)):
            await trio.sleep_forever()
    assert set(caught.value.exceptions) == {lost, torn}
    assert vars(lost)["__notes__"] == ["in 'sensor'"]
    assert vars(torn)["__notes__"] == ["in 'archive'"]


async def test_it_runs_for_a_limited_time_under_a_deadline(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(make_station()):
        with trio.move_on_after(0.55):
            await trio.sleep_forever()
    assert capsys.readouterr().out.splitlines().count("sensor: measured") == 6


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals to send")
def test_a_signal_asks_all_to_stop() -> None:
    command = (
        "import runpy, sys, nestling; nestling.run(runpy.run_path(sys.argv[1])['make_station']())"
    )
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", command, str(FILE)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sensor: measured\n"
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == 0
    asked = ["sensor: switched off", "display: asked to stop", "archive: asked to stop"]
    assert [rest.count(line) for line in asked] == [1, 1, 1]
