"""`log_events`: the life of each node as log lines."""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest
import trio

from nestling import chain, leaf, named, nop, run, start_stop
from nestling.observe import log_events

Lines = list[tuple[str, str, str]]


def lines(caplog: pytest.LogCaptureFixture, logger: str = "nestling") -> Lines:
    """Return level, path and message of what was logged."""
    return [
        (record.levelname, str(record.__dict__["path"]), record.getMessage())
        for record in caplog.records
        if record.name == logger
    ]


async def nothing() -> None:
    pass


async def fail() -> None:
    raise OSError("in\nuse")


def test_each_event_is_a_line_that_begins_with_the_path(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nestling")
    run(named("app", chain(named("db", nop()), leaf(nothing))))
    assert lines(caplog) == [
        ("INFO", "app", "app: starting"),
        ("INFO", "app/db", "app/db: starting"),
        ("INFO", "app/db", "app/db: running"),
        ("INFO", "app/nothing", "app/nothing: starting"),
        ("INFO", "app/nothing", "app/nothing: running"),
        ("INFO", "app", "app: running"),
        ("INFO", "app", "app: stopping"),
        ("INFO", "app/nothing", "app/nothing: stopping"),
        ("INFO", "app/nothing", "app/nothing: stopped"),
        ("INFO", "app/db", "app/db: stopping"),
        ("INFO", "app/db", "app/db: stopped"),
        ("INFO", "app", "app: stopped"),
    ]


def test_a_failure_is_one_line_at_the_node_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    with suppress(OSError):
        run(chain(named("db", nop()), named("http", start_stop(fail, nothing))))
    with suppress(OSError):
        run(named("http", leaf(fail)))
    errors = [line for line in lines(caplog) if line[0] == "ERROR"]
    assert errors == [
        ("ERROR", "http", "http: failed to start: OSError: in use"),
        ("ERROR", "http", "http: failed: OSError: in use"),
    ]


def test_an_error_that_another_hides_is_logged_as_well(caplog: pytest.LogCaptureFixture) -> None:
    async def fail_at_once() -> None:
        raise OSError("in use")

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("and that")

    async def stop() -> None:
        raise OSError("cannot stop")

    with suppress(OSError):
        run(named("a", chain(named("b", leaf(fail_when_cancelled, stop)), leaf(fail_at_once))))
    errors = [line for line in lines(caplog) if line[0] == "ERROR"]
    assert ("ERROR", "a/b", "a/b: failed as well: OSError: cannot stop") in errors
    assert ("ERROR", "a/b", "a/b: failed as well: ValueError: and that") in errors


def test_a_node_whose_start_was_cancelled_stopped_before_it_was_running(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "nestling")
    with suppress(TimeoutError):
        run(named("app", start_stop(trio.sleep_forever, nothing)), start_timeout=0)
    assert lines(caplog) == [
        ("INFO", "app", "app: starting"),
        ("INFO", "app", "app: stopped before it was running"),
    ]


def test_it_logs_to_the_logger_that_it_is_given_and_then_to_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    run(named("app", leaf(nothing)), observers=[log_events(logging.getLogger("shop"))])
    assert lines(caplog) == []
    assert [message for _, _, message in lines(caplog, "shop")] == [
        "app: starting",
        "app: running",
        "app: stopping",
        "app: stopped",
    ]
