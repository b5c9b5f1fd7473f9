"""Compositions that grow while they run, since what depends on them fills them."""

from __future__ import annotations

from collections.abc import Callable

import trio

from nestling import Runnable, chain, start_stop
from nestling.supervise import Closing, Controller, Jobs, closing, every

Make = Callable[[], Runnable]


class Bound:
    """A resource that takes its time to close."""

    async def aclose(self) -> None:
        await trio.sleep(1)


async def moment() -> None:
    """Take some time."""
    await trio.sleep(1)


def bound() -> Closing:
    """Make what closes two resources."""
    return closing(Bound(), Bound())


def repeated() -> Runnable:
    """Make what does something again and again, with a pause."""
    return every(2, moment)


def launching(inner: Make) -> Runnable:
    """Make a controller and a dependent of it, each with something bound, and ``inner`` launched.

    Args:
        inner: makes what is launched, each time anew.
    """
    root = Controller()

    async def launch() -> None:
        root.bind(Bound())
        await root.launch(inner())
        web = root.dependent(name="web")
        web.bind(Bound())
        await web.launch(inner())

    return chain(root, start_stop(launch, trio.lowlevel.checkpoint))


def working(inner: Make) -> Runnable:
    """Make jobs, of which one is waited for and one is not; each runs ``inner`` for a moment.

    Args:
        inner: makes what a job runs, each time anew.
    """
    jobs = Jobs()

    async def job() -> None:
        await inner().run(moment)

    async def begin() -> None:
        jobs.start_soon(job)
        await jobs.run(job)

    return chain(jobs, start_stop(begin, trio.lowlevel.checkpoint))
