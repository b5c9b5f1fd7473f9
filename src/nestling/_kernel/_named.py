"""`named`: a name for a node."""

from __future__ import annotations

import attrs

from nestling._kernel._checks import check_name
from nestling._kernel._foreign import accept
from nestling._kernel._interrupts import protected
from nestling._kernel._member import Plan
from nestling._kernel._node import Callback, child_node, current_node, run_in
from nestling._kernel._runnable import Composed, Description, Runnable


def named(name: str, r: Runnable) -> Runnable:
    """Give a runnable its name in the run tree.

    Changes nothing else, but that an error that passes through gets the note ``in 'name'``. In a
    chain an error of a dependent passes through its providers as well; they sign it only if no
    node has signed it before, so that the notes name the path of the node that failed.

    Args:
        name: not empty, and without a slash, which separates the names of a path.
        r: what is named.

    Example::

        shop = named("shop", chain(named("db", db), named("http", http)))    # shop/db, shop/http
    """
    check_name(name, "name of named()")
    inner = accept(r, f"r of named({name!r})")
    return Named(name, inner, inner.kind)


@attrs.frozen(repr=False, eq=False)
class Named(Composed):
    name: str
    _inner: Composed
    kind: str

    @property
    def label(self) -> str:
        return self.name

    @property
    def is_named(self) -> bool:
        return True

    @property
    def parts(self) -> tuple[Composed, ...]:
        return (self._inner,)

    def with_parts(self, *parts: Runnable) -> Runnable:
        return named(self.name, *parts)

    @protected
    async def run(self, f: Callback, /) -> None:
        node = child_node(current_node(), self.name, self.kind)
        await run_in(node, self._inner.run, f, sign=True)

    def plan(self) -> Plan:
        plan = self._inner.plan()
        if plan.is_node and plan.name is None:
            return attrs.evolve(plan, name=self.name)
        return super().plan()

    def describe(self) -> Description:
        inner = self._inner.describe()
        if isinstance(self._inner, Named):
            return Description("named", self.name, (inner,))
        return Description(inner.kind, self.name, inner.children)

    def __repr__(self) -> str:
        return f"named({self.name!r}, {self._inner!r})"
