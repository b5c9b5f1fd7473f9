"""What is handed over wrong is refused at once: the error names argument, node and expectation."""

from __future__ import annotations

import inspect
import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from nestling import (
    Process,
    Runnable,
    chain,
    deferred,
    leaf,
    named,
    nop,
    parallel,
    resource,
    run,
    runnable,
    running,
    sequential,
    service,
    start_stop,
    timeouts,
    worker,
)
from nestling._kernel._checks import describe_value
from nestling.observe import describe
from tests.kernel.recording import failure_of, notes_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from nestling import Callback, WorkerHandle

bad: Any = 5


async def fine() -> None:
    await trio.lowlevel.checkpoint()


async def one_argument(argument: object) -> None:
    del argument


def sync(*arguments: object) -> None:
    del arguments


async def async_generator(url: str) -> AsyncGenerator[str, None]:
    yield url


def generator(url: str) -> Generator[str, None, None]:
    yield url


opened = asynccontextmanager(async_generator)


class SyncRun:
    def run(self, f: Callback) -> None:
        del f


class NoArgument:
    async def run(self) -> None:
        pass


class Good:
    async def run(self, f: Callback, /) -> None:
        await f()


class SyncCall:
    def __call__(self) -> None:
        pass


untyped = cast("Any", fine), cast("Any", sync), cast("Any", one_argument)
fine_, sync_, one_argument_ = untyped
db = named("db", nop())


def refused(name: str, make: Callable[[], object], message: str) -> Any:
    return pytest.param(make, message, id=name)


