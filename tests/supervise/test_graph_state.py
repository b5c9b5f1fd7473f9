"""What a graph decides, held against a world that knows the laws and nothing of how it decides."""

from __future__ import annotations

import itertools
from collections import deque
from typing import cast

from hypothesis import given, strategies as st

from nestling.supervise import RestartPolicy
from nestling.supervise._graph_state import GraphState
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
    Keep,
    Ran,
    Reply,
    Restart,
    Start,
    StartWanted,
    StopAsked,
    StopWaiting,
    StopWanted,
)
from tests.drawing import drawn

ONCE_A_SECOND = RestartPolicy(backoff=lambda: itertools.repeat(1.0), limit=1000)


class World:
    """Nodes that start and stop when chance wants, and fail; and the laws that hold for them.

    Attributes:
        phases: what each node that lives does.
        down: for a node that starts anew: who depended on it when it ended, and lived.
        adding: the nodes that somebody has added, and waits for.
        removing: the nodes that somebody has removed, and waits for.
    """

    def __init__(self, requires: dict[str, list[str]], restarting: set[str]) -> None:
        self.requires = requires
        self.restarting = restarting
        self.ending: set[str] = set()
        self.adding: set[str] = set()
        self.removing: set[str] = set()
        self._numbers = itertools.count()
        self.state = GraphState()
        self.state.add(
            *(
                (name, required, ONCE_A_SECOND if name in restarting else None)
                for name, required in requires.items()
            )
        )
        self.phases: dict[str, str] = {}
        self.waiting: set[str] = set()
        self.down: dict[str, set[str]] = {}
        self.entered = self.cancelled = self.stopping = self.finished = False
        self._happened = deque[Happening]([Began()])

    def dependents(self, name: str) -> set[str]:
        """All that require it, directly or through others."""
        direct = {each for each, required in self.requires.items() if name in required}
        return direct.union(*(self.dependents(each) for each in direct))

    def tell(self, *happenings: Happening) -> None:
        self._happened.extend(happenings)
        while self._happened:
            for action in self.state.decide(self._happened.popleft(), 0):
                self.do(action)
        required = {each for requires in self.requires.values() for each in requires}
        assert required <= self.requires.keys(), "what is required was removed"

    def do(self, action: Action) -> None:  # noqa: C901  # a table
        assert not self.finished
        match action:
            case Start(name):
                self.start(name)
            case Ask(name) | Force(name):
                self.stop(name)
            case Restart(name):
                self.waiting.add(name)
                self.down[name] = {each for each in self.dependents(name) if each in self.phases}
            case StopWaiting(name):
                self.waiting.remove(name)
            case CallBack():
                assert not self.entered
                assert all(self.phases.get(each) == "running" for each in self.requires)
                self.entered = True
            case CancelCallback():
                assert self.entered
                self.cancelled = True
            case Finish():
                assert not self.phases
                assert not self.waiting
                self.finished = True
            case Reply(to, error):
                self.answered(cast("tuple[str, str]", to), error)
            case Forget(name):
                assert name not in self.phases
                assert name not in self.waiting
                del self.requires[name]
            case Keep():
                pass

    def start(self, name: str) -> None:
        assert name not in self.phases, "two incarnations overlap"
        assert name not in self.waiting, "it does not wait for its delay"
        assert not self.stopping, "a start slips through"
        assert not self.cancelled, "a start slips through"
        assert all(self.phases.get(each) == "running" for each in self.requires[name])
        assert not any(each in self.phases for each in self.dependents(name))
        self.down.pop(name, None)
        self.phases[name] = "starting"

    def stop(self, name: str) -> None:
        assert name in self.phases
        living = [each for each in self.dependents(name) if each in self.phases]
        assert not living, f"{name} stops before {living}"
        if not self.stopping and self.phases[name] != "ending":
            affected = any(name in down for down in self.down.values())
            assert affected or name in self.removing, "it depends on nothing that starts anew"
        self.phases[name] = "stopping"

    def answered(self, to: tuple[str, str], error: BaseException | None) -> None:
        what, name = to
        if what == "remove":
            assert name not in self.phases, "it is said to have stopped, and lives"
            self.removing.remove(name)
        else:
            self.adding.remove(name)
            assert (error is None) == (self.phases.get(name) == "running")

    def end(self, name: str, error: BaseException | None = None) -> None:
        asked = self.phases.pop(name) == "stopping" and name not in self.ending
        self.ending.discard(name)
        final = not asked if error is None else name not in self.restarting
        final = final and name not in self.adding | self.removing
        self.stopping = self.stopping or (final and not self.entered)
        self.tell(Ended(name, error))

    def possible(self) -> list[Happening | str]:
        """What can happen next."""
        found: list[Happening | str] = []
        for name, phase in self.phases.items():
            if phase == "starting":
                found += [*[Ran(name)] * 4, f"fail {name}"]  # most starts go well
            elif phase == "running":
                found += [f"fail {name}", f"return {name}", CannotRun(name)]
            elif phase == "stopping":
                found += [f"stopped {name}", f"fail {name}"]
        found += [Due(name) for name in self.waiting for _ in range(2)]
        if self.entered and not self.stopping:
            found.append(StopAsked())
        if self.stopping or not self.entered:
            found.append(Cancelled("from outside"))
        return found

    def wanted(self) -> list[str]:
        """What somebody can ask for next."""
        found = [f"remove {name}" for name in self.requires if not self.dependents(name)]
        if not self.stopping and not self.cancelled:
            stays = [name for name in self.requires if name not in self.removing]
            found += ["add", *(f"add {name}" for name in stays), f"add {' '.join(stays)}"]
        return found

    def let_happen(self, chosen: Happening | str) -> None:
        match chosen:
            case Ran(name):
                self.phases[name] = "running"
            case CannotRun(name):
                self.phases[name] = "ending"
                self.ending.add(name)
                self.down[name] = self.dependents(name) & self.phases.keys()
                restarts = name in self.restarting or name in self.adding
                if not restarts and not self.entered:
                    self.stopping = True
            case Due(name):
                self.waiting.remove(name)
            case StopAsked() | Cancelled():
                self.stopping = True
            case _:
                pass
        if not isinstance(chosen, str):
            self.tell(chosen)
        elif chosen.startswith("add"):
            self.add(chosen.split()[1:])
        elif chosen.startswith("remove"):
            self.remove(chosen.split()[1])
        else:
            what, name = chosen.split()
            self.end(name, OSError(name) if what == "fail" else None)

    def add(self, required: list[str]) -> None:
        name = f"added{next(self._numbers)}"
        self.requires[name] = required
        self.adding.add(name)
        self.state.add((name, required, None))
        self.tell(StartWanted(name, ("add", name)))

    def remove(self, name: str) -> None:
        if name not in self.removing:
            self.removing.add(name)
            self.tell(StopWanted(name, ("remove", name), forget=True))

    def rest(self) -> None:
        """Let all that was begun come to its end, without more failures."""
        for _ in range(1000):
            ends = [each for each in self.possible() if isinstance(each, str)]
            stopped = [each for each in ends if each.startswith("stopped")]
            ran = [each for each in self.possible() if isinstance(each, (Ran, Due))]
            if not stopped and not ran:
                return
            self.let_happen((stopped + ran)[0])
        raise AssertionError("it does not come to its end")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    names = [f"n{number}" for number in range(draw(st.integers(1, 6)))]
    requires = {
        name: draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else []
        for place, name in enumerate(names)
    }
    restarting = {name for name in names if draw(st.integers(0, 3))}
    shuffled = draw(st.permutations(names))
    return World({name: requires[name] for name in shuffled}, restarting)


@drawn(500)
@given(worlds(), st.data())
def test_a_graph_keeps_the_laws_in_any_order_of_what_happens(
    world: World, data: st.DataObject
) -> None:
    world.tell()
    for _ in range(data.draw(st.integers(0, 40))):
        seldom = data.draw(st.integers(0, 7)) == 0
        possible = (world.wanted() if seldom else None) or world.possible()
        if world.finished or not possible:
            break
        world.let_happen(data.draw(st.sampled_from(possible)))
    world.rest()
    if not world.stopping and not world.cancelled and "ending" not in world.phases.values():
        assert world.entered
        assert world.phases == dict.fromkeys(world.requires, "running")
        assert not world.adding
        assert not world.removing
    if not world.finished:
        world.let_happen(StopAsked())
        world.rest()
    assert world.finished
    assert not world.adding
    assert not world.removing
