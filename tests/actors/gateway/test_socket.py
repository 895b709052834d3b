"""The well-behaved: both ends keep to the rules."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
import trio_websocket

from actors.gateway.scanner import Breach
from actors.gateway.socket import Closed, Ending, Socket, conclude
from tests.support.bare_gateway import End, Gateway, for_ever
from tests.support.raw_websocket import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_payload,
    encode_frame,
    upgrade_request,
)
from tests.support.whole_frames import text_frames

ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: V7QvLtwgXgBIS2TMpcJRL/GELi8=\r\n\r\n"
)


async def _ending(socket: Socket) -> tuple[int, str]:
    with pytest.raises(Closed) as caught:
        await socket.receive()
    return caught.value.code, caught.value.by


async def test_a_conversation_with_an_ordinary_client(gateway: Gateway) -> None:
    async with trio_websocket.open_websocket_url(
        f"ws://127.0.0.1:{gateway.port}/ws", subprotocols=["understudy.v1"]
    ) as client:
        socket = await gateway.accepted.receive()
        assert client.subprotocol == "understudy.v1"
        await client.send_message("grüß dich")
        assert await socket.receive() == "grüß dich"
        assert await socket.send_batch(["é".encode(), b"{}"]) == 8
        assert [await client.get_message(), await client.get_message()] == ["é", "{}"]
        await client.ping()
        await socket.ping()
    assert await _ending(socket) == (1000, "client")
    with pytest.raises(Closed):
        await socket.send_batch([b"late"])
    with pytest.raises(Closed):
        await socket.ping()
    await socket.close(1000)


async def test_no_sub_protocol_offered_none_chosen(gateway: Gateway) -> None:
    client = await gateway.dial()
    head = await client.handshake()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"protocol:" not in head.lower()


async def test_an_ordinary_client_gets_our_code_and_reason(gateway: Gateway) -> None:
    async with trio_websocket.open_websocket_url(f"ws://127.0.0.1:{gateway.port}/ws") as client:
        socket = await gateway.accepted.receive()
        await socket.close(4413, "too slow")
        with pytest.raises(trio_websocket.ConnectionClosed) as caught:
            await client.get_message()
        assert (caught.value.reason.code, caught.value.reason.reason) == (4413, "too slow")
        await client._stream.aclose()  # left open by the library when the server closes first
    assert await _ending(socket) == (4413, "server")
    assert (socket.ending.code, socket.ending.reason) == (4413, "too slow")
    assert socket.failure is None


@pytest.mark.parametrize(
    ("payload", "code", "echo"),
    [
        (close_payload(1000), 1000, 1000),
        (close_payload(1001, "reload"), 1001, 1001),
        (close_payload(4411, "a seq was missing"), 4411, 4411),
        (b"", 1006, None),
    ],
)
async def test_the_clients_code_is_kept_and_answered(
    gateway: Gateway, payload: bytes, code: int, echo: int | None
) -> None:
    client, socket = await gateway.connect()
    await client.send_frame(CLOSE, payload)
    assert (await client.read_frame()).code == echo
    with pytest.raises(EOFError):
        await client.read_frame()
    assert await _ending(socket) == (code, "client")
    assert socket.ending.reason == payload[2:].decode()


async def test_messages_before_the_close_are_received_first(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    frames = encode_frame(TEXT, b"one") + encode_frame(TEXT, b"two") + encode_frame(CLOSE, close_payload(1000))
    await client.stream.send_all(frames)
    await client.read_close()
    assert [await socket.receive(), await socket.receive()] == ["one", "two"]
    assert await _ending(socket) == (1000, "client")
    assert await _ending(socket) == (1000, "client")


async def test_whoever_waits_in_receive_hears_of_our_close(gateway: Gateway, nursery: trio.Nursery) -> None:
    client, socket = await gateway.connect()
    nursery.start_soon(_ending, socket)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(socket.close, 4409, "replaced")
    assert (await client.read_close()).code == 4409
    await client.stream.aclose()


async def test_frames_behind_the_handshake_are_not_lost(gateway: Gateway) -> None:
    """A client may send `hello` without waiting for the 101; wsproto would drop it."""
    client = await gateway.dial()
    await client.stream.send_all(upgrade_request() + encode_frame(TEXT, b"hello") + encode_frame(TEXT, b"x")[:3])
    await client.read_head()
    socket = await gateway.accepted.receive()
    assert await socket.receive() == "hello"
    await client.stream.send_all(encode_frame(TEXT, b"x")[3:])
    assert await socket.receive() == "x"


async def test_headers_that_the_library_cannot_read(gateway: Gateway) -> None:
    also = (("Connection", "keep-alive"), ("X-Name", "J\xfcrgen"), ("Sec-WebSocket-Protocol", "understudy.v1, \xfc"))
    client = await gateway.dial()
    head = await client.handshake(upgrade_request(also=also))
    assert b"understudy.v1" in head
    await gateway.accepted.receive()


async def test_fragments_become_one_message(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    text = "aé😀".encode()
    await client.send_frame(TEXT, text[:2], final=False)
    await client.send_frame(PING, b"between")
    assert (await client.read_frame()).payload == b"between"
    await client.send_frame(CONTINUATION, text[2:5], final=False)
    await client.send_frame(CONTINUATION, text[5:])
    assert await socket.receive() == "aé😀"


async def test_pings_are_answered_though_nobody_receives(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    for text in ("one", "two", "three"):
        await client.send_frame(TEXT, text.encode())
    await client.send_frame(PING, b"alive?")
    frame = await client.read_frame()
    assert (frame.opcode, frame.payload) == (PONG, b"alive?")
    assert [await socket.receive() for _ in range(3)] == ["one", "two", "three"]


async def test_what_nobody_receives_stays_bounded(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    count = 20_000

    async def send() -> None:
        for _ in range(count // 1000):
            await client.stream.send_all(encode_frame(TEXT, b"x" * 200) * 1000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert socket.statistics().bytes_in < 400_000
        for _ in range(count):
            assert await socket.receive() == "x" * 200
    assert socket.statistics().messages_in == count


async def test_our_close_gets_through_a_full_inbox(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            await client.stream.send_all(encode_frame(TEXT, b"x" * 500) * 4 * End.HEARD)
            await client.stream.send_eof()

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.start_soon(socket.close, 4429)
        assert (await client.read_close()).code == 4429


async def test_the_limit_before_and_after_welcome(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    await client.send_frame(TEXT, b"x" * 65_536)
    assert len(await socket.receive()) == 65_536
    socket.opened(100_000)
    await client.send_frame(TEXT, b"x" * 100_000)
    assert len(await socket.receive()) == 100_000
    await client.send_frame(TEXT, b"x" * 100_001)
    assert (await client.read_close()).code == 1009
    await client.stream.aclose()
    assert await _ending(socket) == (1009, "server")


async def test_a_batch_is_one_system_call(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    client, socket = await gateway.connect()
    calls: list[int] = []
    real = type(socket._wire._stream.socket).send

    def count(self: Any, data: memoryview, *args: Any) -> Any:
        calls.append(len(data))
        return real(self, data, *args)

    monkeypatch.setattr(type(socket._wire._stream.socket), "send", count)
    written = await socket.send_batch([b"x" * size for size in (1, 200, 3000)] * 5)
    monkeypatch.undo()
    assert calls == [written]
    assert [len((await client.read_frame()).payload) for _ in range(15)] == [1, 200, 3000] * 5


async def test_what_the_kernel_takes_at_once_needs_no_task(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    frames = text_frames([b"one", b"two"])
    assert socket.write_now(frames) is None
    assert [(await client.read_frame()).payload for _ in range(2)] == [b"one", b"two"]
    assert socket.bytes_out == len(frames) + len(ANSWER)


async def test_what_it_does_not_take_goes_out_before_anything_else(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    big = text_frames([b"x" * 20_000_000])
    assert socket.write_now(big) == b""  # begun: the rest is owed
    late = text_frames([b"late"])
    assert socket.write_now(late) == late  # nothing of it
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.write, late)
        assert len((await client.read_frame()).payload) == 20_000_000
        assert (await client.read_frame()).payload == b"late"


async def test_a_pong_does_not_come_into_the_middle_of_what_is_owed(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    assert socket.write_now(text_frames([b"x" * 20_000_000])) == b""
    await client.send_frame(PING, b"now")
    frames = [await client.read_frame(), await client.read_frame()]
    assert [(frame.opcode, len(frame.payload)) for frame in frames] == [(TEXT, 20_000_000), (PONG, 3)]


async def test_nothing_is_written_at_once_when_it_is_over(gateway: Gateway, nursery: trio.Nursery) -> None:
    client, socket = await gateway.connect()
    nursery.start_soon(socket.close, 1012)
    assert (await client.read_close()).code == 1012
    frames = text_frames([b"late"])
    assert socket.write_now(frames) == frames
    with pytest.raises(Closed):
        await socket.write(frames)
    await client.send_frame(CLOSE, close_payload(1012))


async def test_what_is_broken_shows_where_one_waits(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    client.reset()
    await trio.testing.wait_all_tasks_blocked(0.02)
    frames = text_frames([b"late"])
    assert socket.write_now(frames) == frames
    with pytest.raises(Closed) as caught:
        await socket.write(frames)
    assert caught.value.code == 1006


async def test_batches_pings_and_pongs_never_mix(gateway: Gateway) -> None:
    client, socket = await gateway.connect()

    async def batches(mark: bytes) -> None:
        for _ in range(20):
            await socket.send_batch([mark * 30_000] * 3)

    async def pings() -> None:
        for _ in range(50):
            await client.send_frame(PING, b"p")
            await socket.ping()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(batches, b"a")
        nursery.start_soon(batches, b"b")
        nursery.start_soon(pings)
        seen = [await client.read_frame() for _ in range(220)]
    texts = [frame.payload for frame in seen if frame.opcode == TEXT]
    assert sorted(texts) == [b"a" * 30_000] * 60 + [b"b" * 30_000] * 60
    assert sum(frame.opcode == PONG for frame in seen) == 50
    assert sum(frame.opcode == PING for frame in seen) == 50


async def test_a_pong_is_a_sign_of_life(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    before = socket.statistics()
    await socket.ping()
    assert (await client.read_frame()).opcode == PING
    await client.send_frame(PONG)
    await client.send_frame(PING)
    await client.read_frame()
    await trio.testing.wait_all_tasks_blocked()  # the pong is counted a moment after it is out
    after = socket.statistics()
    assert after.last_received > before.last_received
    assert after.bytes_in - before.bytes_in == 12
    assert after.bytes_out - before.bytes_out == 4
    assert after.messages_in == 0


async def test_a_cancelled_batch_is_finished_before_the_close(gateway: Gateway) -> None:
    """A slow client gets its 4413 as soon as it reads again, not the middle of a frame and then garbage."""
    client, socket = await gateway.connect()
    with trio.move_on_after(0.05) as scope:
        await for_ever(socket.send_batch, [b"x" * 1_000_000] * 4)
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket.close, 4413)
        assert (await client.read_close()).code == 4413
        await client.stream.aclose()
    assert await _ending(socket) == (4413, "server")


async def test_a_blocked_batch_hears_of_the_end(gateway: Gateway) -> None:
    gateway.close_within = 0.05
    _client, socket = await gateway.connect()

    async def send() -> None:
        with pytest.raises(Closed) as caught:
            await for_ever(socket.send_batch, [b"x" * 1_000_000])
        assert caught.value.code == 4413

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await socket.close(4413)


async def test_close_refuses_codes_that_must_not_be_sent(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    with pytest.raises(ValueError, match="1006"):
        await socket.close(1006)
    await client.send_frame(TEXT, b"still open")
    assert await socket.receive() == "still open"


async def test_a_cancelled_close_goes_on_in_the_nursery(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    with trio.move_on_after(0):
        await socket.close(1012)
    assert (await client.read_close()).code == 1012
    await client.send_frame(CLOSE, close_payload(1012))
    assert await client.read_to_end() == b""


async def test_a_cancelled_nursery_closes_the_connection(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    gateway.connections[0].cancel_scope.cancel()
    assert await client.read_to_end() == b""
    assert await _ending(socket) == (1006, "server")
    await socket.close(1000)


async def test_both_close_at_once(gateway: Gateway) -> None:
    client, socket = await gateway.connect()
    await client.send_frame(CLOSE, close_payload(1000))
    await socket.close(1012)
    assert (await client.read_close()).code in {1000, 1012}
    assert (await _ending(socket))[0] in {1000, 1012}


def test_conclusions() -> None:
    reason = trio_websocket.CloseReason
    nothing = {"breach": None, "answering_close": False, "library": None, "failed": False}
    for given, expected in [
        ({}, Ending(1006, "", "network")),
        ({"library": reason(1006, None)}, Ending(1006, "", "network")),
        ({"library": reason(1001, "bye"), "answering_close": True}, Ending(1001, "bye", "client")),
        ({"library": reason(1005, None), "answering_close": True}, Ending(1006, "", "client")),
        ({"library": reason(1007, "x")}, Ending(1007, "not UTF-8", "server")),
        ({"library": reason(1002, "x")}, Ending(1002, "broken frame", "server")),
        ({"library": reason(1006, None), "breach": Breach(1009, "big")}, Ending(1009, "big", "server")),
        ({"failed": True}, Ending(1011, "internal error", "server")),
        ({"failed": True, "library": reason(1000, None), "answering_close": True}, Ending(1000, "", "client")),
    ]:
        assert conclude(**(nothing | given)) == expected
