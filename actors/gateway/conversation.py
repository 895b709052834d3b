"""What is said on one WebSocket: hello and welcome, resuming, commands and their answers, events.

The decisions are in `rules`; this carries them out for one `Connection`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from actors.gateway.joining import Broken, Joining
from actors.gateway.rules import (
    BAD_FRAMES_A_MINUTE,
    MINUTE,
    REFUSALS_A_MINUTE,
    CommandRate,
    Plan,
    TooFast,
    Window,
    plan_resume,
)
from actors.protocol.codes import BAD_FRAMES, CONNECTION_FAILED, RATE_IGNORED, ErrorCode
from actors.protocol.commands import ACK, CANCEL_RUN, DEFAULT_USER, HEARTBEAT, HELLO, START_RUN, Ack, Hello
from actors.protocol.connection_events import error, gap, heartbeat, reply, welcome
from actors.protocol.decode import Command, Rejected, decode
from actors.protocol.event_types import GapReason
from actors.protocol.events import Event, encode
from actors.storage.journal import Read
from actors.users.messages import (
    Acked,
    Attach,
    Attached,
    CommandError,
    Deliver,
    Detach,
    Handle,
    Locate,
    OutcomeUnknown,
)
from runtime import Dead, NotAccepted, Refused, Replied

if TYPE_CHECKING:
    from actors.gateway.connection import Connection
    from actors.gateway.joining import Out
    from runtime import Ref

ATTACH_WITHIN: Final = 10.0
HANDLE_WITHIN: Final = 60.0
READ_WITHIN: Final = 30.0
ATTACH_AGAIN: Final = 0.2
READ_AGAIN: Final = 0.5
DURABLE_COMMANDS: Final = frozenset({START_RUN, CANCEL_RUN})
"""Those that change something for good: it matters whether they were carried out."""
ROLE: Final = "operator"
"""In development mode every user is operator."""
TIER: Final = "enterprise"
LOST: Final = {
    GapReason.EPOCH: "Your history was started anew. Please load what you need again.",
    GapReason.AHEAD: "Your position is ahead of what is stored. Please load what you need again.",
    GapReason.TRIMMED: "Some events are too old to be sent again. Please load what you need again.",
}


class Conversation:
    """The protocol's state on one connection: opening, then joining (hello heard, not attached), then open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._hello: Command | None = None
        self.user: str | None = None
        self._client_id = ""
        self._context: Ref[Any] | None = None
        self._attaching = False
        self._attach_until = 0.0
        self.welcomed = False
        self._early: list[Command | Rejected] = []
        limits = connection.settings.limits
        self._most_early = limits.commands_per_minute + REFUSALS_A_MINUTE
        self._bad = Window(MINUTE)
        self._rate = CommandRate(limits.commands_per_minute, limits.in_flight)
        self._in_flight = 0
        self._joining = Joining(limits.outbound_bytes)

    # --- what comes in

    def hear(self, text: str) -> None:
        """One text message of the client."""
        heard: Command | Rejected
        try:
            heard = decode(text)
        except Rejected as rejected:
            heard = rejected.with_traceback(None)
        if self._hello is None:
            self._greet(heard)
        elif self.welcomed:
            self._answer(heard)
        elif len(self._early) < self._most_early:
            self._early.append(heard)
        else:
            self._connection.close(RATE_IGNORED)

    def _answer(self, heard: Command | Rejected) -> None:
        if isinstance(heard, Command) and heard.type == HELLO:
            heard = Rejected(ErrorCode.BAD_REQUEST, "You have said hello already.", heard.id)
        if isinstance(heard, Command):
            self._carry_out(heard)
        else:
            self._say_rejected(heard)
            if heard.counts and self._bad.add(self._connection.now()) >= BAD_FRAMES_A_MINUTE:
                self._connection.close(BAD_FRAMES)

    def _say_rejected(self, rejected: Rejected) -> None:
        self._say_error(rejected.code, rejected.reply_to, content=rejected.message, fields=rejected.fields)

    # --- opening

    def _greet(self, heard: Command | Rejected) -> None:
        if isinstance(heard, Command) and not isinstance(heard.body, Hello):
            heard = Rejected(ErrorCode.BAD_REQUEST, "Please say hello first.", heard.id)
        if isinstance(heard, Rejected):
            self._say_rejected(heard)
            self._connection.close(BAD_FRAMES)
            return
        hello = heard.body
        assert isinstance(hello, Hello)
        self._hello = heard
        self.user = DEFAULT_USER if hello.user_id is UNSET else hello.user_id
        self._client_id = self._connection.services.stamps.id() if hello.client_id is UNSET else hello.client_id
        self._connection.greeted()
        self._attach_until = self._connection.now() + ATTACH_WITHIN
        self._locate()

    def _locate(self) -> None:
        assert self.user is not None
        self._connection.request(self._connection.services.users, Locate(self.user), ATTACH_WITHIN, tag=self._located)

    def _located(self, replied: Replied) -> None:
        if replied.error is not None:
            self._cannot_attach(replied)
            return
        self._context = replied.value
        self._attach()  # before it is watched: a context that was about to end for idleness wakes by this
        self._connection.watch(replied.value)

    # --- attaching

    def _attach(self) -> None:
        """Have the context send its events here. One such request at a time: a second would register twice."""
        if self._attaching:
            return
        self._attaching = True
        assert self._context is not None
        attach = Attach(self._connection.ref, self._client_id)
        self._connection.request(self._context, attach, ATTACH_WITHIN, tag=self._attached)

    def _cannot_attach(self, replied: Replied) -> None:
        """No context to be had now. A crash is waited out; trouble with storage, before `welcome`, is said."""
        connection = self._connection
        retry_after = getattr(replied.error, "retry_after", 0.0) + ATTACH_AGAIN
        if self.welcomed:
            if not isinstance(replied.error, Dead):  # else `Ended` has come or will
                connection.later("attach", retry_after, self._attach)
        elif isinstance(replied.error, Refused) or connection.now() + retry_after >= self._attach_until:
            assert self._hello is not None
            self._say_error(ErrorCode.UNAVAILABLE, self._hello.id, retry_after=1.0)
            connection.close(CONNECTION_FAILED)
        else:
            connection.later("attach", retry_after, self._locate)

    def context_restarted(self) -> None:
        """What was sent by the dead incarnation, and did not arrive, comes from the log."""
        if self.welcomed:
            self._joining.detached()
            self._attach()

    def context_ended(self) -> None:
        """The context was given up, or its supervisor has restarted. Before `welcome`, the request has failed too."""
        if self.welcomed:
            self._connection.close(CONNECTION_FAILED)

    def detach(self) -> None:
        """The connection closes: want no more events."""
        if self._context is not None:
            self._context.tell(Detach(self._connection.ref))

    def _attached(self, replied: Replied) -> None:
        self._attaching = False
        if replied.error is not None:
            self._cannot_attach(replied)
            return
        self._connection.cancel_timer("attach")
        if self.welcomed:
            self._pass_on(self._joining.again(replied.value))
            self._read_on()
        else:
            self._open(replied.value)

    def _open(self, attached: Attached) -> None:
        assert self._hello is not None
        hello = self._hello.body
        assert isinstance(hello, Hello)
        plan = plan_resume(None if hello.resume is UNSET else hello.resume, attached)
        self._welcome(plan, attached)
        if plan.resumed:
            self._acked(plan.after)
        self._pass_on(self._joining.begin(plan.after, attached))
        self._read_on()
        early, self._early = self._early, []
        for heard in early:
            self._answer(heard)

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
        self._pass_on(self._joining.deliver(message))

    def _pass_on(self, outs: list[Out] | Broken) -> None:
        if isinstance(outs, Broken):
            self._connection.close(outs.code)
            return
        for out in outs:
            self._connection.write(out.frame, durable=out.seq is not None, counts=not out.replayed)

    def caught_up(self) -> None:
        """Called by the writing task when the client has taken what there was: the next page may be read."""
        if self.welcomed:
            self._read_on()

    def _read_on(self) -> None:
        wanted = self._joining.next_page()
        if wanted is not None:
            assert self.user is not None
            page = Read(self.user, wanted.after, wanted.limit)
            self._connection.request(self._connection.services.journal, page, READ_WITHIN, tag=self._page)

    def _page(self, replied: Replied) -> None:
        if replied.error is None:
            self._pass_on(self._joining.page(replied.value))
        else:  # the journal has crashed, or storage is in trouble: the client waits with us
            self._joining.not_read()
            self._connection.later("page", READ_AGAIN, self._read_on)

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
            if command.body.seq > self._joining.last:
                above = "You acknowledge an event that was not sent to you yet."
                self._say_error(ErrorCode.BAD_REQUEST, command.id, content=above)
            else:
                self._acked(command.body.seq)
        elif command.body is None:
            self._say_error(ErrorCode.UNAVAILABLE, command.id)
        else:
            self._in_flight += 1
            assert self._context is not None
            connection.request(
                self._context, Handle(command), HANDLE_WITHIN, tag=lambda replied: self._handled(command, replied)
            )

    def _acked(self, seq: int) -> None:
        assert self._context is not None
        self._context.tell(Acked(self._client_id, seq))

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
        elif perhaps_done(command, problem):
            self._connection.close(CONNECTION_FAILED)  # the client's repeat settles it
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


def perhaps_done(command: Command, problem: Exception) -> bool:
    """Whether a command that came out so may have been carried out: then nothing may be said of it."""
    if isinstance(problem, Refused):
        return isinstance(problem.reason, OutcomeUnknown)
    return command.type in DURABLE_COMMANDS and not isinstance(problem, NotAccepted)
