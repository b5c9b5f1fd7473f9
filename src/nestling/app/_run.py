"""`run` and `run_until_signal`: a runnable as a whole program."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable

from nestling._kernel._events import Observer
from nestling._kernel._runnable import Runnable
from nestling.app._aborter import Aborter

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(
    r: Runnable,
    *,
    signals: Iterable[int] = SIGNALS,
    start_timeout: float = math.inf,
    stop_timeout: float = 30,
    aborter: Aborter | None = None,
    observers: Iterable[Observer] = (),
) -> None:
    """Run ``r`` until it ends, or until a signal; blocks meanwhile.

    The first signal stops it gracefully. During the start-up it cancels that. The second signal, or
    ``stop_timeout``, forces. The third ends the process at once, also where a service blocks the
    loop: after a report, on the standard error stream, on what has not stopped, with the exit
    status 128 + the signal.

    What happens is logged to the logger ``nestling``, with the path of the node in the field
    ``path`` of each record. A node that takes more than 3 s to start or to stop is warned about.

    Args:
        r: what is run.
        signals: which signals stop it. While it runs they are handled here; then the handlers from
            before are put back. With others, or none, KeyboardInterrupt forces, as anywhere.
        start_timeout: seconds until all of it has to run.
        stop_timeout: seconds that a graceful stop may take.
        aborter: stops it from elsewhere; the function `abort` reaches it from within.
        observers: called with each event of the run tree. They must not block.

    Raises:
        StartTimeoutError: it was not running in time.
        StopTimeoutError: it was forced, since it had not stopped in time.
        RuntimeError: signals are to be handled, and this is not the main thread.
        InvalidStateError: signals are to be handled, and another run does so already.
        BaseException: what ``r`` fails with, or else what it was aborted with, bare. The
            aborter's error comes first where there are both; the other is a note on it.

    Example::

        if __name__ == "__main__":
            run(chain(named("db", db), named("http", http)), stop_timeout=10)
    """
    # Loaded by the first run: most who import nestling only compose.
    from nestling.app._application import Application

    Application(
        r,
        signals=signals,
        start_timeout=start_timeout,
        stop_timeout=stop_timeout,
        aborter=aborter,
        observers=observers,
    ).run()


async def run_until_signal(
    r: Runnable,
    *,
    signals: Iterable[int] = SIGNALS,
    start_timeout: float = math.inf,
    stop_timeout: float = 30,
    aborter: Aborter | None = None,
    observers: Iterable[Observer] = (),
) -> None:
    """Do what `run` does, inside of a trio run.

    With ``signals=()`` it works in any thread. It may be cancelled, which takes ``r`` down in
    order, from the inside out.

    Example::

        async def main():
            settings = await load_settings()
            await run_until_signal(make_shop(settings))
    """
    from nestling.app._application import Application

    application = Application(
        r,
        signals=signals,
        start_timeout=start_timeout,
        stop_timeout=stop_timeout,
        aborter=aborter,
        observers=observers,
    )
    await application.run_until_signal()
