"""Ring 2: tests of start-up and shutdown order, and proofs that it holds whatever happens.

`Probe` and `record` are for tests of one run; `override` puts something else in the place of a
node; `schedules` repeats a test under many schedules; `certify` repeats a run with a fault at each
point where one can strike. `model` and `play` hold a composition of probes against the laws, and
``nestling.testing.strategies`` draws such compositions with Hypothesis.
"""

from nestling.testing._body import Body as Body
from nestling.testing._certificate import (
    Certificate as Certificate,
    Failure as Failure,
    UnsafeError as UnsafeError,
)
from nestling.testing._certify import certify as certify
from nestling.testing._clock import HangError as HangError, JumpingClock as JumpingClock
from nestling.testing._faults import Fault as Fault, InjectedError as InjectedError, Point as Point
from nestling.testing._model import (
    Prediction as Prediction,
    UnknownToModelError as UnknownToModelError,
    model as model,
)
from nestling.testing._override import UnknownNodeError as UnknownNodeError, override as override
from nestling.testing._play import Played as Played, play as play
from nestling.testing._probe import (
    Probe as Probe,
    ProbeError as ProbeError,
    ProbeEvent as ProbeEvent,
)
from nestling.testing._record import record as record
from nestling.testing._schedules import schedules as schedules
from nestling.testing._trace import Trace as Trace
from nestling.testing._trio_internals import UnsupportedTrioError as UnsupportedTrioError

__all__ = [
    "Body",
    "Certificate",
    "Failure",
    "Fault",
    "HangError",
    "InjectedError",
    "JumpingClock",
    "Played",
    "Point",
    "Prediction",
    "Probe",
    "ProbeError",
    "ProbeEvent",
    "Trace",
    "UnknownNodeError",
    "UnknownToModelError",
    "UnsafeError",
    "UnsupportedTrioError",
    "certify",
    "model",
    "override",
    "play",
    "record",
    "schedules",
]
