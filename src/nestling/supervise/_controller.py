"""`Controller`: what is launched, and bound, while it runs.

===========  ======================  ====================  ===================  ===================
a call       before the run          while it starts       while it runs        from the stop on
===========  ======================  ====================  ===================  ===================
`launch`     refused                 refused               starts it            refused
`bind`       for each run            for this run          for this run         until all is closed
`dependent`  in each run             in this run           in this run          refused
===========  ======================  ====================  ===================  ===================

What becomes of it then is decided in ``_controller_state.py``.
"""

from __future__ import annotations

import attrs
import trio

from nestling._kernel._checks import check_name
from nestling._kernel._errors import ExitedBeforeRunningError, InvalidStateError
from nestling._kernel._foreign import accept
from nestling._kernel._interrupts import protected
from nestling._kernel._named import named
from nestling._kernel._node import Callback
from nestling._kernel._process import Process
from nestling._kernel._runnable import Primitive, Runnable
from nestling.supervise._closing import check_closable
from nestling.supervise._controller_run import ControllerRun
from nestling.supervise._controller_state import Place


class Controller(Primitive):
    """A runnable that grows while it runs.

    Whoever has it can launch more runnables, which run below it, and bind resources to it, which it
    closes. It stops in this order: first its dependents, all at once, each in this same order; then
    all that it has launched, at once; then it closes what was bound, in reverse. This is so for a
    graceful stop and for a forced one, where the stop functions run, and the resources are closed,
    in a cancelled scope.

    What it has launched lives until then. What returns before that is simply over, and so is a
    composition of which a part returns; and a process can be stopped at any time. What fails by
    itself ends the controller and all its dependents: the callback is cancelled, and all is stopped
    in order.

    Raises, when it runs, the callback's error, bare; or else an `ExceptionGroup` of the errors of
    what was launched, and of closing what was bound, in it and in its dependents; its message
    counts and names them.

    It can be run again after a run has ended. What was bound before a run, and the dependents that
    were made before it, are there in each run; what comes while it runs is of that run alone.

    Example::

        app = Controller()

        async def main():
            app.bind(await open_journal())
            await app.launch(mailer, name="mailer")
            web = app.dependent(name="web")
            await web.launch(http, name="http")    # stops before the mailer, which it uses
            await trio.sleep_forever()

        nestling.run(chain(app, service(main)))

    The idea is that of workerctl, a Go library.
    """

    kind = "controller"

    def __init__(self) -> None:
        self._part = _Part()

    @property
    def label(self) -> str:
        return self.kind

    async def run_here(self, f: Callback) -> None:
        if self._part.run is not None:
            raise InvalidStateError(
                "cannot run a controller that is running; make another one for another run"
            )
        run = ControllerRun(self.kind)
        self._part.join(run, run.state.root)
        try:
            await run.run(f)
        finally:
            self._part.leave()

    @protected
    async def launch(self, r: Runnable, *, name: str | None = None) -> Process:
        """Start a runnable below the controller, and wait until it runs.

        It may be called by any task, also by what was launched, here or in a dependent.

        Args:
            r: what is started.
            name: names the node, as `named` does. Several may have the same.

        Returns:
            The process, which runs. It need not be kept.

        If this call is cancelled, the start-up is cancelled, and its end is waited for; so it is if
        the controller begins to stop meanwhile. Whenever this raises, nothing is left.

        Raises:
            InvalidStateError: the controller is not running, or stops.
            ExitedBeforeRunningError: it ended, without an error, before it was running.
            BaseException: what it has failed with. The controller goes on, but for a
                KeyboardInterrupt and its like.
        """
        composed = accept(r, "r of launch()")
        if name is not None:
            check_name(name, "name of launch()")
            composed = accept(named(name, composed), "r of launch()")
        await trio.lowlevel.checkpoint_if_cancelled()
        call = f"cannot launch {composed.label or composed.kind!r}"
        run, place = self._part.running(call)
        process = run.launch(place, composed)
        try:
            await process.start()
            process.hand_out()
            return process
        except ExitedBeforeRunningError as early:
            if run.state.may_grow:
                raise
            raise InvalidStateError(f"{call}: its controller stops") from early
        finally:
            del process

    @protected
    def bind(self, *resources: object) -> None:
        """Close resources when all is gone that was launched here or in a dependent.

        They are closed in reverse order, all of them, whatever fails. Each has an ``aclose()``, or
        else a ``close()``, which may be async.

        Raises:
            TypeError: one of them has neither. Then none of them is bound.
            InvalidStateError: the controller has closed all that was bound: what comes later would
                never be closed.
        """
        for number, resource in enumerate(resources, 1):
            check_closable(resource, f"argument {number} of bind()")
        self._part.bind(resources)

    @protected
    def dependent(self, *, name: str | None = None) -> Controller:
        """Make a controller that depends on this one: all of it stops before what is launched here.

        It runs whenever this one runs, and so is not to be run itself. Hand it to the part of a
        program that depends on what is launched here.

        Args:
            name: names its node, below that of this controller; ``dependent[0]`` and so on where
                there is none.

        Raises:
            InvalidStateError: the controller stops, or was a dependent in a run that has ended.
        """
        if name is not None:
            check_name(name, "name of dependent()")
        return _Dependent(self._part.depend(name))

    def __repr__(self) -> str:
        return "Controller()"


