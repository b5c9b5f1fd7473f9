"""Worlds in which things happen as chance wants; they hold each decision against the laws.

A world knows what can happen, and what has to hold. It knows nothing of how it is decided.

==============  ==================================================================================
what is done    what has to hold for it, in any world
==============  ==================================================================================
a start         nothing of it lives, it does not wait, and the end has not begun
it is asked     it lives; and once more only to force it, which nothing but an interrupt, or a
                cancellation from outside, gives a reason for
a wait          nothing of it lives
a wait is over  it waits
the callback    it is entered once, before the end; and cancelled once, after that
an answer       to a question that has not been answered yet
a removal       nothing of it lives, it does not wait, and nobody waits for it
the end         nothing lives, and nothing waits; and from then on there are only answers
==============  ==================================================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeVar, cast

import attrs

from nestling.supervise._happenings import (
    Action,
    Ask,
    Began,
    CallBack,
    CancelCallback,
    Cancelled,
    CannotRun,
    Due,
    Ended,
    Finish,
    Force,
    Forget,
    Happening,
    Ran,
    Reply,
    Restart,
    Start,
    StartWanted,
    StopAsked,
    StopWaiting,
    StopWanted,
    Withdrawn,
)
from nestling.supervise._supervised_state import SupervisedState

T = TypeVar("T")


@attrs.frozen(eq=False)
class Question:
    """Somebody wants something, and waits for the answer.

    Attributes:
        what: ``add``: to start what is new; ``start``: to start what has stopped.
        name: of what.
        new: what is added.
    """

    what: Literal["add", "start", "stop", "remove"]
    name: str
    new: Any = None

    @property
    def is_for_a_start(self) -> bool:
        return self.what in {"add", "start"}


class World(ABC):
    """What happens to things that a state decides about.

    Attributes:
        chances: how likely it is that what happens next is usual, rare or wanted; and that so many
            seconds later.
        at_once: what runs as soon as it is started, and has ended as soon as it is asked to.
        now: seconds.
        phases: what each does that lives: ``starting``, ``running``, ``ending``, ``stopping``.
        waiting: when the delay before its restart is over, for each that waits.
        questions: what nobody has answered yet.
        entered: the callback is entered, or was.
        cancelled: the callback is cancelled.
        stopping: all are to stop.
        forced: be it by force.
        errors: with what has ended what just did.
        actions: what is decided about what has just happened.
    """

    chances: ClassVar[Sequence[tuple[str, float]]]

    def __init__(self, state: SupervisedState[Any], at_once: Collection[str]) -> None:
        self.at_once = at_once
        self.now = 0.0
        self.phases: dict[str, str] = {}
        self.waiting: dict[str, float] = {}
        self.questions: list[Question] = []
        self.entered = self.cancelled = self.stopping = self.forced = self.finished = False
        self.errors: dict[str, BaseException | None] = {}
        self.actions: list[Action] = []
        self._state = state
        self._forced_ones: set[str] = set()
        self._stop_asked = self._cancelled_from_outside = False
        self._happened = deque[Happening]()

    @property
    def is_up(self) -> bool:
        return not self.stopping and not self.cancelled

    def is_asked(self, name: str, *what: str) -> bool:
        """Tell whether somebody waits for an answer about it."""
        return any(each.name == name and each.what in what for each in self.questions)

    def tell(self, happening: Happening) -> None:
        """Let something happen, and all that follows at once."""
        self._happened.append(happening)
        while self._happened:
            happening = self._happened.popleft()
            self.notice(happening)
            self.actions = self._state.decide(happening, self.now)
            for action in self.actions:
                self._do(action)
            self.check(happening)

    # What differs ---------------------------------------------------------------------------------

    @abstractmethod
    def ended(self, ended: Ended, *, asked: bool) -> None:
        """Take notice of an end; ``asked``: it was asked to stop."""

    @abstractmethod
    def may_start(self, name: str) -> None:
        """Check that it has its turn."""

    @abstractmethod
    def may_stop(self, name: str) -> None:
        """Check that it has its turn, and that there is a reason."""

    @abstractmethod
    def restarts(self, restart: Restart) -> None:
        """Take notice of a restart, and check it."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether all runs that the callback depends on."""

    @abstractmethod
    def forget(self, name: str) -> None:
        """Take notice of a removal, and check that there is a reason."""

    @abstractmethod
    def answered(self, question: Question, error: BaseException | None) -> None:
        """Check an answer to a question."""

    @abstractmethod
    def check(self, happening: Happening) -> None:
        """Check what has to hold now that all was done about what has happened."""

    # What happens ---------------------------------------------------------------------------------

    def usual(self) -> list[Happening]:
        """Return what can happen next, each as often as it is likely."""
        found: list[Happening] = [Due(name) for name in self.waiting for _ in range(6)]
        for name, phase in self.phases.items():
            ended, lost = Ended(name), Ended(name, OSError(name))
            if phase == "starting":
                found += [*[Ran(name)] * 9, lost]
            elif phase == "running":
                found += [ended, lost, CannotRun(name)] * 3
            elif phase == "stopping":
                found += [*[ended] * 6, lost]
        return found

    def rare(self) -> list[Happening]:
        """Return what can happen next, but seldom does."""
        found: list[Happening] = []
        if not self._stop_asked:
            found.append(StopAsked())
        if not self._cancelled_from_outside and (self._stop_asked or not self.entered):
            found.append(Cancelled("from outside"))
        return found

    def wanted(self) -> list[Happening]:
        """Return what somebody can ask for next; or give up."""
        return [Withdrawn(each.name, each) for each in self.questions if each.is_for_a_start]

    def notice(self, happening: Happening) -> None:  # noqa: C901  # a table
        """Take notice of what has happened, before anything is decided about it."""
        self.errors = {}
        match happening:
            case Ran(name):
                if self.phases[name] == "starting":  # or else it was asked in the meantime
                    self.phases[name] = "running"
            case CannotRun(name):
                self.phases[name] = "ending"
            case Ended(name, error):
                self.errors = {name: error}
                self._forced_ones.discard(name)
                self.ended(happening, asked=self.phases.pop(name) == "stopping")
            case Due(name):
                self.now = max(self.now, self.waiting.pop(name))
            case StopAsked():
                self.stopping = self._stop_asked = True
            case Cancelled():
                self.stopping = self.forced = self._cancelled_from_outside = True
            case StartWanted(_, reply) | StopWanted(_, reply):
                self.questions.append(cast("Question", reply))
            case Withdrawn(name, reply):
                self._withdrawn(cast("Question", reply))
            case Began():
                pass

    def _withdrawn(self, question: Question) -> None:
        self.questions.remove(question)
        if question.what == "add":  # who gives up adding something removes it, at once
            name = question.name
            self._happened.appendleft(StopWanted(name, Question("remove", name), forget=True))

    # What is done ---------------------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        assert not self.finished or isinstance(action, (Reply, Forget, Finish))
        match action:
            case Start(name):
                self._start(name)
            case Ask(name) | Force(name):
                self._stop(name, forced=isinstance(action, Force))
            case Restart(name):
                assert name not in self.phases
                self.restarts(action)
                self.waiting[name] = self.now + action.delay
            case StopWaiting(name):
                del self.waiting[name]
            case CallBack():
                assert self.is_up
                assert not self.entered
                assert self.is_ready(), "it is not ready"
                self.entered = True
            case CancelCallback():
                assert self.entered
                assert not self.cancelled
                self.cancelled = True
            case Finish():
                assert self.stopping
                assert not self.phases
                assert not self.waiting
                self.finished = True
            case Reply(to, error):
                self._answer(cast("Question", to), error)
            case Forget(name):
                assert name not in self.phases
                assert name not in self.waiting
                assert all(each.name != name for each in self.questions)
                self.forget(name)
            case _:
                pass

    def _start(self, name: str) -> None:
        assert name not in self.phases, "two incarnations overlap"
        assert name not in self.waiting, "it does not wait for its delay"
        assert self.is_up, "a start slips through"
        self.may_start(name)
        self.phases[name] = "starting"
        if name in self.at_once:
            self._happened.append(Ran(name))

    def _stop(self, name: str, *, forced: bool) -> None:
        assert forced == self.forced
        if self.phases[name] == "stopping":
            assert forced, "it is asked twice"
        else:
            self.may_stop(name)
            self.phases[name] = "stopping"
            if name in self.at_once:
                self._happened.append(Ended(name))
        if forced:
            self._forced_ones.add(name)

    def _answer(self, question: Question, error: BaseException | None) -> None:
        self.questions.remove(question)  # each is answered once
        if question.is_for_a_start:
            runs = self.phases.get(question.name) == "running"
            assert (error is None) == runs, "it is said to run, and does not"
        else:
            assert question.name not in self.phases, "it is said to have stopped, and lives"
            assert error is self.errors.get(question.name)
        self.answered(question, error)

    def check_end(self) -> None:
        """Check that the end is there when nothing is left; and that a force spares nobody."""
        assert self.finished == (self.stopping and not self.phases)
        if self.forced:
            stopping = {name for name, phase in self.phases.items() if phase == "stopping"}
            assert stopping == self._forced_ones, "it is not forced"

    # The end --------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Let all that was begun come to its end, and nothing fail any more."""
        for _ in range(1000):
            going = [
                Ran(name) if phase == "starting" else Ended(name)
                for name, phase in self.phases.items()
                if phase in {"starting", "stopping"}
            ]
            due = [Due(name) for name in self.waiting]
            if not going and not due:
                return
            self.tell([*going, *due][0])
        raise AssertionError("it does not come to its end")


class Choose(Protocol):
    """Chance: chooses one of several."""

    def __call__(self, options: Sequence[T], /) -> T: ...


def some(choose: Choose, options: Iterable[T], *, seldom: bool = False) -> list[T]:
    """Return some of them: about half, or seldom one."""
    return [each for each in options if choose(range(4 if seldom else 2)) == 0]


def shuffled(choose: Choose, items: Iterable[T]) -> list[T]:
    """Return them in another order."""
    left = list(items)
    return [left.pop(choose(range(len(left)))) for _ in range(len(left))]


def play(world: World, choose: Choose) -> None:
    """Let things happen as chance wants, and then rest."""
    happening = {"usual": world.usual, "rare": world.rare, "wanted": world.wanted}
    world.tell(Began())
    for _ in range(choose(range(41))):
        kind, seconds = choose(world.chances)
        possible = happening[kind]() or world.usual() or world.wanted()
        if not possible:
            break
        world.now += seconds
        world.tell(choose(possible))
    world.rest()


def end(world: World) -> None:
    """Let the callback be over, if it is not yet, and all end."""
    if not world.finished:
        world.tell(StopAsked())
        world.rest()
    assert world.finished
    assert not world.questions, "somebody waits for ever"
