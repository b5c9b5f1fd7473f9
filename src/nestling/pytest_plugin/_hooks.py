"""The hooks that see to tests that use nestling; added where there are such."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn

import attrs
import pytest

from _nestling_pytest_plugin import CERTIFY, LEAK_CHECK, LEFT_OUT, POINTS
from nestling.pytest_plugin._certified import Subject, read_options
from nestling.pytest_plugin._leaks import Watch
from nestling.testing._options import Options
from nestling.testing._trace import Trace

Wrapper = Generator[None, object, object]


@attrs.define
class State:
    """What is known of a test until it has been reported.

    Attributes:
        trace: what it has recorded, if it records.
        options: those of the marker, if it has that.
        test: the function of a marked test: pytest-trio puts another one in its place.
        is_certified: whether it has been certified, and not run by another plugin.
        left: what it has left behind before it failed with something else.
    """

    trace: Trace | None = None
    options: Options | None = None
    test: Any = None
    is_certified: bool = False
    left: str = ""


_STATE = pytest.StashKey[State]()


def state_of(item: pytest.Item) -> State:
    """Return what is known of a test."""
    return item.stash.setdefault(_STATE, State())


# A test -------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Wrapper:
    """Forget what is known of a test when it has been reported: a trace may hold a lot."""
    try:
        return (yield)
    finally:
        if _STATE in item.stash:
            del item.stash[_STATE]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Wrapper:
    """Watch what a test leaves behind."""
    __tracebackhide__ = True
    if isinstance(item, pytest.Function):
        state = state_of(item)
        if state.options is not None:
            return (yield from _certifying(item, state))
        if state.trace is not None or item.config.getini(LEAK_CHECK):
            return (yield from _watching(item, state))
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the trace of a test that has failed."""
    report = yield
    if report.failed:
        state = state_of(item)
        if state.trace is not None and state.trace.events:
            report.sections.append(("nestling trace", state.trace.explain()))
        if state.left:
            report.sections.append(("nestling leaks", state.left))
    return report


# The leak check -----------------------------------------------------------------------------------


def _watching(item: pytest.Function, state: State) -> Wrapper:
    __tracebackhide__ = True
    watch = Watch()
    try:
        with watch.installed(), _body_watched(item, watch):
            result = yield
    except BaseException:
        # What has failed is told first; what is left may be the reason.
        state.left = watch.left
        raise
    if left := watch.left or watch.never_stopped():
        _fail(left)
    return result


@contextmanager
def _body_watched(item: pytest.Function, watch: Watch) -> Generator[None, None, None]:
    """Put a watched function in the place of an async one, where the plugin looks that runs it."""
    by_hypothesis: object = getattr(item.obj, "hypothesis", None)
    owner, name = (item, "obj") if by_hypothesis is None else (by_hypothesis, "inner_test")
    test: Any = getattr(owner, name)
    if inspect.iscoroutinefunction(test):
        setattr(owner, name, watch.around(test))
    try:
        yield
    finally:
        setattr(owner, name, test)


# The marker ---------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Read the marker, and refuse it where it is wrong."""
    marker = item.get_closest_marker(CERTIFY)
    if marker is None:
        return
    if not isinstance(item, pytest.Function):
        _refuse(item, "it is for test functions")
    problem = ""
    try:
        is_async = inspect.iscoroutinefunction(item.obj)
        state_of(item).options = read_options(marker, is_async=is_async)
    except (TypeError, ValueError) as error:
        problem = str(error)
    if problem:  # told outside of the `except`, or pytest would tell both
        _refuse(item, problem)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Wrapper:
    """Refuse async fixtures of tests that are repeated: each trio run would need its own."""
    item: object = request.node
    if isinstance(item, pytest.Function) and state_of(item).options is not None:
        _refuse_async_fixture(item, fixturedef)
    return (yield)


def _refuse_async_fixture(item: pytest.Item, fixturedef: pytest.FixtureDef[object]) -> None:
    if not _is_async_fixture(fixturedef.func):
        return
    problem = (
        f"the fixture {fixturedef.argname!r} is async, and a test that is repeated cannot use "
        f"such: enter in the test itself what it provides"
    )
    try:
        _refuse(item, problem)
    except pytest.fail.Exception as refusal:
        # Without a result pytest would not finish the fixture, and stumble over it the next time.
        fixturedef.cached_result = (None, None, (refusal, refusal.__traceback__))
        raise


def _certifying(item: pytest.Function, state: State) -> Wrapper:
    __tracebackhide__ = True
    state.test = item.obj
    item.obj = _not_called  # which is async: pytest-trio refuses what it runs and is not
    try:
        result = yield
    finally:
        item.obj = state.test
    if not state.is_certified:
        _refuse(item, "another plugin has run the test, once")
    return result


async def _not_called() -> None:
    """Stand in the place of a marked test, which is certified instead."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Certify a marked test, instead of calling it once."""
    __tracebackhide__ = True
    state = state_of(pyfuncitem)
    if state.options is None:
        return None
    state.is_certified = True
    subject = Subject(
        name=pyfuncitem.name,
        test=state.test,
        arguments=_arguments(pyfuncitem, state.test),
        options=state.options,
        is_async=inspect.iscoroutinefunction(state.test),
        trace=state.trace,
    )
    certificate = subject.certificate()
    if not certificate.is_safe:
        subject.run_again(certificate.failures[0])
        _fail(str(certificate))
    pyfuncitem.user_properties.append((POINTS, certificate.points))
    pyfuncitem.user_properties.append((LEFT_OUT, certificate.left_out))
    return True


def _arguments(item: pytest.Function, test: Any) -> dict[str, object]:
    return {
        parameter.name: item.funcargs[parameter.name]
        for parameter in inspect.signature(test).parameters.values()
        if parameter.default is parameter.empty and parameter.name in item.funcargs
    }


def _is_async_fixture(function: object) -> bool:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return True
    return bool(getattr(function, "_force_trio_fixture", False))  # by pytest_trio.trio_fixture


def _refuse(item: pytest.Item, problem: str) -> NoReturn:
    _fail(f"{CERTIFY} of {item.name!r}: {problem}")


def _fail(message: str) -> NoReturn:
    # Not hidden, as one frame must not be, or pytest says that all are.
    pytest.fail(message, pytrace=False)
