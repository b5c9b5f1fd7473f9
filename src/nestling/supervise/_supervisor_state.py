"""What a supervisor decides: a pure function of its state and of what has happened.

========  ========================  ==============================================================
a child   event                     what is done
========  ========================  ==============================================================
down      its turn has come         it is started; the next one when it runs
starting  it fails, the first time  the supervisor gives up its start
alive     it ends, and is not to    a temporary one is removed; a significant one may end the
          be started anew           supervisor; an error of it is kept
alive     it ends, and is           too many restarts: the supervisor ends. Else it waits, and by
                                    the strategy others are taken down, the last first, one after
                                    the other; when the delay is over, all come up again in order
leaving   its turn has come         it is asked; the next one when it has ended
waiting   its delay is over         it is started, in its turn
any       all are stopped           nothing starts; all are asked, or forced, in turn, the last
                                    first
========  ========================  ==============================================================

Which children go down with one that failed:

===============  ==========================
one_for_one      none
rest_for_one     those that started after it
one_for_all      all
===============  ==========================

The semantics are those of the supervisors of Erlang/OTP; the delays before restarts are added.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

import attrs

from nestling._kernel._errors import RestartLimitError
from nestling.supervise._backoff import Delays
from nestling.supervise._child import Child
from nestling.supervise._happenings import Action, Ended, Force, Restart, StopWanted
from nestling.supervise._intensity import Intensity, Series, next_delay
from nestling.supervise._place import Place
from nestling.supervise._supervised_state import SupervisedState, keep, returned

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown = Literal["never", "any", "all"]


@attrs.define(eq=False)
class ChildPlace(Place):
    """Where a child runs.

    Attributes:
        number: its place in the order.
        restarts: how often it was started anew.
        error: what it has failed with last.
    """

    spec: Child
    number: int
    restarts: int = attrs.field(default=0, init=False)
    error: BaseException | None = attrs.field(default=None, init=False)


class SupervisorState(SupervisedState[ChildPlace]):
    """The state of one run of a supervisor.

    Attributes:
        gave_up: there were too many restarts.
    """

    kind = "supervisor"

    def __init__(
        self,
        strategy: Strategy,
        auto_shutdown: AutoShutdown,
        backoff: Delays,
        intensity: Intensity,
    ) -> None:
        super().__init__()
        self._strategy = strategy
        self._auto_shutdown = auto_shutdown
        self._backoff = backoff
        self._intensity = intensity
        # Those that are to be started, the first one first, and taken down, the last one first.
        self._coming = deque[ChildPlace]()
        self._leaving: list[ChildPlace] = []
        self._waiting = 0
        self._numbers = 0
        self.gave_up: RestartLimitError | None = None

    def add(self, spec: Child) -> ChildPlace:
        """Add a child, which is down."""
        self._numbers += 1
        place = ChildPlace(spec.name, spec, self._numbers)
        self.places[spec.name] = place
        return place

    def is_coming(self, place: ChildPlace) -> bool:
        """Tell whether a child is down, and is to be started."""
        return place in self._coming

    def take_failures(self) -> list[tuple[str, BaseException]]:
        self._intensity.take_failures()
        self.gave_up = None
        for place in self.places.values():
            place.error = None
        return super().take_failures()

    def _began(self) -> list[Action]:
        self._coming.extend(self.places.values())
        return self._go_on()

    def _up(self, place: ChildPlace) -> list[Action]:
        if not place.leaving and place in self._coming:
            self._coming.remove(place)  # or else it would come again, although it ended for good
        return self._down(place)

    def _down(self, place: ChildPlace) -> list[Action]:
        del place  # it does not matter to whose turn it is
        return self._go_on()

    def _due(self, place: ChildPlace) -> list[Action]:
        self._move(place, "down")
        self._waiting -= 1
        alone = self.mode == "up" and self._strategy == "one_for_one"
        return self._start(place) if alone else self._go_on()

    def _stop_waiting(self, place: ChildPlace) -> list[Action]:
        self._waiting -= 1
        return super()._stop_waiting(place)

    def _cannot_run(self, place: ChildPlace) -> list[Action]:
        self._move(place, "ending")
        place.ended_itself = True
        return self._ask(place) if self.mode == "up" else []

    def _start_wanted(self, place: ChildPlace, reply: object) -> list[Action]:
        if self.mode == "up" and place not in self._coming:
            self._coming.append(place)
        return super()._start_wanted(place, reply)

    def _stop_wanted(self, place: ChildPlace, wanted: StopWanted) -> list[Action]:
        place.forget = place.forget or place.spec.restart == "temporary"
        if place in self._coming:
            self._coming.remove(place)
        return super()._stop_wanted(place, wanted)

    def _removed(self, place: ChildPlace) -> list[Action]:
        if place in self._coming:
            self._coming.remove(place)
        return []

    # A child has ended ----------------------------------------------------------------------------

    def _ended(self, place: ChildPlace, ended: Ended) -> list[Action]:
        place.error = ended.error or place.error
        comes_again = place.leaving and ended.error is None
        if place.start_replies and not comes_again and place in self._coming:
            self._coming.remove(place)
        return super()._ended(place, ended)

    def _over(self, place: ChildPlace, ended: Ended, *, asked: bool) -> list[Action]:
        gone = asked or place.leaving
        actions = keep(ended.error) if gone else self._ended_by_itself(place, ended)
        place.forget = self.mode == "up" and place.spec.restart == "temporary"
        return actions

    def _ended_by_itself(self, place: ChildPlace, ended: Ended) -> list[Action]:
        error, name, restart = ended.error, place.name, place.spec.restart
        first = not place.ran and not self.ready
        if error is not None and (ended.cancelled or first):
            return self._fails(place, error)
        if ended.cancelled:
            return self._end_all(place, f"{name!r} was cancelled")
        if restart == "permanent" or (restart == "transient" and error is not None):
            return self._start_anew(place, error)
        if place.spec.significant and self._shuts_down():
            if error is not None:
                return self._fails(place, error)
            return self._end_all(place, f"{name!r}, which is significant, has ended")
        return keep(error)

    def _start_anew(self, place: ChildPlace, error: BaseException | None) -> list[Action]:
        name = place.name
        if place.series is None:
            place.series = Series(self._backoff)
        failure = error if isinstance(error, Exception) else returned(place)
        title = f"supervisor of {name!r}"
        delay = next_delay(place.series, self._intensity, self.now, failure, title)
        if isinstance(delay, BaseException):
            self.gave_up = delay if isinstance(delay, RestartLimitError) else None
            return self._fails(place, delay)
        place.restarts += 1
        self._move(place, "waiting")
        self._waiting += 1
        if self._strategy != "one_for_one":
            self._take_others_down(place)
        return [Restart(name, place.series.attempt, delay, error)]

    def _shuts_down(self) -> bool:
        if self._auto_shutdown == "any":
            return True
        return self._auto_shutdown == "all" and not any(
            place.phase != "down" or place in self._coming
            for place in self.places.values()
            if place.spec.significant
        )

    def _take_others_down(self, failed: ChildPlace) -> None:
        """Let those leave, and come again, that go down with ``failed``."""
        after = failed.number if self._strategy == "rest_for_one" else 0
        affected = [place for place in self.places.values() if place.number > after]
        for place in affected:
            place.leaving = place.is_alive
        self._leaving = _in_order({*self._leaving, *(each for each in affected if each.leaving)})
        # A temporary one is removed when it has ended: then it is not to come any more.
        coming = _in_order({*self._coming, failed, *affected})
        # One that starts meanwhile, and stays, is waited for as before.
        self._coming = deque(sorted(coming, key=lambda place: not _stays_starting(place)))

    # What has its turn ----------------------------------------------------------------------------

    def _go_on(self) -> list[Action]:
        """Take the next one down; or else start the next one; or else say that this is done."""
        if self.mode in {"ending", "over"}:
            return []
        while self._leaving and not self._leaving[-1].is_alive:
            self._leaving.pop()
        if self._leaving:
            leaving = self._leaving[-1]
            return self._stop(leaving) if leaving.phase != "stopping" else []
        if self.mode != "up":
            return self._finish()
        while self._coming and self._coming[0].phase in {"running", "ending"}:
            self._coming.popleft()
        # Those that go down together come up together.
        held = self._waiting and self._strategy != "one_for_one"
        if self._coming and not held and self._coming[0].phase == "down":
            return self._start(self._coming[0])
        return [] if self._coming or self.ready else self._call_back()

    def _stop_places(self) -> list[Action]:
        self._coming.clear()
        self._leaving = [place for place in self.places.values() if place.is_alive]
        stopping = [place for place in self._leaving if place.phase == "stopping"]
        forced: list[Action] = [Force(place.name, self._why) for place in stopping]
        return [*(forced if self.mode == "forcing" else []), *self._go_on()]


def _in_order(places: Iterable[ChildPlace]) -> list[ChildPlace]:
    return sorted(places, key=lambda place: place.number)


def _stays_starting(place: ChildPlace) -> bool:
    return place.phase == "starting" and not place.leaving
