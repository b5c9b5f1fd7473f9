from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
import trio.testing

from nestling import (
    Callback,
    InvalidStateError,
    NotRunningError,
    Runnable,
    chain,
    deferred,
    leaf,
    named,
    nop,
    parallel,
    resource,
    running,
    sequential,
    service,
    timeouts,
)
from nestling._kernel._foreign import accept
from nestling.observe import describe, render
from nestling.testing import Probe, UnknownNodeError, override, record
from nestling.testing._places import dependents, paths_of

SHOP = named(
    "shop",
    chain(
        named("db", leaf(trio.sleep_forever)),
        timeouts(
            parallel(
                named("http", leaf(trio.sleep_forever)),
                sequential(named("mailer", nop()), leaf(trio.sleep_forever), stop_order="reverse"),
            ),
            stop=3,
        ),
    ),
)


async def test_a_node_is_replaced_by_its_name_or_its_path_and_keeps_its_name() -> None:
    with record() as trace:
        changed = override(SHOP, {"mailer": Probe("fake"), "shop/http": Probe("http")})
        await changed.run(trio.lowlevel.checkpoint)
    assert "shop/mailer/fake" in {event.path for event in trace.events}
    assert "shop/http" in {event.path for event in trace.events}
    assert "shop/http/http" not in {event.path for event in trace.events}


def test_all_else_is_as_it_was_and_so_is_the_composition() -> None:
    before = repr(SHOP)
    changed = override(SHOP, {"db": nop()})
    assert repr(changed) == before.replace("leaf(sleep_forever)", "nop()", 1)
    assert repr(SHOP) == before
    assert repr(override(SHOP, {})) == before


def test_a_whole_part_of_a_composition_can_be_replaced() -> None:
    assert render(describe(override(SHOP, {"shop": nop()}))) == "shop (nop)\n"


def test_paths_are_those_of_the_run_tree() -> None:
    paths = ["shop", "shop/db", "shop/http", "shop/mailer", "shop/sleep_forever"]
    assert paths_of(accept(SHOP, "test")) == paths
    twice = named("a", named("b", leaf(trio.sleep_forever)))
    assert paths_of(accept(twice, "test")) == ["a", "a/b"]


def test_who_depends_on_whom_is_known_from_the_chains() -> None:
    assert dependents(accept(SHOP, "test")) == {
        "shop/db": {"shop/http", "shop/mailer", "shop/sleep_forever"}
    }


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("mailr", "override() of 'mailr': there is no such node; is 'mailer' meant?"),
        (
            "x",
            "override() of 'x': there is no such node; there are 'shop', 'shop/db', 'shop/ht",
        ),
        ("shop/x/http", "there is no such node; is 'shop/http' meant?"),
    ],
)
def test_an_unknown_name_is_refused(key: str, problem: str) -> None:
    with pytest.raises(UnknownNodeError) as caught:
        override(SHOP, {key: nop()})
    assert problem in str(caught.value)


def test_a_name_that_several_nodes_have_is_refused() -> None:
    double = parallel(named("a", named("x", nop())), named("b", named("x", nop())))
    with pytest.raises(UnknownNodeError, match="there are several, write their paths: 'a/x', 'b/x"):
        override(double, {"x": nop()})
    assert repr(override(double, {"a/x": Probe("x")})).count("Probe") == 1


def test_what_is_no_runnable_and_no_name_is_refused() -> None:
    with pytest.raises(TypeError, match=r"replacement 'db' of override\(\) must be a runnable"):
        override(SHOP, {"db": cast("Any", 5)})
    with pytest.raises(TypeError, match=r"r of override\(\) must be a runnable"):
        override(cast("Any", 5), {})
    with pytest.raises(TypeError, match=r"replacements of override\(\) must be a mapping of names"):
        override(SHOP, cast("Any", [("db", nop())]))
    with pytest.raises(TypeError, match="takes the names or paths of nodes, not 5"):
        override(SHOP, {cast("Any", 5): nop()})


def test_what_is_deferred_can_be_replaced_as_a_whole() -> None:
    later = named("later", deferred(lambda: nop()))  # noqa: PLW0108
    assert repr(override(later, {"later": Probe("later")})) == "Probe('later')"


