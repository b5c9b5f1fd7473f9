"""The run tree: where in a composition the current code runs, and who watches.

A *node* is one run of one runnable. A context variable holds the node inside of which the current
code runs. As long as nothing is named and nobody watches, it holds nothing, no node is made, and
the run tree costs one look at that variable for each run.

Who makes a node, and who only lends one its kind:

==========================  ================================================================
`named`                     always makes a node
leaf, resource, foreign...  take over the node that a `named` right around them has made, or
                            else make one of their own, with the function's name, if somebody
                            watches
chain, parallel, ...        take over the node of a `named` right around them, or else none:
                            a combinator without a name is invisible in paths
==========================  ================================================================

So the path of a node is made of the names that a reader of the composition sees: ``shop/http``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar, Token
from functools import partial
from typing import cast

import attrs
import trio

from nestling._kernel._events import Event, Observer, Running, Starting, Stopped, Stopping
from nestling._kernel._interrupts import called_back, protected
from nestling._kernel._outcome import (
    Signature,
    add_signature,
    first_error,
    is_error,
    is_same,
    note_suppressed,
    notes,
    without_cancelled,
)

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

Callback = Callable[[], Awaitable[object]]
"""What a runnable calls when it is ready: an async callable without arguments."""

_log = logging.getLogger("nestling")


@attrs.define(eq=False)
class Node:
    """One run of one runnable in the run tree.

    Attributes:
        path: the names from the root to here, joined by ``/``.
        kind: what runs here.
        observer: who sees this node's events, or None.
        watchers: who sees the events of the nodes below, or None.
        claimed: a runnable has taken this node over; the next one in it is a node of its own.
        stands_in: this one stands for a node that was made further out, see `watching_node`.
        suppressed: errors of this node that another error hid.
    """

    path: str
    kind: str
    observer: Observer | None = attrs.field(default=None, repr=False)
    watchers: Observer | None = attrs.field(default=None, repr=False)
    claimed: bool = attrs.field(default=False, repr=False)
    stands_in: bool = attrs.field(default=False, repr=False)
    suppressed: list[BaseException] = attrs.field(factory=list[BaseException], repr=False)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def emit(self, event: Event) -> None:
        """Show ``event`` to whoever watches. An observer that fails is logged, no more."""
        if self.observer is not None:
            try:
                self.observer(event)
            except Exception:
                _log.exception("an observer failed at %r", event)

    def starting(self) -> None:
        """Report that the run was entered."""
        if self.observer is not None:
            self.emit(Starting(self, trio.current_time()))

    def running(self) -> None:
        """Report that the callback is entered."""
        if self.observer is not None:
            self.emit(Running(self, trio.current_time()))

    def stopping(self, error: BaseException | None = None, *, by_itself: bool = False) -> None:
        """Report that the callback is over; or that the node has ended by itself."""
        if self.observer is not None:
            self.emit(Stopping(self, trio.current_time(), error, by_itself))

    def stopped(self, error: BaseException | None = None) -> None:
        """Report that nothing is left."""
        if self.observer is not None:
            now, own = trio.current_time(), without_cancelled(error)
            self.emit(Stopped(self, now, own, tuple(self.suppressed)))
            if not self.stands_in:
                # What keeps a raised error must not be kept by it in turn.
                self.suppressed.clear()


_current: ContextVar[Node | None] = ContextVar("nestling_node", default=None)


def current_node() -> Node | None:
    """Return the node inside of which the current code runs."""
    return _current.get()


def enter_node(node: Node | None) -> Token[Node | None]:
    """Make ``node`` the current one, until `leave_node`."""
    return _current.set(node)


def leave_node(token: Token[Node | None]) -> None:
    """Go back to the node that was current before."""
    _current.reset(token)


def child_node(parent: Node | None, name: str, kind: str) -> Node:
    """Make the node ``name`` below ``parent``."""
    if parent is None:
        return Node(name, kind)
    path = f"{parent.path}/{name}" if parent.path else name
    return Node(path, kind, parent.watchers, parent.watchers)


def watching_node(parent: Node | None, observer: Observer) -> Node:
    """Make a stand-in for ``parent``, below which ``observer`` sees the events as well.

    A node that is not yet claimed is still to be claimed in the stand-in: what runs there then
    shows the life of the node to ``observer``, which came too late to see it start.
    """
    if parent is None:
        return Node("", "", None, observer, claimed=True)
    both = observer if parent.watchers is None else _both(parent.watchers, observer)
    stands_in = not parent.claimed
    late = observer if stands_in else None
    return Node(parent.path, parent.kind, late, both, parent.claimed, stands_in, parent.suppressed)


def unwatched_node(label: str, kind: str) -> Node:
    """Make a stand-in for the current node in which nobody watches, or else a node of its own.

    What runs there is one node to the outside, whatever it is made of.
    """
    node = _current.get()
    if node is None or not node.path:
        return Node(label, kind, claimed=True)
    return attrs.evolve(node, observer=None, watchers=None, claimed=True)


def _both(outer: Observer, inner: Observer) -> Observer:
    def observe(event: Event) -> None:
        try:
            outer(event)
        finally:
            inner(event)

    return observe


def claim() -> None:
    """Take over the node of a `named` right around; for combinators, which make none."""
    node = _current.get()
    if node is not None:
        node.claimed = True


def claim_or_make(label: str, kind: str) -> Node | None:
    """Take over the node of a `named` right around, or make one if somebody watches.

    Returns the node whose life has to be reported, by `run_in`; else None.
    """
    node = _current.get()
    if node is None:
        return None
    if node.claimed:
        if node.watchers is None:
            return None
        made = child_node(node, label, kind)
        made.claimed = True
        return made
    node.claimed = True
    if not node.stands_in:
        return None
    return Node(node.path, kind, node.observer, node.watchers, True, True, node.suppressed)


def suppress(errors: Iterable[BaseException]) -> None:
    """Let the observers of the current node see the errors that another one hides."""
    node = _current.get()
    if node is not None and node.observer is not None:
        node.suppressed.extend(errors)


def settle(errors: Iterable[tuple[str, BaseException | None]]) -> BaseException | None:
    """Choose the error that comes out; leave the others to its notes, and to the observers.

    Args:
        errors: what was raised, and by whom, in order of precedence.
    """
    error, others = first_error(errors)
    if error is not None:
        note_suppressed(error, others)
        suppress(other for _, other in others)
    return error


async def run_in(
    node: Node,
    run: Callable[[Callback], Awaitable[object]],
    f: Callback,
    sign: bool = False,
) -> None:
    """Run ``run(f)`` as ``node``, reporting its life. The callback runs outside of the node.

    To ``sign`` is to leave the node's name on its own errors, and on an error of the callback that
    no other node has signed: so the notes of an error, read backwards, are the path of where it was
    raised.
    """
    passing: list[BaseException] = []
    outer = _current.get()

    token = _current.set(node)
    node.starting()
    try:
        await run(partial(_call_back, node, outer, passing, f))
    except BaseException as exception:
        own = not any(is_same(exception, other) for other in passing)
        node.stopped(exception if own else None)
        if sign and is_error(exception) and (own or not _is_signed(exception)):
            add_signature(exception, node.name)
        raise
    else:
        node.stopped()
    finally:
        _current.reset(token)
        passing.clear()


@protected
async def _call_back(
    node: Node, outer: Node | None, passing: list[BaseException], f: Callback
) -> None:
    token = _current.set(outer)
    node.running()
    try:
        await called_back(f)
    except BaseException as exception:
        passing.append(exception)
        node.stopping(exception)
        raise
    else:
        node.stopping()
    finally:
        _current.reset(token)


def _is_signed(exception: BaseException) -> bool:
    """Tell whether a node has left its name on ``exception``, or on one of its members."""
    if any(isinstance(note, Signature) for note in notes(exception)):
        return True
    if not isinstance(exception, BaseExceptionGroup):
        return False
    return any(map(_is_signed, cast("BaseExceptionGroup[BaseException]", exception).exceptions))
