"""``on_error``: who takes the errors of jobs, so that they end nothing.

==================================  ================================
a job raises                        what is done
==================================  ================================
an error                            it is handed over
nothing but a cancellation          nothing
an error beside a cancellation      the error is handed over
an interrupt, alone or in a group   nothing: it forces (law 4)
==================================  ================================

A function that takes errors may be async. Where it raises, that is an error like one of the job
without it: it ends the runnable, with a note of what was handed over.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from nestling._kernel._checks import describe_value
from nestling._kernel._functions import check_arity, is_generator_function
from nestling._kernel._kept import kept
from nestling._kernel._outcome import is_error, note_suppressed

OnError = Callable[[Exception], object]


def check_on_error(value: object, argument: str) -> None:
    """Refuse what cannot be called with an error."""
    if value is None:
        return
    if not callable(value) or is_generator_function(value):
        raise TypeError(f"{argument} must be a function of an error, not {describe_value(value)}")
    check_arity(value, argument, 1)


async def hand_over(on_error: OnError, error: Exception, job: str) -> None:
    """Call ``on_error(error)``, and await what it returns if that can be awaited."""
    kept(error)
    try:
        made = on_error(error)
        if inspect.isawaitable(made):
            await made
    except BaseException as exception:
        if is_error(exception) and exception is not error:
            note_suppressed(exception, [(job, error)])
        raise
    finally:
        # Whoever keeps an error keeps this frame: let it not keep the error in turn.
        del error
        made = None
