"""Where KeyboardInterrupt may strike.

===============================  ================================================================
it strikes                       what comes of it
===============================  ================================================================
in a step of the kernel          trio keeps it, and raises it at a checkpoint of the main task
in code that is not the          it is raised there, so that even an endless loop can be ended
kernel's
in the last step before that     as if it had struck at the function's first line
in the last step before a stop   as if it had struck one step earlier: the function begins
===============================  ================================================================

An interrupt between "it has started" and "it will be stopped" would break the order. So what others
call is `protected` (each ``run``, each callback, what a handle offers), and so is the first
function of each task; what these call is protected with them. And what is not the kernel's is
called by `interruptible` or `surely`, and in no other way.
"""

from __future__ import annotations

import inspect
import signal
from collections.abc import Awaitable, Callable
from types import CodeType
from typing import Any, TypeVar

import trio

from nestling._kernel._functions import call, without_partial

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")

_ASYNC = inspect.CO_COROUTINE
_OWN: dict[int, CodeType] = {}


def protected(function: F) -> F:
    """Protect ``function`` from KeyboardInterrupt, and what it calls, but for what is opened.

    Not for a function that is made in another one: each would be remembered.
    """
    marked = trio.lowlevel.enable_ki_protection(function)
    _OWN[id(marked.__code__)] = marked.__code__
    return marked


def called_back(f: Callable[[], Awaitable[T]]) -> Awaitable[T]:
    """Call a callback, which may be of the kernel: then it protects itself, and needs no frames."""
    code = getattr(without_partial(f), "__code__", None)
    return f() if id(code) in _OWN else interruptible(f)


async def interruptible(
    function: Callable[..., Awaitable[T]], *args: object, **keywords: object
) -> T:
    """Await ``function(*args, **keywords)``, open to KeyboardInterrupt. For protected code."""
    made = _begin(function, *args, **keywords)
    try:
        return await _open(made)
    except KeyboardInterrupt:
        if inspect.iscoroutine(made):
            # If it has not begun, Python would complain that it was never awaited.
            made.close()
        raise


async def surely(function: Callable[..., Awaitable[T]], *args: object) -> T:
    """Await ``function(*args)``, open to KeyboardInterrupt, which cannot keep it from beginning.

    For protected code, and for what has to be called once something has started: stop functions.
    Of what is not a function with ``async`` nobody knows whether it has begun.
    """
    made = _begin(function, *args)
    del args  # they may be an error whose traceback keeps this frame
    while True:
        try:
            return await _open(made)
        except KeyboardInterrupt:  # noqa: PERF203  # nothing is caught in most rounds
            if not _waits_to_begin(made):
                raise
            # Pressed again, it strikes here, where it is kept.
            signal.raise_signal(signal.SIGINT)


@trio.lowlevel.disable_ki_protection
async def _open(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _begin(
    function: Callable[..., Awaitable[T]], *args: object, **keywords: object
) -> Awaitable[T]:
    """Call ``function``, open to KeyboardInterrupt if that runs code of it.

    For each member this is run at least twice, so what nearly all are, an async function, comes
    first, and what it returns is not looked at.
    """
    if _is_async(function):
        return function(*args, **keywords)
    return _call_openly(function, *args, **keywords)


@trio.lowlevel.disable_ki_protection
def _call_openly(
    function: Callable[..., Awaitable[T]], *args: object, **keywords: object
) -> Awaitable[T]:
    return call(function, *args, **keywords)


def _is_async(function: Callable[..., object]) -> bool:
    """Tell whether to call ``function`` runs no code of it, but makes a coroutine."""
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(without_partial(function), "__code__", None)
    return code is not None and code.co_flags & _ASYNC != 0


def _waits_to_begin(awaitable: Awaitable[object]) -> bool:
    if not inspect.iscoroutine(awaitable):
        return False
    return inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED
