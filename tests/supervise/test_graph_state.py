"""What a graph decides, held against a world that knows the laws and nothing of how it decides."""

from __future__ import annotations

import itertools
from collections import deque

from hypothesis import HealthCheck, given, settings, strategies as st

from nestling.supervise import RestartPolicy
from nestling.supervise._graph_state import GraphState, decide
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
    Happening,
    Ran,
    Restart,
    Start,
    StopAsked,
    StopWaiting,
)

ONCE_A_SECOND = RestartPolicy(backoff=lambda: itertools.repeat(1.0), limit=1000)


class World:
    """Nodes that start and stop when chance wants, and fail; and the laws that hold for them.

    Attributes:
        phases: what each node that lives does.
        down: for a node that starts anew: who depended on it when it ended, and lived.
    """

    def __init__(self, requires: dict[str, list[str]], restarting: set[str]) -> None:
        self.requires = requires
        self.restarting = restarting
        self.ending: set[str] = set()
        self.state = GraphState.of(
            (name, required, ONCE_A_SECOND if name in restarting else None)
            for name, required in requires.items()
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
            for action in decide(self.state, self._happened.popleft(), 0):
                self.do(action)

    def do(self, action: Action) -> None:
        assert not self.finished
        match action:
            case Start(name):
                assert name not in self.phases, "two incarnations overlap"
                assert name not in self.waiting, "it does not wait for its delay"
                assert not self.stopping, "a start slips through"
                assert not self.cancelled, "a start slips through"
                assert all(self.phases.get(each) == "running" for each in self.requires[name])
                assert not any(each in self.phases for each in self.dependents(name))
                self.down.pop(name, None)
                self.phases[name] = "starting"
            case Ask(name) | Force(name):
                assert name in self.phases
                living = [each for each in self.dependents(name) if each in self.phases]
                assert not living, f"{name} stops before {living}"
                if not self.stopping and self.phases[name] != "ending":
                    affected = any(name in down for down in self.down.values())
                    assert affected, "it depends on nothing that starts anew"
                self.phases[name] = "stopping"
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
            case _:
                raise AssertionError(action)

    def end(self, name: str, error: BaseException | None = None) -> None:
        asked = self.phases.pop(name) == "stopping" and name not in self.ending
        self.ending.discard(name)
        final = not asked if error is None else name not in self.restarting
        self.stopping = self.stopping or (final and not self.entered)
        self.tell(Ended(name, error))

    def possible(self) -> list[Happening | str]:
        """What can happen next."""
        found: list[Happening | str] = []
        for name, phase in self.phases.items():
            if phase == "starting":
                found += [Ran(name), f"fail {name}"]
            elif phase == "running":
                found += [f"fail {name}", f"return {name}", CannotRun(name)]
            elif phase == "stopping":
                found += [f"stopped {name}", f"fail {name}"]
        found += [Due(name) for name in self.waiting]
        if self.entered and not self.stopping:
            found.append(StopAsked())
        if self.stopping or not self.entered:
            found.append(Cancelled("from outside"))
        return found

    def let_happen(self, chosen: Happening | str) -> None:
        match chosen:
            case Ran(name):
                self.phases[name] = "running"
            case CannotRun(name):
                self.phases[name] = "ending"
                self.ending.add(name)
                self.down[name] = self.dependents(name) & self.phases.keys()
                if name not in self.restarting and not self.entered:
                    self.stopping = True
            case Due(name):
                self.waiting.remove(name)
            case StopAsked() | Cancelled():
                self.stopping = True
            case _:
                pass
        if isinstance(chosen, str):
            what, name = chosen.split()
            self.end(name, OSError(name) if what == "fail" else None)
        else:
            self.tell(chosen)

    def rest(self) -> None:
        """Let all that was begun come to its end, without more failures."""
        while True:
            ends = [each for each in self.possible() if isinstance(each, str)]
            stopped = [each for each in ends if each.startswith("stopped")]
            ran = [each for each in self.possible() if isinstance(each, (Ran, Due))]
            if not stopped and not ran:
                return
            self.let_happen((stopped + ran)[0])


@st.composite
def worlds(draw: st.DrawFn) -> World:
    names = [f"n{number}" for number in range(draw(st.integers(1, 6)))]
    requires = {
        name: draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else []
        for place, name in enumerate(names)
    }
    restarting = draw(st.sets(st.sampled_from(names)))
    shuffled = draw(st.permutations(names))
    return World({name: requires[name] for name in shuffled}, restarting)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.data())
def test_a_graph_keeps_the_laws_in_any_order_of_what_happens(
    world: World, data: st.DataObject
) -> None:
    world.tell()
    for _ in range(data.draw(st.integers(0, 25))):
        possible = world.possible()
        if world.finished or not possible:
            break
        world.let_happen(data.draw(st.sampled_from(possible)))
    world.rest()
    if not world.stopping and not world.cancelled and "ending" not in world.phases.values():
        assert world.entered
        assert world.phases == dict.fromkeys(world.requires, "running")
    if not world.finished:
        world.let_happen(StopAsked())
        world.rest()
    assert world.finished
