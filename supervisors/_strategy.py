"""A supervisor's decisions: a pure function (state, signal) -> (state, orders).

The rules are OTP's (`supervisor`): start in order, each after the one before has started; stop in reverse; a group
restart counts once; a failed start during a restart counts again; a temporary child that a sibling pulls down is
removed; a transient child that ended normally keeps its place. Two things are better than there: restarts wait with a
backoff that starts at nothing, and a child that waits is still a child, visible as waiting.

A group restart is a plan: first `stopping`, newest first, one at a time; then, after the delay of the child that
failed, `starting`, in order, one at a time. A child that fails while a plan is under way joins it.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from runtime import Reason, is_failure
from supervisors._record import Record, Row
from supervisors._spec import ChildSpec, Intensity, Restart, Strategy


@attrs.frozen
class Child:
    """One child as its supervisor sees it.

    `phase` is `new` (not started yet), `starting`, `running`, `stopping` (told to), `down` (ended, to be started by the
    plan), `waiting` (for its delay), `passive`, or `done` (ended for good, its place kept).
    """

    spec: ChildSpec
    phase: str = "new"
    row: Row = Row()
    record: Record = Record()


@attrs.frozen
class State:
    """Everything a supervisor knows. `children` are in start order."""

    strategy: Strategy
    intensity: Intensity
    children: tuple[Child, ...] = ()
    record: Record = Record()
    announced: bool = False
    stopping: tuple[str, ...] = ()
    starting: tuple[str, ...] = ()
    delayed: bool = False

    def child(self, name: str) -> Child | None:
        return next((child for child in self.children if child.spec.name == name), None)

    def put(self, changed: Child) -> State:
        name = changed.spec.name
        return attrs.evolve(self, children=tuple(changed if c.spec.name == name else c for c in self.children))

    def without(self, name: str) -> State:
        return attrs.evolve(
            self,
            children=tuple(child for child in self.children if child.spec.name != name),
            stopping=tuple(other for other in self.stopping if other != name),
            starting=tuple(other for other in self.starting if other != name),
        )


# Signals


@attrs.frozen
class Begin:
    """The supervisor has started: start the children."""


@attrs.frozen
class Add:
    """A child to start now, after all others."""

    spec: ChildSpec


@attrs.frozen
class HasStarted:
    name: str


@attrs.frozen
class HasEnded:
    """`asked`: whether the supervisor had been asked to stop this child for good."""

    name: str
    reason: Reason
    asked: bool = False


@attrs.frozen
class HasPassivated:
    name: str


@attrs.frozen
class Woken:
    """A message has come for a passive child."""

    name: str


@attrs.frozen
class Due:
    """The delay of `name`'s restart is over; for a group, that of the child which caused it."""

    name: str


Signal: TypeAlias = Begin | Add | HasStarted | HasEnded | HasPassivated | Woken | Due

# Orders


@attrs.frozen
class Launch:
    """Start a child: its first incarnation, or the next one in the same cell."""

    name: str
    reason: Reason | None = None


@attrs.frozen
class StopChild:
    name: str


@attrs.frozen
class Hold:
    """Show the child as waiting, and come back with `Due` after `delay` seconds."""

    name: str
    delay: float
    also: tuple[str, ...] = ()


@attrs.frozen
class Close:
    """The child has ended for good: its address is dead."""

    name: str
    reason: Reason


@attrs.frozen
class Announce:
    """All children have started for the first time."""


@attrs.frozen
class Restarting:
    """For the report: a restart was granted."""

    name: str
    reason: Reason
    used: int
    limit: int
    delay: float


@attrs.frozen
class GiveUp:
    """The budget is spent, or a first start failed: stop everything and fail."""

    name: str
    reason: Reason
    restarts: int
    period: float


Order: TypeAlias = Launch | StopChild | Hold | Close | Announce | Restarting | GiveUp
Decision: TypeAlias = tuple[State, list[Order]]


def decide(state: State, signal: Signal, now: float, portion: float) -> Decision:
    """What follows from a signal at the time `now`; `portion` is a random number in [0, 1) for the jitter."""
    match signal:
        case Begin():
            return _go_on(attrs.evolve(state, starting=tuple(child.spec.name for child in state.children)))
        case Add(spec):
            state = attrs.evolve(state, children=(*state.children, Child(spec)))
            if state.announced:
                return _launch(state, spec.name, None)
            return attrs.evolve(state, starting=(*state.starting, spec.name)), []
        case HasStarted(name):
            return _started(state, name, now)
        case HasEnded(name, reason, asked):
            return _ended(state, name, reason, asked=asked, now=now, portion=portion)
        case HasPassivated(name):
            child = state.child(name)
            return (state, []) if child is None else (state.put(attrs.evolve(child, phase="passive")), [])
        case Woken(name):
            return _launch(state, name, None)
        case Due(name):
            return _due(state, name)


def _launch(state: State, name: str, reason: Reason | None) -> Decision:
    child = state.child(name)
    assert child is not None
    return state.put(attrs.evolve(child, phase="starting")), [Launch(name, reason)]


