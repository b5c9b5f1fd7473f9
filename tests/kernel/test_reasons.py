"""What the reason of a cancelled callback tells: something has returned, and nothing has failed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from nestling import Runnable, chain, leaf, nop, parallel, runnable, sequential, timeouts
from nestling._kernel._outcome import Returned

AROUND: dict[str, Callable[[Runnable], Runnable]] = {
    "alone": lambda r: r,
    "chain": lambda r: chain(r, nop()),
    "parallel": lambda r: parallel(nop(), r),
    "sequential": lambda r: sequential(r, nop()),
    "parallel of a chain": lambda r: parallel(chain(nop(), r), nop()),
    "parallel of a parallel": lambda r: parallel(parallel(chain(r, nop()), nop()), nop()),
    "timeouts": lambda r: timeouts(chain(r, nop()), stop=1, grace=1),
    "runnable": lambda r: chain(r, runnable(nop().run)),
}


async def reason_of(r: Runnable) -> str | None:
    """Return the reason for which the callback of ``r`` is cancelled."""
    reasons: list[str | None] = []

    async def callback() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            reasons.append(cancelled.reason)
            raise

    try:
        await r.run(callback)
    except Exception:
        assert reasons
    return reasons[0]


async def ends() -> None:
    await trio.sleep(1)


async def fails() -> None:
    await trio.sleep(1)
    raise OSError("lost")


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
async def test_a_return_is_told_from_a_failure(around: Callable[[Runnable], Runnable]) -> None:
    assert isinstance(await reason_of(around(leaf(ends))), Returned)
    for failing in (leaf(fails), leaf(ends, on_return="fail")):
        assert not isinstance(await reason_of(around(failing)), Returned)
