"""The decisions of a supervisor, without a runtime: what follows from each signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime import Actor, Stopped
from supervisors import ChildSpec, Intensity, Restart, Strategy
from supervisors._signals import (
    Add,
    Announce,
    Begin,
    Close,
    Dismiss,
    Due,
    GiveUp,
    HasEnded,
    HasPassivated,
    HasStarted,
    Hold,
    Launch,
    Order,
    Remind,
    Restarting,
    Signal,
    StopChild,
    Woken,
)
from supervisors._strategy import Child, State, decide
from tests.support.decisions import CRASH, NORMAL, PLENTY, phases

if TYPE_CHECKING:
    from collections.abc import Iterable


def begun(
    strategy: Strategy = Strategy.ONE_FOR_ONE,
    names: str = "abc",
    intensity: Intensity = PLENTY,
    **specs: ChildSpec,
) -> State:
    """A supervisor whose children all run since the time 0."""
    children = tuple(Child(specs.get(name, ChildSpec(name, Actor))) for name in names)
    state, _ = decide(State(strategy, intensity, children), Begin(), 0.0, 0.0)
    for name in names:
        state, _ = decide(state, HasStarted(name), 0.0, 0.0)
    assert state.announced
    return state


def play(state: State, *signals: Signal, now: float = 1.0, portion: float = 0.0) -> tuple[State, list[Order]]:
    """Decide one signal after the other; all orders."""
    orders: list[Order] = []
    for signal in signals:
        state, more = decide(state, signal, now, portion)
        orders += more
    return state, orders


def launched(orders: Iterable[Order]) -> list[str]:
    return [order.name for order in orders if isinstance(order, Launch)]


def stopped(orders: Iterable[Order]) -> list[str]:
    return [order.name for order in orders if isinstance(order, StopChild)]


# --- starting


def test_first_children_start_one_after_the_other_and_then_the_supervisor_has_started() -> None:
    state = State(Strategy.ONE_FOR_ONE, PLENTY, tuple(Child(ChildSpec(name, Actor)) for name in "ab"))
    steps = []
    for signal in (Begin(), HasStarted("a"), HasStarted("b")):
        state, orders = decide(state, signal, 0.0, 0.0)
        steps.append(orders)
    assert steps == [[Launch("a")], [Launch("b")], [Announce()]]


def test_a_supervisor_without_children_has_started_at_once() -> None:
    assert play(State(Strategy.ONE_FOR_ONE, PLENTY), Begin())[1] == [Announce()]


def test_a_child_added_during_the_first_start_waits_for_its_turn_and_one_added_later_does_not() -> None:
    state = State(Strategy.ONE_FOR_ONE, PLENTY, (Child(ChildSpec("a", Actor)),))
    state, orders = play(state, Begin(), Add(ChildSpec("b", Actor)))
    assert launched(orders) == ["a"]
    state, orders = play(state, HasStarted("a"))
    assert orders == [Launch("b")]
    state, orders = play(state, HasStarted("b"), Add(ChildSpec("c", Actor)))
    assert orders == [Announce(), Launch("c")]


@pytest.mark.parametrize("restart", Restart)
def test_a_first_start_that_fails_gives_up_whatever_the_restart_type(restart: Restart) -> None:
    state = State(Strategy.ONE_FOR_ONE, PLENTY, (Child(ChildSpec("a", Actor, restart=restart)),))
    _, orders = play(state, Begin(), HasEnded("a", CRASH))
    assert orders == [Launch("a"), GiveUp("a", CRASH, 0, 5.0)]


def test_a_child_that_has_started_and_fails_before_its_siblings_have_is_restarted() -> None:
    state = State(Strategy.ONE_FOR_ONE, PLENTY, tuple(Child(ChildSpec(name, Actor)) for name in "ab"))
    state, orders = play(state, Begin(), HasStarted("a"), HasEnded("a", CRASH))
    assert launched(orders) == ["a", "b", "a"]
    state, orders = play(state, HasStarted("b"), HasStarted("a"))
    assert orders == [Announce()]


def test_a_failed_first_start_during_a_group_restart_gives_up_too() -> None:
    state = State(Strategy.ONE_FOR_ALL, PLENTY, tuple(Child(ChildSpec(name, Actor)) for name in "ab"))
    state, orders = play(state, Begin(), HasStarted("a"), HasEnded("a", CRASH), HasEnded("b", NORMAL))
    assert launched(orders) == ["a", "b", "a"]
    state, orders = play(state, HasStarted("a"), HasEnded("b", CRASH))
    assert [type(order) for order in orders] == [Launch, GiveUp]


# --- who restarts


TABLE = {  # who is stopped, newest first, and who is started again, in order, when b of a, b, c, d has failed
    Strategy.ONE_FOR_ONE: ("", "b"),
    Strategy.ONE_FOR_ALL: ("dca", "abcd"),
    Strategy.REST_FOR_ONE: ("dc", "bcd"),
}


@pytest.mark.parametrize("strategy", Strategy)
def test_a_group_is_stopped_newest_first_and_started_in_order_one_at_a_time(strategy: Strategy) -> None:
    state = begun(strategy, "abcd")
    to_stop, to_start = TABLE[strategy]
    state, orders = play(state, HasEnded("b", CRASH))
    assert len([order for order in orders if isinstance(order, Restarting)]) == 1
    for name in to_stop:
        assert stopped(orders) == [name]
        assert launched(orders) == []
        state, orders = play(state, HasEnded(name, NORMAL))
    for name in to_start:
        assert stopped(orders) == []
        assert launched(orders) == [name]
        state, orders = play(state, HasStarted(name))
    assert orders == []
    assert set(phases(state).values()) == {"running"}
    assert len(state.record.times) == 1  # a group restart counts once


def test_each_member_of_a_group_begins_again_for_its_own_reason() -> None:
    state, _ = play(begun(Strategy.ONE_FOR_ALL, "ab"), HasEnded("b", CRASH))
    told = Stopped("a sibling restarts")
    state, orders = play(state, HasEnded("a", told), HasStarted("a"))
    assert orders == [Launch("a", told), Launch("b", CRASH)]


def test_two_that_fail_at_once_are_restarted_once_together() -> None:
    state, orders = play(begun(Strategy.ONE_FOR_ALL, "ab"), HasEnded("a", CRASH), HasEnded("b", CRASH))
    assert launched(orders) == ["a"]
    state, orders = play(state, HasStarted("a"), HasStarted("b"))
    assert launched(orders) == ["b"]
    assert state.record.total == 1


def test_one_that_fails_while_its_group_stops_joins_and_is_not_counted() -> None:
    state, _ = play(begun(Strategy.ONE_FOR_ALL), HasEnded("a", CRASH), HasEnded("b", CRASH))
    state, orders = play(state, HasEnded("c", NORMAL))
    assert launched(orders) == ["a"]
    assert state.record.total == 1


def test_a_failed_start_in_a_group_counts_again_and_the_group_is_tried_again() -> None:
    state, _ = play(begun(Strategy.REST_FOR_ONE), HasEnded("b", CRASH), HasEnded("c", NORMAL))
    state, orders = play(state, HasEnded("b", CRASH))
    assert state.record.total == 2
    assert Remind("b", 0.05) in orders
    assert phases(state) == {"a": "running", "b": "waiting", "c": "waiting"}
    state, orders = play(state, Due("b"), HasStarted("b"), HasStarted("c"))
    assert launched(orders) == ["b", "c"]


def test_a_failed_start_in_the_middle_of_a_group_stops_those_already_started() -> None:
    state, _ = play(begun(Strategy.ONE_FOR_ALL, "ab"), HasEnded("b", CRASH), HasEnded("a", NORMAL), HasStarted("a"))
    state, orders = play(state, HasEnded("b", CRASH))
    assert stopped(orders) == ["a"]
    state, orders = play(state, HasEnded("a", NORMAL))
    assert launched(orders) == []
    assert phases(state) == {"a": "waiting", "b": "waiting"}


def test_one_told_to_stop_while_it_starts_counts_as_begun_but_not_as_running() -> None:
    state, _ = play(begun(Strategy.ONE_FOR_ALL, "ab"), HasEnded("a", CRASH), HasEnded("b", NORMAL), HasStarted("a"))
    state, orders = play(state, HasEnded("a", CRASH))
    assert stopped(orders) == ["b"]  # it was starting
    state, orders = play(state, HasStarted("b"))
    assert orders == []
    assert phases(state)["b"] == "stopping"


def test_a_temporary_sibling_is_removed_with_its_group() -> None:
    spec = ChildSpec("c", Actor, restart=Restart.TEMPORARY)
    state, orders = play(begun(Strategy.ONE_FOR_ALL, c=spec), HasEnded("a", CRASH))
    assert stopped(orders) == ["c"]
    state, orders = play(state, HasEnded("c", NORMAL))
    assert orders[0] == Close("c", NORMAL)
    assert stopped(orders) == ["b"]
    assert list(phases(state)) == ["a", "b"]


def test_a_transient_child_that_ended_normally_keeps_its_place_and_stays_ended() -> None:
    spec = ChildSpec("b", Actor, restart=Restart.TRANSIENT)
    state, orders = play(begun(Strategy.ONE_FOR_ALL, b=spec), HasEnded("b", NORMAL))
    assert orders == [Close("b", NORMAL)]
    state, orders = play(state, HasEnded("a", CRASH), HasEnded("c", NORMAL), HasStarted("a"), HasStarted("c"))
    assert launched(orders) == ["a", "c"]
    assert phases(state)["b"] == "done"


# --- delays


def test_in_rest_for_one_an_earlier_sibling_does_not_wait_for_a_later_ones_delay() -> None:
    state, _ = play(begun(Strategy.REST_FOR_ONE), HasEnded("b", CRASH), HasEnded("c", NORMAL), HasEnded("b", CRASH))
    assert phases(state) == {"a": "running", "b": "waiting", "c": "waiting"}
    state, orders = play(state, HasEnded("a", CRASH))
    assert launched(orders) == ["a"]
    state, orders = play(state, HasStarted("a"))
    assert orders == []  # b's delay is not over
    state, orders = play(state, Due("b"))
    assert launched(orders) == ["b"]


def test_in_one_for_all_everyone_waits_for_the_delay_and_is_shown_so() -> None:
    state, _ = play(begun(Strategy.ONE_FOR_ALL), HasEnded("b", CRASH))
    state, _ = play(state, HasEnded("c", NORMAL), HasEnded("a", NORMAL), HasStarted("a"))
    state, orders = play(state, HasEnded("b", CRASH), now=2.0)
    assert {order.name: order.delay for order in orders if isinstance(order, Hold)} == {
        "b": pytest.approx(0.05),
        "c": pytest.approx(0.05),
    }
    state, orders = play(state, HasEnded("a", NORMAL), now=2.02)
    [held] = orders
    assert isinstance(held, Hold)
    assert held.name == "a"
    assert held.delay == pytest.approx(0.03)  # what is left of it
    assert phases(state) == {"a": "waiting", "b": "waiting", "c": "waiting"}
    state, orders = play(state, Due("b"), now=2.05)
    assert launched(orders) == ["a"]


def test_one_that_waits_for_itself_joins_a_group_and_its_own_time_is_forgotten() -> None:
    state, _ = play(begun(Strategy.REST_FOR_ONE), HasEnded("c", CRASH), HasStarted("c"), HasEnded("c", CRASH))
    assert phases(state)["c"] == "waiting"
    state, _ = play(state, HasEnded("a", CRASH), HasEnded("b", NORMAL))
    state, orders = play(state, Due("c"))
    assert orders == []
    state, orders = play(state, HasStarted("a"), HasStarted("b"))
    assert launched(orders) == ["b", "c"]


def test_a_reminder_of_one_that_no_longer_waits_is_nothing() -> None:
    state = begun()
    assert play(state, Due("a")) == (state, [])
    assert play(state, Due("nobody")) == (state, [])


# --- limits


def test_the_limit_is_inclusive_and_counts_what_happened_exactly_a_period_ago() -> None:
    state = begun(intensity=Intensity(2, 5.0))
    for now in (10.0, 12.0):
        state, orders = play(state, HasEnded("a", CRASH), HasStarted("a"), now=now)
        assert not any(isinstance(order, GiveUp) for order in orders)
    _, orders = play(state, HasEnded("b", CRASH), now=15.0)
    assert orders == [GiveUp("b", CRASH, 2, 5.0)]
    _, orders = play(state, HasEnded("b", CRASH), now=15.001)
    assert not any(isinstance(order, GiveUp) for order in orders)


def test_a_child_with_a_budget_counts_for_itself_alone() -> None:
    spec = ChildSpec("b", Actor, budget=Intensity(1, 60.0))
    state = begun(intensity=Intensity(0, 5.0), b=spec)
    state, orders = play(state, HasEnded("b", CRASH), HasStarted("b"))
    assert orders[0] == Restarting("b", CRASH, 1, 1, 0.0)
    assert state.record.total == 0
    _, orders = play(state, HasEnded("b", CRASH))
    assert orders == [GiveUp("b", CRASH, 1, 60.0)]


# --- stopping on demand


def test_a_dismissed_child_does_not_come_back_from_a_group_restart() -> None:
    state, _ = play(begun(Strategy.ONE_FOR_ALL), HasEnded("a", CRASH), Dismiss("b", NORMAL), HasEnded("c", NORMAL))
    state, orders = play(state, HasEnded("b", NORMAL), HasStarted("a"), HasStarted("c"))
    assert launched(orders) == ["a", "c"]
    assert phases(state) == {"a": "running", "b": "done", "c": "running"}


def test_dismissing_the_one_whose_delay_the_group_waits_for_lets_the_group_go_on() -> None:
    state, _ = play(begun(Strategy.ONE_FOR_ALL, "ab"), HasEnded("a", CRASH), HasEnded("b", NORMAL))
    state, _ = play(state, HasEnded("a", CRASH))
    assert phases(state) == {"a": "waiting", "b": "waiting"}
    state, orders = play(state, Dismiss("a", NORMAL))
    assert orders == [Close("a", NORMAL), Launch("b", NORMAL)]
    assert play(state, Due("a"))[1] == []


def test_a_dismissed_child_that_fails_instead_of_stopping_is_gone_all_the_same() -> None:
    state, orders = play(begun(), Dismiss("a", NORMAL), HasEnded("a", CRASH))
    assert orders == [Close("a", CRASH)]
    assert state.record.total == 0


def test_dismissing_one_that_is_gone_or_was_never_there_is_nothing() -> None:
    state, _ = play(begun(), Dismiss("a", NORMAL), HasEnded("a", NORMAL))
    assert play(state, Dismiss("a", NORMAL)) == (state, [])
    assert play(state, Dismiss("nobody", NORMAL)) == (state, [])


# --- passivation


def test_a_passive_child_is_no_member_of_a_group() -> None:
    state, orders = play(begun(Strategy.ONE_FOR_ALL), HasPassivated("b"), HasEnded("a", CRASH))
    assert stopped(orders) == ["c"]
    state, orders = play(state, HasEnded("c", NORMAL), HasStarted("a"), HasStarted("c"))
    assert launched(orders) == ["a", "c"]
    state, orders = play(state, Woken("b"))
    assert orders == [Launch("b")]


def test_one_that_passivates_while_its_group_stops_is_not_started_again() -> None:
    state, orders = play(begun(Strategy.ONE_FOR_ALL), HasEnded("a", CRASH), HasPassivated("b"), HasEnded("c", NORMAL))
    state, orders = play(state, HasStarted("a"), HasStarted("c"))
    assert launched(orders) == ["c"]
    assert phases(state)["b"] == "passive"


def test_news_of_one_that_is_no_longer_known_is_nothing() -> None:
    state = begun()
    for signal in (HasStarted("nobody"), HasEnded("nobody", CRASH), HasPassivated("nobody"), HasStarted("a")):
        assert play(state, signal) == (state, [])
