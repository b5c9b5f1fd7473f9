"""What a trio expert writes for the same promises, without nestling."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked


async def do_nothing() -> None:
    """Be a function that has nothing to wait for."""


async def started_services(count: int) -> None:
    """Start services that signal that they are ready; cancel them."""

    async def service(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            await nursery.start(service)
        nursery.cancel_scope.cancel()


async def bare_tasks(count: int) -> None:
    """Start tasks, without knowing whether they are ready; cancel them."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(trio.sleep_forever)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def starts_then_stops(count: int) -> None:
    """Await start functions at the same time, then stop functions at the same time."""
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(do_nothing)


async def nested_services(count: int, slice_length: int = 50) -> None:
    """Start one service after the other, each inside the nursery of the one before.

    So many nurseries cannot be nested in one task: each slice goes on in a child task.
    """

    async def levels(left_in_slice: int, left: int) -> None:
        if left == 0:
            await wait_all_tasks_blocked()
        elif left_in_slice == 0:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(levels, slice_length, left)
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                await levels(left_in_slice - 1, left - 1)
                nursery.cancel_scope.cancel()

    await levels(slice_length, count)
