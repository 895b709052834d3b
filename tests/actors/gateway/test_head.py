from __future__ import annotations

import outcome
import pytest
import trio
import trio.testing

from actors.gateway.head import BadHead, ClientGone, Head, read_head


async def _read(*pieces: bytes, limit_bytes: int = 16_384, eof: bool = False) -> tuple[Head, bytes]:
    client, server = trio.testing.memory_stream_one_way_pair()

    async def send() -> None:
        for piece in pieces:
            await client.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        if eof:
            await client.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        result = await outcome.acapture(read_head, server, limit_bytes=limit_bytes, within=10)
        nursery.cancel_scope.cancel()
    return result.unwrap()


GOOD = b"GET /a/b?c=d HTTP/1.1\r\nHost: x\r\nX-Thing:  One, two \r\nx-thing: three,\r\n\r\n"


async def test_a_head_and_what_follows_it() -> None:
    head, raw = await _read(GOOD + b"more")
    assert (head.method, head.target, head.path, head.http_version) == ("GET", "/a/b?c=d", "/a/b", "1.1")
    assert head.values(b"x-thing") == ["One, two", "three,"]
    assert head.tokens(b"x-thing") == ["One", "two", "three"]
    assert raw[: head.size_bytes] == GOOD
    assert raw[head.size_bytes :] == b"more"


async def test_a_head_in_single_bytes() -> None:
    head, raw = await _read(*(GOOD[i : i + 1] for i in range(len(GOOD))))
    assert raw == GOOD
    assert head.size_bytes == len(GOOD)


async def test_the_body_is_not_part_of_the_head() -> None:
    head, raw = await _read(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
    assert raw[head.size_bytes :] == b"body"


async def test_encoded_again_without_some_headers() -> None:
    head, _ = await _read(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
    again = head.encode(without=frozenset({b"upgrade", b"connection"}), also=((b"connection", b"close"),))
    assert again == b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01",  # TLS on the plain port
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
async def test_malformed_is_400(request_bytes: bytes) -> None:
    with pytest.raises(BadHead) as caught:
        await _read(request_bytes)
    assert caught.value.refusal.status == 400


@pytest.mark.parametrize("at_once", [True, False])
async def test_too_large_is_431(at_once: bool) -> None:
    start = b"GET / HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"a" * 2000
    with pytest.raises(BadHead) as caught:
        await _read(start + (b"\r\n\r\n" if at_once else b""), limit_bytes=1000)
    assert caught.value.refusal.status == 431


async def test_too_large_though_each_piece_fits() -> None:
    with pytest.raises(BadHead) as caught:
        await _read(b"GET / HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"a" * 940, b"a" * 40 + b"\r\n\r\n", limit_bytes=1000)
    assert caught.value.refusal.status == 431


async def test_slowloris_is_408(autojump_clock: trio.testing.MockClock) -> None:
    """A byte a second keeps a connection alive, but not for longer than the whole head may take."""
    client, server = trio.testing.memory_stream_one_way_pair()

    async def drip() -> None:
        await client.send_all(b"GET / HTTP/1.1\r\nX-Drip: ")
        while True:
            await client.send_all(b"a")
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        with pytest.raises(BadHead) as caught:
            await read_head(server, within=10)
        nursery.cancel_scope.cancel()
    assert caught.value.refusal.status == 408
    assert trio.current_time() - autojump_clock._virtual_base < 11


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
async def test_nobody_left_to_answer(sent: bytes) -> None:
    with pytest.raises(ClientGone):
        await _read(sent, eof=True)


async def test_a_connection_that_breaks() -> None:
    _, server = trio.testing.memory_stream_one_way_pair()
    await server.aclose()
    with pytest.raises(ClientGone):
        await read_head(server, within=10)
