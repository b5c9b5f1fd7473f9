"""The protocol, and what the kernel knows of the runnables that it made itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import attrs

from nestling._kernel._interrupts import protected
from nestling._kernel._member import Plan, plan_of_any
from nestling._kernel._node import Callback, claim_or_make, run_in


@runtime_checkable
class Runnable(Protocol):
    """A service: something that sets itself up, runs for a while, and tears itself down.

    ``run(f)`` promises three things. It calls ``f``, at most once, when it is ready for use. When
    ``f`` has finished it stops: gracefully, if ``f`` returned and nothing is cancelled. It
    returns when nothing of it is left.

    Any object with such a method is a runnable; no base class is needed::

        class Server:
            async def run(self, f: Callback) -> None:
                listeners = await open_listeners()
                try:
                    await f()
                finally:
                    await close(listeners)
    """

    async def run(self, f: Callback, /) -> None:
        """Set up, call ``f`` once, tear down."""
        ...


@attrs.frozen
class Description:
    """What a composition is made of, known without running it.

    Attributes:
        kind: which combinator made it.
        name: the name that `named` gave it, or the label of its function, or None.
        children: what it is composed of.
    """

    kind: str
    name: str | None
    children: tuple[Description, ...] = ()


class Composed(ABC):
    """A runnable that the kernel made, of which it therefore knows more than the protocol says.

    The kernel never trusts a foreign runnable (see `_foreign`); these it trusts: to call back
    once, to keep the laws, and to say how they can be run more cheaply (see `plan`).
    """

    kind: str
    """Which combinator made it."""

    @abstractmethod
    async def run(self, f: Callback, /) -> None:
        """Set up, call ``f`` once, tear down."""

    @property
    def label(self) -> str | None:
        """What stands for a name in paths where there is none; None for what is invisible."""
        return None

    @property
    def is_named(self) -> bool:
        """Whether `named` gave it its label."""
        return False

    @property
    def parts(self) -> tuple[Composed, ...]:
        """The runnables that it is made of."""
        return ()

    @property
    def needs(self) -> Iterable[tuple[int, int]]:
        """Which parts need which: pairs of their numbers, of who needs and of what is needed."""
        return ()

    def with_parts(self, *parts: Runnable) -> Runnable:
        """Return what is made of ``parts`` as this is made of its own."""
        assert not parts, f"{self!r} has no parts"
        return self

    def plan(self) -> Plan:
        """Say how a group runs this as a member. By default: as a task in which it is run."""
        return plan_of_any(self.run, self.label or self.kind, self.kind)

    def describe(self) -> Description:
        """Return the static tree of this composition."""
        children = tuple(part.describe() for part in self.parts)
        return Description(self.kind, self.label, children)

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.parts))
        return f"{self.kind}({inner or self.label or ''})"


class Composable(ABC):
    """What offers more under the name ``run`` than the protocol asks for.

    Where it is a part of a composition, what runs is its ``composed``, and never its ``run``.
    """

    @property
    @abstractmethod
    def composed(self) -> Composed:
        """The runnable that stands for it in a composition."""


@attrs.frozen(repr=False, eq=False)
class Wrapper(Composed):
    """One that changes how another one runs, and is invisible itself."""

    inner: Composed
    kind: str

    @property
    def label(self) -> str | None:
        return self.inner.label

    @property
    def is_named(self) -> bool:
        return self.inner.is_named

    @property
    def parts(self) -> tuple[Composed, ...]:
        return (self.inner,)

    def describe(self) -> Description:
        return self.inner.describe()


class Primitive(Composed):
    """One that runs functions and no other runnable; so it is a node of the run tree."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What stands for a name in paths where there is none."""

    @protected
    async def run(self, f: Callback, /) -> None:
        """Set up, call ``f`` once, tear down."""
        node = claim_or_make(self.label, self.kind)
        if node is None:
            await self.run_here(f)
        else:
            await run_in(node, self.run_here, f)

    @abstractmethod
    async def run_here(self, f: Callback) -> None:
        """Do what `run` promises, inside of the current node."""
