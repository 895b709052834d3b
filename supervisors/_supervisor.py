"""Supervisors with a fixed set of children: the orders of `_strategy` carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from runtime import ActorError, ChildRestart, GaveUp, Host, InvalidSpec, Restarts, Spec, Stopped
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
from supervisors._spec import AutoShutdown, ChildSpec, Intensity, Strategy
from supervisors._strategy import Child, State, decide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime import Reason, Ref
    from runtime._cell import Cell


class RestartLimitReached(ActorError):
    """A supervisor ends: a child failed more often than allowed, or could not be started at first."""

    def __init__(self, path: str, reason: Reason, restarts: int, period: float) -> None:
        super().__init__(path, reason, restarts, period)
        self.path = path
        self.reason = reason
        self.restarts = restarts
        self.period = period

    def __str__(self) -> str:
        if self.restarts == 0:
            return f"{self.path} ended and may not be restarted: {self.reason}"
        return f"{self.path} failed again after {self.restarts} restarts in {self.period:g} s: {self.reason}"


class Supervisor(Host):
    """Starts its children in order, restarts them by its strategy, and gives up when they fail too often.

    Subclass it and give `children_of` and, if the defaults do not fit, `strategy` and `intensity`; or make one with
    `supervise`. A supervisor may handle messages of its own in `receive` (pass on what is not yours with `super()`);
    it must never await there.

    The supervisor itself counts as started when all of its first children are.
    """

    announces: ClassVar[bool] = True
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: Intensity = Intensity()
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    _state: State = State(Strategy.ONE_FOR_ONE, Intensity())

    def children_of(self) -> Sequence[ChildSpec]:
        """The children to begin with, in start order. Called once an incarnation."""
        return ()

    async def started(self) -> None:
        """Begin to start the children. Subclasses that override this call it last.

        What `start_child` was given before comes after the children of `children_of`.
        """
        specs = tuple(self.children_of())
        early = tuple(child for child in self._state.children if child.spec.name not in {spec.name for spec in specs})
        check_policy("strategy", self.strategy, "intensity", self.intensity)
        check_children(specs)
        check_significance(specs, self.auto_shutdown)
        children = (*map(Child, specs), *early)
        self._state = State(self.strategy, self.intensity, children, auto_shutdown=self.auto_shutdown)
        self._decide(Begin())

    def start_child(self, spec: Spec) -> Ref[Any]:
        """Add a child and start it now. Its address accepts messages at once.

        Raises:
            InvalidSpec: the name is taken, or the spec is not a ChildSpec.
        """
        if not isinstance(spec, ChildSpec):
            raise InvalidSpec("spec", type(spec).__name__, "a ChildSpec")
        check_significance((spec,), self.auto_shutdown)
        known = self._state.child(spec.name)
        if known is not None and known.phase == "done":
            self._state = self._state.without(spec.name)
        elif known is not None:
            raise InvalidSpec("name", spec.name, f"a name that no child of {self.ref.path} has")
        self._decide(Add(spec))
        cell = self._cell.children.get(spec.name)
        if cell is None:  # still starting the first children: make the mailbox now, launch in turn
            cell = self._cell.make_child(spec)
        return cell.ref

    def stop_child(
        self, name: str, *, why: str = "stopped by its host", within: float | None = None, drain: bool = False
    ) -> None:
        """End a child for good, whatever is under way with it: it does not come back with its siblings.

        One that lives is asked to end within `within` seconds (its spec's `shutdown` if None), with `drain` after what
        is queued; one that waits, or is passive, or has not started yet, ends here and now. `start_child` may use the
        name again when it has ended.

        Raises:
            InvalidSpec: there is no such child.
        """
        child = self._state.child(name)
        self._decide(Dismiss(name, Stopped(why)))
        if child is None or child.phase in {"starting", "running", "stopping", "done"}:
            super().stop_child(name, why=why, within=within, drain=drain)

    # --- what the kernel calls

    def child_started(self, cell: Cell) -> object:
        self._decide(HasStarted(cell.spec.name))
        return None

    def child_ended(self, cell: Cell, reason: Reason) -> object:
        self._decide(HasEnded(cell.spec.name, reason))
        return None

    def child_passivated(self, cell: Cell) -> object:
        self._decide(HasPassivated(cell.spec.name))
        return None

    def revive(self, spec: Spec) -> bool:
        child = self._state.child(spec.name)
        if child is None:  # started on demand, before this supervisor restarted
            self.start_child(spec)
        elif child.phase == "new":  # as before, but one of the first: its mailbox now, its start in turn
            self._cell.make_child(child.spec)
        else:
            self._decide(Woken(spec.name))
        return True

    def restarts_of(self, name: str) -> Restarts | None:
        child = self._state.child(name)
        if child is None:
            return None
        limit = child.spec.budget or self.intensity
        record = child.record if child.spec.budget else self._state.record
        return Restarts(child.record.total, record.used(self.now(), limit), limit.limit, limit.period)

    async def receive(self, message: Any) -> object:
        if isinstance(message, Due):
            self._decide(message)
        return None

    # --- carrying out

    def _decide(self, signal: Signal) -> None:
        self._state, orders = decide(self._state, signal, self.now(), self.system.rng.random())
        for order in orders:
            self._carry_out(order)

    def _carry_out(self, order: Order) -> None:
        own = self._cell
        match order:
            case Launch(name, reason):
                cell = own.children.get(name)
                if cell is None:
                    child = self._state.child(name)
                    assert child is not None
                    cell = own.make_child(child.spec)
                if reason is None:
                    cell.launch()
                else:
                    own.relaunch(cell, reason)
            case StopChild(name):
                cell = own.children[name]
                if cell.running:  # if not, it has just ended, and the news of that is under way
                    own.stop_child(cell, "a sibling restarts", self.now() + cell.spec.shutdown)
            case Hold(name, delay):
                own.hold_child(own.children[name], delay)
            case Remind(name, delay):
                self.timer(("due", name), delay, Due(name))
            case Close(name, reason):
                cell = own.children.get(name)
                if cell is not None:
                    own.close(cell, reason)
                else:  # it was passive, or never launched
                    self.system.ref(own.path_of(name)).target = self.system.dead
            case Announce():
                own.announce()
            case Restarting(name, reason, used, limit, delay):
                path = own.path_of(name)
                self.system.report(ChildRestart(path, str(reason), used, limit, delay))
            case ShutDown(name, reason):
                self.stop(f"{own.path_of(name)} has ended: {reason}")
            case GiveUp(name, reason, restarts, period):
                path = own.path_of(name)
                self.system.report(GaveUp(path, str(reason), restarts, period, escalated=True))
                raise RestartLimitReached(path, reason, restarts, period)


class FixedSupervisor(Supervisor):
    """What `supervise` makes."""

    def __init__(
        self, children: tuple[ChildSpec, ...], strategy: Strategy, intensity: Intensity, auto_shutdown: AutoShutdown
    ) -> None:
        self._specs = children
        self.strategy = strategy
        self.intensity = intensity
        self.auto_shutdown = auto_shutdown

    def children_of(self) -> Sequence[ChildSpec]:
        return self._specs


def check_policy(strategy_key: str, strategy: object, intensity_key: str, intensity: object) -> None:
    """Refuse a strategy that is none, and an intensity that is none."""
    if not isinstance(strategy, Strategy):
        raise InvalidSpec(strategy_key, strategy, ", ".join(f"Strategy.{each.name}" for each in Strategy))
    if not isinstance(intensity, Intensity):
        raise InvalidSpec(intensity_key, intensity, "an Intensity")


def check_children(specs: Sequence[object]) -> None:
    """Refuse what is not a ChildSpec, and names that occur twice, before anything starts."""
    names: set[str] = set()
    for spec in specs:
        if not isinstance(spec, ChildSpec):
            raise InvalidSpec("children", type(spec).__name__, "ChildSpec only")
        if spec.name in names:
            raise InvalidSpec("children", spec.name, "each name once")
        names.add(spec.name)


def check_significance(specs: Sequence[ChildSpec], auto_shutdown: AutoShutdown) -> None:
    """Refuse significant children under a supervisor that never shuts down because of them."""
    if not isinstance(auto_shutdown, AutoShutdown):
        allowed = ", ".join(f"AutoShutdown.{each.name}" for each in AutoShutdown)
        raise InvalidSpec("auto_shutdown", auto_shutdown, allowed)
    for spec in specs:
        if spec.significant and auto_shutdown is AutoShutdown.NEVER:
            raise InvalidSpec(f"{spec.name}.significant", True, "False where auto_shutdown is AutoShutdown.NEVER")


def supervise(
    name: str,
    children: Sequence[ChildSpec],
    *,
    strategy: Strategy = Strategy.ONE_FOR_ONE,
    intensity: Intensity | None = None,
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    **child: Any,
) -> ChildSpec:
    """The spec of a supervisor over `children`, in start order.

    Args:
        name: the supervisor's name under its parent.
        children: specs, validated now.
        strategy: who restarts together.
        intensity: how many restarts in what time; `Intensity()` if None.
        auto_shutdown: whether the supervisor ends when its significant children have.
        child: more fields of the supervisor's own `ChildSpec` (`restart`, `budget`, …). `shutdown` is infinite unless
            given: the tree's deadline holds.

    Raises:
        InvalidSpec: naming key, value and what is allowed.
    """
    limit = Intensity() if intensity is None else intensity
    check_policy(f"{name}.strategy", strategy, f"{name}.intensity", limit)
    specs = tuple(children)
    check_children(specs)
    check_significance(specs, auto_shutdown)
    child.setdefault("shutdown", float("inf"))
    return ChildSpec(name, lambda: FixedSupervisor(specs, strategy, limit, auto_shutdown), **child)
