"""Runs from start to end, of each kind of end that there is."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Awaitable, Callable

import trio

from nestling import Process, StopTimeoutError, running, start_stop, timeouts
from tests.growth.composition import PLACES, FaultError, Parts, everything

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

Cycle = Callable[[], Awaitable[None]]


class UnexpectedEndError(Exception):
    """A cycle did not end as its kind ends: what was measured is not what was meant."""


def kinds() -> dict[str, Cycle]:
    """Make one cycle of each kind, to be run again and again."""
    return {
        "graceful": _graceful(),
        "failing": _failing(),
        "cancelled": _cancelled(grace=0),
        "cancelled, with a grace": _cancelled(grace=5),
        "stopped too late": _too_late(),
        "a process": _process(),
        "around a body": _around_a_body(),
    }


def _graceful() -> Cycle:
    shops = itertools.cycle(everything())

    async def cycle() -> None:
        await next(shops).run(trio.lowlevel.checkpoint)

    return cycle


def _failing() -> Cycle:
    """Fail at one place after the other, each time in a new composition."""
    places = itertools.cycle(itertools.product(PLACES, range(3)))

    async def cycle() -> None:
        place, way = next(places)
        try:
            await everything(place)[way].run(_callback(place))
        except (FaultError, ExceptionGroup):
            return
        raise UnexpectedEndError(place)

    return cycle


def _callback(place: str) -> Callable[[], Awaitable[None]]:
    if place == "callback":
        return Parts(place).at(place)
    # What fails in the foreground has to be waited for; what fails while it stops has not.
    return trio.lowlevel.checkpoint if place in ("leaving", "stop") else trio.sleep_forever


def _cancelled(grace: float) -> Cycle:
    shops = itertools.cycle(everything(grace=grace))

    async def cycle() -> None:
        async def callback() -> None:
            scope.cancel("the cycle is over")
            await trio.sleep_forever()

        with trio.CancelScope() as scope:
            await next(shops).run(callback)
            raise UnexpectedEndError("cancelled")

    return cycle


def _too_late() -> Cycle:
    async def takes_too_long() -> None:
        await trio.sleep(2)

    late = timeouts(start_stop(trio.lowlevel.checkpoint, takes_too_long), stop=1)

    async def cycle() -> None:
        try:
            await late.run(trio.lowlevel.checkpoint)
        except StopTimeoutError:
            return
        raise UnexpectedEndError("stopped too late")

    return cycle


def _process() -> Cycle:
    shops = itertools.cycle(everything())

    async def cycle() -> None:
        async with trio.open_nursery() as nursery:
            process = Process(nursery, next(shops), name="process")
            await process.start()
            await process.stop()

    return cycle


def _around_a_body() -> Cycle:
    shops = itertools.cycle(everything())

    async def cycle() -> None:
        async with running(next(shops), name="body"):
            await trio.lowlevel.checkpoint()

    return cycle
