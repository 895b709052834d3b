"""Clients of a user that come, by WebSocket or by polling, and say how far they are.

A client that is new has its cursor on the disk before it hears that it is welcome: whatever happens then, coming back
it is known, and gets everything from where it first came in. Those of many users who come at the same time share a
commit, and who was known before has nothing to write.

The last hello of a client counts, and says so to the connection before it, in the same step in which it takes its
place. Who polls takes nobody's place: a question may be late, and the client may have its WebSocket by now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.codes import ErrorCode
from actors.protocol.commands import Resume
from actors.storage.attending import Arrive, Arrived
from actors.storage.interface import Arrival, Position
from actors.storage.journal import Top
from actors.users.device import Device, device_of
from actors.users.messages import NOT_NOW, Attached, CommandError, Polled, Replaced
from actors.users.resuming import Plan, plan_resume
from runtime import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.users.context import UserContext
    from actors.users.messages import Acked, Acknowledge, Attach, Poll
    from runtime import Replied, ReplyTo

ARRIVE_WITHIN: Final = 30.0
"""Seconds. Thousands who come back at once wait for each other rather than come again and again."""
FIND_AGAIN: Final = 0.5
ANONYMOUS: Final = ""
"""The client_id of who polls without one: nothing is stored of it, and it goes on where it says itself."""
ABOVE: Final = "You acknowledge an event that was not sent to you yet."
CROWDED: Final = Refused(CommandError(ErrorCode.LIMIT_REACHED))


@attrs.frozen
class Found:
    """A client that has come.

    Attributes:
        device: what is known of it; of a new one, that it comes in at the top.
        log: how the log stands; `seq` is the last event that was released.
        known_at: where it goes on if it does not say so itself; None for a new one.
    """

    device: Device
    log: Position
    known_at: Resume | None


class Arrivals:
    """See the module. `context` is the user's."""

    __slots__ = ("_context", "under_way")

    def __init__(self, context: UserContext) -> None:
        self._context = context
        self.under_way = 0
        """How many are being looked up: until they have been told where to begin, the log must not be cut."""

    # --- by WebSocket

    def attach(self, message: Attach) -> None:
        """A connection wants this user's events. The message is in hand."""
        reply = self._context.defer()
        self._find(message.client_id, reply, lambda found: reply.answer(self._attached(message, found)))

    def _attached(self, message: Attach, found: Found) -> Attached | Refused:
        context = self._context
        device, log = found.device, found.log
        if context.continuity.replaced(device.client_id, message.hello_at):
            return Refused(Replaced())
        # One that attaches again, since the context has restarted, was inside already.
        more = device.connection is None and message.back is None
        if more and len(context.devices) >= context.most_connections:
            return CROWDED
        context.news.end(device.client_id)
        context.devices.attach(device, message, log.seq)
        plan, back = None, message.back
        if back is None:
            plan = self._place(found, message.resume)
            context.devices.begins(device, plan)
        elif back.acked is not None:
            device.acks_since = context.now()
            context.devices.acked(device.acknowledge(min(back.acked, log.seq), context.now()))
            context.silence.attached_again(device, min(back.sent, log.seq))
        context.cursors.soon()
        live = context.devices.live()
        return Attached(log.epoch, log.first, log.seq, live, context.incarnation, plan, context.continuity)

    def acked(self, message: Acked) -> None:
        """A connection says that its client has processed something."""
        context = self._context
        device = context.devices.get(message.client_id)
        if device is None or device.connection is None:
            return  # it will be attached again, and then it says so once more
        if not context.continuity.replaced(message.client_id, message.hello_at):
            now = context.now()
            device.acks_since = min(device.acks_since, now)
            context.devices.acked(device.acknowledge(min(message.seq, context.released), now))
            context.cursors.soon()

    # --- by polling

    def poll(self, message: Poll) -> None:
        """Somebody asks over HTTP where to go on. The message is in hand."""
        reply = self._context.defer()

        def found(found: Found) -> None:
            plan = self._place(found, message.resume)
            reply.answer(Polled(found.log.epoch, found.log.seq, plan, self._context.continuity))
            self._context.cursors.left()

        self._find(message.client_id, reply, found)

    def acknowledge(self, message: Acknowledge) -> None:
        """Somebody acknowledges over HTTP, and is answered when it is on the disk. The message is in hand."""
        reply = self._context.defer()

        def found(found: Found) -> None:
            if message.seq > found.log.seq:
                reply.answer(Refused(CommandError(ErrorCode.BAD_REQUEST, content=ABOVE)))
                return
            self._context.devices.acked(found.device.acknowledge(message.seq, self._context.now()))
            self._context.cursors.tell(lambda stored: reply.answer(True if stored else NOT_NOW))

        self._find(message.client_id, reply, found)

    # --- both

    def _find(self, client_id: str, reply: ReplyTo, then: Callable[[Found], object]) -> None:
        """Look a client up, in memory or in storage, and have it among the others. `reply` if that cannot be."""
        context = self._context

        def found(replied: Replied) -> None:
            self.under_way -= 1
            if isinstance(replied.error, Refused):  # storage is in trouble, and says so
                reply.answer(NOT_NOW)
                return
            if replied.error is not None:  # the journal has crashed, or is full: waited out, while anybody waits for it
                if reply.wanted:
                    context.later(("find", reply), FIND_AGAIN, lambda: self._find(client_id, reply, then))
                else:
                    reply.answer(None)  # an answer that is kept back is kept in mind
                return
            answer: Arrived | Position = replied.value
            position = answer.position if isinstance(answer, Arrived) else answer
            log = Position(position.epoch, position.first, context.begin_at(position))
            context.devices.coverage.forget(log.first)
            if reply.wanted:  # else nobody would know where its events begin
                then(self._found(client_id, answer, log))
            else:
                reply.answer(None)

        journal = context.services.journal
        self.under_way += 1
        if client_id == ANONYMOUS:
            context.request(journal, Top(context.user), ARRIVE_WITHIN, tag=found)
            return
        keep = tuple({*context.devices.connected(), *context.news.clients()})
        arrival = Arrival(context.user, client_id, context.services.stamps.wall(), keep)
        context.request(journal, Arrive(arrival), ARRIVE_WITHIN, tag=found)

    def _found(self, client_id: str, answer: Arrived | Position, log: Position) -> Found:
        devices = self._context.devices
        device = devices.get(client_id)  # what is in memory is newer than what is stored
        if device is not None:
            return Found(device, log, Resume(device.elsewhere or log.epoch, device.seq))
        if not isinstance(answer, Arrived) or answer.cursor.new:
            device = devices.add(Device(client_id, log.seq))
            device.dirty = isinstance(answer, Arrived) and answer.cursor.came_in != log.seq
            return Found(device, log, None)
        device = devices.add(device_of(answer.cursor, log.epoch))
        return Found(device, log, Resume(answer.cursor.epoch, device.seq))

    def _place(self, found: Found, resume: Resume | None) -> Plan:
        """Where the client begins, now that its cursor is known; `resume` is what it says itself."""
        device, log = found.device, found.log
        known_at = None if device.client_id == ANONYMOUS else found.known_at
        plan = plan_resume(resume or known_at, log)
        if plan.gap is not None and known_at is None:
            device.begin_at(log.seq)
        elif plan.gap is not None:
            device.begin_afresh(log.seq)
        elif resume is None:
            device.go_on(plan.after)
        elif found.known_at is not None and not device.elsewhere:
            self._context.devices.acked(device.resume_at(resume.seq, self._context.now()))
        else:  # nobody knows where it came in: it is taken at its word
            device.begin_at(min(log.first - 1, resume.seq))
            self._context.devices.acked(device.acknowledge(resume.seq, self._context.now()))
        return plan
