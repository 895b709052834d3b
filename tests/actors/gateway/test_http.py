from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from actors.gateway.head import Head
from actors.gateway.http import http_config, serve_http
from tests.support.bare_gateway import Gateway
from tests.support.raw_websocket import TEXT

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def _request(path: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode() + body


class App:
    """A small ASGI application, a coroutine for each path."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.disconnected = trio.Event()
        self.cancelled = trio.Event()
        self.started = trio.Event()
        self.release = trio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await getattr(self, scope["path"].strip("/"))(receive, send)

    async def hello(self, _receive: Receive, send: Send) -> None:
        await _respond(send, b"hello")

    async def echo(self, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected.set()
                return
            body += message["body"]
            if not message["more_body"]:
                break
        await _respond(send, body)

    async def stream(self, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        self.started.set()
        await self.release.wait()
        await send({"type": "http.response.body", "body": b"two", "more_body": False})

    async def endless(self, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                self.started.set()
                await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
        except trio.Cancelled:
            self.cancelled.set()
            raise

    async def wait(self, receive: Receive, _send: Send) -> None:
        self.started.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        self.disconnected.set()

    async def broken(self, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("a fault of the application")

    async def broken_off(self, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ExceptionGroup("faults", [RuntimeError("a fault of the application")])

    async def too_much(self, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b"more than one", "more_body": False})


async def _respond(send: Send, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Site:
    """An App behind the listener; `results` has what each connection came to."""

    def __init__(self, gateway: Gateway, **limits: float) -> None:
        self.app = App()
        self.reported: list[BaseException] = []
        self.send_result, self.results = trio.open_memory_channel[object](100)
        self.gateway = gateway
        config = http_config(self.reported.append)
        serve = partial(serve_http, **limits)

        async def plain(stream: trio.SocketStream, head: Head, raw: bytes) -> None:
            result: object = "cancelled"
            with trio.CancelScope() as self.scope:
                result = await serve(self.app, stream, head, raw, config)
            await self.send_result.send(result)

        gateway.plain = plain

    async def get(self, request: bytes) -> tuple[bytes, bytes]:
        client = await self.gateway.dial()
        await client.stream.send_all(request)
        head, _, body = (await client.read_to_end()).partition(b"\r\n\r\n")
        await client.stream.aclose()
        return head, body


async def test_a_request_and_its_answer(gateway: Gateway) -> None:
    site = Site(gateway)
    head, body = await site.get(_request("/hello?a=b", "X-Thing: 1"))
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in head.lower()
    assert b"hypercorn" not in head.lower()
    assert body == b"hello"
    [scope] = site.app.scopes
    assert scope["query_string"] == b"a=b"
    assert (b"x-thing", b"1") in scope["headers"]
    assert scope["client"][0] == "127.0.0.1"
    assert await site.results.receive() is None
    assert site.reported == []


async def test_a_body_that_comes_with_the_head_and_after_it(gateway: Gateway) -> None:
    Site(gateway)
    client = await gateway.dial()
    await client.stream.send_all(_request("/echo", "Content-Length: 200000", method="POST", body=b"a" * 1000))
    await client.stream.send_all(b"b" * 199_000)
    answer = await client.read_to_end()
    assert answer.endswith(b"\r\n\r\n" + b"a" * 1000 + b"b" * 199_000)


async def test_a_chunked_body(gateway: Gateway) -> None:
    _, body = await Site(gateway).get(
        _request("/echo", "Transfer-Encoding: chunked", method="POST", body=b"3\r\nabc\r\n0\r\n\r\n")
    )
    assert body == b"abc"


async def test_expect_100_continue(gateway: Gateway) -> None:
    Site(gateway)
    client = await gateway.dial()
    await client.stream.send_all(_request("/echo", "Content-Length: 3", "Expect: 100-continue", method="POST"))
    assert (await client.read_head()).startswith(b"HTTP/1.1 100 ")
    await client.stream.send_all(b"abc")
    assert (await client.read_to_end()).endswith(b"\r\n\r\nabc")


async def test_an_answer_that_streams(gateway: Gateway) -> None:
    site = Site(gateway)
    client = await gateway.dial()
    await client.stream.send_all(_request("/stream"))
    await client.read_head()
    while b"one" not in client.received:
        await client._read_more()
    assert b"two" not in client.received
    site.app.release.set()
    assert (await client.read_to_end()).endswith(b"3\r\ntwo\r\n0\r\n\r\n")


async def test_one_request_a_connection(gateway: Gateway) -> None:
    site = Site(gateway)
    _, body = await site.get(_request("/hello", "Connection: keep-alive") + _request("/hello"))
    assert body == b"hello"
    assert len(site.app.scopes) == 1


async def test_another_request_behind_a_body(gateway: Gateway) -> None:
    site = Site(gateway)
    client = await gateway.dial()
    await client.stream.send_all(_request("/echo", "Content-Length: 6", method="POST", body=b"abc"))
    await client.stream.send_all(b"def" + _request("/hello"))
    assert (await client.read_to_end()).endswith(b"\r\n\r\nabcdef")
    assert len(site.app.scopes) == 1


@pytest.mark.parametrize("header", ["Upgrade: h2c", "Upgrade: anything"])
async def test_an_offer_to_upgrade_is_passed_over(gateway: Gateway, header: str) -> None:
    """Taken up, it would be HTTP/2, of whose requests nobody would check Host and Origin."""
    head, body = await Site(gateway).get(_request("/hello", header, "Connection: Upgrade", "HTTP2-Settings: AAMAAABk"))
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"hello"


async def test_a_client_that_leaves_while_the_answer_streams(gateway: Gateway) -> None:
    site = Site(gateway)
    client = await gateway.dial()
    await client.stream.send_all(_request("/stream"))
    await site.app.started.wait()
    client.reset()
    site.app.release.set()
    await site.results.receive()


async def test_the_application_hears_of_a_client_that_left(gateway: Gateway) -> None:
    site = Site(gateway)
    client = await gateway.dial()
    await client.stream.send_all(_request("/wait"))
    await site.app.started.wait()
    client.reset()
    await site.app.disconnected.wait()
    assert await site.results.receive() is None


async def test_a_client_that_has_gone_before_it_is_served(gateway: Gateway) -> None:
    site = Site(gateway)
    gone = trio.Event()
    plain = gateway.plain

    async def late(stream: trio.SocketStream, head: Head, raw: bytes) -> None:
        await gone.wait()
        await plain(stream, head, raw)

    gateway.plain = late
    client = await gateway.dial()
    await client.stream.send_all(_request("/hello"))
    client.reset()
    gone.set()
    await site.results.receive()


@pytest.mark.parametrize("path", ["/broken", "/broken_off"])
async def test_a_fault_of_the_application_is_reported(gateway: Gateway, path: str) -> None:
    site = Site(gateway)
    head, body = await site.get(_request(path))
    if path == "/broken":
        assert head.startswith(b"HTTP/1.1 500 ")
    else:
        assert len(body) < 10  # cut off, and the client can tell
    await site.results.receive()
    assert len(site.reported) == 1
    assert "fault" in str(site.reported[0])


async def test_a_fault_of_the_server_is_contained(gateway: Gateway) -> None:
    """h11 will not write more body than was announced: Hypercorn's own error is the application's, or comes back."""
    site = Site(gateway)
    await site.get(_request("/too_much"))
    result = await site.results.receive()
    assert isinstance(result, Exception) or site.reported
    assert (await site.get(_request("/hello")))[1] == b"hello"


async def test_what_escapes_the_server_comes_back_as_a_result(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(gateway)

    async def fail(*_args: object) -> None:
        raise LookupError("a fault of the server")

    monkeypatch.setattr("hypercorn.protocol.h11.H11Protocol.handle", fail)
    await site.get(_request("/hello"))
    result = await site.results.receive()
    assert isinstance(result, ExceptionGroup)
    assert isinstance(result.exceptions[0], LookupError)


async def test_an_announced_body_that_never_comes(gateway: Gateway) -> None:
    site = Site(gateway, stalled_within=0.05)
    head, _ = await site.get(_request("/echo", "Content-Length: 10", method="POST", body=b"a"))
    await site.app.disconnected.wait()
    assert head == b""
    await site.results.receive()


async def test_a_chunked_body_that_never_ends(gateway: Gateway) -> None:
    site = Site(gateway, stalled_within=0.05)
    await site.get(_request("/echo", "Transfer-Encoding: chunked", method="POST", body=b"3\r\nabc\r\n"))
    await site.app.disconnected.wait()


async def test_a_client_that_takes_nothing_of_the_answer(gateway: Gateway) -> None:
    site = Site(gateway, stalled_within=0.05, linger_within=0.05)
    client = await gateway.dial()
    await client.stream.send_all(_request("/endless"))
    await site.app.started.wait()
    with trio.move_on_after(0.3):
        await trio.sleep_forever()
    site.scope.cancel()
    assert await site.results.receive() == "cancelled"


async def test_a_client_that_does_not_close_after_the_answer(gateway: Gateway) -> None:
    site = Site(gateway, linger_within=0.05)
    client = await gateway.dial()
    await client.stream.send_all(_request("/hello"))
    assert await site.results.receive() is None
    assert (await client.read_to_end()).endswith(b"hello")


async def test_a_client_that_is_still_sending_reads_the_answer(gateway: Gateway) -> None:
    Site(gateway)
    client = await gateway.dial()
    await client.stream.send_all(_request("/hello", "Content-Length: 3000000", method="POST", body=b"x" * 3_000_000))
    assert (await client.read_to_end()).endswith(b"hello")


@pytest.mark.parametrize("path", ["/wait", "/endless"])
async def test_cancelled_it_closes_at_once(gateway: Gateway, path: str) -> None:
    """Hypercorn shields its writes: without help, a client that takes nothing would outlive the daemon's shutdown."""
    site = Site(gateway)
    client = await gateway.dial()
    await client.stream.send_all(_request(path))
    await site.app.started.wait()
    await trio.testing.wait_all_tasks_blocked(0.05)
    site.scope.cancel()
    assert await site.results.receive() == "cancelled"
    if path == "/wait":
        assert await client.read_to_end() == b""


async def test_no_logger_of_the_process_is_touched(gateway: Gateway) -> None:
    await Site(gateway).get(_request("/broken"))
    assert not logging.getLogger("hypercorn.error").handlers
    assert not logging.getLogger("hypercorn.access").handlers


async def test_websockets_and_http_on_one_port(gateway: Gateway) -> None:
    site = Site(gateway)
    client, socket = await gateway.connect()
    assert (await site.get(_request("/hello")))[1] == b"hello"
    await client.send_frame(TEXT, b"hi")
    assert await socket.receive() == "hi"
