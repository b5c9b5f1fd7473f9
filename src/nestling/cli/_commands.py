"""The commands, as click sees them. What they do is elsewhere."""

from __future__ import annotations

import importlib.metadata
import logging
import math
import signal
import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

import click

from nestling._kernel._checks import check_seconds
from nestling._kernel._runnable import Runnable
from nestling.app._application import Application, stop_timed_out
from nestling.app._states import Ending
from nestling.cli._failures import Failures
from nestling.cli._logging import FORMATS, LEVELS, configure
from nestling.cli._target import BadTargetError, load, maker
from nestling.cli._timeline import Timeline
from nestling.observe._describe import describe
from nestling.observe._render import FORMATS as TREE_FORMATS, render

T = TypeVar("T")

FAILED, BAD_USAGE, FORCED = 1, 2, 3
INTERRUPTED = 128 + signal.SIGINT
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def seconds(value: str) -> float:
    """Convert a number of seconds; ``inf`` stands for no limit."""
    try:
        return check_seconds(float(value), "it")
    except ValueError:
        problem = f"{value!r} is not a number of seconds, zero or more"
        raise click.BadParameter(problem) from None


def version() -> str:
    """Return the version that is installed."""
    try:
        return importlib.metadata.version("nestling")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


target = click.argument("target")
start_timeout = click.option(
    "--start-timeout",
    type=seconds,
    default=math.inf,
    help="How long all of it may take to start; without it, as long as it wants.",
)
stop_timeout = click.option(
    "--stop-timeout",
    type=seconds,
    default=30.0,
    show_default=True,
    help="How long a graceful stop may take before it is forced.",
)
log_level = click.option(
    "--log-level",
    type=click.Choice(LEVELS, case_sensitive=False),
    default="info",
    show_default=True,
    help="What is logged; debug shows tracebacks as well.",
)
log_format = click.option(
    "--log-format", type=click.Choice(FORMATS), default="text", show_default=True
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="nestling")
def nestling() -> None:
    """Run compositions of services.

    TARGET is module:attribute or path/to/file.py:attribute: a runnable, or a function without
    arguments that returns one.
    """


@nestling.command()
@target
@start_timeout
@stop_timeout
@log_level
@log_format
def run(
    target: str, start_timeout: float, stop_timeout: float, log_level: str, log_format: str
) -> None:
    """Run TARGET until it ends, or until a signal.

    The first SIGINT (Ctrl-C) or SIGTERM stops it gracefully, the second forces, the third ends the
    process. Exit codes: 0 ended or stopped, 1 failed, 2 bad usage, 3 a forced stop, 128 + the
    number of the signal for the third one; a SystemExit that comes out of TARGET gives its own.
    """
    configure(log_level, log_format)
    failures = Failures()
    application, error = _run(target, failures, start_timeout, stop_timeout)
    _report(failures, error, log_level)
    if application.ending is Ending.FORCED:
        sys.exit(FORCED)
    sys.exit(FAILED if error is not None else 0)


@nestling.command()
@target
@start_timeout
@stop_timeout
@log_level
@log_format
def check(
    target: str, start_timeout: float, stop_timeout: float, log_level: str, log_format: str
) -> None:
    """Start TARGET, stop it again, and print how long each node took.

    Exit codes: 0 it started and stopped, 1 it did not, 2 bad usage.
    """
    configure("warning" if log_level == "info" else log_level, log_format)
    failures, timeline = Failures(), Timeline()
    application, error = _run(target, failures, start_timeout, stop_timeout, timeline)
    click.echo(timeline.text(), nl=False)
    _report(failures, error, log_level)
    if application.ending is not Ending.ENDED and not stop_timed_out(error):
        click.echo("error: a signal stopped it before the check was over", err=True)
        sys.exit(FAILED)
    sys.exit(FAILED if error is not None else 0)


@nestling.command()
@target
@click.option("--format", "format_", type=click.Choice(TREE_FORMATS), default="text")
def tree(target: str, format_: str) -> None:
    """Print what TARGET is composed of, without running it."""
    click.echo(render(describe(_load(target)), format_), nl=False)


@nestling.command()
@target
@click.option(
    "--fault",
    "faults",
    type=click.Choice(("cancel", "error", "interrupt")),
    multiple=True,
    help="What to try, several times for several; by default all of it.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), help="How many runs at the most; by default all."
)
@click.option("--pairs/--no-pairs", default=True, help="Try a second fault after the first.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the schedule.")
def certify(
    target: str, faults: tuple[str, ...], limit: int | None, pairs: bool, seed: int
) -> None:
    """Run TARGET with a fault at each point in turn, and check the laws each time.

    A target that is a function is called for each run. Exit codes: 0 all points are safe, 1 some
    are not, 2 bad usage.
    """
    from nestling.testing import certify as certify_runnable
    from nestling.testing._faults import FAULT_KINDS, FaultKind

    make = _had(lambda: maker(target))
    _had(make)  # a target that is none is told before it is tried
    logging.disable()  # what the composition says of each fault
    kinds: list[FaultKind] = [kind for kind in FAULT_KINDS if not faults or kind in faults]
    certificate = _had(
        lambda: certify_runnable(make, faults=kinds, limit=limit, pairs=pairs, seed=seed)
    )
    click.echo(str(certificate))
    sys.exit(0 if certificate.is_safe else FAILED)


def _load(target: str) -> Runnable:
    return _had(lambda: load(target))


def _had(get: Callable[[], T]) -> T:
    """Return what is got of a target; explain in one line why it cannot be had."""
    try:
        return get()
    except BadTargetError as problem:
        click.echo(f"error: {problem}", err=True)
        sys.exit(BAD_USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run(
    target: str,
    failures: Failures,
    start_timeout: float,
    stop_timeout: float,
    timeline: Timeline | None = None,
) -> tuple[Application, Exception | None]:
    application = Application(
        _load(target),
        signals=SIGNALS,
        start_timeout=start_timeout,
        stop_timeout=stop_timeout,
        aborter=None,
        observers=(failures,) if timeline is None else (failures, timeline),
        stays=timeline is None,
    )
    try:
        application.run()
    except Exception as error:
        return application, error
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    return application, None


def _report(failures: Failures, error: Exception | None, log_level: str) -> None:
    """Write a line for each failure to the standard error stream."""
    if error is None:
        return
    if log_level == "debug":
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    for line in failures.lines(error):
        click.echo(f"error: {line}", err=True)
    if log_level != "debug":
        click.echo("(--log-level debug shows the traceback)", err=True)
