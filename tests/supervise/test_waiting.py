from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from nestling.supervise._waiting import Waiting


async def test_an_answer_that_is_an_error_is_raised_even_if_a_cancellation_was_first() -> None:
    waiting = Waiting()
    raised: list[str] = []

    async def wait() -> None:
        with pytest.raises(OSError, match="lost") as caught:
            await waiting.wait()
        raised.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        waiting.answer(OSError("lost"))
    assert raised == ["lost"]
