from __future__ import annotations

import math
from functools import partial
from unittest.mock import AsyncMock

import pytest
import trio

from nestling._kernel._checks import (
    check_choice,
    check_name,
    check_nursery,
    check_seconds,
    describe_value,
    label_of,
)


class Service:
    async def method(self) -> None:
        pass

    async def __call__(self) -> None:
        pass


async def function(argument: object = None) -> None:
    del argument


# Names for messages ------------------------------------------------------------------------------


def test_a_value_is_described_by_its_name_or_by_its_type() -> None:
    assert describe_value(function) == "'function'"
    assert describe_value(Service().method) == "'Service.method'"
    assert describe_value(5) == "5 (int)"


def test_a_long_value_is_cut() -> None:
    assert describe_value("x" * 100) == f"'{'x' * 56}... (str)"


def test_a_label_is_the_name_of_the_function_inside() -> None:
    assert label_of(function) == "function"
    assert label_of(partial(partial(function), 5)) == "function"
    assert label_of(Service().method) == "method"
    assert label_of(Service()) == "Service"
    assert label_of(lambda: None) == "<lambda>"
    assert label_of(AsyncMock()) == "AsyncMock"


def test_a_label_has_no_slash() -> None:
    fake = type("Fake", (), {"__name__": "a/b"})()
    assert label_of(fake) == "a_b"


# Other arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, 0.5, math.inf])
def test_seconds_are_zero_or_more(value: float) -> None:
    assert check_seconds(value, "stop") == value


@pytest.mark.parametrize("value", [-1, -math.inf, math.nan, -(10**400)])
def test_seconds_are_not_negative_and_not_nan(value: float) -> None:
    with pytest.raises(ValueError, match="stop must be zero or more seconds, not "):
        check_seconds(value, "stop")


@pytest.mark.parametrize("value", [None, "5", True, 1j])
def test_seconds_are_a_number(value: object) -> None:
    with pytest.raises(TypeError, match="stop must be a number of seconds, not "):
        check_seconds(value, "stop")


def test_a_name_is_a_string_without_a_slash() -> None:
    assert check_name("db", "name") == "db"
    with pytest.raises(TypeError, match=r"name must be a string, not 5 \(int\)"):
        check_name(5, "name")
    with pytest.raises(ValueError, match="name must be a non-empty, print"):
        check_name("two\nlines", "name")
    with pytest.raises(ValueError, match="key must be a non-empty, printable string without"):
        check_name("a/b", "key")


def test_a_choice_is_one_of_its_choices() -> None:
    check_choice("a", "letter", ("a", "b"))
    with pytest.raises(ValueError, match="letter must be one of 'a', 'b', not 'c'"):
        check_choice("c", "letter", ("a", "b"))


async def test_a_nursery_is_one_of_trio() -> None:
    async with trio.open_nursery() as nursery:
        check_nursery(nursery, "nursery")
    with pytest.raises(TypeError, match="nursery must be a trio nursery, not 'open_nursery'"):
        check_nursery(trio.open_nursery, "nursery")
