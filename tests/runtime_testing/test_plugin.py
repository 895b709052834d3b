"""The pytest plugin, in runs of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from runtime import System
from runtime.testing.plugin import reproduction, seeds_of

pytest_plugins = ["pytester"]

OPTIONS = (
    "-p",
    "no:cacheprovider",
    "--strict-markers",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",  # this process has imported the plugin already
)

SCHEDULED = """
import pytest, trio
from runtime.testing import settle

@pytest.mark.actor_schedule
async def test_order(actor_seed):
    order = []
    async def note(number):
        order.append(number)
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(note, number)
    print("ORDER", actor_seed, order)
    assert order != EXCLUDED
"""


@pytest.fixture(autouse=True)
def trio_mode(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")


def orders(result: pytest.RunResult) -> list[str]:
    return sorted(line[line.index("ORDER") :] for line in result.outlines if "ORDER" in line)


def test_the_package_brings_the_plugin_along():
    (entry,) = entry_points(group="pytest11", name="understudy")
    assert entry.value == "runtime.testing.plugin"


def test_it_imports_nothing_that_a_run_without_actors_has_no_use_for():
    """Every run of pytest in an environment that has the package loads it."""
    look = "import runtime.testing.plugin, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    names = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True).stdout.split()
    assert {"trio", "runtime"} <= set(names)
    assert not {"hypothesis", "pytest_trio", "trio_parallel", "supervisors", "actors"} & set(names)


def test_conservation_is_checked_after_every_test_of_this_suite(pytestconfig: pytest.Config):
    assert pytestconfig.getini("actor_conservation") is True
    assert pytestconfig.pluginmanager.hasplugin("actor-conservation")


def test_seeds_are_a_number_or_a_range():
    assert list(seeds_of("3")) == [0, 1, 2]
    assert list(seeds_of("5:8")) == [5, 6, 7]
    for wrong in ("0", "8:5", "x"):
        with pytest.raises(ValueError, match=r".*"):
            seeds_of(wrong)


def test_the_reproduction_is_one_line_that_a_shell_takes():
    assert reproduction("tests/test_a.py::test_b[seed7]", 7) == "pytest tests/test_a.py::test_b --actor-seed=7"
    line = reproduction("tests/test_a.py::test_b[x y-seed7]", 7)
    assert line == "pytest 'tests/test_a.py::test_b[x y-seed7]' --actor-seed=7"


def test_a_marked_test_runs_once_for_each_seed(pytester: pytest.Pytester):
    pytester.makepyfile(SCHEDULED.replace("EXCLUDED", "None"))
    once = pytester.runpytest_inprocess(*OPTIONS, "-s")
    once.assert_outcomes(passed=1)
    many = pytester.runpytest_inprocess(*OPTIONS, "-s", "--actor-seeds=8")
    many.assert_outcomes(passed=8)
    found = orders(many)
    assert len({line.partition("[")[2] for line in found}) > 1, "different seeds, different schedules"
    assert orders(once)[0] in found
    again = pytester.runpytest_inprocess(*OPTIONS, "-s", "--actor-seeds=8")
    assert orders(again) == found, "the same seeds, the same schedules"
    some = pytester.runpytest_inprocess(*OPTIONS, "-s", "--actor-seeds=2:5")
    assert orders(some) == found[2:5]


def test_a_failure_is_printed_with_one_line_that_repeats_it(pytester: pytest.Pytester):
    pytester.makepyfile(SCHEDULED.replace("EXCLUDED", "None"))
    lines = orders(pytester.runpytest_inprocess(*OPTIONS, "-s", "--actor-seeds=8"))
    _, seed, excluded = lines[5].split(" ", 2)
    path = pytester.makepyfile(test_excluded=SCHEDULED.replace("EXCLUDED", excluded))
    failed = pytester.runpytest_inprocess(*OPTIONS, "--actor-seeds=8", path)
    failed.stdout.fnmatch_lines(
        ["*the same schedule again*", f"pytest test_excluded.py::test_order --actor-seed={seed}"]
    )
    line = next(line for line in failed.outlines if line.startswith("pytest ") and line.endswith(f"={seed}"))
    again = pytester.runpytest_inprocess(*OPTIONS, *line.split()[1:])
    again.assert_outcomes(failed=1)
    assert [line for line in again.outlines if line.startswith("pytest ")] == [line]


def test_a_test_that_is_no_coroutine_is_seeded_as_well(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import pytest, trio

        @pytest.mark.actor_schedule
        def test_order(actor_seed):
            order = []
            async def note(number):
                order.append(number)
            async def main():
                async with trio.open_nursery() as nursery:
                    for number in range(4):
                        nursery.start_soon(note, number)
            trio.run(main)
            print("ORDER", actor_seed, order)
        """
    )
    runs = [pytester.runpytest_inprocess(*OPTIONS, "-s", "--actor-seeds=6") for _ in range(2)]
    runs[0].assert_outcomes(passed=6)
    assert orders(runs[0]) == orders(runs[1])


