"""Breakages of what is decided while something else is under way: starts, stops, failures."""

from __future__ import annotations

from tests.breakages.breakage import Breakage
from tests.breakages.in_supervision import GRAPH, PLACES, STATE, SUPERVISOR

NOTICED_BY = ("supervise/test_at_the_same_time.py",)

BREAKAGES = [
    Breakage(
        name="a stop fails where somebody waits for a start that is under way",
        file=SUPERVISOR,
        old="        if place.start_replies and not comes_again and place in self._coming:\n",
        new="        if place.start_replies and not comes_again:\n",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="a child that was taken down while somebody waits for it does not come again",
        file=SUPERVISOR,
        old="        comes_again = place.leaving and ended.error is None\n",
        new="        comes_again = False\n",
        noticed_by=("supervise/test_supervisor_state.py",),
    ),
    Breakage(
        name="who adds a node is told of a return when it is taken down",
        file=STATE,
        old="        elif place.start_replies and not (place.leaving and error is None):\n",
        new="        elif place.start_replies:\n",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="who adds a node is not told that it failed while it was taken down",
        file=STATE,
        old="        elif place.start_replies and not (place.leaving and error is None):\n",
        new="        elif place.start_replies and not place.leaving:\n",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="who has given up waiting for a start is taken to wait",
        file=PLACES,
        old="                self.tell(Withdrawn(name, waiting))\n",
        new="                pass\n",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="an answer that is no error is hidden by a cancellation",
        file="supervise/_waiting.py",
        old="            if not self._answered.is_set():\n                raise\n",
        new="            if self._error is None:\n                raise\n",
        noticed_by=("supervise/test_waiting.py",),
    ),
    Breakage(
        name="without a limit, where the delays end there is no last failure",
        file="supervise/_intensity.py",
        old="intensity.take_failures() or [last]",
        new="intensity.take_failures()",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="an exit out of the delays is taken for a delay",
        file=GRAPH,
        old="            if not isinstance(delay, BaseException):\n",
        new="            if not isinstance(delay, Exception):\n",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="too many restarts hide an interrupt",
        file="supervise/_supervisor.py",
        old="            if limit is not None and not any(forces(each) for _, each in failures):\n",
        new="            if limit is not None:\n",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="a child may wait for one that starts after it",
        file="supervise/_supervisor.py",
        old="        self._check_not_starting(child.name)\n",
        new="",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="a node may wait for one that requires it",
        file="supervise/_graph_run.py",
        old="            if self._nodes.requires(node.requires, around):\n",
        new="            if False:\n",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="a node that starts may add none, not even what does not require it",
        file="supervise/_graph_run.py",
        old="            if self._nodes.requires(node.requires, around):\n",
        new="            if True:\n",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="what is supervised may wait for its own end",
        file=PLACES,
        old="incarnation is not None and incarnation.is_around(trio.lowlevel.current_task())",
        new="False",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="an interrupt is hidden by an answer",
        file="supervise/_waiting.py",
        old="            interrupt = without_cancelled(exception)\n",
        new="            pass\n",
        noticed_by=("supervise/test_waiting.py",),
    ),
    Breakage(
        name="an interrupt in a job that somebody waits for forces nothing",
        file="supervise/_jobs.py",
        old="                if error is not None and forces(error):\n",
        new="                if False:\n",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="a significant child that is to come again has ended",
        file=SUPERVISOR,
        old='            place.phase != "down" or place in self._coming\n',
        new='            place.phase != "down"\n',
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="a delay that is over starts a child anew although the end has begun",
        file=SUPERVISOR,
        old='        alone = self.mode == "up" and self._strategy == "one_for_one"\n',
        new='        alone = self._strategy == "one_for_one"\n',
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="a child that was told to run is still to come",
        file=SUPERVISOR,
        old="        if not place.leaving and place in self._coming:\n",
        new="        if False:\n",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="a child that starts is not waited for when another one fails",
        file=SUPERVISOR,
        old="key=lambda place: not _stays_starting(place)",
        new="key=lambda place: 0",
        noticed_by=NOTICED_BY,
    ),
    Breakage(
        name="what was asked to stop is taken to run when it is told so",
        file=STATE,
        old='        if place.phase != "starting":\n',
        new="        if False:\n",
        noticed_by=("supervise/test_graph_state.py",),
    ),
    Breakage(
        name="an error beside a cancellation that nobody asked for is lost",
        file=SUPERVISOR,
        old="        if error is not None and (ended.cancelled or first):\n",
        new="        if error is not None and first:\n",
        noticed_by=("supervise/test_supervisor_state.py",),
    ),
]
