"""`restart`: a runnable that is started anew below a callback that runs once."""

from __future__ import annotations

import attrs

from nestling._kernel._foreign import accept
from nestling._kernel._interrupts import protected
from nestling._kernel._node import Callback
from nestling._kernel._outcome import raise_again
from nestling._kernel._runnable import Composed, Runnable
from nestling.supervise._graph_node import GraphNode
from nestling.supervise._graph_run import GraphRun
from nestling.supervise._incarnation import plan_of
from nestling.supervise._policy import RestartPolicy, check_policy


def restart(r: Runnable, policy: RestartPolicy | None = None) -> Runnable:
    """Keep ``r`` running below a callback that runs once.

    It is not ready until ``r`` first is. The callback does not notice restarts: what it uses of
    ``r`` may be gone for a while. Two runs of ``r`` never overlap. A stop ends at once the wait
    before a restart.

    Args:
        r: what is started anew after it has ended.
        policy: when, how soon and how often; by default `RestartPolicy()`.

    Raises, when it runs, the callback's error; or else that of ``r`` where the policy does not
    apply; and `RestartLimitError`, with the last failures, where there were too many restarts.

    Example::

        restart(consumer, RestartPolicy("always", Backoff(maximum=3)))

    Raises:
        TypeError: ``r`` is not a runnable, or ``policy`` is none.
    """
    inner = accept(r, "r of restart()")
    policy = policy if policy is not None else RestartPolicy()
    check_policy(policy, f"policy of restart({inner.label or inner.kind!r})")
    return Restarted(inner, policy)


@attrs.frozen(repr=False, eq=False)
class Restarted(Composed):
    kind = "restart"

    _inner: Composed
    _policy: RestartPolicy

    @property
    def parts(self) -> tuple[Composed, ...]:
        return (self._inner,)

    def with_parts(self, *parts: Runnable) -> Runnable:
        (inner,) = parts
        return restart(inner, self._policy)

    @protected
    async def run(self, f: Callback, /) -> None:
        name = self._inner.label or self._inner.kind
        node = GraphNode(name, self._inner, restart=self._policy)
        await _RestartedRun(self.kind, [(node, plan_of(self._inner))]).run(f)


class _RestartedRun(GraphRun):
    """A graph of one node, whose error comes out bare."""

    def raise_failures(self) -> None:
        failures = self._state.take_failures()
        if failures:
            ((_, error),) = failures
            failures.clear()
            try:
                raise_again(error)
            finally:
                del error
