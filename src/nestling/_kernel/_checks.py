"""Arguments are checked where they are handed over, so that a mistake shows where it was made."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable
from functools import partial
from typing import cast

import trio

if sys.version_info >= (3, 14):
    import annotationlib


def describe_value(value: object) -> str:
    """Name ``value`` for an error message: functions by their name, others by type and repr."""
    name = getattr(value, "__qualname__", None)
    if name is not None:
        return f"{name!r}"
    text = repr(value)
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return f"{shown} ({type(value).__qualname__})"


def label_of(function: object) -> str:
    """Return the name under which a node appears that runs ``function`` and has no name."""
    while isinstance(function, partial):
        function = cast("object", function.func)
    name = getattr(function, "__name__", None) or type(function).__name__
    return str(name).replace("/", "_")


def check_async(function: object, argument: str, arity: int | None = 0) -> None:
    """Refuse what cannot be an async callable that is called with ``arity`` arguments.

    None stands for an unknown arity.

    A plain function may be one, if it returns an awaitable: that is believed of lambdas, of what
    wraps an async function, and of functions whose annotation says so.
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
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError(f"{expected}, but {describe_value(function)} is a generator function")
    if _is_plainly_sync(function):
        raise TypeError(
            f"{expected}, but {describe_value(function)} is a sync function: write 'async def', "
            f"or annotate it if it returns an awaitable"
        )
    if arity is not None:
        _check_arity(function, argument, arity)


def _is_plainly_sync(function: Callable[..., object]) -> bool:
    plain = getattr(function, "__func__", function)
    if not inspect.isfunction(plain) or inspect.iscoroutinefunction(plain):
        return False
    if plain.__name__ == "<lambda>" or hasattr(plain, "__wrapped__"):
        return False
    returns = _return_annotation(plain)
    return not any(name in returns for name in ("Awaitable", "Coroutine", "Any", "object", "Task"))


def _return_annotation(function: Callable[..., object]) -> str:
    if sys.version_info >= (3, 14):
        # Not evaluated: it may use names that only a type checker imports.
        annotations = annotationlib.get_annotations(function, format=annotationlib.Format.STRING)
    else:
        annotations = function.__annotations__
    return str(annotations.get("return", ""))


def _check_arity(function: Callable[..., object], argument: str, arity: int) -> None:
    plain = getattr(function, "__func__", function)
    if not inspect.isfunction(plain) or hasattr(plain, "__wrapped__"):
        return
    code = plain.__code__
    bound = 1 if plain is not function else 0
    required = code.co_argcount - len(plain.__defaults__ or ()) - bound
    takes_any = bool(code.co_flags & inspect.CO_VARARGS)
    most = math.inf if takes_any else code.co_argcount - bound
    if not required <= arity <= most:
        raise TypeError(
            f"{argument} is called with {_count(arity)}, but {describe_value(function)} takes "
            f"{_count(required)}; use functools.partial or a lambda"
        )
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    missing = [name for name in keywords if name not in (plain.__kwdefaults__ or ())]
    if missing:
        raise TypeError(
            f"{argument} is called with {_count(arity)}, but {describe_value(function)} needs "
            f"the keyword {missing[0]!r}; use functools.partial or a lambda"
        )


def check_keyword(function: Callable[..., object], argument: str, keyword: str) -> None:
    """Refuse a function that has no parameter ``keyword``."""
    plain = getattr(function, "__func__", function)
    if not inspect.isfunction(plain) or hasattr(plain, "__wrapped__"):
        return
    code = plain.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if keyword not in names and not code.co_flags & inspect.CO_VARKEYWORDS:
        raise TypeError(f"{argument} {describe_value(function)} must take the argument {keyword!r}")


def _count(arguments: int) -> str:
    return {0: "no argument", 1: "one argument"}.get(arguments, f"{arguments} arguments")


def check_seconds(value: object, argument: str) -> float:
    """Return ``value`` as a number of seconds that is not negative; `math.inf` is allowed."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{argument} must be a number of seconds, not {describe_value(value)}")
    seconds = float(value)
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{argument} must be zero or more seconds, not {value!r}")
    return seconds


def check_name(value: object, argument: str = "name") -> str:
    """Return ``value`` as a node's name: a string, not empty, without a slash."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a string, not {describe_value(value)}")
    if not value or "/" in value:
        raise ValueError(
            f"{argument} must be a non-empty string without '/', which separates the names "
            f"of a path, not {value!r}"
        )
    return value


def check_choice(value: object, argument: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of ``choices``."""
    if value not in choices:
        allowed = ", ".join(map(repr, choices))
        raise ValueError(f"{argument} must be one of {allowed}, not {value!r}")


def check_nursery(value: object) -> None:
    """Refuse what is not a nursery."""
    if not isinstance(value, trio.Nursery):
        raise TypeError(f"nursery must be a trio nursery, not {describe_value(value)}")
