"""The one place that touches what trio-websocket keeps to itself.

What is used of it is its receiving task: frames decoded, fragments joined, UTF-8 checked, pings and the client's Close
answered. Two things are done for it, which save 12 KiB and two tasks a connection:

- It is given a connection that is open already. Its own handshake needs h11 objects that stay for ever, a task that
  waits for it, and a request in the one form with which it has no trouble. So its constructor is not called, most of
  which prepares for that: a channel, a future, events, a lock.
- A message goes from its task straight to whoever is to have it, instead of through a channel and a task at its end.

`tests/actors/gateway/test_library.py` says what of the library this relies on.
"""

# ruff: noqa: SLF001 - here and nowhere else

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import trio_websocket
from wsproto.connection import Connection, ConnectionType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    import trio

RECEIVE_BYTES: Final = 16_384


class Receiver:
    """trio-websocket on a stream whose handshake is done.

    Args:
        stream: what it reads from and answers on.
        hear: awaited with each whole text message, in the receiving task: while it waits, nothing is read.
    """

    __slots__ = ("_connection",)

    def __init__(self, stream: trio.abc.Stream, hear: Callable[[str], Awaitable[None]]) -> None:
        protocol: Any = Connection(ConnectionType.SERVER)  # all that it uses of a WSConnection
        protocol._events = ()  # a queue that is filled by nobody: 0.6 KiB
        connection: Any = object.__new__(trio_websocket.WebSocketConnection)
        connection._wsproto = protocol
        connection._stream = stream
        connection._stream_lock = UNLOCKED
        connection._receive_buffer_size = RECEIVE_BYTES
        connection._max_message_size = sys.maxsize  # the scanner bounds it, in bytes
        connection._message_size = connection._id = 0
        connection._message_parts = []
        connection._pings = NO_PINGS
        connection._send_channel = _Ear(hear)
        connection._reader_running = True
        connection._initial_request = connection._close_reason = None
        connection._close_handshake = connection._for_testing_peer_closed_connection = UNHEARD
        self._connection = connection

    async def run(self) -> None:
        """The receiving task. Ends with the client's Close, or where the stream ends it; raises what it likes."""
        await self._connection._reader_task()

    @property
    def closed(self) -> trio_websocket.CloseReason | None:
        """What the library takes for the reason of the end."""
        reason: trio_websocket.CloseReason | None = self._connection.closed
        return reason


class _Unheard:
    """What the library takes for an event that it tells of its end, which whoever wants it knows from its task."""

    __slots__ = ()

    def set(self) -> None:
        """Nobody waits."""


UNHEARD: Final = _Unheard()


class _Unlocked:
    """What the library takes for the lock of its sending, which nobody but its own task does."""

    __slots__ = ()

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


UNLOCKED: Final = _Unlocked()
NO_PINGS: Final[Mapping[bytes, Any]] = MappingProxyType({})
"""The pings of the library's own that are under way: we send ours ourselves."""


class _Ear:
    """What the library takes for the sending end of its channel."""

    __slots__ = ("send",)

    def __init__(self, hear: Callable[[str], Awaitable[None]]) -> None:
        self.send = hear

    async def aclose(self) -> None:
        """It says so at the end of the connection, which whoever waits for it learns from the task's end."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
