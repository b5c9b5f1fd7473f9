"""Break the library on purpose: ``python -m tests.breakages [--jobs N] [NAME ...]``.

For each breakage of the catalogue, the tests are run against a copy of the library that has it.
A breakage that no test notices is a promise that no test holds.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

import trio

from tests.breakages.breakage import Breakage, MisfitError
from tests.breakages.catalogue import CATALOGUE
from tests.breakages.trial import PACKAGE, Trial, copied, try_out

SECONDS_FOR_FILES = 60
SECONDS_FOR_ALL = 600
ALL = ("kernel",)


class Breaking:
    """One run of the command: what is tried, and how many at the same time."""

    def __init__(self, breakages: Sequence[Breakage], jobs: int) -> None:
        self._breakages = breakages
        self._jobs = trio.CapacityLimiter(jobs)
        self._width = max(len(each.name) for each in breakages)
        self.trials: dict[Breakage, Trial] = {}

    async def baseline(self) -> bool:
        """Tell whether the tests pass where nothing is broken: otherwise they show nothing."""
        files = sorted({file for each in self._breakages for file in each.noticed_by})
        jobs = int(self._jobs.total_tokens)
        trials: list[Trial] = []

        async def run(share: Sequence[str]) -> None:
            trials.append(await try_out(folder, share, SECONDS_FOR_ALL))

        with copied() as folder:
            async with trio.open_nursery() as nursery:
                for number in range(min(jobs, len(files))):
                    nursery.start_soon(run, files[number::jobs])
        for trial in trials:
            if trial.verdict != "passed":
                print(f"{trial.verdict}, and nothing is broken: {trial.by}\n{trial.output}")
        return all(trial.verdict == "passed" for trial in trials)

    async def break_all(self) -> None:
        """Try out all breakages."""
        async with trio.open_nursery() as nursery:
            for breakage in self._breakages:
                nursery.start_soon(self._break, breakage)

    async def _break(self, breakage: Breakage) -> None:
        async with self._jobs:
            with copied(breakage) as folder:
                trial = await try_out(folder, breakage.noticed_by, SECONDS_FOR_FILES)
                if trial.verdict == "passed":
                    trial = await try_out(folder, ALL, SECONDS_FOR_ALL)
        self.trials[breakage] = trial
        verdict = "NOT NOTICED" if trial.verdict == "passed" else trial.verdict
        line = f"{breakage.name:{self._width}}  {trial.seconds:5.1f}  {verdict:7}  {trial.by}"
        print(line.rstrip(), flush=True)
        if trial.verdict == "void":
            print(trial.output)

    @property
    def noticed(self) -> int:
        """How many were noticed."""
        return sum(trial.notices for trial in self.trials.values())


def chosen(names: Sequence[str]) -> list[Breakage]:
    """Return the breakages with one of these words in their names; all, where there are none."""
    return [each for each in CATALOGUE if not names or any(name in each.name for name in names)]


def as_ctrl_c(number: int, frame: object) -> None:
    """Take a signal for Ctrl-C, which trio turns into a cancellation; that ends the processes."""
    signal.raise_signal(signal.SIGINT)


def main() -> None:
    """Read the command line, and break."""
    parser = argparse.ArgumentParser(prog="python -m tests.breakages", description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at the same time")
    parser.add_argument("--every", type=int, default=1, help="only one out of so many")
    parser.add_argument("names", metavar="NAME", nargs="*", help="those with NAME in their names")
    options = parser.parse_args()
    breakages = chosen(options.names)[:: options.every]
    if not breakages:
        parser.error("there is no such breakage")
    if found := misfits(breakages):
        sys.exit("\n".join(found))
    signal.signal(signal.SIGTERM, as_ctrl_c)
    sys.exit(trio.run(_main, Breaking(breakages, options.jobs)))


def misfit(breakage: Breakage) -> str:
    """Say why a breakage does not fit the source; "" where it does."""
    try:
        breakage.applied_to((PACKAGE / breakage.file).read_text(encoding="utf-8"))
    except MisfitError as problem:
        return str(problem)
    return ""


def misfits(breakages: Sequence[Breakage]) -> list[str]:
    """Say which breakages do not fit the source."""
    return [f"{each.name}: {problem}" for each in breakages if (problem := misfit(each))]


async def _main(breaking: Breaking) -> int:
    start = trio.current_time()
    if not await breaking.baseline():
        return 1
    print(f"unbroken, all tests pass ({trio.current_time() - start:.0f} s)", flush=True)
    await breaking.break_all()
    total = len(breaking.trials)
    print(f"{breaking.noticed} of {total} breakages noticed ({trio.current_time() - start:.0f} s)")
    return 0 if breaking.noticed == total else 1


main()
