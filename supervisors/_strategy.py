"""A supervisor's decisions: a pure function (state, signal) -> (state, orders).

The rules are OTP's (`supervisor`): start in order, each after the one before has started; stop in reverse; a group
restart counts once; a failed start during a restart counts again; a temporary child that a sibling pulls down is
removed; a transient child that ended normally keeps its place. Two things are better than there: restarts wait with a
backoff that starts at nothing, and a child that waits is still a child, visible as waiting.

A group restart is a plan: first `stopping`, newest first, one at a time; then, after the delay of the child that
failed, `starting`, in order, one at a time. A child that fails while a plan is under way joins it. Who waits in a plan
for a delay, its own or that of another, is as visible as waiting as the child of a restart without a group.

Different from OTP on purpose: a transient child that ended normally is not started again with its siblings, nor is one
that was stopped on demand, whatever is under way at the time.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

from runtime import Reason, is_failure
from supervisors._record import Record, Row
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
    ShutDown,
    Signal,
    StopChild,
    Woken,
)
from supervisors._spec import AutoShutdown, ChildSpec, Intensity, Restart, Strategy


@attrs.frozen
class Child:
    """One child as its supervisor sees it.

    Attributes:
        phase: `new` (not started yet), `starting`, `running`, `stopping` (told to), `down` (ended, to be started by the
            plan), `waiting` (the same, for a delay), `passive`, or `done` (ended for good, its place kept).
        begun: whether it has started once. If it never has, its failure is that of a first start.
        dismissed: whether it was told to stop for good, and has not ended yet.
        reason: why it ended last, while it is `down` or `waiting`.
    """

    spec: ChildSpec
    phase: str = "new"
    row: Row = Row()
    record: Record = Record()
    begun: bool = False
    dismissed: bool = False
    reason: Reason | None = None


@attrs.frozen
class State:
    """Everything a supervisor knows. `children` are in start order.

    Attributes:
        stopping: who is still to be stopped by the plan, the next one first.
        starting: who is still to be started by the plan, the next one first.
        delays: whose delays the plan waits for, and until when.
        auto_shutdown: whether the end of significant children ends the supervisor.
    """

    strategy: Strategy
    intensity: Intensity
    children: tuple[Child, ...] = ()
    record: Record = Record()
    announced: bool = False
    stopping: tuple[str, ...] = ()
    starting: tuple[str, ...] = ()
    delays: tuple[tuple[str, float], ...] = ()
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER

    def child(self, name: str) -> Child | None:
        return next((child for child in self.children if child.spec.name == name), None)

    def put(self, changed: Child, **more: Any) -> State:
        """The child as it is now, and what else has changed. One copy for both: it is most of what a decision costs."""
        name = changed.spec.name
        return attrs.evolve(self, children=tuple(changed if c.spec.name == name else c for c in self.children), **more)

    def without(self, name: str) -> State:
        """The child removed."""
        return attrs.evolve(self, children=tuple(child for child in self.children if child.spec.name != name)).out(name)

    def out(self, name: str) -> State:
        """The child kept, but no longer part of what is under way."""
        return attrs.evolve(
            self,
            stopping=tuple(other for other in self.stopping if other != name),
            starting=tuple(other for other in self.starting if other != name),
            delays=tuple(delay for delay in self.delays if delay[0] != name),
        )


Decision: TypeAlias = tuple[State, list[Order]]


def decide(state: State, signal: Signal, now: float, portion: float) -> Decision:
    """What follows from a signal at the time `now`; `portion` is a random number in [0, 1) for the jitter."""
    match signal:
        case Begin():
            names = tuple(child.spec.name for child in state.children if child.phase == "new")
            return _go_on(attrs.evolve(state, starting=names), now)
        case Add(spec):
            state = attrs.evolve(state, children=(*state.children, Child(spec)))
            if state.announced:
                return _launch(state, spec.name)
            return attrs.evolve(state, starting=(*state.starting, spec.name)), []
        case HasStarted(name):
            return _started(state, name, now)
        case HasEnded(name, reason):
            return _ended(state, name, reason, now, portion)
        case Dismiss(name, reason):
            return _dismissed(state, name, reason, now)
        case HasPassivated(name):
            child = state.child(name)
            return (state, []) if child is None else (state.put(attrs.evolve(child, phase="passive")).out(name), [])
        case Woken(name):
            return _launch(state, name)
        case Due(name):
            return _due(state, name, now)


def _launch(state: State, name: str) -> Decision:
    child = state.child(name)
    assert child is not None
    return state.put(attrs.evolve(child, phase="starting", reason=None)), [Launch(name, child.reason)]


def _go_on(state: State, now: float) -> Decision:
    """The next step of what is under way: stop the next one, or start the next one, or announce."""
    state, orders = _hold_back(state, now)
    if state.stopping:  # whoever has ended is no longer among them
        name = state.stopping[0]
        child = state.child(name)
        assert child is not None
        if child.phase == "stopping":
            return state, orders
        return state.put(attrs.evolve(child, phase="stopping")), [*orders, StopChild(name)]
    if state.starting:
        name = state.starting[0]
        child = state.child(name)
        assert child is not None
        if child.phase == "starting" or _held_back(state, name):
            return state, orders
        state, launched = _launch(state, name)
        return state, [*orders, *launched]
    if not state.announced:
        return attrs.evolve(state, announced=True), [*orders, Announce()]
    return state, orders


def _held_back(state: State, name: str) -> bool:
    """Whether a delay keeps `name` from being the next to start: its own, or where all depend on all, anyone's."""
    if state.strategy is Strategy.ONE_FOR_ALL:
        return bool(state.delays)
    return any(name == other for other, _ in state.delays)


