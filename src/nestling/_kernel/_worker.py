"""`worker`: a function that is told when to stop."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import attrs
import trio

from nestling._kernel._checks import check_choice, check_name, label_of
from nestling._kernel._functions import check_async
from nestling._kernel._interrupts import interruptible, protected
from nestling._kernel._member import Member, Plan
from nestling._kernel._node import Callback, current_node, settle
from nestling._kernel._outcome import add_signature, is_error, raise_again
from nestling._kernel._provider import OnReturn, Provider, where
from nestling._kernel._runnable import Primitive, Runnable

if TYPE_CHECKING:
    from typing_extensions import TypeVarTuple, Unpack

    Arguments = TypeVarTuple("Arguments")
    _LoggerAdapter = logging.LoggerAdapter[logging.Logger]
else:
    _LoggerAdapter = logging.LoggerAdapter  # generic from Python 3.11 on

_logger = logging.getLogger("nestling.worker")

WorkerFunction = Callable[["WorkerHandle"], Awaitable[object]]


def worker(fn: WorkerFunction, *, on_return: OnReturn = "stop") -> Runnable:
    """Make a runnable of a function that gets a `WorkerHandle`.

    ``await fn(handle)`` is the foreground. It is running once it calls ``handle.ready()``; a
    graceful stop sets ``handle.stopping``, and then waits for the function to return by itself.

    Args:
        fn: called with the handle.
        on_return: what it means if it returns before it is stopped; as for `leaf`.

    Example::

        async def mailer(handle):
            async with mail_server() as server:
                handle.ready()
                while not handle.stopping.is_set():
                    with handle.until_stopping():
                        order = await orders.next()    # waiting is cut short by a stop
                        await server.send(order)

    Raises, when it runs, the callback's error, or else that of the function or of a child task;
    and `ExitedBeforeRunningError` if it returns before it is ready.
    """
    check_async(fn, "fn of worker()", arity=1)
    check_choice(on_return, f"on_return of worker({label_of(fn)!r})", ("stop", "stay", "fail"))
    return _Worker(fn, on_return)


@attrs.frozen(repr=False, eq=False)
class _Worker(Primitive):
    kind = "worker"

    _fn: WorkerFunction
    _on_return: OnReturn

    @property
    def label(self) -> str:
        return label_of(self._fn)

    async def run_here(self, f: Callback) -> None:
        async def work() -> None:
            await handle.work(self._fn, provider.ready)

        handle = WorkerHandle(self.label)
        provider = Provider(
            work, self.kind, self.label, stop=handle.ask_to_stop, on_return=self._on_return
        )
        await provider.run(f)

    def plan(self) -> Plan:
        async def foreground(member: Member) -> None:
            member.custom = handle = WorkerHandle(self.label)
            await handle.work(self._fn, member.ready)

        return Plan(
            label=self.label,
            kind=self.kind,
            foreground=foreground,
            ask=_ask,
            on_return=self._on_return,
        )


def _ask(member: Member) -> None:
    assert isinstance(member.custom, WorkerHandle)
    member.custom.ask()


class WorkerHandle:
    """What a `worker` function gets, to tell and to be told; not to be made by hand.

    Attributes:
        stopping: set by a graceful stop. A forced stop cancels the worker as well.
        log: a logger that puts the node's path before each message, and into the field ``path``.
    """

    stopping: trio.Event
    log: logging.LoggerAdapter[logging.Logger]

    def __init__(self, label: str) -> None:
        self.stopping = trio.Event()
        self._label = label
        self._tell_ready: Callable[[], None] | None = None
        self._waits = _Waits(self.stopping)
        self._children = 0
        self._child_errors: list[tuple[str, BaseException]] = []

    @protected
    def ready(self) -> None:
        """Tell that the worker is running, so that what depends on it may start.

        Does nothing when it is called again, or when the worker has ended.
        """
        tell, self._tell_ready = self._tell_ready, None
        if tell is not None:
            tell()

    @protected
    def until_stopping(self) -> AbstractContextManager[trio.CancelScope, bool]:
        """Cancel the body of a ``with`` statement when the stop is asked for, or was before.

        Gives the cancel scope, whose ``cancelled_caught`` tells afterwards whether the body was
        cut short.
        """
        return _UntilStopping(self._waits)

    @protected
    def start_soon(
        self,
        fn: Callable[[Unpack[Arguments]], Awaitable[object]],
        *args: Unpack[Arguments],
        name: str | None = None,
    ) -> None:
        """Start a child task, which is cancelled when the worker's function has returned.

        If it fails, the worker fails with its error. It is called ``worker.name``, or ``worker[0]``
        and so on where it has no name.
        """
        asked = f"start_soon() in worker {self._label!r}"
        check_async(fn, f"fn of {asked}", arity=len(args))
        if name is not None:
            check_name(name, f"name of {asked}")
        suffix = f"[{self._children}]" if name is None else f".{name}"
        self._children += 1
        child = f"{self._label}{suffix}"

        @trio.lowlevel.enable_ki_protection
        async def run() -> None:
            try:
                await interruptible(fn, *args)
            except BaseException as exception:
                if not is_error(exception):
                    raise
                add_signature(exception, child)
                self._child_errors.append((f"the child task {child!r}", exception))
                self._nursery.cancel_scope.cancel(f"the child task {child!r} has failed")

        self._nursery.start_soon(run, name=child)

    @protected
    def ask(self) -> None:
        """Ask the worker to stop."""
        self.stopping.set()
        self._waits.cancel()

    @protected
    async def ask_to_stop(self) -> None:
        """Ask the worker to stop, as a stop function."""
        self.ask()

    async def work(self, fn: WorkerFunction, ready: Callable[[], None]) -> None:
        """Run the worker's function and its child tasks."""
        self._tell_ready = ready
        title = where("worker", self._label)
        self._waits.reason = f"{title} is asked to stop"
        node = current_node()
        path = node.path if node is not None and node.path else self._label
        self.log = _PathLogger(_logger, {"path": path})
        raised: BaseException | None = None
        try:
            try:
                async with trio.open_nursery() as self._nursery:
                    try:
                        await interruptible(fn, self)
                    except BaseException as exception:
                        raised = exception
                    self._tell_ready = None
                    self._nursery.cancel_scope.cancel(f"{title} has ended")
            except BaseException as cancelled:
                # A child task raises nothing else; and it is not to hide an error.
                raised = cancelled if raised is None else raised
            error = settle([("the worker", raised), *self._child_errors])
            if error is not None:
                raise_again(error)
            if raised is not None:
                raise_again(raised)
        finally:
            raised = error = None
            self._child_errors.clear()


