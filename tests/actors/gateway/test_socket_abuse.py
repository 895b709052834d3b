"""The rude: everything that a client can do to a connection, none of which may reach another one.

The listener of `conftest` fails the test on anything that escapes a connection; each test also asks a neighbour.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
import wsproto.utilities

from actors.gateway.socket import Closed, Socket
from tests.support.bare_gateway import Gateway, for_ever
from tests.support.raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_payload,
    encode_frame,
    upgrade_request,
)


@pytest.fixture(autouse=True)
async def neighbour(gateway: Gateway) -> AsyncIterator[None]:
    """Another connection, open before the abuse and as good as new after it."""
    client, socket = await gateway.connect()
    yield
    await client.send_frame(TEXT, b"still here?")
    assert await socket.receive() == "still here?"
    await socket.send_batch([b"yes"])
    assert (await client.read_frame()).payload == b"yes"


async def _closed(socket: Socket) -> tuple[int, str]:
    with pytest.raises(Closed) as caught:
        await socket.receive()
    return caught.value.code, caught.value.by


BREACHES = {
    "binary frame": (encode_frame(BINARY, b"\x00\x01"), 1003),
    "bad UTF-8": (encode_frame(TEXT, b"\xff\xfe"), 1007),
    "UTF-8 cut off at the end": (encode_frame(TEXT, "é".encode()[:1]), 1007),
    "bad UTF-8 in the second fragment": (
        encode_frame(TEXT, b"ok", final=False) + encode_frame(CONTINUATION, b"\xc0"),
        1007,
    ),
    "oversize in one frame": (encode_frame(TEXT, b"x" * 65_537), 1009),
    "oversize in bytes, not in characters": (encode_frame(TEXT, ("é" * 40_000).encode()), 1009),
    "oversize in fragments": (
        encode_frame(TEXT, b"x" * 40_000, final=False) + encode_frame(CONTINUATION, b"x" * 40_000),
        1009,
    ),
    "10 MB, all of them sent": (encode_frame(TEXT, b"x" * 10_000_000), 1009),
    "10 MB declared but not sent": (encode_frame(TEXT, declared=10_000_000), 1009),
    "reserved opcode": (encode_frame(0x5, b"?"), 1002),
    "reserved bit": (encode_frame(TEXT, b"?", reserved=0x40), 1002),
    "unmasked": (encode_frame(TEXT, b"?", masked=False), 1002),
    "fragmented ping": (encode_frame(PING, b"?", final=False), 1002),
    "continuation of nothing": (encode_frame(CONTINUATION, b"?"), 1002),
    "Close with one byte": (encode_frame(CLOSE, b"?"), 1002),
    "Close with a code that must not be sent": (encode_frame(CLOSE, close_payload(1006)), 1002),
    "Close with a reason that is not UTF-8": (encode_frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "plain HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20, 1002),
}


@pytest.mark.parametrize("name", BREACHES)
async def test_the_code_arrives_at_the_client(gateway: Gateway, nursery: trio.Nursery, name: str) -> None:
    """Even where the client is still sending, and does not read until it is done."""
    frames, code = BREACHES[name]
    client, socket = await gateway.connect()

    async def send() -> None:
        await client.stream.send_all(encode_frame(TEXT, b"before") + frames)
        await client.stream.send_eof()

    nursery.start_soon(send)
    assert await socket.receive() == "before"
    assert await _closed(socket) == (code, "server")
    assert (await client.read_close()).code == code
    with pytest.raises(EOFError):
        await client.read_frame()
    assert socket.failure is None
    with pytest.raises(Closed):
        await socket.send_batch([b"late"])
    await socket.close(1000)  # returns: it is over


@pytest.mark.parametrize("name", ["bad UTF-8", "oversize in one frame", "binary frame"])
async def test_the_client_may_answer_the_close_behind_the_breach(gateway: Gateway, name: str) -> None:
    frames, code = BREACHES[name]
    gateway.close_within = 60  # so that only the client's Close can be what ends it
    client, socket = await gateway.connect()
    await client.stream.send_all(frames + encode_frame(PING) + encode_frame(TEXT, b"late"))
    assert (await client.read_close()).code == code
    await client.send_frame(CLOSE, close_payload(code))
    assert await _closed(socket) == (code, "server")
    await socket.close(1000)
    assert await client.read_to_end() == b""


async def test_a_ping_while_we_close(gateway: Gateway) -> None:
    """python-trio/trio-websocket#184: it would leave the library through its nursery and end every connection."""
    client, socket = await gateway.connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.close, 1012)
        await client.read_close()
        await client.stream.send_all(encode_frame(PING, b"?") * 3 + encode_frame(TEXT, b"late"))
        await trio.testing.wait_all_tasks_blocked()
        await client.stream.send_all(encode_frame(PING) + encode_frame(CLOSE, close_payload(1012)))
    assert await client.read_to_end() == b""
    assert socket.failure is None
    assert await _closed(socket) == (1012, "server")


