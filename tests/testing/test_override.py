from __future__ import annotations

from typing import Any, cast

import pytest
import trio

from nestling import (
    chain,
    deferred,
    leaf,
    named,
    nop,
    parallel,
    sequential,
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
    with pytest.raises(TypeError, match="takes the names or paths of nodes, not 5"):
        override(SHOP, {cast("Any", 5): nop()})


def test_what_is_deferred_can_be_replaced_as_a_whole() -> None:
    later = named("later", deferred(lambda: nop()))  # noqa: PLW0108
    assert repr(override(later, {"later": Probe("later")})) == "Probe('later')"