class _Waits:
    """The scopes of a worker that are cancelled when it is asked to stop."""

    def __init__(self, stopping: trio.Event) -> None:
        self.reason = ""
        self._stopping = stopping
        self._scopes: set[trio.CancelScope] = set()

    def add(self, scope: trio.CancelScope) -> None:
        self._scopes.add(scope)
        if self._stopping.is_set():
            scope.cancel(self.reason)

    def discard(self, scope: trio.CancelScope) -> None:
        self._scopes.discard(scope)

    def cancel(self) -> None:
        for scope in self._scopes:
            scope.cancel(self.reason)


class _UntilStopping(AbstractContextManager[trio.CancelScope, bool]):
    def __init__(self, waits: _Waits) -> None:
        self._waits = waits
        self._scope = trio.CancelScope()

    @protected
    def __enter__(self) -> trio.CancelScope:
        self._scope.__enter__()
        self._waits.add(self._scope)
        return self._scope

    @protected
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._waits.discard(self._scope)
        return self._scope.__exit__(kind, error, traceback)


class _PathLogger(_LoggerAdapter):
    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        assert self.extra is not None
        kwargs["extra"] = {**self.extra, **(kwargs.get("extra") or {})}
        # Where there are arguments, the message is formatted with them.
        path = str(self.extra["path"]).replace("%", "%%")
        return f"{path}: {msg}", kwargs
