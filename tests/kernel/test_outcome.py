from __future__ import annotations

import sys

import pytest
import trio

from nestling._kernel._outcome import (
    add_note,
    first_error,
    forces,
    has_cause,
    is_error,
    note_suppressed,
    notes,
    set_cause,
    summary,
    without_cancelled,
)
from tests.kernel.recording import leaves_of

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup


async def a_cancellation() -> trio.Cancelled:
    """Return a real `trio.Cancelled`: it cannot be made otherwise."""
    caught: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel("for a test")
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            caught.append(cancelled)
            raise
    return caught[0]


async def test_law_3_cancelled_is_never_an_error() -> None:
    cancelled = await a_cancellation()
    assert not is_error(cancelled)
    assert not is_error(BaseExceptionGroup("", [cancelled, BaseExceptionGroup("", [cancelled])]))
    assert not is_error(None)
    assert is_error(OSError())


async def test_law_3_cancelled_never_hides_an_error_in_its_group() -> None:
    error = OSError()
    mixed = BaseExceptionGroup("shutdown", [await a_cancellation(), error])
    assert is_error(mixed)
    rest = without_cancelled(mixed)
    assert rest is not None
    assert leaves_of(rest) == [error]
    assert str(rest) == "shutdown (1 sub-exception)"


async def test_law_8_the_error_that_comes_out_of_a_provider_holds_no_cancellation() -> None:
    error = OSError()
    mixed = BaseExceptionGroup("shutdown", [await a_cancellation(), error])
    chosen, others = first_error([("the callback", mixed), ("the leaf", error)])
    assert chosen is not None
    assert leaves_of(chosen) == [error]
    assert others == []


def test_without_cancelled_an_error_is_itself() -> None:
    error = OSError()
    assert without_cancelled(error) is error
    assert without_cancelled(None) is None


async def test_law_4_what_is_no_exception_forces_in_a_group_too() -> None:
    assert forces(KeyboardInterrupt())
    assert forces(SystemExit())
    assert forces(BaseExceptionGroup("", [OSError(), KeyboardInterrupt()]))
    assert not forces(OSError())
    assert not forces(ExceptionGroup("", [OSError()]))
    assert not forces(await a_cancellation())
    assert not forces(BaseExceptionGroup("", [OSError(), await a_cancellation()]))
    assert not forces(None)


def test_notes_add_up() -> None:
    error = OSError()
    assert list(notes(error)) == []
    add_note(error, "one")
    add_note(error, "two")
    assert list(notes(error)) == ["one", "two"]


def test_a_summary_is_the_type_and_the_text_if_there_is_one() -> None:
    assert summary(OSError("no disk")) == "OSError: no disk"
    assert summary(OSError()) == "OSError"


async def test_law_3_the_first_error_is_chosen_and_the_others_are_kept_in_order() -> None:
    a, b, c = OSError("a"), OSError("b"), OSError("c")
    cancelled = await a_cancellation()
    given = [("zero", None), ("cancelled", cancelled), ("a", a), ("b", b), ("c", c)]
    assert first_error(given) == (a, [("b", b), ("c", c)])


async def test_law_3_where_there_is_no_error_none_is_chosen() -> None:
    assert first_error([]) == (None, [])
    assert first_error([("a", None), ("b", await a_cancellation())]) == (None, [])


def test_law_3_the_same_error_counts_once() -> None:
    error = OSError()
    assert first_error([("a", error), ("b", error)]) == (error, [])


async def test_law_3_a_group_of_known_errors_is_not_told_again() -> None:
    error, other = OSError(), KeyError()
    group = BaseExceptionGroup("", [BaseExceptionGroup("", [error]), await a_cancellation()])
    assert first_error([("a", error), ("b", group)]) == (error, [])
    more = ExceptionGroup("", [error, other])
    assert first_error([("a", error), ("b", more)]) == (error, [("b", more)])


def test_law_4_an_interrupt_is_chosen_over_errors_that_come_before_it() -> None:
    error, interrupt, exiting = OSError(), KeyboardInterrupt(), SystemExit()
    given = [("a", error), ("b", interrupt), ("c", exiting)]
    assert first_error(given) == (interrupt, [("a", error), ("c", exiting)])


def test_suppressed_errors_leave_notes() -> None:
    error = OSError()
    note_suppressed(error, [("a", KeyError("key")), ("b", ValueError())])
    assert list(notes(error)) == [
        "a failed as well: KeyError: 'key'",
        "b failed as well: ValueError",
    ]


def test_a_cause_is_set_where_there_is_none() -> None:
    error, cause = OSError(), KeyError()
    assert set_cause(error, cause)
    assert error.__cause__ is cause


def test_a_cause_that_is_taken_is_kept() -> None:
    first = ValueError()
    error = OSError()
    error.__cause__ = first
    assert not set_cause(error, KeyError())
    assert error.__cause__ is first


@pytest.mark.parametrize("link", ["__cause__", "__context__", "group"])
def test_no_cause_is_set_that_would_lead_back(link: str) -> None:
    error = OSError()
    cause: BaseException = KeyError()
    if link == "group":
        cause = ExceptionGroup("", [ExceptionGroup("", [error])])
    else:
        setattr(cause, link, error)
    assert not set_cause(error, cause)
    assert error.__cause__ is None


def test_a_loop_among_the_causes_is_no_trap() -> None:
    a, b = OSError(), KeyError()
    a.__context__, b.__context__ = b, a
    error = ValueError()
    assert set_cause(error, a)


def test_a_cause_is_found_in_several_steps_and_not_in_a_loop() -> None:
    first, second, third, other = OSError(), KeyError(), ValueError(), TypeError()
    third.__cause__ = second
    second.__cause__ = first
    assert has_cause(third, first)
    assert has_cause(third, second)
    assert not has_cause(third, other)
    assert not has_cause(third, third)
    first.__cause__ = second
    assert not has_cause(third, other)


def test_what_a_suppressed_error_has_hidden_is_told_as_well() -> None:
    error, hiding = OSError(), KeyError("key")
    add_note(hiding, "in 'db'")
    note_suppressed(hiding, [("a", ValueError("deep"))])
    note_suppressed(error, [("b", ExceptionGroup("group", [hiding]))])
    assert list(notes(error)) == [
        "b failed as well: ExceptionGroup: group (KeyError: 'key')",
        "a failed as well: ValueError: deep",
    ]


def test_a_suppressed_group_that_holds_the_chosen_error_does_not_repeat_its_notes() -> None:
    error = OSError("chosen")
    note_suppressed(error, [("b", ExceptionGroup("group", [error, KeyError("key")]))])
    assert list(notes(error)) == [
        "b failed as well: ExceptionGroup: group (OSError: chosen; KeyError: 'key')"
    ]


def test_a_suppressed_error_is_told_with_its_causes_and_not_in_a_loop() -> None:
    error, hidden, middle, first = OSError(), KeyError("key"), ValueError("middle"), TypeError()
    hidden.__cause__, middle.__cause__, first.__cause__ = middle, first, hidden
    note_suppressed(error, [("a", hidden)])
    assert list(notes(error)) == [
        "a failed as well: KeyError: 'key', from ValueError: middle, from TypeError"
    ]
