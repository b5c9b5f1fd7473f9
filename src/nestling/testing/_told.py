"""All that an error tells: itself, its members, causes and contexts, and their notes."""

from __future__ import annotations

import sys
from typing import cast

from nestling._kernel._outcome import notes, summary

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


def told_by(error: BaseException | None) -> str:
    """Return, as one text, what the traceback of ``error`` would tell, but for its frames."""
    texts: list[str] = []
    seen: set[int] = set()
    todo = [error]
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        texts += [summary(current), *notes(current)]
        todo += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            todo += cast("BaseExceptionGroup[BaseException]", current).exceptions
    return "\n".join(texts)
