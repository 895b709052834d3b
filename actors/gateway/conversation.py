"""What is said on one WebSocket: hello and welcome, resuming, commands and their answers, events.

The decisions are in `rules`; this carries them out for one `Connection`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from actors.gateway.rules import BAD_FRAMES_A_MINUTE, MINUTE, CommandRate, Plan, TooFast, Window, plan_resume
from actors.protocol.codes import BAD_FRAMES, CONNECTION_FAILED, RATE_IGNORED, TOO_SLOW, ErrorCode
from actors.protocol.commands import ACK, DEFAULT_USER, HEARTBEAT, HELLO, START_RUN, Ack, Hello
from actors.protocol.connection_events import error, gap, heartbeat, reply, welcome
from actors.protocol.decode import Command, Rejected, decode
from actors.protocol.event_types import GapReason
from actors.protocol.events import Event, encode, with_seq
from actors.storage.journal import Read
from actors.users.messages import Attach, Attached, CommandError, Deliver, Handle, Locate, OutcomeUnknown
from runtime import Refused, Replied, Restarting

if TYPE_CHECKING:
    from actors.gateway.connection import Connection
    from runtime import Ref

ATTACH_WITHIN: Final = 10.0
HANDLE_WITHIN: Final = 60.0
READ_WITHIN: Final = 30.0
PAGE: Final = 200
ATTACH_AGAIN: Final = 0.2
ROLE: Final = "operator"
"""In development mode every user is operator."""
TIER: Final = "enterprise"
LOST: Final = {
    GapReason.EPOCH: "Your history was started anew. Please load what you need again.",
    GapReason.AHEAD: "Your position is ahead of what is stored. Please load what you need again.",
    GapReason.TRIMMED: "Some events are too old to be sent again. Please load what you need again.",
}


class Conversation:
    """The protocol's state on one connection: `opening`, `joining` (hello heard, not attached), `open`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._hello: Command | None = None
        self.user: str | None = None
        self._client_id = ""
        self.context: Ref[Any] | None = None
        self.welcomed = False
        self._early: list[Command] = []
        self._bad = Window(MINUTE)
        limits = connection.settings.limits
        self._rate = CommandRate(limits.commands_per_minute, limits.in_flight)
        self._in_flight = 0
        self._epoch = ""
        self._last_seq = 0
        self._replay_to = 0
        self._reading = False
        self._held: list[bytes] = []
        self._held_bytes = 0

    # --- what comes in

    def hear(self, text: str) -> None:
        """One text message of the client."""
        try:
            command = decode(text)
        except Rejected as rejected:
            self._rejected(rejected)
            return
        if self._hello is None:
            self._greet(command)
        elif command.type == HELLO:
            again = "You have said hello already."
            self._rejected(Rejected(ErrorCode.BAD_REQUEST, again, command.id))
        elif not self.welcomed:
            self._early.append(command)
        else:
            self._carry_out(command)

    def _rejected(self, rejected: Rejected) -> None:
        self._say_error(rejected.code, rejected.reply_to, content=rejected.message, fields=rejected.fields)
        full = rejected.counts and self._bad.add(self._connection.now()) >= BAD_FRAMES_A_MINUTE
        if self._hello is None or full:
            self._connection.close(BAD_FRAMES)

    def _greet(self, command: Command) -> None:
        if not isinstance(command.body, Hello):
            self._rejected(Rejected(ErrorCode.BAD_REQUEST, "Please say hello first.", command.id))
            return
        hello = command.body
        self._hello = command
        self.user = DEFAULT_USER if hello.user_id is UNSET else hello.user_id
        self._client_id = self._connection.services.stamps.id() if hello.client_id is UNSET else hello.client_id
        self._locate()

    def _locate(self) -> None:
        assert self.user is not None
        self._connection.request(self._connection.services.users, Locate(self.user), ATTACH_WITHIN, tag=self._located)

    def _located(self, replied: Replied) -> None:
        if replied.error is not None:
            self._cannot_attach(replied)
            return
        self.context = replied.value
        self._connection.watch(replied.value)
        self._attach()

    def _attach(self) -> None:
        """Have the context send its events here; what is said before the answer is refused is kept."""
        assert self.context is not None
        attach = Attach(self._connection.ref, self._client_id)
        self._connection.request(self.context, attach, ATTACH_WITHIN, tag=self._attached)

    def _cannot_attach(self, replied: Replied) -> None:
        """No context to be had now: say so and let the client come back."""
        if self.welcomed and isinstance(replied.error, Restarting):
            self._connection.attach_later(replied.error.retry_after + ATTACH_AGAIN)
            return
        reply_to = self._hello.id if self._hello is not None and not self.welcomed else None
        self._say_error(ErrorCode.UNAVAILABLE, reply_to, retry_after=1.0)
        self._connection.close(CONNECTION_FAILED)

    # --- attached

    def _attached(self, replied: Replied) -> None:
        if replied.error is not None:
            self._cannot_attach(replied)
            return
        attached: Attached = replied.value
        if self.welcomed:
            self._attached_again(attached)
            return
        assert self._hello is not None
        hello = self._hello.body
        assert isinstance(hello, Hello)
        plan = plan_resume(None if hello.resume is UNSET else hello.resume, attached)
        self._epoch = attached.epoch
        self._welcome(plan, attached)
        self._last_seq = plan.after
        self._replay_to = attached.seq
        self._live(attached.live)
        self._replay()
        early, self._early = self._early, []
        for command in early:
            self._carry_out(command)

    def _attached_again(self, attached: Attached) -> None:
        """The context has restarted: go on behind the last event that was queued for the client."""
        if attached.epoch != self._epoch or attached.seq < self._last_seq or attached.first > self._last_seq + 1:
            self._connection.close(CONNECTION_FAILED)
            return
        self._replay_to = attached.seq
        self._live(attached.live)
        self._replay()

    def _welcome(self, plan: Plan, attached: Attached) -> None:
        connection = self._connection
        settings, stamps = connection.settings, connection.services.stamps
        assert self._hello is not None
        assert self.user is not None
        event = welcome(
            stamps.stamp(),
            reply_to=self._hello.id,
            connection_id=connection.ref.path.rpartition("/")[2],
            client_id=self._client_id,
            user_id=self.user,
            role=ROLE,
            tier=TIER,
            epoch=attached.epoch,
            seq=attached.seq,
            resumed=plan.resumed,
            replayed=plan.replayed,
            heartbeat_interval=settings.heartbeat_interval,
            limits=settings.limits,
            server_time=stamps.wall(),
        )
        self.welcomed = True
        connection.opened()
        self._say(event)
        if plan.gap is not None:
            between = (plan.after, attached.first) if plan.gap is GapReason.TRIMMED else None
            self._say_gap(plan.gap, between)

    def _say_gap(self, reason: GapReason, between: tuple[int, int] | None) -> None:
        assert self._hello is not None
        hello = self._hello.body
        assert isinstance(hello, Hello)
        lost_from = hello.resume.seq + 1 if hello.resume is not UNSET and between is not None else None
        lost_to = between[1] - 1 if between is not None else None
        stamp = self._connection.services.stamps.stamp()
        self._say(gap(stamp, reason, content=LOST[reason], from_seq=lost_from, to_seq=lost_to))

    # --- replay

    def _live(self, frames: tuple[bytes, ...]) -> None:
        for frame in frames:
            self._hold(frame)

    def _hold(self, frame: bytes) -> None:
        self._held.append(frame)
        self._held_bytes += len(frame)
        if self._held_bytes > self._connection.settings.limits.outbound_bytes:
            self._connection.close(TOO_SLOW)

    def _replay(self) -> None:
        """Read the next page of the log, or end the replay."""
        if self._last_seq >= self._replay_to:
            held, self._held = self._held, []
            self._held_bytes = 0
            for frame in held:
                self._connection.write(frame)
            return
        assert self.user is not None
        self._reading = True
        limit = min(PAGE, self._replay_to - self._last_seq)
        page = Read(self.user, self._last_seq, limit)
        self._connection.request(self._connection.services.journal, page, READ_WITHIN, tag=self._page)

    def _page(self, replied: Replied) -> None:
        self._reading = False
        if replied.error is not None:
            self._connection.close(CONNECTION_FAILED)
            return
        for stored in replied.value:
            if stored.seq != self._last_seq + 1:
                break
            self._last_seq = stored.seq
            self._connection.services.counters.events_sent += 1
            self._connection.write(with_seq(stored.body, stored.seq), counts=False)
        else:
            if self._last_seq >= self._replay_to:
                self._replay()
            return
        self._connection.close(CONNECTION_FAILED)  # a hole: the log was cut meanwhile

    @property
    def _replaying(self) -> bool:
        return not self.welcomed or self._last_seq < self._replay_to

    def caught_up(self) -> None:
        """Called by the writing task when nothing waits: the client has taken the last page."""
        if self.welcomed and self._replaying and not self._reading:
            self._connection.replay_wanted()

    def written(self) -> None:
        """The client has taken what there was: go on with the replay."""
        if self._replaying and not self._reading and self._connection.idle:
            self._replay()

    # --- events

    def deliver(self, message: Deliver) -> None:
        """An event of the user, if it is this user's: the last check before the wire."""
        if message.owner != self.user:
            self._connection.services.counters.isolation_violations += 1
            self._connection.services.log.error(
                "isolation violation: an event of another user was refused",
                connection=self._connection.ref.path,
                user=self.user,
                owner=message.owner,
            )
            return
        if message.seq is None:
            self._connection.services.counters.ephemeral_sent += 1
            if self._held or self._replaying:
                self._hold(message.frame)
            else:
                self._connection.write(message.frame)
            return
        if self._replaying:
            self._hold(message.frame)
            self._replay_to_held(message.seq)
            return
        if message.seq != self._last_seq + 1:
            self._connection.close(TOO_SLOW)  # this mailbox was full once: the client resumes and misses nothing
            return
        self._last_seq = message.seq
        self._connection.services.counters.events_sent += 1
        self._connection.write(message.frame)

    def _replay_to_held(self, seq: int) -> None:
        """A durable event came during the replay: it is in the log already, so the replay goes on up to it."""
        self._held.pop()
        self._replay_to = seq

    def attach_again(self) -> None:
        """The context has restarted, or the time to try again has come."""
        if self.welcomed:
            self._attach()

    # --- commands

    def _carry_out(self, command: Command) -> None:
        connection = self._connection
        sign = command.type in {HEARTBEAT, ACK}
        admitted = self._rate.admit(connection.now(), self._in_flight, sign_of_life=sign)
        if isinstance(admitted, TooFast):
            self._say_error(ErrorCode.RATE_LIMITED, command.id, retry_after=admitted.retry_after)
            if admitted.close:
                connection.close(RATE_IGNORED)
            return
        connection.services.counters.commands[command.type] += 1
        if command.type == HEARTBEAT:
            stamps = connection.services.stamps
            self._say(heartbeat(stamps.stamp(), reply_to=command.id, server_time=stamps.wall()))
        elif isinstance(command.body, Ack):
            if command.body.seq > self._last_seq:
                above = "You acknowledge an event that was not sent to you yet."
                self._say_error(ErrorCode.BAD_REQUEST, command.id, content=above)
        elif command.body is None:
            self._say_error(ErrorCode.UNAVAILABLE, command.id)
        else:
            self._in_flight += 1
            assert self.context is not None
            connection.request(
                self.context, Handle(command), HANDLE_WITHIN, tag=lambda replied: self._handled(command, replied)
            )

    def _handled(self, command: Command, replied: Replied) -> None:
        self._in_flight -= 1
        problem = replied.error
        if problem is None:
            self._say(reply(self._connection.services.stamps.stamp(), reply_to=command.id, metadata=replied.value))
        elif isinstance(problem, Refused) and isinstance(problem.reason, CommandError):
            why = problem.reason
            details = dict(why.details or {})
            fields = details.pop("fields", None)
            self._say_error(
                why.code, command.id, content=why.content, fields=fields, retry_after=why.retry_after, details=details
            )
        elif command.type == START_RUN or (isinstance(problem, Refused) and isinstance(problem.reason, OutcomeUnknown)):
            self._connection.close(CONNECTION_FAILED)  # perhaps it was done: the client's repeat settles it
        else:
            self._say_error(ErrorCode.UNAVAILABLE, command.id, retry_after=1.0)

    # --- saying

    def _say(self, event: Event) -> None:
        self._connection.write(encode(event))

    def _say_error(
        self,
        code: ErrorCode,
        reply_to: str | None,
        *,
        content: str | None = None,
        fields: dict[str, str] | None = None,
        retry_after: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        if reply_to is not None:
            self._connection.services.counters.command_errors[code.value] += 1
        stamp = self._connection.services.stamps.stamp()
        self._say(
            error(
                stamp, code, content=content, reply_to=reply_to, fields=fields, retry_after=retry_after, details=details
            )
        )
