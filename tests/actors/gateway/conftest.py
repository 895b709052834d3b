"""The listener of `tests.support.bare_gateway`: whatever escapes one connection fails the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from actors.gateway.admission import PlainHttp, Upgrade, judge
from actors.gateway.head import BadHead, ClientGone, Head, read_head
from actors.gateway.refusal import Refusal, refuse
from actors.gateway.socket import Closed, Socket
from tests.support.bare_gateway import End, Gateway


@pytest.fixture
async def gateway(nursery: trio.Nursery) -> AsyncIterator[Gateway]:
    send_accepted, accepted = trio.open_memory_channel[End](100)
    send_refused, refused = trio.open_memory_channel[Closed](100)
    gateway = Gateway(accepted, refused)

    async def serve(stream: trio.SocketStream) -> None:
        try:
            head, raw = await read_head(stream, within=gateway.head_within)
        except BadHead as bad:
            await refuse(stream, bad.refusal)
            return
        except ClientGone:
            await stream.aclose()
            return
        verdict = judge(head, gateway.policy)
        if isinstance(verdict, Refusal):
            await refuse(stream, verdict)
        elif isinstance(verdict, PlainHttp):
            assert gateway.plain is not None
            await gateway.plain(stream, head, raw)
        else:
            await upgrade(stream, head, raw, verdict)

    async def upgrade(stream: trio.SocketStream, head: Head, raw: bytes, verdict: Upgrade) -> None:
        async with trio.open_nursery() as connection:
            gateway.connections.append(connection)
            end = End()
            try:
                end.socket = await Socket.accept(
                    stream,
                    head,
                    raw,
                    subprotocol=verdict.subprotocol,
                    handshake_within=gateway.handshake_within,
                    hear=end.heard.send,
                    close_within=gateway.close_within,
                )
            except Closed as closed:
                await send_refused.send(closed)
            else:
                connection.start_soon(end.run, end.socket.serve)
                await send_accepted.send(end)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    gateway.port = listeners[0].socket.getsockname()[1]
    nursery.start_soon(trio.serve_listeners, serve, listeners)
    yield gateway
    for client in gateway.clients:
        client.stream.socket.close()
    nursery.cancel_scope.cancel()
