"""`child`: what a `Supervisor` runs."""

from __future__ import annotations

import math
from typing import Literal, cast

import attrs

from nestling._kernel._checks import check_choice, check_name, check_seconds, describe_value
from nestling._kernel._foreign import accept
from nestling._kernel._named import Named, named
from nestling._kernel._runnable import Composed, Runnable
from nestling._kernel._timeouts import timeouts

RestartType = Literal["permanent", "transient", "temporary"]


@attrs.frozen(eq=False)
class Child:
    """A child of a `Supervisor`; made by `child`.

    Attributes:
        name: unique in the supervisor.
        runnable: what runs, under that name.
        restart: when it is started anew.
        significant: its end may end the supervisor.
        stop: seconds that it may take to stop gracefully.
    """

    name: str
    runnable: Composed
    restart: RestartType = "permanent"
    significant: bool = False
    stop: float = 5

    @property
    def bounded(self) -> Composed:
        """What is run: the runnable, with its stop bounded: inside of its name, as that counts."""
        if math.isinf(self.stop) or not isinstance(self.runnable, Named):
            return self.runnable
        bounded = (timeouts(part, stop=self.stop) for part in self.runnable.parts)
        return accept(self.runnable.with_parts(*bounded), "a child")


def child(
    name: str,
    r: Runnable,
    *,
    restart: RestartType = "permanent",
    significant: bool = False,
    stop: float = 5,
) -> Child:
    """Define a child of a `Supervisor`.

    Args:
        name: unique in the supervisor.
        r: what runs there.
        restart: ``"permanent"``: it is started anew however it has ended. ``"transient"``: only
            after an error. ``"temporary"``: never, and it is removed when it has ended.
        significant: its end, where it is not started anew after that, may end the supervisor, see
            ``auto_shutdown`` there.
        stop: seconds that it may take to stop gracefully; after that it is forced.

    Example::

        child("consumer", consumer, restart="transient", stop=30)

    Raises:
        TypeError, ValueError: an argument is wrong; or a permanent child is significant, although
            it never ends for good.
    """
    check_name(name, "name of child()")
    inner = accept(r, f"r of child({name!r})")
    check_choice(restart, f"restart of child({name!r})", ("permanent", "transient", "temporary"))
    if not isinstance(cast("object", significant), bool):
        raise TypeError(
            f"significant of child({name!r}) must be True or False, "
            f"not {describe_value(significant)}"
        )
    if significant and restart == "permanent":
        raise ValueError(
            f"child({name!r}) cannot be significant: a permanent child never ends for good"
        )
    seconds = check_seconds(stop, f"stop of child({name!r})")
    return Child(name, accept(named(name, inner), "a child"), restart, significant, seconds)
