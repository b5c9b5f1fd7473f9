"""`describe`: what a composition is made of."""

from __future__ import annotations

from nestling._kernel._foreign import accept
from nestling._kernel._runnable import Description, Runnable


def describe(r: Runnable) -> Description:
    """Return the static tree of a runnable, without running it.

    What is built only when it runs, by `deferred` or inside of a foreign runnable, is not in it.

    Example::

        assert describe(named("web", chain(db, http))).children[0].kind == "resource"

    Raises:
        TypeError: ``r`` is not a runnable.
    """
    return accept(r, "r of describe()").describe()
