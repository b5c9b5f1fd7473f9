"""Three services of which none is of use without the others: when one ends, all end.

Run it::

    python docs/examples/all_or_none.py

A weather station measures, shows, and archives. Its battery lasts for three measurements. With that
the sensor ends, by itself and without an error; the display and the archive are asked to stop, and
the archive writes what it still holds. Nobody asks the sensor, which is no longer there.

Each service has its own limit for the stop, shorter than that of the station, so that an error
names the one that was slow. Give the archive more to write than its limit allows, and see::

    python docs/examples/all_or_none.py 60
"""

import math
import sys

import trio

import nestling
from nestling import Runnable, leaf, named, parallel, timeouts

MEASUREMENTS = 3
SERVICE_LIMIT = 2  # seconds that each service may take to stop,
STATION_LIMIT = 3  # and all of them together


class Sensor:
    """Measures until its battery is empty."""

    def __init__(self, battery: float) -> None:
        self.battery = battery

    async def measure(self) -> None:
        while self.battery > 0:
            await trio.sleep(0.1)
            self.battery -= 1
            print("sensor: measured")
        print("sensor: the battery is empty")

    async def switch_off(self) -> None:
        print("sensor: switched off")
        self.battery = 0


class Display:
    """Shows, until it is turned dark."""

    def __init__(self) -> None:
        self.dark = trio.Event()

    async def show(self) -> None:
        await self.dark.wait()
        print("display: dark")

    async def turn_dark(self) -> None:
        print("display: asked to stop")
        self.dark.set()


class Archive:
    """Keeps measurements, and writes them at the end."""

    def __init__(self, seconds_to_write: float) -> None:
        self.seconds_to_write = seconds_to_write
        self.closed = trio.Event()

    async def keep(self) -> None:
        await self.closed.wait()
        await trio.sleep(self.seconds_to_write)
        print("archive: written")

    async def close(self) -> None:
        print("archive: asked to stop")
        self.closed.set()


def service(name: str, r: Runnable, limit: float) -> Runnable:
    return named(name, timeouts(r, stop=limit))


def make_station(
    battery: float = math.inf,
    seconds_to_write: float = 0,
    service_limit: float = SERVICE_LIMIT,
    station_limit: float = STATION_LIMIT,
) -> Runnable:
    sensor, display, archive = Sensor(battery), Display(), Archive(seconds_to_write)
    services = parallel(
        service("sensor", leaf(sensor.measure, sensor.switch_off), service_limit),
        service("display", leaf(display.show, display.turn_dark), service_limit),
        service("archive", leaf(archive.keep, archive.close), service_limit),
    )
    return service("station", services, station_limit)


if __name__ == "__main__":
    to_write = float(sys.argv[1]) if len(sys.argv) > 1 else 0
    nestling.run(make_station(MEASUREMENTS, to_write))
