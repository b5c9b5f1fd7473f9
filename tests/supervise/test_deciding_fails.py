"""What decides calls policies of the user's own: that they raise must not become a hang."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio

from nestling import InvalidStateError, Runnable, leaf, nop, start_stop
from nestling.supervise import RestartPolicy, graph, node, restart
from nestling.testing import record
from tests.kernel.recording import notes_of


@attrs.frozen
class Broken(RestartPolicy):
    def applies_to(self, error: BaseException | None) -> bool:
        raise ZeroDivisionError("a defect of a policy")


async def nothing() -> None:
    pass


async def fails_after_a_second() -> None:
    await trio.sleep(1)
    raise OSError("lost")


async def fails_in_its_stop() -> None:
    raise ValueError("cannot close")


COMPOSITIONS: dict[str, Runnable] = {
    "restart": restart(leaf(fails_after_a_second), Broken()),
    "graph": graph(
        node("db", nop()),
        node("http", leaf(fails_after_a_second), requires=["db"], restart=Broken()),
        node("clock", leaf(trio.sleep_forever)),
    ),
    "a start that hangs": graph(
        node("http", leaf(fails_after_a_second), restart=Broken()),
        node("clock", start_stop(trio.sleep_forever, nothing)),
    ),
}


@pytest.mark.parametrize("composition", COMPOSITIONS.values(), ids=COMPOSITIONS)
async def test_a_policy_that_raises_ends_all_of_it_and_comes_out(composition: Runnable) -> None:
    with record() as trace, pytest.raises(ZeroDivisionError, match="a defect of") as raised:
        await composition.run(trio.sleep_forever)
    assert trio.current_time() == 1
    assert "OSError: lost" in "\n".join(notes_of(raised.value))
    kinds = [type(event).__name__ for event in trace.events]
    assert kinds.count("Starting") == kinds.count("Stopped")


async def test_all_errors_are_told_beside_that_of_the_policy() -> None:
    broken = graph(
        node("closes badly", start_stop(nothing, fails_in_its_stop)),
        node("http", leaf(fails_after_a_second), restart=Broken()),
    )
    with pytest.raises(ZeroDivisionError) as raised:
        await broken.run(trio.sleep_forever)
    notes = "\n".join(notes_of(raised.value))
    assert "OSError: lost" in notes
    assert "ValueError: cannot close" in notes


async def test_who_waits_for_a_start_or_a_stop_is_told() -> None:
    told: list[str] = []

    async def asks(call: Callable[..., Awaitable[object]], *args: object) -> None:
        with pytest.raises(InvalidStateError) as refused:
            await call(*args)
        told.append(f"{trio.current_time():g} s: {refused.value}")

    async def asks_too_late(call: Callable[..., Awaitable[object]], *args: object) -> None:
        await trio.sleep(2)
        await asks(call, *args)

    async def stops_slowly() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(9)

    broken = graph(
        node("http", leaf(fails_after_a_second), restart=Broken()),
        node("slow", start_stop(nothing, stops_slowly)),
    )
    hangs = start_stop(trio.sleep_forever, nothing)
    async with trio.open_nursery() as nursery:

        async def callback() -> None:
            nursery.start_soon(asks, broken.add, node("new", hangs))
            nursery.start_soon(asks, broken.remove, "slow")
            nursery.start_soon(asks_too_late, broken.add, node("late", hangs))
            await trio.sleep_forever()

        with pytest.raises(ZeroDivisionError):
            await broken.run(callback)
    why = "deciding what its graph is to do has failed, which ends it"
    assert sorted(told) == [
        f"1 s: cannot start 'new': {why}",
        f"1 s: cannot stop 'slow': {why}",
        f"2 s: cannot start 'late': {why}",
    ]
    assert trio.current_time() == 9
