"""Law 6: nothing is left, whatever of it fails."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import trio

from nestling import Runnable, leaf, start_stop
from nestling.supervise import Backoff, RestartPolicy, Supervisor, child, graph, node, restart
from tests.kernel.recording import leaves_of, no_cycles, no_task_left

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

POLICY = RestartPolicy(limit=2, backoff=Backoff(initial=0))
STEADY = leaf(trio.sleep_forever)


async def nothing() -> None:
    pass


AROUND: dict[str, Callable[[Runnable], Runnable]] = {
    "restart": lambda r: restart(r, POLICY),
    "a node": lambda r: graph(node("a", STEADY), node("b", r, requires=["a"])),
    "a node that is required": lambda r: graph(node("a", r), node("b", STEADY, requires=["a"])),
    "a node that starts anew": lambda r: graph(
        node("a", r, restart=POLICY), node("b", STEADY, requires=["a"])
    ),
    "a child": lambda r: Supervisor(child("a", STEADY), child("b", r), limit=2),
    "all children": lambda r: Supervisor(
        child("a", STEADY), child("b", r), child("c", STEADY), strategy="one_for_all", limit=2
    ),
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("moment", ["start", "run", "stop", "callback", "cancelled"])
async def test_no_reference_cycle_keeps_an_error_and_no_task_is_left(
    around: Callable[[Runnable], Runnable], moment: str
) -> None:
    with no_cycles() as mark, no_task_left():

        async def fail() -> None:
            _marker = mark()
            raise OSError(moment)

        async def hold_on_and_fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                await fail()

        failing: dict[str, Runnable] = {
            "start": start_stop(fail, nothing),
            "run": leaf(fail),
            "stop": start_stop(nothing, fail),
            "cancelled": leaf(hold_on_and_fail),
        }
        f = {"callback": fail, "run": trio.sleep_forever}.get(moment, nothing)
        r = around(failing.get(moment, STEADY))
        with pytest.raises(
            (OSError, ExceptionGroup),
            check=lambda error: {str(each) for each in leaves_of(error)} == {moment},
        ):
            await r.run(f)
        await trio.lowlevel.checkpoint()
