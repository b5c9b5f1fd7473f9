"""`RestartPolicy`: when something that has ended is started anew, and how often."""

from __future__ import annotations

import math
from typing import Literal

import attrs

from nestling._kernel._checks import (
    check_choice,
    check_integer,
    check_seconds,
    describe_value,
)
from nestling._kernel._outcome import forces
from nestling.supervise._backoff import Backoff, Delays

When = Literal["failure", "always"]


@attrs.frozen
class RestartPolicy:
    """When something that has ended is started anew, how soon, and how often.

    Nothing is started anew that was cancelled, or has raised KeyboardInterrupt, SystemExit or
    another exception that is not an `Exception`, be it in a group; and nothing while it stops.

    Attributes:
        when: ``"failure"``: after an error only. ``"always"``: after a return, too.
        backoff: makes the delays before the restarts, each time anew: a `Backoff`, or any callable
            that returns an iterator of seconds. Where that ends, it is given up.
        limit: how many restarts there may be
        period: in so many seconds, the last ones at any time. One more, and it is given up.

    Example::

        RestartPolicy("always", Backoff(maximum=3), limit=10, period=60)
    """

    when: When = "failure"
    backoff: Delays = attrs.field(factory=Backoff)
    limit: float = 3
    period: float = 5

    def __attrs_post_init__(self) -> None:
        check_choice(self.when, "when of RestartPolicy()", ("failure", "always"))
        check_backoff(self.backoff, "backoff of RestartPolicy()")
        check_limit(self.limit, "limit of RestartPolicy()")
        check_seconds(self.period, "period of RestartPolicy()")

    def applies_to(self, error: BaseException | None) -> bool:
        """Tell whether what has ended so, without having been cancelled, is started anew."""
        return self.when == "always" if error is None else not forces(error)


def check_policy(value: object, argument: str) -> None:
    """Refuse what is not a `RestartPolicy`."""
    if not isinstance(value, RestartPolicy):
        raise TypeError(f"{argument} must be a RestartPolicy, not {describe_value(value)}")


def check_backoff(value: object, argument: str) -> None:
    """Refuse what does not make delays."""
    if not callable(value):
        raise TypeError(
            f"{argument} must be a Backoff, or a function that returns an iterator of seconds, "
            f"not {describe_value(value)}"
        )


def check_limit(value: object, argument: str) -> None:
    """Refuse what is not a number of restarts; `math.inf` is one."""
    if value != math.inf:
        check_integer(value, argument, least=0)
