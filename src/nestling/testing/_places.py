"""Where in the run tree the parts of a composition run, known without running it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import attrs

from nestling._kernel._named import Named
from nestling._kernel._runnable import Composed, Wrapper


def paths_of(r: Composed) -> list[str]:
    """Return the paths of the nodes of a composition, in the order in which they are written."""
    return list(_paths(r, Place()))


def _paths(r: Composed, around: Place) -> Iterator[str]:
    place = around.of(r)
    if place.path != around.path:
        yield place.path
    for part in r.parts:
        yield from _paths(part, place)


@attrs.frozen
class Place:
    """Where in the run tree something runs.

    Attributes:
        path: that of the node around it, or "".
        is_taken: the next runnable in here is a node of its own; else it takes that node over.
    """

    path: str = ""
    is_taken: bool = True

    def of(self, r: Composed) -> Place:
        """Return the place that ``r`` has in here."""
        if isinstance(r, Wrapper):
            return self
        if r.label is None or not (self.is_taken or r.is_named):
            return Place(self.path)
        return Place(self._below(r.label), is_taken=not isinstance(r, Named))

    def _below(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


def dependents(r: Composed) -> dict[str, frozenset[str]]:
    """Return for each path those of the nodes that depend on it.

    Left out are paths that several nodes share: of them nothing can be said.
    """
    paths = Counter(paths_of(r))
    found: dict[str, set[str]] = {}
    for provider, dependent in _pairs(r, Place()):
        if paths[provider] == paths[dependent] == 1:
            found.setdefault(provider, set()).add(dependent)
    return {provider: frozenset(paths) for provider, paths in found.items()}


def _pairs(r: Composed, around: Place) -> Iterator[tuple[str, str]]:
    place = around.of(r)
    for part in r.parts:
        yield from _pairs(part, place)
    paths = [list(_paths(part, place)) for part in r.parts]
    for dependent, provider in r.needs:
        yield from itertools.product(paths[provider], paths[dependent])
