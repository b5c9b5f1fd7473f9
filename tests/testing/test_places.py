from __future__ import annotations

from nestling import chain, named, nop, parallel, timeouts
from nestling._kernel._foreign import accept
from nestling.supervise import graph, node
from nestling.testing._places import dependents, paths_of

COMPOSITION = accept(
    chain(
        named("db", nop()),
        graph(
            node("admin", nop(), requires=["http", "clock"]),
            node("http", timeouts(nop(), stop=1)),
            node("clock", nop()),
        ),
        parallel(named("a", nop()), named("b", nop())),
    ),
    "a composition",
)


def test_it_is_known_where_each_part_runs() -> None:
    assert paths_of(COMPOSITION) == ["db", "admin", "http", "clock", "a", "b"]


def test_it_is_known_who_depends_on_whom() -> None:
    assert dependents(COMPOSITION) == {
        "db": {"admin", "http", "clock", "a", "b"},
        "admin": {"a", "b"},
        "http": {"admin", "a", "b"},
        "clock": {"admin", "a", "b"},
    }
