"""The pytest plugin: the fixture `actor_system`, seeded schedules with a one-line reproduction, conservation checks.

It needs pytest-trio for tests that are coroutines. See README.md, "With pytest".
"""

from __future__ import annotations

import shlex
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from runtime import System
from runtime.testing._checks import assert_balanced
from runtime.testing._kit import ActorTestKit, open_test_system, settle
from runtime.testing._schedule import run_in_virtual_time, seeded_schedule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator

    from runtime import Spec
    from runtime._tree import Totals

MARK: Final = "actor_schedule"
CHECKED: Final = "actor_conservation"
SEED: Final = "actor_seed"
SUMMARY: Final = "actor_reproduction"


def seeds_of(text: str) -> range:
    """The seeds that `--actor-seeds` names: `N` are the first N, `A:B` are those from A to B, without B.

    Raises:
        ValueError: it is neither, or names none.
    """
    first, colon, last = text.rpartition(":")
    seeds = range(int(first) if colon else 0, int(last))
    if not seeds:
        raise ValueError(text)
    return seeds


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("actors", "actors (runtime.testing)")
    group.addoption(
        "--actor-seeds",
        type=seeds_of,
        default=range(1),
        metavar="N|A:B",
        help=f"run each test marked {MARK} under N seeds of trio's scheduler (default: 1), or under those from A to B",
    )
    group.addoption("--actor-seed", type=int, default=None, metavar="SEED", help="… under this seed only")
    parser.addini(
        CHECKED,
        "check after every test that the systems it ran have accounted for every message",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{MARK}: run the test under several seeded schedules (--actor-seeds), in virtual time"
    )
    config.addinivalue_line(
        "markers", f"{CHECKED}(checked): with False, leave the test out of the ini option of that name"
    )
    if config.getini(CHECKED):
        config.pluginmanager.register(Conservation(), "actor-conservation")


# --- schedules


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker(MARK) is None:
        return
    if hasattr(metafunc.function, "hypothesis"):
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: with @given, hypothesis chooses the schedules, no seed")
    only = metafunc.config.getoption("actor_seed")
    seeds = metafunc.config.getoption("actor_seeds") if only is None else [only]
    if SEED not in metafunc.fixturenames:
        metafunc.fixturenames.append(SEED)
    metafunc.parametrize(SEED, list(seeds), ids=[f"seed{seed}" for seed in seeds], indirect=True)


def seed_of(item: pytest.Item) -> int | None:
    """The seed under which a test runs, if any."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get(SEED)


def reproduction(nodeid: str, seed: int) -> str:
    """The one line that repeats a test under a seed."""
    test = nodeid.replace(f"[seed{seed}]", "")
    return f"pytest {shlex.quote(test)} --actor-seed={seed}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that use the fixture or the marker run in virtual time."""
    if not config.pluginmanager.hasplugin("trio"):
        return
    for item in items:
        names = getattr(item, "fixturenames", ())
        used = "actor_system" in names or item.get_closest_marker(MARK) is not None
        if used and iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=in_virtual_time), append=False)


def in_virtual_time(
    main: Callable[[], Awaitable[Any]], *, clock: trio.abc.Clock | None, instruments: list[trio.abc.Instrument]
) -> Any:
    """What pytest-trio calls to run a test. A clock of the test's own goes first."""
    if clock is None:
        return run_in_virtual_time(main, instruments=instruments)
    return trio.run(main, clock=clock, instruments=instruments)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Seed the schedule: for a coroutine when its fixtures are set up, for the order of that is not ours."""
    seed = seed_of(item)
    if seed is None:
        return (yield)
    if iscoroutinefunction(getattr(item, "obj", None)):
        item.obj = seeded(item.obj, seed)  # type: ignore[attr-defined]  # functions have it
    with seeded_schedule(seed):
        return (yield)


def seeded(function: Callable[..., Awaitable[Any]], seed: int) -> Callable[..., Awaitable[Any]]:
    """`function`, begun when all is quiet, with the schedule's generator as `seed` makes it."""

    @wraps(function)
    async def begin(*args: Any, **kwargs: Any) -> Any:
        await settle()
        with seeded_schedule(seed):
            return await function(*args, **kwargs)

    return begin


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    seed = seed_of(item)
    if seed is not None and call.when == "call" and report.failed:
        report.user_properties.append((SUMMARY, reproduction(item.nodeid, seed)))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for each failure: how to have it again."""
    lines = [
        value
        for report in terminalreporter.stats.get("failed", [])
        for name, value in report.user_properties
        if name == SUMMARY
    ]
    if lines:
        terminalreporter.section("the same schedule again")
        for line in lines:
            terminalreporter.write_line(line)


# --- conservation


class Conservation:
    """Looks at every system that ran to its end during a test: registered where the ini file says so."""

    def __init__(self) -> None:
        self._ended: list[Totals] = []
        self._run = System.run

    def pytest_sessionstart(self) -> None:
        ended, run = self._ended, self._run

        @wraps(run)
        async def watched(system: System, *args: Any, **kwargs: Any) -> None:
            try:
                await run(system, *args, **kwargs)
            finally:
                ended.append(system.totals)

        System.run = watched  # type: ignore[method-assign,assignment]

    def pytest_sessionfinish(self) -> None:
        System.run = self._run  # type: ignore[method-assign]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        self._ended.clear()
        result = yield
        mark = item.get_closest_marker(CHECKED)
        if mark is None or mark.args != (False,):
            for totals in self._ended:
                for kind, counts in totals.by_kind.items():
                    assert_balanced(kind, counts)
        return result


# --- fixtures


@pytest.fixture
def actor_seed(request: pytest.FixtureRequest) -> int | None:
    """The seed of the schedule, in a test marked `actor_schedule`; else None."""
    seed: int | None = getattr(request, "param", None)
    return seed


@pytest.fixture
def actor_root() -> Spec | None:
    """The root of `actor_system`; override it to test a tree of your own. None: a host on which actors are spawned."""
    return None


@pytest.fixture
async def actor_system(actor_root: Spec | None) -> AsyncIterator[ActorTestKit]:
    """A running system in virtual time, with all checks of `open_test_system` at the end of the test."""
    async with open_test_system(actor_root) as kit:
        yield kit
