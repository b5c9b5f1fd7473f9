"""`closing`: what has an ``aclose`` or a ``close``, closed in reverse order, whatever fails.

=======  ============================  ==========================================================
phase    event                         what is done
=======  ============================  ==========================================================
idle     it is entered                 it is open; where it is cancelled already, all is closed
idle     something is added            `InvalidStateError`
open     it is entered again           `InvalidStateError`
open     something is added            that is closed first
open     it is released                all is handed on, and nothing is left to be closed here
open     it is left                    it is closing: the last one that is left is closed, and so on
closing  something is added            that is closed next
closing  a close fails                 the others are closed
closing  a close is interrupted        the others are closed in a cancelled scope
closing  nothing is left               it is idle; the errors come out
=======  ============================  ==========================================================
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast, final

import trio

from nestling._kernel._checks import describe_value
from nestling._kernel._errors import InvalidStateError
from nestling._kernel._group import raise_all
from nestling._kernel._interrupts import called_back, protected, surely
from nestling._kernel._member import Plan
from nestling._kernel._node import Callback, settle
from nestling._kernel._outcome import forces, raise_again, without_cancelled
from nestling._kernel._provider import where
from nestling._kernel._runnable import Primitive

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")

Close = Callable[[], Awaitable[object]]


def closing(*resources: object) -> Closing:
    """Close resources in reverse order: all of them, whatever fails.

    As an async context manager it closes them when its body is left, as a runnable when its
    callback is over. Each has an ``aclose()``, or else a ``close()``; either may be async or not.

    Args:
        resources: what is closed. `Closing.add` adds more while it is open, and `Closing.release`
            hands all on, so that they are closed only if something fails before.

    Raises the error of the body, or of the callback, with notes of others; or else what closing has
    raised: one error bare, several as a group. When it is cancelled or forced, all are closed in a
    cancelled scope: what trio offers is then closed at once, and without ceremony.

    Example::

        async with closing(journal, listener) as opened:
            metrics = opened.add(await open_metrics())
            ...

    Raises:
        TypeError: one of them has neither an ``aclose()`` nor a ``close()``.

    The idea is that of ``Closer`` in workerctl, a Go library.
    """
    return Closing(*resources)


@final
class Closing(Primitive):
    """Closes resources; made by `closing`."""

    kind = "closing"

    def __init__(self, *resources: object) -> None:
        self._given = [
            _Closer.of(resource, f"argument {number} of closing()")
            for number, resource in enumerate(resources, 1)
        ]
        self._open: list[_Closer] | None = None

    @property
    def label(self) -> str:
        return self.kind

    def __repr__(self) -> str:
        return f"closing({', '.join(each.name for each in self._given)})"

    def add(self, resource: T) -> T:
        """Close ``resource`` as well, in this run, before all that were there earlier. Returns it.

        Raises:
            InvalidStateError: it is not open, so that nothing would close the resource.
            TypeError: it has neither an ``aclose()`` nor a ``close()``.
        """
        closer = _Closer.of(resource, "resource of add()")
        self._opened(f"add {describe_value(resource)}").append(closer)
        return resource

    def release(self) -> Closing:
        """Hand all on: return another one that closes them, while this one closes none of them.

        For code that opens several things, and is to close them only if it fails::

            async with closing() as opened:
                journal = opened.add(await open_journal())
                listener = opened.add(await open_listener(journal))
                return Server(listener, opened.release())

        Raises:
            InvalidStateError: it is not open.
        """
        opened = self._opened("release anything")
        released = Closing(*[each.resource for each in opened])
        opened.clear()
        return released

    def _opened(self, call: str) -> list[_Closer]:
        if self._open is None:
            raise InvalidStateError(f"cannot {call}: closing() is not open")
        return self._open

    @protected
    async def __aenter__(self) -> Closing:
        if self._open is not None:
            raise InvalidStateError(
                f"cannot open {where(self.kind, '')}: it is open; make another one"
            )
        self._open = list(self._given)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except BaseException as error:
            # There is no body to be left; but what it was given is open already.
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    @protected
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        closing: BaseException | None = None
        chosen: BaseException | None = None
        try:
            with trio.CancelScope() as scope:
                if forces(error):
                    scope.cancel(_forced(error))
                try:
                    await self._close_all()
                except BaseException as exception:
                    closing = exception
            if closing is not None:
                chosen = settle([("the body", error), ("closing", closing)])
                if chosen is None and error is None:
                    chosen = closing
                if chosen is not None and chosen is not error:
                    raise_again(chosen)
        finally:
            # Whoever keeps a raised error keeps this frame: let it not keep the error in turn.
            del error, traceback, closing, chosen

    @protected
    async def _close_all(self) -> None:
        failed: list[tuple[str, BaseException]] = []
        cancelled: BaseException | None = None
        error: BaseException | None = None
        total = 0
        try:
            with trio.CancelScope() as scope:
                while self._open:
                    closer = self._open.pop()
                    total += 1
                    try:
                        await surely(closer.close)
                    except BaseException as exception:
                        error = without_cancelled(exception)
                        if error is None:
                            cancelled = exception
                        else:
                            failed.append((closer.name, error))
                        if forces(error):
                            scope.cancel(_forced(error))
            self._open = None
            if len(failed) == 1:
                raise_again(failed[0][1])
            if failed:
                raise_all(failed, f"of {total} resources")
            if cancelled is not None:
                raise_again(cancelled)
        finally:
            failed.clear()
            error = cancelled = None

    @protected
    async def run_here(self, f: Callback) -> None:
        async with self:
            await called_back(f)

    def plan(self) -> Plan:
        return Plan(
            label=self.label,
            kind=self.kind,
            start=self.__aenter__,
            stop=self._close_all,
        )


def check_closable(resource: object, argument: str) -> None:
    """Refuse what cannot be closed."""
    _Closer.of(resource, argument)


class _Closer:
    """How a resource is closed.

    Attributes:
        name: of what is called, such as ``Journal.aclose``.
    """

    def __init__(self, resource: object, method: str, close: Callable[[], object]) -> None:
        self.resource = resource
        self.name = f"{type(resource).__qualname__}.{method}"
        is_async = inspect.iscoroutinefunction(close)
        self.close = cast("Close", close) if is_async else partial(_close, close)

    @classmethod
    def of(cls, resource: Any, argument: str) -> _Closer:
        """Find out how to close ``resource``, or refuse it."""
        if inspect.iscoroutine(resource):
            resource.close()
            raise TypeError(f"{argument} is a coroutine: await {resource.__qualname__!r} first")
        if not isinstance(resource, type):
            for method in ("aclose", "close"):
                close = getattr(resource, method, None)
                if callable(close):
                    return cls(resource, method, close)
        raise TypeError(
            f"{argument} must have a method 'aclose' or 'close', unlike {describe_value(resource)}"
        )


async def _close(close: Callable[[], object]) -> None:
    made = close()
    if inspect.isawaitable(made):
        await made


def _forced(error: BaseException | None) -> str:
    return f"{where('closing', '')} is forced by {type(error).__name__}"
