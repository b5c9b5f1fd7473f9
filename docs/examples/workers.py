"""Five workers, three resources and two dependents, launched one by one; they stop in order.

Run it, and press Ctrl-C when all is launched::

    nestling run docs/examples/workers.py:workers

The tree that it grows, and what depends on what::

    app                      closes the journal and the pool
    ├── metrics, mailer
    ├── web                  depends on all of app; closes the listener
    │   └── http, admin
    └── jobs                 depends on all of app
        └── reports

Ctrl-C stops http, admin and reports, all at once; each finishes what it has in hand. The listener
is closed when http and admin are gone. Only then metrics and mailer stop, at once; then the pool is
closed, and the journal last. A second Ctrl-C forces, and goes the same way.
"""

import logging

import trio

import nestling
from nestling import Callback, Runnable, chain, named, runnable, start_stop
from nestling.supervise import Controller

log = logging.getLogger("workers")


class Resource:
    """Stands for a file, a socket, or a pool of connections."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def aclose(self) -> None:
        log.info("close %s", self.name)


def worker(name: str, *, in_hand: float = 0) -> Runnable:
    """Make something that takes so many seconds to finish what it has in hand."""

    async def start() -> None:
        log.info("launch %s", name)

    async def stop() -> None:
        await trio.sleep(in_hand)
        log.info("stop %s", name)

    return named(name, start_stop(start, stop))


app = Controller()


@runnable
async def main(f: Callback) -> None:
    """Launch all, and then run what depends on it: here, nothing but the wait for a signal."""
    app.bind(Resource("journal"))
    app.bind(Resource("pool"))
    await app.launch(worker("metrics"))
    await app.launch(worker("mailer", in_hand=0.4))

    web = app.dependent(name="web")
    web.bind(Resource("listener"))
    await web.launch(worker("http", in_hand=0.4))
    await web.launch(worker("admin"))

    jobs = app.dependent(name="jobs")
    await jobs.launch(worker("reports", in_hand=0.2))

    await f()


workers = chain(named("app", app), main)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    nestling.run(workers)
