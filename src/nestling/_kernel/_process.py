"""`Process`: one run of a runnable in the background, with a state."""

from __future__ import annotations

import weakref

import trio

from nestling._kernel._checks import check_name, check_nursery
from nestling._kernel._deadlock import Waits
from nestling._kernel._errors import ExitedBeforeRunningError, InvalidStateError
from nestling._kernel._foreign import accept
from nestling._kernel._interrupts import protected
from nestling._kernel._kept import kept
from nestling._kernel._named import named
from nestling._kernel._node import settle
from nestling._kernel._outcome import (
    forces,
    raise_again,
    without_cancelled,
)
from nestling._kernel._runnable import Runnable
from nestling._kernel._states import Event, State, Step, step


class Process:
    """One background run of a runnable, in a nursery of yours.

    Its states are initial, starting, running and stopped; it cannot be started again. Its methods
    may be called by any number of tasks at the same time.

    A process that fails does not crash the nursery: its error is in ``error``, and is raised by
    `start` or `stop`. Only KeyboardInterrupt and its like are raised into the nursery as well.

    Args:
        nursery: the task of the process runs in it. When it is cancelled, so is the process.
        r: what is run.
        name: names the node, as `named` does.

    Example::

        async with trio.open_nursery() as nursery:
            process = Process(nursery, server, name="server")
            await process.start()
            ...
            await process.stop()
    """

    def __init__(self, nursery: trio.Nursery, r: Runnable, *, name: str | None = None) -> None:
        check_nursery(nursery, "nursery of Process()")
        composed = accept(r, "r of Process()")
        if name is not None:
            check_name(name, "name of Process()")
            composed = accept(named(name, r), "r of Process()")
        self._runnable = composed
        self._name = composed.label or composed.kind
        self._nursery = nursery
        self._state = State.INITIAL
        self._stopping = False
        self._ran = False
        self._error: BaseException | None = None
        self._scope = trio.CancelScope()
        self._settled = trio.Event()
        self._asked = trio.Event()
        self._ended = trio.Event()

    def __repr__(self) -> str:
        asked = ", stopping" if self.stopping else ""
        return f"<Process {self._name!r}: {self._state.value}{asked}>"

    @property
    def state(self) -> State:
        """How far the process has come."""
        return self._state

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop, and has not stopped yet."""
        return self._stopping and self._state is not State.STOPPED

    @property
    def error(self) -> BaseException | None:
        """What the process failed with, once it is stopped."""
        return self._error

    @protected
    async def start(self) -> None:
        """Start the process, and wait until it runs.

        If this call is cancelled or times out, the process is cancelled, and its end is waited for.

        Raises:
            InvalidStateError: it was started, or stopped, before.
            ExitedBeforeRunningError: it ended, without an error, before it was running.
            BaseException: what the process failed with.
        """
        self._step("start", "start")
        try:
            self._nursery.start_soon(self._run, name=self._name)
        except RuntimeError as closed:
            self._step("ended", "end")
            self._end()
            raise InvalidStateError(
                f"cannot start {self._name!r}: its nursery is closed"
            ) from closed
        waiting = self._wait_or_cancel(self._settled, "start() was cancelled", starts=True)
        del self  # whoever keeps an error keeps this frame: let it not keep the error in turn
        await waiting

    @protected
    async def stop(self) -> None:
        """Stop the process gracefully, and wait for its end.

        Not from inside of it: what waits there would keep it from ending. Nor from inside of a
        process whose end is waited for inside of this one.

        Before it was started, this prevents any start; while it starts, it cancels the start-up. If
        this call is cancelled or times out, the stop is forced, and its end is waited for.

        Raises:
            InvalidStateError: it is stopped already, or it would wait for its own end.
            BaseException: what the process failed with.
        """
        self._check_that_it_can_be_awaited()
        action = self._step("stop", "stop").action
        self._stopping = True
        if action == "none":
            self._end()
        elif action == "cancel":
            self._scope.cancel(f"{self._name!r} was stopped during its start-up")
        else:
            self._asked.set()
        waiting = self._wait_or_cancel(self._ended, "stop() was cancelled")
        del self
        await waiting

    async def wait(self) -> None:
        """Wait until the process is stopped, for whatever reason. Raises no error of it."""
        await self._ended.wait()

    def _check_that_it_can_be_awaited(self) -> None:
        around = waits().around(trio.lowlevel.current_task())
        if self in around:
            raise InvalidStateError(
                f"cannot stop {self._name!r} from inside of it: it would wait for its own end; "
                f"return, raise, or stop it from another task"
            )
        waiting = waits().first_that_waits(self, around)
        if waiting is not None:
            raise InvalidStateError(
                f"cannot stop {self._name!r} from inside of {waiting._name!r}, "  # noqa: SLF001
                f"for whose end it waits: each would wait for the other; "
                f"stop one of them from another task"
            )

    async def _wait_or_cancel(
        self, event: trio.Event, reason: str, *, starts: bool = False
    ) -> None:
        raised: list[BaseException] = []
        try:
            with waits().note(trio.lowlevel.current_task(), self):
                try:
                    await event.wait()
                except BaseException as exception:
                    raised.append(exception)
                    self._give_up(f"{reason} for {self._name!r}")
                while raised and not self._ended.is_set():
                    try:
                        with trio.CancelScope(shield=True):
                            await self._ended.wait()
                    except BaseException as interrupt:  # noqa: PERF203  # seldom more than one
                        raised.append(interrupt)
            error = settle([("the process", self._error), *(("waiting", each) for each in raised)])
            if error is not None:
                raise_again(error)
            if raised:
                raise_again(raised[0])
            if starts and not self._ran:
                raise ExitedBeforeRunningError(f"{self._name!r} ended before it was running")
        finally:
            raised.clear()
            error = None
            del self

    def _give_up(self, reason: str) -> None:
        self._stopping = True
        self._scope.cancel(reason)
        # A callback that was cancelled waits for this below a shield, where there is a body.
        self._asked.set()

    def _step(self, event: Event, call: str) -> Step:
        taken = step(self._state, event)
        if taken is None:
            raise InvalidStateError(f"cannot {call} {self._name!r}: it is {self._state.value}")
        self._state = taken.state
        return taken

    @protected
    async def _run(self) -> None:
        task = trio.lowlevel.current_task()
        waits().owners[task] = self
        try:
            with self._scope:
                await self._runnable.run(_WeakCallback(self).run)
        except BaseException as exception:
            self._error = without_cancelled(exception)
            if self._error is None or forces(exception):
                raise
            self._keep(self._error)
        finally:
            self._step("ended", "end")
            self._end()
            del waits().owners[task]
            del self, task

    async def callback(self) -> None:
        """Be the callback of what is run."""
        if not self._stopping:
            self._step("called back", "call back")
            self._ran = True
            self._settled.set()
            asked = self._asked
            del self
            await asked.wait()

    def _keep(self, error: BaseException) -> None:
        kept(error)

    def _end(self) -> None:
        self._settled.set()
        self._ended.set()


class _WeakCallback:
    """The callback of a process, which does not keep it: an error that is kept keeps this."""

    def __init__(self, process: Process) -> None:
        self._process = weakref.ref(process)

    @protected
    async def run(self) -> None:
        process = self._process()
        assert process is not None  # its task keeps it
        waiting = process.callback()
        del process
        await waiting


_waits: trio.lowlevel.RunVar[Waits[Process]] = trio.lowlevel.RunVar("processes that wait")


def waits() -> Waits[Process]:
    """Return who waits for whom in this run of trio."""
    try:
        return _waits.get()
    except LookupError:
        made: Waits[Process] = Waits()
        _waits.set(made)
        return made
