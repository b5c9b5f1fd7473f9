"""Breakages of what is started anew, and of what requires one another."""

from __future__ import annotations

from tests.breakages.breakage import Breakage

STATE = "supervise/_supervised_state.py"
GRAPH = "supervise/_graph_state.py"
SUPERVISOR = "supervise/_supervisor_state.py"
RUN = "supervise/_supervised_run.py"
PLACES = "supervise/_run_of_places.py"
INCARNATION = "supervise/_incarnation.py"

BREAKAGES = [
    Breakage(
        name="what is supervised goes on after an interrupt",
        file=STATE,
        old='        if error is not None and (forces(error) or self.mode != "up"):\n',
        new='        if error is not None and self.mode != "up":\n',
        noticed_by=("supervise/test_restart.py", "supervise/test_supervisor.py"),
    ),
    Breakage(
        name="a stop does not end the wait before a restart",
        file=STATE,
        old="""            if place.phase == "waiting":
                actions += self._stop_waiting(place)
            if place.phase == "down":
                actions += replies""",
        new="""            if place.phase == "down":
                actions += replies""",
        noticed_by=("supervise/test_restart.py", "supervise/test_graph_state.py"),
    ),
    Breakage(
        name="who waits for a start is not told that all stops",
        file=STATE,
        old="                actions += replies(place.start_replies, self._stops(place))\n"
        "        return [*actions, *self._stop_places()",
        new="                pass\n        return [*actions, *self._stop_places()",
        noticed_by=("supervise/test_graph_state.py",),
    ),
    Breakage(
        name="a graph that is over is not at its end",
        file=STATE,
        old="        if self.alive or self.mode not in {",
        new="        if self.alive > 1 or self.mode not in {",
        noticed_by=("supervise/test_graph_state.py",),
    ),
    Breakage(
        name="a cancellation from outside does not force what is supervised",
        file=STATE,
        old='                self.mode, self._why = "forcing", reason\n',
        new="                self._why = reason\n",
        noticed_by=("supervise/test_graph.py", "supervise/test_supervisor.py"),
    ),
    Breakage(
        name="where nothing is to be removed, a place that has not run stays",
        file=STATE,
        old="            place.forget = not place.ran\n",
        new="            pass\n",
        noticed_by=("supervise/test_supervisor.py", "supervise/test_graph.py"),
    ),
    Breakage(
        name="what is removed keeps its plan",
        file=PLACES,
        old="        del self._plans[action.name]\n",
        new="",
        noticed_by=("supervise/test_supervisor.py",),
    ),
    Breakage(
        name="what is supervised is decided about before there are tasks",
        file=RUN,
        old="        self._deciding = True  # nothing",
        new="        self._deciding = False  # nothing",
        noticed_by=("supervise/test_supervisor.py",),
    ),
    Breakage(
        name="a start that is cancelled leaves what was added",
        file=PLACES,
        old="                    await self.stop(name, forget=True)\n",
        new="                    pass\n",
        noticed_by=("supervise/test_supervisor.py", "supervise/test_graph.py"),
    ),
    Breakage(
        name="a graph starts a node before what it requires",
        file=GRAPH,
        old="        blocked = place.missing or place.holding or place.forget\n",
        new="        blocked = place.holding or place.forget\n",
        noticed_by=("supervise/test_graph_state.py",),
    ),
    Breakage(
        name="a graph starts a node anew while its dependents live",
        file=GRAPH,
        old="        blocked = place.missing or place.holding or place.forget\n",
        new="        blocked = place.missing or place.forget\n",
        noticed_by=("supervise/test_graph_state.py",),
    ),
    Breakage(
        name="a graph starts what is removed",
        file=GRAPH,
        old="        blocked = place.missing or place.holding or place.forget\n",
        new="        blocked = place.missing or place.holding\n",
        noticed_by=("supervise/test_graph_state.py",),
    ),
    Breakage(
        name="a graph stops a node before its dependents",
        file=GRAPH,
        old="            if not place.holding\n            for action in self._stop(place)\n",
        new="            for action in self._stop(place)\n",
        noticed_by=("supervise/test_graph.py", "supervise/test_graph_state.py"),
    ),
    Breakage(
        name="a node that starts anew leaves its dependents alone",
        file=GRAPH,
        old="        return [restart, *self._take_down(place.dependents)]\n",
        new="        return [restart]\n",
        noticed_by=("supervise/test_graph_state.py",),
    ),
    Breakage(
        name="a node that starts anew takes only its direct dependents down",
        file=GRAPH,
        old="                todo += place.dependents\n",
        new="                pass\n",
        noticed_by=("supervise/test_graph.py", "supervise/test_graph_state.py"),
    ),
    Breakage(
        name="who waits for what requires a node that did not come to run waits for ever",
        file=GRAPH,
        old="            actions += replies(dependent.start_replies, InvalidGraphError(why))\n",
        new="",
        noticed_by=("supervise/test_graph.py", "supervise/test_graph_state.py"),
    ),
    Breakage(
        name="a graph that is ready by a removal is not",
        file=GRAPH,
        old="[*self._let_go(place), *self._maybe_call_back(), *self._finish()]",
        new="[*self._let_go(place), *self._finish()]",
        noticed_by=("supervise/test_graph_state.py",),
    ),
    Breakage(
        name="a graph starts anew what was cancelled",
        file=GRAPH,
        old="        if policy is not None and not ended.cancelled and policy",
        new="        if policy is not None and policy",
        noticed_by=("supervise/test_restart.py",),
    ),
    Breakage(
        name="a temporary child comes back with its siblings",
        file=SUPERVISOR,
        old='        place.forget = self.mode == "up" and place.spec.restart == "temporary"\n',
        new="",
        noticed_by=("supervise/test_supervision_matrix.py",),
    ),
    Breakage(
        name="a supervisor takes all of them down, whatever the strategy",
        file=SUPERVISOR,
        old='        after = failed.number if self._strategy == "rest_for_one" else 0\n',
        new="        after = 0\n",
        noticed_by=("supervise/test_supervision_matrix.py",),
    ),
    Breakage(
        name="a supervisor starts the next child before the one before runs",
        file=SUPERVISOR,
        old='        while self._coming and self._coming[0].phase in {"running", "ending"}:\n',
        new='        while self._coming and self._coming[0].phase != "down":\n',
        noticed_by=("supervise/test_supervisor.py",),
    ),
    Breakage(
        name="a supervisor stops its children in the order of their start",
        file=SUPERVISOR,
        old="        self._leaving = [place for place in self.places.values() if place.is_alive]\n",
        new="        self._leaving = [p for p in reversed(self.places.values()) if p.is_alive]\n",
        noticed_by=("supervise/test_supervisor.py",),
    ),
    Breakage(
        name="a supervisor forgets the error of a child that it starts anew",
        file=SUPERVISOR,
        old='        if restart == "permanent" or (',
        new="        if (",
        noticed_by=("supervise/test_supervision_matrix.py",),
    ),
    Breakage(
        name="a supervisor does not look at who of the significant children still lives",
        file=SUPERVISOR,
        old='            place.phase != "down" for place in',
        new="            False for place in",
        noticed_by=("supervise/test_supervisor.py",),
    ),
    Breakage(
        name="the window of an intensity does not slide",
        file="supervise/_intensity.py",
        old="        while now - self._restarts[0][0] > self.period:\n",
        new="        while False:\n",
        noticed_by=("supervise/test_backoff.py",),
    ),
    Breakage(
        name="health does not start the delays anew",
        file="supervise/_intensity.py",
        old='health >= getattr(self._delays, "reset_after", math.inf)',
        new="False",
        noticed_by=("supervise/test_backoff.py",),
    ),
    Breakage(
        name="one restart more than the limit is allowed",
        file="supervise/_intensity.py",
        old="        return len(self._restarts) <= self.limit\n",
        new="        return len(self._restarts) <= self.limit + 1\n",
        noticed_by=("supervise/test_backoff.py", "supervise/test_restart.py"),
    ),
    Breakage(
        name="the jitter is added only",
        file="supervise/_backoff.py",
        old="uniform(1 - self.jitter,",
        new="uniform(1,",
        noticed_by=("supervise/test_backoff.py",),
    ),
    Breakage(
        name="a policy for failures applies to returns",
        file="supervise/_policy.py",
        old='self.when == "always"',
        new="True",
        noticed_by=("supervise/test_backoff.py",),
    ),
    Breakage(
        name="an incarnation is not shielded",
        file=INCARNATION,
        old="        self._scope = trio.CancelScope(shield=True)\n",
        new="        self._scope = trio.CancelScope()\n",
        noticed_by=("supervise/test_graph.py",),
    ),
    Breakage(
        name="a start that was asked to stop too late runs on",
        file=INCARNATION,
        old="or was too far to be cancelled.\n            self._stop()\n",
        new="or was too far to be cancelled.\n            pass\n",
        noticed_by=("supervise/test_graph.py", "supervise/test_restart.py"),
    ),
    Breakage(
        name="a stop function that is forced is not cancelled",
        file=INCARNATION,
        old="                self._stop_scope.cancel(reason)\n",
        new="                pass\n",
        noticed_by=("supervise/test_graph.py", "supervise/test_supervisor.py"),
    ),
    Breakage(
        name="an error beside a cancellation starts anew",
        file=INCARNATION,
        old="            self._cancelled = _holds_cancelled(exception)\n",
        new="            self._cancelled = False\n",
        noticed_by=("supervise/test_restart.py",),
    ),
    Breakage(
        name="an answer that is an error is hidden by a cancellation",
        file="supervise/_waiting.py",
        old="            if self._error is None:\n                raise\n",
        new="            raise\n",
        noticed_by=("supervise/test_waiting.py",),
    ),
    Breakage(
        name="nobody is told of an error that is kept",
        file="_kernel/_kept.py",
        old="    if listener is not None:\n",
        new="    if False:\n",
        noticed_by=("testing/test_planted_bugs.py",),
    ),
    Breakage(
        name="a chain does not say who needs whom",
        file="_kernel/_chain.py",
        old="for outer in range(level))",
        new="for outer in range(0))",
        noticed_by=("testing/test_places.py",),
    ),
    Breakage(
        name="a graph may be run twice and grown",
        file="supervise/_graph.py",
        old="        if len(self._runs) != 1:\n",
        new="        if not self._runs:\n",
        noticed_by=("supervise/test_graph.py",),
    ),
    Breakage(
        name="a node that others require is removed",
        file="supervise/_graph_run.py",
        old="        if place.dependents:\n",
        new="        if False:\n",
        noticed_by=("supervise/test_graph.py",),
    ),
    Breakage(
        name="the only error of what is started anew comes out in a group",
        file="supervise/_restart.py",
        old="                raise_again(error)\n",
        new="                raise ExceptionGroup('', [error])\n",
        noticed_by=("supervise/test_restart.py",),
    ),
    Breakage(
        name="a supervisor runs twice at the same time",
        file="supervise/_supervisor.py",
        old="        if self._run is not None:\n",
        new="        if False:\n",
        noticed_by=("supervise/test_supervisor.py",),
    ),
]
