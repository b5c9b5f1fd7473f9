from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from textwrap import dedent

import pytest

PLUGIN = "_nestling_pytest_plugin"

HEAD = """
import pytest
import trio

from nestling import Process, chain, leaf, named, nop, runnable, running
from nestling.testing import InjectedError, schedules


async def stay():
    await trio.sleep_forever()


async def nothing():
    pass


@runnable
async def pool(f):
    await f()


shop = chain(named("db", pool), named("http", leaf(stay)))
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run tests in a pytest of their own, with no plugins and settings but those asked for."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run_tests(
        tests: str, *options: str, head: str = HEAD, plugins: Iterable[str] = ()
    ) -> pytest.RunResult:
        pytester.makeini("[pytest]\nstrict_markers = true\nfilterwarnings = error\n")
        pytester.makepyfile(head + dedent(tests))
        loaded = [
            part for each in (PLUGIN, "pytest_trio.plugin", *plugins) for part in ("-p", each)
        ]
        settings = [part for option in options for part in ("-o", option)]
        return pytester.runpytest_subprocess(
            *loaded, "-p", "no:cacheprovider", *settings, timeout=60
        )

    return run_tests


def section(result: pytest.RunResult, test: str) -> str:
    """Return what a report says of a test that failed."""
    text = result.stdout.str()
    _, _, after = text.partition(f"_ {test} _")
    assert after, f"{test} has not failed"
    return after.partition("\n____")[0] + "\n"


# Suites that do not use it ------------------------------------------------------------------------


def test_a_suite_that_does_not_use_the_plugin_gets_nothing_of_it(run: Run) -> None:
    result = run(
        """
        import sys

        async def test_leaks(nursery, pytestconfig):
            import trio
            nursery.start_soon(trio.sleep_forever)

        def test_nothing_more_is_imported(pytestconfig):
            assert "nestling" not in sys.modules
            assert not pytestconfig.pluginmanager.has_plugin("nestling.pytest_plugin._hooks")
        """,
        "trio_mode=true",
        head="",
    )
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*nestling*")


def test_the_plugin_imports_pytest_and_nothing_else() -> None:
    program = f"""
import sys, pytest
before = set(sys.modules)
import {PLUGIN}
print(*sorted(set(sys.modules) - before))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout.decode().split() == [PLUGIN]


def test_pytest_finds_the_plugin_by_itself_where_it_is_installed(
    pytester: pytest.Pytester,
) -> None:
    points = entry_points(group="pytest11")
    if not any(point.value == PLUGIN for point in points):
        pytest.skip("this nestling is not installed")
    result = pytester.runpytest_subprocess("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.nestling_certify(faults=*limit=None*)*"])


# The trace ----------------------------------------------------------------------------------------


def test_what_a_test_runs_is_recorded(run: Run) -> None:
    result = run(
        """
        ORDER = ["db running", "http starting", "http stopped", "db stopping", "db stopped"]

        async def test_on_pytest_trio(nestling_record, autojump_clock):
            async with running(shop):
                await trio.sleep(3)
            assert nestling_record.order(*ORDER)
            assert nestling_record.events[-1].time == 3

        @pytest.fixture
        async def mailer():
            async with running(named("mailer", leaf(stay))) as process:
                yield process

        async def test_an_async_fixture_is_recorded_too(nestling_record, mailer):
            async with running(shop):
                pass
            assert nestling_record.names("running") == ["mailer", "db", "http"]
            assert nestling_record.names("stopped") == ["http", "db"]

        def test_on_plain_trio(nestling_record):
            trio.run(shop.run, nothing)
            assert nestling_record.order(*ORDER)

        @schedules(3)
        async def test_under_schedules_each_run_has_a_trace_of_its_own(nestling_record):
            assert nestling_record.events == ()
            async with running(shop):
                await trio.sleep(3)
            assert nestling_record.names("running") == ["db", "http"]
            assert nestling_record.order(*ORDER)

        def test_the_trace_of_another_test_is_gone(nestling_record):
            assert nestling_record.events == ()
        """,
        "trio_mode=true",
    )
    result.assert_outcomes(passed=5)


def test_what_a_test_runs_is_recorded_where_the_test_is_marked(run: Run) -> None:
    result = run(
        """
        @pytest.mark.trio
        async def test_for_pytest_trio(nestling_record, autojump_clock):
            async with running(shop):
                await trio.sleep(3)
            assert nestling_record.order("http stopped", "db stopping")
        """
    )
    result.assert_outcomes(passed=1)


