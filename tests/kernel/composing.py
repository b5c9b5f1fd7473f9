"""What the tests of the combinators compose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestling import Runnable, named, start_stop

if TYPE_CHECKING:
    from tests.kernel.recording import Recorder


async def nothing() -> None:
    pass


def pair(
    record: Recorder,
    name: str,
    *,
    start: float = 0,
    stop: float = 0,
    start_fails: BaseException | None = None,
    stop_fails: BaseException | None = None,
) -> Runnable:
    """Make a `start_stop`, named, whose functions record."""
    return named(
        name,
        start_stop(
            record.does(f"{name} start", takes=start, fails=start_fails),
            record.does(f"{name} stop", takes=stop, fails=stop_fails),
        ),
    )
