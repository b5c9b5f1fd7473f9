"""Print the table: ``python -m benchmarks [--count N] [--pairs N]``."""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
from importlib.metadata import version

from benchmarks import kernel, supervision
from benchmarks.measure import Row, table


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="how many members or levels")
    parser.add_argument("--pairs", type=int, default=7, help="how many pairs of measurements")
    options = parser.parse_args()
    rows: list[Row] = []
    measured = (each.rows(options.count, options.pairs) for each in (kernel, supervision))
    for measure in itertools.chain.from_iterable(measured):
        row = measure()
        rows.append(row)
        print(f"{row.verdict:6}  {row.ratio:.2f}  {row.what}", file=sys.stderr, flush=True)
    print(f"trio {version('trio')}, Python {platform.python_version()}, {options.pairs} pairs")
    print("ratios of processor time (imports: of elapsed time; memory: of bytes), medians\n")
    print(table(rows))


main()
