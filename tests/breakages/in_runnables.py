"""Breakages of the runnables that are made of functions, and of their names and functions."""

from __future__ import annotations

from tests.breakages.breakage import Breakage

START_STOP = "_kernel/_start_stop.py"
SERVICE = "_kernel/_service.py"
WORKER = "_kernel/_worker.py"

BREAKAGES = [
    Breakage(
        name="a callback is entered although the start function was cancelled",
        file=START_STOP,
        old=(
            "            await trio.lowlevel.checkpoint_if_cancelled()\n"
            "            await called_back(f)\n"
        ),
        new="            await called_back(f)\n",
        noticed_by=("kernel/test_start_stop.py",),
    ),
    Breakage(
        name="an interrupt of the callback does not force the stop function",
        file=START_STOP,
        old="        if forces(callback):\n",
        new="        if isinstance(callback, SystemExit):\n",
        noticed_by=("kernel/test_interrupts.py",),
    ),
    Breakage(
        name="the stop function is not awaited after a callback that failed",
        file=START_STOP,
        old="                await surely(self._stop)\n",
        new="                callback is None and await surely(self._stop)\n",
        noticed_by=("kernel/test_start_stop.py",),
    ),
    Breakage(
        name="a start_stop swallows a cancellation",
        file=START_STOP,
        old="            for cancelled in (callback, stop):\n",
        new="            for cancelled in (stop,):\n",
        noticed_by=("kernel/test_noticed.py",),
    ),
    Breakage(
        name="a start_stop keeps its errors in a reference cycle",
        file=START_STOP,
        old="            callback = stop = error = cancelled = None\n",
        new="            pass\n",
        noticed_by=("kernel/test_start_stop.py",),
    ),
    Breakage(
        name="the start function is called although all is cancelled",
        file=START_STOP,
        old=(
            "        await trio.lowlevel.checkpoint_if_cancelled()\n"
            "        await interruptible(self._start)"
        ),
        new="        await interruptible(self._start)",
        noticed_by=("kernel/test_start_stop.py",),
    ),
    Breakage(
        name="the stop function of a leaf is ignored in a group",
        file="_kernel/_leaf.py",
        old=(
            "            stop=self._stop,\n"
            "            ready=True,\n"
            "            on_return=self._on_return,\n"
            "        )\n"
        ),
        new=("            ready=True,\n            on_return=self._on_return,\n        )\n"),
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="the value of a service is kept after the run",
        file="_kernel/_valued.py",
        old=("            self._runs = False\n            self.forget()\n"),
        new="            self._runs = False\n",
        noticed_by=("kernel/test_service.py",),
    ),
    Breakage(
        name="the value of a service outlives its function",
        file=SERVICE,
        old='            if self._on_return != "stay":\n',
        new='            if self._on_return == "stay":\n',
        noticed_by=("kernel/test_service.py",),
    ),
    Breakage(
        name="a service may run twice at the same time in a group",
        file=SERVICE,
        old=("            with self.only_run():\n                await self._serve(member.ready)"),
        new="            await self._serve(member.ready)",
        noticed_by=("kernel/test_service.py",),
    ),
    Breakage(
        name="a service may call started twice",
        file=SERVICE,
        old="        self._started = True\n",
        new="",
        noticed_by=("kernel/test_service.py",),
    ),
    Breakage(
        name="a service that is over may still tell that it runs",
        file=SERVICE,
        old="            status.over = True\n",
        new="            status.over = False\n",
        noticed_by=("kernel/test_service.py",),
    ),
    Breakage(
        name="a worker is cancelled instead of being asked",
        file=WORKER,
        old="stop=handle.ask_to_stop, ",
        new="",
        noticed_by=("kernel/test_worker.py",),
    ),
    Breakage(
        name="a worker that waits does not notice that it is to stop",
        file=WORKER,
        old="        self._waits.add(self._scope)\n",
        new="",
        noticed_by=("kernel/test_worker.py",),
    ),
    Breakage(
        name="a worker may tell twice that it is ready",
        file=WORKER,
        old="tell, self._tell_ready = self._tell_ready, None",
        new="tell = self._tell_ready",
        noticed_by=("kernel/test_worker.py",),
    ),
    Breakage(
        name="the error of a child task of a worker is dropped",
        file=WORKER,
        old='settle([("the worker", raised), *self._child_errors])',
        new='settle([("the worker", raised)])',
        noticed_by=("kernel/test_worker.py",),
    ),
    Breakage(
        name="child tasks are waited for when their worker has returned",
        file=WORKER,
        old='                    self._nursery.cancel_scope.cancel(f"{title} has ended")\n',
        new="",
        noticed_by=("kernel/test_worker.py",),
    ),
    Breakage(
        name="a worker keeps the errors of its child tasks in a reference cycle",
        file=WORKER,
        old="            self._child_errors.clear()\n",
        new="            pass\n",
        noticed_by=("kernel/test_noticed.py",),
    ),
    Breakage(
        name="what was deferred is built once and then run again",
        file="_kernel/_deferred.py",
        old="        return self.factory()\n",
        new=(
            "        if not hasattr(self, '_made'):\n"
            "            self._made = self.factory()\n"
            "        return self._made\n"
        ),
        noticed_by=("kernel/test_deferred.py",),
    ),
    Breakage(
        name="a name is not signed to the errors that pass through",
        file="_kernel/_named.py",
        old="await run_in(node, self._inner.run, f, sign=True)",
        new="await run_in(node, self._inner.run, f)",
        noticed_by=("kernel/test_named.py",),
    ),
    Breakage(
        name="a name is lost in a group",
        file="_kernel/_named.py",
        old="            return attrs.evolve(plan, name=self.name)\n",
        new="            return plan\n",
        noticed_by=("kernel/test_named.py", "kernel/test_node.py"),
    ),
    Breakage(
        name="nothing at all swallows a cancellation",
        file="_kernel/_nop.py",
        old="        await trio.lowlevel.checkpoint_if_cancelled()\n",
        new="",
        noticed_by=("kernel/test_noticed.py",),
    ),
    Breakage(
        name="what a sync function does before it returns an awaitable is protected from ctrl-c",
        file="_kernel/_interrupts.py",
        old="    return _call_openly(function, *args, **keywords)\n",
        new="    return call(function, *args, **keywords)\n",
        noticed_by=("kernel/test_interrupts.py",),
    ),
    Breakage(
        name="a coroutine that ctrl-c keeps from beginning is not closed",
        file="_kernel/_interrupts.py",
        old="            made.close()\n",
        new="            pass\n",
        noticed_by=("kernel/test_laws.py",),
    ),
    Breakage(
        name="a function that is called is protected from ctrl-c",
        file="_kernel/_interrupts.py",
        old="@trio.lowlevel.disable_ki_protection\nasync def _open(",
        new="async def _open(",
        noticed_by=("kernel/test_interrupts.py",),
    ),
    Breakage(
        name="ctrl-c in the moment before a stop function keeps it from being called",
        file="_kernel/_interrupts.py",
        old="            if not _waits_to_begin(made):\n                raise\n",
        new="            raise\n",
        noticed_by=("kernel/test_laws.py", "kernel/test_noticed.py"),
    ),
    Breakage(
        name="ctrl-c in the moment before a resource is left keeps it open",
        file="_kernel/_resource.py",
        old="surely(self._manager.__aexit__",
        new="interruptible(self._manager.__aexit__",
        noticed_by=("kernel/test_laws.py",),
    ),
    Breakage(
        name="ctrl-c may strike between the lines that set a deadline",
        file="_kernel/_timeouts.py",
        old="    @protected\n    async def run(",
        new="    async def run(",
        noticed_by=("kernel/test_laws.py",),
    ),
    Breakage(
        name="ctrl-c may strike while a member waits for its stop",
        file="_kernel/_member.py",
        old="    @protected\n    async def callback(",
        new="    async def callback(",
        noticed_by=("kernel/test_laws.py",),
    ),
    Breakage(
        name="a function that returns no awaitable is not found out",
        file="_kernel/_functions.py",
        old="if type(made) is CoroutineType or inspect.isawaitable(made):",
        new="if made is None or type(made) is CoroutineType or inspect.isawaitable(made):",
        noticed_by=("kernel/test_bad_input.py",),
    ),
    Breakage(
        name="a coroutine that is refused is never closed",
        file="_kernel/_functions.py",
        old="        function.close()\n",
        new="",
        noticed_by=("kernel/test_functions.py",),
    ),
    Breakage(
        name="a name may have a slash",
        file="_kernel/_checks.py",
        old='if not value or "/" in value or not value.isprintable():',
        new="if not value or not value.isprintable():",
        noticed_by=("kernel/test_checks.py",),
    ),
]
