"""Every combinator, every pair of nested combinators, and the example, certified."""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from pathlib import Path
from typing import cast

import attrs

from nestling import (
    Runnable,
    chain,
    deferred,
    named,
    nop,
    parallel,
    sequential,
    timeouts,
)
from nestling.supervise import RestartPolicy, Supervisor, child, graph, node, restart
from nestling.testing import Certificate, Probe, certify
from nestling.testing._probe import KINDS, Kind
from tests.reliability.growing import Make, bound, launching, repeated, working

OFTEN = RestartPolicy(limit=inf)

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "shop.py"

_numbers = itertools.count(1)


def probe(kind: Kind = "worker") -> Probe:
    """Make a probe that takes its time wherever its kind can, with a name of its own."""
    name = f"{kind.replace(' ', '_')}{next(_numbers)}"
    start = 0 if kind in {"leaf", "polite leaf"} else 1
    return Probe(name, kind=kind, start=start, stop=0 if kind in {"leaf", "service"} else 1)


PRIMITIVES: dict[str, Make] = {
    **{kind: partial(probe, kind) for kind in KINDS},
    "nop": nop,
    "every": repeated,
    "closing": bound,
}

COMBINATORS: dict[str, Callable[[Make], Runnable]] = {
    "chain": lambda inner: chain(probe(), inner(), inner()),
    "parallel": lambda inner: parallel(probe("leaf"), inner(), inner()),
    "sequential": lambda inner: sequential(probe("start_stop"), inner(), inner()),
    "reverse": lambda inner: sequential(probe("leaf"), inner(), inner(), stop_order="reverse"),
    "named": lambda inner: named("named", inner()),
    "timeouts": lambda inner: timeouts(inner(), start=100, stop=100),
    "grace": lambda inner: timeouts(inner(), grace=100),
    "deferred": deferred,
    "restart": lambda inner: restart(inner(), OFTEN),
    "graph": lambda inner: graph(
        node("outer", inner(), restart=OFTEN), node("inner", probe(), requires=["outer"])
    ),
    "supervisor": lambda inner: Supervisor(
        child("first", inner()), child("second", probe("leaf")), strategy="one_for_all", limit=inf
    ),
    "controller": launching,
    "jobs": working,
}


def compositions() -> Iterator[tuple[str, Make]]:
    """Yield every primitive, every combinator of each, and every pair of nested combinators."""
    yield from PRIMITIVES.items()
    for name, combine in COMBINATORS.items():
        for kind, make in PRIMITIVES.items():
            yield f"{name} of {kind}", partial(combine, make)
    for (outer, combine), (name, inside) in itertools.product(COMBINATORS.items(), repeat=2):
        yield f"{outer} of {name}", partial(combine, partial(inside, probe))


def example() -> Make:
    """Return what makes the shop of the documentation, on a free port and a new database."""
    folder = Path(tempfile.mkdtemp(prefix="nestling-"))
    os.environ.update(SHOP_DATABASE=str(folder / "shop.db"), SHOP_BIND="127.0.0.1:0")
    spec = importlib.util.spec_from_file_location("shop", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop"] = module
    spec.loader.exec_module(module)
    return lambda: cast("Runnable", module.shop)


@attrs.frozen
class Certified:
    """What was certified, and the certificate."""

    name: str
    certificate: Certificate


def certify_all(limit: int | None) -> Iterator[Certified]:
    """Certify all compositions, each with so many pairs of faults at the most."""
    for name, make in compositions():
        yield Certified(name, certified(make, limit))


def certified(make: Make, pairs: int | None) -> Certificate:
    """Try all single faults, and then so many pairs at the most."""
    alone = certify(make, pairs=False)
    if not alone.is_safe or pairs == 0:
        return alone
    return certify(make, limit=None if pairs is None else alone.points + pairs)
