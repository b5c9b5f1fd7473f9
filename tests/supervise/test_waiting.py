from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from nestling.supervise._waiting import Waiting
from nestling.testing._trio_internals import give_up_waiting


class Waiter:
    """A task that waits, with what comes of it."""

    def __init__(self) -> None:
        self.waiting = Waiting()
        self.scope = trio.CancelScope()
        self.raised: BaseException | None = None
        self.has_gone_on = False

    async def wait(self) -> None:
        self.task = trio.lowlevel.current_task()
        with self.scope:
            try:
                await self.waiting.wait()
            except (KeyboardInterrupt, OSError) as error:
                self.raised = error
            else:
                self.has_gone_on = True

    def interrupt(self) -> None:
        assert give_up_waiting(self.task, KeyboardInterrupt())


async def waiter_in(nursery: trio.Nursery) -> Waiter:
    waiter = Waiter()
    nursery.start_soon(waiter.wait)
    await wait_all_tasks_blocked()
    return waiter


async def test_an_answer_counts_even_if_a_cancellation_was_first() -> None:
    async with trio.open_nursery() as nursery:
        waiter = await waiter_in(nursery)
        waiter.scope.cancel()
        waiter.waiting.answer(None)
    assert waiter.has_gone_on


async def test_an_answer_that_is_an_error_is_raised_even_if_a_cancellation_was_first() -> None:
    lost = OSError("lost")
    async with trio.open_nursery() as nursery:
        waiter = await waiter_in(nursery)
        waiter.scope.cancel()
        waiter.waiting.answer(lost)
    assert waiter.raised is lost
    assert not waiter.scope.cancelled_caught


async def test_a_cancellation_without_an_answer_is_a_cancellation() -> None:
    async with trio.open_nursery() as nursery:
        waiter = await waiter_in(nursery)
        waiter.scope.cancel()
    assert waiter.scope.cancelled_caught
    assert not waiter.waiting.is_answered


@pytest.mark.parametrize("answer", [None, OSError("lost")], ids=["done", "an error"])
async def test_law_4_no_answer_hides_an_interrupt_and_no_interrupt_an_answer(
    answer: OSError | None,
) -> None:
    async with trio.open_nursery() as nursery:
        waiter = await waiter_in(nursery)
        waiter.interrupt()
        waiter.waiting.answer(answer)
    assert isinstance(waiter.raised, KeyboardInterrupt)
    notes = getattr(waiter.raised, "__notes__", [])
    assert notes == ([] if answer is None else ["what it waited for failed as well: OSError: lost"])
