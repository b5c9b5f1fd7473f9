"""Drives a pure decision without trio: does what it says, at once, and writes down what it did."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from nestling.supervise._happenings import (
    Action,
    Ask,
    Began,
    CallBack,
    CancelCallback,
    Due,
    Ended,
    Finish,
    Force,
    Forget,
    Happening,
    Keep,
    Ran,
    Reply,
    Restart,
    Start,
    StopAsked,
    StopWaiting,
)

Decide = Callable[[Happening, float], list[Action]]


class Driver:
    """A world in which what is started runs at once, and what is asked to stop ends at once.

    Attributes:
        trace: what was done, in order.
        live: what runs, or starts, or stops.
        outcomes: for a name, what comes of its next starts; where there is nothing, it runs.
        stop_errors: for a name, what it fails with when it is stopped.
    """

    def __init__(self, decide: Decide) -> None:
        self.decide = decide
        self.now = 0.0
        self.trace: list[str] = []
        self.live: set[str] = set()
        self.waiting: dict[str, float] = {}
        self.outcomes: dict[str, list[Ended]] = {}
        self.stop_errors: dict[str, BaseException] = {}
        self.replies: list[tuple[object, BaseException | None]] = []
        self.entered = self.cancelled = self.finished = False
        self._happened = deque[Happening]()

    def tell(self, *happenings: Happening) -> None:
        """Let something happen, and all that comes of it."""
        self._happened.extend(happenings)
        while self._happened:
            for action in self.decide(self._happened.popleft(), self.now):
                self.do(action)

    def begin(self) -> None:
        self.tell(Began())

    def stop(self) -> None:
        """The callback is over."""
        self.tell(StopAsked())

    def pass_time(self) -> None:
        """Let the next delay be over."""
        name = min(self.waiting, key=lambda each: self.waiting[each])
        self.now = max(self.now, self.waiting.pop(name))
        self.tell(Due(name))

    def end(self, name: str, error: BaseException | None = None) -> None:
        """Let something end by itself."""
        self.live.discard(name)
        self.trace.append(f"{name} ends")
        self.tell(Ended(name, error))

    def do(self, action: Action) -> None:  # noqa: C901  # a table
        """Do what was decided."""
        match action:
            case Start(name):
                assert name not in self.live, f"{name} would run twice"
                assert not self.finished
                self.trace.append(f"start {name}")
                planned = self.outcomes.get(name, [])
                if planned:
                    self._happened.append(planned.pop(0))
                else:
                    self.live.add(name)
                    self._happened.append(Ran(name))
            case Ask(name) | Force(name):
                assert name in self.live, f"{name} does not run"
                self.trace.append(f"{type(action).__name__.lower()} {name}")
                self.live.discard(name)
                self._happened.append(Ended(name, self.stop_errors.get(name)))
            case Restart(name):
                self.trace.append(f"wait {name}")
                self.waiting[name] = self.now + action.delay
            case StopWaiting(name):
                self.trace.append(f"forget {name}")
                del self.waiting[name]
            case CallBack():
                self.entered = True
                self.trace.append("call back")
            case CancelCallback():
                self.cancelled = True
                self.trace.append("cancel")
            case Finish():
                assert not self.live
                self.finished = True
                self.trace.append("finish")
            case Reply():
                self.replies.append((action.to, action.error))
            case Forget() | Keep():
                pass
