"""One accepted socket: first an HTTP request head, then a WebSocket (or plain HTTP, or a refusal).

The actor decides; its tasks wait. `_arrive` reads the head, and serves HTTP or lets a WebSocket in; then it is the
WebSocket's one task, which reads. What is to be written is written at the end of a turn (`sending`).
Nobody ever makes a producer wait: events come by `tell`, and a client that does not take them is closed with 4413 and
resumes.

The order on the wire: an `error` that explains a close; `welcome`; a `gap` or the replayed events; the text so far of
answers in progress; then live events. While a replay is going on, live events are held back.

If the user's context restarts, the connection attaches again and replays from the last event that it has written: the
client sees nothing of it. If the context is gone for good, the connection closes with 1011.
"""

from __future__ import annotations

import socket as sockets
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs
import trio

from actors.gateway import admission
from actors.gateway.conversation import Conversation
from actors.gateway.head import BadHead, ClientGone, read_head
from actors.gateway.http import serve_http
from actors.gateway.introduction import introduced
from actors.gateway.messages import Drain, Frame
from actors.gateway.outbound import PING, Batch, Out
from actors.gateway.refusal import Refusal, refuse
from actors.gateway.sending import Sending, SendOverdue
from actors.gateway.socket import Closed, Ending, Socket
from actors.operations.channels import Published
from actors.protocol.codes import CLOSES, CONNECTION_FAILED, DRAINING, NO_HELLO, SILENT, TOO_SLOW
from actors.protocol.connection_events import draining
from actors.protocol.events import encode
from actors.users.messages import Deliver, LastHeard, Later, Replaced
from runtime import Actor, Ended, Replied, Restarted, TaskEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.gateway.entrance import Entrance
    from actors.gateway.settings import GatewayServices, GatewaySettings
    from runtime import Reason

FAREWELL: Final = 5.0
"""Seconds in which what explains a close must be written."""
HEAD_GRACE: Final = 1.0
"""Seconds that a draining daemon leaves to somebody who has connected and said nothing yet."""
SEND_BUFFER_BYTES: Final = 131_072
"""What the system may hold for one client. By itself it would take 4 MB for one that reads nothing: memory that no
limit of ours counts, and events that cannot be conflated any more."""


@attrs.frozen
class _Opened:
    """From the arriving task: the handshake is done."""

    socket: Socket


@attrs.frozen
class _NoHello:
    """Timer: the client has not said hello."""


@attrs.frozen
class _Pulse:
    """Timer: ping."""


@attrs.frozen
class _FarewellOver:
    """Timer: what explains a close was not taken in time."""


@attrs.frozen
class _Over:
    """The WebSocket has ended, and what came before its end has been heard."""


