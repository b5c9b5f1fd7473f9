"""What becomes of a composition that was launched, when a part of it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nestling import (
    Runnable,
    chain,
    leaf,
    named,
    nop,
    parallel,
    runnable,
    running,
    sequential,
    timeouts,
)
from nestling.supervise import Controller
from tests.kernel.recording import Recorder, failure_of, leaves_of
from tests.supervise.growing import pair

Compose = Callable[[Runnable, Runnable], Runnable]

COMPOSITIONS: dict[str, Compose] = {
    "chain": chain,
    "parallel": parallel,
    "sequential": sequential,
    "parallel of a chain": lambda db, end: parallel(named("x", chain(db, end)), nop()),
    "in a runnable": lambda db, end: chain(db, timeouts(runnable(chain(nop(), end).run), grace=1)),
}


@pytest.fixture
def record() -> Recorder:
    return Recorder()


@pytest.mark.parametrize("compose", COMPOSITIONS.values(), ids=COMPOSITIONS)
async def test_a_composition_is_over_as_soon_as_a_part_of_it_returns_with_all_its_parts(
    record: Recorder, compose: Compose
) -> None:
    async with running(root := Controller()):
        await root.dependent().launch(pair(record, "web"))
        process = await root.launch(compose(pair(record, "db"), leaf(record.does("job", takes=1))))
        await process.wait()
        assert process.error is None
        record("body")
    others = [entry for entry in record.trace if "job" not in entry]
    assert others == ["db", "db done", "body", "web", "web done"]


@pytest.mark.parametrize("compose", COMPOSITIONS.values(), ids=COMPOSITIONS)
async def test_if_a_part_of_a_composition_fails_the_others_stop_after_the_dependents(
    record: Recorder, compose: Compose
) -> None:
    root, error = Controller(), OSError("lost")
    fails = leaf(record.does("fails", takes=1, fails=error))

    async def callback() -> None:
        await root.dependent().launch(pair(record, "web"))
        await root.launch(compose(pair(record, "db"), fails), name="pool")
        await record.forever("callback", last=1)()

    raised: Any = await failure_of(root, callback)
    assert leaves_of(raised) == [error]
    assert raised.message == "1 below the controller failed: 'pool'"
    assert record.reasons["callback"] == "controller stops, since 'pool' is ending"
    assert [entry for entry in record.trace if "fails" not in entry] == [
        "callback",
        "callback cancelled",
        "callback gone",
        "web",
        "web done",
        "db",
        "db done",
    ]
