from __future__ import annotations

import json
from functools import partial

import pytest
import trio

from actors.gateway.refusal import Refusal, refuse
from tests.support.bare_gateway import Gateway, for_ever
from tests.support.raw_websocket import RawWebSocket, encode_frame, upgrade_request


def _parse(answer: bytes) -> tuple[int, dict[str, str], dict[str, str]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ") for line in lines)}
    assert int(headers["content-length"]) == len(body)
    assert headers["connection"] == "close"
    return int(first.split()[1]), headers, json.loads(body)


REFUSED = {
    "missing key": (upgrade_request(without=("Sec-WebSocket-Key",)), 400),
    "bad Connection": (upgrade_request(without=("Connection",)), 400),
    "wrong version": (
        upgrade_request(without=("Sec-WebSocket-Version",), also=(("Sec-WebSocket-Version", "8"),)),
        426,
    ),
    "wrong path": (upgrade_request("/elsewhere"), 404),
    "wrong sub-protocol": (upgrade_request(also=(("Sec-WebSocket-Protocol", "graphql-ws"),)), 400),
    "bad Origin": (upgrade_request(also=(("Origin", "http://evil.example"),)), 403),
    "bad Host": (upgrade_request(without=("Host",), also=(("Host", "evil.example"),)), 403),
    "bad Host over plain HTTP": (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
    "bad Origin over plain HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", 403),
    "garbage": (b"\x16\x03\x01\x02\x00\x01\xfc", 400),
    "huge head": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Filler: " + b"a" * 200_000 + b"\r\n\r\n", 431),
    "HTTP/2": (b"PRI * HTTP/2.0\r\nHost: localhost\r\n\r\nSM\r\n\r\n", 505),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_over_a_socket(gateway: Gateway, name: str) -> None:
    request, status = REFUSED[name]
    client = await gateway.dial()
    await client.stream.send_all(request)
    got, headers, body = _parse(await client.read_to_end())
    assert got == status
    assert set(body) == {"code", "message"}
    assert ("sec-websocket-version" in headers) is (status == 426)
    # and nobody else notices
    neighbour, socket = await gateway.connect()
    await neighbour.stream.send_all(encode_frame(1, b"hello"))
    assert await socket.receive() == "hello"


async def test_slowloris_over_a_socket(gateway: Gateway) -> None:
    gateway.head_within = 0.05
    client = await gateway.dial()
    await client.stream.send_all(b"GET /ws HTTP/1.1\r\nHost: loc")
    status, _, _ = _parse(await client.read_to_end())
    assert status == 408


async def test_a_client_that_leaves_before_its_head(gateway: Gateway) -> None:
    client = await gateway.dial()
    await client.stream.send_all(b"GET /ws HT")
    await client.stream.send_eof()
    assert await client.read_to_end() == b""


async def _pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    server = await listener.accept()
    await listener.aclose()
    return client, server


async def test_retry_after_is_rounded_up() -> None:
    client, server = await _pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse, server, Refusal(503, "unavailable", "Come back.", retry_after=1.2))
        status, headers, body = _parse(await RawWebSocket(client).read_to_end())
        await client.aclose()
    assert (status, headers["retry-after"]) == (503, "2")
    assert body == {"code": "unavailable", "message": "Come back."}


async def test_a_client_that_is_still_sending_reads_the_refusal() -> None:
    """Without lingering, its unread bytes would make a reset, and the reset would eat the answer."""
    client, server = await _pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(refuse, server, Refusal(403, "forbidden", "No."), linger_within=60))
        await client.send_all(b"x" * 4_000_000)
        assert _parse(await RawWebSocket(client).read_to_end())[0] == 403
        await client.aclose()


async def test_a_client_that_never_closes_is_left() -> None:
    client, server = await _pair()
    await refuse(server, Refusal(403, "forbidden", "No."), linger_within=0.05)
    assert server.socket.fileno() == -1
    await client.aclose()


async def test_a_client_that_has_gone() -> None:
    client, server = await _pair()
    RawWebSocket(client).reset()
    await refuse(server, Refusal(403, "forbidden", "No."))
    await client.aclose()
    assert server.socket.fileno() == -1


async def test_a_flood_is_not_read_for_ever() -> None:
    client, server = await _pair()

    async def flood() -> None:
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            await for_ever(client.send_all, b"x" * 1_000_000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await refuse(server, Refusal(403, "forbidden", "No."), linger_within=60)
    await client.aclose()
