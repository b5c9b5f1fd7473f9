from __future__ import annotations

import pytest

from tests.pytest_plugin.reports import Run, section


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

        @settings(max_examples=3, database=None, deadline=None)
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
