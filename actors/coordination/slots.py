"""The side of whoever wants slots: asks for them until they are granted, holds them, gives them back.

Whatever becomes of the coordinator meanwhile (it crashes, it is given up and another takes its place): a claim that
waits is made again and has kept its place, for the place is in the claim; what is held is said again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.coordination.messages import Acquire, Granted, Hold, Offer, Release, Report, Revoked
from actors.users.messages import Later
from runtime import Ended, Restarted, TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.coordination.board import Claim
    from actors.coordination.messages import Outcome
    from actors.protocol.events import Event
    from runtime import Actor, Ref, Replied

ASK_WITHIN: Final = 60.0
AGAIN: Final = 0.2


@attrs.define(eq=False)
class _Held:
    claim: Claim
    granted: Granted
    offer: Event | None = None


class Slots:
    """Made by an actor for itself, one an incarnation.

    The actor's `receive` calls the `tag` of each `Replied` with it, and the `call` of each `Later`, and passes each
    `Restarted`, `Ended` and `Revoked` on to `heard`.
    """

    def __init__(self, actor: Actor, coordinator: Ref[Any]) -> None:
        self._actor = actor
        self._coordinator = coordinator
        self._wanted: dict[str, Claim] = {}
        self._held: dict[str, _Held] = {}
        self._watching = False

    def acquire(self, claim: Claim, granted: Callable[[Granted], None]) -> None:
        """Want a slot; `granted` is called when there is one, unless it is given back before."""
        self._wanted[claim.lease_id] = claim
        self._ask(claim, granted)

    def report(self, lease_id: str, outcome: Outcome, milliseconds: float = 0.0) -> None:
        """Say how it came out what was done in a slot that is held. A coordinator that is gone misses it."""
        held = self._held.get(lease_id)
        if held is not None:
            self._coordinator.tell(Report(held.granted.agent_id, held.claim.user, outcome, milliseconds))

    def release(self, lease_id: str, *, overdue: float | None = None, said: bool = False) -> None:
        """Give back a slot, or give up wanting one; the rest as `Release` has it. What is neither is no harm."""
        self._held.pop(lease_id, None)
        self._wanted.pop(lease_id, None)
        self._tell(Release(lease_id, overdue, said))

    def offer(self, lease_id: str, event: Event) -> None:
        """Have the worker whose slot this is told."""
        held = self._held.get(lease_id)
        if held is not None:
            held.offer = event
            self._tell(Offer(lease_id, event))

    def heard(self, message: Restarted | Ended | Revoked) -> None:
        """Somebody whom the actor watches has restarted or ended, or a slot is gone."""
        if isinstance(message, Revoked):
            self._held.pop(message.lease_id, None)
        elif message.ref is self._coordinator:
            if isinstance(message, Ended):
                self._watching = False
                self._later("watch", self._watch)
            else:
                self._say_again()

    def _ask(self, claim: Claim, granted: Callable[[Granted], None]) -> None:
        def replied(answer: Replied) -> None:
            if self._wanted.get(claim.lease_id) is not claim:
                return  # it was given up; the coordinator was told
            if answer.error is None:
                del self._wanted[claim.lease_id]
                self._hold(claim, answer.value)
                granted(answer.value)
            elif isinstance(answer.error, TimedOut):
                self._ask(claim, granted)
            else:
                self._later(claim.lease_id, lambda: self._ask(claim, granted))

        if self._wanted.get(claim.lease_id) is claim:
            self._actor.request(self._coordinator, Acquire(claim, self._actor.ref), ASK_WITHIN, tag=replied)

    def _hold(self, claim: Claim, granted: Granted) -> None:
        held = self._held[claim.lease_id] = _Held(claim, granted)
        if not self._watching:
            self._watch()
        self._say(held)  # it may have restarted between its answer and this watch

    def _watch(self) -> None:
        if self._held and not self._watching:
            self._watching = True
            self._actor.watch(self._coordinator)
            self._say_again()

    def _say_again(self) -> None:
        for held in self._held.values():
            self._say(held)

    def _say(self, held: _Held) -> None:
        self._tell(Hold(held.claim, self._actor.ref, held.granted, held.offer))

    def _tell(self, message: Hold | Offer | Release) -> None:
        """To a coordinator that is gone it need not be told: the next one knows only what is said again."""
        lease_id = message.claim.lease_id if isinstance(message, Hold) else message.lease_id
        if not isinstance(message, Release) and lease_id not in self._held:
            return  # given back while this waited for room
        if not self._coordinator.tell(message) and self._coordinator.target.watchable() is not None:
            self._later((type(message).__name__, lease_id), lambda: self._tell(message))

    def _later(self, key: object, call: Callable[[], None]) -> None:
        self._actor.timer(("slots", key), AGAIN, Later(call))
