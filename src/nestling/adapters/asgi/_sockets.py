"""The sockets of one run: bound before the application starts, listening once it has.

In between a port is taken but refuses connections. So a port in use is found out before the
application does anything, and nobody waits in a queue that may never be served.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator, Sequence

    Listener = trio.SocketListener | trio.SSLListener[trio.SocketStream]

DEFAULT_PORT = 8000  # hypercorn's, for a bind without a port

_TCP = re.compile(r"(?:\[(?P<ipv6>[^\[\]\s]+)\]|(?P<host>[^:\[\]/\s]*))(?::(?P<port>\d+))?")


@attrs.frozen
class Bind:
    """An address to listen on, as the user wrote it.

    Attributes:
        text: ``host:port``, ``[ipv6]:port``, ``unix:path``, or ``fd://number``.
        tls: speak TLS there.
    """

    text: str
    tls: bool

    def __attrs_post_init__(self) -> None:
        if re.match(r"unix:.", self.text) or re.fullmatch(r"fd://\d+", self.text):
            return
        match = _TCP.fullmatch(self.text)
        if not self.text or match is None or int(match["port"] or 0) > 0xFFFF:
            raise ValueError(
                f"bind must be 'host:port', '[ipv6]:port', 'unix:path' or 'fd://number', "
                f"not {self.text!r}"
            )

    @property
    def path(self) -> str:
        """The path of a Unix socket."""
        return self.text.removeprefix("unix:")

    async def open(self) -> Bound:
        """Return a socket that is bound, and does not listen."""
        if self.text.startswith("unix:"):
            path = Path(self.path)
            _remove_leftover(path)
            return Bound(self, _new(socket.AF_UNIX, str(path)), _file(path))
        if self.text.startswith("fd://"):
            # A copy: the descriptor stays its owner's, and is still there for the next run.
            return Bound(self, socket.socket(fileno=os.dup(int(self.text.removeprefix("fd://")))))
        match = _TCP.fullmatch(self.text)
        assert match is not None
        found = await trio.socket.getaddrinfo(
            match["ipv6"] or match["host"] or "0.0.0.0",
            int(match["port"] or DEFAULT_PORT),
            family=socket.AF_INET6 if match["ipv6"] else socket.AF_INET,
            type=socket.SOCK_STREAM,
        )
        family, _, _, _, address = found[0]
        return Bound(self, _new(family, address))


@attrs.frozen
class Bound:
    """A socket and where it is bound.

    Attributes:
        file: which file a Unix socket made, as device and inode.
    """

    bind: Bind
    sock: socket.socket
    file: tuple[int, int] | None = None

    @property
    def url(self) -> str:
        """The base URL under which a client reaches it."""
        address = self.sock.getsockname()
        if self.sock.family == socket.AF_UNIX:
            return f"unix:{address}"
        host = f"[{address[0]}]" if self.sock.family == socket.AF_INET6 else address[0]
        return f"{'https' if self.bind.tls else 'http'}://{host}:{address[1]}"

    def listener(self, context: ssl.SSLContext | None) -> Listener:
        """Return the listener of a socket that listens."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self.sock))
        if not self.bind.tls:
            return listener
        assert context is not None
        return trio.SSLListener(listener, context, https_compatible=True)

    def close(self) -> None:
        """Close it, once more where that is done already."""
        self.sock.close()
        # While this server drained, the next one may have bound the same path: that file stays.
        if self.file is not None and self.file == _file(path := Path(self.bind.path)):
            path.unlink()


@attrs.frozen
class Sockets:
    """What one run listens on."""

    _bound: Sequence[Bound]

    def listen(self, backlog: int) -> tuple[str, ...]:
        """Start to take connections. Returns the base URLs."""
        for bound in self._bound:
            with _naming(bound.bind):
                bound.sock.listen(backlog)
        return tuple(bound.url for bound in self._bound)

    def listeners(self, context: ssl.SSLContext | None) -> list[Listener]:
        """Return the listeners; only after `listen`."""
        return [bound.listener(context) for bound in self._bound]

    def close(self) -> None:
        """Close all of them, once more where that is done already."""
        for bound in self._bound:
            bound.close()


async def bind_all(binds: Sequence[Bind]) -> Sockets:
    """Bind all of them, or none.

    Raises:
        OSError: of the one that failed; its message names the address.
    """
    done: list[Bound] = []
    with ExitStack() as undo:
        for bind in binds:
            with _naming(bind):
                bound = await bind.open()
            undo.callback(bound.close)
            done.append(bound)
        undo.pop_all()
    return Sockets(done)


@contextmanager
def _naming(bind: Bind) -> Generator[None, None, None]:
    """Name the address in an `OSError`, which by itself says only that *an* address is in use."""
    try:
        yield
    except OSError as error:
        error.filename = bind.text
        raise


def _new(family: int, address: tuple[Any, ...] | str) -> socket.socket:
    with ExitStack() as undo:
        sock = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
        if sys.platform == "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        undo.pop_all()
    return sock


def _remove_leftover(path: Path) -> None:
    """Remove the socket file of a server that is gone, and only of one that is gone."""
    try:
        if stat.S_ISSOCK(path.stat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(str(path))
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    except FileNotFoundError:
        pass
    except ConnectionRefusedError:
        path.unlink()


def _file(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
