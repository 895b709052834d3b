"""The decisions of a supervisor, without a runtime: a small world of children that do anything at all."""

from __future__ import annotations

from collections import deque

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import Actor, Reason
from supervisors import Backoff, ChildSpec, Restart, Strategy
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
from tests.support.examples import examples


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


@settings(max_examples=examples(4), deadline=None)
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
