"""What `certify` gives: how many points are safe, and the smallest one that is not."""

from __future__ import annotations

import textwrap

import attrs

from nestling.testing._faults import Fault, Point


class UnsafeError(AssertionError):
    """A composition is not safe: its message is the certificate."""


@attrs.frozen
class Failure:
    """One point at which a composition is not safe.

    Attributes:
        faults: what was put into the run; none where it fails by itself.
        point: where the last of them struck; where all tasks were struck at once, without a task.
        problems: what contradicts the laws or the invariants then.
        stack: that of the task before the last fault; or those of all that were struck, or that
            hung.
    """

    faults: tuple[Fault, ...]
    point: Point | None
    problems: tuple[str, ...]
    stack: str

    def __str__(self) -> str:
        what = ", then ".join(map(str, self.faults)) or "no fault at all"
        lines = [what]
        if self.point is not None and self.point.task:
            node = f" in {self.point.path!r}" if self.point.path else ""
            lines[0] += f", in task {self.point.task!r}{node}"
        lines += [f"  {problem}" for problem in self.problems]
        if self.stack:
            lines += ["  at", textwrap.indent(self.stack.rstrip(), "  ")]
        return "\n".join(lines)


@attrs.frozen
class Certificate:
    """How a composition has stood up to faults; made by `certify`.

    Attributes:
        points: how many faults, and pairs of faults, it was tried with.
        failures: those after which a law or an invariant did not hold, the smallest first.
        left_out: how many there are beyond the limit.
        seed: of the schedule.
    """

    points: int
    failures: tuple[Failure, ...] = ()
    left_out: int = 0
    seed: int = 0

    @property
    def is_safe(self) -> bool:
        """Whether there is no failure."""
        return not self.failures

    def check(self) -> None:
        """Do nothing if the composition is safe.

        Raises:
            UnsafeError: it is not; the message tells where.
        """
        __tracebackhide__ = True
        if self.failures:
            raise UnsafeError(str(self))

    def __str__(self) -> str:
        text = f"{self.points - len(self.failures)}/{self.points} points safe"
        if self.left_out:
            text += f" ({self.left_out} more were left out by the limit)"
        if not self.failures:
            return text
        return f"{text}; the smallest that is not (schedule {self.seed}):\n{self.failures[0]}"