def test_what_a_test_runs_is_recorded_on_anyio(run: Run) -> None:
    pytest.importorskip("anyio")
    result = run(
        """
        @pytest.fixture
        def anyio_backend():
            return "trio"

        @pytest.mark.anyio
        async def test_for_anyio(nestling_record):
            async with running(shop):
                pass
            assert nestling_record.order("http stopped", "db stopping")
        """,
        plugins=["anyio.pytest_plugin"],
    )
    result.assert_outcomes(passed=1)


def test_a_failure_shows_the_trace_with_the_lines_marked_that_offend(run: Run) -> None:
    result = run(
        """
        async def test_order(nestling_record, autojump_clock):
            async with running(shop):
                await trio.sleep(3)
            assert nestling_record.order("db stopping", "http stopped")

        def test_nothing_recorded(nestling_record):
            assert nestling_record.names("running") == ["db"]

        def test_not_asked_for():
            trio.run(shop.run, nothing)
            assert shop is None

        def test_passes(nestling_record):
            trio.run(shop.run, nothing)
        """,
        "trio_mode=true",
    )
    result.assert_outcomes(passed=1, failed=3)
    assert result.stdout.str().count("- nestling trace -") == 1
    table = """
        the order does not hold: db stopping -> http stopped
        see the lines marked with >

               0.000  db    starting
               0.000  db    running
               0.000  http  starting
               0.000  http  running
               3.000  http  stopping
        >      3.000  http  stopped
        >      3.000  db    stopping
               3.000  db    stopped
        """
    assert dedent(table) in section(result, "test_order")


# What is left behind ------------------------------------------------------------------------------


def test_a_test_fails_for_what_it_leaves_behind_and_only_for_that(run: Run) -> None:
    result = run(
        """
        async def test_task(nestling_record, nursery, autojump_clock):
            nursery.start_soon(stay, name="clerk")

        async def test_nodes(nestling_record, nursery, autojump_clock):
            await trio.sleep(1)
            await Process(nursery, shop).start()
            await trio.sleep(1)

        async def test_task_of_a_task(nestling_record, nursery):
            async def parent(task_status):
                async with trio.open_nursery() as inner:
                    inner.start_soon(stay, name="child")
                    task_status.started()
            await nursery.start(parent, name="parent")

        abandoned = []

        def test_never_stopped(nestling_record):
            async def main():
                abandoned.append(named("ghost", nop()).run(stay))
                abandoned[0].send(None)
            trio.run(main)

        async def fragile():
            try:
                await stay()
            finally:
                raise OSError("the disk is full")

        async def test_another_failure(nestling_record, nursery):
            nursery.start_soon(fragile, name="fragile")
            await trio.testing.wait_all_tasks_blocked()

        # These leave nothing behind.

        async def test_ended(nestling_record, nursery, autojump_clock):
            process = Process(nursery, shop)
            await process.start()
            nursery.start_soon(trio.sleep, 1)
            await trio.sleep(2)
            await process.stop()

        async def test_cancelled(nestling_record, nursery):
            await Process(nursery, shop).start()
            nursery.start_soon(stay)
            nursery.cancel_scope.cancel()

        async def test_about_to_end(nestling_record, nursery):
            scope = trio.CancelScope()

            async def scoped():
                with scope:
                    await stay()

            nursery.start_soon(scoped)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()

        @pytest.fixture
        async def office():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stay)
                await Process(nursery, shop).start()
                yield nursery
                nursery.cancel_scope.cancel()

        async def test_with_the_nursery_of_a_fixture(nestling_record, office):
            office.start_soon(stay)
        """,
        "trio_mode=true",
    )
    result.assert_outcomes(failed=5, passed=4)

    task = section(result, "test_task").splitlines()
    assert task[1:3] == [
        "nestling: left behind at the end of the test: 1 task",
        "  task 'clerk', at",
    ]
    assert task[3].endswith(", in stay")
    assert task[4].strip() == "await trio.sleep_forever()"
    assert task[5].startswith("Stop it in the test: ")

    nodes = section(result, "test_nodes")
    assert "left behind at the end of the test: 2 nodes and " in nodes
    assert "  node 'db' (runnable): running since second 1.000 of the test\n" in nodes
    assert "  node 'http' (leaf): running since second 1.000 of the test\n" in nodes
    assert " in node 'http', at\n" in nodes
    assert "- nestling trace -" in nodes

    tasks = section(result, "test_task_of_a_task")
    assert ": 2 tasks\n  task 'parent', at\n" in tasks
    assert "\n  task 'child', at\n" in tasks

    never = section(result, "test_never_stopped")
    assert "the test is over, and 1 node never stopped\n  node 'ghost' (nop): running\n" in never

    error, _, leaks = section(result, "test_another_failure").partition("- nestling leaks -")
    assert "OSError: the disk is full" in error
    assert ": 1 task\n  task 'fragile', at\n" in leaks


