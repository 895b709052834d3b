"""Thousands of clients in one process, each a socket and a few numbers, driven by one epoll.

They must cost less than the server that they measure, so there is neither a task nor an object for a message: a frame
is counted, the seq of a durable event is compared with the one before, and that is all. A client whose seq does not
rise by one says so at once: a server that loses events is not to look fast.
"""

from __future__ import annotations

import errno
import heapq
import json
import select
import socket
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from bench.delivery.dialects import SEQ
from bench.delivery.frames import CLOSE, PING, PONG, TEXT, masked, request, take_frames, take_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.delivery.dialects import Dialect

RECEIVE: Final = 65_536
OPENING: Final = 256
"""Connections that are being opened at a time."""
LONGEST_WAIT: Final = 0.05
"""Seconds after which `run` looks again whether what it waits for has come true."""


class NotServed(Exception):
    """The server did something that ends the measurement. The text says what."""


class Client:
    """One connection, and what has come over it.

    Attributes:
        user: whose it is.
        name: its client_id.
        resume: the epoch and the seq of the last event that it has processed; None if it has never been in.
        missing: events that it still has to get from the log.
        welcome: what the server said of itself when it let the client in; None before.
        seq: of the last durable event.
        texts: how many have come since it is in.
    """

    __slots__ = (
        "_incoming",
        "_opened_at",
        "_socket",
        "_swarm",
        "_upgraded",
        "missing",
        "name",
        "refused",
        "resume",
        "retry_after",
        "seq",
        "texts",
        "user",
        "welcome",
    )

    def __init__(self, swarm: Swarm, user: str, name: str) -> None:
        self._swarm = swarm
        self._socket: socket.socket | None = None
        self._incoming = bytearray()
        self._opened_at = 0.0
        self._upgraded = False
        self.user = user
        self.name = name
        self.resume: tuple[str, int] | None = None
        self.missing = 0
        self.welcome: dict[str, Any] | None = None
        self.seq = 0
        self.texts = 0
        self.refused = 0
        self.retry_after = 0.0

    # --- opening and closing

    def open(self) -> bool:
        """Begin to connect; False where nobody listens."""
        swarm = self._swarm
        own = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        own.setblocking(False)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        problem = own.connect_ex(("127.0.0.1", swarm.port))
        if problem not in {0, errno.EINPROGRESS}:
            own.close()
            return False
        self._socket = own
        self._incoming.clear()
        self._opened_at = monotonic()
        self._upgraded = False
        self.welcome = None
        swarm.add(own.fileno(), self)
        return True

    def reopen(self) -> None:
        """As `open`; where nobody listens, the swarm hears of it."""
        if not self.open():
            self._swarm.lost(self)

    def connected(self) -> None:
        """The connection stands, or has failed."""
        assert self._socket is not None
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close()
            self._swarm.lost(self)
            return
        self._swarm.only_read(self._socket.fileno())
        self._send(request(self._swarm.dialect.path, self._swarm.port))

    def close(self) -> None:
        """Go without a word."""
        if self._socket is not None:
            self._swarm.remove(self._socket.fileno(), self)
            self._socket.close()
            self._socket = None
            self.welcome = None

    def leave(self, payload: bytes) -> None:
        """Answer a Close frame, and go."""
        self._send(masked(CLOSE, payload))
        self.close()

    def say(self, payload: bytes) -> None:
        """Send one text message."""
        self._send(masked(TEXT, payload))

    def _send(self, data: bytes) -> None:
        # What a client says is small, and the server never stops reading: it fits into the kernel's buffer.
        if self._socket is not None:
            try:
                self._socket.sendall(data)
            except ConnectionError:
                self.close()
                self._swarm.lost(self)

    # --- receiving

    def readable(self) -> None:
        """Take what has come."""
        assert self._socket is not None
        try:
            data = self._socket.recv(RECEIVE)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self.close()
            self._swarm.lost(self)
            return
        self._incoming += data
        if not self._upgraded:
            self._upgrade()
        if self._upgraded:
            for frame in take_frames(self._incoming):
                if frame.opcode == TEXT:
                    self._text(frame.payload)
                elif frame.opcode == PING:
                    self._send(masked(PONG, frame.payload))
                elif frame.opcode == CLOSE:
                    self._swarm.closed(self, frame.payload)

    def _upgrade(self) -> None:
        head = take_head(self._incoming)
        if head is None:
            return
        if head.status != 101:
            self.refused, self.retry_after = head.status, head.retry_after
            self.close()
            self._swarm.lost(self)
            return
        self._upgraded = True
        dialect = self._swarm.dialect
        greeting = dialect.greeting(self.user, self.name, self.resume)
        if greeting is not None:
            self.say(greeting)
        if dialect.silent:
            self._enter({})

    def _text(self, payload: bytes) -> None:
        swarm = self._swarm
        if self.welcome is None:
            answer = swarm.dialect.automatic(payload)
            if answer is not None:
                if answer:
                    self.say(answer)
                return
            welcome = swarm.dialect.welcomes(payload)
            if welcome is None:
                waited = monotonic() - self._opened_at
                raise NotServed(f"instead of a welcome came, after {waited:.1f} s, {payload[:2000].decode()}")
            self._enter(welcome)
            return
        self.texts += 1
        swarm.texts += 1
        swarm.bytes += len(payload)
        if payload.startswith(SEQ):
            seq = int(payload[len(SEQ) : payload.index(b",")])
            if seq != self.seq + 1:
                raise NotServed(f"after event {self.seq} came {seq}")
            self.seq = seq
            if self.missing:
                self.missing -= 1
                if not self.missing:
                    swarm.arrived += 1
        elif payload == b"2":  # the only thing that a server of another dialect asks of a client
            self.say(b"3")
        swarm.take(self, payload)

    def _enter(self, welcome: dict[str, Any]) -> None:
        self.welcome = welcome
        self.missing = welcome.get("replayed", 0)
        if self.resume is not None and not welcome["resumed"]:
            raise NotServed(f"not resumed, though everything is in the log: {json.dumps(welcome)[:200]}")
        self.seq = welcome.get("seq", 0) - self.missing
        self._swarm.entered(self)


