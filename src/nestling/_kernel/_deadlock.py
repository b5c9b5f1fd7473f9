"""Which process waits for the end of which: so that two that would wait for each other are told.

Nothing else would end such a wait. Even when it is forced, each is cancelled, and waits below a
shield for the other's end (law 6).

Who waits is a task; it waits for all processes inside of which it runs, since none of those ends
before it does.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import trio

P = TypeVar("P", bound=Hashable)


class Waits(Generic[P]):
    """Which of the processes of one run of trio wait for which.

    Attributes:
        owners: by the task in which a process runs.
    """

    def __init__(self) -> None:
        self.owners: dict[trio.lowlevel.Task, P] = {}
        self._awaited: dict[P, list[P]] = {}

    def around(self, task: trio.lowlevel.Task) -> list[P]:
        """Return the processes inside of which ``task`` runs, the innermost first."""
        return [self.owners[each] for each in tasks_around(task) if each in self.owners]

    def first_that_waits(self, process: P, around: list[P]) -> P | None:
        """Return one of ``around`` for which ``process`` waits, be it by way of others."""
        seen: set[P] = set()
        todo = [process]
        while todo:
            for awaited in self._awaited.get(todo.pop(), ()):
                if awaited in around:
                    return awaited
                if awaited not in seen:
                    seen.add(awaited)
                    todo.append(awaited)
        return None

    @contextmanager
    def note(self, task: trio.lowlevel.Task, awaited: P) -> Generator[None, None, None]:
        """Keep in mind, for as long as the context lasts, that ``task`` waits for ``awaited``."""
        around = self.around(task)
        for process in around:
            self._awaited.setdefault(process, []).append(awaited)
        try:
            yield
        finally:
            for process in around:
                self._awaited[process].remove(awaited)
                if not self._awaited[process]:
                    del self._awaited[process]


def tasks_around(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """Yield ``task``, the one whose nursery it runs in, and so on."""
    around: trio.lowlevel.Task | None = task
    while around is not None:
        yield around
        around = around.parent_nursery and around.parent_nursery.parent_task