def test_all_tests_are_checked_for_leaks_if_the_option_says_so(run: Run) -> None:
    result = run(
        """
        import unittest

        async def test_leaks(nursery):
            nursery.start_soon(stay)

        async def test_is_clean(nursery):
            async with running(shop):
                nursery.start_soon(nothing)

        class TestOnAsyncio(unittest.IsolatedAsyncioTestCase):
            async def test_runs(self):
                pass
        """,
        "trio_mode=true",
        "nestling_leak_check=true",
    )
    result.assert_outcomes(failed=1, passed=2)
    assert ": 1 task\n" in section(result, "test_leaks")


def test_tests_of_hypothesis_are_checked_for_leaks_each_time(run: Run) -> None:
    pytest.importorskip("hypothesis")
    result = run(
        """
        from hypothesis import given, settings, strategies

        @settings(max_examples=3, database=None)
        @given(leaks=strategies.just(True))
        @pytest.mark.parametrize("more", [1, 2])
        async def test_drawn(leaks, more):
            (nursery,) = trio.lowlevel.current_task().child_nurseries
            nursery.start_soon(stay)
        """,
        "trio_mode=true",
        "nestling_leak_check=true",
    )
    result.assert_outcomes(failed=2)
    for test in ("test_drawn[1]", "test_drawn[2]"):
        assert "left behind at the end of the test: 1 task\n" in section(result, test)


# The marker ---------------------------------------------------------------------------------------


def test_a_marked_test_is_certified(run: Run) -> None:
    result = run(
        """
        @pytest.fixture
        def function():
            return stay

        @pytest.mark.nestling_certify(pairs=False)
        def test_what_it_returns(function, nestling_record):
            assert nestling_record.events == ()
            return named("worker", leaf(function))

        class TestShop:
            @pytest.mark.nestling_certify(faults=["cancel", "interrupt"], limit=25, seed=3)
            @pytest.mark.parametrize("composition", [shop])
            def test_of_a_class(self, composition):
                return composition

        runs = []
        seen = []

        @pytest.mark.nestling_certify(pairs=False, idle=1)
        async def test_if_it_is_async_it_itself(nestling_record, autojump_clock, tmp_path):
            assert nestling_record.events == ()
            runs.append(None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 1)
                try:
                    async with running(shop):
                        await trio.sleep(3600)
                except BaseException as error:
                    seen.append(type(error))
                    raise
            assert nestling_record.order("http stopped", "db stopping")

        @pytest.mark.trio
        @pytest.mark.nestling_certify(pairs=False)
        async def test_marked_for_trio_as_well():
            async with running(shop):
                await trio.sleep(1)

        def test_they_were(request):
            of_function, of_class, of_async, of_marked, of_this = [
                dict(item.user_properties).get("nestling_points") for item in request.session.items
            ]
            assert of_function > 10
            assert of_class == 25
            assert len(runs) == of_async + 2  # once to see it pass, once to count the points
            assert {trio.Cancelled, InjectedError, KeyboardInterrupt} <= set(seen)
            assert of_marked > 10
            assert of_this is None
        """,
        "trio_mode=true",
    )
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["nestling: * points certified (* more were left out by limits)"])


def test_a_marked_test_that_is_unsafe_fails_with_its_certificate(run: Run) -> None:
    result = run(
        """
        connections = []

        @runnable
        async def leaky(f):
            connections.append(1)
            await f()
            await trio.lowlevel.checkpoint()
            connections.clear()

        def all_closed():
            return not connections

        @pytest.mark.nestling_certify(faults=["error"], invariants=[all_closed])
        def test_composition(nestling_record):
            connections.clear()
            return named("pool", leaky)

        @pytest.mark.nestling_certify(pairs=False)
        async def test_assertion():
            connections.clear()
            try:
                async with running(leaky):
                    await trio.sleep(1)
            finally:
                assert not connections

        @pytest.mark.nestling_certify(pairs=False, faults=["error"], invariants=[all_closed])
        async def test_invariant():
            connections.clear()
            async with running(leaky):
                await trio.sleep(1)

        @pytest.mark.nestling_certify(pairs=False, faults=["error"])
        async def test_law():
            try:
                async with running(shop):
                    await trio.sleep(1)
            except InjectedError:
                pass
        """,
        "trio_mode=true",
    )
    result.assert_outcomes(failed=4)
    result.stdout.no_fnmatch_line("nestling: * certified*")

    composition, _, trace = section(result, "test_composition").partition("- nestling trace -")
    assert " points safe; the smallest that is not (schedule 0):\nerror at step " in composition
    assert "\n  invariant all_closed does not hold\n" in composition
    # It is the trace of that run.
    assert "pool  stopping  InjectedError: injected error 1\n" in trace

    assertion = section(result, "test_assertion")
    assert "\n  invariant assertions_of_the_test: AssertionError: " in assertion
    invariant = section(result, "test_invariant")
    assert "\n  invariant all_closed does not hold\n" in invariant
    law = section(result, "test_law")
    assert "\n  law 3: InjectedError: injected error 1 is lost\n" in law


