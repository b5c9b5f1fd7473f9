"""Nodes of a graph, and the laws by which it has to treat them."""

from __future__ import annotations

import itertools
from collections.abc import Collection

from nestling import InvalidGraphError, InvalidStateError
from nestling.supervise import RestartPolicy
from nestling.supervise._graph_state import GraphState
from nestling.supervise._happenings import (
    CannotRun,
    Ended,
    Happening,
    Restart,
    StartWanted,
    StopWanted,
)
from tests.supervise.worlds import Choose, Question, World, end, play, shuffled, some

ONCE_A_SECOND = RestartPolicy(backoff=lambda: itertools.repeat(1.0), limit=1000)


class GraphWorld(World):
    """Nodes that require one another.

    Attributes:
        requires: what each needs.
        restarting: those that are started anew when they fail.
        down: for a node that starts anew: who depended on it when it ended, and lived.
    """

    chances = (*[("usual", 0)] * 12, ("rare", 0), *[("wanted", 0)] * 2)

    def __init__(
        self, requires: dict[str, list[str]], restarting: set[str], at_once: Collection[str]
    ) -> None:
        self.requires = requires
        self.restarting = restarting
        self.down: dict[str, set[str]] = {}
        self._ending: set[str] = set()
        self._added = itertools.count()
        self._graph = GraphState()
        self._graph.add(
            *(
                (name, required, ONCE_A_SECOND if name in restarting else None)
                for name, required in requires.items()
            )
        )
        super().__init__(self._graph, at_once)

    def __repr__(self) -> str:
        return f"GraphWorld({self.requires}, {self.restarting}, at_once={set(self.at_once)})"

    def dependents(self, name: str) -> set[str]:
        """All that require it, directly or through others."""
        direct = {each for each, required in self.requires.items() if name in required}
        return direct.union(*(self.dependents(each) for each in direct))

    def alive(self, names: set[str]) -> set[str]:
        return names & self.phases.keys()

    def may_start(self, name: str) -> None:
        assert all(self.phases.get(each) == "running" for each in self.requires[name])
        assert not self.alive(self.dependents(name))
        self.down.pop(name, None)

    def may_stop(self, name: str) -> None:
        living = self.alive(self.dependents(name))
        assert not living, f"{name} stops before {living}"
        if not self.stopping and self.phases[name] != "ending":
            affected = any(name in down for down in self.down.values())
            assert affected or self.is_asked(name, "remove"), "nothing it needs starts anew"

    def restarts(self, restart: Restart) -> None:
        self.down[restart.name] = self.alive(self.dependents(restart.name))

    def is_ready(self) -> bool:
        return self.phases == dict.fromkeys(self.requires, "running")

    def forget(self, name: str) -> None:
        del self.requires[name]

    def answered(self, question: Question, error: BaseException | None) -> None:
        if question.is_for_a_start and error is not None:
            assert isinstance(error, (OSError, InvalidStateError, InvalidGraphError))

    def check(self, happening: Happening) -> None:
        required = {each for requires in self.requires.values() for each in requires}
        assert required <= self.requires.keys(), "what is required was removed"
        self.check_end()

    def notice(self, happening: Happening) -> None:
        super().notice(happening)
        match happening:
            case CannotRun(name):
                self._ending.add(name)
                self.down[name] = self.alive(self.dependents(name))
                final = name not in self.restarting and not self.entered
                self.stopping = self.stopping or final
            case StartWanted(name, reply):
                assert isinstance(reply, Question)
                self.requires[name] = reply.new
                self._graph.add((name, reply.new, None))
            case _:
                pass

    def ended(self, ended: Ended, *, asked: bool) -> None:
        name = ended.name
        asked = asked and name not in self._ending
        self._ending.discard(name)
        final = not asked if ended.error is None else name not in self.restarting
        final = final and not self.is_asked(name, "add", "remove")
        self.stopping = self.stopping or (final and not self.entered)

    def wanted(self) -> list[Happening]:
        found = super().wanted()
        found += [
            StopWanted(name, Question("remove", name), forget=True)
            for name in self.requires
            if not self.dependents(name) and not self.is_asked(name, "remove")
        ]
        name = f"added{next(self._added)}"
        stays = [each for each in self.requires if not self.is_asked(each, "remove")]
        if self.is_up:
            found += [
                StartWanted(name, Question("add", name, required))
                for required in ([], stays, *([each] for each in stays))
            ]
        return found


def hold_graph_against_laws(choose: Choose) -> None:
    """Let chance make a graph, and let happen to it what it wants."""
    names = [f"n{number}" for number in range(choose(range(1, 7)))]
    requires = {name: some(choose, names[:place]) for place, name in enumerate(names)}
    fragile = some(choose, names, seldom=True)
    world = GraphWorld(
        {name: requires[name] for name in shuffled(choose, names)},
        {name for name in names if name not in fragile},
        some(choose, names, seldom=True),
    )
    play(world, choose)
    if world.is_up and "ending" not in world.phases.values():
        assert world.entered
        assert world.is_ready()
        assert not world.questions
    end(world)
