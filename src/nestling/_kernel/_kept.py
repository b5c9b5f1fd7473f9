"""Errors that come out of no run: they are kept for who asks, or were handed to a function.

Who does that with an error says so by `kept`. Nobody listens but the testing kit, for which every
other error that does not come out is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

_listener = ContextVar[Callable[[BaseException], object] | None](
    "who is told of the errors that nestling keeps", default=None
)


def kept(error: BaseException) -> None:
    """Say that ``error`` goes no further."""
    listener = _listener.get()
    if listener is not None:
        listener(error)


@contextmanager
def listening_to_kept(listener: Callable[[BaseException], object]) -> Generator[None, None, None]:
    """Let ``listener`` be told of the errors that are kept, in this context and those below."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
