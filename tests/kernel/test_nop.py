from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from nestling import chain, named, nop, parallel, sequential
from tests.kernel.recording import failure_of, no_cycles, notes_of

if TYPE_CHECKING:
    from tests.kernel.recording import Recorder


async def test_it_awaits_the_callback_and_nothing_else(record: Recorder) -> None:
    await nop().run(record.does("callback"))
    assert record.trace == ["callback"]


async def test_it_passes_errors_and_cancellations_through(record: Recorder) -> None:
    error = OSError()
    assert await failure_of(nop(), record.does("callback", fails=error)) is error
    with trio.move_on_after(1) as scope:
        await nop().run(record.forever("callback"))
    assert scope.cancelled_caught


async def test_law_5_it_is_what_combinators_without_arguments_are(record: Recorder) -> None:
    for combinator in (chain, parallel, sequential):
        assert repr(combinator()) == repr(nop()) == "nop()"
        await combinator().run(record.does("callback"))
    assert record.trace == ["callback"] * 3


async def test_law_5_it_makes_no_difference_in_a_combinator(record: Recorder) -> None:
    for combinator in (chain, parallel, sequential):
        await combinator(nop(), nop()).run(record.does("callback"))
    assert record.trace == ["callback"] * 3


async def test_law_7_it_calls_back_in_the_task_that_runs_it() -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def callback() -> None:
        await trio.lowlevel.checkpoint()
        tasks.append(trio.lowlevel.current_task())

    await nop().run(callback)
    assert tasks == [trio.lowlevel.current_task()]


async def test_it_can_be_named(record: Recorder) -> None:
    error = await failure_of(named("a", nop()), record.does("callback", fails=OSError()))
    assert notes_of(error) == ["in 'a'"]


async def test_law_6_no_reference_cycle_keeps_the_error() -> None:
    with no_cycles() as mark:

        async def callback() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            raise OSError(marker.__class__)

        with pytest.raises(OSError, match="Marker") as caught:
            await named("a", nop()).run(callback)
        del caught
