from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest
import trio

from nestling import Runnable, chain, deferred, named, nop, parallel, resource, start_stop
from tests.kernel.recording import Recorder, failure_of, no_cycles, notes_of

if TYPE_CHECKING:
    from collections.abc import Generator


def pair(record: Recorder) -> Runnable:
    return start_stop(record.does("start"), record.does("stop"))


async def test_its_factory_is_called_each_time_it_is_run(record: Recorder) -> None:
    def make() -> Runnable:
        record("make")
        return pair(record)

    r = deferred(make)
    assert record.trace == []
    await r.run(record.does("callback"))
    await r.run(record.does("callback"))
    assert record.trace == ["make", "start", "callback", "stop"] * 2


async def test_its_factory_may_be_async(record: Recorder) -> None:
    async def make() -> Runnable:
        await trio.sleep(1)
        record("make")
        return pair(record)

    await deferred(make).run(record.does("callback"))
    assert record.trace == ["make", "start", "callback", "stop"]


async def test_it_makes_use_of_the_value_of_what_runs_before(record: Recorder) -> None:
    @contextmanager
    def settings() -> Generator[str, None, None]:
        yield "port"

    first = resource(settings)

    def make() -> Runnable:
        record(first.value)
        return nop()

    await chain(first, deferred(make)).run(record.does("callback"))
    assert record.trace == ["port", "callback"]


@pytest.mark.parametrize("made", [None, 5, "text", nop, trio.sleep_forever])
async def test_a_factory_that_returns_no_runnable_is_named_in_the_error(
    record: Recorder, made: object
) -> None:
    def make() -> Runnable:
        return cast("Runnable", made)

    async def make_later() -> Runnable:
        await trio.lowlevel.checkpoint()
        return make()

    for factory, label in ((make, "make"), (make_later, "make_later")):
        error = await failure_of(deferred(factory), record.does("callback"))
        assert isinstance(error, TypeError)
        assert str(error).startswith(f"what deferred('{label}') has built must be a runnable, ")
    assert record.trace == []


async def test_what_its_factory_raises_comes_out_with_the_name_of_the_node(
    record: Recorder,
) -> None:
    def make() -> Runnable:
        raise OSError("no settings")

    error = await failure_of(named("web", deferred(make)), record.does("callback"))
    assert isinstance(error, OSError)
    assert notes_of(error) == ["in 'web'"]


async def test_law_2_a_factory_that_is_cancelled_makes_nothing(record: Recorder) -> None:
    async def make() -> Runnable:
        await record.forever("make")()
        return nop()

    with trio.move_on_after(1) as scope:
        await deferred(make).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == ["make", "make cancelled"]


async def test_law_2_cancelled_before_it_is_run_it_makes_nothing(record: Recorder) -> None:
    def make() -> Runnable:
        record("make")
        return nop()

    with trio.CancelScope() as scope:
        scope.cancel("enough")
        await deferred(make).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == []


async def test_law_9_it_may_run_twice_at_the_same_time(record: Recorder) -> None:
    r = deferred(lambda: pair(record))
    await parallel(r, r).run(record.does("callback"))
    assert record.trace == ["start", "start", "callback", "stop", "stop"]


async def test_law_6_no_reference_cycle_keeps_the_error() -> None:
    with no_cycles() as mark:

        def make() -> Runnable:
            marker = mark()
            raise OSError(marker.__class__)

        with pytest.raises(OSError, match="Marker") as caught:
            await deferred(make).run(trio.sleep_forever)
        del caught
