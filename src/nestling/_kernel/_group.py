"""What `parallel` and `sequential` share: one run of several members as one provider.

The members run in tasks below one task of the group's own, the provider (see `_provider`): while
the callback runs, one shield protects them all.

=========  ==========================  =========================================================
phase      event                       what is done
=========  ==========================  =========================================================
starting   a member runs               when it was the last, the group is ready
starting   a member fails, or ends     those that start are cancelled, those that run are stopped
running    a member fails, or ends     the callback is cancelled; when it is over, all are stopped
stopping   a member fails              its error is kept
any        a finite job ends           nothing: it stays running (``on_return="stay"``)
=========  ==========================  =========================================================
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NoReturn

import trio

from nestling._kernel._errors import ExitedBeforeRunningError, UnexpectedReturnError
from nestling._kernel._interrupts import interruptible, protected, surely
from nestling._kernel._member import Member, Plan, return_from_callback
from nestling._kernel._node import (
    Callback,
    claim,
    current_node,
)
from nestling._kernel._outcome import (
    Returned,
    forces,
    note_suppressed,
    raise_again,
    summary,
    without_cancelled,
)
from nestling._kernel._provider import Provider, where

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

MOST_NAMES = 20
"""How many of those that failed the message of a group names."""


class Group(ABC):
    """One run of a group of members. What a group does is in `start` and `stop`."""

    def __init__(self, kind: str, plans: Sequence[Plan]) -> None:
        self.kind = kind
        self.members = [Member(plan, self) for plan in plans]
        self.not_running = len(plans)
        self.settled = trio.Event()
        self.aborted = False
        self.stopping = False
        self.failed = False
        self._ending: list[Member] = []
        self._interrupted_by: str | None = None
        self._asked = trio.Event()
        self._provider = Provider(self._provide, kind, "", stop=self._ask)

    async def run(self, f: Callback) -> None:
        """Start the members, call ``f``, stop the members."""
        claim()
        await self._provider.run(f)

    @abstractmethod
    async def start(self) -> None:
        """Start the members; return when all run, or when `aborted`."""

    @abstractmethod
    def give_up(self) -> None:
        """Cancel what is still starting, and all that is stopped by nothing but cancellation."""

    async def stop(self) -> None:  # noqa: B027  # a parallel has told all of them already
        """Stop those that are left. Their tasks are waited for afterwards."""

    @protected
    async def _ask(self) -> None:
        self._asked.set()

    async def _provide(self) -> None:
        self.where = where(self.kind, "")
        self._parent = current_node()
        cancelled: BaseException | None = None
        async with trio.open_nursery() as self.nursery:
            # Members that are stopped by nothing but cancellation share the scope of this one.
            async with trio.open_nursery() as self.together:
                try:
                    await self.start()
                    if not self.aborted:
                        self._provider.ready()
                        await self._asked.wait()
                except BaseException as exception:
                    cancelled = exception
                self.stopping = True
                for member in self._ending:
                    return_from_callback(member)
                self._force_if_interrupted()
                self.give_up()
            await self.stop()
        try:
            self._raise_errors()
            if cancelled is not None:
                raise_again(cancelled)
        finally:
            cancelled = None

    def begin(self, member: Member, *, alone: bool) -> None:
        """Start a member in tasks; ``alone`` if it must be possible to cancel it alone."""
        plan = member.plan
        member.enter(self._parent)
        if plan.start is not None:
            nursery = self.together
            if alone:
                nursery = self.nursery
                member.scope = trio.CancelScope()
            member.live = 1
            nursery.start_soon(self._start_in_task, member, name=plan.label)
        elif plan.foreground is None:
            self.member_runs(member)
        else:
            nursery = self.together
            if alone or not plan.ends_by_cancellation:
                nursery = self.nursery
                member.scope = trio.CancelScope()
            member.live = 1
            nursery.start_soon(self._foreground, member, name=plan.label)
            if plan.ready:
                self.member_runs(member)

    def member_runs(self, member: Member) -> None:
        """Note that a member is running."""
        member.phase = "running"
        if member.node is not None:
            member.node.running()
        self.not_running -= 1
        if self.not_running == 0:
            self.settled.set()
        if self.stopping:
            # Its start was cancelled, and it has not noticed, or was too far to be cancelled.
            self.begin_to_stop(member)

    def begin_to_stop(self, member: Member) -> None:
        """Stop a member, without waiting for it. One that still starts is cancelled."""
        plan = member.plan
        if member.phase == "starting":
            if member.scope is not None:
                member.scope.cancel(f"{self.where} gives up its start")
        elif member.phase == "running":
            member.phase = "stopping"
            if member.node is not None:
                member.node.stopping()
            if plan.stop is not None:
                member.live += 1
                self.nursery.start_soon(self._stop_in_task, member, name=plan.label)
            elif not member.live:
                self._finish(member)
            elif plan.ask is not None:
                plan.ask(member)
            elif member.scope is not None:
                member.scope.cancel(f"{self.where} stops {plan.name or plan.label!r}")

    @protected
    async def _start_in_task(self, member: Member) -> None:
        member.enter_node()
        assert member.plan.start is not None
        try:
            if member.scope is None:
                await interruptible(member.plan.start)
            else:
                with member.scope:
                    await interruptible(member.plan.start)
        except BaseException as exception:
            member.live -= 1
            self._failed(member, exception)
        else:
            member.live -= 1
            if member.scope is not None and member.scope.cancelled_caught:
                self._finish(member)
            else:
                self.member_runs(member)

    @protected
    async def _foreground(self, member: Member) -> None:
        member.enter_node()
        assert member.plan.foreground is not None
        try:
            if member.scope is None:
                await member.plan.foreground(member)
            else:
                with member.scope:
                    await member.plan.foreground(member)
            if member.phase != "stopping":
                # Who returns because of a cancellation is not to blame for returning.
                await trio.lowlevel.checkpoint_if_cancelled()
        except BaseException as exception:
            member.live -= 1
            self._failed(member, exception)
        else:
            member.live -= 1
            self._returned(member)

    @protected
    async def _stop_in_task(self, member: Member) -> None:
        member.enter_node()
        assert member.plan.stop is not None
        try:
            if not member.returned:
                await surely(member.plan.stop)
        except BaseException as exception:
            member.stop_failure = without_cancelled(exception)
            self._note_failure(member.stop_failure)
            if member.scope is not None:
                member.scope.cancel(f"the stop function failed: {summary(exception)}")
        member.live -= 1
        self._finish(member)

    def _failed(self, member: Member, exception: BaseException) -> None:
        member.failure = without_cancelled(exception)
        if member.failure is None:
            self._ends_the_group(member, "was cancelled")
        else:
            self._note_failure(member.failure)
            self._ends_the_group(member, f"failed: {summary(member.failure)}")
        self._finish(member)

    def _note_failure(self, error: BaseException | None) -> None:
        if error is not None:
            self.failed = True
            if forces(error):
                self._interrupted_by = type(error).__name__
                self._force_if_interrupted()

    def _force_if_interrupted(self) -> None:
        """Force the stop if a member was interrupted; but not before the callback is over."""
        if self.stopping and self._interrupted_by is not None:
            self._provider.force(f"is forced to stop by {self._interrupted_by}")

    def _returned(self, member: Member) -> None:
        name = member.plan.name or member.plan.label
        member.returned = member.plan.on_return != "stay"
        if member.phase == "stopping" or (self.stopping and member.phase == "starting"):
            self._finish(member)
        elif member.phase == "starting" and member.plan.is_node:
            problem = f"{name!r} ended before it was running"
            self._failed(member, ExitedBeforeRunningError(problem))
        elif member.plan.on_return == "fail":
            problem = f"{name!r} returned before it was stopped"
            self._failed(member, UnexpectedReturnError(problem))
        elif member.plan.on_return == "stop":
            # Whether it was the first or the last to be ready is chance: it ends the group alike.
            self._provider.may_end_early()
            self._ends_the_group(member, Returned("has returned"))
            self._finish(member)

    def member_ends(self, member: Member, *, returned: bool) -> None:
        """Note that a member can no longer run, and waits for the dependents to be gone."""
        self._ending.append(member)
        self._provider.may_end_early()
        self._ends_the_group(member, Returned("is ending") if returned else "is ending")

    def _ends_the_group(self, member: Member, reason: str) -> None:
        if self.stopping:
            return
        if self.not_running:
            self.abort()
        else:
            name = member.plan.name or member.plan.label
            self._provider.cancel_callback(type(reason)(f"stops, since {name!r} {reason}"))

    def abort(self) -> None:
        """Give up the start."""
        self.aborted = True
        self.settled.set()

    def _finish(self, member: Member) -> None:
        if member.live:
            return
        member.end()
        if member.gone is not None:
            member.gone.set()

    def _raise_errors(self) -> None:
        """Raise what the members failed with: always as a group, but for an interrupt."""
        if not self.failed:
            return
        raise_all(self._take_errors(), f"of {len(self.members)} members")

    def _take_errors(self) -> list[tuple[str, BaseException]]:
        failed: list[tuple[str, BaseException]] = []
        for member in self.members:
            error = member.take_error()
            if error is not None:
                failed.append((member.plan.name or member.plan.label, error))
        return failed


def raise_all(failed: list[tuple[str, BaseException]], among: str) -> NoReturn:
    """Raise the errors of those that failed: as a group, or else the interrupt among them.

    Args:
        failed: who failed, and with what. It is emptied: it would keep what is raised.
        among: says of how many of what they are.
    """
    try:
        interrupt = next((error for _, error in failed if forces(error)), None)
        if interrupt is not None:
            note_suppressed(interrupt, [pair for pair in failed if pair[1] is not interrupt])
            raise_again(interrupt)
        names = [name for name, _ in failed]
        raise BaseExceptionGroup(_message(names, among), [error for _, error in failed])
    finally:
        failed.clear()
        interrupt = None


def _message(names: list[str], among: str) -> str:
    shown = ", ".join(map(repr, names[:MOST_NAMES]))
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{len(names)} {among} failed: {shown}{more}"
