"""`service`: a function that follows the convention of ``nursery.start``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nestling._kernel._checks import check_choice, label_of
from nestling._kernel._functions import check_async, check_call
from nestling._kernel._interrupts import interruptible, protected
from nestling._kernel._member import Member, Plan
from nestling._kernel._node import Callback
from nestling._kernel._provider import OnReturn, Provider
from nestling._kernel._valued import Valued


def service(
    async_fn: Callable[..., Awaitable[object]], *args: object, on_return: OnReturn = "stop"
) -> Service:
    """Make a runnable of any function that could be passed to ``nursery.start``.

    It is running once it calls ``task_status.started(value)``, and is stopped by cancellation.

    Args:
        async_fn: called as ``async_fn(*args, task_status=...)``.
        *args: its positional arguments.
        on_return: what it means if it returns before it is stopped; as for `leaf`.

    Returns:
        A `Service`, whose ``value`` is what was passed to ``started()``.

    Example::

        echo = service(trio.serve_tcp, handler, 8000)    # echo.value: its listeners

    Raises, when it runs, the callback's error, or else that of the function; and
    `ExitedBeforeRunningError` if it returns before it has called ``started()``.
    """
    check_async(async_fn, "async_fn of service()", arity=None)
    check_call(async_fn, "async_fn of service():", *args, task_status=None)
    check_choice(
        on_return, f"on_return of service({label_of(async_fn)!r})", ("stop", "stay", "fail")
    )
    return Service(async_fn, args, on_return)


class Service(Valued[Any]):
    """A function with a ``task_status`` as a runnable; made by `service`."""

    kind = "service"

    def __init__(
        self,
        async_fn: Callable[..., Awaitable[object]],
        args: tuple[object, ...],
        on_return: OnReturn,
    ) -> None:
        super().__init__()
        self._async_fn = async_fn
        self._args = args
        self._on_return: OnReturn = on_return

    @property
    def label(self) -> str:
        return label_of(self._async_fn)

    async def run_here(self, f: Callback) -> None:
        async def provide() -> None:
            await self._serve(provider.ready)

        provider = Provider(provide, self.kind, self.label, on_return=self._on_return)
        with self.only_run():
            await provider.run(f)

    def plan(self) -> Plan:
        if self._on_return == "stay":
            # Its value outlives the function, so more has to be run than that.
            return super().plan()

        async def foreground(member: Member) -> None:
            with self.only_run():
                await self._serve(member.ready)

        return Plan(
            label=self.label,
            kind=self.kind,
            foreground=foreground,
            on_return=self._on_return,
        )

    async def _serve(self, ready: Callable[[], None]) -> None:
        def started(value: object) -> None:
            self.hold(value)
            ready()

        status = _Status(started)
        try:
            await interruptible(self._async_fn, *self._args, task_status=status)
        finally:
            status.over = True
            if self._on_return != "stay":
                self.forget()


class _Status:
    """The ``task_status`` of one run. Does nothing once the run is over."""

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell
        self._started = False
        self.over = False

    @protected
    def started(self, value: object = None) -> None:
        """Tell that the service is running."""
        if self._started:
            raise RuntimeError("called 'started' twice on the same task status")
        self._started = True
        if not self.over:
            self._tell(value)