class _Dependent(Controller):
    """A controller that runs with another one; made by `Controller.dependent`."""

    def __init__(self, part: _Part) -> None:
        self._part = part

    async def run_here(self, f: Callback) -> None:
        del f
        raise InvalidStateError(
            "cannot run a dependent of a controller: it runs when the controller does"
        )

    def __repr__(self) -> str:
        return "Controller().dependent()"


@attrs.define(eq=False)
class _Part:
    """A controller or a dependent, as it lasts from run to run.

    Attributes:
        name: of a dependent, where it was given one.
        bound: what is closed at the end of each run.
        dependents: those in each run.
        passing: those in this run only.
        run: the one that it is in, and
        place: where it is in that.
        gone: the only run in which it was has ended.
    """

    name: str | None = None
    bound: list[object] = attrs.field(factory=list[object])
    dependents: list[_Part] = attrs.field(factory=list["_Part"])
    passing: list[_Part] = attrs.field(factory=list["_Part"])
    run: ControllerRun | None = None
    place: Place | None = None
    gone: bool = False

    def join(self, run: ControllerRun, place: Place) -> None:
        """Take part in a run, with all dependents."""
        todo = [(self, place)]
        while todo:
            part, there = todo.pop()
            part.run, part.place = run, there
            run.bind(there, part.bound)
            todo += [(each, run.depend(there, each.name)) for each in part.dependents]

    def leave(self) -> None:
        """Take no part in it any more, and neither do the dependents: it has ended."""
        todo = [self]
        while todo:
            part = todo.pop()
            part.run = part.place = None
            for dependent in part.passing:
                dependent.gone = True
            todo += [*part.dependents, *part.passing]
            part.passing.clear()

    def running(self, call: str) -> tuple[ControllerRun, Place]:
        """Return the run and the place in it, or refuse what was asked for."""
        if self.run is None or self.place is None or self.run.state.mode == "down":
            state = "has stopped" if self.gone else "is not running"
            raise InvalidStateError(f"{call}: its controller {state}")
        self._check_may_grow(self.run, call)
        return self.run, self.place

    def bind(self, resources: tuple[object, ...]) -> None:
        """Note what is to be closed."""
        if self.gone or (self.place is not None and self.place.phase == "over"):
            raise InvalidStateError(
                "cannot bind to a controller that has stopped: it would not be closed"
            )
        if self.run is None or self.place is None:
            self.bound += resources
        else:
            self.run.bind(self.place, resources)

    def depend(self, name: str | None) -> _Part:
        """Make a dependent."""
        call = "cannot make a dependent"
        part = _Part(name)
        if self.gone:
            raise InvalidStateError(f"{call}: its controller has stopped")
        if self.run is None or self.place is None:
            self.dependents.append(part)
        else:
            self._check_may_grow(self.run, call)
            self.passing.append(part)
            part.join(self.run, self.run.depend(self.place, name))
        return part

    @staticmethod
    def _check_may_grow(run: ControllerRun, call: str) -> None:
        if not run.state.may_grow:
            raise InvalidStateError(f"{call}: its controller stops")
