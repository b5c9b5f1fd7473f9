"""A client that starts when its server says that it is ready, and that the server waits for.

Run it::

    python docs/examples/client_after_server.py

and it prints::

    server ready
    client received: hello

Nothing here waits for a while, or tries again. The client requires the server, so it starts once
the server has called ``handle.ready()``; by then the port, which nobody knew before, is there to be
read. The server asks for the end of the program as soon as it is asked for a greeting; still the
greeting arrives, since what is required stops after what requires it.
"""

import trio

import nestling
from nestling import Runnable, WorkerHandle, worker
from nestling.supervise import graph, node


class Server:
    """Says hello to whoever connects.

    Attributes:
        port: where it listens, once it is ready.
    """

    port: int

    async def work(self, handle: WorkerHandle) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        async with trio.open_nursery() as greetings:  # those in hand are finished before it ends
            print("server ready")
            handle.ready()
            with handle.until_stopping():
                await trio.serve_listeners(self.greet, [listener], handler_nursery=greetings)

    async def greet(self, visitor: trio.SocketStream) -> None:
        nestling.abort()  # one greeting is all that is wanted; the stop begins now
        await visitor.send_all(b"hello")


class Client:
    """Has itself greeted."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def work(self, handle: WorkerHandle) -> None:
        handle.ready()
        async with await trio.open_tcp_stream("127.0.0.1", self.server.port) as stream:
            greeting = b"".join([part async for part in stream])
        print("client received:", greeting.decode())


def make_program() -> Runnable:
    server = Server()
    client = Client(server)
    return graph(
        # Though it comes first here: what counts is what it requires.
        node("client", worker(client.work, on_return="stay"), requires=["server"]),
        node("server", worker(server.work)),
    )


if __name__ == "__main__":
    nestling.run(make_program())
