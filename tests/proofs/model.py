"""A pure model of what supervisors, actors and mailboxes promise: OTP's rules, and time as a number.

It knows nothing of trio or of the library. A program is carried out on it and on the real thing, step by step, and both
must say the same. `Model` is one supervisor with its children; `Chain` is a fallback.

It is written for steps that come one at a time: between two of them everything that can happen without time passing has
happened. So it need not say in which order two things happen at one moment, and durations are chosen such that no two
events that touch each other ever fall together (see `WORK`).
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

import attrs

CAPACITY: Final = 3
"""Messages that may wait in a mailbox."""
WORK: Final = (1.01, 1.0101, 1.0102, 1.0103)
"""Seconds that a piece of work takes, by child. No sum of these, of `SLOW` and of a program's own steps is another."""
SLOW: Final = 0.753
"""Seconds of a slow start."""
SHORT: Final = 0.507
LONG: Final = 100.007
"""Seconds until the deadline of an ask, request or send."""


@attrs.define(eq=False)
class Offer:
    """A message: how it was offered, what it makes its receiver do, and how that came out."""

    number: int
    kind: str
    how: str
    deadline: float
    outcome: str | None = None

    def settle(self, outcome: str) -> None:
        if self.outcome is None:
            self.outcome = outcome


@attrs.define(eq=False)
class Child:
    name: str
    index: int
    restart: str
    phase: str = "gone"
    incarnation: int = 0
    suspended: bool = False
    told: bool = False
    dismissed: bool = False
    hand: Offer | None = None
    until: float = 0.0
    inbox: deque[Offer] = attrs.field(factory=deque)
    senders: deque[Offer] = attrs.field(factory=deque)
    starts: list[str] = attrs.field(factory=list)
    heard: list[int] = attrs.field(factory=list)