def test_a_marked_test_that_fails_without_a_fault_fails_as_ever(run: Run) -> None:
    result = run(
        """
        @pytest.mark.nestling_certify
        async def test_assertion(nestling_record):
            async with running(shop):
                pass
            assert nestling_record.order("db stopped", "http stopped")

        @pytest.mark.nestling_certify
        async def test_skips():
            pytest.skip("not today")

        @runnable
        async def broken(f):
            raise OSError("no such host")

        @pytest.mark.nestling_certify
        def test_composition():
            return named("broken", broken)

        @pytest.mark.nestling_certify
        def test_before_it_is_composed():
            assert shop is None

        async def failing_body():
            raise OSError("the body fails")

        @pytest.mark.nestling_certify(body=failing_body)
        def test_body():
            return shop
        """,
        "trio_mode=true",
    )
    result.assert_outcomes(failed=4, skipped=1)
    assertion = section(result, "test_assertion")
    assert '>       assert nestling_record.order("db stopped", "http stopped")\n' in assertion
    assert "\nthe order does not hold: db stopped -> http stopped\n" in assertion
    assert "OSError: no such host\n" in section(result, "test_composition")
    assert "OSError: the body fails\n" in section(result, "test_body")
    assert ">       assert shop is None\n" in section(result, "test_before_it_is_composed")


WRONG = {
    '"cancel"': "it takes keywords only, not 'cancel' (str)",
    "fault=1": "it takes faults, invariants, limit, pairs, seed, body, idle, not 'fault'",
    'faults="cancel"': "faults must be a list or a tuple, not 'cancel' (str)",
    'faults=["crash"]': "each of faults must be one of 'cancel', 'error', 'interrupt', not 'crash'",
    "invariants=len": "invariants must be a list or a tuple, not 'len'",
    "invariants=[1]": "each of invariants must be a function, not 1 (int)",
    'limit="1"': "limit must be an integer, not '1' (str)",
    "limit=0": "limit must be at least 1, or None, not 0",
    "seed=None": "seed must be an integer, not None (NoneType)",
    "pairs=1": "pairs must be True or False, not 1 (int)",
    "idle=-1": "idle must be zero or more seconds, not -1",
    "body=1": "body must be an async function, not 1 (int)",
}

REFUSED = """
@pytest.mark.nestling_certify(body=nothing)
async def test_async_with_a_body():
    pass

@pytest.fixture
async def mailer():
    yield 1

@pytest.fixture
def letters(mailer):
    return []

@pytest.mark.nestling_certify
async def test_async_fixture(mailer):
    pass

@pytest.mark.nestling_certify
async def test_async_fixture_further_down(letters):
    pass

@pytest.mark.nestling_certify
async def test_nursery(nursery):
    pass

@pytest.mark.nestling_certify
def test_not_async(mailer):
    return shop

@pytest.mark.nestling_certify
def test_returns_nothing():
    pass

import unittest

class TestCase(unittest.TestCase):
    @pytest.mark.nestling_certify
    def test_method(self):
        pass
"""


def test_a_marked_test_that_cannot_be_certified_is_refused(run: Run) -> None:
    tests = [
        f"@pytest.mark.nestling_certify({arguments})\ndef test_{number}():\n    return shop\n"
        for number, arguments in enumerate(WRONG)
    ]
    result = run("\n".join([*tests, REFUSED]), "trio_mode=true")
    result.assert_outcomes(errors=len(WRONG) + 5, failed=2)

    reasons = {f"test_{number}": reason for number, reason in enumerate(WRONG.values())} | {
        "test_async_with_a_body": "body is for what a test returns: ",
        "test_async_fixture": "the fixture 'mailer' is async, ",
        "test_async_fixture_further_down": "the fixture 'mailer' is async, ",
        "test_nursery": "the fixture 'nursery' is async, ",
        "test_not_async": "the fixture 'mailer' is async, ",
        "test_returns_nothing": "it must return the runnable to be certified, or be async, ",
        "test_method": "another plugin has run the test, once",
    }
    for test, reason in reasons.items():
        assert f"\nnestling_certify of '{test}': {reason}" in result.stdout.str()
