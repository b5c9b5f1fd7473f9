from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from nestling import (
    WorkerHandle,
    chain,
    leaf,
    named,
    nop,
    parallel,
    sequential,
    start_stop,
    timeouts,
    worker,
)
from nestling._kernel._foreign import accept
from nestling._kernel._runnable import Description
from tests.kernel.recording import failure_of, no_cycles, notes_of

if TYPE_CHECKING:
    from nestling import Runnable
    from tests.kernel.recording import Recorder


def failing(record: Recorder) -> Runnable:
    return leaf(record.does("fails", fails=OSError("no")))


def working(record: Recorder) -> Runnable:
    return start_stop(record.does("start"), record.does("stop"))


async def test_law_5_it_changes_nothing_but_names(record: Recorder) -> None:
    await named("pair", working(record)).run(record.does("callback"))
    assert record.trace == ["start", "callback", "stop"]


async def test_an_error_that_passes_through_gets_a_note(record: Recorder) -> None:
    error = await failure_of(named("http", failing(record)), record.forever("callback"))
    assert isinstance(error, OSError)
    assert notes_of(error) == ["in 'http'"]


async def test_nested_names_are_the_path_read_backwards(record: Recorder) -> None:
    shop = named("shop", named("web", chain(nop(), named("http", failing(record)))))
    error = await failure_of(shop, record.forever("callback"))
    assert notes_of(error) == ["in 'http'", "in 'web'", "in 'shop'"]


async def test_an_error_of_a_dependent_is_not_blamed_on_its_provider(record: Recorder) -> None:
    def shop() -> Runnable:
        return chain(named("db", working(record)), named("http", failing(record)))

    error = await failure_of(shop(), record.forever("callback"))
    assert notes_of(error) == ["in 'http'"]
    error = await failure_of(named("shop", shop()), record.forever("callback"))
    assert notes_of(error) == ["in 'http'", "in 'shop'"]


async def test_an_error_of_a_provider_is_its_own_below_dependents(record: Recorder) -> None:
    shop = chain(named("db", failing(record)), named("http", working(record)))
    error = await failure_of(named("shop", shop), record.forever("callback"))
    assert notes_of(error) == ["in 'db'", "in 'shop'"]


async def test_an_error_of_the_callback_is_signed_once(record: Recorder) -> None:
    shop = chain(named("db", working(record)), named("http", working(record)))
    error = await failure_of(shop, record.does("callback", fails=OSError()))
    assert notes_of(error) == ["in 'http'"]


async def test_in_a_group_each_error_is_signed_by_its_member(record: Recorder) -> None:
    shop = parallel(named("db", working(record)), named("http", failing(record)))
    with pytest.RaisesGroup(OSError, match="1 of 2 members failed: 'http'") as caught:
        await named("shop", shop).run(record.forever("callback"))
    assert notes_of(caught.value) == ["in 'shop'"]
    assert notes_of(caught.value.exceptions[0]) == ["in 'http'"]


async def test_a_group_that_was_signed_inside_is_not_blamed_on_its_provider(
    record: Recorder,
) -> None:
    web = parallel(named("http", failing(record)), nop())
    with pytest.RaisesGroup(OSError) as caught:
        await chain(named("db", working(record)), web).run(record.forever("callback"))
    assert notes_of(caught.value) == []
    assert notes_of(caught.value.exceptions[0]) == ["in 'http'"]


async def test_a_cancellation_gets_no_note(record: Recorder) -> None:
    with trio.CancelScope() as scope:
        scope.cancel("now")
        with pytest.raises(trio.Cancelled) as caught:
            await named("a", nop()).run(record.forever("callback"))
        assert notes_of(caught.value) == []
        raise caught.value
    assert scope.cancelled_caught


async def test_the_node_that_is_inside_gets_the_path_and_that_of_the_callback_is_outside(
    record: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.log.warning("works")
        handle.ready()
        await handle.stopping.wait()

    shop = named("shop", chain(named("db", worker(work)), named("http", worker(work))))
    await shop.run(record.does("callback"))
    assert caplog.messages == ["shop/db: works", "shop/http: works"]


async def test_two_names_in_a_row_are_both_in_the_path(caplog: pytest.LogCaptureFixture) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.log.warning("works")
        handle.ready()
        await handle.stopping.wait()

    await parallel(named("a", named("b", worker(work))), nop()).run(trio.lowlevel.checkpoint)
    assert caplog.messages == ["a/b: works"]


def test_its_repr_shows_the_name() -> None:
    assert repr(named("a", nop())) == "named('a', nop())"
    assert repr(chain(named("a", nop()), nop())) == "chain(named('a', nop()), nop())"


async def test_law_6_no_reference_cycle_keeps_the_error() -> None:
    with no_cycles() as mark:

        async def fails() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            raise OSError(marker.__class__)

        with pytest.raises(OSError, match="Marker") as caught:
            await named("a", chain(named("b", leaf(fails)), nop())).run(trio.sleep_forever)
        del caught


def test_its_description_has_the_name_and_what_is_inside() -> None:
    def description(r: Runnable) -> Description:
        return accept(r, "test").describe()

    inner = leaf(trio.sleep_forever)
    http = Description("leaf", "http")
    nothing = Description("nop", None)
    assert description(nop()) == nothing
    assert description(named("http", inner)) == http
    web = named("web", chain(named("http", inner), nop()))
    assert description(web) == Description("chain", "web", (http, nothing))
    twice = named("a", named("http", inner))
    assert description(twice) == Description("named", "a", (http,))


def test_what_it_is_made_of_can_be_made_again() -> None:
    web = accept(named("web", chain(nop(), nop())), "test")
    inner = accept(parallel(nop(), nop()), "test")
    assert accept(web.with_parts(inner), "test").describe() == attrs.evolve(
        inner.describe(), name="web"
    )
    ordered = accept(sequential(nop(), nop(), stop_order="reverse"), "test")
    assert repr(ordered.with_parts(*ordered.parts)) == repr(ordered)
    assert repr(ordered) == "sequential(nop(), nop(), stop_order='reverse')"
    bounded = accept(timeouts(nop(), start=1, stop=2), "test")
    assert repr(bounded.with_parts(inner)) == f"timeouts({inner!r}, start=1, stop=2, grace=0)"
    single = accept(leaf(trio.sleep_forever), "test")
    assert single.with_parts() is single


async def test_law_6_no_reference_cycle_keeps_what_a_named_group_has_hidden() -> None:
    """The node keeps the hidden errors for its observers, and their frames know the node."""
    with no_cycles() as mark:

        async def fails() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            raise OSError(marker.__class__)

        group = parallel(nop(), start_stop(trio.lowlevel.checkpoint, fails))
        with pytest.raises(OSError, match="Marker") as caught:
            await named("web", group).run(fails)
        del caught