def _go_on(state: State, reason: Reason | None = None) -> Decision:
    """The next step of what is under way: stop the next one, or start the next one, or announce."""
    orders: list[Order] = []
    while state.stopping:
        name = state.stopping[0]
        child = state.child(name)
        assert child is not None
        if child.phase in {"starting", "running"}:
            return state.put(attrs.evolve(child, phase="stopping")), [*orders, StopChild(name)]
        if child.phase == "stopping":
            return state, orders
        state = attrs.evolve(state, stopping=state.stopping[1:])
    if state.delayed:
        return state, orders
    if state.starting:
        name = state.starting[0]
        child = state.child(name)
        assert child is not None
        if child.phase in {"starting", "stopping"}:
            return state, orders
        state, launched = _launch(state, name, reason)
        return state, [*orders, *launched]
    if not state.announced:
        return attrs.evolve(state, announced=True), [*orders, Announce()]
    return state, orders


def _started(state: State, name: str, now: float) -> Decision:
    child = state.child(name)
    if child is None or child.phase != "starting":
        return state, []
    state = state.put(attrs.evolve(child, phase="running", row=child.row.start(now)))
    if state.starting[:1] == (name,):
        return _go_on(attrs.evolve(state, starting=state.starting[1:]))
    return state, []


def _ended(state: State, name: str, reason: Reason, *, asked: bool, now: float, portion: float) -> Decision:
    child = state.child(name)
    if child is None:
        return state, []
    if asked and child.phase != "stopping":
        return _finish(state, child, reason)
    if child.phase == "stopping" or name in state.stopping:
        # A member of a group restart: whatever the reason, it is what the plan wanted.
        if child.spec.restart is Restart.TEMPORARY or (asked and name not in state.starting):
            return _then_go_on(state.without(name), [Close(name, reason)])
        rest = tuple(other for other in state.stopping if other != name)
        state = attrs.evolve(state.put(attrs.evolve(child, phase="down")), stopping=rest)
        return _go_on(state, reason)
    restart = child.spec.restart
    if restart is Restart.TEMPORARY or (restart is Restart.TRANSIENT and not is_failure(reason)):
        return _finish(state, child, reason)
    if not state.announced:
        return state, [GiveUp(name, reason, 0, state.intensity.period)]
    return _restart(state, child, reason, now, portion)


def _then_go_on(state: State, orders: list[Order]) -> Decision:
    state, more = _go_on(state)
    return state, [*orders, *more]


def _finish(state: State, child: Child, reason: Reason) -> Decision:
    """It ended and stays ended."""
    name = child.spec.name
    orders: list[Order] = [Close(name, reason)]
    if child.spec.restart is Restart.TEMPORARY:
        return _then_go_on(state.without(name), orders)
    state = attrs.evolve(
        state.put(attrs.evolve(child, phase="done")),
        starting=tuple(other for other in state.starting if other != name),
    )
    return _then_go_on(state, orders)


def _restart(state: State, child: Child, reason: Reason, now: float, portion: float) -> Decision:
    name = child.spec.name
    budget = child.spec.budget
    row = child.row.end(now, child.spec.backoff)
    if budget is None:
        record, allowed = state.record.add(now, state.intensity)
        limit = state.intensity
        state = attrs.evolve(state, record=record)
        own = attrs.evolve(child.record, total=child.record.total + 1)
    else:
        own, allowed = child.record.add(now, budget)
        record, limit = own, budget
    state = state.put(attrs.evolve(child, phase="down", row=row, record=own))
    if not allowed:
        return state, [GiveUp(name, reason, len(record.times) - 1, limit.period)]
    delay = child.spec.backoff.delay(row.streak, portion)
    orders: list[Order] = [Restarting(name, reason, len(record.times), limit.limit, delay)]
    group = _group(state, name)
    if len(group) == 1 and name not in state.starting:
        if delay > 0:
            child = attrs.evolve(child, phase="waiting", row=row, record=own)
            return state.put(child), [*orders, Hold(name, delay)]
        state, launched = _launch(state, name, reason)
        return state, [*orders, *launched]
    members = [other for other in state.children if other.spec.name in group or other.spec.name in state.starting]
    alive = [other.spec.name for other in members if other.phase in {"starting", "running", "stopping"}]
    state = attrs.evolve(
        state,
        stopping=tuple(reversed(alive)),
        starting=tuple(other.spec.name for other in members),
        delayed=delay > 0 or state.delayed,
    )
    if delay > 0:
        down = tuple(other.spec.name for other in members if other.phase in {"down", "waiting"})
        orders.append(Hold(name, delay, down))
    state, more = _go_on(state, reason)
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


def _due(state: State, name: str) -> Decision:
    child = state.child(name)
    if state.delayed and name in state.starting:
        return _go_on(attrs.evolve(state, delayed=False))
    if child is None or child.phase != "waiting":
        return state, []
    return _launch(state, name, None)
