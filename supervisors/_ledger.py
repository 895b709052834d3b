"""The ledger of a fallback: how often a target has failed in a row, and whether it may be tried.

Pure: a frozen `Account` and functions of (account, now, ...) -> account. `Ledger` is a thin holder of one account that
several chains can share, so that chains in different order share one count; it is held by the target's supervisor, not
by the target, and outlives its incarnations.

An account is *closed* (calls go through), *open* (they do not, until a time) or *probing* (exactly one call is out to
see). Rules, after the circuit breakers of the field and where they go wrong:

- Only failures in a row count; a success sets the count to zero.
- A ticket carries the epoch in which its call began; the epoch changes with every switch, and an outcome of an older
  epoch counts for nothing. So a slow success from before the outage cannot clear the count of the outage.
- A cancelled call is neither. A cancelled probe gives its place back: the next call probes.
- A probe has a deadline of its own. One that never ends would leave the account probing for ever.
- The open time doubles from `open_first` to `open_cap`; of that, a random part between three quarters and all.
- `misconfigured` (a wrong key, an unknown model) opens at once: trying twice more would not help.
- `park` keeps calls away until a time without a word on health (a provider that said "retry after").
- `retire` keeps them away for good: the target has ended and will not be started again.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

import attrs

from runtime import InvalidSpec
from runtime._spec import is_number

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence


class Outcome(Enum):
    """How a call came out, as far as the target's health is concerned."""

    SUCCESS = "success"
    FAILURE = "failure"
    MISCONFIGURED = "misconfigured"
    CANCELLED = "cancelled"


@attrs.frozen
class Policy:
    """When to switch, and when to try the way back. Times in seconds."""

    failures: int = 3
    open_first: float = 5.0
    open_cap: float = 300.0
    probe_within: float = 30.0

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.failures, int) or self.failures < 1:
            raise InvalidSpec("policy.failures", self.failures, "a whole number of at least 1")
        for key in ("open_first", "open_cap", "probe_within"):
            value = getattr(self, key)
            if not is_number(value) or not 0 < value < math.inf:
                raise InvalidSpec(f"policy.{key}", value, "seconds above 0")

    def open_for(self, times: int, portion: float) -> float:
        """How long the target stays open when it opens for the `times`-th time in a row; `portion` is in [0, 1)."""
        return min(self.open_cap, self.open_first * 2.0 ** min(times - 1, 60)) * (0.75 + portion / 4)


@attrs.frozen
class Account:
    """What is known of one target."""

    state: str = "closed"
    failures: int = 0
    epoch: int = 0
    opened: int = 0
    until: float = 0.0
    parked_until: float = 0.0

    def may(self, now: float) -> str:
        """What a call at `now` would be: `call`, `probe` or `no`."""
        if now < self.parked_until:
            return "no"
        if self.state == "closed":
            return "call"
        return "probe" if now >= self.until else "no"

    def free_at(self, now: float) -> float:
        """When a call may go through at the earliest."""
        return max(now, self.parked_until, 0.0 if self.state == "closed" else self.until)


@attrs.frozen
class Ticket:
    """The right to one call, to be settled once. `target` names it; `position` is its place in the chain."""

    target: str
    epoch: int
    kind: str = "call"
    position: int = 0


def admit(account: Account, policy: Policy, now: float, portion: float) -> tuple[Account, str]:
    """Let a call through if it may: the account afterwards and what the call is (`call`, `probe`, `no`)."""
    account = overdue(account, policy, now, portion)
    kind = account.may(now)
    if kind == "probe":
        account = attrs.evolve(account, state="probing", until=now + policy.probe_within, epoch=account.epoch + 1)
    return account, kind


def overdue(account: Account, policy: Policy, now: float, portion: float) -> Account:
    """A probe whose deadline has passed has failed, at that deadline."""
    if account.state == "probing" and now >= account.until:
        return _open(account, policy, account.until, portion)
    return account


