from __future__ import annotations

import copy
import pickle
import sys

import pytest

import nestling
from nestling import (
    CallbackReusedError,
    ExitedBeforeRunningError,
    InvalidGraphError,
    InvalidStateError,
    MissingExtraError,
    NestlingError,
    NotRunningError,
    RestartLimitError,
    StartTimeoutError,
    StopTimeoutError,
    UnexpectedReturnError,
)

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

EXAMPLES: list[NestlingError] = [
    NestlingError("base"),
    InvalidStateError("state"),
    NotRunningError("not running"),
    ExitedBeforeRunningError("exited"),
    CallbackReusedError("reused"),
    UnexpectedReturnError("returned"),
    InvalidGraphError("graph"),
    StartTimeoutError("shop", 2, ("shop/db", "shop/http")),
    StopTimeoutError("shop", 0.5, ["shop/db"]),
    StopTimeoutError("shop", 30),
    MissingExtraError("asgi", "hypercorn"),
    RestartLimitError("3 restarts in 5 s", [OSError("a"), ValueError("b")]),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=str)
def test_each_error_can_be_pickled_and_copied(error: NestlingError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert repr(twin) == repr(error)
        if isinstance(error, (StartTimeoutError, StopTimeoutError)):
            assert isinstance(twin, (StartTimeoutError, StopTimeoutError))
            assert (twin.path, twin.seconds, twin.stuck) == (
                error.path,
                error.seconds,
                error.stuck,
            )


@pytest.mark.parametrize("error", EXAMPLES, ids=str)
def test_each_error_is_public_and_documented(error: NestlingError) -> None:
    kind = type(error)
    assert getattr(nestling, kind.__name__) is kind
    assert kind.__doc__


def test_all_errors_have_one_base_and_say_what_they_are_besides() -> None:
    bases: dict[type[BaseException], type[BaseException]] = {
        StartTimeoutError: TimeoutError,
        StopTimeoutError: TimeoutError,
        MissingExtraError: ImportError,
        InvalidGraphError: ValueError,
        RestartLimitError: ExceptionGroup,
    }
    for error in EXAMPLES:
        assert isinstance(error, NestlingError)
        assert isinstance(error, bases.get(type(error), Exception))


def test_errors_of_deadlines_say_who_was_in_the_way() -> None:
    start = StartTimeoutError("shop", 2, ("shop/db", "shop/http"))
    assert str(start) == "'shop' did not start within 2 s; stuck: 'shop/db', 'shop/http'"
    assert (start.path, start.seconds, start.stuck) == ("shop", 2, ("shop/db", "shop/http"))
    stop = StopTimeoutError("shop", 0.25)
    assert str(stop) == "'shop' did not stop within 0.25 s"
    assert stop.stuck == ()


def test_the_stuck_nodes_are_a_tuple_however_they_were_given() -> None:
    assert StopTimeoutError("shop", 1, ["a", "b"]).stuck == ("a", "b")


def test_a_missing_extra_is_named_with_the_way_to_install_it() -> None:
    error = MissingExtraError("asgi", "hypercorn")
    assert str(error) == (
        "hypercorn is not installed; this part of nestling needs it: pip install 'nestling[asgi]'"
    )
    assert (error.extra, error.package) == ("asgi", "hypercorn")


def test_a_restart_limit_holds_the_failures_and_stays_one_when_it_is_split() -> None:
    failures = [OSError("a"), ValueError("b")]
    error = RestartLimitError("3 restarts in 5 s", failures)
    assert list(error.exceptions) == failures
    matched, rest = error.split(OSError)
    assert matched is not None
    assert rest is not None
    assert type(matched) is ExceptionGroup
    assert (list(matched.exceptions), list(rest.exceptions)) == ([failures[0]], [failures[1]])


def test_a_deadline_error_is_not_taken_for_an_error_of_the_operating_system() -> None:
    error = StopTimeoutError("shop", 3, ("shop/db",))
    assert (error.errno, error.strerror, error.args) == (None, None, ("shop", 3, ("shop/db",)))
