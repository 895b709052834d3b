"""The decisions of a supervisor, without a runtime: tables, and a small world of children that do anything at all."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import Actor, Crashed, Reason, Stopped
from supervisors import Backoff, ChildSpec, Intensity, Restart, Strategy
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

if TYPE_CHECKING:
    from collections.abc import Iterable

CRASH = Crashed(RuntimeError("crashed"))
NORMAL = Stopped("done")
PLENTY = Intensity(10_000, 5.0)


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


def phases(state: State) -> dict[str, str]:
    return {child.spec.name: child.phase for child in state.children}


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


# --- anything at any time


@attrs.define
class World:
    """Carries out orders with children whose lives the test decides. News reaches the supervisor in order, later.

    `tasks` are the children that have a task: `starting`, `running`, `told` (to stop), `over` (the news is on its way).
    """

    state: State
    now: float = 0.0
    tasks: dict[str, str] = attrs.field(factory=dict)
    news: deque[Signal] = attrs.field(factory=deque)
    due: dict[str, float] = attrs.field(factory=dict)
    launches: dict[str, int] = attrs.field(factory=dict)
    woken: dict[str, int] = attrs.field(factory=dict)
    dismissed: set[str] = attrs.field(factory=set)
    announced: int = 0

    def decide(self, signal: Signal) -> None:
        self.state, orders = decide(self.state, signal, self.now, 0.5)
        for order in orders:
            self.carry_out(order, signal)
        names = [child.spec.name for child in self.state.children]
        assert list(self.state.starting) == sorted(self.state.starting, key=names.index)
        assert list(self.state.stopping) == sorted(self.state.stopping, key=names.index, reverse=True)

    def carry_out(self, order: Order, signal: Signal) -> None:
        match order:
            case Launch(name):
                assert name not in self.tasks, "two incarnations at a time"
                assert name not in self.dismissed
                if not isinstance(signal, Woken | Add) and self.state.strategy is not Strategy.ONE_FOR_ONE:
                    self.check_order(name)
                self.tasks[name] = "starting"
                self.launches[name] = self.launches.get(name, 0) + 1
            case StopChild(name):
                assert name in self.tasks
                if self.tasks[name] in {"starting", "running"}:
                    self.tasks[name] = "told"
            case Hold(name):
                assert name not in self.tasks
            case Remind(name, delay):
                self.due[name] = self.now + delay
            case Close(name):
                assert name not in self.tasks
            case Announce():
                self.announced += 1
            case GiveUp():
                raise AssertionError(order)
            case _:
                assert isinstance(order, Restarting)

    def check_order(self, name: str) -> None:
        """Whoever depends on others starts after them."""
        for child in self.state.children:
            if child.spec.name == name:
                break
            assert child.phase not in {"down", "waiting", "stopping", "new"}, (name, phases(self.state))

    def end(self, name: str, reason: Reason) -> None:
        self.tasks[name] = "over"
        self.news.append(HasEnded(name, reason))

    def hear(self) -> None:
        signal = self.news.popleft()
        if isinstance(signal, HasEnded | HasPassivated):
            del self.tasks[signal.name]
        self.decide(signal)

    def act(self, what: str, name: str) -> None:
        task = self.tasks.get(name)
        started = any(isinstance(signal, HasStarted) and signal.name == name for signal in self.news)
        child = self.state.child(name)
        match what:
            case "start" if task in {"starting", "told"} and not started and child and child.phase != "running":
                if task == "starting":
                    self.tasks[name] = "running"
                self.news.append(HasStarted(name))
            case "crash" if task == "running" or (task in {"starting", "told"} and child and child.begun):
                self.end(name, CRASH)
            case "leave" if task == "running":
                self.end(name, NORMAL)
            case "obey" if task == "told":
                self.end(name, NORMAL)
            case "passivate" if task == "running":
                self.tasks[name] = "over"
                self.news.append(HasPassivated(name))
            case "wake" if child is not None and child.phase == "passive":
                self.woken[name] = self.woken.get(name, 0) + 1
                self.decide(Woken(name))
            case "dismiss" if child is not None and child.phase != "done" and self.announced:
                self.dismissed.add(name)
                if task in {"starting", "running"}:
                    self.tasks[name] = "told"
                self.decide(Dismiss(name, NORMAL))
            case "due" if self.due:
                first = min(self.due, key=lambda each: self.due[each])
                self.now = max(self.now, self.due.pop(first))
                self.decide(Due(first))
            case "hear" if self.news:
                self.hear()
            case _:
                self.now += 0.5

    def come_to_rest(self) -> None:
        """Everything that is under way comes to its end, and nothing else fails."""
        for _ in range(1000):
            if not (self.news or self.due or {"starting", "told"} & set(self.tasks.values())):
                return
            while self.news:
                self.hear()
            for name, task in list(self.tasks.items()):
                self.act("obey" if task == "told" else "start", name)
            if not self.news:
                self.act("due", "")
        raise AssertionError(f"no rest: {self}")


NAMES = "abcd"
ACTIONS = ("start", "crash", "leave", "obey", "passivate", "wake", "dismiss", "due", "hear", "hear", "hear", "time")


@settings(max_examples=400, deadline=None)
@given(
    strategy=st.sampled_from(Strategy),
    restarts=st.tuples(*[st.sampled_from(Restart)] * len(NAMES)),
    base=st.sampled_from((0.0, 0.1, 3.0)),
    actions=st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from(NAMES)), max_size=80),
    late=st.integers(0, 2),
)
def test_whatever_happens_it_comes_to_rest_with_everyone_where_they_belong(
    strategy: Strategy,
    restarts: tuple[Restart, ...],
    base: float,
    actions: list[tuple[str, str]],
    late: int,
) -> None:
    specs = [
        ChildSpec(name, Actor, restart=restart, backoff=Backoff(base=base))
        for name, restart in zip(NAMES, restarts, strict=True)
    ]
    world = World(State(strategy, PLENTY, tuple(map(Child, specs[: len(NAMES) - late]))))
    world.decide(Begin())
    for index, (what, name) in enumerate(actions):
        if index == len(actions) // 2:
            for spec in specs[len(NAMES) - late :]:
                world.decide(Add(spec))
            late = 0
        world.act(what, name)
    world.come_to_rest()
    assert world.announced == 1
    assert (world.state.stopping, world.state.starting, world.state.delays) == ((), (), ())
    for child in world.state.children:
        name = child.spec.name
        assert child.phase in {"running", "passive", "done"}
        assert (child.phase == "running") == (name in world.tasks)
        if child.phase == "done":
            assert name in world.dismissed or child.spec.restart is Restart.TRANSIENT
        if child.spec.restart is Restart.TEMPORARY:
            assert world.launches[name] <= 1 + world.woken.get(name, 0)