@asynccontextmanager
async def give(value: str) -> AsyncGenerator[str, None]:
    yield value


async def offer(value: str, *, task_status: trio.TaskStatus[str]) -> None:
    task_status.started(value)
    await trio.sleep_forever()


class Fake:
    """A runnable of another library, with a value."""

    value = "fake"

    async def run(self, f: Callback) -> None:
        await f()


@pytest.mark.parametrize(
    "fake",
    [
        resource(give, "fake"),
        service(offer, "fake"),
        timeouts(named("other", resource(give, "fake")), stop=3),
        Fake(),
    ],
    ids=["resource", "service", "wrapped", "foreign"],
)
@pytest.mark.parametrize("kind", ["resource", "service"])
async def test_who_uses_the_value_of_what_is_replaced_gets_that_of_the_fake(
    kind: str, fake: Runnable
) -> None:
    seen: list[str] = []
    db = resource(give, "real") if kind == "resource" else service(offer, "real")

    async def use() -> None:
        seen.append(db.value)

    def shop() -> Runnable:
        return chain(named("db", timeouts(db, start=3)), named("http", leaf(use)))

    async with running(override(override(shop(), {"http": nop()}), {"db": fake})):
        assert db.value == "fake"
    with pytest.raises(NotRunningError):
        _ = db.value
    await override(shop(), {"db": fake}).run(trio.testing.wait_all_tasks_blocked)
    await shop().run(trio.testing.wait_all_tasks_blocked)
    assert seen == ["fake", "real"]


async def test_what_stands_in_for_a_value_can_be_replaced_in_turn() -> None:
    db = resource(give, "real")
    once = override(named("shop", chain(named("db", db), nop())), {"db": resource(give, "fake")})
    async with running(override(once, {"shop/db": resource(give, "another")})):
        assert db.value == "another"


async def test_a_replaced_resource_has_one_value_at_a_time_as_any() -> None:
    db = resource(give, "real")
    fake = override(named("db", db), {"db": resource(give, "fake")})
    async with running(db):
        with pytest.raises(InvalidStateError, match="it is running, and has only one value"):
            await fake.run(trio.lowlevel.checkpoint)
        assert db.value == "real"
    async with running(fake):
        with pytest.raises(InvalidStateError, match="it is running, and has only one value"):
            await db.run(trio.lowlevel.checkpoint)
        assert db.value == "fake"


class LateFake:
    """A runnable of another library, which has a value only while it runs."""

    value: str | None = None

    async def run(self, f: Callback) -> None:
        self.value = "fake"
        try:
            await f()
        finally:
            self.value = None


async def test_a_fake_may_have_its_value_or_be_built_only_when_it_runs() -> None:
    db = resource(give, "real")
    shop = chain(named("db", db), nop())
    for fake in (LateFake(), deferred(lambda: resource(give, "fake"))):
        async with running(override(shop, {"db": fake})):
            assert db.value == "fake"
    again = override(override(shop, {"db": nop()}), {"db": resource(give, "fake")})
    async with running(again):
        assert db.value == "fake"


async def test_a_fake_without_a_value_leaves_none() -> None:
    db = resource(give, "real")
    async with running(override(named("db", db), {"db": Probe("fake")})):
        with pytest.raises(NotRunningError) as caught:
            _ = db.value
    assert str(caught.value) == ("resource 'give' has no value: Probe('fake') runs in its place")


def test_replacements_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="'db' and 'shop/db' are the same node, 'shop/db'"):
        override(SHOP, {"db": nop(), "shop/db": Probe("db")})
    with pytest.raises(ValueError, match="of 'http': it is a part of 'shop', which is replaced"):
        override(SHOP, {"shop": nop(), "http": nop()})


def test_nodes_of_one_path_cannot_be_told_apart() -> None:
    double = named("shop", parallel(named("x", nop()), named("x", nop())))
    with pytest.raises(UnknownNodeError, match="several of the same path, 'shop/x'; give each"):
        override(double, {"x": nop()})
