"""Where a node runs, again and again."""

from __future__ import annotations

from typing import Literal

import attrs

from nestling.supervise._happenings import Action, Reply
from nestling.supervise._intensity import Series

Phase = Literal["down", "waiting", "starting", "running", "ending", "stopping"]
ALIVE = frozenset({"starting", "running", "ending", "stopping"})


@attrs.define(eq=False)
class Place:
    """Where a node runs, again and again.

    Attributes:
        name: unique among the places.
        phase: ``waiting``: before a restart; ``ending``: something inside of it has ended, and it
            has not been asked to stop yet.
        since: when its phase began.
        ran: it has been running, ever.
        leaving: it is to be taken down, since another one starts anew.
        ended_itself: something inside of it has ended, before it was asked to stop.
        forget: it is removed when it is down.
        series: its restarts, if there were any.
        start_replies: who waits for it to run.
        stop_replies: who waits for it to stop.
    """

    name: str
    phase: Phase = attrs.field(default="down", init=False)
    since: float = attrs.field(default=0, init=False)
    ran: bool = attrs.field(default=False, init=False)
    leaving: bool = attrs.field(default=False, init=False)
    ended_itself: bool = attrs.field(default=False, init=False)
    forget: bool = attrs.field(default=False, init=False)
    series: Series | None = attrs.field(default=None, init=False)
    start_replies: tuple[object, ...] = attrs.field(default=(), init=False)
    stop_replies: tuple[object, ...] = attrs.field(default=(), init=False)

    def no_longer_waits(self, reply: object) -> None:
        """Forget one who waited for it to run."""
        self.start_replies = tuple(each for each in self.start_replies if each is not reply)

    def answer_starts(self, error: BaseException | None = None) -> list[Action]:
        """Answer all who wait for it to run; they wait no more."""
        waiting, self.start_replies = self.start_replies, ()
        return [Reply(each, error) for each in waiting]

    def answer_stops(self, error: BaseException | None) -> list[Action]:
        """Answer all who wait for it to stop; they wait no more."""
        waiting, self.stop_replies = self.stop_replies, ()
        return [Reply(each, error) for each in waiting]

    @property
    def is_alive(self) -> bool:
        """There is something of it that runs."""
        return self.phase in ALIVE