class Connection(Actor):
    """See the module.

    Args:
        stream: the accepted socket.
        settings: limits and times.
        services: whom it talks to.
        entrance: who lets a WebSocket in, or not.
    """

    batch: ClassVar[int] = 64

    def __init__(
        self, stream: trio.SocketStream, settings: GatewaySettings, services: GatewayServices, entrance: Entrance
    ) -> None:
        self._stream = stream
        self.settings = settings
        self.services = services
        self._entrance = entrance
        self._address: str | None = None  # of one who was let in
        self._head_read = False
        self._socket: Socket | None = None
        self._sending: Sending | None = None
        self._opened_at = 0.0
        self._drained: Drain | None = None
        self.come_back: float | None = None
        """Seconds after the close until the client may come back, once it was told that the daemon is about to leave:
        work that is not begun yet is begun elsewhere, or later."""
        self._closing: tuple[int, str] | None = None
        self._shutting = False
        self._events_sent = 0
        self._conversation = Conversation(self)

    async def started(self) -> None:
        self.start(self._arrive, name="arrive")

    async def stopped(self, reason: Reason) -> None:
        if self._address is not None:
            self._entrance.leave(self._address)
        if self._socket is not None:
            self._say_ended(self._socket, reason)
        await trio.aclose_forcefully(self._stream)

    def _say_ended(self, socket: Socket, reason: Reason) -> None:
        ending = socket.ending or Ending(1006, str(reason), "server")
        self.services.counters.connections_closed[ending.code] += 1
        self.services.log.info(
            "connection closed",
            connection=self.ref.path,
            user=self._conversation.user,
            code=ending.code,
            why=ending.reason,
            by=ending.by,
            seconds=round(self.now() - self._opened_at, 3),
        )
        if socket.failure is not None:
            self.services.log.warning("websocket library failed", error=repr(socket.failure))

    async def receive(self, message: Any) -> object:
        return (await self.receive_batch((message,)))[0]

    async def receive_batch(self, messages: Sequence[Any]) -> list[object]:
        answers = [self._take(message) for message in messages]
        self._flush()
        return answers

    def _take(self, message: Any) -> object:
        match message:
            case Deliver():
                self._conversation.deliver(message)
            case Published():
                self._conversation.hear_channel(message)
            case Frame(text):
                if self._closing is None:
                    self._conversation.hear(text)
            case Replied():
                message.tag(message)
            case Later(call):
                call()
            case _Opened(socket):
                self._open(socket)
            case _Pulse():
                self.write(PING)
                self._listen()
            case LastHeard():
                return self._last_heard
            case Replaced():
                self._conversation.replaced()
            case Restarted():
                self._conversation.context_restarted()
            case Ended():
                self._conversation.context_ended()
            case _NoHello():
                self.close(NO_HELLO)
            case SendOverdue():
                if self._sending is not None:
                    self._sending.overdue()
            case _FarewellOver():
                self.abort(TOO_SLOW)
            case Drain():
                self._drain(message)
            case TaskEnded():
                self._task_ended(message)
            case _Over():
                self.stop("the connection is over")
        return None

    def inspect(self) -> dict[str, Any]:
        return {
            "open": self._socket is not None,
            "outbound_bytes": 0 if self._sending is None else self._sending.waiting,
            "user": self._conversation.user,
            "client_id": self._conversation.client_id,
            "events_sent": self._events_sent,
            "connected_seconds": None if self._socket is None else round(self.now() - self._opened_at, 3),
            **introduced(self._conversation.hello),
        }

    def count_sent(self, events: int) -> None:
        """So many durable events have been taken by the client's side."""
        self.services.counters.events_sent += events
        self._events_sent += events
        if self._conversation.counts is not None:
            self._conversation.counts.sent += events

    # --- opening

    async def _arrive(self) -> None:
        """From the first byte to the end of the socket. Everything that a stranger can do ends here."""
        socket = await self._let_in()
        if socket is not None:
            self.ref.tell(_Opened(socket))
            await socket.serve()

    async def _let_in(self) -> Socket | None:
        """Read the head. None where it makes no WebSocket, or none now: then it has been answered."""
        stream, settings = self._stream, self.settings
        try:
            head, raw = await read_head(stream, within=settings.head_within)
        except ClientGone:
            return None
        except BadHead as error:
            await self._refuse(error.refusal)
            return None
        self._head_read = True
        judged = admission.judge(head, settings.policy)
        if isinstance(judged, admission.PlainHttp):
            failure = await serve_http(self.services.app, stream, head, raw, self.services.http)
            if failure is not None:
                self.services.log.debug("http connection ended early", error=repr(failure))
            return None
        refusal = judged if isinstance(judged, Refusal) else self._enter()
        if refusal is not None:
            await self._refuse(refusal)
            return None
        assert isinstance(judged, admission.Upgrade)
        try:
            return await Socket.accept(
                stream,
                head,
                raw,
                subprotocol=judged.subprotocol,
                hear=self._hear,
                handshake_within=settings.head_within,
                close_within=settings.close_within,
                turnstile=self.services.turnstile,
            )
        except Closed:
            return None

    def _enter(self) -> Refusal | None:
        """Whether this client may become a WebSocket now."""
        try:
            address = str(self._stream.socket.getpeername()[0])
        except OSError:  # it has gone: it will be found out in a moment
            address = ""
        refusal = self._entrance.enter(address, trio.current_time())
        if refusal is None:
            self._address = address
            self._stream.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, SEND_BUFFER_BYTES)
        return refusal

    async def _refuse(self, refusal: Refusal) -> None:
        self.services.counters.connections_refused[refusal.status] += 1
        await refuse(self._stream, refusal)

    async def _hear(self, text: str) -> None:
        """From the WebSocket's task: it reads on when the mailbox has room."""
        await self.ref.send(Frame(text), self.settings.send_within)

    def _open(self, socket: Socket) -> None:
        self._socket, settings = socket, self.settings
        self._sending = Sending(self, socket, settings.limits.outbound_bytes, settings.send_within)
        self._opened_at = self.now()
        self._part_with(CONNECTION_FAILED)
        self.services.counters.connections_opened += 1
        self.timer("hello", settings.hello_within, _NoHello())
        interval = settings.heartbeat_interval
        # The first after a random part: thousands who came together are not pinged together for ever.
        self.timer("pulse", self.system.rng.uniform(0.0, interval), _Pulse(), every=interval)
        self._listen()
        if self._drained is not None:
            self._drain(self._drained)

    def _part_with(self, code: int) -> None:
        """What the client is told if this actor is torn away."""
        assert self._socket is not None
        self._socket.parting = Ending(code, CLOSES[code].why, "server")

    def greeted(self) -> None:
        """`hello` was valid: the client has done its part."""
        self.cancel_timer("hello")

    def opened(self) -> None:
        """`welcome` is on its way."""
        assert self._socket is not None
        self._socket.opened(self.settings.limits.frame_bytes)

    def later(self, key: str, seconds: float, call: Callable[[], None]) -> None:
        """Have `call` called in so many seconds."""
        self.timer(key, seconds, Later(call))

    # --- writing

    def write(self, out: Out) -> None:
        """Queue a message; it goes out at the end of this turn. Behind a close nothing is queued."""
        if self._closing is None and self._sending is not None:
            self._sending.add(out)

    def write_batch(self, batch: Batch) -> None:
        """The same with several that come together."""
        if self._closing is None and self._sending is not None:
            self._sending.add_batch(batch)

    def _flush(self) -> None:
        """At the end of a turn."""
        sending = self._sending
        if sending is not None:
            sending.flush()
            if not sending.behind:
                self.caught_up()

    def caught_up(self) -> None:
        """The client has taken what there was: close if that was asked for, else what is to come may come."""
        if self._closing is not None:
            self._shut()
        else:
            self._conversation.caught_up()

    # --- closing

    def close(self, code: int, reason: str | None = None) -> None:
        """Write what waits, then close."""
        if self._closing is None:
            self._closing = (code, CLOSES[code].why if reason is None else reason)
            self._detach()
            self.timer("farewell", FAREWELL, _FarewellOver())

    def abort(self, code: int) -> None:
        """Close without writing what waits; the client will resume."""
        if self._sending is not None:
            self._sending.clear()
        self._closing = self._closing or (code, CLOSES[code].why)
        self._detach()
        self._shut()

    def _shut(self) -> None:
        """Say goodbye; once."""
        if self._socket is not None and not self._shutting:
            assert self._closing is not None
            self._shutting = True
            self.start(self._socket.close, *self._closing, name="close")

    def _detach(self) -> None:
        for timer in ("pulse", "listen", "hello"):
            self.cancel_timer(timer)
        self._conversation.detach()

    def _drain(self, drain: Drain) -> None:
        """Say goodbye, and go in a while. What is no WebSocket yet will be none; plain HTTP under way is finished."""
        self._drained = drain
        if self._socket is None:
            self.later("head", HEAD_GRACE, self._stop_without_head)
            return
        self._part_with(DRAINING)
        if not self._conversation.welcomed:
            self.close(DRAINING)
            return
        rng = self.system.rng
        self.come_back = round(rng.uniform(0.0, drain.retry_after), 3)
        self.write(Out(encode(draining(self.services.stamps.stamp(), retry_after=self.come_back))))
        self.later("leave", rng.uniform(0.0, drain.over), partial(self.close, DRAINING))

    def _stop_without_head(self) -> None:
        if not self._head_read:
            self.stop("the daemon is draining")

    @property
    def _last_heard(self) -> float:
        assert self._socket is not None  # who asks knows of this connection by what has come on it
        return self._socket.statistics().last_received

    def _listen(self) -> None:
        """Close if the client has been silent for too long; look again if that comes before the next ping."""
        interval = self.settings.heartbeat_interval
        left = self._last_heard + self.settings.silent_intervals * interval - self.now()
        if left <= 0:
            self.close(SILENT)
        elif left <= interval:
            self.later("listen", left, self._listen)

    def _task_ended(self, ended: TaskEnded) -> None:
        if ended.error is not None:
            raise ended.error
        if ended.task.name == "arrive" and not self.ref.tell(_Over()):
            self.stop("the connection is over")
