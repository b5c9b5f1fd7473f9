from __future__ import annotations

from tests.pytest_plugin.reports import Run, section


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

        @pytest.mark.nestling_certify(pairs=False, faults=["interrupt"])
        async def test_law():
            try:
                async with running(shop):
                    await trio.sleep(1)
            except KeyboardInterrupt:
                pass

        @pytest.mark.nestling_certify(pairs=False, faults=["error"])
        async def test_handles_errors_of_what_it_runs():
            try:
                async with running(shop):
                    await trio.sleep(1)
            except InjectedError:
                pass
        """,
        "trio_mode=true",
    )
    result.assert_outcomes(failed=4, passed=1)

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
    assert "\n  law 4: Ctrl-C is lost\n" in law


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
    "fault=1": "it takes faults, invariants, limit, body, pairs, seed, idle, not 'fault'",
    'faults="cancel"': "faults must be a list or a tuple, not 'cancel' (str)",
    'faults=["crash"]': "each of faults must be one of 'cancel', 'error', 'interrupt', not 'crash'",
    "invariants=len": "invariants must be a list or a tuple, not 'len'",
    "invariants=[1]": "invariant 1 must be a function, not 1 (int)",
    'limit="1"': "limit must be an integer, not '1' (str)",
    "limit=0": "limit must be at least 1, not 0",
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
    assert "During handling of" not in result.stdout.str()


def test_an_async_fixture_that_anyio_would_run_is_refused(run: Run) -> None:
    result = run(
        """
        @pytest.fixture
        def anyio_backend():
            return "trio"

        @pytest.fixture
        async def mailer():
            yield 1

        @pytest.mark.anyio
        @pytest.mark.nestling_certify
        async def test_fixture_of_anyio(mailer):
            pass
        """,
        plugins=["anyio.pytest_plugin"],
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["nestling_certify of*: the fixture 'mailer' is async, *"])


def test_a_test_that_returns_a_composition_may_stand_under_a_mark_for_async_tests(
    run: Run,
) -> None:
    result = run(
        """
        pytestmark = pytest.mark.trio

        @pytest.mark.nestling_certify(limit=5)
        def test_shop():
            return shop

        class TestShop:
            @pytest.mark.nestling_certify(limit=5)
            def test_method(self):
                return shop

        @schedules(3)
        async def test_schedules(nestling_record):
            async with running(shop):
                await trio.sleep(1)
            assert nestling_record.order("http stopped", "db stopping")
        """
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["nestling: 10 points certified*"])
