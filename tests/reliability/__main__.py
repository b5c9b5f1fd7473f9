"""`python -m tests.reliability`: the figures of what cannot be shown by one test.

Exits with 1 if something is not safe. With ``--long`` it tries fifty times as much.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.reliability.certificates import Certified, certified, certify_all, example
from tests.reliability.decisions import hold_decisions_against_laws
from tests.reliability.models import hold_against_model

CASES, CASES_LONG = 2_000, 100_000
HISTORIES, HISTORIES_LONG = 5_000, 250_000
PAIRS, PAIRS_LONG = 20, None
PAIRS_OF_EXAMPLE, PAIRS_OF_EXAMPLE_LONG = 200, 5_000


def main() -> int:
    """Try all, print the figures, and say whether all is safe."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability")
    parser.add_argument("--long", action="store_true", help="try far more of everything")
    long: bool = parser.parse_args().long
    safe = _held_against_model(CASES_LONG if long else CASES)
    safe &= _decides_by_the_laws(HISTORIES_LONG if long else HISTORIES)
    safe &= _certified(list(certify_all(PAIRS_LONG if long else PAIRS)))
    pairs = PAIRS_OF_EXAMPLE_LONG if long else PAIRS_OF_EXAMPLE
    logging.disable()  # what it says of each fault
    return 0 if safe & _certified([Certified("the shop", certified(example(), pairs))]) else 1


def _held_against_model(number: int) -> bool:
    started = time.monotonic()
    try:
        run = hold_against_model(number)
    except AssertionError as problem:
        notes = "\n".join(getattr(problem, "__notes__", ()))
        _say(f"a random composition contradicts the reference model:\n{problem}\n{notes}")
        return False
    seconds = time.monotonic() - started
    _say(
        f"{run:,} random compositions under random schedules keep to the reference model "
        f"({seconds:.0f} s)"
    )
    return True


def _decides_by_the_laws(number: int) -> bool:
    started = time.monotonic()
    try:
        played = hold_decisions_against_laws(number)
    except AssertionError as problem:
        _say(f"a random history breaks a law: {problem}")
        return False
    seconds = time.monotonic() - started
    _say(f"{played:,} random histories of graphs and supervisors keep the laws ({seconds:.0f} s)")
    return True


def _certified(all_certified: list[Certified]) -> bool:
    unsafe = [each for each in all_certified if not each.certificate.is_safe]
    for each in unsafe:
        _say(f"{each.name}: {each.certificate}")
    points = sum(each.certificate.points for each in all_certified)
    failures = sum(len(each.certificate.failures) for each in all_certified)
    left_out = sum(each.certificate.left_out for each in all_certified)
    what = (
        all_certified[0].name if len(all_certified) == 1 else f"{len(all_certified)} compositions"
    )
    _say(
        f"{points - failures:,}/{points:,} points of {what} are safe "
        f"({left_out:,} more pairs of faults were left out)"
    )
    return not unsafe


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
