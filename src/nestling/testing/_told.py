"""All that an error tells: itself, its members, causes and contexts, and their notes."""

from __future__ import annotations

import sys
import traceback
from typing import cast

from nestling._kernel._outcome import notes, summary

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


def all_of(error: BaseException | None) -> list[BaseException]:
    """Return ``error``, its members, causes and contexts, and those of these."""
    found: dict[int, BaseException] = {}
    todo = [error]
    while todo:
        current = todo.pop()
        if current is None or id(current) in found:
            continue
        found[id(current)] = current
        todo += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            todo += cast("BaseExceptionGroup[BaseException]", current).exceptions
    return list(found.values())


def clear_frames(error: BaseException | None) -> None:
    """Forget the variables in the frames through which ``error`` has come, and all in it."""
    for each in all_of(error):
        traceback.clear_frames(each.__traceback__)


def told_by(error: BaseException | None) -> str:
    """Return, as one text, what the traceback of ``error`` would tell, but for its frames."""
    return "\n".join(text for each in all_of(error) for text in (summary(each), *notes(each)))
