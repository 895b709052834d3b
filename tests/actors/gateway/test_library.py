"""What of trio-websocket's inside the gateway relies on: if a release changes it, this says so first."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import trio
import trio.testing
import trio_websocket
from wsproto.connection import Connection, ConnectionType

from actors.gateway.library import Receiver
from tests.support.raw_websocket import CLOSE, PING, PONG, TEXT, close_payload, encode_frame

USED = (
    "_reader_task",
    "_handle_message_event",
    "_handle_ping_event",
    "_handle_pong_event",
    "_handle_close_connection_event",
    "_abort_web_socket",
    "_close_web_socket",
    "_close_stream",
    "_send",
)
"""The methods of the library that run for a connection that is open and sends no message of its own."""


def test_the_parts_that_are_replaced_are_there() -> None:
    stream: Any = None
    receiver = Receiver(stream, _never)
    connection: Any = receiver._connection
    assert inspect.iscoroutinefunction(connection._reader_task)
    source = inspect.getsource(trio_websocket.WebSocketConnection)
    for use in ("async with self._send_channel:", "await self._send_channel.send(msg)", "self._send_channel.aclose()"):
        assert use in source
    assert source.count("self._close_handshake.") == source.count("self._close_handshake.set()") + 1
    assert source.count("self._for_testing_peer_closed_connection.") == 1
    assert source.count("async with self._stream_lock:") == source.count("self._stream_lock") - 1 == 1
    protocol = inspect.getsource(Connection)
    assert protocol.count("self._events.append") == 1
    assert "if data is None:" in protocol  # only then is it filled, and the library always gives some


def test_everything_that_is_used_is_set_as_the_constructor_would_have_it() -> None:
    stream: Any = None
    ours = vars(Receiver(stream, _never)._connection)
    theirs = vars(trio_websocket.WebSocketConnection(stream, Connection(ConnectionType.SERVER)))  # type: ignore[arg-type]  # all that it uses
    replaced = {name for name in ours if name.endswith(("_channel", "_lock", "_handshake", "_connection", "_wsproto"))}
    limits = {"_max_message_size", "_receive_buffer_size", "_id", "_pings"}
    assert ours.keys() <= theirs.keys()
    for name in ours.keys() - replaced - limits:
        assert ours[name] == theirs[name], name
    used = "".join(inspect.getsource(getattr(trio_websocket.WebSocketConnection, name)) for name in USED)
    called = {name for name in re.findall(r"self\.(_?[a-z_]+)", used) if name not in theirs}
    # Besides: handlers of other events, a look at what is set, and `aclose` in a comment.
    assert {name for name in called if not name.startswith("_handle_")} <= {*USED, "is_server", "aclose"}
    for name in theirs.keys() - ours.keys():
        uses = re.findall(rf"self\.{name}\b.*", used)
        # Only where a message is too large, which the scanner sees first.
        assert uses == (["self._recv_channel.aclose()"] if name == "_recv_channel" else []), name


async def _never(text: str) -> None:
    raise AssertionError(text)


async def test_messages_come_one_at_a_time_and_pings_are_answered(nursery: trio.Nursery) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    heard: list[str] = []
    go_on = trio.Semaphore(0)

    async def hear(text: str) -> None:
        heard.append(text)
        await go_on.acquire()

    receiver = Receiver(ours, hear)
    nursery.start_soon(receiver.run)
    await theirs.send_all(encode_frame(TEXT, b"one") + encode_frame(TEXT, b"two") + encode_frame(PING, b"alive?"))
    await trio.testing.wait_all_tasks_blocked()
    assert heard == ["one"]
    for _ in range(2):
        go_on.release()
    assert (await theirs.receive_some()) == bytes([0x80 | PONG, 6]) + b"alive?"
    assert heard == ["one", "two"]
    assert receiver.closed is None
    await theirs.send_all(encode_frame(CLOSE, close_payload(1001, "bye")))
    assert (await theirs.receive_some()) == bytes([0x80 | CLOSE, 5]) + close_payload(1001, "bye")
    await trio.testing.wait_all_tasks_blocked()
    assert receiver.closed is not None
    assert (receiver.closed.code, receiver.closed.reason) == (1001, "bye")


async def test_what_hearing_raises_comes_out_of_the_task() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(encode_frame(TEXT, b"one"))
    with pytest.raises(AssertionError, match="one"):
        await Receiver(ours, _never).run()
