"""`Jobs`: work that outlives who has asked for it, and that a stop waits for.

========  ================================  =====================================================
phase     event                             what is done
========  ================================  =====================================================
running   a job is started                  it runs in a task of its own
running   a job fails, somebody waits       who waits gets the error; nothing else happens, unless
                                            it is interrupted
running   a job fails, with ``on_error``    that takes the error; nothing else happens
running   a job fails, without it           the callback is cancelled; then the stop is graceful
running   a job is interrupted              the callback is cancelled; then the stop is forced
stopping  a job is started                  as before: all jobs are waited for, this one as well
stopping  a job fails                       as before; it ends no other job
stopping  a job is interrupted              the jobs are cancelled
stopping  forced                            the jobs are cancelled; who waits for one is told so
stopping  the last job ends                 it has stopped
stopped   a job is started                  `InvalidStateError`
========  ================================  =====================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio

from nestling._kernel._checks import label_of
from nestling._kernel._deadlock import tasks_around
from nestling._kernel._errors import InvalidStateError
from nestling._kernel._functions import check_async
from nestling._kernel._interrupts import interruptible, protected, surely
from nestling._kernel._node import Callback, current_node, enter_node, settle
from nestling._kernel._outcome import (
    add_signature,
    forces,
    raise_again,
    summary,
    without_cancelled,
)
from nestling._kernel._provider import Provider, where
from nestling._kernel._runnable import Composable, Composed, Primitive
from nestling.supervise._on_error import OnError, check_on_error, hand_over
from nestling.supervise._waiting import Waiting

if TYPE_CHECKING:
    from typing_extensions import TypeVarTuple, Unpack

    Arguments = TypeVarTuple("Arguments")

T = TypeVar("T")


class Jobs(Composable):
    """Work that outlives the request that has asked for it; itself a runnable.

    A graceful stop waits for all jobs that run, and for those that they start meanwhile; bound that
    by `timeouts`. A forced one cancels them. In a job, the current node is that of the jobs.

    Args:
        on_error: takes the error of each job that fails; it may be async. Without it, the first
            failure ends the runnable: its callback is cancelled, the other jobs are waited for, and
            the error comes out, bare, with notes of others. So does an error of ``on_error``
            itself. It never gets a KeyboardInterrupt, a SystemExit, or a group with one inside.

    Example::

        jobs = Jobs(on_error=log.error)
        shop = chain(named("jobs", jobs), named("http", asgi_server(make_app(jobs))))
        ...
        jobs.start_soon(send_receipt, order)    # in a request, which does not wait for it

    Raises, when it runs, the callback's error, or else that of a job.

    Raises:
        TypeError: ``on_error`` is not a function of an error.

    The idea is that of ``JobRunner`` in workerctl, a Go library.
    """

    def __init__(self, *, on_error: OnError | None = None) -> None:
        check_on_error(on_error, "on_error of Jobs()")
        self._node = _JobsNode(on_error)

    def __repr__(self) -> str:
        return repr(self._node)

    @property
    def composed(self) -> Composed:
        """What runs where the jobs are a part of a composition."""
        return self._node

    @protected
    def start_soon(
        self,
        fn: Callable[[Unpack[Arguments]], Awaitable[object]],
        *args: Unpack[Arguments],
    ) -> None:
        """Start a job: ``await fn(*args)`` in a task of its own.

        Raises:
            InvalidStateError: the jobs do not run, or have stopped.
            TypeError: ``fn`` cannot be called so.
        """
        check_async(fn, "fn of start_soon() of Jobs", arity=len(args))
        self._run_for(fn).start(fn, args)

    @overload
    async def run(
        self,
        f: Callable[[Unpack[Arguments]], Awaitable[T]],
        /,
        *args: Unpack[Arguments],
    ) -> T: ...

    @overload  # so that it is a Runnable: to checkers, T is not None
    async def run(self, f: Callback, /) -> Any: ...

    @protected
    async def run(self, f: Callable[..., Awaitable[Any]], /, *args: object) -> Any:
        """Do a job, and wait for its result; or run the jobs around a callback.

        While the jobs run, ``await jobs.run(fn, *args)`` returns what ``fn`` returns, or raises
        what it raises. If it is cancelled, the job goes on; its error then goes the way of all
        errors of jobs.

        While they do not, ``await jobs.run(f)`` runs them as any runnable. In a composition they
        are never mistaken: there they run around a callback, and not twice at the same time.

        Raises:
            InvalidStateError: the jobs do not run, or have stopped; or a forced stop has cancelled
                the job.
            TypeError: ``fn`` cannot be called so.
        """
        if self._node.current is None and not args:
            await self._node.run(f)
            return None
        check_async(f, "fn of run() of Jobs", arity=len(args))
        await trio.lowlevel.checkpoint_if_cancelled()
        job = _Awaited(label_of(f))
        self._run_for(f).start(f, args, job)
        return await job.result()

    @protected
    async def wait(self) -> None:
        """Wait until no job runs; at once, if none does. It can be cut short, and tried again.

        Raises:
            InvalidStateError: this is called by a job, which would wait for its own end.
        """
        await trio.lowlevel.checkpoint()
        if self._node.current is not None:
            await self._node.current.wait()

    def _run_for(self, fn: Callable[..., object]) -> _JobsRun:
        if self._node.current is None:
            raise InvalidStateError(
                f"cannot start job {label_of(fn)!r}: the jobs do not run yet, or have stopped"
            )
        return self._node.current


class _JobsNode(Primitive):
    """`Jobs` as a part of a composition.

    Attributes:
        current: the run that takes jobs, if there is one.
    """

    kind = "jobs"

    def __init__(self, on_error: OnError | None) -> None:
        self.current: _JobsRun | None = None
        self._on_error = on_error
        self._runs = False

    @property
    def label(self) -> str:
        return self.kind

    def __repr__(self) -> str:
        return "jobs()"

    async def run_here(self, f: Callback) -> None:
        if self._runs:
            raise InvalidStateError(
                f"cannot run {where(self.kind, '')}: they run already; "
                f"make another Jobs for another run"
            )
        self._runs = True
        try:
            await _JobsRun(self, self._on_error).provider.run(f)
        finally:
            self._runs = False


class _JobsRun:
    """One run of `Jobs`."""

    def __init__(self, owner: _JobsNode, on_error: OnError | None) -> None:
        self.provider = Provider(self._provide, owner.kind, "", stop=self._ask)
        self._owner = owner
        self._on_error = on_error
        self._count = 0
        self._idle = trio.Event()
        self._asked = trio.Event()
        self._failures: list[tuple[str, BaseException]] = []
        self._interrupted_by: str | None = None

    def start(
        self,
        fn: Callable[..., Awaitable[object]],
        args: tuple[object, ...],
        awaited: _Awaited | None = None,
    ) -> None:
        """Start a job."""
        if not self._count:
            self._idle = trio.Event()
        self._count += 1
        self._nursery.start_soon(self._work, fn, args, awaited, name=label_of(fn))

    async def wait(self) -> None:
        """Wait until no job runs."""
        for task in tasks_around(trio.lowlevel.current_task()):
            if task.parent_nursery is self._nursery:
                raise InvalidStateError(
                    f"job {task.name!r} cannot wait until no job runs: it would wait for its own "
                    f"end; wait in another task"
                )
        await self._no_job()

    async def _no_job(self) -> None:
        while self._count:
            await self._idle.wait()

    async def _provide(self) -> None:
        self._parent = current_node()
        async with trio.open_nursery() as self._nursery:
            self._owner.current = self
            self.provider.ready()
            # A cancellation reaches the jobs, and this waits for them. Each stop asks.
            with trio.CancelScope(shield=True):
                await self._asked.wait()
                await self._no_job()
            self._owner.current = None
        error = settle(self._failures)
        self._failures.clear()
        if error is not None:
            try:
                raise_again(error)
            finally:
                del error

    @protected
    async def _ask(self) -> None:
        self._asked.set()
        self._force_if_interrupted()

    def _force_if_interrupted(self) -> None:
        """Force the stop if a job was interrupted; but not before the callback is over."""
        if self._asked.is_set() and self._interrupted_by is not None:
            self.provider.force(f"is forced to stop by {self._interrupted_by}")

    @protected
    async def _work(
        self,
        fn: Callable[..., Awaitable[object]],
        args: tuple[object, ...],
        awaited: _Awaited | None,
    ) -> None:
        enter_node(self._parent)
        try:
            value = await interruptible(fn, *args)
        except BaseException as raised:
            await self._failed(label_of(fn), raised, awaited)
        else:
            if awaited is not None:
                awaited.returned(value)
        finally:
            self._count -= 1
            if not self._count:
                self._idle.set()

    async def _failed(self, name: str, raised: BaseException, awaited: _Awaited | None) -> None:
        # A mere cancellation is not lost: the scope that it belongs to is further out.
        error = without_cancelled(raised)
        try:
            if awaited is not None and awaited.has_waiter:
                awaited.failed(error)
                if error is not None and forces(error):
                    self._note_failure(name, error)
            elif isinstance(error, Exception) and self._on_error is not None:
                await surely(hand_over, self._on_error, error, f"job {name!r}")
            elif error is not None:
                self._note_failure(name, error)
        except BaseException as exception:
            error = without_cancelled(exception)
            if error is not None:
                self._note_failure(name, error)
        finally:
            del raised, error

    def _note_failure(self, name: str, error: BaseException) -> None:
        add_signature(error, name)
        self._failures.append((f"job {name!r}", error))
        if forces(error):
            self._interrupted_by = type(error).__name__
        self.provider.cancel_callback(f"stops, since job {name!r} failed: {summary(error)}")
        self._force_if_interrupted()


class _Awaited(Waiting):
    """The result of a job, while somebody waits for it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.has_waiter = True
        self._name = name
        self._value: object = None

    def returned(self, value: object) -> None:
        self._value = value
        self.answer(None)

    def failed(self, error: BaseException | None) -> None:
        """Note an error, or None for a cancellation: that is not one of who waits."""
        self.answer(
            error
            or InvalidStateError(f"job {self._name!r} was cancelled by a forced stop of the jobs")
        )

    async def result(self) -> object:
        try:
            await self.wait()
        finally:
            self.has_waiter = False
        return self._value
