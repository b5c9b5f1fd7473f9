"""The tests that are marked with ``nestling_certify``.

=============  =====================================================================================
the test       what is repeated
=============  =====================================================================================
not async      what it returns: it makes the composition, for each run anew
async          it itself. Whatever its own functions wait for can fail, and what it runs is under
               the faults, too. As nobody knows beforehand what it will run, the order in which its
               nodes stop (law 1) is not compared with a composition; the other laws hold as ever.
=============  =====================================================================================

Fixtures are set up once, for all runs. Each run has a clock of its own, which jumps; the fixtures
``autojump_clock`` and ``mock_clock`` have no effect.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import attrs
import pytest

from nestling._kernel._checks import check_choice, check_seconds, describe_value
from nestling._kernel._functions import call, check_async
from nestling._kernel._node import Callback
from nestling._kernel._outcome import forces, note_suppressed, raise_again, without_cancelled
from nestling._kernel._runnable import Composed, Runnable
from nestling.testing._certificate import Certificate, Failure
from nestling.testing._certify import certify
from nestling.testing._clock import MOST_SECONDS_IDLE
from nestling.testing._faults import FAULT_KINDS, Fault, FaultKind
from nestling.testing._faulty_run import Body, FaultyRun, Invariant, short_body
from nestling.testing._trace import Trace

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# The marker ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Options:
    """The arguments of the marker: those of `certify`."""

    faults: tuple[FaultKind, ...] = FAULT_KINDS
    invariants: tuple[Invariant, ...] = ()
    limit: int | None = None
    pairs: bool = True
    seed: int = 0
    body: Body | None = None
    idle: float = MOST_SECONDS_IDLE


def read_options(marker: pytest.Mark, *, is_async: bool) -> Options:
    """Check the arguments of a marker.

    Raises:
        TypeError, ValueError: they are wrong.
    """
    if marker.args:
        raise TypeError(f"it takes keywords only, not {describe_value(marker.args[0])}")
    known = [field.name for field in attrs.fields(Options)]
    for name in marker.kwargs:
        if name not in known:
            raise TypeError(f"it takes {', '.join(known)}, not {name!r}")
    given: dict[str, Any] = dict(marker.kwargs)
    for name in ("faults", "invariants"):
        if name in given:
            given[name] = _tuple(given[name], name)
    options = Options(**given)
    _check(options, is_async=is_async)
    return options


def _tuple(value: object, name: str) -> tuple[object, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list or a tuple, not {describe_value(value)}")
    return tuple(cast("Iterable[object]", value))


def _check(options: Options, *, is_async: bool) -> None:
    for kind in options.faults:
        check_choice(kind, "each of faults", FAULT_KINDS)
    for invariant in options.invariants:
        if not callable(invariant):
            raise TypeError(
                f"each of invariants must be a function, not {describe_value(invariant)}"
            )
    if options.limit is not None:
        _check_integer(options.limit, "limit")
        if options.limit < 1:
            raise ValueError(f"limit must be at least 1, or None, not {options.limit}")
    _check_integer(options.seed, "seed")
    check_seconds(options.idle, "idle")
    if not isinstance(cast("object", options.pairs), bool):
        raise TypeError(f"pairs must be True or False, not {describe_value(options.pairs)}")
    if options.body is not None:
        check_async(options.body, "body")
        if is_async:
            raise TypeError("body is for what a test returns: an async test is its own body")


def _check_integer(value: object, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {describe_value(value)}")


# The test -----------------------------------------------------------------------------------------


@attrs.define
class Subject:
    """What is certified: a test function with its fixtures.

    Attributes:
        trace: what the test records, or None; after each run, the trace of that run.
        failed: the assertion of an async test that failed in the last run, or None.
    """

    name: str
    test: Callable[..., Any]
    arguments: Mapping[str, object]
    options: Options
    is_async: bool
    trace: Trace | None
    failed: BaseException | None = None

    def certificate(self) -> Certificate:
        """Certify the test, once it has passed without faults.

        Raises whatever it raises without faults.
        """
        __tracebackhide__ = True
        alone = self._run(())
        if alone.raised is not None:
            raise_again(alone.raised)
        own = (self.assertions_of_the_test,) if self.is_async else ()
        return certify(
            self.make,
            faults=self.options.faults,
            invariants=(*self.options.invariants, *own),
            limit=self.options.limit,
            body=self._body,
            pairs=self.options.pairs,
            seed=self.options.seed,
            idle=self.options.idle,
        )

    def run_again(self, failure: Failure) -> None:
        """Run it once more as it has failed, if only to have the trace of that run."""
        if self.trace is not None:
            self._run(failure.faults)

    def make(self) -> Runnable:
        """Make what is run, for one run."""
        __tracebackhide__ = True
        self.failed = None
        if self.trace is not None:
            self.trace.clear()
        if self.is_async:
            return _Test(self)
        made = self.test(**self.arguments)
        if not isinstance(made, Runnable):
            pytest.fail(
                f"nestling_certify of {self.name!r}: it must return the runnable to be certified, "
                f"or be async, but it returned {describe_value(made)}",
                pytrace=False,
            )
        return made

    async def run_test(self) -> None:
        """Call the async test."""
        try:
            await call(self.test, **self.arguments)
        except BaseException as error:
            self.failed = next(filter(_is_assertion, _leaves(error)), None)
            raise_again(_bare(error))

    def assertions_of_the_test(self) -> None:
        """Be the invariant that an async test brings: its own assertions, where it gets to them."""
        if self.failed is not None:
            raise AssertionError(str(self.failed))

    @property
    def _body(self) -> Body:
        if self.is_async:
            return _nothing
        return self.options.body or short_body

    def _run(self, faults: tuple[Fault, ...]) -> FaultyRun:
        run = FaultyRun(faults, self.options.seed, idle=self.options.idle)
        run.run(self.make, self._body, ())
        return run


class _Test(Composed):
    """A test as a runnable: it is not seen in the paths of nodes."""

    kind = "test"

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    async def run(self, f: Callback, /) -> None:
        """Run the test, and then the callback, which is to do nothing."""
        await self._subject.run_test()
        await call(f)


async def _nothing() -> None:
    """Be a callback at which no fault can strike."""


# Its errors ---------------------------------------------------------------------------------------


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(member)
    else:
        yield error


def _is_assertion(error: BaseException) -> bool:
    return isinstance(error, (AssertionError, pytest.fail.Exception))


def _bare(error: BaseException) -> BaseException:
    """Return what is left of ``error`` without what the test's own nurseries have made of it.

    They group cancellations and interrupts, which is forbidden to nestling only.
    """
    own = without_cancelled(error)
    if own is None:
        return next(_leaves(error))
    if not forces(own):
        return own
    chosen = next(each for each in _leaves(own) if forces(each))
    if chosen is not own:
        note_suppressed(chosen, [("the test", own)])
    return chosen
