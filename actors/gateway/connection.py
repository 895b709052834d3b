"""One accepted socket: first an HTTP request head, then a WebSocket (or plain HTTP, or a refusal).

The actor decides; its tasks wait. `_arrive` reads the head, serves HTTP or becomes the WebSocket's reader; `_write`
sends what waits in `Outbound`, as much as there is with one system call. Neither ever makes a producer wait: events
come by `tell`, and a client that does not take them is closed with 4413 and resumes. What is counted as sent was
written.

The order on the wire: an `error` that explains a close; `welcome`; a `gap` or the replayed events; the text so far of
answers in progress; then live events. While a replay is going on, live events are held back.

If the user's context restarts, the connection attaches again and replays from the last event that it has written: the
client sees nothing of it. If the context is gone for good, the connection closes with 1011.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from trio.lowlevel import ParkingLot

from actors.gateway import admission
from actors.gateway.conversation import Conversation
from actors.gateway.head import BadHead, ClientGone, read_head
from actors.gateway.http import serve_http
from actors.gateway.messages import LEAVING, Drain, Frame
from actors.gateway.outbound import PING, Outbound
from actors.gateway.refusal import Refusal, refuse
from actors.gateway.socket import Closed, Ending, Socket
from actors.protocol.codes import CLOSES, CONNECTION_FAILED, DRAINING, NO_HELLO, NORMAL, SILENT, TOO_SLOW
from actors.protocol.connection_events import draining
from actors.protocol.events import encode
from actors.users.messages import Deliver, Later
from runtime import Actor, Ended, Replied, Restarted, TaskEnded

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercorn.config import Config
    from hypercorn.typing import ASGIFramework

    from actors.gateway.outbound import Batch
    from actors.operations.counters import DaemonCounters
    from actors.protocol.connection_events import Limits
    from actors.protocol.stamps import Stamps
    from runtime import Reason, Ref

FAREWELL: Final = 5.0
"""Seconds in which what explains a close must be written."""
HEAD_GRACE: Final = 1.0
"""Seconds that a draining daemon leaves to somebody who has connected and said nothing yet."""


@attrs.frozen
class GatewaySettings:
    """Limits and times of connections, in bytes and seconds."""

    policy: admission.Policy
    limits: Limits
    heartbeat_interval: float
    silent_intervals: int
    hello_within: float
    send_within: float
    head_within: float = 10.0
    close_within: float = 5.0


@attrs.frozen
class GatewayServices:
    """Whom a connection talks to."""

    users: Ref[Any]
    journal: Ref[Any]
    app: ASGIFramework
    http: Config
    stamps: Stamps
    counters: DaemonCounters
    log: Any


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
class _Listen:
    """Timer: look whether there was a sign of life since."""


@attrs.frozen
class _SendOverdue:
    """Timer: the client has taken nothing of a batch, or not the goodbye."""


class Connection(Actor):
    """See the module.

    Args:
        stream: the accepted socket.
        settings: limits and times.
        services: whom it talks to.
        turn_away: what an upgrade is answered with when the daemon takes none: it is full, or leaving.
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        settings: GatewaySettings,
        services: GatewayServices,
        *,
        turn_away: Refusal | None = None,
    ) -> None:
        self._stream = stream
        self.settings = settings
        self.services = services
        self._turn_away = turn_away
        self._head_read = False
        self._draining: float | None = None
        self._socket: Socket | None = None
        self._outbound = Outbound()
        self._awake = ParkingLot()
        self._sending = False
        self._closing: tuple[int, str] | None = None
        self._conversation = Conversation(self)

    async def started(self) -> None:
        self.start(self._arrive, name="arrive")

    async def stopped(self, reason: Reason) -> None:
        if self._socket is not None:
            ending = self._socket.ending
            code = 1006 if ending is None else ending.code
            self.services.counters.connections_closed[code] += 1
            why = str(reason) if ending is None else ending.reason
            self.services.log.info(
                "connection closed",
                connection=self.ref.path,
                user=self._conversation.user,
                code=code,
                why=why,
                by=None if ending is None else ending.by,
            )
        await trio.aclose_forcefully(self._stream)

    async def receive(self, message: Any) -> object:
        match message:
            case Deliver():
                self._conversation.deliver(message)
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
            case _Listen():
                self._listen()
            case Restarted():
                self._conversation.context_restarted()
            case Ended():
                self._conversation.context_ended()
            case _NoHello():
                self.close(NO_HELLO)
            case _SendOverdue():
                self._abort(TOO_SLOW)
            case Drain(retry_after):
                self._drain(retry_after)
            case TaskEnded():
                self._task_ended(message)
        return None

    def inspect(self) -> dict[str, Any]:
        return {"open": self._socket is not None, "outbound_bytes": self._outbound.waiting}

    # --- opening

    async def _arrive(self) -> None:
        """From the first byte to the end of the socket. Everything that a stranger can do ends here."""
        stream, settings = self._stream, self.settings
        try:
            head, raw = await read_head(stream, within=settings.head_within)
        except ClientGone:
            return
        except BadHead as error:
            await self._refuse(error.refusal)
            return
        self._head_read = True
        judged = admission.judge(head, settings.policy)
        if isinstance(judged, Refusal):
            await self._refuse(judged)
        elif isinstance(judged, admission.PlainHttp):
            failure = await serve_http(self.services.app, stream, head, raw, self.services.http)
            if failure is not None:
                self.services.log.debug("http connection ended early", error=repr(failure))
        elif self._turn_away is not None:
            await self._refuse(self._turn_away)
        else:
            async with trio.open_nursery() as nursery:
                try:
                    socket = await Socket.accept(
                        stream,
                        head,
                        raw,
                        subprotocol=judged.subprotocol,
                        handshake_within=settings.head_within,
                        nursery=nursery,
                        close_within=settings.close_within,
                    )
                except Closed:
                    return
                await self._read(socket)

    async def _refuse(self, refusal: Refusal) -> None:
        self.services.counters.connections_refused[refusal.status] += 1
        await refuse(self._stream, refusal)

    async def _read(self, socket: Socket) -> None:
        """Hand every message to the actor, until the end."""
        self.ref.tell(_Opened(socket))
        try:
            while True:
                await self.ref.send(Frame(await socket.receive()), self.settings.send_within)
        except Closed:
            await socket.close(NORMAL)  # over already: this waits until the TCP connection is closed
            if socket.failure is not None:
                self.services.log.warning("websocket library failed", error=repr(socket.failure))

    def _open(self, socket: Socket) -> None:
        self._socket = socket
        failed = CLOSES[CONNECTION_FAILED]
        socket.parting = Ending(failed.code, failed.why, "server")
        self.services.counters.connections_opened += 1
        self.start(self._write, name="write")
        self.timer("hello", self.settings.hello_within, _NoHello())
        interval = self.settings.heartbeat_interval
        self.timer("pulse", interval, _Pulse(), every=interval)
        self._listen()
        if self._draining is not None:
            self._drain(self._draining)

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

    def write(self, frame: bytes, *, durable: bool = False, counts: bool = True) -> None:
        """Queue a frame. Too much of what counts closes the connection with 4413; behind a close nothing is queued."""
        if self._closing is not None:
            return
        self._outbound.add(frame, durable=durable, counts=counts)
        if self._outbound.waiting > self.settings.limits.outbound_bytes:
            self._abort(TOO_SLOW)
        elif not self._sending:
            self._awake.unpark()

    async def _write(self) -> None:
        """Send what waits, a batch at a time; then close if that was asked for."""
        socket = self._socket
        assert socket is not None
        try:
            while True:
                while self._outbound:
                    await self._send(socket, self._outbound.take())
                if self._closing is not None:
                    await socket.close(*self._closing)
                    return
                self._conversation.caught_up()
                if not self._outbound:
                    await self._awake.park()
        except Closed:
            return

    async def _send(self, socket: Socket, batch: Batch) -> None:
        self._sending = True
        self.timer("send", self.settings.send_within, _SendOverdue())
        try:
            if batch.is_ping:
                await socket.ping()
                return
            await socket.send_batch(batch.frames)
        finally:
            self._sending = False
            self.cancel_timer("send")
        counters = self.services.counters
        counters.events_sent += batch.durable
        counters.ephemeral_sent += len(batch.frames) - batch.durable

    # --- closing

    def close(self, code: int, reason: str | None = None) -> None:
        """Write what waits, then close."""
        if self._closing is None:
            self._closing = (code, CLOSES[code].why if reason is None else reason)
            self._detach()
            self.timer("farewell", FAREWELL, _SendOverdue())
            self._awake.unpark()

    def _abort(self, code: int) -> None:
        """Close without writing what waits; the client will resume."""
        self._outbound.clear()
        self._closing = (code, CLOSES[code].why) if self._closing is None else self._closing
        self._detach()
        self.cancel_timer("send")
        if self._socket is not None:
            self.start(self._shut, name="close")

    async def _shut(self) -> None:
        assert self._socket is not None
        assert self._closing is not None
        await self._socket.close(*self._closing)

    def _detach(self) -> None:
        for timer in ("pulse", "listen", "hello"):
            self.cancel_timer(timer)
        self._conversation.detach()

    def _drain(self, retry_after: float) -> None:
        """Say goodbye. What is no WebSocket yet will be none; plain HTTP under way is finished."""
        self._draining = retry_after
        self._turn_away = LEAVING
        if self._socket is None:
            self.later("head", HEAD_GRACE, self._stop_without_head)
            return
        if self._conversation.welcomed:
            own = round(self.system.rng.uniform(0.0, retry_after), 3)
            self.write(encode(draining(self.services.stamps.stamp(), retry_after=own)))
        self.close(DRAINING)

    def _stop_without_head(self) -> None:
        if not self._head_read:
            self.stop("the daemon is draining")

    def _listen(self) -> None:
        """Close if the client has been silent for too long; else look again when it would have been."""
        assert self._socket is not None
        silence = self.settings.silent_intervals * self.settings.heartbeat_interval
        left = self._socket.statistics().last_received + silence - self.now()
        if left <= 0:
            self.close(SILENT)
        else:
            self.timer("listen", left, _Listen())

    def _task_ended(self, ended: TaskEnded) -> None:
        if ended.error is not None:
            raise ended.error
        if ended.task.name == "arrive":
            self.stop("the connection is over")
