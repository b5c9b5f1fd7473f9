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
from collections.abc import Iterable, Sequence
from typing import cast

import trio

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


def without_cancelled(exception: BaseException | None) -> BaseException | None:
    """Return what is an error in ``exception``: None if there is only cancellation in it."""
    if isinstance(exception, trio.Cancelled):
        return None
    if isinstance(exception, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exception)
        return group.split(trio.Cancelled)[1]
    return exception


def is_error(exception: BaseException | None) -> bool:
    """Tell whether there is anything but cancellation in ``exception``."""
    return without_cancelled(exception) is not None


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


def notes(exception: BaseException) -> Sequence[str]:
    """Return the notes of ``exception``."""
    return getattr(exception, "__notes__", ())


def summary(exception: BaseException) -> str:
    """Describe ``exception`` in one line."""
    text = str(exception)
    return f"{type(exception).__name__}: {text}" if text else type(exception).__name__


def first_error(
    errors: Iterable[tuple[str, BaseException | None]],
) -> tuple[BaseException | None, list[tuple[str, BaseException]]]:
    """Choose the error that comes out: ``(chosen, the others)``.

    ``errors`` says of each by whom it was raised, in order of precedence. What is the same object,
    or holds nothing but cancellation, counts once, or not at all.
    """
    found: list[tuple[str, BaseException]] = []
    for source, error in errors:
        if is_error(error) and all(error is not other for _, other in found):
            assert error is not None
            found.append((source, error))
    if not found:
        return None, []
    chosen = next((pair for pair in found if forces(pair[1])), found[0])
    return chosen[1], [pair for pair in found if pair is not chosen]


def note_suppressed(chosen: BaseException, others: Iterable[tuple[str, BaseException]]) -> None:
    """Leave a note on ``chosen`` for each error that it hides."""
    for source, error in others:
        add_note(chosen, f"{source} failed as well: {summary(error)}")


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