CALLS = [
    refused("leaf 5", lambda: leaf(bad), "run of leaf() must be an async function, not 5 (int)"),
    refused(
        "leaf sync",
        lambda: leaf(sync_),
        "run of leaf() must be an async function, but 'sync' is a sync function: write 'async "
        "def', or annotate it if it returns an awaitable",
    ),
    refused(
        "leaf partial of sync",
        lambda: leaf(partial(sync_, 1)),
        "run of leaf() must be an async function, but 'sync' is a sync function: write 'async "
        "def', or annotate it if it returns an awaitable",
    ),
    refused(
        "leaf callable object",
        lambda: leaf(cast("Any", SyncCall())),
        "run of leaf() must be an async function, but 'SyncCall.__call__' is a sync function: "
        "write 'async def', or annotate it if it returns an awaitable",
    ),
    refused(
        "leaf builtin",
        lambda: leaf(cast("Any", time.sleep)),
        "run of leaf() must be an async function, but 'sleep' is a sync function: write 'async "
        "def', or annotate it if it returns an awaitable",
    ),
    refused(
        "leaf class",
        lambda: leaf(cast("Any", dict)),
        "run of leaf() must be an async function, but 'dict' is a class",
    ),
    refused(
        "leaf argument",
        lambda: leaf(one_argument_),
        "run of leaf() is called with no argument, but 'one_argument' takes one argument; use "
        "functools.partial or a lambda",
    ),
    refused(
        "leaf stop",
        lambda: leaf(fine, sync_),
        "stop of leaf('fine') must be an async function, but 'sync' is a sync function: write "
        "'async def', or annotate it if it returns an awaitable",
    ),
    refused(
        "leaf on_return",
        lambda: leaf(fine, on_return=cast("Any", "x")),
        "on_return of leaf('fine') must be one of 'stop', 'stay', 'fail', not 'x'",
    ),
    refused(
        "start_stop start",
        lambda: start_stop(bad, fine),
        "start of start_stop() must be an async function, not 5 (int)",
    ),
    refused(
        "start_stop stop",
        lambda: start_stop(fine, bad),
        "stop of start_stop('fine') must be an async function, not 5 (int)",
    ),
    refused(
        "service 5",
        lambda: service(bad),
        "async_fn of service() must be an async function, not 5 (int)",
    ),
    refused(
        "service without task_status",
        lambda: service(fine_),
        "async_fn of service(): 'fine' cannot be called as asked: got an unexpected keyword "
        "argument 'task_status'",
    ),
    refused(
        "service without its arguments",
        lambda: service(trio.serve_tcp, fine_),
        "async_fn of service(): 'serve_tcp' cannot be called as asked: missing a required "
        "argument: 'port'",
    ),
    refused(
        "service on_return",
        lambda: service(trio.serve_tcp, fine_, 0, on_return=cast("Any", "x")),
        "on_return of service('serve_tcp') must be one of 'stop', 'stay', 'fail', not 'x'",
    ),
    refused(
        "worker without the handle",
        lambda: worker(fine_),
        "fn of worker() is called with one argument, but 'fine' takes no argument; use "
        "functools.partial or a lambda",
    ),
    refused(
        "worker on_return",
        lambda: worker(one_argument, on_return=cast("Any", "x")),
        "on_return of worker('one_argument') must be one of 'stop', 'stay', 'fail', not 'x'",
    ),
    refused(
        "runnable without the callback",
        lambda: runnable(fine_),
        "fn of runnable() is called with one argument, but 'fine' takes no argument; use "
        "functools.partial or a lambda",
    ),
    refused(
        "resource 5",
        lambda: resource(bad),
        "factory of resource() must be a function that returns a context manager, not 5 (int)",
    ),
    refused(
        "resource undecorated, async",
        lambda: resource(cast("Any", async_generator), "url"),
        "factory of resource() must be a function that returns a context manager: decorate "
        "'async_generator' with contextlib.asynccontextmanager",
    ),
    refused(
        "resource undecorated",
        lambda: resource(partial(cast("Any", generator), "url")),
        "factory of resource() must be a function that returns a context manager: decorate "
        "'generator' with contextlib.contextmanager",
    ),
    refused(
        "resource called",
        lambda: resource(cast("Any", opened("url"))),
        "factory of resource() must be a function that returns a context manager, not what such a "
        "function has returned: do not call it",
    ),
    refused(
        "resource async",
        lambda: resource(fine_),
        "factory of resource() must be a function that returns a context manager, but 'fine' is "
        "an async function; deferred() takes one that returns a resource",
    ),
    refused(
        "resource without its arguments",
        lambda: cast("Any", resource)(opened),
        "factory of resource(): 'async_generator' cannot be called as asked: missing a required "
        "argument: 'url'",
    ),
    refused(
        "deferred 5",
        lambda: deferred(bad),
        "factory of deferred() must be a function that returns a runnable, not 5 (int)",
    ),
    refused(
        "deferred with an argument",
        lambda: deferred(one_argument_),
        "factory of deferred() is called with no argument, but 'one_argument' takes one argument; "
        "use functools.partial or a lambda",
    ),
    refused(
        "chain",
        lambda: chain(db, nop(), bad),
        "argument 3 of chain() must be a runnable, an object with 'async def run(self, f)', not "
        "5 (int)",
    ),
    refused(
        "chain of one",
        lambda: chain(bad),
        "argument 1 of chain() must be a runnable, an object with 'async def run(self, f)', not "
        "5 (int)",
    ),
    refused(
        "parallel function",
        lambda: parallel(db, fine_),
        "argument 2 of parallel() must be a runnable, an object with 'async def run(self, f)', "
        "not 'fine'; make one of a function by leaf(), service() or runnable()",
    ),
    refused(
        "parallel class",
        lambda: parallel(db, cast("Any", Good)),
        "argument 2 of parallel() must be a runnable, an object with 'async def run(self, f)', "
        "not the class 'Good': pass an instance",
    ),
    refused(
        "sequential sync run",
        lambda: sequential(db, cast("Any", SyncRun())),
        "argument 2 of sequential() must be a runnable: SyncRun.run must be an async function, but "
        "'SyncRun.run' is a sync function: write 'async def', or annotate it if it returns an "
        "awaitable",
    ),
    refused(
        "sequential stop_order",
        lambda: sequential(db, db, stop_order=cast("Any", "backward")),
        "stop_order of sequential() must be one of 'forward', 'reverse', not 'backward'",
    ),
    refused(
        "named 5",
        lambda: named("db", bad),
        "r of named('db') must be a runnable, an object with 'async def run(self, f)', not 5 (int)",
    ),
    refused(
        "named run without f",
        lambda: named("db", cast("Any", NoArgument())),
        "r of named('db') must be a runnable: NoArgument.run is called with one argument, but "
        "'NoArgument.run' takes no argument; use functools.partial or a lambda",
    ),
    refused(
        "named slash",
        lambda: named("a/b", nop()),
        "name of named() must be a non-empty, printable string without '/', which separates the "
        "names of a path, not 'a/b'",
    ),
    refused(
        "named without a name",
        lambda: named(bad, nop()),
        "name of named() must be a string, not 5 (int)",
    ),
    refused(
        "timeouts 5",
        lambda: timeouts(bad, start=1),
        "r of timeouts() must be a runnable, an object with 'async def run(self, f)', not 5 (int)",
    ),
    refused(
        "timeouts start",
        lambda: timeouts(db, start=-1),
        "start of timeouts('db') must be zero or more seconds, not -1",
    ),
    refused(
        "timeouts stop",
        lambda: timeouts(nop(), stop=float("nan")),
        "stop of timeouts('nop') must be zero or more seconds, not nan",
    ),
    refused(
        "timeouts grace",
        lambda: timeouts(db, grace=cast("Any", "5")),
        "grace of timeouts('db') must be a number of seconds, not '5' (str)",
    ),
    refused(
        "describe 5",
        lambda: describe(bad),
        "r of describe() must be a runnable, an object with 'async def run(self, f)', not 5 (int)",
    ),
    refused(
        "run 5",
        lambda: run(bad),
        "r of run() must be a runnable, an object with 'async def run(self, f)', not 5 (int)",
    ),
    refused(
        "run start_timeout",
        lambda: run(db, start_timeout=-1),
        "start_timeout of run('db') must be zero or more seconds, not -1",
    ),
    refused(
        "run stop_timeout",
        lambda: run(db, stop_timeout=-1),
        "stop_timeout of run('db') must be zero or more seconds, not -1",
    ),
]


