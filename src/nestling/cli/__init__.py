"""Ring 3: the command line. Needs the extra ``cli``."""

from __future__ import annotations

import sys

from nestling._kernel._errors import MissingExtraError

__all__ = ["main"]


def main() -> None:
    """Be the program ``nestling``: run the command that the arguments name, then exit.

    The exit status is 0 if all ended or stopped, 1 if something failed, 2 for bad usage, 3 for a
    forced stop, and 128 + the signal where the third signal ended the process.
    """
    try:
        import click as click
    except ImportError:
        sys.stderr.write(f"error: {MissingExtraError('cli', 'click')}\n")
        sys.exit(2)
    from nestling.cli._commands import nestling

    nestling(prog_name="nestling")
