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
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import attrs
import pytest

from nestling._kernel._checks import describe_value
from nestling._kernel._functions import call
from nestling._kernel._node import Callback
from nestling._kernel._outcome import forces, note_suppressed, raise_again, without_cancelled
from nestling._kernel._runnable import Composed, Runnable
from nestling.testing._certificate import Certificate, Failure
from nestling.testing._certify import examine
from nestling.testing._faults import Fault
from nestling.testing._faulty_run import Body, FaultyRun
from nestling.testing._options import Options, checked_options
from nestling.testing._trace import Trace

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

# The marker ---------------------------------------------------------------------------------------


def read_options(marker: pytest.Mark, *, is_async: bool) -> Options:
    """Check the arguments of a marker.

    Raises:
        TypeError, ValueError: they are wrong.
    """
    if marker.args:
        raise TypeError(f"it takes keywords only, not {describe_value(marker.args[0])}")
    if is_async and "body" in marker.kwargs:
        raise TypeError("body is for what a test returns: an async test is its own body")
    return checked_options(marker.kwargs)


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
        invariants = (*self.options.invariants, *own)
        return examine(
            self.make, attrs.evolve(self.options, invariants=invariants, body=self._body)
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
                f"or be async, but it returned {describe_value(made)}"
                f"{', which is to be called' if callable(made) else ''}",
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
        return self.options.body

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
