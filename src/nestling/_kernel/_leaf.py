"""`leaf`: one function that runs in the foreground, such as a server's ``serve``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import attrs

from nestling._kernel._checks import check_choice, label_of
from nestling._kernel._functions import check_async
from nestling._kernel._interrupts import interruptible
from nestling._kernel._member import Plan
from nestling._kernel._node import Callback
from nestling._kernel._provider import OnReturn, Provider
from nestling._kernel._runnable import Composed, Primitive

AsyncFunction = Callable[[], Awaitable[object]]


def leaf(
    run: AsyncFunction, stop: AsyncFunction | None = None, *, on_return: OnReturn = "stop"
) -> Composed:
    """Make a runnable of a function that runs in the foreground.

    ``run()`` is started at once, in a task of its own, and the callback is entered without waiting
    for it. A foreground that raises always cancels the callback.

    Args:
        run: the foreground.
        stop: for a graceful stop it is awaited; then ``run`` is expected to return by itself. A
            ``stop`` that raises, or is cancelled, cancels ``run``. Without it ``run`` is
            cancelled. It is not called where ``run`` has already ended, unless that has left the
            node running (``"stay"``).
        on_return: what it means if ``run`` returns before it is stopped. ``"stop"``: the callback
            is cancelled, and the runnable ends without an error. ``"stay"``: nothing; a finite
            job is done and its node stays running. ``"fail"``: as for ``"stop"``, and
            `UnexpectedReturnError` is raised.

    Raises, when it runs, the first that there is: the callback's error, that of ``stop``, that of
    ``run``; bare, never in a group.

    Example::

        web = leaf(server.serve, server.shutdown)

    The idea, and the order of the errors, are those of ``Leaf`` in go.pact.im/x/process.
    """
    check_async(run, "run of leaf()")
    asked = f"leaf({label_of(run)!r})"
    if stop is not None:
        check_async(stop, f"stop of {asked}")
    check_choice(on_return, f"on_return of {asked}", ("stop", "stay", "fail"))
    return _Leaf(run, stop, on_return)


@attrs.frozen(repr=False, eq=False)
class _Leaf(Primitive):
    kind = "leaf"

    _run: AsyncFunction
    _stop: AsyncFunction | None
    _on_return: OnReturn

    @property
    def label(self) -> str:
        return label_of(self._run)

    async def run_here(self, f: Callback) -> None:
        provider = Provider(
            partial(interruptible, self._run),
            self.kind,
            self.label,
            stop=self._stop,
            on_return=self._on_return,
            ready=True,
        )
        await provider.run(f)

    def plan(self) -> Plan:
        return Plan(
            label=self.label,
            kind=self.kind,
            foreground=lambda _: interruptible(self._run),
            stop=self._stop,
            ready=True,
            on_return=self._on_return,
        )
