"""Ring 3: running until a signal, or until something in the run aborts it."""

from nestling.app._aborter import Aborter as Aborter, abort as abort
from nestling.app._run import run as run, run_until_signal as run_until_signal

__all__ = ["Aborter", "abort", "run", "run_until_signal"]
