"""Warnings about nodes that take long to start or to stop."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

from nestling import Aborter, chain, leaf, named, run_until_signal, start_stop


async def nothing() -> None:
    pass


def warnings(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (str(record.__dict__["path"]), record.getMessage())
        for record in caplog.records
        if record.levelno == logging.WARNING
    ]


async def ten_seconds() -> None:
    await trio.sleep(10)


async def test_who_starts_slowly_is_named_after_three_seconds_and_every_five(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    slow = named("http", start_stop(ten_seconds, nothing))
    await run_until_signal(
        named("app", chain(named("db", start_stop(nothing, nothing)), slow, leaf(nothing)))
    )
    assert autojump_clock.current_time() == 10
    assert warnings(caplog) == [
        ("app/http", "app/http: stuck: starting for 3 s"),
        ("app/http", "app/http: stuck: starting for 8 s"),
    ]


async def test_who_stops_slowly_is_named(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    await run_until_signal(
        named("app", chain(named("db", start_stop(nothing, ten_seconds)), leaf(nothing)))
    )
    assert autojump_clock.current_time() == 10
    assert warnings(caplog) == [
        ("app/db", "app/db: stuck: stopping for 3 s"),
        ("app/db", "app/db: stuck: stopping for 8 s"),
    ]


async def test_who_ignores_a_cancellation_from_outside_is_named(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)

    with trio.move_on_after(1):
        await run_until_signal(named("app", start_stop(nothing, stubborn)))
    assert autojump_clock.current_time() == 6
    assert warnings(caplog) == [("app", "app: stuck: stopping for 3 s")]


async def test_a_run_in_which_nothing_is_stuck_sets_no_timer(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    aborter = Aborter()

    async def abort_later() -> None:
        await trio.sleep(1000)
        aborter.abort()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(abort_later)
        await run_until_signal(named("app", leaf(trio.sleep_forever)), aborter=aborter)
    assert autojump_clock.current_time() == 1000
    assert warnings(caplog) == []
