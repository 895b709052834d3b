"""A producer's side of the way to its user's context: nothing durable is lost on it, and the order stays.

The producer adds what it has to say and calls `push`. Whatever becomes of the context meanwhile (it is full, it
crashes, it waits to restart, it is given up and another takes its place), what was not committed is offered again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.users.messages import Emit, Item, Later, Locate, Sync
from actors.users.outbox import Offers
from runtime import Dead, NotAccepted, Restarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.protocol.events import Event
    from actors.storage.interface import Effect
    from runtime import Actor, Ref, Replied

ASK_WITHIN: Final = 30.0
OFFER_WITHIN: Final = 60.0
TRY_AGAIN: Final = 0.3


class Producer:
    """Made by an actor for itself, one an incarnation.

    The actor's `receive` calls the `tag` of each `Replied` with it, and the `call` of each `Later`, and passes each
    `Restarted` on to `heard`.

    Args:
        actor: whose events they are.
        users: the supervisor of the users' contexts.
        user: in whose log the events belong.
        emptied: called when everything has been committed.
        lost: called when the context has begun anew: ephemeral events may not have reached anybody.
    """

    def __init__(
        self,
        actor: Actor,
        users: Ref[Any],
        user: str,
        *,
        emptied: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._actor = actor
        self._users = users
        self._user = user
        self._emptied = emptied
        self._lost = lost
        self._offers = Offers()
        self._context: Ref[Any] | None = None
        self._told: list[Callable[[], object]] = []
        self._told_under_way: list[Callable[[], object]] = []

    def open(self, then: Callable[[], None]) -> None:
        """Find the context, and wait until it has committed what an earlier incarnation of the actor had offered."""
        self._locate(lambda: self._sync(then))

    def add(self, event: Event, *effects: Effect) -> None:
        """Something to say, and what shares its fate. `push` sends it on its way."""
        self._offers.add(Item(event, effects))

    def change(self, change_id: str, effects: tuple[Effect, ...], committed: Callable[[], object]) -> None:
        """Something to commit in its turn of which nobody is told; then `committed` is called."""
        self._offers.add(Item(None, effects, change=change_id))
        self._told.append(committed)

    def push(self) -> None:
        """Offer what waits, unless a batch is under way."""
        if self._context is None:
            return
        batch = self._offers.next()
        if not batch:
            if self._offers.empty:
                self._emptied()
        elif any(item.durable for item in batch):
            # Another change may wait behind this batch: whoever asked for that one hears when it is committed itself.
            changes = sum(item.event is None for item in batch)
            self._told_under_way, self._told = self._told[:changes], self._told[changes:]
            self._actor.request(self._context, Emit(batch), OFFER_WITHIN, tag=self._offered)
        elif not self._context.tell(Emit(batch)):
            self._offers.untold(batch)
            self._push_later(find=True)

    def heard(self, message: Restarted) -> None:
        """Somebody whom the actor watches has restarted."""
        if message.ref is self._context:
            self._lost()

    # --- offering

    def _offered(self, replied: Replied) -> None:
        told, self._told_under_way = self._told_under_way, []
        if replied.error is None:
            self._offers.done()
            for committed in told:
                committed()
            self.push()
        else:
            self._offers.failed(seen=not isinstance(replied.error, NotAccepted))
            self._told = [*told, *self._told]
            self._push_later(find=isinstance(replied.error, Dead))

    def _push_later(self, *, find: bool) -> None:
        """Offer again soon; with `find`, to whatever has taken the place of a context that was given up."""
        if find:
            self._context = None
            self._later("push", lambda: self._locate(self._found_again))
        else:
            self._later("push", self.push)

    def _found_again(self) -> None:
        self._lost()
        self.push()

    # --- finding the context

    def _locate(self, then: Callable[[], None]) -> None:
        def located(replied: Replied) -> None:
            if replied.error is not None:
                self._later("locate", lambda: self._locate(then))
                return
            self._context = replied.value
            self._actor.watch(replied.value)
            then()

        self._actor.request(self._users, Locate(self._user), ASK_WITHIN, tag=located)

    def _sync(self, then: Callable[[], None]) -> None:
        def synced(replied: Replied) -> None:
            if replied.error is not None:
                self._later("sync", lambda: self._locate(lambda: self._sync(then)))
            else:
                then()

        assert self._context is not None
        self._actor.request(self._context, Sync(), ASK_WITHIN, tag=synced)

    def _later(self, key: str, call: Callable[[], None]) -> None:
        self._actor.timer(("producer", key), TRY_AGAIN, Later(call))
