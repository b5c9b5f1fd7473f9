"""Breakages of groups and of chains."""

from __future__ import annotations

from tests.breakages.breakage import Breakage

GROUP = "_kernel/_group.py"
MEMBER = "_kernel/_member.py"
PARALLEL = "_kernel/_parallel.py"
SEQUENTIAL = "_kernel/_sequential.py"
CHAIN = "_kernel/_chain.py"

BREAKAGES = [
    Breakage(
        name="the only error of a group is raised bare",
        file=GROUP,
        old="        raise BaseExceptionGroup(",
        new=(
            "        if len(failed) == 1:\n"
            "            raise_again(failed[0][1])\n"
            "        raise BaseExceptionGroup("
        ),
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="the message of a group does not count those that failed",
        file=GROUP,
        old='f"{len(names)} {among} failed: {shown}{more}"',
        new='f"members failed: {shown}{more}"',
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="the failure of a member leaves the callback running",
        file=GROUP,
        old=(
            "            "
            'self._provider.cancel_callback(type(reason)(f"stops, since {name!r} {reason}"))\n'
        ),
        new="            pass\n",
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="the failure of a member is dropped",
        file=GROUP,
        old="            self._note_failure(member.failure)\n",
        new="",
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="the failure of a member's stop function is dropped",
        file=GROUP,
        old="            self._note_failure(member.stop_failure)\n",
        new="",
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="the error of a member's foreground hides that of its stop function",
        file=MEMBER,
        old=(
            '                ("the stop function", self.stop_failure),\n'
            '                (f"the {self.plan.kind}", self.failure),\n'
        ),
        new=(
            '                (f"the {self.plan.kind}", self.failure),\n'
            '                ("the stop function", self.stop_failure),\n'
        ),
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="the error of a member is not signed with its name",
        file=MEMBER,
        old=(
            "            if self.plan.name is not None:\n"
            "                add_signature(error, self.plan.name)\n"
        ),
        new="",
        noticed_by=("kernel/test_named.py",),
    ),
    Breakage(
        name="an interrupt of a member lets the others stop gracefully",
        file=GROUP,
        old=(
            "                self._interrupted_by = type(error).__name__\n"
            "                self._force"
        ),
        new="                self._force",
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="a group keeps the errors of its members in a reference cycle",
        file=GROUP,
        old="        failed.clear()\n",
        new="        pass\n",
        noticed_by=("kernel/test_noticed.py",),
    ),
    Breakage(
        name="a start function that ends after its start was given up is not followed by its stop",
        file=GROUP,
        old=("        if self.stopping:\n            # Its"),
        new=("        if self.stopping and member.live:\n            # Its"),
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="a member that returns because of a cancellation is blamed for it",
        file=GROUP,
        old=(
            "                await trio.lowlevel.checkpoint_if_cancelled()\n"
            "        except BaseException as exception:\n"
            "            member.live -= 1\n"
        ),
        new=(
            "                pass\n"
            "        except BaseException as exception:\n"
            "            member.live -= 1\n"
        ),
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="a member that must not return may return",
        file=GROUP,
        old='elif member.plan.on_return == "fail":',
        new='elif member.plan.on_return == "fail" and self.stopping:',
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="a member that is done ends the group although it is to stay",
        file=GROUP,
        old='elif member.plan.on_return == "stop":',
        new="else:",
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="a member may end before it was running",
        file=GROUP,
        old='elif member.phase == "starting" and member.plan.is_node:',
        new='elif member.phase == "waiting" and member.plan.is_node:',
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="a failed start lets the other starts go on",
        file=GROUP,
        old=("        if self.not_running:\n            self.abort()\n"),
        new=("        if self.not_running:\n            self.settled.set()\n"),
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="a member does not report that it stops",
        file=GROUP,
        old=("            if member.node is not None:\n                member.node.stopping()\n"),
        new="",
        noticed_by=("kernel/test_node.py",),
    ),
    Breakage(
        name="a member reports that it has stopped while its stop function runs",
        file=GROUP,
        old=("        if member.live:\n            return\n"),
        new="",
        noticed_by=("kernel/test_node.py",),
    ),
    Breakage(
        name="a member stops before the dependents of its group are gone",
        file=MEMBER,
        old=(
            "                with trio.CancelScope(shield=True):\n"
            "                    await self.asked.wait()\n"
        ),
        new="",
        noticed_by=("kernel/test_noticed.py",),
    ),
    Breakage(
        name="a member whose inside has ended does not end its group",
        file=MEMBER,
        old="self.group.member_ends(self, returned=isinstance(cancelled.reason, Returned))\n",
        new="pass\n",
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="a member that waits in its callback swallows a cancellation",
        file=MEMBER,
        old=("                    await self.asked.wait()\n            raise\n"),
        new="                    await self.asked.wait()\n",
        noticed_by=("kernel/test_noticed.py",),
    ),
    Breakage(
        name="parallel members stop one after the other",
        file=PARALLEL,
        old=(
            '        self.together.cancel_scope.cancel(f"{self.where} stops its members")\n'
            "        for member in self.members:\n"
            "            self.begin_to_stop(member)\n"
        ),
        new=('        self.together.cancel_scope.cancel(f"{self.where} stops its members")\n'),
        noticed_by=("kernel/test_parallel.py",),
    ),
    Breakage(
        name="the two stop orders of a sequence are swapped",
        file=SEQUENTIAL,
        old='self.members if self._stop_order == "forward" else reversed(self.members)',
        new='self.members if self._stop_order == "reverse" else reversed(self.members)',
        noticed_by=("kernel/test_sequential.py",),
    ),
    Breakage(
        name="a sequence does not wait for the start of one before the next",
        file=SEQUENTIAL,
        old="                await self._turn.wait()\n",
        new="",
        noticed_by=("kernel/test_sequential.py",),
    ),
    Breakage(
        name="a sequence does not wait for the stop of one before the next",
        file=SEQUENTIAL,
        old="                    await member.gone.wait()\n",
        new="                    await trio.lowlevel.checkpoint()\n",
        noticed_by=("kernel/test_sequential.py",),
    ),
    Breakage(
        name="a sequence goes on to start after a failure",
        file=SEQUENTIAL,
        old=("            if self.aborted:\n                return\n"),
        new="",
        noticed_by=("kernel/test_sequential.py",),
    ),
    Breakage(
        name="a cancelled sequence leaves those alone that come later",
        file=SEQUENTIAL,
        old=(
            "                with suppress(trio.Cancelled):\n"
            "                    await member.gone.wait()"
        ),
        new="                await member.gone.wait()",
        noticed_by=("kernel/test_sequential.py",),
    ),
    Breakage(
        name="the levels of a chain in one task are not limited",
        file=CHAIN,
        old="LEVELS_IN_A_TASK = 32\n",
        new="LEVELS_IN_A_TASK = 1_000_000\n",
        noticed_by=("kernel/test_chain.py",),
    ),
    Breakage(
        name="the members of a chain are nested in reverse",
        file=CHAIN,
        old="flat = [level for member in members for level in _levels(member)]",
        new="flat = [level for member in reversed(members) for level in _levels(member)]",
        noticed_by=("kernel/test_chain.py",),
    ),
    Breakage(
        name="a chain swallows the cancellation of its child task",
        file=CHAIN,
        old=("        if outcome is not None:\n            raise_again(outcome)\n"),
        new="",
        noticed_by=("kernel/test_noticed.py",),
    ),
    Breakage(
        name="ctrl-c while a child task of a chain runs comes out as a group",
        file=CHAIN,
        old="            interrupt = error_among(group)\n",
        new="            interrupt = group\n",
        noticed_by=("kernel/test_chain.py",),
    ),
    Breakage(
        name="a chain does not take over the node of its name",
        file=CHAIN,
        old="        claim()\n",
        new="",
        noticed_by=("kernel/test_node.py",),
    ),
]
