"""One of everything that the kernel can run, composed in every way that it can compose."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from nestling import (
    Callback,
    Runnable,
    WorkerHandle,
    chain,
    deferred,
    leaf,
    named,
    nop,
    parallel,
    resource,
    runnable,
    sequential,
    service,
    start_stop,
    timeouts,
    worker,
)

PLACES = ("start", "started", "foreground", "child", "entering", "leaving", "stop", "callback")
"""Where a part of the composition can be made to fail."""


class FaultError(Exception):
    """What a part fails with that was made to fail."""


class Parts:
    """Makes the parts, each of which runs once at the same time.

    Args:
        fault: the place, one of `PLACES`, where all of them fail; "" for none.
    """

    def __init__(self, fault: str) -> None:
        self._fault = fault

    async def pass_by(self, place: str) -> None:
        """Be at that place: fail, if it is the one."""
        await trio.lowlevel.checkpoint()
        if place == self._fault:
            raise FaultError(place)

    def at(self, place: str) -> Callable[[], Awaitable[None]]:
        """Return a function that does nothing but to be at that place."""

        async def function() -> None:
            await self.pass_by(place)

        return function

    def one_of_each(self) -> list[Runnable]:
        """Make one of each runnable that is made of functions."""
        polite = _Polite()
        return [
            leaf(self._foreground),
            leaf(polite.run, polite.stop),
            leaf(self.at("nowhere"), on_return="stay"),
            start_stop(self.at("start"), self.at("stop")),
            service(self._serve),
            worker(self._work),
            resource(self._manage),
            runnable(self._provide),
            _Foreign(),
            deferred(nop),
        ]

    async def _foreground(self) -> None:
        await self.pass_by("foreground")
        await trio.sleep_forever()

    async def _serve(self, *, task_status: trio.TaskStatus[str]) -> None:
        await self.pass_by("started")
        task_status.started("a value")
        await trio.sleep_forever()

    async def _work(self, handle: WorkerHandle) -> None:
        handle.start_soon(self.at("child"))
        handle.ready()
        with handle.until_stopping():
            await trio.sleep_forever()

    @asynccontextmanager
    async def _manage(self) -> AsyncGenerator[str, None]:
        await self.pass_by("entering")
        yield "a value"
        await self.pass_by("leaving")

    async def _provide(self, f: Callback) -> None:
        await f()


class _Polite:
    """Runs until it is asked to stop."""

    def __init__(self) -> None:
        self._asked = trio.Event()

    async def run(self) -> None:
        self._asked = trio.Event()
        await self._asked.wait()

    async def stop(self) -> None:
        self._asked.set()


class _Foreign:
    """A runnable with a nursery around its callback."""

    async def run(self, f: Callback) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await f()
            nursery.cancel_scope.cancel("done")


def everything(fault: str = "", *, grace: float = 0) -> list[Runnable]:
    """Compose one of everything in each of the ways.

    Args:
        fault: where its parts fail, one of `PLACES`; "" for nowhere.
        grace: seconds for which it may stop gracefully although it is cancelled.
    """
    parts = Parts(fault)
    ways = [
        chain(*parts.one_of_each()),
        parallel(*parts.one_of_each()),
        sequential(*parts.one_of_each(), stop_order="reverse"),
    ]
    return [timeouts(named("shop", way), start=60, stop=60, grace=grace) for way in ways]
