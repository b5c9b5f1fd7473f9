"""What has a value while it runs: a resource, a service."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

from nestling._kernel._errors import InvalidStateError, NotRunningError
from nestling._kernel._provider import where
from nestling._kernel._runnable import Primitive

T = TypeVar("T")

_NOTHING = object()


class NoValue:
    """Stands for what runs in the place of something that has a value, and has none to lend."""

    def __init__(self, what: str) -> None:
        self.what = what


class Valued(Primitive, Generic[T]):
    """A runnable with a ``value``, of which there can be only one at a time."""

    def __init__(self) -> None:
        self._runs = False
        self._lender: Any = None
        self._value: object = _NOTHING

    @property
    def value(self) -> T:
        """What a resource's context manager gave, or a service passed to ``started()``.

        Raises:
            NotRunningError: it is not running.
        """
        if isinstance(self._lender, NoValue):
            raise NotRunningError(
                f"{self.kind} {self.label!r} has no value: {self._lender.what} runs in its place"
            )
        if self._lender is not None:
            return cast("T", self._lender.value)
        if self._value is _NOTHING:
            raise NotRunningError(f"{self.kind} {self.label!r} has no value: it is not running")
        return cast("T", self._value)

    @contextmanager
    def only_run(self) -> Generator[None, None, None]:
        """Refuse another run meanwhile; forget the value afterwards."""
        if self._runs:
            raise InvalidStateError(
                f"cannot run {where(self.kind, self.label)}: it is running, and has only one "
                f"value; make another {self.kind} for another run"
            )
        self._runs = True
        try:
            yield
        finally:
            self._runs = False
            self.forget()

    @contextmanager
    def lent(self, lender: object) -> Generator[None, None, None]:
        """Have the value of ``lender`` meanwhile, which runs in the place of this one."""
        with self.only_run():
            self._lender = lender
            try:
                yield
            finally:
                self._lender = None

    def hold(self, value: object) -> None:
        """Have that value from now on."""
        self._value = value

    def forget(self) -> None:
        """Have no value any more."""
        self._value = _NOTHING