async def test_pings_on_the_wire_before_our_close(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    await client.stream.send_all(encode_frame(PING) * 500)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.close, 1012)
        assert (await client.read_close()).code == 1012
        await client.send_frame(CLOSE, close_payload(1012))
    assert await client.read_to_end() == b""


async def test_no_data_frame_follows_a_close(gateway: Gateway) -> None:
    client, socket = await gateway.connect()

    async def send() -> None:
        with pytest.raises(Closed):
            await for_ever(socket.send_batch, [b"x" * 100] * 16)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await client.read_frame()
        nursery.start_soon(socket.close, 4409)
        assert (await client.read_close()).code == 4409
        assert await client.read_to_end() == b""
        await client.send_frame(CLOSE, close_payload(4409))


async def test_no_data_frame_follows_the_answer_to_the_clients_close(gateway: Gateway) -> None:
    client, socket = await gateway.connect()

    async def send() -> None:
        with pytest.raises(Closed) as caught:
            await for_ever(socket.send_batch, [b"x" * 100] * 16)
        assert (caught.value.code, caught.value.by) == (4411, "client")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await client.read_frame()
        await client.send_frame(CLOSE, close_payload(4411))
        assert (await client.read_close()).code == 4411
        assert await client.read_to_end() == b""


async def test_a_reset_in_the_middle_of_a_frame(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    await client.stream.send_all(encode_frame(TEXT, b"x" * 1000)[:500])
    client.reset()
    assert await _closed(socket) == (1006, "network")


async def test_a_reset_while_we_write(gateway: Gateway) -> None:
    client, socket = await gateway.connect()

    async def send() -> None:
        with pytest.raises(Closed) as caught:
            await for_ever(socket.send_batch, [b"x" * 100_000])
        assert (caught.value.code, caught.value.by) == (1006, "network")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await client.read_frame()
        client.reset()


async def test_an_end_of_file_in_the_middle_of_a_frame(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    await client.stream.send_all(encode_frame(TEXT, b"x" * 1000)[:500])
    await client.stream.send_eof()
    assert await _closed(socket) == (1006, "network")
    assert await client.read_to_end() == b""


async def test_a_client_that_never_answers_our_close(gateway: Gateway) -> None:
    gateway.close_within = 0.05
    client, socket = await gateway.connect()
    gateway.connections[-1].start_soon(trio.sleep_forever)  # so that nobody else closes it
    await socket.close(1012)
    assert socket._wire._stream.socket.fileno() == -1
    assert (await client.read_close()).code == 1012
    with pytest.raises(EOFError):
        await client.read_frame()


async def test_a_client_that_answers_our_close_with_a_flood(gateway: Gateway) -> None:
    client, socket = await gateway.connect()

    async def flood() -> None:
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            await for_ever(client.stream.send_all, encode_frame(TEXT, b"x" * 60_000) * 10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await socket.close(1012)


async def test_a_client_that_takes_nothing_does_not_hold_up_the_close(gateway: Gateway) -> None:
    gateway.close_within = 0.05
    _client, socket = await gateway.connect()
    with trio.move_on_after(0.05):
        await for_ever(socket.send_batch, [b"x" * 1_000_000])
    await socket.close(4413)
    assert await _closed(socket) == (4413, "server")


async def test_a_client_that_does_not_take_the_answer_to_its_close(gateway: Gateway) -> None:
    gateway.close_within = 0.05
    client, socket = await gateway.connect()
    with trio.move_on_after(0.05):
        await for_ever(socket.send_batch, [b"x" * 1_000_000])
    await client.send_frame(CLOSE, close_payload(1000))
    assert await _closed(socket) == (1000, "client")
    await socket.close(1000)


async def test_a_client_that_closes_first_though_its_answer_is_held_up(gateway: Gateway) -> None:
    client, socket = await gateway.connect()

    async def send() -> None:
        await socket.send_batch([b"x" * 1_000_000] * 20)
        with pytest.raises(Closed):
            await socket.send_batch([b"late"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await client.read_frame()
        await client.send_frame(CLOSE, close_payload(1001))
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.start_soon(socket.close, 4413)
        assert (await client.read_close()).code == 1001
    assert await _closed(socket) == (1001, "client")


async def test_a_client_that_pings_and_never_reads(gateway: Gateway) -> None:
    gateway.close_within = 0.05
    client, socket = await gateway.connect()
    with trio.move_on_after(0.2):
        await client.stream.send_all(encode_frame(PING, b"x" * 125) * 100_000)
    await socket.close(4413)


@pytest.mark.parametrize("breaking", ["reset", "silence"])
async def test_a_handshake_that_is_not_finished(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, breaking: str
) -> None:
    gateway.handshake_within = 0.05 if breaking == "silence" else 60

    async def stuck(*_args: object) -> None:
        if breaking == "reset":
            raise trio.BrokenResourceError
        await trio.sleep_forever()

    def full(_wire: object, data: bytes) -> bytes:
        return data

    monkeypatch.setattr("actors.gateway.wire.WireStream.write_now", full)
    monkeypatch.setattr("actors.gateway.wire.WireStream.write", stuck)
    client = await gateway.dial()
    await client.stream.send_all(upgrade_request())
    closed = await gateway.refused.receive()
    assert (closed.code, closed.by) == (1006, "network")
    assert await client.read_to_end() == b""
    monkeypatch.undo()


@pytest.mark.parametrize(
    "error", [KeyError("x"), wsproto.utilities.LocalProtocolError("x"), ExceptionGroup("x", [OSError()])]
)
async def test_a_fault_of_the_library_ends_one_connection(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    client, socket = await gateway.connect()

    def fail(*_args: object) -> None:
        raise error

    monkeypatch.setattr(socket._receiver._connection._wsproto, "receive_data", fail)
    await client.send_frame(PING)
    frame = await client.read_close()
    assert (frame.code, frame.reason) == (1011, "internal error")
    await client.stream.send_eof()
    assert await _closed(socket) == (1011, "server")
    assert socket.failure is error
    assert error.__traceback__ is None  # its frames would hold the socket, which holds it


async def test_garbage_of_every_kind(gateway: Gateway) -> None:
    """Random bytes behind a good handshake: an end with a reason, whatever they are."""
    for seed in range(40):
        client, socket = await gateway.connect()
        await client.stream.send_all(random.Random(seed).randbytes(3000))
        await client.stream.send_eof()
        code, by = await _closed(socket)
        assert (code, by) != (1011, "server")
        assert (await client.read_to_end())[:1] in {b"\x88", b""} or by == "client"


async def test_a_pong_nobody_asked_for(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    await client.send_frame(PONG, b"unasked")
    await client.send_frame(TEXT, b"next")
    assert await socket.receive() == "next"
