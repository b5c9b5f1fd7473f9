"""Every error that nestling itself raises.

They share one base, so that ``except NestlingError`` catches what the library found and nothing
that a service raised: a service's own error always comes out as it was raised.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self


class NestlingError(Exception):
    """The base of all errors that nestling raises by itself."""


class InvalidStateError(NestlingError):
    """The call is not allowed in the state that its object is in.

    Its message names the call, the object and the state. In contrast to `NotRunningError`, which
    says that a value is not there *yet* or *any more*, this one says that the call itself was a
    mistake: a process started twice, a resource run while it is running.
    """


class NotRunningError(NestlingError):
    """Something was asked for that exists only while its runnable runs.

    Raised, say, by ``Resource.value`` outside of a run.
    """


class ExitedBeforeRunningError(NestlingError):
    """A runnable ended, without an error of its own, before it was running.

    Raised wherever someone waited for it to run: by ``Process.start()``, by a combinator that has
    dependents to start. A runnable that fails to start raises its own error instead.
    """


class CallbackReusedError(NestlingError):
    """A runnable called its callback a second time, or after its run had ended."""


class UnexpectedReturnError(NestlingError):
    """A foreground with ``on_return="fail"`` returned although nobody had asked it to stop."""


class _DeadlineError(NestlingError, TimeoutError):
    """What the two deadline errors share: which node, how long, and who was in the way."""

    _verb = ""

    def __new__(cls, path: str, seconds: float, stuck: Sequence[str] = ()) -> Self:
        # OSError, above TimeoutError, would take several arguments for an errno and its text.
        del path, seconds, stuck
        return super().__new__(cls)

    def __init__(self, path: str, seconds: float, stuck: Sequence[str] = ()) -> None:
        BaseException.__init__(self, path, seconds, tuple(stuck))  # OSError's would do nothing
        self.path = path
        self.seconds = seconds
        self.stuck: tuple[str, ...] = tuple(stuck)

    def __str__(self) -> str:
        waiting = ", ".join(repr(path) for path in self.stuck)
        return f"{self.path!r} did not {self._verb} within {self.seconds:g} s" + (
            f"; stuck: {waiting}" if waiting else ""
        )


class StartTimeoutError(_DeadlineError):
    """A node was not running in time; its start-up was cancelled.

    Attributes:
        path: the node that had the deadline.
        seconds: the time that it had.
        stuck: the paths of the nodes that were still starting.
    """

    _verb = "start"


class StopTimeoutError(_DeadlineError):
    """A node had not stopped gracefully in time; its stop was forced.

    Attributes:
        path: the node that had the deadline.
        seconds: the time that it had.
        stuck: the paths of the nodes that had not stopped.
    """

    _verb = "stop"


class RestartLimitError(NestlingError, ExceptionGroup[Exception]):
    """A runnable was restarted too often in too short a time; holds its last failures."""


class MissingExtraError(NestlingError, ImportError):
    """An optional part of nestling needs a package that is not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(extra, package)
        self.extra = extra
        self.package = package

    def __str__(self) -> str:
        return (
            f"{self.package} is not installed; this part of nestling needs it: "
            f"pip install 'nestling[{self.extra}]'"
        )


class InvalidGraphError(NestlingError, ValueError):
    """A graph cannot be built: a cycle, an unknown name, or one name twice."""