def _hold_back(state: State, now: float) -> Decision:
    """Show as waiting whoever has ended and is to be started after a delay."""
    orders: list[Order] = []
    delays = dict(state.delays)
    until = max(delays.values(), default=None) if state.strategy is Strategy.ONE_FOR_ALL else None
    for name in state.starting:
        if name in delays:
            until = delays[name] if until is None else max(until, delays[name])
        child = state.child(name)
        assert child is not None
        if until is not None and child.phase == "down":
            state = state.put(attrs.evolve(child, phase="waiting"))
            orders.append(Hold(name, max(0.0, until - now)))
    return state, orders


def _started(state: State, name: str, now: float) -> Decision:
    child = state.child(name)
    if child is None or child.phase not in {"starting", "stopping"}:
        return state, []
    phase = "stopping" if child.phase == "stopping" else "running"
    state = state.put(attrs.evolve(child, row=child.row.start(now), begun=True, phase=phase))
    if phase == "stopping":
        return state, []
    if state.starting[:1] == (name,):
        return _go_on(attrs.evolve(state, starting=state.starting[1:]), now)
    return state, []


def _ended(state: State, name: str, reason: Reason, now: float, portion: float) -> Decision:
    child = state.child(name)
    if child is None:
        return state, []
    restart = child.spec.restart
    if child.dismissed:
        return _finish(state, child, reason, now)
    if child.phase == "stopping" or name in state.stopping:
        # A member of a group restart: whatever the reason, it is what the plan wanted.
        if restart is Restart.TEMPORARY:
            return _finish(state, child, reason, now)
        rest = tuple(other for other in state.stopping if other != name)
        state = attrs.evolve(state.put(attrs.evolve(child, phase="down", reason=reason)), stopping=rest)
        return _go_on(state, now)
    if not state.announced and not child.begun and is_failure(reason):
        return state, [GiveUp(name, reason, 0, state.intensity.period)]
    if restart is Restart.TEMPORARY or (restart is Restart.TRANSIENT and not is_failure(reason)):
        state, orders = _finish(state, child, reason, now)
        return state, [orders[0], ShutDown(name, reason)] if _shuts_down(state, child) else orders
    return _restart(state, child, reason, now, portion)


def _shuts_down(state: State, ended: Child) -> bool:
    """Whether the supervisor ends with this child, which has ended by itself and stays ended."""
    if not ended.spec.significant or state.auto_shutdown is AutoShutdown.NEVER:
        return False
    others = any(child.spec.significant and child.phase != "done" for child in state.children)
    return state.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT or not others


def _dismissed(state: State, name: str, reason: Reason, now: float) -> Decision:
    child = state.child(name)
    if child is None or child.phase == "done":
        return state, []
    if child.phase in {"starting", "running", "stopping"}:
        return state.put(attrs.evolve(child, dismissed=True)), []
    return _finish(state, child, reason, now)


def _finish(state: State, child: Child, reason: Reason, now: float) -> Decision:
    """It ended and stays ended."""
    name = child.spec.name
    if child.spec.restart is Restart.TEMPORARY:
        state = state.without(name)
    else:
        state = state.put(attrs.evolve(child, phase="done", dismissed=False, reason=None)).out(name)
    state, orders = _go_on(state, now)
    return state, [Close(name, reason), *orders]


def _restart(state: State, child: Child, reason: Reason, now: float, portion: float) -> Decision:
    name = child.spec.name
    budget = child.spec.budget
    row = child.row.end(now, child.spec.backoff)
    if budget is None:
        shared, allowed = state.record.add(now, state.intensity)
        record, limit = shared, state.intensity
        own = Record(child.record.times, child.record.total + 1)
    else:
        own, allowed = child.record.add(now, budget)
        record, limit, shared = own, budget, state.record
    delay = child.spec.backoff.delay(row.streak, portion)
    group = _group(state, name)
    alone = allowed and len(group) == 1 and name not in state.starting
    phase = ("waiting" if delay > 0 else "starting") if alone else "down"
    why = None if phase == "starting" else reason
    state = state.put(attrs.evolve(child, phase=phase, row=row, record=own, reason=why), record=shared)
    if not allowed:
        return state, [GiveUp(name, reason, len(record.times) - 1, limit.period)]
    orders: list[Order] = [Restarting(name, reason, len(record.times), limit.limit, delay)]
    if delay > 0:
        orders.append(Remind(name, delay))
    if alone:
        orders.append(Hold(name, delay) if delay > 0 else Launch(name, reason))
        return state, orders
    members = [other for other in state.children if other.spec.name in group or other.spec.name in state.starting]
    alive = [other.spec.name for other in members if other.phase in {"starting", "running", "stopping"}]
    state = attrs.evolve(
        state.out(name),
        stopping=tuple(reversed(alive)),
        starting=tuple(other.spec.name for other in members),
    )
    if delay > 0:
        state = attrs.evolve(state, delays=(*state.delays, (name, now + delay)))
    state, more = _go_on(state, now)
    return state, [*orders, *more]


def _group(state: State, name: str) -> set[str]:
    """Who restarts with `name`: itself, and by strategy its siblings that have been started and not finished."""
    names = [child.spec.name for child in state.children if child.phase not in {"new", "done", "passive"}]
    match state.strategy:
        case Strategy.ONE_FOR_ONE:
            return {name}
        case Strategy.ONE_FOR_ALL:
            return set(names)
        case Strategy.REST_FOR_ONE:
            return set(names[names.index(name) :])


def _due(state: State, name: str, now: float) -> Decision:
    if any(name == other for other, _ in state.delays):
        return _go_on(attrs.evolve(state, delays=tuple(delay for delay in state.delays if delay[0] != name)), now)
    child = state.child(name)
    if child is None or child.phase != "waiting" or name in state.starting:
        return state, []
    return _launch(state, name)
