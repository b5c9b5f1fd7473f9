"""Processes that would wait for each other's end: the one that closes the circle is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from nestling import InvalidStateError, Process, State, leaf, start_stop


async def nothing() -> None:
    pass


def refusal(name: str, inside: str) -> str:
    return (
        f"cannot stop {name!r} from inside of {inside!r}, for whose end it waits: "
        f"each would wait for the other; stop one of them from another task"
    )


class Circle:
    """Processes of which each, when it stops, stops the next."""

    def __init__(self, nursery: trio.Nursery, names: str) -> None:
        self.told: list[str] = []
        self.processes = {
            name: Process(nursery, start_stop(nothing, self.stopping(follower)), name=name)
            for name, follower in zip(names, names[1:] + names[:1], strict=True)
        }

    def stopping(self, name: str) -> Callable[[], Awaitable[None]]:
        async def stop() -> None:
            try:
                await self.processes[name].stop()
            except InvalidStateError as refused:
                self.told.append(str(refused))

        return stop

    async def start(self) -> None:
        for process in self.processes.values():
            await process.start()


@pytest.mark.parametrize("names", ["ab", "abcd"])
async def test_processes_that_stop_each_other_in_a_circle_are_told(names: str) -> None:
    async with trio.open_nursery() as nursery:
        circle = Circle(nursery, names)
        await circle.start()
        await circle.processes["a"].stop()
        assert circle.told == [refusal("a", names[-1])]
        assert {process.state for process in circle.processes.values()} == {State.STOPPED}


async def test_all_of_them_may_be_stopped_at_once() -> None:
    async with trio.open_nursery() as nursery:
        circle = Circle(nursery, "abc")
        await circle.start()
        for process in circle.processes.values():
            nursery.start_soon(process.stop)
    assert len(circle.told) == 1


async def test_who_is_not_in_the_circle_may_wait_for_it() -> None:
    async with trio.open_nursery() as nursery:
        circle = Circle(nursery, "ab")
        last = Process(nursery, start_stop(nothing, circle.stopping("a")), name="last")
        await last.start()
        await circle.start()
        await last.stop()
        assert len(circle.told) == 1


async def test_processes_may_wait_for_a_third_by_two_ways() -> None:
    stopped: list[str] = []
    async with trio.open_nursery() as nursery:

        async def stop_third() -> None:
            await third.stop()

        async def stop_third_slowly() -> None:
            await trio.sleep(2)
            stopped.append("third")

        async def stop_both() -> None:
            async with trio.open_nursery() as inner:
                inner.start_soon(first.stop)
                inner.start_soon(second.stop)

        async def stop_top() -> None:
            await trio.sleep(1)
            await top.stop()

        third = Process(nursery, start_stop(nothing, stop_third_slowly), name="third")
        first = Process(nursery, start_stop(nothing, stop_third), name="first")
        second = Process(nursery, start_stop(nothing, stop_third), name="second")
        top = Process(nursery, start_stop(nothing, stop_both), name="top")
        last = Process(nursery, start_stop(nothing, stop_top), name="last")
        for process in (third, first, second, top, last):
            await process.start()
        nursery.start_soon(top.stop)
        await last.stop()
    assert stopped == ["third"]
    assert top.error is first.error is second.error is last.error is None


async def test_a_start_inside_of_what_it_stops_is_told() -> None:
    told: list[str] = []
    async with trio.open_nursery() as nursery:

        async def start_inner() -> None:
            await inner.start()

        async def stop_outer() -> None:
            with pytest.raises(InvalidStateError) as refused:
                await outer.stop()
            told.append(str(refused.value))

        inner = Process(nursery, start_stop(stop_outer, nothing), name="inner")
        outer = Process(nursery, start_stop(start_inner, nothing), name="outer")
        await outer.start()
        await outer.stop()
        await inner.stop()
    assert told == [refusal("outer", "inner")]


async def test_what_runs_inside_of_a_process_that_waits_counts_as_well() -> None:
    told: list[str] = []
    async with trio.open_nursery() as nursery:

        async def stop_outer() -> None:
            with pytest.raises(InvalidStateError) as refused:
                await outer.stop()
            told.append(str(refused.value))

        async def stop_other() -> None:
            async with trio.open_nursery() as own:
                inner = Process(own, start_stop(nothing, other.stop), name="inner")
                await inner.start()
                await inner.stop()

        other = Process(nursery, start_stop(nothing, stop_outer), name="other")
        outer = Process(nursery, start_stop(nothing, stop_other), name="outer")
        await other.start()
        await outer.start()
        await outer.stop()
    assert told == [refusal("outer", "other")]


async def test_what_was_started_inside_of_a_process_may_stop_that_later() -> None:
    async with trio.open_nursery() as nursery:

        async def start_inner() -> None:
            await inner.start()

        async def stop_outer() -> None:
            await trio.sleep(1)
            await outer.stop()

        inner = Process(nursery, leaf(stop_outer), name="inner")
        outer = Process(nursery, start_stop(start_inner, nothing), name="outer")
        await outer.start()
        await inner.wait()
    assert outer.state is State.STOPPED
    assert inner.error is None
