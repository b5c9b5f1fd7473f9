"""The life of an application around its requests, row by row of the table in `_lifespan`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from nestling import named, running
from nestling.adapters.asgi import LifespanError, asgi_server
from tests.adapters.asgi.app import App, answer, plain_lifespan
from tests.adapters.asgi.http_client import get

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request
    from trio.testing import MockClock

    from tests.adapters.asgi.app import Message, Receive, Send


class StartError(Exception):
    """What an application raises."""


async def never() -> None:
    pytest.fail("the callback was entered")


def impatient() -> Config:
    config = Config()
    config.bind = "127.0.0.1:0"
    config.startup_timeout = config.shutdown_timeout = 0.05
    return config


async def test_the_application_is_up_before_the_callback_and_down_before_the_end() -> None:
    app = App()

    async def callback() -> None:
        app.events.append("callback")

    await asgi_server(app).run(callback)
    assert app.events == ["startup", "callback", "shutdown"]


class TestApplicationsWithoutLifespan:
    async def serve(self, app: object) -> None:
        async with running(server := asgi_server(app)):  # type: ignore[arg-type]
            assert (await get(server.urls[0])).body == b"hello"

    async def test_one_that_raises_is_served(self) -> None:
        async def app(scope: Message, receive: Receive, send: Send) -> None:
            assert scope["type"] == "http"
            await answer(send)

        await self.serve(app)

    async def test_one_that_returns_is_served(self) -> None:
        async def app(scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await answer(send)

        await self.serve(app)

    async def test_one_that_answers_everything_is_served(self) -> None:
        async def app(scope: Message, receive: Receive, send: Send) -> None:
            await answer(send)

        await self.serve(app)

    async def test_one_that_reads_and_answers_everything_is_served(self) -> None:
        async def app(scope: Message, receive: Receive, send: Send) -> None:
            await receive()
            await answer(send)

        await self.serve(app)

    async def test_one_that_gives_no_word_after_the_startup_is_served(self) -> None:
        async def app(scope: Message, receive: Receive, send: Send) -> None:
            await receive()
            if scope["type"] == "http":
                await answer(send)

        await self.serve(app)


class TestStartUp:
    async def test_an_exception_comes_out_bare_and_the_address_is_free_again(self) -> None:
        error = StartError("no database")

        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            raise error

        server = asgi_server(App(lifespan))
        for _ in range(2):
            with pytest.raises(StartError) as caught:
                await named("http", server).run(never)
            assert caught.value is error

    async def test_a_failure_that_the_application_reports_comes_out(self) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})

        with pytest.raises(
            LifespanError, match=r"^the application's start-up failed: no database$"
        ):
            await asgi_server(App(lifespan)).run(never)

    async def test_a_failure_without_a_reason_is_a_failure(self) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed"})
            await receive()
            pytest.fail("there was something to receive after a failure")

        with pytest.raises(LifespanError, match="it gave no reason"):
            await asgi_server(App(lifespan)).run(never)

    @pytest.mark.parametrize("receives", [False, True])
    async def test_what_is_raised_after_the_report_says_more_than_the_report(
        self, receives: bool
    ) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            if receives:
                await receive()
            await send({"type": "lifespan.startup.failed", "message": "a traceback"})
            raise StartError

        with pytest.raises(StartError):
            await asgi_server(App(lifespan)).run(never)

    async def test_a_startup_without_end_is_a_failure(self, autojump_clock: MockClock) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            await trio.sleep_forever()

        with pytest.raises(LifespanError, match=r"did not start up within 0\.05 s"):
            await asgi_server(App(lifespan), config=impatient()).run(never)

    async def test_a_startup_that_ends_late_is_a_failure(self, autojump_clock: MockClock) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            with trio.move_on_after(0.1, shield=True):
                await trio.sleep_forever()

        with pytest.raises(LifespanError, match=r"did not start up within 0\.05 s"):
            await asgi_server(App(lifespan), config=impatient()).run(never)

    async def test_only_the_startup_has_to_end_in_its_time(self, autojump_clock: MockClock) -> None:
        async def callback() -> None:
            await trio.sleep(0.1)

        app = App()
        await asgi_server(app, config=impatient()).run(callback)
        assert app.events == ["startup", "shutdown"]

    async def test_it_can_be_cancelled(self) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                app.events.append("cancelled")
                raise

        app = App(lifespan)
        with trio.CancelScope() as scope:
            await asgi_server(app).run(never)
        assert scope.cancelled_caught
        assert app.events == ["cancelled"]

    async def test_one_that_finishes_although_cancelled_is_not_served(self) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(0.05)
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            app.events.append("shutdown")
            await trio.sleep_forever()

        app = App(lifespan)
        with trio.fail_after(60), trio.CancelScope() as scope:
            await asgi_server(app).run(never)
        assert scope.cancelled_caught
        assert app.events == ["shutdown"]


class TestShutdown:
    async def test_it_follows_an_error_of_the_callback(self) -> None:
        async def callback() -> None:
            raise StartError

        app = App()
        with pytest.raises(StartError):
            await asgi_server(app).run(callback)
        assert app.events == ["startup", "shutdown"]

    async def test_it_follows_a_forced_stop_in_a_cancelled_scope(self) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await plain_lifespan(app, receive, send)
            app.events.append("first step")
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled:
                app.events.append("cancelled")
                raise

        async def callback() -> None:
            scope.cancel()
            await trio.sleep_forever()

        app = App(lifespan)
        with trio.CancelScope() as scope:
            await asgi_server(app).run(callback)
        assert scope.cancelled_caught
        assert app.events == ["startup", "shutdown", "first step", "cancelled"]

    async def test_it_can_be_forced_while_it_goes_on(self) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            app.events.append("shutdown")
            scope.cancel()
            try:
                await trio.sleep_forever()
            finally:
                app.events.append("forced")

        app = App(lifespan)
        with trio.fail_after(60), trio.CancelScope() as scope:
            await asgi_server(app).run(trio.lowlevel.checkpoint)
        assert scope.cancelled_caught
        assert app.events == ["shutdown", "forced"]

    async def test_an_application_that_is_busy_is_cancelled_by_a_forced_stop(self) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await trio.sleep_forever()

        async def callback() -> None:
            scope.cancel()
            await trio.sleep_forever()

        with trio.fail_after(60), trio.CancelScope() as scope:
            await asgi_server(App(lifespan)).run(callback)
        assert scope.cancelled_caught

    async def test_an_exception_comes_out_bare(self) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await plain_lifespan(app, receive, send)
            raise StartError

        with pytest.raises(StartError):
            await asgi_server(App(lifespan)).run(trio.lowlevel.checkpoint)

    async def test_a_failure_that_the_application_reports_comes_out(self) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.failed", "message": "disk full"})

        with pytest.raises(LifespanError, match=r"^the application's shutdown failed: disk full$"):
            await asgi_server(App(lifespan)).run(trio.lowlevel.checkpoint)

    async def test_a_shutdown_without_end_is_a_failure(self, autojump_clock: MockClock) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await trio.sleep_forever()

        with pytest.raises(LifespanError, match=r"did not shut down within 0\.05 s"):
            await asgi_server(App(lifespan), config=impatient()).run(trio.lowlevel.checkpoint)

    async def test_an_application_that_receives_for_ever_is_at_its_end(self) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            while True:
                stage = (await receive())["type"]
                app.events.append(stage)
                await send({"type": f"{stage}.complete"})

        app = App(lifespan)
        with trio.fail_after(60):
            await asgi_server(app).run(trio.lowlevel.checkpoint)
        assert app.events == ["lifespan.startup", "lifespan.shutdown"]


class TestWhileItRuns:
    async def test_an_exception_ends_the_run_and_comes_out_bare(self) -> None:
        error = StartError("the pool is broken")

        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await app.release.wait()
            raise error

        async def callback() -> None:
            app.release.set()
            await trio.sleep_forever()

        app = App(lifespan)
        with trio.fail_after(60), pytest.raises(StartError) as caught:
            await asgi_server(app).run(callback)
        assert caught.value is error

    async def test_an_application_whose_lifespan_ends_is_served_on(self) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})

        async with running(server := asgi_server(App(lifespan))):
            for _ in range(2):
                assert (await get(server.urls[0])).body == b"hello"

    async def test_a_startup_that_is_complete_before_it_was_asked_for_counts(self) -> None:
        async def lifespan(app: App, receive: Receive, send: Send) -> None:
            await send({"type": "lifespan.startup.complete"})
            app.events.append((await receive())["type"])

        app = App(lifespan)
        async with running(server := asgi_server(app)):
            assert (await get(server.urls[0])).body == b"hello"
        assert app.events == ["lifespan.shutdown"]


class TestStarlette:
    async def test_its_lifespan_surrounds_its_requests(self) -> None:
        events: list[str] = []

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, str]]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                events.append("up")
                yield {"pool": "a pool"}
                events.append("down")
                nursery.cancel_scope.cancel()

        async def home(request: Request) -> PlainTextResponse:
            events.append(request.state.pool)
            return PlainTextResponse("hello")

        app = Starlette(routes=[Route("/", home)], lifespan=lifespan)
        async with running(server := asgi_server(app)):
            assert (await get(server.urls[0])).body == b"hello"
        assert events == ["up", "a pool", "down"]

    async def test_what_its_lifespan_raises_comes_out_bare(self) -> None:
        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncGenerator[None]:
            if app.routes == []:
                raise StartError
            yield

        with pytest.raises(StartError):
            await asgi_server(Starlette(lifespan=lifespan)).run(never)
