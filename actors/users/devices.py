"""A user's clients as the context sees them: who is connected, what is sent to all, what was acknowledged, and by whom.

An event is delivered when a client of its user has acknowledged it, and nothing else is: not having queued it, not
having sent it. What a client came in above it has not acknowledged, however high its acks are.

Waking a connection, and writing for it, costs the same for one event as for twenty. So what a message releases goes
out when what waits in the context's mailbox by then is handled: answers that come side by side come in the same
moments. It waits for nothing that has yet to come. A message to itself says when that is: what waits may be skipped,
because nobody waits for its answer any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.gateway.outbound import Out, batch_of
from actors.protocol.events import encode
from actors.users.continuity import Replay
from actors.users.device import NOT_YET, Device
from actors.users.live import LiveTexts
from actors.users.messages import Deliver, Replaced, SendTogether

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.protocol.events import Event
    from actors.storage.interface import Cursor
    from actors.users.context import UserContext
    from actors.users.coverage import Coverage
    from actors.users.messages import Attach
    from actors.users.resuming import Plan
    from runtime import Ref

TOGETHER: Final = 32
"""Messages that the context may handle before what the first of them released is sent."""
TOGETHER_BYTES: Final = 32_768
"""Bytes that are sent without looking for more."""
TELL_AGAIN: Final = 0.2
TELLINGS: Final = 150
"""A connection whose mailbox is full for so long is closed for it, and need not be told any more."""
REPLAY_KEPT: Final = 600.0
"""Seconds for which the log is not cut under a client that is being sent what it missed."""
ORDER_KEPT: Final = 600.0
"""Seconds for which it is remembered which hello of a client was the last, when the client has gone."""


class Devices:
    """The connected clients of one user, and for a moment those that have just gone."""

    __slots__ = ("_context", "_devices", "_handled", "_live", "_marked", "_outs", "_size", "_then")

    def __init__(self, context: UserContext) -> None:
        self._context = context
        self._devices: dict[str, Device] = {}
        self._live = LiveTexts()
        self._outs: list[Out] = []  # released, and not sent yet
        self._size = 0  # bytes of them
        self._then: list[Callable[[], None]] = []  # to be called when they are sent
        self._handled = 0  # messages of the context since the first of them
        self._marked = False  # a `SendTogether` is in the mailbox

    def __len__(self) -> int:
        """How many connections there are."""
        return sum(device.connection is not None for device in self._devices.values())

    def all(self) -> list[Device]:
        return list(self._devices.values())

    def get(self, client_id: str) -> Device | None:
        return self._devices.get(client_id)

    def add(self, device: Device) -> Device:
        """Have it among the others."""
        return self._devices.setdefault(device.client_id, device)

    def connected(self) -> list[str]:
        """The ids of those that have a connection."""
        return [device.client_id for device in self._devices.values() if device.connection is not None]

    # --- connections

    def attach(self, device: Device, message: Attach, released: int) -> None:
        """Send everything after `released` to this connection of the client, from now on, and to no other of it."""
        self.send()
        now = self._context.now()
        old = device.connection
        self._context.continuity.newest[device.client_id] = message.hello_at
        if old is not None and old is not message.connection:
            self._context.unwatch(old)
            self._tell_replaced(old, TELLINGS)
        device.connection = message.connection
        device.attached_at = now
        device.joined = released
        device.acks_since = NOT_YET
        self._context.watch(message.connection)
        self._context.tasks.here(device.client_id, message.connection)

    def begins(self, device: Device, plan: Plan) -> None:
        """A connection of it has come anew: what it is to be sent from the log has to stay there."""
        replays = self._context.continuity.replays
        replays.pop(device.client_id, None)
        if plan.replayed:
            replays[device.client_id] = Replay(plan.after + 1, plan.after + plan.replayed, self._context.now())

    def _tell_replaced(self, connection: Ref[Any], times: int) -> None:
        """It has to hear of it, or it would stay open for ever, without an event and without a reason."""
        if not connection.tell(Replaced()) and times and connection.target.watchable() is not None:
            again = ("replaced", connection.path)
            self._context.later(again, TELL_AGAIN, lambda: self._tell_replaced(connection, times - 1))

    def forget(self, connection: Ref[Any]) -> bool:
        """Send it nothing any more. False if it was not attached."""
        for device in self._devices.values():
            if device.connection is connection:
                device.connection = None
                self._context.continuity.replays.pop(device.client_id, None)
                device.dirty = True  # it is to be known when it was last seen
                self._context.unwatch(connection)
                return True
        return False

    def see(self, event: Event) -> None:
        """An event is being released, or turns out to have been before."""
        self._live.take(event)

    def live(self) -> tuple[bytes, ...]:
        """Frames that give the text so far of each answer in progress."""
        return self._live.frames(self._context.services.stamps.stamp)

    def deliver(self, frame: bytes, seq: int | None, event: Event | None = None) -> None:
        """Have a frame sent to every connection; `event` is what an ephemeral one says. It goes with `send`."""
        self._outs.append(Out(frame, seq, event=event))
        self._size += len(frame)
        if self._size >= TOGETHER_BYTES:
            self.send()

    def handled(self, backlog: int) -> None:
        """The context has handled a message, and so many wait: what these release is to go out with it."""
        if self._outs:
            self._handled += 1
            if not backlog or self._handled >= TOGETHER:
                self.send()
            elif not self._marked:
                self._marked = self._context.ref.tell(SendTogether())
                if not self._marked:
                    self.send()

    def send_together(self) -> None:
        """What had waited in the mailbox is handled."""
        self._marked = False
        self.send()

    def then(self, call: Callable[[], None]) -> None:
        """Have `call` called when what was released is sent: whatever comes of it comes behind."""
        if self._outs:
            self._then.append(call)
        else:
            call()

    def send(self) -> None:
        """Send what was released to every connection."""
        if not self._outs:
            return
        outs, self._outs = self._outs, []
        self._size = self._handled = 0
        connections = [device.connection for device in self._devices.values() if device.connection is not None]
        if connections:
            deliver = Deliver(self._context.user, batch_of(outs), self._context.incarnation)
            for connection in connections:
                # A refusal is counted at the connection's mailbox; the connection sees the missing seq and closes.
                connection.tell(deliver)
        then, self._then = self._then, []
        for call in then:
            call()

    def deliver_to(self, client_id: str, event: Event) -> None:
        """Send an ephemeral event to this client alone, if it is connected."""
        device = self._devices.get(client_id)
        if device is not None and device.connection is not None:
            self.send()
            batch = batch_of([Out(encode(event), event=event)])
            device.connection.tell(Deliver(self._context.user, batch, self._context.incarnation))

    def replayed_from(self) -> int | None:
        """The first event that has to stay in the log because a client is being sent it.

        Also one that has not attached again yet, since the context has restarted: it goes on from where it is.
        """
        replays, since = self._context.continuity.replays, self._context.now() - REPLAY_KEPT
        for client_id, replay in list(replays.items()):
            device = self._devices.get(client_id)
            if replay.begun <= since or (device is not None and device.acked >= replay.last):
                del replays[client_id]
        return min((replay.first for replay in replays.values()), default=None)

    # --- how far they are

    @property
    def coverage(self) -> Coverage:
        """What was acknowledged, whichever client did."""
        return self._context.continuity.coverage

    def acked(self, before_and_after: tuple[int, int]) -> None:
        """A client has acknowledged what lies between."""
        new = self.coverage.add(*before_and_after)
        if new:
            self._context.continuity.acknowledged += new
            self._context.services.counters.events_delivered += new
            self._context.silence.settle()

    def take_dirty(self, epoch: str, seen: float) -> tuple[Cursor, ...]:
        """What is to be stored. It counts as stored until `not_stored`."""
        dirty = [device for device in self._devices.values() if device.dirty and device.client_id]
        for device in dirty:
            device.dirty = False
        return tuple(device.cursor(self._context.user, epoch, seen) for device in dirty)

    def not_stored(self, cursors: tuple[Cursor, ...]) -> None:
        """Storage did not take these."""
        for cursor in cursors:
            device = self._devices.get(cursor.client_id)
            if device is not None:
                device.dirty = True

    @property
    def dirty(self) -> bool:
        """Whether anything is to be stored."""
        return any(device.dirty and device.client_id for device in self._devices.values())

    def tidy(self) -> None:
        """Let go of those who have gone and whose position is stored. Who polls may come again: storage knows it."""
        gone = [d.client_id for d in self._devices.values() if d.connection is None and not d.dirty and d.client_id]
        for client_id in gone:
            del self._devices[client_id]

    def tidy_order(self) -> None:
        """Let go of the order of hellos of those who have gone long ago."""
        newest = self._context.continuity.newest
        before = self._context.now() - ORDER_KEPT
        for client_id in [each for each, at in newest.items() if at < before and each not in self._devices]:
            del newest[client_id]
