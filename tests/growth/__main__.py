"""Show that nothing grows: ``python -m tests.growth [--cycles N] [--leaves N]``.

Everything that the kernel can run is started and stopped, again and again, in one run of trio; and
very many leaves run at the same time. What that leaves behind is counted.
"""

from __future__ import annotations

import argparse
import platform
import sys
from importlib.metadata import version

from tests.growth.cycles import kinds
from tests.growth.growing import BLOCKS, Growth, Row, run_cycles, run_leaves

HEADS = f"{'':32}{'memory, MB':>11}{'objects':>12}{'blocks':>12}{'tasks':>9}{'descriptors':>13}"


def show(row: Row) -> None:
    """Print a row of the table."""
    figures = row.figures
    line = (
        f"{row.when:32}{figures.memory / 2**20:11.1f}{figures.objects:12,}{figures.blocks:12,}"
        f"{figures.tasks:9,}{figures.descriptors:13,}"
    )
    print(line + "".join(f"  {name.upper()} GROWN" for name in row.grown), flush=True)


def show_seconds(seconds: dict[str, float]) -> None:
    """Print how long the cycles took, and the share of each kind."""
    total = sum(seconds.values())
    shares = ", ".join(f"{name} {part / total:.0%}" for name, part in seconds.items())
    print(f"{total:.0f} s in cycles: {shares}\n")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.growth", description=__doc__)
    parser.add_argument("--cycles", type=int, default=100_000, help="how many runs in turn")
    parser.add_argument("--leaves", type=int, default=100_000, help="how many leaves at once")
    parser.add_argument("--warm-up", type=int, default=2_000, help="how many runs before")
    options = parser.parse_args()
    print(f"trio {version('trio')}, Python {platform.python_version()}, {BLOCKS} blocks\n{HEADS}")
    cycles, leaves = Growth(show), Growth(show)
    run_cycles(cycles, kinds(), options.cycles, options.warm_up)
    show_seconds(cycles.seconds)
    run_leaves(leaves, options.leaves)
    grown = cycles.grown | leaves.grown
    print("\nGROWN: " + ", ".join(sorted(grown)) if grown else "\nnothing grows")
    sys.exit(1 if grown else 0)


main()
