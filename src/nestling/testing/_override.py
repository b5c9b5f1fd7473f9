"""`override`: a copy of a composition in which something else stands in the place of a node."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, cast

import attrs

from nestling._kernel._checks import describe_value
from nestling._kernel._deferred import Deferred
from nestling._kernel._errors import NestlingError
from nestling._kernel._foreign import Foreign, accept
from nestling._kernel._interrupts import protected
from nestling._kernel._named import named
from nestling._kernel._node import Callback
from nestling._kernel._runnable import Composed, Runnable, Wrapper
from nestling._kernel._valued import NoValue, Valued
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

    Where a `resource` or a `service` is replaced by what has a ``value``, too, that is the value
    of both while the copy runs: who uses ``db.value`` uses the fake's.

    What is built only when it runs, by `deferred` or inside of a runnable of another library,
    cannot be looked into; as a whole it can be replaced, but the values in it then stay without.

    Example::

        async with running(override(shop, {"mailer": nop(), "shop/db": resource(fake_pool)})):
            ...

    Raises:
        UnknownNodeError: there is no such node; or there are several, which only their paths tell
            apart.
        ValueError: two replacements contradict each other.
        TypeError: ``r`` or a replacement is not a runnable.
    """
    composed = accept(r, "r of override()")
    if not isinstance(cast("object", replacements), Mapping):
        raise TypeError(
            f"replacements of override() must be a mapping of names or paths to runnables, "
            f"not {describe_value(replacements)}"
        )
    wanted = {
        key: accept(value, f"replacement {key!r} of override()")
        for key, value in replacements.items()
    }
    keys = _keys_by_path(wanted, paths_of(composed))
    return _Copy({path: wanted[key] for path, key in keys.items()}).of(composed, Place())


@attrs.frozen
class _Copy:
    replacements: Mapping[str, Composed]

    def of(self, r: Composed, around: Place) -> Runnable:
        place = around.of(r)
        if place.path != around.path and place.path in self.replacements:
            replacement = _standing_in(r, self.replacements[place.path])
            name = place.path.rpartition("/")[2]
            is_named_so = replacement.is_named and replacement.label == name
            return replacement if is_named_so else named(name, replacement)
        if not r.parts:
            return r
        return r.with_parts(*[self.of(part, place) for part in r.parts])


@attrs.frozen(repr=False, eq=False)
class _StandIn(Wrapper):
    """A replacement that lends its value to what it replaces, if it has one."""

    originals: tuple[Valued[Any], ...]

    def with_parts(self, *parts: Runnable) -> Runnable:
        (inner,) = parts
        composed = accept(inner, "a replacement")
        return _StandIn(composed, composed.kind, self.originals)

    @protected
    async def run(self, f: Callback, /) -> None:
        inner = self.inner
        if isinstance(inner, Deferred):
            inner = await inner.build()
        lenders = list(_lenders(inner))
        lender = lenders[0] if len(lenders) == len(self.originals) == 1 else NoValue(repr(inner))
        with ExitStack() as lent:
            for original in self.originals:
                lent.enter_context(original.lent(lender))
            await inner.run(f)

    def __repr__(self) -> str:
        return repr(self.inner)


def _standing_in(original: Composed, replacement: Composed) -> Composed:
    originals = tuple(_originals(original))
    return _StandIn(replacement, replacement.kind, originals) if originals else replacement


def _originals(r: Composed) -> Iterator[Valued[Any]]:
    if isinstance(r, _StandIn):
        yield from r.originals
    elif isinstance(r, Valued):
        yield r
    else:
        for part in r.parts:
            yield from _originals(part)


def _lenders(r: Composed) -> Iterator[object]:
    if isinstance(r, Valued):
        yield r
    elif isinstance(r, Foreign) and r.owner is not None:
        yield r.owner  # whatever it is: it may have a value when it runs
    for part in r.parts:
        yield from _lenders(part)


def _keys_by_path(keys: Iterable[str], paths: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key in keys:
        path = _find(key, paths)
        if path in found:
            raise ValueError(f"override(): {found[path]!r} and {key!r} are the same node, {path!r}")
        found[path] = key
    for path, key in found.items():
        around = next((other for other in found if path.startswith(f"{other}/")), None)
        if around is not None:
            raise ValueError(
                f"override() of {key!r}: it is a part of {found[around]!r}, which is replaced, too"
            )
    return found


def _find(key: object, paths: list[str]) -> str:
    if not isinstance(key, str):
        raise TypeError(f"override() takes the names or paths of nodes, not {describe_value(key)}")
    found = [path for path in paths if path == key] or [
        path for path in paths if path.endswith(f"/{key}")
    ]
    if len(found) == 1:
        return found[0]
    if len(set(found)) < len(found):
        raise UnknownNodeError(
            f"override() of {key!r}: there are several of the same path, {found[0]!r}; "
            f"give each a name of its own by named(), or replace what is around them"
        )
    if found:
        raise UnknownNodeError(
            f"override() of {key!r}: there are several, write their paths: {_listed(found)}"
        )
    close = difflib.get_close_matches(key, [*paths, *(path.split("/")[-1] for path in paths)], n=1)
    hint = f"is {close[0]!r} meant?" if close else f"there are {_listed(paths)}"
    raise UnknownNodeError(f"override() of {key!r}: there is no such node; {hint}")


def _listed(paths: list[str]) -> str:
    return ", ".join(map(repr, paths)) or "none"
