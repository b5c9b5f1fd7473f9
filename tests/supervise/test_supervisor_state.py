"""What a supervisor decides, held against a world that knows the laws and OTP's book.

It knows nothing of how it is decided.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st

from tests.drawing import choosing, drawn
from tests.supervise.supervisor_world import hold_supervisor_against_book


@drawn(500)
@given(st.data())
def test_a_supervisor_keeps_the_laws_and_the_book_in_any_order_of_what_happens(
    data: st.DataObject,
) -> None:
    hold_supervisor_against_book(choosing(data))


@pytest.mark.parametrize("seed", range(500))
def test_a_supervisor_keeps_the_laws_and_the_book_whatever_chance_lets_happen(seed: int) -> None:
    hold_supervisor_against_book(random.Random(seed).choice)
