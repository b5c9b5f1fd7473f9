"""TARGET: where a runnable is, as written on the command line.

========================  ==========================================================
``shop:app``              ``app`` in the module ``shop``; the current directory comes
                          first on the path, as with ``python -m``
``services/shop.py:app``  ``app`` in that file; its folder comes first on the path, as
                          with ``python services/shop.py``
``shop:App.default``      attributes of attributes
========================  ==========================================================
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from nestling._kernel._checks import describe_value
from nestling._kernel._foreign import accept
from nestling._kernel._named import named
from nestling._kernel._outcome import summary
from nestling._kernel._runnable import Composed, Runnable

T = TypeVar("T")

_MISSING: Any = object()
_IMPORTLIB = Path(importlib.util.__file__).parent
_NESTLING = f"{Path(__file__).parent.parent}{os.sep}"
SHAPES = "module:attribute or path/to/file.py:attribute"


class BadTargetError(Exception):
    """There is no runnable at the target; the message says why, in one line."""


def load(target: str) -> Runnable:
    """Return the runnable that ``target`` names, itself named after its attribute if it is not.

    Raises:
        BadTargetError: it cannot be had.
    """
    return maker(target)()


def maker(target: str) -> Callable[[], Runnable]:
    """Return what makes the runnable that ``target`` names: anew each time, if it is a function.

    Raises, as does what is returned:
        BadTargetError: it cannot be had.
    """
    place, colon, attribute = target.rpartition(":")
    if not colon or not place or not attribute:
        raise BadTargetError(f"{target!r} is not of the form {SHAPES}")
    if not all(name.isidentifier() for name in attribute.split(".")):
        raise BadTargetError(f"{attribute!r} in {target!r} is not the name of an attribute")
    is_file = place.endswith(".py") or "/" in place or "\\" in place
    module = _load_file(Path(place)) if is_file else _load_module(place)
    found = _look_up(module, place, attribute)

    def make() -> Runnable:
        made = _guard(f"looking at {target!r}", lambda: _accept(_make(found, target), target))
        return made if made.is_named else named(attribute.rpartition(".")[2], made)

    return make


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise BadTargetError(f"{name!r} is not the name of a module; write {SHAPES}")
    _put_on_path(Path.cwd())
    try:
        return _guard(f"importing {name!r}", lambda: importlib.import_module(name))
    except ModuleNotFoundError as problem:
        hint = f"; is {name}.py meant?" if Path(f"{name}.py").is_file() else ""
        raise BadTargetError(f"there is no module {problem.name!r}{hint}") from None


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BadTargetError(f"there is no file {str(path)!r}")
    if path.suffix != ".py":
        raise BadTargetError(f"{str(path)!r} is not a Python file: its name does not end with .py")
    shown, path = str(path), path.resolve()
    _put_on_path(path.parent)
    # A module of that name that is loaded already, or nestling itself, must not be replaced.
    name = path.stem if path.stem not in sys.modules else f"{path.stem} ({path})"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadTargetError(f"{shown!r} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader = spec.loader
    _guard(f"importing {shown!r}", lambda: loader.exec_module(module))
    return module


def _put_on_path(folder: Path) -> None:
    if str(folder) not in sys.path[:1]:
        sys.path.insert(0, str(folder))


def _look_up(module: ModuleType, place: str, attribute: str) -> Any:
    found: Any = module
    seen = place
    for name in attribute.split("."):
        around = found
        found = _guard(
            f"reading {name!r} of {seen!r}", functools.partial(getattr, around, name, _MISSING)
        )
        if found is _MISSING:
            close = difflib.get_close_matches(name, dir(around), n=1)
            hint = f"; is {close[0]!r} meant?" if close else ""
            raise BadTargetError(f"{seen!r} has no attribute {name!r}{hint}")
        seen = f"{seen}.{name}"
    return found


def _make(found: Any, target: str) -> object:
    """Call what is a function and no runnable."""
    if isinstance(found, (Runnable, type)) or not callable(found):
        return found
    if inspect.iscoroutinefunction(found):
        raise BadTargetError(
            f"{target!r} is an async function: a target is a runnable, or a plain function that "
            f"returns one; deferred() makes a runnable of an async function that returns one"
        )
    try:
        inspect.signature(found).bind()
    except TypeError:
        raise BadTargetError(
            f"{target!r} is a function with arguments; a target is called without any"
        ) from None
    except ValueError:
        pass
    made: object = _guard(f"calling {target!r}", found)
    if inspect.iscoroutine(made):
        made.close()
    if not isinstance(made, Runnable):
        raise BadTargetError(
            f"{target!r} is a function that returned {describe_value(made)}, which is no runnable"
        )
    return made


def _accept(value: object, target: str) -> Composed:
    try:
        return accept(value, repr(target))
    except TypeError as problem:
        raise BadTargetError(str(problem)) from None


def _guard(what: str, call: Callable[[], T]) -> T:
    """Return ``call()``; explain in one line what the user's code raised.

    A `ModuleNotFoundError` from the first import itself, and not from a module, is let through.
    """
    try:
        return call()
    except (KeyboardInterrupt, BadTargetError):
        raise
    except SyntaxError as problem:
        where = f" ({problem.filename}:{problem.lineno})"
        raise BadTargetError(
            f"{what} failed: {type(problem).__name__}: {problem.msg}{where}"
        ) from None
    except BaseException as problem:
        frames = [
            entry
            for entry in traceback.extract_tb(problem.__traceback__)[1:]
            if not entry.filename.startswith(("<frozen", str(_IMPORTLIB)))
        ]
        own = [entry for entry in frames if not entry.filename.startswith(_NESTLING)]
        if isinstance(problem, ModuleNotFoundError) and not own:
            raise
        where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
        raise BadTargetError(
            f"{what} failed: {' '.join(summary(problem).split())}{where}"
        ) from None
