"""Bodies without an end, over real sockets: they are read so far, and it is the status that counts."""

from __future__ import annotations

import gzip
import socket
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors.models import bodies
from actors.models.bodies import WORDS_BYTES, whole
from actors.models.chat import StreamLimits
from actors.models.failure import AnswerBroken, AttemptFailed
from actors.models.stream import stream_chat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.usefixtures("collected")

PATIENT = StreamLimits(first_token=60, idle=60, total=60)
PIECE = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"


@attrs.define
class Endless:
    """Answers each request with a head and with `piece` again and again; `gone` when the other side has closed."""

    head: bytes
    piece: bytes = PIECE
    pause: float = 0.0
    reset_after: int = 0
    url: str = ""
    sent: int = 0
    gone: trio.Event = attrs.field(factory=trio.Event)

    async def serve(self, stream: trio.SocketStream) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some()
        with suppress(trio.BrokenResourceError):
            await stream.send_all(self.head)
            while not self.reset_after or self.sent < self.reset_after:
                await stream.send_all(self.piece)
                self.sent += len(self.piece)
                await trio.sleep(self.pause)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(stream)
        self.gone.set()


@asynccontextmanager
async def serving(provider: Endless) -> AsyncIterator[Endless]:
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        provider.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
        nursery.start_soon(trio.serve_listeners, provider.serve, [listener])
        yield provider
        nursery.cancel_scope.cancel()


def head(status: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} So", "transfer-encoding: chunked", "content-type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (head(429, "retry-after: 3"), {"kind": "rate_limit", "park_for": 3.0, "status": 429}),
        (head(503), {"kind": "server_error", "counts": True, "status": 503}),
        (head(401), {"kind": "configuration", "opens_at_once": True, "status": 401}),
        (head(400), {"kind": "bad_request", "counts": False, "status": 400}),
    ],
)
async def test_a_refusal_without_an_end_is_read_so_far_and_judged_by_its_status(
    connect: Any, ask: Any, refusal: bytes, expected: dict[str, Any]
):
    async with serving(Endless(refusal)) as provider, connect(provider.url) as client:
        with pytest.raises(AttemptFailed) as caught, trio.fail_after(30):
            await stream_chat(client, ask(), PATIENT, len)
        assert {name: getattr(caught.value.facts, name) for name in expected} == expected
        with trio.fail_after(30):
            await provider.gone.wait()
        # The kernel's buffers on both sides take some megabytes more than anybody has read.
        assert provider.sent < 100 * WORDS_BYTES * 4


async def test_words_that_trickle_are_waited_for_so_long(
    connect: Any, ask: Any, monkeypatch: pytest.MonkeyPatch, open_sockets: Any
):
    monkeypatch.setattr(bodies, "WORDS_WITHIN", 0.2)
    trickle = Endless(head(429, "retry-after: 3"), b"1\r\nx\r\n", pause=0.01)
    async with serving(trickle) as provider, connect(provider.url) as client:
        with pytest.raises(AttemptFailed) as caught, trio.fail_after(30):
            await stream_chat(client, ask(), PATIENT, len)
        assert (caught.value.facts.kind, caught.value.facts.park_for) == ("rate_limit", 3.0)
        with trio.fail_after(30):
            await provider.gone.wait()


async def test_words_that_are_cut_off_leave_the_status_what_it_is(connect: Any, ask: Any):
    async with (
        serving(Endless(head(403), b"1\r\nx\r\n", reset_after=6)) as provider,
        connect(provider.url) as client,
    ):
        with pytest.raises(AttemptFailed) as caught, trio.fail_after(30):
            await stream_chat(client, ask(), PATIENT, len)
    assert (caught.value.facts.kind, caught.value.facts.status) == ("configuration", 403)


async def test_an_attempt_that_is_cancelled_among_the_words_closes_the_connection(connect: Any, ask: Any):
    async with (
        serving(Endless(head(500), b"1\r\nx\r\n", pause=0.01)) as provider,
        connect(provider.url) as client,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream_chat, client, ask(), PATIENT, len)
            with trio.fail_after(30):
                while provider.sent < 12:
                    await trio.sleep(0.005)
            nursery.cancel_scope.cancel()
        with trio.fail_after(30):
            await provider.gone.wait()


@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_that_is_to_be_read_whole_has_a_limit(connect: Any, packed: bool):
    body = gzip.compress(bytes(4 * 1024 * 1024)) if packed else PIECE
    piece = b"%x\r\n%b\r\n" % (len(body), body) if packed else PIECE
    headers = ("content-encoding: gzip",) if packed else ()
    async with serving(Endless(head(200, *headers), piece)) as provider, connect(provider.url) as client:
        with trio.fail_after(30):
            ask = client.embeddings.with_streaming_response.create
            async with ask(model="m", input="x", encoding_format="float") as answer:
                with pytest.raises(AnswerBroken):
                    await whole(answer.http_response, 1024 * 1024)
            await provider.gone.wait()
