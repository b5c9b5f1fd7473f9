"""Arguments are checked where they are handed over, so that a mistake shows where it was made.

Each check is told what it checks, such as ``start of timeouts('db')``, and names it if it refuses.
"""

from __future__ import annotations

import math
from functools import partial
from typing import cast

import trio


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


def check_seconds(value: object, argument: str) -> float:
    """Return ``value`` as a number of seconds that is not negative; `math.inf` is allowed."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{argument} must be a number of seconds, not {describe_value(value)}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf if value > 0 else -math.inf
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{argument} must be zero or more seconds, not {value!r}")
    return seconds


def check_integer(value: object, argument: str, *, least: int | None = None) -> int:
    """Return ``value`` as an integer that is not less than ``least``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} must be an integer, not {describe_value(value)}")
    if least is not None and value < least:
        raise ValueError(f"{argument} must be at least {least}, not {value}")
    return value


def check_number(
    value: object, argument: str, *, least: float = -math.inf, most: float = math.inf
) -> float:
    """Return ``value`` as a finite number from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{argument} must be a number, not {describe_value(value)}")
    if not (math.isfinite(value) and least <= value <= most):
        bounds = f"from {least:g} to {most:g}" if math.isfinite(most) else f"at least {least:g}"
        raise ValueError(f"{argument} must be {bounds}, not {value!r}")
    return value


def check_name(value: object, argument: str) -> str:
    """Return ``value`` as a node's name: a string, not empty, without a slash."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a string, not {describe_value(value)}")
    if not value or "/" in value or not value.isprintable():
        raise ValueError(
            f"{argument} must be a non-empty, printable string without '/', which separates the "
            f"names of a path, not {value!r}"
        )
    return value


def check_choice(value: object, argument: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of ``choices``."""
    if value not in choices:
        allowed = ", ".join(map(repr, choices))
        raise ValueError(f"{argument} must be one of {allowed}, not {value!r}")


def check_nursery(value: object, argument: str) -> None:
    """Refuse what is not a nursery."""
    if not isinstance(value, trio.Nursery):
        raise TypeError(f"{argument} must be a trio nursery, not {describe_value(value)}")
