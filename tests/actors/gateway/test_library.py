"""What of trio-websocket's inside the gateway relies on: if a release changes it, this says so first."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import trio
import trio.testing
import trio_websocket
from wsproto.connection import Connection

from actors.gateway.library import Receiver
from tests.support.raw_websocket import CLOSE, PING, PONG, TEXT, close_payload, encode_frame


def test_the_parts_that_are_replaced_are_there() -> None:
    stream: Any = None
    receiver = Receiver(stream, _never)
    connection: Any = receiver._connection
    assert inspect.iscoroutinefunction(connection._reader_task)
    source = inspect.getsource(trio_websocket.WebSocketConnection)
    for use in ("async with self._send_channel:", "await self._send_channel.send(msg)", "self._send_channel.aclose()"):
        assert use in source
    # The receiving end is used by calls of ours only, and where a message is too large, which the scanner sees first.
    assert source.count("self._recv_channel.") == 3
    assert source.count("self._open_handshake.") == 2
    assert "self._open_handshake." not in inspect.getsource(connection._reader_task)
    assert source.count("self._close_handshake.") == source.count("self._close_handshake.set()") + 1
    assert source.count("self._for_testing_peer_closed_connection.") == 1
    protocol = inspect.getsource(Connection)
    assert protocol.count("self._events.append") == 1
    assert "if data is None:" in protocol  # only then is it filled, and the library always gives some


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
