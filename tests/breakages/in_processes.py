"""Breakages of processes and of deadlines."""

from __future__ import annotations

from tests.breakages.breakage import Breakage

STATES = "_kernel/_states.py"
PROCESS = "_kernel/_process.py"
DEADLOCK = "_kernel/_deadlock.py"
RUNNING = "_kernel/_running.py"
TIMEOUTS = "_kernel/_timeouts.py"

BREAKAGES = [
    Breakage(
        name="a process that is stopped may be started again",
        file=STATES,
        old='    (State.STARTING, "ended"): Step(State.STOPPED),\n',
        new=(
            '    (State.STARTING, "ended"): Step(State.STOPPED),\n'
            '    (State.STOPPED, "start"): Step(State.STARTING, "spawn"),\n'
        ),
        noticed_by=("kernel/test_process.py",),
    ),
    Breakage(
        name="a stop during the start-up waits for it to be running",
        file=STATES,
        old='Step(State.STARTING, "cancel")',
        new='Step(State.STARTING, "return from callback")',
        noticed_by=("kernel/test_process.py",),
    ),
    Breakage(
        name="a call that gives up does not wait for the end of the process",
        file=PROCESS,
        old="            while raised and not self._ended.is_set():\n",
        new="            while raised and False:\n",
        noticed_by=("kernel/test_process.py",),
    ),
    Breakage(
        name="a stop that is cancelled does not force",
        file=PROCESS,
        old="        self._scope.cancel(reason)\n",
        new="",
        noticed_by=("kernel/test_process.py",),
    ),
    Breakage(
        name="the error of a process is hidden by the cancellation of a call",
        file=PROCESS,
        old='settle([("the process", self._error), *',
        new='settle([("the process", None if raised else self._error), *',
        noticed_by=("kernel/test_process.py",),
    ),
    Breakage(
        name="a process swallows an interrupt",
        file=PROCESS,
        old="            if self._error is None or forces(exception):\n",
        new="            if self._error is None:\n",
        noticed_by=("kernel/test_process.py",),
    ),
    Breakage(
        name="a process that fails crashes its nursery",
        file=PROCESS,
        old=("            if self._error is None or forces(exception):\n                raise\n"),
        new="            raise\n",
        noticed_by=("kernel/test_process.py",),
    ),
    Breakage(
        name="a cancellation is left in the error of a process",
        file=PROCESS,
        old="            self._error = without_cancelled(exception)\n",
        new="            self._error = exception\n",
        noticed_by=("kernel/test_process.py",),
    ),
    Breakage(
        name="a process calls back although it was stopped",
        file=PROCESS,
        old=('        if not self._stopping:\n            self._step("called back"'),
        new=('        if not self._ran:\n            self._step("called back"'),
        noticed_by=("kernel/test_process.py",),
    ),
    Breakage(
        name="the process around a body is not shielded",
        file=RUNNING,
        old="        self._scope.shield = True\n",
        new="",
        noticed_by=("kernel/test_noticed.py",),
    ),
    Breakage(
        name="the process around a body stays shielded when it is left",
        file=RUNNING,
        old="        self._scope.shield = False\n",
        new="",
        noticed_by=("kernel/test_running.py",),
    ),
    Breakage(
        name="a body goes on although what runs around it has ended",
        file=RUNNING,
        old=('                self.body.cancel(f"{self._name!r} has ended")\n                with'),
        new="                with",
        noticed_by=("kernel/test_running.py",),
    ),
    Breakage(
        name="a body that stops what runs around it is cancelled",
        file=RUNNING,
        old="if not self._left and not self._body_goes_on:",
        new="if not self._left:",
        noticed_by=("kernel/test_running.py",),
    ),
    Breakage(
        name="what runs around a body does not see its error",
        file=RUNNING,
        old="self._body_error = raised if is_error(raised) else None",
        new="self._body_error = None",
        noticed_by=("kernel/test_running.py",),
    ),
    Breakage(
        name="a forced stop around a body looks like a plain one",
        file=RUNNING,
        old="        await trio.lowlevel.checkpoint_if_cancelled()\n",
        new="",
        noticed_by=("kernel/test_running.py",),
    ),
    Breakage(
        name="what runs around a body stops before the body has ended",
        file=RUNNING,
        old=(
            "                with trio.CancelScope(shield=True):\n"
            "                    await self._asked.wait()\n"
        ),
        new="",
        noticed_by=("kernel/test_running.py",),
    ),
    Breakage(
        name="there is no deadline for the start",
        file=TIMEOUTS,
        old="self.scope.deadline = trio.current_time() + self.bounds.start",
        new="self.scope.deadline = math.inf",
        noticed_by=("kernel/test_timeouts.py",),
    ),
    Breakage(
        name="the deadline for the start holds while it runs",
        file=TIMEOUTS,
        old=('        self.phase = "running"\n        self.scope.deadline = math.inf\n'),
        new='        self.phase = "running"\n',
        noticed_by=("kernel/test_timeouts.py",),
    ),
    Breakage(
        name="there is no deadline for the stop",
        file=TIMEOUTS,
        old=("            self.scope.deadline = self.over + self._allowed\n\n"),
        new="\n",
        noticed_by=("kernel/test_timeouts.py",),
    ),
    Breakage(
        name="a grace is not limited",
        file=TIMEOUTS,
        old="        self._allowed = min(self._allowed, self.bounds.grace)\n",
        new="",
        noticed_by=("kernel/test_timeouts.py",),
    ),
    Breakage(
        name="a grace counts from the cancellation and not from the end of the callback",
        file=TIMEOUTS,
        old=("        self.scope.deadline = self.over + self._allowed\n        # A"),
        new=("        self.scope.deadline = trio.current_time() + self._allowed\n        # A"),
        noticed_by=("kernel/test_timeouts.py",),
    ),
    Breakage(
        name="a grace outlasts the deadlines around it",
        file=TIMEOUTS,
        old="        if earliest <= self.scope.deadline:\n",
        new="        if earliest < self.over:\n",
        noticed_by=("kernel/test_timeouts.py",),
    ),
    Breakage(
        name="nobody is said to be stuck",
        file=TIMEOUTS,
        old="        stuck = self._stuck or ()\n",
        new="        stuck = ()\n",
        noticed_by=("kernel/test_timeouts.py",),
    ),
    Breakage(
        name="those are said to be stuck that were when all had ended",
        file=TIMEOUTS,
        old="        if self._stuck is None and trio",
        new="        if trio",
        noticed_by=("kernel/test_timeouts.py",),
    ),
    Breakage(
        name="a deadline that has passed hides the error of the callback",
        file=TIMEOUTS,
        old="            return [what_runs, timeout]\n",
        new="            return [timeout, what_runs]\n",
        noticed_by=("kernel/test_timeouts.py",),
    ),
    Breakage(
        name="dependents are watched for who is stuck",
        file=TIMEOUTS,
        old="        token = enter_node(self._parent)\n",
        new="        token = enter_node(current_node())\n",
        noticed_by=("kernel/test_node.py",),
    ),
    Breakage(
        name="a circle of more than two processes that stop each other is not found",
        file=DEADLOCK,
        old="                    todo.append(awaited)\n",
        new="",
        noticed_by=("kernel/test_deadlock.py",),
    ),
    Breakage(
        name="a wait that is over still counts for the search for circles",
        file=DEADLOCK,
        old="                self._awaited[process].remove(awaited)\n",
        new="",
        noticed_by=("kernel/test_deadlock.py",),
    ),
]
