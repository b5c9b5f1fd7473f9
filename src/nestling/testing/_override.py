"""`override`: a copy of a composition in which something else stands in the place of a node."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import attrs

from nestling._kernel._checks import describe_value
from nestling._kernel._errors import NestlingError
from nestling._kernel._foreign import accept
from nestling._kernel._named import named
from nestling._kernel._runnable import Composed, Runnable
from nestling.testing._places import Place, paths_of


class UnknownNodeError(NestlingError, KeyError):
    """There is no node of that name or path in a composition, or there are several."""

    def __str__(self) -> str:
        return str(self.args[0])


def override(r: Runnable, replacements: Mapping[str, Runnable]) -> Runnable:
    """Return a copy of a composition with other runnables in the place of some nodes.

    Args:
        r: the composition; it stays as it is.
        replacements: by the name of a node, or its path. The node keeps its name.

    What is built only when it runs, by `deferred` or inside of a runnable of another library,
    cannot be looked into; as a whole it can be replaced.

    Example::

        async with running(override(shop, {"mailer": nop(), "shop/db": resource(fake_pool)})):
            ...

    Raises:
        UnknownNodeError: there is no such node; or there are several, which only their paths tell
            apart.
        TypeError: ``r`` or a replacement is not a runnable.
    """
    composed = accept(r, "r of override()")
    wanted = {
        key: accept(value, f"replacement {key!r} of override()")
        for key, value in replacements.items()
    }
    by_path = {_find(key, paths_of(composed)): replacement for key, replacement in wanted.items()}
    return _Copy(by_path).of(composed, Place())


@attrs.frozen
class _Copy:
    replacements: Mapping[str, Composed]

    def of(self, r: Composed, around: Place) -> Runnable:
        place = around.of(r)
        if place.path != around.path and place.path in self.replacements:
            replacement = self.replacements[place.path]
            name = place.path.rpartition("/")[2]
            is_named_so = replacement.is_named and replacement.label == name
            return replacement if is_named_so else named(name, replacement)
        if not r.parts:
            return r
        return r.with_parts(*[self.of(part, place) for part in r.parts])


def _find(key: object, paths: list[str]) -> str:
    if not isinstance(key, str):
        raise TypeError(f"override() takes the names or paths of nodes, not {describe_value(key)}")
    found = [path for path in paths if path == key] or [
        path for path in paths if path.endswith(f"/{key}")
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownNodeError(
            f"override() of {key!r}: there are several, write their paths: {_listed(found)}"
        )
    close = difflib.get_close_matches(key, [*paths, *(path.split("/")[-1] for path in paths)], n=1)
    hint = f"is {close[0]!r} meant?" if close else f"there are {_listed(paths)}"
    raise UnknownNodeError(f"override() of {key!r}: there is no such node; {hint}")


def _listed(paths: list[str]) -> str:
    return ", ".join(map(repr, paths)) or "none"
