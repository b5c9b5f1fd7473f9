"""The example shop, as its users run it: a process, real requests, real signals."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.app.processes import wait_until_refused

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no signals to send")

ROOT = Path(__file__).parents[2]
SHOP = "docs/examples/shop.py"
NESTLING = [sys.executable, "-m", "nestling", "run", f"{SHOP}:shop"]
ORDER = {"item": "nest", "quantity": 2, "email": "wren@example.org"}


class Shop:
    """A process that runs the shop."""

    def __init__(self, folder: Path, command: list[str], settings: dict[str, str]) -> None:
        self.database = folder / "shop.db"
        self._log = folder / "log"
        environment = {
            "SHOP_DATABASE": str(self.database),
            "SHOP_BIND": "127.0.0.1:0",
            "SHOP_MAIL_SECONDS": "0",
            "SHOP_REPORT_SECONDS": "0",
            **settings,
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def until(self, text: str) -> str:
        """Wait until the log has ``text``; return the line."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for line in self.log.splitlines():
                if text in line:
                    return line
            assert self.process.poll() is None, f"ended without {text!r}:\n{self.log}"
            time.sleep(0.01)
        pytest.fail(f"no {text!r} in:\n{self.log}")

    @property
    def url(self) -> str:
        return self.until("listening on http://").rpartition(" ")[2]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ask(self, method: str, path: str, body: object = None) -> http.client.HTTPConnection:
        """Send a request."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        connection.request(method, path, None if body is None else json.dumps(body))
        return connection

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send a request, and return the status and the body of its answer."""
        return answer(self.ask(method, path, body))

    def signal(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> int:
        """Wait for the end, and return the exit code."""
        return self.process.wait(timeout=60)

    def orders(self) -> list[tuple[Any, ...]]:
        """Return what is in the database: the items, and whether they were sent."""
        connection = sqlite3.connect(self.database)
        try:
            return connection.execute("SELECT item, sent NOT NULL FROM orders").fetchall()
        finally:
            connection.close()

    def logged_in_order(self, *texts: str) -> None:
        """Check that lines with ``texts`` were logged, in this order."""
        lines = iter(self.log.splitlines())
        for text in texts:
            assert any(text in line for line in lines), f"no {text!r}, or too early:\n{self.log}"


def answer(connection: http.client.HTTPConnection) -> tuple[int, Any]:
    """Receive the whole answer to a request."""
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body


@contextmanager
def started(
    folder: Path, settings: dict[str, str] | None = None, command: list[str] = NESTLING
) -> Generator[Shop, None, None]:
    """Run the shop."""
    shop = Shop(folder, command, settings or {})
    try:
        yield shop
    finally:
        if shop.process.poll() is None:
            shop.process.kill()
        shop.process.wait()


def test_orders_are_stored_listed_mailed_and_reported(tmp_path: Path) -> None:
    with started(tmp_path) as shop:
        status, order = shop.call("POST", "/orders", ORDER)
        assert status == 201
        assert order.items() >= {"id": 1, "item": "nest", "quantity": 2, "sent": None}.items()
        shop.until("order 1 is sent")
        status, (listed,) = shop.call("GET", "/orders")
        assert status == 200
        assert listed["sent"] is not None
        report = [{"item": "nest", "quantity": 2, "orders": 1, "sent": 1}]
        assert shop.call("GET", "/report") == (200, report)
        shop.signal()
        assert shop.end() == 0
    assert shop.orders() == [("nest", 1)]
    assert "shop/http/" not in shop.log, "what an adapter is made of is its own business"


def test_what_is_no_order_is_refused(tmp_path: Path) -> None:
    bad: list[object] = [None, [], {}, {**ORDER, "quantity": 0}, {**ORDER, "quantity": "x"}]
    with started(tmp_path) as shop:
        for order in bad:
            status, body = shop.call("POST", "/orders", order)
            assert status == 400
            assert "an order is" in body["error"]
        assert shop.call("GET", "/orders") == (200, [])


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_commands_of_its_documentation_work(tmp_path: Path) -> None:
    def curl(*arguments: str) -> Any:
        output = subprocess.check_output(["curl", "-sS", *arguments], timeout=60)
        return json.loads(output)

    with started(tmp_path) as shop:
        placed = curl("-d", json.dumps(ORDER), f"{shop.url}/orders")
        assert placed["item"] == "nest"
        assert [order["id"] for order in curl(f"{shop.url}/orders")] == [placed["id"]]
        assert curl(f"{shop.url}/report")[0]["quantity"] == 2


def test_a_signal_lets_everything_in_hand_finish_and_closes_the_database_last(
    tmp_path: Path,
) -> None:
    settings = {"SHOP_REPORT_SECONDS": "2", "SHOP_MAIL_SECONDS": "1"}
    with started(tmp_path, settings) as shop:
        shop.call("POST", "/orders", ORDER)
        shop.call("POST", "/orders", {**ORDER, "item": "egg"})
        report = shop.ask("GET", "/report")
        shop.until("report is begun")
        shop.until("order 1 is being mailed")
        shop.signal()
        shop.until("shop/http: stopping")
        wait_until_refused(shop.port)
        status, rows = answer(report)
        assert status == 200
        assert [row["item"] for row in rows] == ["egg", "nest"]
        assert shop.end() == 0
    shop.logged_in_order("shop/mailer: stopping", "order 1 is sent", "shop/mailer: stopped")
    shop.logged_in_order("shop/http: stopping", "report is finished", "shop/http: stopped")
    shop.logged_in_order("report is finished", "shop/db: stopping", "is closed", "shop/db: stopped")
    shop.logged_in_order("order 1 is sent", "shop/db: stopping")
    assert shop.orders() == [("nest", 1), ("egg", 0)]


def test_a_second_signal_forces_and_the_next_run_mails_what_was_left(tmp_path: Path) -> None:
    # What is not forced outlasts the time that `end` waits.
    settings = {"SHOP_REPORT_SECONDS": "600", "SHOP_MAIL_SECONDS": "600"}
    with started(tmp_path, settings) as shop:
        shop.call("POST", "/orders", ORDER)
        report = shop.ask("GET", "/report")
        shop.until("report is begun")
        shop.until("order 1 is being mailed")
        shop.signal()
        shop.until("shop/http: stopping")
        shop.signal()
        assert shop.end() == 3
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            answer(report)
    assert "shop/http" in shop.until("forced")
    assert "shop/mailer" in shop.until("forced")
    shop.logged_in_order("forced", "shop/http: stopped", "is closed", "shop/db: stopped")
    assert shop.orders() == [("nest", 0)]
    with started(tmp_path) as shop:
        shop.until("order 1 is sent")


def test_a_port_in_use_is_an_error_that_names_who_wants_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        with started(tmp_path, {"SHOP_BIND": bind}) as shop:
            assert shop.end() == 1
    (error,) = (line for line in shop.log.splitlines() if line.startswith("error: "))
    assert "shop/http" in error
    assert f"Address already in use: '{bind}'" in error
    assert "Traceback" not in shop.log
    assert len(shop.log.splitlines()) < 20
    shop.logged_in_order("is open", "shop/http: failed to start", "is closed", "shop/db: stopped")


@pytest.mark.parametrize("value", ["soon", "-1"])
def test_a_bad_setting_is_named(tmp_path: Path, value: str) -> None:
    with started(tmp_path, {"SHOP_REPORT_SECONDS": value}) as shop:
        assert shop.end() == 2
    assert f"SHOP_REPORT_SECONDS must be a number of seconds such as 5, not '{value}'" in shop.log
    assert "Traceback" not in shop.log


def test_it_runs_without_the_command_line_as_well(tmp_path: Path) -> None:
    with started(tmp_path, command=[sys.executable, SHOP]) as shop:
        assert shop.call("GET", "/orders") == (200, [])
        shop.process.send_signal(signal.SIGINT)
        assert shop.end() == 0
    shop.logged_in_order("shop/http: stopped", "is closed", "shop/db: stopped")
