"""`describe` and `render`: a composition as a tree, without running it."""

from __future__ import annotations

from typing import Any

import pytest

from nestling import chain, deferred, leaf, named, nop, parallel, sequential, start_stop, timeouts
from nestling.observe import Description, describe, render


async def serve() -> None:
    raise AssertionError("it is not to be run")


async def nothing() -> None:
    pass


def make() -> Any:
    raise AssertionError("it is not to be built")


def test_a_description_has_the_kinds_and_the_names() -> None:
    shop = named("shop", chain(named("db", start_stop(nothing, nothing)), leaf(serve)))
    assert describe(shop) == Description(
        "chain", "shop", (Description("start_stop", "db"), Description("leaf", "serve"))
    )


def test_deadlines_are_invisible_and_what_is_built_later_is_not_built() -> None:
    assert describe(timeouts(named("a", deferred(make)), stop=1)) == Description("deferred", "a")


def test_a_tree_is_drawn_with_a_line_for_each_node() -> None:
    shop = chain(
        named("db", start_stop(nothing, nothing)),
        parallel(
            named("api", chain(leaf(serve), named("http", leaf(serve)))),
            sequential(named("mailer", leaf(serve)), nop()),
        ),
    )
    assert render(describe(named("shop", shop))) == (
        "shop (chain)\n"
        "├── db (start_stop)\n"
        "└── parallel\n"
        "    ├── api (chain)\n"
        "    │   ├── serve (leaf)\n"
        "    │   └── http (leaf)\n"
        "    └── sequential\n"
        "        ├── mailer (leaf)\n"
        "        └── nop\n"
    )


def test_a_tree_may_be_deeper_than_the_stack() -> None:
    tree = Description("leaf", None)
    for _ in range(3000):
        tree = Description("chain", None, (tree,))
    assert render(tree).count("\n") == 3001


def test_an_unknown_format_is_refused_and_those_that_are_there_are_named() -> None:
    with pytest.raises(ValueError, match=r"format of render\(\) must be one of 'text', not 'svg'"):
        render(describe(nop()), format="svg")
