"""The private parts of trio that proofs need, all in this file.

trio offers no public way to make its schedule depend on a seed, and none to let a task's next step
raise. Where a new trio has changed what is used here, `UnsupportedTrioError` says so at once.
"""

# ruff: noqa: SLF001  # private access is what this file is for

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import outcome
import trio
from trio._core import _run  # pyright: ignore[reportPrivateUsage]

from nestling._kernel._errors import NestlingError
from nestling.supervise._chance import CHANCE


class UnsupportedTrioError(NestlingError):
    """This trio is not one whose schedule nestling can control."""


_runner: Any = _run


@contextmanager
def scheduled_by(seed: int) -> Generator[None, None, None]:
    """Let the order in which trio's tasks run inside depend on ``seed`` alone.

    It holds for trio runs that begin inside. The same program then takes the same steps in the same
    order, as far as it does not wait for threads, processes or the network.
    """
    try:
        before, generator = _runner._ALLOW_DETERMINISTIC_SCHEDULING, _runner._r
    except AttributeError:
        raise UnsupportedTrioError(
            f"trio {trio.__version__} is not supported here: its schedule cannot be fixed"
        ) from None
    _runner._ALLOW_DETERMINISTIC_SCHEDULING = True
    _runner._r = random.Random(seed)
    delays = CHANCE.getstate()
    CHANCE.seed(seed)
    try:
        yield
    finally:
        CHANCE.setstate(delays)
        _runner._ALLOW_DETERMINISTIC_SCHEDULING = before
        _runner._r = generator


def next_step_of(task: trio.lowlevel.Task) -> outcome.Value[Any] | outcome.Error | None:
    """Return what the next step of ``task`` begins with: None if it is the first."""
    try:
        return cast("outcome.Value[Any] | outcome.Error | None", cast("Any", task)._next_send)
    except AttributeError:
        raise UnsupportedTrioError(
            f"trio {trio.__version__} is not supported here: its steps cannot be seen"
        ) from None


def is_cancelled(task: trio.lowlevel.Task) -> bool:
    """Tell whether the next checkpoint of ``task`` is cancelled: no shield is in between."""
    return bool(cast("Any", task)._cancel_status.effectively_cancelled)


def raise_in_next_step(task: trio.lowlevel.Task, error: BaseException) -> None:
    """Let the next step of ``task``, which is not its first, begin with ``error``."""
    cast("Any", task)._next_send = outcome.Error(error)


def give_up_waiting(task: trio.lowlevel.Task, error: BaseException) -> bool:
    """Let ``task`` go on with ``error``, whatever it waits for. Returns whether it does.

    It does not if it is in its first step, or waits for a thread that cannot be given up.
    """

    def raise_error(_: object = None) -> NoReturn:
        raise error

    waiting: Any = task
    if waiting._abort_func is not None:
        waiting._attempt_abort(raise_error)
    elif waiting._next_send is not None:
        raise_in_next_step(task, error)
    return isinstance(waiting._next_send, outcome.Error)


def let_nobody_tell(token: trio.lowlevel.TrioToken) -> None:
    """Let threads that are still at work for a run that trio was made to leave end in silence.

    A run that ends in its usual way says itself that it takes no more news.
    """
    try:
        queue = cast("Any", token)._reentry_queue
        with queue.lock:
            queue.done = True
    except AttributeError:
        raise UnsupportedTrioError(
            f"trio {trio.__version__} is not supported here: its threads cannot be left"
        ) from None
