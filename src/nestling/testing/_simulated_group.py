"""`parallel` and `sequential` in the reference model, see `_simulation`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import attrs

from nestling.testing._simulation import (
    MakePart,
    Outcome,
    Over,
    Part,
    Rest,
    Simulation,
    first_of,
    is_interrupt,
)


@attrs.define
class MemberRest:
    """What a member of a group runs around: it waits until the group tells it."""

    group: GroupPart
    over: Over | None = None
    told: bool = False
    cancelled: bool = False

    def enter(self, over: Over) -> None:
        self.over = over
        self.group.member_runs()

    def cancel(self, *, final: bool = False) -> None:
        del final
        self.cancelled = True
        if self.group.state == "stopping":
            self.tell()
        else:
            self.group.member_ends()

    def tell(self) -> None:
        """Let it be over."""
        if self.over is not None and not self.told:
            self.told = True
            self.over(Outcome(cancelled=self.cancelled))


@attrs.define(eq=False)
class Member:
    """One member of a group."""

    rest: MemberRest
    part: Part | None = None
    outcome: Outcome | None = None

    @property
    def gone(self) -> bool:
        """Whether there is nothing of it left, or never was."""
        return self.outcome is not None or self.part is None


Order = Literal["together", "forward", "reverse"]
"""How the members of a group stop."""


class GroupPart:
    """The members of a `parallel` or a `sequential`, above their common rest."""

    def __init__(
        self,
        order: Order,
        makes: Sequence[MakePart],
        simulation: Simulation,
        rest: Rest,
        done: Over,
    ) -> None:
        self.simulation = simulation
        self.makes = makes
        self.rest = rest
        self.done = done
        self.order = order
        self.state: Literal["starting", "running", "stopping", "gone"] = "starting"
        self.pending = False
        self.forcing = False
        self.final = False
        self.callback = Outcome()
        self.members = [Member(MemberRest(self)) for _ in makes]
        self.entered = 0
        self.running = 0

    def enter(self) -> None:
        for _ in self.members if self.order == "together" else self.members[:1]:
            self._enter_next()

    def _enter_next(self) -> None:
        number = self.entered
        member = self.members[number]
        self.entered += 1
        member.part = self.makes[number](
            self.simulation, member.rest, partial(self._member_done, member)
        )
        member.part.enter()

    def member_runs(self) -> None:
        """A member has entered its rest."""
        self.running += 1
        if self.running == len(self.members):
            self.state = "running"
            self.rest.enter(self._over)
        elif self.order != "together" and self.state == "starting":
            self._enter_next()

    def member_ends(self) -> None:
        """A member wants its rest to end: so the rest of all has to end first."""
        if self.state == "starting":
            self._stop()
        elif self.state == "running":
            self.rest.cancel()

    def _member_done(self, member: Member, outcome: Outcome) -> None:
        member.outcome = outcome
        if self.state == "stopping":
            if outcome.forces:
                self._force()
            elif not self.forcing:
                self._tell_next()
        else:
            self.member_ends()

    def _over(self, outcome: Outcome) -> None:
        self.callback = outcome
        self._stop()

    def cancel(self, *, final: bool = False) -> None:
        self.pending = True
        self.final = self.final or final
        if self.state == "running":
            self.rest.cancel(final=final)
        elif self.state == "starting":
            self._stop()
        else:
            self._force()

    def _stop(self) -> None:
        starting = self.state == "starting"
        self.state = "stopping"
        interrupted = any(member.outcome and member.outcome.forces for member in self.members)
        if self.pending or self.callback.forces or interrupted:
            self._force()
            return
        if starting:
            for member in self.members:
                if not member.gone and member.rest.over is None:
                    assert member.part is not None
                    member.part.cancel()
        for member in self.members:
            if member.rest.cancelled:
                member.rest.tell()  # what ends there waits for nothing but the dependents
        self._tell_next()

    def _force(self) -> None:
        # All at once: none of them stops gracefully because another one is gone at once.
        self.forcing = True
        for member in self.members:
            if not member.gone:
                assert member.part is not None
                member.part.cancel(final=self.final)
        self.forcing = False
        self._tell_next()

    def _tell_next(self) -> None:
        """Stop those whose turn it is."""
        for member in self.members if self.order != "reverse" else reversed(self.members):
            if not member.gone:
                member.rest.tell()
                if self.order != "together" and not member.gone:
                    return
        if self.state == "stopping" and all(member.gone for member in self.members):
            self.state = "gone"
            self._finish()

    def _finish(self) -> None:
        outcomes = [member.outcome for member in self.members if member.outcome]
        errors = tuple(outcome.error for outcome in outcomes if outcome.error is not None)
        interrupt = next(filter(is_interrupt, errors), None)
        together = interrupt or errors or None
        self.done(Outcome(first_of(self.callback.error, together), self.pending))
