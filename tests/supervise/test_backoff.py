from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, cast

import pytest

from nestling import RestartLimitError
from nestling.supervise import Backoff, RestartPolicy
from nestling.supervise._intensity import Intensity, Series, next_delay
from nestling.testing._trio_internals import scheduled_by

LOST = OSError("lost")


def first(backoff: Backoff, number: int) -> list[float]:
    return list(itertools.islice(backoff(), number))


def test_delays_grow_up_to_the_maximum() -> None:
    assert first(Backoff(initial=1, factor=3, maximum=10, jitter=0), 5) == [1, 3, 9, 10, 10]
    assert first(Backoff(initial=5, maximum=2, jitter=0), 2) == [2, 2]


def test_chance_adds_or_takes_away_no_more_than_the_jitter() -> None:
    delays = first(Backoff(initial=1, factor=1, jitter=0.25), 500)
    assert 0.75 <= min(delays) < 0.8
    assert 1.2 < max(delays) <= 1.25


def test_the_delays_of_a_schedule_are_the_same_each_time() -> None:
    def delays() -> list[float]:
        with scheduled_by(7):
            return first(Backoff(), 5)

    assert delays() == delays()


def test_health_starts_the_delays_anew() -> None:
    series = Series(Backoff(initial=1, factor=2, jitter=0, reset_after=60))
    assert [series.next(0), series.next(1)] == [1, 2]
    series.runs(10)
    assert series.next(69.5) == 4
    series.runs(100)
    assert (series.next(160), series.attempt) == (1, 1)


def test_the_delays_of_any_callable_start_anew_where_it_says_when() -> None:
    def steady() -> Any:
        return iter([1.0, 2.0])

    series = Series(steady)
    series.runs(0)
    assert [series.next(1000), series.next(1001), series.next(1002)] == [1, 2, None]
    steady.reset_after = 5  # type: ignore[attr-defined]
    series.runs(2000)
    assert series.next(2005) == 1


def test_the_window_of_an_intensity_slides() -> None:
    intensity = Intensity(2, 10)
    assert [intensity.allows(time, LOST) for time in (0, 5, 10.5, 14)] == [True, True, True, False]
    assert Intensity(0, 10).allows(0, LOST) is False
    unlimited = Intensity(math.inf, 10)
    assert all(unlimited.allows(0, LOST) for _ in range(100))


def test_one_restart_too_many_holds_the_last_failures() -> None:
    intensity, series = Intensity(2, 10), Series(Backoff(jitter=0))
    failures = [OSError(number) for number in range(4)]
    times = [0, 20, 21, 22]
    given = [
        next_delay(series, intensity, time, failure, "'db'")
        for time, failure in zip(times, failures, strict=True)
    ]
    assert given[:3] == [0.1, 0.2, 0.4]
    error = given[3]
    assert isinstance(error, RestartLimitError)
    assert error.message == "'db': too many restarts, more than 2 in 10 s"
    assert list(error.exceptions) == failures[1:]
    assert error.__cause__ is failures[3]


def test_where_the_delays_end_or_fail_it_is_given_up() -> None:
    ended = next_delay(Series(lambda: iter(())), Intensity(3, 5), 0, LOST, "'db'")
    assert isinstance(ended, RestartLimitError)
    assert ended.message == "'db': no more restarts"
    broken = next_delay(Series(lambda: iter([-1.0])), Intensity(3, 5), 0, LOST, "'db'")
    assert str(broken) == "each delay of a backoff must be zero or more seconds, not -1.0"
    assert isinstance(broken, ValueError)
    assert broken.__cause__ is LOST


WRONG = cast("Any", "1")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Backoff(initial=-1), "initial of Backoff() must be zero or more seconds, not -1"),
        (lambda: Backoff(factor=0.5), "factor of Backoff() must be at least 1, not 0.5"),
        (lambda: Backoff(jitter=2), "jitter of Backoff() must be from 0 to 1, not 2"),
        (
            lambda: Backoff(maximum=WRONG),
            "maximum of Backoff() must be a number of seconds, not",
        ),
        (lambda: Backoff(factor=True), "factor of Backoff() must be a number, not True (bool)"),
        (
            lambda: RestartPolicy(WRONG),
            "when of RestartPolicy() must be one of 'failure', 'alw",
        ),
        (lambda: RestartPolicy(limit=-1), "limit of RestartPolicy() must be at least 0, not -1"),
        (lambda: RestartPolicy(limit=1.5), "limit of RestartPolicy() must be an integer, not 1.5"),
        (lambda: RestartPolicy(period=-1), "period of RestartPolicy() must be zero or more second"),
        (
            lambda: RestartPolicy(backoff=WRONG),
            "backoff of RestartPolicy() must be a Backoff, or a fu",
        ),
    ],
)
def test_bad_input_is_refused(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert problem in str(caught.value)


@pytest.mark.parametrize("when", ["failure", "always"])
def test_a_policy_applies_to_errors_and_to_returns_only_if_it_says_so(when: Any) -> None:
    policy = RestartPolicy(when)
    assert policy.applies_to(LOST)
    assert policy.applies_to(None) is (when == "always")
    for interrupt in (KeyboardInterrupt(), SystemExit(), GeneratorExit()):
        assert not policy.applies_to(interrupt)
