"""Where a server listens, and what happens where it cannot."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
from hypercorn.config import Config

from nestling import InvalidStateError, running
from nestling.adapters.asgi import asgi_server
from tests.adapters.asgi.app import App, plain_lifespan
from tests.adapters.asgi.http_client import get

if TYPE_CHECKING:
    from tests.adapters.asgi.app import Receive, Send


DESCRIPTORS = Path("/proc/self/fd")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


async def never() -> None:
    pytest.fail("the callback was entered")


async def test_an_address_in_use_is_an_error_that_names_it_before_anything_else() -> None:
    app = App()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"in use: '{bind}'") as caught:
            await asgi_server(app, bind=bind).run(never)
    assert caught.value.errno == errno.EADDRINUSE
    assert app.scopes == []


async def test_an_address_that_is_taken_during_the_startup_is_an_error_too() -> None:
    bind = f"127.0.0.1:{free_port()}"

    async def lifespan(app: App, receive: Receive, send: Send) -> None:
        host, port = bind.split(":")
        with socket.create_server((host, int(port))):
            await plain_lifespan(app, receive, send)

    app = App(lifespan)
    with pytest.raises(OSError, match=f"in use: '{bind}'"):
        await asgi_server(app, bind=bind).run(never)
    assert app.events == ["startup", "shutdown"]


async def test_where_one_address_fails_the_others_are_freed() -> None:
    port = free_port()
    with pytest.raises(OSError, match=r"no\.such\.name"):
        await asgi_server(App(), bind=[f"127.0.0.1:{port}", "no.such.name.invalid:0"]).run(never)
    socket.create_server(("127.0.0.1", port)).close()


async def test_an_address_refuses_connections_until_the_application_has_started() -> None:
    port = free_port()

    async def lifespan(app: App, receive: Receive, send: Send) -> None:
        with pytest.raises(OSError, match=r"refused|all attempts"):
            await trio.open_tcp_stream("127.0.0.1", port)
        await plain_lifespan(app, receive, send)

    async with running(server := asgi_server(App(lifespan), bind=f"127.0.0.1:{port}")):
        assert (await get(server.urls[0])).status == 200


async def test_it_listens_on_several_addresses() -> None:
    async with running(server := asgi_server(App(), bind=["127.0.0.1:0", "localhost:0"])):
        assert len(server.urls) == 2
        for url in server.urls:
            assert (await get(url)).status == 200


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6")
async def test_it_listens_on_ipv6() -> None:
    async with running(server := asgi_server(App(), bind="[::1]:0")):
        assert server.urls[0].startswith("http://[::1]:")
        assert (await get(server.urls[0])).status == 200


async def test_without_a_host_it_listens_on_all_ipv4_addresses() -> None:
    async with running(server := asgi_server(App(), bind=":0")):
        assert server.urls[0].startswith("http://0.0.0.0:")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets")
class TestUnixSocket:
    async def test_it_is_served_and_leaves_no_file(self, tmp_path: Path) -> None:
        path = tmp_path / "http.sock"
        async with running(server := asgi_server(App(), bind=f"unix:{path}")):
            assert server.urls == (f"unix:{path}",)
            assert (await get(server.urls[0])).body == b"hello"
        assert not path.exists()

    async def test_what_a_dead_server_left_is_no_obstacle(self, tmp_path: Path) -> None:
        path = tmp_path / "http.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with running(server := asgi_server(App(), bind=f"unix:{path}")):
            assert (await get(server.urls[0])).body == b"hello"

    async def test_a_living_server_keeps_its_socket(self, tmp_path: Path) -> None:
        bind = f"unix:{tmp_path / 'http.sock'}"
        async with running(server := asgi_server(App(), bind=bind)):
            with pytest.raises(OSError, match=r"http\.sock") as caught:
                await asgi_server(App(), bind=bind).run(never)
            assert caught.value.errno == errno.EADDRINUSE
            assert (await get(server.urls[0])).body == b"hello"

    async def test_a_file_that_is_no_socket_is_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "precious"
        path.write_text("data")
        with pytest.raises(OSError, match="precious"):
            await asgi_server(App(), bind=f"unix:{path}").run(never)
        assert path.read_text() == "data"

    async def test_a_socket_that_somebody_removed_is_not_missed(self, tmp_path: Path) -> None:
        path = tmp_path / "http.sock"
        async with running(asgi_server(App(), bind=f"unix:{path}")):
            path.unlink()
        assert not path.exists()

    async def test_the_socket_of_its_successor_is_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "http.sock"
        async with running(asgi_server(App(), bind=f"unix:{path}")):
            path.unlink()
            with socket.socket(socket.AF_UNIX) as successor:
                successor.bind(str(path))
        assert path.exists()


async def test_it_takes_a_socket_that_is_open_already_again_and_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = asgi_server(App(), bind=f"fd://{listening.fileno()}")
        for _ in range(2):
            async with running(server):
                assert (await get(server.urls[0])).body == b"hello"


@pytest.mark.parametrize(
    "bind", ["127.0.0.1:http", "127.0.0.1:65536", "::1:80", "http://127.0.0.1", "fd://x", "a:1:2"]
)
def test_what_is_no_address_is_refused(bind: str) -> None:
    with pytest.raises(ValueError, match=f"bind must be .*not '{bind}'"):
        asgi_server(App(), bind=bind)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"bind": 8000},
            "must be an address or several, not 8000 (int)",
        ),
        ({"bind": ["a:1", 80]}, "must be a string, not 80 (int)"),
        (
            {"config": {"bind": "a:1"}},
            "must be a hypercorn.config.Config, not {'bind': 'a:1'} (dict)",
        ),
    ],
    ids=["no address", "one of several", "no config"],
)
def test_arguments_of_another_type_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        asgi_server(App(), **arguments)
    assert str(caught.value) == f"{next(iter(arguments))} of asgi_server('App') {message}"


def test_what_is_no_application_is_refused() -> None:
    def wsgi(environ: object, start_response: object) -> list[bytes]:
        del environ, start_response
        return []

    async def two(scope: object, receive: object) -> None:
        del scope, receive

    problems = {
        5: "must be an async function, not 5",
        wsgi: r"must be an async function, but '.*wsgi' is a sync function",
        two: "is called with 3 arguments, but '.*two' takes 2 arguments",
    }
    for app, problem in problems.items():
        with pytest.raises(TypeError, match=rf"^app of asgi_server\(\) {problem}"):
            asgi_server(cast("Any", app))


def test_at_least_one_address_is_wanted() -> None:
    with pytest.raises(ValueError, match="one address or more"):
        asgi_server(App(), bind=[])


async def test_bind_goes_before_that_of_the_configuration_only_where_it_is_given() -> None:
    config = Config()
    config.bind = f"127.0.0.1:{free_port()}"
    async with running(server := asgi_server(App(), config=config)):
        assert server.urls == (f"http://{config.bind[0]}",)
        async with running(other := asgi_server(App(), config=config, bind="127.0.0.1:0")):
            assert other.urls != server.urls


async def test_it_does_not_run_twice_at_the_same_time() -> None:
    async with running(server := asgi_server(App())):
        with pytest.raises(InvalidStateError, match="it is running"):
            await server.run(never)
        assert (await get(server.urls[0])).status == 200


async def test_it_runs_again_on_the_same_port_when_a_run_has_ended() -> None:
    app = App()
    server = asgi_server(app, bind=f"127.0.0.1:{free_port()}")
    for _ in range(3):
        async with running(server):
            assert (await get(server.urls[0])).status == 200
    assert app.events == ["startup", "shutdown"] * 3


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="there is no /proc")
async def test_no_descriptor_is_left_after_failures() -> None:
    def open_descriptors() -> int:
        return len(list(DESCRIPTORS.iterdir()))

    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = ["127.0.0.1:0", f"127.0.0.1:{taken.getsockname()[1]}"]
        before = open_descriptors()
        for _ in range(5):
            with pytest.raises(OSError, match="in use"):
                await asgi_server(App(), bind=bind).run(never)
        assert open_descriptors() == before


def test_without_hypercorn_the_error_names_the_extra() -> None:
    program = "import sys; sys.modules['hypercorn'] = None; import nestling.adapters.asgi"
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.returncode == 1
    assert "MissingExtraError: hypercorn is not installed" in result.stderr
    assert "pip install 'nestling[asgi]'" in result.stderr
