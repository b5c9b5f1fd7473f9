"""Where KeyboardInterrupt may strike.

The kernel's own steps are protected: an interrupt between "it has started" and "it will be
stopped" would break the order. Code that is not the kernel's is called through `interruptible`, so
that an endless loop in it can still be interrupted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from nestling._kernel._functions import call

if TYPE_CHECKING:
    from typing_extensions import TypeVarTuple, Unpack

    Arguments = TypeVarTuple("Arguments")

protected = trio.lowlevel.enable_ki_protection


@trio.lowlevel.disable_ki_protection
async def interruptible(
    function: Callable[[Unpack[Arguments]], Awaitable[object]], *args: Unpack[Arguments]
) -> None:
    """Await ``function(*args)``, open to KeyboardInterrupt."""
    await call(function, *args)