class Model:
    """A supervisor and its children.

    Args:
        strategy: `one_for_one`, `one_for_all` or `rest_for_one`.
        restarts: the restart type of each child, in start order.
        limit: restarts allowed in any `period` seconds.
        period: see `limit`.

    Attributes:
        happened: how often each thing that has a rule of its own has happened.
    """

    def __init__(self, strategy: str, restarts: dict[str, str], limit: int, period: float) -> None:
        self.strategy, self.limit, self.period = strategy, limit, period
        self.now = 0.0
        self.over = False
        self.times: list[float] = []
        self.restarts = 0
        self.stopping: list[Child] = []
        self.starting: list[Child] = []
        self.offers: list[Offer] = []
        self.happened: Counter[str] = Counter()
        self.children = {name: Child(name, index, kind) for index, (name, kind) in enumerate(restarts.items())}
        self.order = list(self.children.values())
        self.by_age = list(self.order)
        for child in self.order:
            child.phase = "running"

    @property
    def calm(self) -> bool:
        """Whether nothing is under way: no start, no stop, no group restart, and no end of an actor in its mailbox."""
        quiet = all(child.phase in {"running", "gone", "passive"} and not child.told for child in self.order)
        ends = {"boom", "leave", "idle"}
        to_come = any(offer.kind in ends for child in self.order for offer in (*child.inbox, *child.senders))
        return quiet and not (self.stopping or self.starting or self.over or to_come)

    # --- what a program does

    def offer(self, name: str, offer: Offer) -> None:
        child = self.children[name]
        self.offers.append(offer)
        if child.phase == "gone" or (child.phase == "passive" and self.over):
            offer.settle("Dead")
        elif len(child.inbox) < CAPACITY and not child.senders:
            child.inbox.append(offer)
            if offer.how in {"tell", "send"}:
                offer.settle("taken")
            if child.phase == "passive":
                self.happened["a passive child is woken"] += 1
                child.incarnation = -1
                self.by_age.remove(child)
                self.by_age.append(child)
                self._start(child)
        elif offer.how == "send":
            child.senders.append(offer)
        else:
            offer.settle("Full")
        self._go_on()

    def stop(self, name: str) -> None:
        child = self.children[name]
        child.dismissed = True
        if child.phase == "passive":
            self.happened["a passive child is stopped"] += 1
            self._gone(child)
        else:
            self.happened["a child is stopped" + (" at work" if child.hand is not None else "")] += 1
            child.told = True
        self._go_on()

    def kill(self, name: str) -> None:
        child = self.children[name]
        self.happened["a child is killed" + (" at work" if child.hand is not None else "")] += 1
        self._ended(child, "crash")
        self._go_on()

    def spawn(self, name: str) -> None:
        old = self.children[name]
        self.happened["a child is added"] += 1
        child = Child(name, old.index, old.restart, incarnation=-1, starts=old.starts, heard=old.heard)
        self.children[name] = child
        self.order = [*(each for each in self.order if each is not old), child]
        self.by_age = [*(each for each in self.by_age if each is not old), child]
        self._start(child)
        self._go_on()

    def suspend(self, name: str, *, suspended: bool) -> None:
        self.children[name].suspended = suspended
        self._go_on()

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while (event := self._next_event()) <= end:
            self.now = event
            self._happen()
            self._go_on()
        self.now = end

    # --- time

    def _deadlines(self) -> list[Offer]:
        return [offer for offer in self.offers if offer.outcome is None]

    def _next_event(self) -> float:
        working = [child.until for child in self.order if child.hand is not None or child.phase == "starting"]
        return min([*working, *(offer.deadline for offer in self._deadlines())], default=float("inf"))

    def _happen(self) -> None:
        for offer in self._deadlines():
            if offer.deadline <= self.now:
                offer.settle("TimedOut")
                for child in self.order:
                    if offer in child.senders:
                        child.senders.remove(offer)
        for child in list(self.order):
            if child.phase == "starting" and child.until <= self.now:
                child.phase = "running"
            elif child.hand is not None and child.until <= self.now:
                child.hand.settle("answer")
                child.hand = None

    def _go_on(self) -> None:
        """Everything that happens without time passing."""
        while any(self._take(child) for child in list(self.order)) or self._plan():
            pass

    # --- an actor

    def _take(self, child: Child) -> bool:
        if child.phase != "running" or child.hand is not None:
            return False
        if child.told:
            self._ended(child, "stopped")
            return True
        if child.suspended or not child.inbox:
            self.happened["a message waits for who is suspended"] += bool(child.inbox)
            return False
        offer = child.inbox.popleft()
        if child.senders:
            child.inbox.append(child.senders.popleft())
            child.inbox[-1].settle("taken")
            self.happened["a sender that has waited is let in"] += 1
        if offer.outcome is not None and offer.how in {"ask", "request"}:
            self.happened["what nobody waits for is skipped"] += 1
            return True
        self.happened[f"{offer.kind} is handled"] += 1
        child.heard.append(offer.number)
        match offer.kind:
            case "work":
                child.hand, child.until = offer, self.now + WORK[child.index]
            case "boom":
                child.hand = offer
                self._ended(child, "crash")
            case "leave":
                offer.settle("answer")
                self._ended(child, "normal")
            case "idle" if child.index == 0 and not child.inbox:  # the others have a task, which keeps them
                self.happened["a child passivates"] += 1
                offer.settle("answer")
                child.phase, child.incarnation = "passive", 0
            case _:
                offer.settle("answer")
        return True

    def _gone(self, child: Child) -> None:
        """Closed for good: what it has is handed back."""
        child.phase, child.told, child.dismissed = "gone", False, False
        for offer in (*child.inbox, *child.senders):
            offer.settle("Dead")
        child.inbox.clear()
        child.senders.clear()
        self.stopping = [each for each in self.stopping if each is not child]
        self.starting = [each for each in self.starting if each is not child]

    # --- the supervisor

    def _ended(self, child: Child, why: str) -> None:
        if child.hand is not None:
            child.hand.settle("HandlerFailed")
        child.hand, child.suspended, child.told = None, False, False
        self.happened[f"a {child.restart} child ends: {why}"] += not (self.over or self.stopping or child.dismissed)
        self.happened["messages wait over an end"] += bool(child.inbox)
        if self.over:
            child.phase = "down"
            if child in self.stopping[:1]:
                self._gone(child)
        elif child.dismissed:
            self._gone(child)
        elif child in self.stopping:
            self.happened[f"a sibling pulls a {child.restart} child down: {why}"] += 1
            child.phase = "down"
            self.stopping.remove(child)
            if child.restart == "temporary":
                self._gone(child)
        elif child.restart == "temporary" or (child.restart == "transient" and why == "normal"):
            self._gone(child)
        else:
            self._restart(child)

    def _restart(self, child: Child) -> None:
        child.phase = "down"
        self.times = [time for time in self.times if time >= self.now - self.period]
        self.times.append(self.now)
        if len(self.times) > self.limit:
            self._give_up()
            return
        self.restarts += 1
        self.happened[f"a restart, {self.strategy}"] += 1
        self.happened["a restart joins one that is under way"] += bool(self.starting)
        if self.strategy == "one_for_one":
            self._start(child)
            return
        group = [each for each in self.order if each.phase not in {"gone", "passive"}]
        if self.strategy == "rest_for_one":
            group = [each for each in group if each in group[group.index(child) :] or each in self.starting]
        self.stopping = [each for each in reversed(group) if each.phase != "down"]
        self.starting = group

    def _give_up(self) -> None:
        """End all, newest first (one that was passive began when it was woken); who has ended is closed in its turn."""
        self.over = True
        self.happened[f"the supervisor gives up, {self.strategy}"] += 1
        self.starting = []
        self.stopping = [each for each in reversed(self.by_age) if each.phase not in {"gone", "passive"}]
        for child in self.order:
            if child.phase == "passive":
                child.phase = "gone"

    def _plan(self) -> bool:
        """One step of stopping a group and starting it again. False if there is nothing to do now."""
        if self.stopping:
            child = self.stopping[0]
            if child.phase == "down":
                self._gone(child)
                return True
            changed = not child.told
            child.told = True
            return changed
        if not self.starting:
            return False
        child = self.starting[0]
        if child.phase == "down":
            self._start(child)
            return True
        if child.phase == "starting":
            return False
        del self.starting[0]
        return True

    def _start(self, child: Child) -> None:
        child.incarnation += 1
        match child.starts.pop(0) if child.starts else "":
            case "slow":
                self.happened["a start is slow"] += 1
                child.phase, child.until = "starting", self.now + SLOW
            case "fail":
                self.happened["a start fails"] += 1
                child.phase = "starting"
                self._ended(child, "crash")
            case _:
                child.phase = "running"


@attrs.define
class Target:
    failures: int = 0
    opened: int = 0
    until: float | None = None


class Chain:
    """A fallback: after three failures in a row a target is left alone for a while, then one request is the probe."""

    def __init__(self, names: tuple[str, ...], open_first: float) -> None:
        self.targets = {name: Target() for name in names}
        self.open_first = open_first
        self.happened: Counter[str] = Counter()

    def say(self, now: float, *, fails: bool) -> str:
        """What an ask brings: the name of the target that answers, or an error."""
        for name, target in self.targets.items():
            if target.until is not None and now < target.until:
                continue
            probe = target.until is not None
            if not fails:
                self.happened[f"the {name} answers" + (" a probe" if probe else "")] += 1
                self.targets[name] = Target()
                return name
            target.failures += 1
            if probe or target.failures >= 3:
                self.happened[f"the {name} fails a probe" if probe else f"the {name} is left alone"] += 1
                target.opened += 1
                target.until = now + self.open_first * 2.0 ** (target.opened - 1)
            return "HandlerFailed"
        self.happened["nobody is left to answer"] += 1
        return "Restarting"
