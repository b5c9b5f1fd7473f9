"""How a composition is to be certified: the keywords of `certify`, checked."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, cast

import attrs

from nestling._kernel._checks import check_choice, check_integer, check_seconds, describe_value
from nestling._kernel._functions import check_async
from nestling.testing._clock import MOST_SECONDS_IDLE
from nestling.testing._faults import FAULT_KINDS, FaultKind
from nestling.testing._faulty_run import Body, Invariant
from nestling.testing._tasks import short_body


@attrs.frozen(kw_only=True)
class Options:
    """The keywords of `certify`, where they are explained, and their defaults."""

    faults: tuple[FaultKind, ...] = FAULT_KINDS
    invariants: tuple[Invariant, ...] = ()
    limit: int | None = None
    body: Body = short_body
    pairs: bool = True
    seed: int = 0
    idle: float = MOST_SECONDS_IDLE


def checked_options(given: Mapping[str, object], of: str = "") -> Options:
    """Return the options that are given, and the defaults of the others.

    Args:
        given: values by name.
        of: what is said after a name in an error.

    Raises:
        TypeError, ValueError: they are wrong.
    """
    known = [field.name for field in attrs.fields(Options)]
    for name in given:
        if name not in known:
            raise TypeError(f"it takes {', '.join(known)}, not {name!r}")
    values: dict[str, Any] = dict(given)
    for name in {"faults", "invariants"} & values.keys():
        values[name] = _tuple(values[name], f"{name}{of}")
    options = Options(**values)
    _check(options, of)
    return options


def _tuple(value: object, argument: str) -> tuple[object, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{argument} must be a list or a tuple, not {describe_value(value)}")
    return tuple(cast("Iterable[object]", value))


def _check(options: Options, of: str) -> None:
    if not options.faults:
        raise ValueError(f"faults{of} must name at least one of {', '.join(FAULT_KINDS)}")
    for kind in options.faults:
        check_choice(kind, f"each of faults{of}", FAULT_KINDS)
    for number, invariant in enumerate(options.invariants, 1):
        _check_invariant(invariant, f"invariant {number}{of}")
    if options.limit is not None:
        check_integer(options.limit, f"limit{of}", least=1)
    check_async(options.body, f"body{of}")
    if not isinstance(cast("object", options.pairs), bool):
        raise TypeError(f"pairs{of} must be True or False, not {describe_value(options.pairs)}")
    check_integer(options.seed, f"seed{of}")
    check_seconds(options.idle, f"idle{of}")


def _check_invariant(invariant: object, argument: str) -> None:
    if not callable(invariant):
        raise TypeError(f"{argument} must be a function, not {describe_value(invariant)}")
    if inspect.iscoroutinefunction(invariant):
        raise TypeError(f"{argument} must not be async, as {describe_value(invariant)} is")
