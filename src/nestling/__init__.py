"""Compose long-running trio services as values.

A *runnable* has a method ``async def run(self, f)``: it sets itself up, calls ``f`` when it is
ready for use, and tears itself down when ``f`` has finished. The combinators here make runnables
of functions, and of other runnables; `run` runs one as a program, and `Process` and `running`
inside of another one.
"""

from nestling._kernel._chain import chain as chain
from nestling._kernel._deferred import deferred as deferred
from nestling._kernel._errors import (
    CallbackReusedError as CallbackReusedError,
    ExitedBeforeRunningError as ExitedBeforeRunningError,
    InvalidGraphError as InvalidGraphError,
    InvalidStateError as InvalidStateError,
    MissingExtraError as MissingExtraError,
    NestlingError as NestlingError,
    NotRunningError as NotRunningError,
    RestartLimitError as RestartLimitError,
    StartTimeoutError as StartTimeoutError,
    StopTimeoutError as StopTimeoutError,
    UnexpectedReturnError as UnexpectedReturnError,
)
from nestling._kernel._foreign import runnable as runnable
from nestling._kernel._leaf import leaf as leaf
from nestling._kernel._named import named as named
from nestling._kernel._node import Callback as Callback
from nestling._kernel._nop import nop as nop
from nestling._kernel._parallel import parallel as parallel
from nestling._kernel._process import Process as Process
from nestling._kernel._resource import Resource as Resource, resource as resource
from nestling._kernel._runnable import Runnable as Runnable
from nestling._kernel._running import running as running
from nestling._kernel._sequential import sequential as sequential
from nestling._kernel._service import Service as Service, service as service
from nestling._kernel._start_stop import start_stop as start_stop
from nestling._kernel._states import State as State
from nestling._kernel._timeouts import timeouts as timeouts
from nestling._kernel._worker import WorkerHandle as WorkerHandle, worker as worker
from nestling.app import (
    Aborter as Aborter,
    abort as abort,
    run as run,
    run_until_signal as run_until_signal,
)

__all__ = [
    "Aborter",
    "Callback",
    "CallbackReusedError",
    "ExitedBeforeRunningError",
    "InvalidGraphError",
    "InvalidStateError",
    "MissingExtraError",
    "NestlingError",
    "NotRunningError",
    "Process",
    "Resource",
    "RestartLimitError",
    "Runnable",
    "Service",
    "StartTimeoutError",
    "State",
    "StopTimeoutError",
    "UnexpectedReturnError",
    "WorkerHandle",
    "abort",
    "chain",
    "deferred",
    "leaf",
    "named",
    "nop",
    "parallel",
    "resource",
    "run",
    "run_until_signal",
    "runnable",
    "running",
    "sequential",
    "service",
    "start_stop",
    "timeouts",
    "worker",
]
