"""Children of a supervisor, and the book by which it has to treat them: that of OTP.

What becomes of a child that has ended, and of its error; the first that applies:

=============================================  ===================================================
a child has ended                              what becomes of it
=============================================  ===================================================
by an interrupt                                it comes out, and all end
while all end                                  it comes out
while somebody waits for its start             that one is told; unless it was taken down, and has
                                               no error: then it comes again
since it was asked for, or was taken down      it is kept
with a cancellation that nobody asked for      it comes out, and all end
with an error, before it first ran, and so     it comes out, and all end
does the supervisor
and is permanent, or transient with an error   it starts anew; or else that is once too often
and is significant, and decides                it comes out, and all end
otherwise                                      it is kept
=============================================  ===================================================
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable
from typing import Literal, get_args

from nestling import InvalidStateError, nop
from nestling.supervise import child
from nestling.supervise._child import Child, RestartType
from nestling.supervise._happenings import (
    Began,
    Ended,
    Happening,
    Keep,
    Ran,
    Restart,
    StartWanted,
    StopAsked,
    StopWanted,
)
from nestling.supervise._supervisor_state import AutoShutdown, Strategy
from tests.supervise.rules import Count, Rules, stands_for
from tests.supervise.worlds import Choose, Question, World, end, play, some

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

ENDLESS = 60

Fate = Literal["comes out", "told", "kept", "starts anew", "once too often", "none"]


class SupervisorWorld(World):
    """Children, in order.

    Attributes:
        known: those that there are.
        to_run: those that run, or have to; and after how many decisions that was so.
        ran: those that have run, ever.
        leaving: those that live, and are to be taken down, since a sibling starts anew.
        anew: those that come again, since they have ended by themselves.
        spares: those that can be added.
        raised: what has to come out in the end.
    """

    chances = (*[("usual", 0)] * 12, *[("usual", 1)] * 2, ("rare", 0), *[("wanted", 0)] * 5)

    def __init__(
        self,
        rules: Rules,
        children: Iterable[Child],
        spares: Iterable[Child],
        at_once: Collection[str],
    ) -> None:
        self.rules = rules
        self.known: dict[str, Child] = {}
        self.to_run: dict[str, int] = {}
        self.ran: set[str] = set()
        self.leaving: set[str] = set()
        self.anew: set[str] = set()
        self.spares = list(spares)
        self.raised: list[BaseException] = []
        self.supervisor = rules.state()
        self._number: dict[str, int] = {}
        self._planned: set[str] = set()
        self._count = Count(rules)
        self._ends = self._interrupted = False
        self._decisions = 0
        self._fate: Fate = "none"
        for each in children:
            self._add(each)
        super().__init__(self.supervisor, at_once)

    def __repr__(self) -> str:
        children = [(each.name, each.restart, each.significant) for each in self.known.values()]
        return f"SupervisorWorld({self.rules}, {children}, at_once={set(self.at_once)})"

    def _add(self, child: Child) -> None:
        self.known[child.name] = child
        self._number[child.name] = len(self._number)
        self._planned.add(child.name)
        self.supervisor.add(child)

    def _remove(self, name: str) -> None:
        del self.known[name]
        self.to_run.pop(name, None)

    def _let_run(self, names: Iterable[str]) -> None:
        self.to_run.update(dict.fromkeys(names, self._decisions))

    def _last(self, names: Iterable[str]) -> str:
        return max(names, key=lambda name: self._number[name])

    def _is_temporary(self, name: str) -> bool:
        return self.known[name].restart == "temporary"

    def _is_there(self, name: str) -> bool:
        return name in self.phases or name in self.waiting or name in self.to_run

    @property
    def is_alone(self) -> bool:
        """Whether nobody goes down with a child that starts anew."""
        return self.rules.strategy == "one_for_one"

    # What happens ---------------------------------------------------------------------------------

    def rare(self) -> list[Happening]:
        found = super().rare()
        for name, phase in self.phases.items():
            if phase != "ending":
                lost, interrupt = OSError(name), KeyboardInterrupt()
                found += [
                    Ended(name, interrupt),
                    Ended(name, BaseExceptionGroup("both", [lost, interrupt])),
                    Ended(name, cancelled=True),
                    Ended(name, lost, cancelled=True),
                ]
        return found

    def wanted(self) -> list[Happening]:
        found = super().wanted()
        found += [
            StartWanted(each.name, Question("add", each.name, each)) for each in self.spares[:1]
        ]
        for name in self.known:
            found += [StopWanted(name, Question("stop", name))] * 2
            found.append(StopWanted(name, Question("remove", name), forget=True))
            if not self._is_there(name):
                found += [StartWanted(name, Question("start", name))] * 6
        return found

    def notice(self, happening: Happening) -> None:
        self._decisions += 1
        self._fate = "none"
        super().notice(happening)
        match happening:
            case Began():
                self._let_run(self.known)
            case Ran(name):
                self.ran.add(name)
                self.anew.discard(name)
            case StartWanted(name, Question(new=new)):
                self._start_wanted(name, new)
            case StopWanted(name, _, forget):
                self.to_run.pop(name, None)
                if name not in self.phases and (forget or self._is_temporary(name)):
                    self._remove(name)
            case StopAsked():
                self.forced = self.forced or self._interrupted
            case _:
                pass

    def _start_wanted(self, name: str, new: Child | None) -> None:
        if new is not None:
            self.spares.remove(new)
            self._add(new)
        if self.is_up:
            self._let_run([name])
        elif name not in self.ran:
            self._remove(name)

    # The book -------------------------------------------------------------------------------------

    def ended(self, ended: Ended, *, asked: bool) -> None:
        name, error = ended.name, ended.error
        self._fate = self._fate_of(name, error, cancelled=ended.cancelled)
        leaves = name in self.leaving
        self.leaving.discard(name)
        self.anew.discard(name)
        if self._fate == "starts anew" and self._count.is_too_often(name, error, self.now):
            self._fate = "once too often"
        if self._fate == "starts anew":
            others = self._others_with(name)
            self.anew.add(name)
            self.leaving |= others & self.phases.keys()
            self._let_run({name} | others)
        elif self._fate in {"comes out", "once too often"}:
            self._come_out(error if self._fate == "comes out" else None)
        elif not leaves or self._fate == "told":
            self.to_run.pop(name, None)
        if self._is_gone(name):
            self._remove(name)

    def _fate_of(self, name: str, error: BaseException | None, *, cancelled: bool) -> Fate:
        leaves, restart = name in self.leaving, self.known[name].restart
        book: list[tuple[bool, Fate]] = [
            (_interrupts(error), "comes out"),
            (not self.is_up, "comes out"),
            (self.is_asked(name, "add", "start") and not (leaves and error is None), "told"),
            (self.is_asked(name, "stop", "remove") or leaves, "kept"),
            (cancelled, "comes out"),
            (error is not None and name not in self.ran and not self.entered, "comes out"),
            (restart == "permanent" or (restart == "transient" and bool(error)), "starts anew"),
            (self._decides(name), "comes out"),
            (True, "kept"),
        ]
        return next(fate for applies, fate in book if applies)

    def _decides(self, name: str) -> bool:
        """Tell whether the end of this child is that of all."""
        others = [
            each
            for each, child in self.known.items()
            if child.significant and each != name and self._is_there(each)
        ]
        alone = self.rules.auto_shutdown == "any" or not others
        return self.known[name].significant and alone

    def _others_with(self, name: str) -> set[str]:
        """Return those that go down with a child, and come again with it."""
        others = self.known.keys() - {name}
        if self.rules.strategy == "rest_for_one":
            return {each for each in others if self._number[each] > self._number[name]}
        return set() if self.is_alone else others

    def _come_out(self, error: BaseException | None) -> None:
        if error is not None:
            self.raised.append(error)
        self._interrupted = self._interrupted or _interrupts(error)
        self._ends = self._ends or (self.is_up and self.entered)
        self.stopping = self.stopping or not self.entered
        self.forced = self.forced or (self.stopping and self._interrupted)

    def _is_gone(self, name: str) -> bool:
        asked = self.is_asked(name, "remove")
        temporary = self._is_temporary(name)
        return (
            asked
            or (temporary and (self.is_asked(name, "stop") or self._fate == "kept"))
            or (self._fate == "told" and name not in self.ran)
        )

    # What is done ---------------------------------------------------------------------------------

    def may_start(self, name: str) -> None:
        assert name in self.to_run
        assert name not in self.ran or not self._is_temporary(name), "a temporary one comes back"
        if self.is_alone and name in self.anew:
            return
        if not self.is_alone:
            assert not self.waiting, "those that go down together come up together"
            assert not self.leaving, "those that go down are not down yet"
        others = [
            each
            for each in self.to_run.keys() - {name}
            if self.phases.get(each, "starting") == "starting"
            and not (self.is_alone and each in self.anew)
        ]
        place = (self.to_run[name], self._number[name])
        for each in others:
            assert each not in self.phases, f"{each} is still starting"
            before = self.to_run[each] <= place[0] and self._number[each] < place[1]
            assert not before, f"{each} comes first"

    def may_stop(self, name: str) -> None:
        if self.stopping:
            assert name == self._last(self.phases)
        elif not self.is_asked(name, "stop", "remove") and self.phases[name] != "ending":
            assert name == self._last(self.leaving)

    def restarts(self, restart: Restart) -> None:
        assert self._fate == "starts anew"
        self._count.check_restart(restart)

    def is_ready(self) -> bool:
        return not self.leaving and all(
            self.phases.get(name) in {"running", "stopping"}
            or (self.is_alone and name in self.anew & self.ran)
            for name in self.to_run
        )

    def forget(self, name: str) -> None:
        assert name not in self.known
        self._planned.remove(name)

    def answered(self, question: Question, error: BaseException | None) -> None:
        if error is not None and question.is_for_a_start:
            if self._fate == "told":
                assert stands_for(error, self.errors[question.name])
            else:
                assert isinstance(error, InvalidStateError)

    # What has to hold after each decision ---------------------------------------------------------

    def check(self, happening: Happening) -> None:
        if isinstance(happening, Ended):
            self._check_error(happening.name, happening.error)
        assert [error for _, error in self.supervisor.failures] == self.raised
        assert self.cancelled == self._ends
        assert list(self.supervisor.places) == list(self.known)
        assert self._planned == self.known.keys()
        if self.is_up:
            for name, place in self.supervisor.places.items():
                if name not in self.phases and name not in self.waiting:
                    assert self.supervisor.is_coming(place) == (name in self.to_run), name
        going = self.phases if self.stopping else self.leaving if self.is_up else ()
        if going:
            assert self.phases[self._last(going)] == "stopping", "the last one is not taken down"
        self.check_end()

    def _check_error(self, name: str, error: BaseException | None) -> None:
        """Check that an error went where it has to."""
        kept = [action.error for action in self.actions if isinstance(action, Keep)]
        anew = [action.error for action in self.actions if isinstance(action, Restart)]
        assert kept == ([error] if self._fate == "kept" and error else [])
        assert anew == ([error] if self._fate == "starts anew" else [])
        gave_up = self.supervisor.gave_up
        if self._fate == "once too often":
            assert gave_up is not None
            self.raised.append(gave_up)
            self._count.check_limit(gave_up, self.now)
        if error is not None and name in self.known:
            assert self.supervisor.places[name].error is error

    def check_all_run(self) -> None:
        """Check, when all rest, that all run that have to."""
        assert self.entered
        assert self.phases == dict.fromkeys(self.to_run, "running")
        assert not self.questions

    def check_nothing_is_kept(self) -> None:
        """Check that all errors are handed out at the end."""
        assert [error for _, error in self.supervisor.take_failures()] == self.raised
        assert self.supervisor.failures == []
        assert self.supervisor.gave_up is None
        assert all(place.error is None for place in self.supervisor.places.values())


def _interrupts(error: BaseException | None) -> bool:
    return error is not None and not isinstance(error, Exception)


def hold_supervisor_against_book(choose: Choose) -> None:
    """Let chance make a supervisor, and let happen to it what it wants."""
    world = _supervisor(choose)
    play(world, choose)
    if world.is_up:
        world.check_all_run()
    end(world)
    world.check_nothing_is_kept()


def _supervisor(choose: Choose) -> SupervisorWorld:
    rules = Rules(
        strategy=choose(get_args(Strategy)),
        auto_shutdown=choose(get_args(AutoShutdown)),
        limit=choose([0, 1, 2, 3, math.inf, math.inf]),
        period=choose([0, 1, 3]),
        delays=choose([(0.0,) * ENDLESS, (1.0,) * ENDLESS, (2.0, 1.0)]),
    )

    def drawn_child(name: str) -> Child:
        restart = choose(get_args(RestartType))
        may_be_significant = restart != "permanent" and rules.auto_shutdown != "never"
        significant = may_be_significant and choose([True, False])
        return child(name, nop(), restart=restart, significant=significant)

    children = [drawn_child(f"c{number}") for number in range(choose(range(5)))]
    spares = [drawn_child(f"s{number}") for number in range(choose(range(4)))]
    names = [each.name for each in [*children, *spares]]
    return SupervisorWorld(rules, children, spares, some(choose, names, seldom=True))