@pytest.mark.parametrize(("make", "message"), CALLS)
def test_bad_input_is_refused_at_once_with_a_message_that_names_it(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize("combine", [chain, parallel, sequential, timeouts], ids=describe_value)
def test_a_coroutine_is_refused_as_a_runnable(combine: Callable[..., object]) -> None:
    coroutine = fine()
    with pytest.raises(TypeError, match=r"must be a runnable, .* not what a call of 'fine'"):
        combine(coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@pytest.mark.parametrize("combine", [chain, parallel, sequential, timeouts], ids=describe_value)
def test_whatever_has_a_run_method_is_a_runnable(combine: Callable[[Runnable], object]) -> None:
    assert isinstance(combine(Good()), Runnable)


async def test_processes_refuse_what_is_no_runnable_as_well() -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(TypeError, match=r"^r of Process\(\) must be a runnable"):
            Process(nursery, bad)
        with pytest.raises(
            ValueError, match=r"^name of Process\(\) must be a non-empty, printable string"
        ):
            Process(nursery, nop(), name="")
        with pytest.raises(TypeError, match=r"^nursery of Process\(\) must be a trio nursery"):
            Process(bad, nop())
    with pytest.raises(TypeError, match=r"^r of running\(\) must be a runnable"):
        async with running(bad):
            pass
    with pytest.raises(
        ValueError, match=r"^name of running\(\) must be a non-empty, printable string"
    ):
        async with running(nop(), name="a/b"):
            pass


async def test_a_child_task_of_a_worker_is_checked() -> None:
    async def work(handle: WorkerHandle) -> None:
        asked = r"start_soon\(\) in worker 'work'"
        with pytest.raises(
            TypeError, match=rf"^fn of {asked} must be an async function, but 'sync"
        ):
            handle.start_soon(sync_)
        with pytest.raises(TypeError, match=rf"^fn of {asked} is called with one argument, but 'f"):
            handle.start_soon(fine_, 5)
        with pytest.raises(
            ValueError, match=rf"^name of {asked} must be a non-empty, printable string"
        ):
            handle.start_soon(fine, name="a/b")
        handle.ready()

    await worker(work).run(trio.sleep_forever)


# What cannot be known before it is called --------------------------------------------------------


def returns(value: object) -> Callable[[], Awaitable[None]]:
    return lambda: cast("Awaitable[None]", value)


def returns_none(**keywords: object) -> Awaitable[None]:
    del keywords
    return cast("Awaitable[None]", None)


HOLDERS: dict[str, Callable[[], Runnable]] = {
    "leaf": lambda: leaf(returns(None)),
    "stop of a leaf": lambda: leaf(trio.sleep_forever, returns(None)),
    "start": lambda: start_stop(returns(None), fine),
    "stop": lambda: start_stop(fine, returns(None)),
    "service": lambda: service(returns_none),
    "worker": lambda: worker(lambda _: returns(None)()),
    "runnable": lambda: runnable(lambda _: returns(None)()),
}


@pytest.mark.parametrize("make", HOLDERS.values(), ids=HOLDERS)
async def test_what_returns_no_awaitable_is_found_out_when_it_is_called(
    make: Callable[[], Runnable],
) -> None:
    error = await failure_of(named("db", make()), fine)
    assert isinstance(error, TypeError)
    assert " returned None (NoneType), not an awaitable: it must be" in str(error)
    assert notes_of(error) == ["in 'db'"]


CALLED: dict[str, Callable[[], Runnable]] = {
    "nop": nop,
    "chain": lambda: chain(nop(), nop()),
    "named": lambda: named("db", nop()),
    "timeouts": lambda: timeouts(nop(), start=1),
    "leaf": lambda: leaf(trio.sleep_forever),
    "start_stop": lambda: start_stop(fine, fine),
    "parallel": lambda: parallel(leaf(trio.sleep_forever), leaf(trio.sleep_forever)),
    "resource": lambda: resource(opened, "url"),
    "an object": Good,
}


@pytest.mark.parametrize("make", CALLED.values(), ids=CALLED)
async def test_a_callback_that_is_not_async_is_found_out(make: Callable[[], Runnable]) -> None:
    error = await failure_of(named("db", make()), returns(5))
    assert isinstance(error, TypeError)
    assert "<lambda>' returned 5 (int), not an awaitable: it must be" in str(error)
