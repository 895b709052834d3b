"""What is said on one WebSocket: hello and welcome, resuming, commands and their answers, events.

The decisions are in `rules`; this carries them out for one `Connection`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from actors.gateway.answers import CROWDED, LOST, Answers, is_one_too_many, is_replaced, perhaps_done
from actors.gateway.joining import Broken, Joining
from actors.gateway.rules import (
    BAD_FRAMES_A_MINUTE,
    MINUTE,
    REFUSALS_A_MINUTE,
    CommandRate,
    Early,
    TooFast,
    Window,
)
from actors.gateway.subscriptions import Foreign, Subscriptions
from actors.protocol.codes import BAD_FRAMES, CONNECTION_FAILED, OVER_CAPACITY, RATE_IGNORED, REPLACED, ErrorCode
from actors.protocol.commands import (
    ACK,
    DEFAULT_USER,
    HEARTBEAT,
    HELLO,
    STARTS_WORK,
    Ack,
    Hello,
    Subscribe,
    Unsubscribe,
)
from actors.protocol.connection_events import gap, heartbeat, welcome
from actors.protocol.decode import Command, Rejected, decode
from actors.storage.attending import Read
from actors.users.messages import (
    Acked,
    Attach,
    Attached,
    Back,
    CommandError,
    Deliver,
    Detach,
    Handle,
    Locate,
)
from runtime import Dead, Refused, Replied

if TYPE_CHECKING:
    from actors.gateway.connection import Connection
    from actors.gateway.outbound import Out
    from actors.operations.channels import Published
    from actors.users.continuity import Continuity
    from actors.users.resuming import Plan
    from runtime import Ref

ATTACH_WITHIN: Final = 30.0
HANDLE_WITHIN: Final = 60.0
READ_WITHIN: Final = 30.0
ATTACH_AGAIN: Final = 0.2
READ_AGAIN: Final = 0.5
TIER: Final = "enterprise"


class Conversation:
    """The protocol's state on one connection: opening, then joining (hello heard, not attached), then open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._hello: Command | None = None
        self.user: str | None = None
        self.client_id = ""
        self._hello_at = 0.0
        self._highest_ack: int | None = None
        self.counts: Continuity | None = None
        """Where what is sent to this user is counted."""
        self._context: Ref[Any] | None = None
        self._attaching = False
        self._attach_until = 0.0
        self.welcomed = False
        limits = connection.settings.limits
        self._early = Early(limits.commands_per_minute + REFUSALS_A_MINUTE, limits.frame_bytes)
        self._bad = Window(MINUTE)
        self._rate = CommandRate(limits.commands_per_minute, limits.in_flight)
        self._in_flight = 0
        self._answers = Answers(connection)
        self._joining = Joining(limits.outbound_bytes)
        self._subscriptions: Subscriptions | None = None

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
        elif not self._early.add(heard, len(text)):
            self._connection.close(RATE_IGNORED)

    def _answer(self, heard: Command | Rejected) -> None:
        if isinstance(heard, Command) and heard.type == HELLO:
            heard = Rejected(ErrorCode.BAD_REQUEST, "You have said hello already.", heard.id)
        if isinstance(heard, Command):
            self._carry_out(heard)
        else:
            self._answers.rejected(heard)
            if heard.counts and self._bad.add(self._connection.now()) >= BAD_FRAMES_A_MINUTE:
                self._connection.close(BAD_FRAMES)

    # --- opening

    def _greet(self, heard: Command | Rejected) -> None:
        if isinstance(heard, Command) and not isinstance(heard.body, Hello):
            heard = Rejected(ErrorCode.BAD_REQUEST, "Please say hello first.", heard.id)
        if isinstance(heard, Rejected):
            self._answers.rejected(heard)
            self._connection.close(BAD_FRAMES)
            return
        hello = heard.body
        assert isinstance(hello, Hello)
        self._hello = heard
        self.user = DEFAULT_USER if hello.user_id is UNSET else hello.user_id
        self.client_id = self._connection.services.stamps.id() if hello.client_id is UNSET else hello.client_id
        self._hello_at = self._connection.now()
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
        hello = self.hello
        assert hello is not None
        resume = None if hello.resume is UNSET else hello.resume
        back = Back(self._joining.last, self._highest_ack) if self.welcomed else None
        attach = Attach(self._connection.ref, self.client_id, self._hello_at, resume, back)
        self._connection.request(self._context, attach, ATTACH_WITHIN, tag=self._attached)

    def _cannot_attach(self, replied: Replied) -> None:
        """No context to be had now. A crash is waited out; trouble with storage, or too long a wait, is said."""
        connection = self._connection
        if is_replaced(replied.error):
            self.replaced()
            return
        retry_after = getattr(replied.error, "retry_after", 0.0) + ATTACH_AGAIN
        if self.welcomed:
            if not isinstance(replied.error, Dead):  # else `Ended` has come or will
                connection.later("attach", retry_after, self._attach)
        elif is_one_too_many(replied.error):
            assert self._hello is not None
            self._answers.error(ErrorCode.LIMIT_REACHED, self._hello.id, content=CROWDED)
            connection.close(OVER_CAPACITY)
        elif isinstance(replied.error, Refused) or connection.now() + retry_after >= self._attach_until:
            assert self._hello is not None
            self._answers.not_now(self._hello.id, storage=isinstance(replied.error, Refused))
            connection.close(CONNECTION_FAILED)
        else:
            connection.later("attach", retry_after, self._locate)

    def replaced(self) -> None:
        """A newer connection of the same client has taken this one's place."""
        self._connection.close(REPLACED)

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
        plan = attached.plan
        assert plan is not None
        self.counts = attached.counts
        self._welcome(plan, attached)
        self._pass_on(self._joining.begin(plan.after, attached))
        self._read_on()
        for heard in self._early.take():
            self._answer(heard)

    def _welcome(self, plan: Plan, attached: Attached) -> None:
        connection = self._connection
        settings, stamps = connection.settings, connection.services.stamps
        assert self._hello is not None
        assert self.user is not None
        hello = self._hello.body
        assert isinstance(hello, Hello)
        self._subscriptions = Subscriptions(connection, self.user, settings.role, connection.services.open_alerts)
        event = welcome(
            stamps.stamp(),
            reply_to=self._hello.id,
            connection_id=connection.ref.path.rpartition("/")[2],
            client_id=self.client_id,
            user_id=self.user,
            role=settings.role,
            tier=TIER,
            epoch=attached.epoch,
            seq=attached.seq,
            resumed=plan.resumed,
            replayed=plan.replayed,
            heartbeat_interval=settings.heartbeat_interval,
            limits=settings.limits,
            subscribed=self._subscriptions.begin(hello.subscribe),
            server_time=stamps.wall(),
        )
        self.welcomed = True
        connection.opened()
        self._answers.say(event)
        if plan.gap is not None:
            lost_from, lost_to = plan.lost or (None, None)
            self._answers.say(gap(stamps.stamp(), plan.gap, content=LOST[plan.gap], from_seq=lost_from, to_seq=lost_to))

    # --- events

    @property
    def hello(self) -> Hello | None:
        """What the client said first; None until it has."""
        body = None if self._hello is None else self._hello.body
        return body if isinstance(body, Hello) else None

    def deliver(self, message: Deliver) -> None:
        """Events of the user, if they are this user's: the last check before the wire."""
        if message.owner != self.user:
            self._refuse_foreign(message.owner, len(message.batch.outs))
            return
        passes = self._joining.deliver(message)
        if isinstance(passes, Broken):
            self._connection.close(passes.code)
        elif passes:
            self._connection.write_batch(message.batch)

    def _refuse_foreign(self, owner: str | None, events: int) -> None:
        self._connection.services.counters.isolation_violations += events
        self._connection.services.log.error(
            "isolation violation: an event of another user was refused",
            connection=self._connection.ref.path,
            user=self.user,
            owner=owner,
        )
        self._connection.services.isolation()

    def _pass_on(self, outs: list[Out] | Broken) -> None:
        if isinstance(outs, Broken):
            self._connection.close(outs.code)
            return
        for out in outs:
            self._connection.write(out)
        self._tell_held()

    def _tell_held(self) -> None:
        """What channels had to say while they could not be heard."""
        subscriptions = self._subscriptions
        if subscriptions is not None and subscriptions.holds and not self._joining.replaying:
            for out in subscriptions.let_go():
                self._connection.write(out)

    def hear_channel(self, published: Published) -> None:
        """A channel tells something; none of it comes between replayed events."""
        assert self._subscriptions is not None
        try:
            outs = self._subscriptions.hear(published, hold=self._joining.replaying)
        except Foreign:
            self._refuse_foreign(published.owner, 1)
        else:
            for out in outs:
                self._connection.write(out)

    def caught_up(self) -> None:
        """Called when the client has taken what there was: the next page may be read."""
        if self._joining.replaying:
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
            self._answers.error(ErrorCode.RATE_LIMITED, command.id, retry_after=admitted.retry_after)
            if admitted.close:
                connection.close(RATE_IGNORED)
            return
        connection.services.counters.commands[command.type] += 1
        if command.type == HEARTBEAT:
            stamps = connection.services.stamps
            self._answers.say(heartbeat(stamps.stamp(), reply_to=command.id, server_time=stamps.wall()))
        elif isinstance(command.body, Ack):
            if command.body.seq > self._joining.last:
                above = "You acknowledge an event that was not sent to you yet."
                self._answers.error(ErrorCode.BAD_REQUEST, command.id, content=above)
            else:
                self._acked(command.body.seq)
        elif isinstance(command.body, Subscribe | Unsubscribe):
            self._choose_channel(command.id, command.body)
        elif command.body is None:
            self._answers.not_yet(command.id)
        elif connection.come_back is not None and command.type in STARTS_WORK:
            self._answers.leaving(command.id, connection.come_back)
        else:
            self._in_flight += 1
            assert self._context is not None
            connection.request(
                self._context,
                Handle(command, self.client_id, self._hello_at, connection.settings.role),
                HANDLE_WITHIN,
                tag=lambda replied: self._handled(command, replied),
            )

    def _choose_channel(self, command_id: str, wish: Subscribe | Unsubscribe) -> None:
        assert self._subscriptions is not None
        hear = self._subscriptions.subscribe if isinstance(wish, Subscribe) else self._subscriptions.unsubscribe
        if (problem := hear(wish.channel)) is not None:
            self._answers.problem(problem, command_id)
        else:
            self._answers.reply(command_id, {"channel": wish.channel})
            self._tell_held()

    def _acked(self, seq: int) -> None:
        assert self._context is not None
        self._highest_ack = max(seq, self._highest_ack or 0)
        self._context.tell(Acked(self.client_id, seq, self._hello_at))

    def _handled(self, command: Command, replied: Replied) -> None:
        self._in_flight -= 1
        problem = replied.error
        if problem is None:
            self._answers.reply(command.id, replied.value)
        elif is_replaced(problem):
            self.replaced()
        elif isinstance(problem, Refused) and isinstance(problem.reason, CommandError):
            self._answers.problem(problem.reason, command.id)
        elif perhaps_done(command, problem):
            self._connection.close(CONNECTION_FAILED)  # the client's repeat settles it
        else:
            self._answers.error(ErrorCode.UNAVAILABLE, command.id, retry_after=1.0)
