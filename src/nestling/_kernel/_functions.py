"""Async functions, checked where they are handed over, and again where that cannot tell.

=============================  ===================================================================
handed over                    outcome
=============================  ===================================================================
an async function              believed
a coroutine                    refused, and closed: the function itself is wanted
a generator function           refused, but for a `types.coroutine`
a class                        refused, unless its instances can be awaited
a function of C                refused if it is one of the standard library: none of those is async
a sync function                refused if it is annotated to return a plain value, or nothing; or
                               if it has no annotation and does not look like one that hands its
                               call on: a lambda, what wraps another one, what takes ``*args``
an object that can be called   like its ``__call__``
a `functools.partial`          like the function inside; a `staticmethod` as well
=============================  ===================================================================

What is believed and then returns no awaitable is found out when it is called, by `call`.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from functools import partial
from types import CodeType, CoroutineType
from typing import Any, TypeVar, cast

from nestling._kernel._checks import describe_value

if sys.version_info >= (3, 14):
    import annotationlib

T = TypeVar("T")


def call(function: Callable[..., Awaitable[T]], *args: object, **keywords: object) -> Awaitable[T]:
    """Return ``function(*args, **keywords)``, after a look at whether it can be awaited."""
    made: object = function(*args, **keywords)
    if type(made) is CoroutineType or inspect.isawaitable(made):
        return cast("Awaitable[T]", made)
    raise TypeError(
        f"{describe_value(function)} returned {describe_value(made)}, not an awaitable: "
        f"it must be an async function"
    )


def check_async(function: object, argument: str, arity: int | None = 0) -> None:
    """Refuse what cannot be an async callable that is called with ``arity`` arguments.

    None stands for an unknown arity.
    """
    expected = f"{argument} must be an async function"
    if inspect.iscoroutine(function):
        function.close()
        raise TypeError(
            f"{expected}, but it is a coroutine: pass {function.__qualname__!r} itself, "
            f"without calling it (use functools.partial for arguments)"
        )
    if not callable(function):
        raise TypeError(f"{expected}, not {describe_value(function)}")
    inside = without_partial(function)
    if is_generator_function(inside):
        raise TypeError(f"{expected}, but {describe_value(inside)} is a generator function")
    if isinstance(inside, type) and not hasattr(inside, "__await__"):
        raise TypeError(f"{expected}, but {describe_value(inside)} is a class")
    if _is_plainly_sync(inside):
        name = describe_value(_plain(inside) or inside)
        raise TypeError(
            f"{expected}, but {name} is a sync function: write 'async def', "
            f"or annotate it if it returns an awaitable"
        )
    if arity is not None:
        check_arity(function, argument, arity)


def without_partial(function: Callable[..., object]) -> Callable[..., object]:
    """Return the function inside of a `functools.partial` or a `staticmethod`, or of several."""
    while isinstance(function, (partial, staticmethod)):
        wrapper = cast("Any", function)
        function = wrapper.func if isinstance(function, partial) else wrapper.__func__
    return function


def is_generator_function(function: object) -> bool:
    """Tell whether a call of ``function`` makes a generator that cannot be awaited."""
    if inspect.isgeneratorfunction(function):
        flags: int = getattr(getattr(function, "__code__", None), "co_flags", 0)
        return not flags & inspect.CO_ITERABLE_COROUTINE
    return inspect.isasyncgenfunction(function)


def _is_plainly_sync(function: Callable[..., object]) -> bool:
    if inspect.isbuiltin(function):
        module = cast("str | None", function.__module__)
        return module is not None and module.partition(".")[0] in sys.stdlib_module_names
    plain = _plain(function)
    if plain is None or inspect.iscoroutinefunction(plain) or _is_marked(function):
        return False
    if _code(plain).co_flags & inspect.CO_ITERABLE_COROUTINE:
        return False
    if hasattr(plain, "__wrapped__"):
        return False  # its annotations are those of what it wraps
    returns = _return_annotation(plain)
    if returns:
        return returns.partition("[")[0].strip("'\" ") in _PLAIN_VALUES
    hands_on = bool(_code(plain).co_flags & inspect.CO_VARARGS)
    return not hands_on and plain.__name__ != "<lambda>"


_PLAIN_VALUES = {"None", "bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple"}


def _plain_function(function: object) -> Callable[..., object] | None:
    plain = getattr(function, "__func__", function)
    return plain if inspect.isfunction(plain) else None


def _plain(function: object) -> Callable[..., object] | None:
    """Return the function that is defined in Python and runs when ``function`` is called."""
    by_its_class: object = type(function).__call__
    return _plain_function(function) or _plain_function(by_its_class)


def _code(plain: Callable[..., object]) -> CodeType:
    return cast("CodeType", cast("Any", plain).__code__)


def _is_marked(function: object) -> bool:
    """Tell whether an object says so itself, as an `unittest.mock.AsyncMock` does."""
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return bool(flags & inspect.CO_COROUTINE) or inspect.iscoroutinefunction(function)


def _return_annotation(function: Callable[..., object]) -> str:
    """Return the annotation of what a function returns, as it is written; "" if there is none."""
    if sys.version_info >= (3, 14):
        # Not evaluated: it may use names that only a type checker imports.
        annotations = annotationlib.get_annotations(function, format=annotationlib.Format.STRING)
    else:
        annotations = function.__annotations__
    returns: object = annotations.get("return", "")
    return returns.__name__ if isinstance(returns, type) else str(returns)


def check_arity(function: Callable[..., object], argument: str, arity: int) -> None:
    """Refuse a function that cannot be called with ``arity`` arguments, as far as is known."""
    if isinstance(function, staticmethod):
        function = without_partial(cast("Callable[..., object]", function))
    plain = _plain_function(function)
    if plain is None:
        check_call(function, argument, *[None] * arity)
        return
    code = _code(plain)
    bound = 1 if plain is not function else 0
    required = code.co_argcount - len(cast("Any", plain).__defaults__ or ()) - bound
    takes_any = bool(code.co_flags & inspect.CO_VARARGS)
    most = math.inf if takes_any else code.co_argcount - bound
    if not required <= arity <= most:
        raise TypeError(
            f"{argument} is called with {_count(arity)}, but {describe_value(function)} takes "
            f"{_count(required)}; use functools.partial or a lambda"
        )
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    missing = [name for name in keywords if name not in (cast("Any", plain).__kwdefaults__ or ())]
    if missing:
        raise TypeError(
            f"{argument} is called with {_count(arity)}, but {describe_value(function)} needs "
            f"the keyword {missing[0]!r}; use functools.partial or a lambda"
        )


def _count(arguments: int) -> str:
    return {0: "no argument", 1: "one argument"}.get(arguments, f"{arguments} arguments")


def check_call(
    function: Callable[..., object], argument: str, *args: object, **keywords: object
) -> None:
    """Refuse a function whose signature, where it has one, does not take these arguments."""
    try:
        # Not that of what it wraps: a decorator may supply arguments, or ask for more.
        signature = inspect.signature(function, follow_wrapped=_is_of_contextlib(function))
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **keywords)
    except TypeError as problem:
        name = describe_value(without_partial(function))
        raise TypeError(f"{argument} {name} cannot be called as asked: {problem}") from None


def _is_of_contextlib(function: Callable[..., object]) -> bool:
    """Tell whether it is made by `contextlib.asynccontextmanager`, which asks for the same."""
    code = getattr(without_partial(function), "__code__", None)
    return getattr(code, "co_filename", None) == _CONTEXTLIB


_CONTEXTLIB = _code(contextmanager).co_filename
