"""A worker and an HTTP server that run side by side until a signal, and finish what they began.

Run it, look at how far the worker has come, at the address that it logs, and press Ctrl-C::

    python docs/examples/until_a_signal.py

    curl http://127.0.0.1:PORT

The worker finishes its round, and the server the requests in flight, at the same time. What has not
finished after 5 seconds is forced, and the error tells what that was. If one of the two fails, the
other is not torn away either: it stops as it does for a signal.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio

import nestling
from nestling import Runnable, WorkerHandle, named, parallel, worker
from nestling.adapters.asgi import asgi_server

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]


class Rounds:
    """Does one round of work after the other."""

    seconds = 0.5
    done = 0

    async def work(self, handle: WorkerHandle) -> None:
        handle.ready()
        while not handle.stopping.is_set():  # asked between two rounds, never within one
            await self.one_round()

    async def one_round(self) -> None:
        await trio.sleep(self.seconds)
        self.done += 1


class Website:
    """Tells how many rounds are done; an ASGI application without a framework.

    Whoever posts to it gets the answer when all of the request has arrived.
    """

    def __init__(self, rounds: Rounds) -> None:
        self.rounds = rounds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError("there is nothing to start up, and there are no websockets")
        while (await receive()).get("more_body"):
            pass
        text = f"{self.rounds.done} rounds are done\n".encode()
        headers = [(b"content-length", b"%d" % len(text))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text})


def make_program() -> Runnable:
    rounds = Rounds()
    return named(
        "program",
        parallel(
            named("worker", worker(rounds.work)),
            named("server", asgi_server(Website(rounds), bind="127.0.0.1:0")),
        ),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    nestling.run(make_program(), stop_timeout=5)
