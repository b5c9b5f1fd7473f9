from __future__ import annotations

from textwrap import dedent

import pytest

from tests.pytest_plugin.reports import Run, section


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