class Swarm:
    """All clients of one server.

    Args:
        port: where the server listens.
        dialect: how it is talked to.

    Attributes:
        texts: messages that have come to clients that are in; `bytes` of them.
        inside: clients that are in. `arrived`: those of them that have also got all that they had missed.
        listener: the client whose messages `heard` is called with.
        ended: why connections ended: a close code, or `refused 503`, or `lost`.
    """

    def __init__(self, port: int, dialect: Dialect) -> None:
        self.port = port
        self.dialect = dialect
        self.clients: list[Client] = []
        self.texts = 0
        self.bytes = 0
        self.inside = 0
        self.arrived = 0
        self.listener: Client | None = None
        self.heard: Callable[[bytes], None] = lambda _payload: None
        self.on_lost: Callable[[Client], None] | None = None
        self.ended: dict[str, int] = {}
        self._epoll = select.epoll()
        self._by_file: dict[int, Client] = {}
        self._connecting: set[int] = set()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._to_open: list[Client] = []

    # --- for clients

    def add(self, file: int, client: Client) -> None:
        self._by_file[file] = client
        self._connecting.add(file)
        self._epoll.register(file, select.EPOLLOUT)

    def only_read(self, file: int) -> None:
        self._connecting.discard(file)
        self._epoll.modify(file, select.EPOLLIN)

    def remove(self, file: int, client: Client) -> None:
        self._epoll.unregister(file)
        self._connecting.discard(file)
        del self._by_file[file]
        if client.welcome is not None:
            self.inside -= 1
            self.arrived -= not client.missing

    def take(self, client: Client, payload: bytes) -> None:
        """A text for one who is in. A scenario that listens to all of them has a swarm of its own."""
        if self.listener is client:
            self.heard(payload)

    def entered(self, client: Client) -> None:
        self.inside += 1
        self.arrived += not client.missing
        self._open_more()

    def lost(self, client: Client) -> None:
        """A connection is over, or was refused, or never stood."""
        why = f"refused {client.refused}" if client.refused else "lost"
        self.ended[why] = self.ended.get(why, 0) + 1
        if self.on_lost is None:
            raise NotServed(f"{client.name}: {self._why(why)}")
        self.on_lost(client)
        client.refused = 0

    def closed(self, client: Client, payload: bytes) -> None:
        """The server has said goodbye."""
        code = int.from_bytes(payload[:2], "big")
        self.ended[str(code)] = self.ended.get(str(code), 0) + 1
        if self.on_lost is None:
            raise NotServed(f"{client.name} was closed with {code} {payload[2:].decode()!r}")

    def _why(self, why: str) -> str:
        return f"{why}, with {self.inside} clients inside"

    # --- for scenarios

    def join(self, users: Iterable[str], *, prefix: str = "c") -> list[Client]:
        """New clients, one for each user named, to be opened; `run` does it."""
        new = [Client(self, user, f"{prefix}{len(self.clients) + number}") for number, user in enumerate(users)]
        self.clients += new
        return new

    def open_all(self, clients: Sequence[Client], *, at_once: int = OPENING) -> None:
        """Open them, so many at a time."""
        self._to_open = list(reversed(clients))
        for _ in range(at_once):
            self._open_more()

    def _open_more(self) -> None:
        if self._to_open:
            self._to_open.pop().reopen()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Have `call` called then, by `run`."""
        heapq.heappush(self._timers, (monotonic() + seconds, next(self._numbers), call))

    def run(self, done: Callable[[], bool], within: float, what: str) -> float:
        """Serve all clients until `done`; gives the seconds that it took.

        Raises:
            NotServed: it took longer than `within` seconds, or the server did what ends the measurement.
        """
        began = now = monotonic()
        while not done():
            if now - began > within:
                raise NotServed(f"{what}: not within {within:g} s; {self.inside} clients are inside, {self.ended}")
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
            wait = min(LONGEST_WAIT, self._timers[0][0] - now) if self._timers else LONGEST_WAIT
            for file, _mask in self._epoll.poll(max(0.0, wait)):
                client = self._by_file.get(file)
                if client is None:  # closed by what came before it in this list
                    continue
                if file in self._connecting:
                    client.connected()
                else:
                    client.readable()
            now = monotonic()
        return now - began

    def rest(self, seconds: float, until: Callable[[], object] = lambda: True) -> float:
        """Serve all clients for so long, and on until `until`: a short window on a machine that has other things to
        do may end before anything has come that could be measured. Gives the seconds that it took."""
        end = monotonic() + seconds
        return self.run(lambda: monotonic() >= end and bool(until()), seconds + 60.0, "resting")

    def close(self) -> None:
        """All clients go."""
        self.on_lost = lambda _client: None
        for client in self.clients:
            client.close()
        self._epoll.close()
