"""A small shop: orders come in over HTTP, are kept in SQLite, and are mailed in the background.

Run it, place an order, and look at what became of it::

    nestling run docs/examples/shop.py:shop

    curl -d '{"item": "nest", "quantity": 2, "email": "wren@example.org"}' localhost:8000/orders
    curl localhost:8000/orders
    curl localhost:8000/report

The report takes a while. Press Ctrl-C in the meantime: no new request is taken, the report is
finished and so is the mail in hand, and only then the database is closed. A second Ctrl-C forces.
"""

import logging
import math
import os
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import nestling
from nestling import WorkerHandle, chain, named, parallel, resource, worker
from nestling.adapters.asgi import asgi_server


def seconds(variable: str, default: str) -> float:
    """Read a time from the environment."""
    text = os.environ.get(variable, default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{variable} must be a number of seconds such as {default}, not {text!r}")
    return value


DATABASE = os.environ.get("SHOP_DATABASE", "shop.db")
BIND = os.environ.get("SHOP_BIND", "127.0.0.1:8000")
REPORT_SECONDS = seconds("SHOP_REPORT_SECONDS", "5")
MAIL_SECONDS = seconds("SHOP_MAIL_SECONDS", "1")

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY,
    item TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    email TEXT NOT NULL,
    placed TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    sent TEXT
)
"""

log = logging.getLogger("shop")

# The database -------------------------------------------------------------------------------------


class Database:
    """An SQLite connection. SQLite blocks, so each statement runs in a thread, one at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        connection.row_factory = sqlite3.Row
        self._connection = connection
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def execute(self, statement: str, *parameters: object) -> list[dict[str, object]]:
        """Run one statement as one transaction, and return its rows."""

        def transaction() -> list[dict[str, object]]:
            with self._connection:
                return [dict(row) for row in self._connection.execute(statement, parameters)]

        return await trio.to_thread.run_sync(transaction, limiter=self._one_at_a_time)


@asynccontextmanager
async def open_database(path: str) -> AsyncGenerator[Database, None]:
    """Open the database; make its table where there is none."""
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        database = Database(connection)
        await database.execute("PRAGMA journal_mode = WAL")
        await database.execute(SCHEMA)
        log.info("database %s is open", path)
        yield database
    finally:
        connection.close()
        log.info("database %s is closed", path)


db = resource(open_database, DATABASE)

# The HTTP interface -------------------------------------------------------------------------------


async def place_order(request: Request) -> JSONResponse:
    try:
        order = await request.json()
        values = str(order["item"]), int(order["quantity"]), str(order["email"])
        (row,) = await db.value.execute(
            "INSERT INTO orders (item, quantity, email) VALUES (?, ?, ?) RETURNING *", *values
        )
    except (KeyError, TypeError, ValueError, sqlite3.IntegrityError):
        error = "an order is an object with an item, a quantity above 0 and an email"
        return JSONResponse({"error": error}, status_code=400)
    log.info("order %s is placed", row["id"])
    return JSONResponse(row, status_code=201)


async def list_orders(request: Request) -> JSONResponse:
    return JSONResponse(await db.value.execute("SELECT * FROM orders ORDER BY id"))


async def report(request: Request) -> JSONResponse:
    log.info("report is begun")
    await trio.sleep(REPORT_SECONDS)
    rows = await db.value.execute(
        "SELECT item, sum(quantity) AS quantity, count(*) AS orders, count(sent) AS sent"
        " FROM orders GROUP BY item ORDER BY item"
    )
    log.info("report is finished")
    return JSONResponse(rows)


app = Starlette(
    routes=[
        Route("/orders", place_order, methods=["POST"]),
        Route("/orders", list_orders),
        Route("/report", report),
    ]
)

# The mailer ---------------------------------------------------------------------------------------


async def mailer(handle: WorkerHandle) -> None:
    """Mail the orders that are not sent yet, the oldest first, until the stop."""
    handle.ready()
    while not handle.stopping.is_set():
        orders = await db.value.execute(
            "SELECT id, email FROM orders WHERE sent IS NULL ORDER BY id LIMIT 1"
        )
        for order in orders:
            await mail(order["id"], order["email"])  # a stop waits for it
        if not orders:
            with handle.until_stopping():  # a stop cuts this short
                await trio.sleep(0.2)


async def mail(order: object, email: object) -> None:
    log.info("order %s is being mailed to %s", order, email)
    await trio.sleep(MAIL_SECONDS)  # here a real shop would talk to a mail server
    await db.value.execute("UPDATE orders SET sent = CURRENT_TIMESTAMP WHERE id = ?", order)
    log.info("order %s is sent", order)


# The shop -----------------------------------------------------------------------------------------

shop = named(
    "shop",
    chain(
        named("db", db),
        parallel(
            named("http", asgi_server(app, bind=BIND, drain=REPORT_SECONDS + 5)),
            named("mailer", worker(mailer)),
        ),
    ),
)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    nestling.run(shop)
