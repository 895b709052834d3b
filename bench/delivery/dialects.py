"""What a client says to each kind of server, and how it reads the answers. Pure.

The daemon speaks its own protocol. The bare servers echo every text, but for `push COUNT SIZE`, which makes them send
COUNT messages of SIZE bytes to everybody; python-socketio wraps all of that in its own packets.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol

from bench.figures import OWN

if TYPE_CHECKING:
    from collections.abc import Callable

SOCKET_IO: Final = "python-socketio"
SEQ: Final = b'{"seq":'
"""How a durable event begins: the daemon puts the number in front of the stored bytes."""
WELCOME: Final = b'"type":"welcome"'


class Dialect(Protocol):
    """How to talk to one kind of server."""

    path: str

    def greeting(self, user: str, client: str, resume: tuple[str, int] | None) -> bytes | None:
        """What to say when the WebSocket is open, if anything. `resume`: epoch and seq of the last event processed."""

    def welcomes(self, payload: bytes) -> dict[str, Any] | None:
        """Whether this text says that the client is in, and what else it says."""

    @property
    def silent(self) -> bool:
        """Whether the server says nothing to a new client, so that the handshake is all."""

    def ping(self, number: int) -> bytes:
        """Something that the server answers at once."""

    def pong(self, payload: bytes) -> bool:
        """Whether this is the answer to it."""

    def automatic(self, payload: bytes) -> bytes | None:
        """What must be answered by the rules of the dialect, and is no message."""


def event(kind: str, number: str, *, content: str = "", **metadata: Any) -> bytes:
    """A command of the daemon's protocol."""
    command = {"id": number, "type": kind, "timestamp": "2026-01-01T00:00:00.000Z"}
    return json.dumps({**command, "content": content, "metadata": metadata}).encode()


class Understudy:
    """The daemon's protocol."""

    path = "/ws"
    silent = False

    def greeting(self, user: str, client: str, resume: tuple[str, int] | None) -> bytes:
        position: dict[str, Any] = {} if resume is None else {"resume": {"epoch": resume[0], "seq": resume[1]}}
        return event("hello", f"hello-{client}", user_id=user, client_id=client, **position)

    def welcomes(self, payload: bytes) -> dict[str, Any] | None:
        if WELCOME not in payload:
            return None
        metadata: dict[str, Any] = json.loads(payload)["metadata"]
        return metadata

    def ping(self, number: int) -> bytes:
        return event("heartbeat", f"beat-{number}")

    def pong(self, payload: bytes) -> bool:
        return b'"type":"heartbeat"' in payload

    def automatic(self, payload: bytes) -> None:
        del payload


class Bare:
    """A server that echoes."""

    path = "/"
    silent = True

    def greeting(self, user: str, client: str, resume: tuple[str, int] | None) -> bytes | None:
        del user, client, resume
        return None

    def welcomes(self, payload: bytes) -> dict[str, Any] | None:
        del payload
        return None

    def ping(self, number: int) -> bytes:
        return b"echo %d" % number

    def pong(self, payload: bytes) -> bool:
        return payload.startswith(b"echo")

    def automatic(self, payload: bytes) -> bytes | None:
        del payload
        return None

    def push(self, count: int, size: int) -> bytes:
        """Have `count` messages of `size` bytes sent to everybody."""
        return b"push %d %d" % (count, size)


class SocketIo(Bare):
    """Engine.IO 4 with Socket.IO 5 on it, over WebSocket from the start."""

    path = "/socket.io/?EIO=4&transport=websocket"
    silent = False

    def greeting(self, user: str, client: str, resume: tuple[str, int] | None) -> bytes | None:
        del user, client, resume
        return b"40"

    def welcomes(self, payload: bytes) -> dict[str, Any] | None:
        return {} if payload.startswith(b"40") else None

    def ping(self, number: int) -> bytes:
        return b'42["say","%b"]' % super().ping(number)

    def pong(self, payload: bytes) -> bool:
        return payload.startswith(b'42["said","echo')

    def automatic(self, payload: bytes) -> bytes | None:
        return b"3" if payload == b"2" else b"" if payload.startswith(b"0") else None

    def push(self, count: int, size: int) -> bytes:
        return b'42["say","%b"]' % super().push(count, size)


DIALECTS: Final[dict[str, Callable[[], Dialect]]] = {OWN: Understudy, SOCKET_IO: SocketIo}


def dialect(subject: str) -> Dialect:
    """That of a subject; those not named here echo."""
    return DIALECTS.get(subject, Bare)()
