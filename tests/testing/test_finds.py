"""What the reference model and the certificates have found: the smallest case of each, kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from nestling import chain, leaf, nop, parallel, sequential, timeouts
from nestling.testing import Body, Probe, certify, model, play
from nestling.testing.strategies import ProbeInterrupt

if TYPE_CHECKING:
    from nestling import Runnable
    from nestling.testing._probe import Kind


def error(text: str) -> RuntimeError:
    return RuntimeError(text)


FINDS: dict[str, tuple[Runnable, Body]] = {
    "a member that returns while it waits for its turn to stop has not been asked to": (
        sequential(Probe("a", stop=0.25), Probe("b", run=1.125, on_return="fail"), Probe("c")),
        Body(1.0625),
    ),
    "a member that starts is cancelled at once when another fails, and not in its turn": (
        sequential(
            Probe("a", run=1.25, fail="run", kind="leaf"),
            Probe("b", start=1.125, stop=0.0625, kind="start_stop"),
            Probe("c", start=1.03125),
        ),
        Body(),
    ),
    "members stop in order while one that starts ignores its cancellation": (
        sequential(
            Probe("a", run=0.25, stop=0.125),
            Probe("b", stop=0.0625),
            Probe("c", start=1.03125, stop=0.015625, ignore=0.5, kind="start_stop"),
        ),
        Body(),
    ),
    "what ends inside of a member while others stop does not wait for its turn": (
        sequential(
            Probe("a", stop=0.25, fail="stop", kind="polite leaf"),
            Probe("b"),
            chain(Probe("c", run=0.125, kind="service"), Probe("d", kind="leaf")),
        ),
        Body(0.0625),
    ),
    "a grace is for a cancellation from outside, and not for one from inside": (
        timeouts(chain(Probe("a", stop=0.25), Probe("b", run=0.125, stop=0.0625)), grace=0.03125),
        Body(1.015625),
    ),
    "a group error of the callback comes out before a stop that was too late": (
        chain(
            timeouts(Probe("a", stop=0.25), stop=0.125),
            parallel(Probe("b", fail="stop", kind="leaf"), Probe("c", stop=0.0625)),
        ),
        Body(0.03125),
    ),
    "an error that is the cause of one in a hidden group is told": (
        parallel(
            Probe("a", kind="leaf"),
            chain(
                Probe("b", run=3.25, fail="run", kind="leaf"),
                Probe("c", ignore=1.125, fail="stop", kind="leaf"),
            ),
            nop(),
        ),
        Body(3.0625, fail=error("the body fails")),
    ),
    "an error in whose place code of the user has raised another one is told": (
        chain(
            Probe("a", kind="leaf", fail=("stop", ProbeInterrupt("a fails in stop"))),
            Probe("b", stop=0.125, kind="runnable", fail="stop"),
        ),
        Body(0.0625, fail=error("the body fails")),
    ),
}


@pytest.mark.parametrize(("r", "body"), FINDS.values(), ids=FINDS)
@pytest.mark.parametrize("seed", range(4))
def test_the_model_holds_for(r: Runnable, body: Body, seed: int) -> None:
    assert play(r, body, seed=seed).problems(model(r, body)) == []


def test_ctrl_c_is_not_lost_where_code_of_the_user_raises_a_cancellation_in_its_place() -> None:
    make = lambda: chain(Probe("a"), Probe("b", kind="resource"), Probe("c", kind="resource"))  # noqa: E731
    certify(make, faults=["cancel", "interrupt"]).check()


@pytest.mark.parametrize("kind", ["worker", "resource"])
def test_ctrl_c_is_not_lost_where_it_comes_together_with_a_cancellation(kind: Kind) -> None:
    certify(
        lambda: parallel(Probe("a", kind=kind, ignore=1), Probe("b", kind=kind)),
        faults=["cancel", "interrupt"],
    ).check()


def test_a_cancellation_of_the_kernel_does_not_come_out_in_a_group_with_ctrl_c() -> None:
    """A second Ctrl-C, while a provider ends that has caught the first in a nursery of its own."""

    async def job() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()

    certify(lambda: leaf(job), faults=["interrupt"]).check()
