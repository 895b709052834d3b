"""Significant children: a supervisor that ends when what it is for has ended."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import Actor, Crashed, InvalidSpec, Killed, Stopped, SystemFailed, open_system
from supervisors import AutoShutdown, ChildSpec, Intensity, Restart, Strategy, supervise
from supervisors._record import Row
from supervisors._signals import Close, HasEnded, ShutDown
from supervisors._strategy import Child, State, decide

NORMAL = Stopped("done")
ABNORMAL = Killed("test")


class Worker(Actor):
    async def receive(self, message: Any) -> object:
        if message == "leave":
            self.stop("done")
        if message == "crash":
            raise ValueError("asked for")
        return message


def spec(name: str, restart: Restart = Restart.TRANSIENT, *, significant: bool = True) -> ChildSpec:
    return ChildSpec(name, Worker, restart=restart, significant=significant)


def running(*specs: ChildSpec, shutdown: AutoShutdown) -> State:
    children = tuple(Child(each, "running", Row(0, 0.0), begun=True) for each in specs)
    return State(Strategy.ONE_FOR_ONE, Intensity(), children, announced=True, auto_shutdown=shutdown)


def test_any_significant_child_that_ends_by_itself_ends_the_supervisor():
    state = running(spec("a"), spec("b"), shutdown=AutoShutdown.ANY_SIGNIFICANT)
    _, orders = decide(state, HasEnded("a", NORMAL), 1.0, 0.0)
    assert orders == [Close("a", NORMAL), ShutDown("a", NORMAL)]


def test_with_all_significant_the_last_one_decides():
    state = running(spec("a"), spec("b"), spec("c", significant=False), shutdown=AutoShutdown.ALL_SIGNIFICANT)
    state, first = decide(state, HasEnded("a", NORMAL), 1.0, 0.0)
    _, second = decide(state, HasEnded("b", NORMAL), 2.0, 0.0)
    assert first == [Close("a", NORMAL)]
    assert second == [Close("b", NORMAL), ShutDown("b", NORMAL)]


def test_a_child_that_is_restarted_has_not_ended():
    state = running(spec("a"), shutdown=AutoShutdown.ANY_SIGNIFICANT)
    _, orders = decide(state, HasEnded("a", ABNORMAL), 1.0, 0.0)
    assert not [order for order in orders if isinstance(order, ShutDown)]


def test_a_temporary_child_s_crash_is_its_own_end():
    state = running(spec("a", Restart.TEMPORARY), shutdown=AutoShutdown.ANY_SIGNIFICANT)
    _, orders = decide(state, HasEnded("a", ABNORMAL), 1.0, 0.0)
    assert ShutDown("a", ABNORMAL) in orders


def test_an_insignificant_child_ends_nobody():
    state = running(spec("a"), spec("b", significant=False), shutdown=AutoShutdown.ANY_SIGNIFICANT)
    _, orders = decide(state, HasEnded("b", NORMAL), 1.0, 0.0)
    assert orders == [Close("b", NORMAL)]


def test_a_child_that_the_supervisor_stopped_does_not_count(autojump_clock: trio.testing.MockClock):
    state = running(spec("a"), shutdown=AutoShutdown.ANY_SIGNIFICANT)
    dismissed = State(
        state.strategy,
        state.intensity,
        (Child(spec("a"), "running", begun=True, dismissed=True),),
        announced=True,
        auto_shutdown=state.auto_shutdown,
    )
    _, orders = decide(dismissed, HasEnded("a", NORMAL), 1.0, 0.0)
    assert orders == [Close("a", NORMAL)]


async def test_the_supervisor_ends_normally_and_its_other_children_with_it(autojump_clock: trio.testing.MockClock):
    team = supervise(
        "team",
        [spec("lead"), spec("other", significant=False)],
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
        restart=Restart.TRANSIENT,
    )
    async with open_system(supervise("root", [team])) as system:
        other = system.ref("/team/other")
        assert await other.ask("hello", 1.0) == "hello"
        system.ref("/team/lead").tell("leave")
        await trio.sleep(1.0)
        node = system.tree()
        assert node.find("/team") is None
        assert not other.tell("anybody?")


async def test_the_end_of_a_root_by_its_significant_child_is_no_failure(autojump_clock: trio.testing.MockClock):
    root = supervise("root", [spec("only")], auto_shutdown=AutoShutdown.ALL_SIGNIFICANT)
    async with open_system(root) as system:
        system.ref("/only").tell("leave")
        await trio.sleep(1.0)
        assert system.root is not None
        assert system.root.state == "ended"


async def test_a_root_that_gives_up_is_one(autojump_clock: trio.testing.MockClock):
    root = supervise("root", [ChildSpec("only", Worker)], intensity=Intensity(0, 1.0))
    with pytest.raises(ExceptionGroup) as caught:
        async with open_system(root) as system:
            system.ref("/only").tell("crash")
            await trio.sleep(1.0)
    failed = caught.value.exceptions[0]
    assert isinstance(failed, SystemFailed)
    assert isinstance(failed.reason, Crashed)


def test_a_permanent_child_cannot_be_significant():
    with pytest.raises(InvalidSpec, match=r"a\.significant is True; allowed: False for a permanent child"):
        spec("a", Restart.PERMANENT)


def test_significance_under_a_supervisor_that_never_shuts_down_is_refused():
    with pytest.raises(InvalidSpec, match=r"a\.significant .* auto_shutdown is AutoShutdown.NEVER"):
        supervise("team", [spec("a")])


def test_an_unknown_kind_of_shutdown_is_refused():
    with pytest.raises(InvalidSpec, match=r"auto_shutdown is 'sometimes'; allowed: AutoShutdown\.NEVER"):
        supervise("team", [], auto_shutdown="sometimes")  # type: ignore[arg-type]
