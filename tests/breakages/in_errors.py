"""Breakages of errors, notes, names and events."""

from __future__ import annotations

from tests.breakages.breakage import Breakage

OUTCOME = "_kernel/_outcome.py"
NODE = "_kernel/_node.py"

BREAKAGES = [
    Breakage(
        name="a cancellation comes out in a group, out of the scope that it belongs to",
        file="_kernel/_outcome.py",
        old="        error = without_cancelled(raised)\n",
        new="        error = raised\n",
        noticed_by=("kernel/test_outcome.py",),
    ),
    Breakage(
        name="KeyboardInterrupt counts as an ordinary error",
        file=OUTCOME,
        old="return error is not None and not isinstance(error, Exception)",
        new="return isinstance(error, SystemExit)",
        noticed_by=("kernel/test_outcome.py",),
    ),
    Breakage(
        name="an interrupt is only a note where another error came first",
        file=OUTCOME,
        old="chosen = next((pair for pair in found if forces(pair[1])), found[0])",
        new="chosen = found[0]",
        noticed_by=("kernel/test_outcome.py",),
    ),
    Breakage(
        name="a cancellation in a group counts as an error",
        file=OUTCOME,
        old="return group if cancelled is None else errors",
        new="return group",
        noticed_by=("kernel/test_outcome.py",),
    ),
    Breakage(
        name="the same error is told twice",
        file=OUTCOME,
        old="            if not own <= seen:\n",
        new="            if own:\n",
        noticed_by=("kernel/test_outcome.py",),
    ),
    Breakage(
        name="what a hidden error has hidden is lost",
        file=OUTCOME,
        old="            if isinstance(note, Suppressed):\n",
        new="            if isinstance(note, Signature):\n",
        noticed_by=("kernel/test_outcome.py",),
    ),
    Breakage(
        name="an error that is raised again loses its context",
        file=OUTCOME,
        old="        error.__context__ = context\n",
        new="        pass\n",
        noticed_by=("kernel/test_leaf.py",),
    ),
    Breakage(
        name="a cause that was set is replaced",
        file=OUTCOME,
        old="if error.__cause__ is not None or _reaches(cause, error):",
        new="if _reaches(cause, error):",
        noticed_by=("kernel/test_outcome.py",),
    ),
    Breakage(
        name="the stuck nodes of a deadline are lost",
        file="_kernel/_errors.py",
        old="self.stuck: tuple[str, ...] = tuple(stuck)",
        new="self.stuck: tuple[str, ...] = ()",
        noticed_by=("kernel/test_errors.py",),
    ),
    Breakage(
        name="a node tells that it runs only when its callback is over",
        file=NODE,
        old=("    node.running()\n    try:\n        await called_back(f)\n"),
        new=("    try:\n        await called_back(f)\n        node.running()\n"),
        noticed_by=("kernel/test_node.py",),
    ),
    Breakage(
        name="a node does not tell what ended its callback",
        file=NODE,
        old="        node.stopping(exception)\n",
        new="        node.stopping()\n",
        noticed_by=("kernel/test_node.py",),
    ),
    Breakage(
        name="a node is blamed for an error of its dependents",
        file=NODE,
        old="node.stopped(exception if own else None)",
        new="node.stopped(exception)",
        noticed_by=("kernel/test_node.py",),
    ),
    Breakage(
        name="a cancelled node has failed",
        file=NODE,
        old="now, own = trio.current_time(), without_cancelled(error)",
        new="now, own = trio.current_time(), error",
        noticed_by=("kernel/test_noticed.py",),
    ),
    Breakage(
        name="the callback runs inside of the node",
        file=NODE,
        old="    token = _current.set(outer)\n",
        new="    token = _current.set(node)\n",
        noticed_by=("kernel/test_node.py",),
    ),
    Breakage(
        name="a provider signs the errors of its dependents",
        file=NODE,
        old="if sign and is_error(exception) and (own or not _is_signed(exception)):",
        new="if sign and is_error(exception):",
        noticed_by=("kernel/test_named.py",),
    ),
    Breakage(
        name="an observer that fails breaks the run",
        file=NODE,
        old=("            except Exception:\n                _log.exception"),
        new=("            except NotImplementedError:\n                _log.exception"),
        noticed_by=("kernel/test_node.py",),
    ),
    Breakage(
        name="two nodes are made of one name",
        file=NODE,
        old=("    node.claimed = True\n    if not node.stands_in:"),
        new="    if not node.stands_in:",
        noticed_by=("kernel/test_noticed.py",),
    ),
    Breakage(
        name="the inner observer sees events before the outer one",
        file=NODE,
        old=("            outer(event)\n        finally:\n            inner(event)\n"),
        new=("            inner(event)\n        finally:\n            outer(event)\n"),
        noticed_by=("kernel/test_node.py",),
    ),
    Breakage(
        name="a node keeps the errors that were hidden",
        file=NODE,
        old="                self.suppressed.clear()\n",
        new="                pass\n",
        noticed_by=("kernel/test_noticed.py",),
    ),
    Breakage(
        name="a node that waits for others counts as stuck",
        file="_kernel/_tree.py",
        old="return tuple(path for path in paths if path not in around)",
        new="return tuple(paths)",
        noticed_by=("kernel/test_tree.py",),
    ),
]
