"""What happens to a supervised run, and what is to be done about it: both are values.

A pure function decides: it takes the state and what has happened, and returns what to do next. It
knows no trio, and no clock. Nobody changes a value; those that come for each node in each run are
not frozen, since that makes them slower to make.
"""

from __future__ import annotations

import attrs

# What has happened --------------------------------------------------------------------------------


@attrs.frozen
class Began:
    """The run has begun."""


@attrs.define(unsafe_hash=True)
class Ran:
    """A node is ready for use."""

    name: str


@attrs.frozen
class CannotRun:
    """Something inside a node has ended; to end itself, it waits to be asked."""

    name: str


@attrs.define(eq=False)
class Ended:
    """Nothing of a node is left.

    Attributes:
        error: what it has failed with.
        cancelled: there was a cancellation in what it has raised that nobody here asked for.
    """

    name: str
    error: BaseException | None = None
    cancelled: bool = False


@attrs.frozen
class Due:
    """The delay before a restart is over."""

    name: str


@attrs.frozen
class StopAsked:
    """What depends on all of it is gone: it is to stop gracefully."""


@attrs.frozen
class Cancelled:
    """It is cancelled from outside, and nothing depends on it any more."""

    reason: str


@attrs.frozen(eq=False)
class StartWanted:
    """A node that is down is to be started.

    Attributes:
        reply: to whom it is told how that went.
    """

    name: str
    reply: object


@attrs.frozen(eq=False)
class StopWanted:
    """A node is to be stopped.

    Attributes:
        reply: to whom it is told when that is done.
        forget: it is also to be removed.
    """

    name: str
    reply: object
    forget: bool = False


@attrs.frozen(eq=False)
class Withdrawn:
    """Nobody waits any more for a start that was wanted."""

    name: str
    reply: object


Happening = (
    Began
    | Ran
    | CannotRun
    | Ended
    | Due
    | StopAsked
    | Cancelled
    | StartWanted
    | StopWanted
    | Withdrawn
)

# What is to be done -------------------------------------------------------------------------------


@attrs.define(unsafe_hash=True)
class Start:
    """Start a node."""

    name: str


@attrs.define(unsafe_hash=True)
class Ask:
    """Ask a node to stop gracefully; if it is still starting, cancel that."""

    name: str


@attrs.frozen
class Force:
    """Cancel a node."""

    name: str
    reason: str


@attrs.frozen(eq=False)
class Restart:
    """Tell of a restart, and wait before it."""

    name: str
    attempt: int
    delay: float
    error: BaseException | None


@attrs.frozen
class StopWaiting:
    """Give up waiting before a restart."""

    name: str


@attrs.frozen
class CallBack:
    """Enter the callback."""


@attrs.frozen
class CancelCallback:
    """Cancel the callback."""

    reason: str


@attrs.frozen
class Finish:
    """Let the run end."""


@attrs.frozen(eq=False)
class Reply:
    """Answer who has wanted something.

    Attributes:
        to: the one that was given.
        error: why it could not be done, or None.
    """

    to: object
    error: BaseException | None = None


@attrs.frozen
class Forget:
    """A node that is down is removed."""

    name: str


@attrs.frozen(eq=False)
class Keep:
    """An error goes no further: it is kept for who asks."""

    error: BaseException


Action = (
    Start
    | Ask
    | Force
    | Restart
    | StopWaiting
    | CallBack
    | CancelCallback
    | Finish
    | Reply
    | Forget
    | Keep
)
