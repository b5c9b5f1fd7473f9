"""What holds for all tests."""

from __future__ import annotations

import signal

pytest_plugins = ["pytester"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what is to run in the background; tests that press Ctrl-C would wait for it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
