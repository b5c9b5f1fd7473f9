"""Which of several errors comes out, and what becomes of the others (law 3, law 4).

Pure functions: they look at exceptions and at nothing else.

=====================  ===============================================================
what there is          what comes out
=====================  ===============================================================
only `Cancelled`       the `Cancelled`, once there is no error
one error              that error, bare
several errors         the first of: callback, stop, foreground
one is not `Exception` that one first (a KeyboardInterrupt is never only a note)
=====================  ===============================================================
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn, cast

import trio

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


class Signature(str):
    """The note of a node that an error has come from, or has passed through."""

    __slots__ = ()


class Suppressed(str):
    """The note for an error that another one hides."""

    __slots__ = ()


class Returned(str):
    """The reason of a cancellation that follows no failure: something has returned by itself."""

    __slots__ = ()


def without_cancelled(exception: BaseException | None) -> BaseException | None:
    """Return what is an error in ``exception``: None if there is only cancellation in it."""
    if isinstance(exception, trio.Cancelled):
        return None
    if isinstance(exception, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exception)
        cancelled, errors = group.split(trio.Cancelled)
        return group if cancelled is None else errors
    return exception


def is_error(exception: BaseException | None) -> bool:
    """Tell whether there is anything but cancellation in ``exception``."""
    return without_cancelled(exception) is not None


def error_among(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Return the error in what a nursery raises whose tasks raise none: an interrupt (law 4).

    It may have come together with a cancellation.
    """
    return next(filter(is_error, group.exceptions), None)


def forces(exception: BaseException | None) -> bool:
    """Tell whether law 4 holds for ``exception``: KeyboardInterrupt, SystemExit and the like."""
    error = without_cancelled(exception)
    return error is not None and not isinstance(error, Exception)


def add_note(exception: BaseException, note: str) -> None:
    """Add a note, on Python 3.10 too, where tracebacks of exceptiongroup show it."""
    if sys.version_info >= (3, 11):
        exception.add_note(note)
    else:
        vars(exception)["__notes__"] = [*notes(exception), note]


def add_signature(exception: BaseException, name: str) -> None:
    """Note the name of a node on an error of it."""
    add_note(exception, Signature(f"in {name!r}"))


def notes(exception: BaseException) -> Sequence[str]:
    """Return the notes of ``exception``."""
    return getattr(exception, "__notes__", ())


def summary(
    exception: BaseException, of_member: Callable[[BaseException], str] | None = None
) -> str:
    """Describe ``exception`` in one line, and in it the members of a group."""
    name = type(exception).__name__
    if isinstance(exception, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exception)
        members = "; ".join(map(of_member or summary, group.exceptions))
        return f"{name}: {group.message} ({members})"
    text = " ".join(str(exception).split())
    return f"{name}: {text}" if text else name


def first_error(
    errors: Iterable[tuple[str, BaseException | None]],
) -> tuple[BaseException | None, list[tuple[str, BaseException]]]:
    """Choose the error that comes out: ``(chosen, the others)``.

    ``errors`` says of each by whom it was raised, in order of precedence. What holds nothing but
    cancellation does not count, and neither does what was there before: the same object, or a group
    of nothing else. The cancellation in a group is left out of it: who has caught the group may
    have taken it out of the scope where that belongs (law 8).
    """
    found: list[tuple[str, BaseException]] = []
    seen: set[int] = set()
    for source, raised in errors:
        error = without_cancelled(raised)
        if error is not None:
            own = _own_leaves(error)
            if not own <= seen:
                found.append((source, error))
                seen |= own
    if not found:
        return None, []
    chosen = next((pair for pair in found if forces(pair[1])), found[0])
    return chosen[1], [pair for pair in found if pair is not chosen]


def _leaves(exception: BaseException) -> Iterable[BaseException]:
    if isinstance(exception, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exception)
        return [leaf for member in group.exceptions for leaf in _leaves(member)]
    return [exception]


def is_same(one: BaseException | None, other: BaseException | None) -> bool:
    """Tell whether two are one error; trio may have made a group anew on its way."""
    if one is None or other is None:
        return False
    return one is other or _own_leaves(one) == _own_leaves(other)


def _own_leaves(error: BaseException) -> set[int]:
    return {id(leaf) for leaf in _leaves(error) if not isinstance(leaf, trio.Cancelled)}


def _with_causes(exception: BaseException, *told: BaseException) -> str:
    """Describe ``exception`` as `summary` does, and what it and its members were raised from.

    Args:
        exception: what is described.
        told: where this ends, since it is told elsewhere.
    """
    text = ""
    seen = set(map(id, told))
    current: BaseException | None = exception
    link = ""
    while current is not None and id(current) not in seen and is_error(current):
        seen.add(id(current))
        text += f"{link}{summary(current, _with_causes)}"
        link = ", from "
        following = current.__cause__
        if following is None and not current.__suppress_context__:
            link, following = ", while handling ", current.__context__
        current = following
    return text


def note_suppressed(chosen: BaseException, others: Iterable[tuple[str, BaseException]]) -> None:
    """Leave a note on ``chosen`` for each error that it hides, and for what those have hidden."""
    for source, error in others:
        add_note(chosen, Suppressed(f"{source} failed as well: {_with_causes(error, chosen)}"))
        for note in _notes_in(error, chosen):
            if isinstance(note, Suppressed):
                add_note(chosen, note)


def _notes_in(exception: BaseException, chosen: BaseException) -> list[str]:
    if exception is chosen:
        return []
    if not isinstance(exception, BaseExceptionGroup):
        return list(notes(exception))
    group = cast("BaseExceptionGroup[BaseException]", exception)
    return [*notes(group), *(note for each in group.exceptions for note in _notes_in(each, chosen))]


def raise_again(error: BaseException) -> NoReturn:
    """Raise an exception that was caught before, and leave its ``__context__`` as it was.

    A plain ``raise`` would put what is being handled around in its place, and lose the error that
    was there. trio's nurseries do the same.
    """
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error, context


def has_cause(error: BaseException, cause: BaseException) -> bool:
    """Tell whether ``error`` was raised from ``cause``, at once or in several steps."""
    seen: set[int] = set()
    follows = error.__cause__
    while follows is not None and follows is not cause and id(follows) not in seen:
        seen.add(id(follows))
        follows = follows.__cause__
    return follows is cause


def set_cause(error: BaseException, cause: BaseException) -> bool:
    """Make ``cause`` the ``__cause__`` of ``error``; False where that is taken or would loop."""
    if error.__cause__ is not None or _reaches(cause, error):
        return False
    error.__cause__ = cause
    return True


def _reaches(start: BaseException, goal: BaseException) -> bool:
    seen: set[int] = set()
    todo: list[BaseException | None] = [start]
    while todo:
        current = todo.pop()
        if current is goal:
            return True
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        todo += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            todo += cast("BaseExceptionGroup[BaseException]", current).exceptions
    return False
