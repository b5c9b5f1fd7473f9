"""`schedules`: a test under many schedules, each of which can be had again."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio
from trio.testing import MockClock

from nestling._kernel._checks import check_integer, describe_value
from nestling._kernel._functions import check_async
from nestling._kernel._outcome import add_note
from nestling.testing._trace import Trace
from nestling.testing._trio_internals import scheduled_by

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P")

MakeClock = Callable[[], "trio.abc.Clock | None"]


def jumping_clock() -> trio.abc.Clock:
    """Make the clock on which a test of `schedules` runs by default: it never waits."""
    return MockClock(autojump_threshold=0)


def schedules(
    n: int, *, seed: int = 0, clock: MakeClock = jumping_clock
) -> Callable[[Callable[P, Awaitable[object]]], Callable[P, None]]:
    """Run an async test under ``n`` different schedules, the same ones each time.

    trio runs tasks that can run at the same time in an order of chance. Here that order depends on
    a seed alone: ``seed`` for the first run, one more for each further one. The test becomes a
    plain function, which starts trio by itself. A `Trace` among its arguments, such as the pytest
    fixture ``nestling_record``, is cleared before each run.

    Args:
        n: how many; at least one.
        seed: of the first one.
        clock: makes the clock of each run; by default one that jumps, see `trio.testing.MockClock`.

    Example::

        @schedules(100)
        async def test_http_stops_before_db():
            with record() as trace:
                async with running(shop):
                    await trio.sleep(1)
            trace.assert_order("http stopped", "db stopping")

    An error gets a note that says which schedule it was, and how to run that one alone.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """
    check_integer(n, "n of schedules()", least=1)
    check_integer(seed, "seed of schedules()")
    if not callable(clock):
        raise TypeError(
            f"clock of schedules() must be a function that makes a clock, "
            f"not {describe_value(clock)}"
        )

    def decorate(test: Callable[P, Awaitable[object]]) -> Callable[P, None]:
        check_async(test, "what schedules() decorates", arity=None)

        @functools.wraps(test)
        def run_all(*args: P.args, **keywords: P.kwargs) -> None:
            traces = [each for each in (*args, *keywords.values()) if isinstance(each, Trace)]
            for current in range(seed, seed + n):
                for trace in traces:
                    trace.clear()
                try:
                    with scheduled_by(current):
                        trio.run(functools.partial(test, *args, **keywords), clock=clock())
                except BaseException as error:
                    add_note(error, f"under schedule {current}: schedules(1, seed={current})")
                    raise

        # Under a mark for all tests of a module, pytest-trio would refuse what is not async.
        vars(run_all)["_trio_test_runner_wrapped"] = True
        return run_all

    return decorate