def settle(account: Account, ticket: Ticket, outcome: Outcome, policy: Policy, now: float, portion: float) -> Account:
    """The account after one call. Outcomes of an older epoch change nothing."""
    account = overdue(account, policy, now, portion)
    if ticket.epoch != account.epoch:
        return account
    probing = account.state == "probing"
    match outcome:
        case Outcome.SUCCESS:
            if account.state == "closed":
                return attrs.evolve(account, failures=0)
            return Account(epoch=account.epoch + 1, parked_until=account.parked_until)
        case Outcome.CANCELLED:
            if probing and ticket.kind == "probe":
                return attrs.evolve(account, state="open", until=now, epoch=account.epoch + 1)
            return account
        case Outcome.MISCONFIGURED:
            return account if account.state == "open" else _open(account, policy, now, portion)
    # A failure.
    if account.state == "open":  # past its time, this was a try at the way back
        return _open(account, policy, now, portion) if now >= account.until else account
    account = attrs.evolve(account, failures=account.failures + 1)
    if probing or account.failures >= policy.failures:
        return _open(account, policy, now, portion)
    return account


def park(account: Account, until: float) -> Account:
    """Keep calls away until then."""
    return attrs.evolve(account, parked_until=max(account.parked_until, until))


def retire(account: Account) -> Account:
    """No call will go through any more, nor is any outcome of interest."""
    return attrs.evolve(account, state="open", until=math.inf, epoch=account.epoch + 1)


def _open(account: Account, policy: Policy, now: float, portion: float) -> Account:
    times = account.opened + 1
    until = now + policy.open_for(times, portion)
    return attrs.evolve(account, state="open", opened=times, until=until, epoch=account.epoch + 1)


class Ledger:
    """One target's account, shared by every chain that names the target.

    Args:
        target: its name.
        policy: when to switch.
        rng: for the jitter of the open time.
    """

    def __init__(self, target: str, policy: Policy, rng: random.Random) -> None:
        self.target = target
        self.policy = policy
        self.account = Account()
        self._rng = rng
        self._listeners: dict[Callable[[Ledger, Account], None], None] = {}

    def listen(self, listener: Callable[[Ledger, Account], None]) -> Callable[[], None]:
        """Have `listener(ledger, account before)` called after each change of state, a further opening and a parking
        included; returns what ends that."""
        self._listeners[listener] = None
        return lambda: self._listeners.pop(listener, None)

    def admit(self, now: float, position: int = 0) -> Ticket | None:
        """A ticket, if a call may go through now."""
        account, kind = admit(self.account, self.policy, now, self._rng.random())
        self._change(account)
        return None if kind == "no" else Ticket(self.target, account.epoch, kind, position)

    def force(self, position: int = 0) -> Ticket:
        """A ticket although the target is open: the last resort of a chain in which all are."""
        return Ticket(self.target, self.account.epoch, "forced", position)

    def settle(self, ticket: Ticket, outcome: Outcome, now: float) -> None:
        """How the call of `ticket` came out. Only the first settlement of a probe can matter; later ones are stale."""
        self._change(settle(self.account, ticket, outcome, self.policy, now, self._rng.random()))

    def fail(self, now: float) -> None:
        """A failure outside any call: an instance ended abnormally."""
        self.settle(Ticket(self.target, self.account.epoch), Outcome.FAILURE, now)

    def park(self, until: float) -> None:
        """Keep calls away until then (trio clock)."""
        self._change(park(self.account, until))

    def retire(self) -> None:
        """The target has ended for good."""
        self._change(retire(self.account))

    def _change(self, account: Account) -> None:
        before, self.account = self.account, account
        if _visible(before) != _visible(account):
            for listener in list(self._listeners):
                listener(self, before)


def _visible(account: Account) -> tuple[object, ...]:
    return account.state, account.opened, account.parked_until


def choose(ledgers: Sequence[Ledger], now: float, after: Ticket | None, *, force: bool) -> Ticket | None:
    """The ticket for the next call of a chain: the first target that may be called.

    Args:
        ledgers: the chain, the lead first.
        now: trio clock.
        after: the ticket of this call's last failure: only targets behind it in the chain are considered.
        force: if none may be called, take the one whose time ends first instead of None.
    """
    begin = 0 if after is None else after.position + 1
    for position in range(begin, len(ledgers)):
        ticket = ledgers[position].admit(now, position)
        if ticket is not None:
            return ticket
    if not force or begin >= len(ledgers):
        return None
    position = min(range(begin, len(ledgers)), key=lambda index: ledgers[index].account.free_at(now))
    return ledgers[position].force(position)


def active(ledgers: Sequence[Ledger], now: float = math.inf) -> str | None:
    """The target in charge at `now`: the first that is closed and not parked then; None if there is none.

    Without `now`, parking is left out of account.
    """
    return next((ledger.target for ledger in ledgers if ledger.account.may(now) == "call"), None)