def test_hypothesis_chooses_its_schedules_itself(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import pytest
        from hypothesis import given, strategies as st

        @pytest.mark.actor_schedule
        @given(st.integers())
        async def test_any(number):
            pass
        """
    )
    result = pytester.runpytest_inprocess(*OPTIONS)
    assert "with @given, hypothesis chooses the schedules" in "\n".join((*result.outlines, *result.errlines))
    assert result.ret != 0


KIT = """
import trio
from runtime import Actor, Spec

class Greeter(Actor):
    async def receive(self, name):
        return f"Hello, {name}"

async def test_greeting(actor_system):
    greeter = await actor_system.spawn(Spec("greeter", Greeter))
    assert await greeter.ask("Ada", within=1.0) == "Hello, Ada"
    await trio.sleep(86_400)

async def test_real_time_on_demand(actor_system, mock_clock):
    assert trio.lowlevel.current_clock() is mock_clock
"""


def test_the_fixture_gives_a_system_in_virtual_time(pytester: pytest.Pytester):
    pytester.makepyfile(KIT)
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=2)


def test_the_fixture_works_without_trio_mode(pytester: pytest.Pytester):
    pytester.makeini("[pytest]\n")
    pytester.makepyfile(KIT)
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=2)


def test_without_pytest_trio_other_tests_still_run(pytester: pytest.Pytester):
    pytester.makeini("[pytest]\n")
    pytester.makepyfile("def test_plain(): pass")
    pytester.runpytest_inprocess(*OPTIONS, "-p", "no:trio").assert_outcomes(passed=1)


def test_the_fixture_takes_a_root(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import pytest
        from runtime import Actor, Host, Spec

        class Echo(Actor):
            async def receive(self, message):
                return message

        class Root(Host):
            async def started(self):
                self.start_child(Spec("echo", Echo))

        @pytest.fixture
        def actor_root():
            return Spec("root", Root)

        async def test_echo(actor_system):
            assert await actor_system.system.ref("/echo").ask("hello", within=1.0) == "hello"
        """
    )
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=1)


LOSING = """
import pytest, trio
from runtime import Actor, Spec, open_system

class Root(Actor):
    pass

async def test_losing(autojump_clock):
    async with open_system(Spec("root", Root)) as system:
        system.root.accepted += 1

async def test_keeping(autojump_clock):
    async with open_system(Spec("root", Root)) as system:
        system.root.ref.tell(1)
        await trio.sleep(1)

@pytest.mark.actor_conservation(False)
async def test_losing_on_purpose(autojump_clock):
    async with open_system(Spec("root", Root)) as system:
        system.root.accepted += 1

def test_nothing():
    pass
"""


@pytest.mark.actor_conservation(False)
def test_the_fixture_checks_conservation(pytester: pytest.Pytester):
    pytester.makepyfile("async def test_losing(actor_system):\n    actor_system.system.root.accepted += 1\n")
    result = pytester.runpytest_inprocess(*OPTIONS)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*/ has lost 1 messages*"])


@pytest.mark.actor_conservation(False)
def test_conservation_may_be_checked_after_every_test(pytester: pytest.Pytester):
    run = System.run
    pytester.makepyfile(LOSING)
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=4)
    pytester.makeini("[pytest]\ntrio_mode = true\nactor_conservation = true\n")
    result = pytester.runpytest_inprocess(*OPTIONS)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*ended actors of the kind Root have lost 1 messages*"])
    assert System.run is run
