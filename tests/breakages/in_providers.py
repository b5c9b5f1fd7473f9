"""Breakages of what runs below its dependents: leaves and the like, and what is foreign."""

from __future__ import annotations

from tests.breakages.breakage import Breakage

PROVIDER = "_kernel/_provider.py"
RELAY = "_kernel/_relay.py"
FOREIGN = "_kernel/_foreign.py"
RESOURCE = "_kernel/_resource.py"
VALUED = "_kernel/_valued.py"

BREAKAGES = [
    Breakage(
        name="the shield of a provider is never raised",
        file=PROVIDER,
        old="            self._scope.shield = True\n",
        new="",
        noticed_by=("kernel/test_service.py",),
    ),
    Breakage(
        name="a leaf is not shielded from the start",
        file=PROVIDER,
        old="trio.CancelScope(shield=ready)",
        new="trio.CancelScope()",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="the shield of a provider is never dropped",
        file=PROVIDER,
        old="                    self._scope.shield = False\n",
        new="",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="the failure of a provider does not cancel its callback",
        file=PROVIDER,
        old='            self.cancel_callback(f"has failed: {summary(self._failure)}")\n',
        new="            pass\n",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="the failure of a provider is not the cause of what follows from it",
        file=PROVIDER,
        old="self._failed_first or not self._stopping",
        new="self._failed_first or self._stopping",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="the error of the stop function comes out before that of the callback",
        file=PROVIDER,
        old=('("the callback", callback),\n                    ("the stop function", stop),'),
        new=('("the stop function", stop),\n                    ("the callback", callback),'),
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="the error of the stop function is dropped",
        file=PROVIDER,
        old='                    ("the stop function", stop),\n',
        new="",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="the errors that a provider hides leave no notes",
        file=PROVIDER,
        old="                note_suppressed(error, others)\n",
        new="",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="the errors that a provider hides never reach observers",
        file=PROVIDER,
        old="                suppress(other for _, other in others)\n",
        new="",
        noticed_by=("kernel/test_node.py",),
    ),
    Breakage(
        name="the callback is entered although the start was cancelled",
        file=PROVIDER,
        old=(
            "                await trio.lowlevel.checkpoint_if_cancelled()\n"
            "            if self._ready and"
        ),
        new="            if self._ready and",
        noticed_by=("kernel/test_noticed.py",),
    ),
    Breakage(
        name="the callback is entered although its provider has ended",
        file=PROVIDER,
        old="if self._ready and not (self._settled is not None and self._ended_by_itself):",
        new="if self._ready:",
        noticed_by=("kernel/test_service.py", "kernel/test_worker.py"),
    ),
    Breakage(
        name="a provider that has ended by itself is stopped all the same",
        file=PROVIDER,
        old="if self._stop is not None and not self._ended_by_itself:",
        new="if self._stop is not None:",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="a finite job that is done is not stopped",
        file=PROVIDER,
        old='self._on_return != "stay" if self._failure is None else is_error(self._failure)',
        new="self._failure is None or is_error(self._failure)",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="on_return is ignored where it says that a return is a failure",
        file=PROVIDER,
        old=('        if self._on_return == "fail":\n            self._failure = Unexpected'),
        new=(
            '        if self._on_return == "fail" and self._stopping:\n'
            "            self._failure = Unexpected"
        ),
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="on_return is ignored where it says that a finite job stays running",
        file=PROVIDER,
        old=('        if self._on_return != "stay":\n            self.cancel_callback(reason)'),
        new="        self.cancel_callback(reason)",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="a stop function that fails leaves what it should stop running",
        file=PROVIDER,
        old="                self._scope.cancel(problem)\n",
        new="",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="an interrupt of the callback stops a provider gracefully",
        file=PROVIDER,
        old="forced = type(callback).__name__ if forces(callback) else None",
        new="forced = None",
        noticed_by=("kernel/test_interrupts.py",),
    ),
    Breakage(
        name="the stop function of an interrupted provider runs uncancelled",
        file=PROVIDER,
        old="                scope.cancel(reason)\n",
        new="",
        noticed_by=("kernel/test_interrupts.py",),
    ),
    Breakage(
        name="a provider keeps its failure in a reference cycle",
        file=PROVIDER,
        old=("            del callback, stop, interrupt\n            self._failure = None\n"),
        new="            del callback, stop, interrupt\n",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="a provider may end before it is running",
        file=PROVIDER,
        old="if not self._ready and not self._may_end_early:",
        new="if not self._ready and self._may_end_early:",
        noticed_by=("kernel/test_service.py",),
    ),
    Breakage(
        name="a provider is asked to stop before it has begun",
        file=PROVIDER,
        old="        while not self._begun:\n",
        new="        if self._begun:\n",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="a provider that is cancelled before it is run is started",
        file=PROVIDER,
        old=(
            "        await trio.lowlevel.checkpoint_if_cancelled()\n"
            "        self._node = current_node()"
        ),
        new="        self._node = current_node()",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="the cancellation of a callback ends at its provider",
        file=PROVIDER,
        old=("            if callback is not None:\n                raise_again(callback)\n"),
        new="",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="a provider that is stopped is not told why",
        file=PROVIDER,
        old='self._scope.cancel(f"{self._where} is stopped")',
        new="self._scope.cancel()",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="ctrl-c may strike between the start of a provider and its stop",
        file="_kernel/_runnable.py",
        old="    @protected\n",
        new="",
        noticed_by=("kernel/test_laws.py",),
    ),
    Breakage(
        name="the foreground is protected from ctrl-c",
        file="_kernel/_leaf.py",
        old="            partial(interruptible, self._run),\n",
        new="            self._run,\n",
        noticed_by=("kernel/test_interrupts.py",),
    ),
    Breakage(
        name="ctrl-c while a provider ends comes out as a group",
        file=PROVIDER,
        old="interrupt = error_among(group)",
        new="interrupt = group",
        noticed_by=("kernel/test_interrupts.py",),
    ),
    Breakage(
        name="the shield of a foreign runnable is never raised",
        file=RELAY,
        old="        self.scope.shield = True\n",
        new="",
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="the shield of a foreign runnable is never dropped",
        file=RELAY,
        old="        self.scope.shield = False\n",
        new="",
        noticed_by=("kernel/test_resource.py",),
    ),
    Breakage(
        name="a cancellation loses its reason where it is relayed",
        file=RELAY,
        old="self.cancelled(exception.reason or str(exception))",
        new='self.cancelled(f"{self.title} was cancelled")',
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="a relay swallows the cancellation that it has relayed",
        file=RELAY,
        old=(
            "            if self.callback_cancelled:\n"
            "                await trio.lowlevel.checkpoint_if_cancelled()\n"
        ),
        new="",
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="a foreign runnable does not see that its callback was cancelled",
        file=RELAY,
        old="if self._callback_scope.cancelled_caught and not self.stops_gracefully:",
        new="if self._callback_scope.cancelled_caught and self.stops_gracefully:",
        noticed_by=("kernel/test_runnable.py", "kernel/test_resource.py"),
    ),
    Breakage(
        name="a dependent is started although a foreign start-up was cancelled",
        file=RELAY,
        old=("        await self._checkpoint_if_cancelled()\n        self.entered()"),
        new="        self.entered()",
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="a cancellation hides the error of a callback",
        file=RELAY,
        old="return error if hidden or forces(error) else None",
        new="return error if forces(error) else None",
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="a provider may handle an interrupt of its callback",
        file=RELAY,
        old="return error if hidden or forces(error) else None",
        new="return error if hidden else None",
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="an interrupt of the callback stops a foreign runnable gracefully",
        file=RELAY,
        old="        if forces(exception):\n",
        new="        if isinstance(exception, SystemExit):\n",
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="a relay keeps the error of the callback in a reference cycle",
        file=RELAY,
        old="error = self.callback_error = None",
        new="error = None",
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="a runnable may call back a second time",
        file=FOREIGN,
        old='if self.state != "waiting":',
        new='if self.state == "entered":',
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="a runnable may call back after its run has ended",
        file=FOREIGN,
        old="            self.ended = True\n",
        new="            pass\n",
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="a runnable may return while its callback runs",
        file=FOREIGN,
        old=('        if self.state == "entered":\n            raise InvalidStateError'),
        new=('        if self.state == "ended":\n            raise InvalidStateError'),
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="a runnable may return without having called back",
        file=FOREIGN,
        old='if self.state == "waiting":',
        new='if self.state == "waiting" and not self.ended:',
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="a runnable that was cancelled is blamed for not calling back",
        file=FOREIGN,
        old=("            await trio.lowlevel.checkpoint_if_cancelled()\n            raise Exited"),
        new="            raise Exited",
        noticed_by=("kernel/test_runnable.py",),
    ),
    Breakage(
        name="a resource may run twice at the same time",
        file=VALUED,
        old="        self._runs = True\n",
        new="",
        noticed_by=("kernel/test_resource.py",),
    ),
    Breakage(
        name="the value of a resource is kept after the run",
        file=RESOURCE,
        old="                self.forget()\n",
        new="                pass\n",
        noticed_by=("kernel/test_resource.py",),
    ),
    Breakage(
        name="the value of a replacement is kept after the run",
        file=VALUED,
        old="                self._lender = None\n",
        new="                pass\n",
        noticed_by=("testing/test_override.py",),
    ),
    Breakage(
        name="an error of leaving a resource hides that of the callback",
        file=RESOURCE,
        old='return [("the callback", error), (self.title, raised)]',
        new='return [(self.title, raised), ("the callback", error)]',
        noticed_by=("kernel/test_resource.py",),
    ),
    Breakage(
        name="a context manager cannot translate an error",
        file=RESOURCE,
        old="raised is None or error is None or has_cause(raised, error)",
        new="raised is None or error is None",
        noticed_by=("kernel/test_resource.py",),
    ),
]
