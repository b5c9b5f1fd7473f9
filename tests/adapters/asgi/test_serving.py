"""What a client and the application see of a server while it runs."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypercorn.config import Config

from nestling import NotRunningError, named, running
from nestling.adapters.asgi import asgi_server
from tests.adapters.asgi.app import App, answer
from tests.adapters.asgi.http_client import connected, get

if TYPE_CHECKING:
    from tests.adapters.asgi.app import Message, Receive, Send

CERTIFICATE = Path(__file__).with_name("localhost.pem")


async def test_requests_are_answered() -> None:
    async with running(server := asgi_server(App())):
        (url,) = server.urls
        reply = await get(url)
    assert reply.status == 200
    assert reply.body == b"hello"


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with running(server := asgi_server(App())), connected(server.urls[0]) as connection:
        for _ in range(3):
            await connection.ask()
            assert (await connection.answer()).body == b"hello"


async def test_by_default_it_is_reached_only_from_this_machine() -> None:
    async with running(server := asgi_server(App())):
        assert server.urls[0].startswith("http://127.0.0.1:")


async def test_there_are_urls_only_while_it_runs() -> None:
    server = asgi_server(App(), bind="127.0.0.1:0")
    with pytest.raises(NotRunningError, match=r"127\.0\.0\.1:0"):
        _ = server.urls
    async with running(server):
        assert server.urls
    with pytest.raises(NotRunningError):
        _ = server.urls


async def test_an_exception_for_a_request_is_an_answer_500_and_is_logged_once(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    server = asgi_server(App())
    async with running(named("http", server)):
        assert (await get(server.urls[0], "/fails")).status == 500
        assert (await get(server.urls[0])).status == 200
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    (record,) = errors
    assert record.getMessage() == "http: Error in ASGI Framework"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert capsys.readouterr().err == ""


async def test_a_connection_that_fails_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails(Config):
        def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
            raise LookupError(protocol)

    server = asgi_server(App(), config=Fails(), bind="127.0.0.1:0")
    async with running(server), connected(server.urls[0]) as bystander:
        async with connected(server.urls[0]) as connection:
            await connection.stream.send_all(b"no such protocol\r\n\r\n")
            assert await connection.is_closed()
        await bystander.stream.send_all(b"no such protocol\r\n\r\n")
        assert await bystander.is_closed()
    assert [r.getMessage() for r in caplog.records].count("App: a connection failed") == 2


async def test_what_it_logs_has_the_path_of_its_node(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = asgi_server(App())
    async with running(named("100% shop", named("http", server))):
        (url,) = server.urls
    (record,) = (record for record in caplog.records if "listening" in record.getMessage())
    assert record.getMessage() == f"100% shop/http: listening on {url}"
    assert vars(record)["path"] == "100% shop/http"


async def test_what_it_logs_has_the_path_of_this_run(caplog: pytest.LogCaptureFixture) -> None:
    server = asgi_server(App())
    for name in ("first", "second"):
        async with running(named(name, server)):
            await get(server.urls[0], "/fails")
    assert [vars(record)["path"] for record in caplog.records] == ["first", "second"]


async def test_a_configuration_whose_log_was_used_already_logs_once(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config()
    handler = config.log.error_logger
    try:
        async with running(server := asgi_server(App(), config=config, bind="127.0.0.1:0")):
            await get(server.urls[0], "/fails")
    finally:
        assert handler is not None
        handler.handlers.clear()
    assert [record.name for record in caplog.records] == ["nestling.asgi"]
    assert capsys.readouterr().err == ""


async def test_the_access_log_is_off_unless_it_is_configured(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(server := asgi_server(App())):
        await get(server.urls[0], "/?quiet")
    config = Config()
    config.accesslog = logging.getLogger("access")
    async with running(server := asgi_server(App(), config=config, bind="127.0.0.1:0")):
        await get(server.urls[0], "/?loud")
    assert {record.name for record in caplog.records if "GET" in record.getMessage()} == {"access"}
    assert capsys.readouterr() == ("", "")


async def test_a_log_that_is_configured_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    config = Config()
    config.errorlog = logging.getLogger("elsewhere")
    async with running(server := asgi_server(App(), config=config, bind="127.0.0.1:0")):
        await get(server.urls[0], "/fails")
    assert [record.name for record in caplog.records] == ["elsewhere"]


async def test_the_configuration_is_respected_and_not_changed() -> None:
    config = Config()
    config.bind = "127.0.0.1:0"
    config.root_path = "/below"
    config.include_server_header = False
    before = dict(vars(config))
    app = App()
    for server in (asgi_server(app, config=config), asgi_server(app, config=config, bind=":0")):
        config.root_path = "/elsewhere"
        async with running(server):
            reply = await get(server.urls[0])
        assert b"server" not in reply.headers
        assert app.scopes[-1]["root_path"] == "/below"
        config.root_path = "/below"
        assert vars(config) == before


async def test_the_lifespan_state_is_seen_by_requests() -> None:
    seen: list[dict[str, object]] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pool"] = "a pool"
            await send({"type": "lifespan.startup.complete"})
            await receive()
        else:
            seen.append(dict(scope["state"]))
            scope["state"]["mine"] = "only"
            await answer(send)

    async with running(server := asgi_server(app)):
        for _ in range(2):
            await get(server.urls[0])
    assert seen == [{"pool": "a pool"}] * 2


async def test_tls_is_spoken_where_the_configuration_has_a_certificate() -> None:
    config = Config()
    config.certfile = config.keyfile = str(CERTIFICATE)
    config.insecure_bind = "127.0.0.1:0"
    trust = ssl.create_default_context(cafile=str(CERTIFICATE))
    async with running(server := asgi_server(App(), config=config, bind="127.0.0.1:0")):
        secure, plain = server.urls
        assert secure.startswith("https://")
        async with connected(secure, trust) as connection:
            await connection.ask()
            assert (await connection.answer()).body == b"hello"
        assert (await get(plain)).body == b"hello"


def test_quic_is_refused() -> None:
    config = Config()
    config.quic_bind = "127.0.0.1:0"
    with pytest.raises(ValueError, match="quic_bind is not supported"):
        asgi_server(App(), config=config)


@pytest.mark.parametrize("drain", [-1, float("nan")])
def test_a_drain_that_is_no_time_is_refused(drain: float) -> None:
    with pytest.raises(ValueError, match=r"drain of asgi_server.* must be zero or more seconds"):
        asgi_server(App(), drain=drain)
