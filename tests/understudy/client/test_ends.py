"""How a connection of the client ends, or never comes about, over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.protocol.codes import Reconnect
from tests.support.scripted_server import idle, rng, serving
from understudy.client import ConnectionEnded, Unreachable, connect

if TYPE_CHECKING:
    from tests.support.scripted_server import Peer


@pytest.mark.parametrize(
    ("code", "how", "reconnect", "resume"),
    [
        (1011, Reconnect.WITH_BACKOFF, True, True),
        (1000, Reconnect.WITH_BACKOFF, True, True),
        (4400, Reconnect.NEVER, False, False),
        (4409, Reconnect.NEVER, False, False),
        (4413, Reconnect.AT_ONCE, True, True),
        (4419, Reconnect.WITH_NEW_TOKEN, False, True),
    ],
)
async def test_a_close_says_whether_to_come_back(code: int, how: Reconnect, reconnect: bool, resume: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.send("error", "A sentence about the close.", code="internal")
        await peer.close(code, "why")

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        assert (await anext(client)).type == "error"
        for _ in range(2):
            with pytest.raises(ConnectionEnded) as ended:
                await anext(client)
        assert (ended.value.code, ended.value.how) == (code, how)
        assert (ended.value.reconnect, ended.value.resume) == (reconnect, resume)
        assert ended.value.message == "A sentence about the close."
        with pytest.raises(ConnectionEnded):
            await client.command("list_runs")


async def test_a_close_names_the_fields_that_were_wrong() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.send("error", "Some of it is wrong.", code="invalid_fields", fields={"user_id": "It is too long."})
        await peer.close(4400)

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        await anext(client)
        with pytest.raises(ConnectionEnded) as ended:
            await anext(client)
        assert ended.value.message == "Some of it is wrong. user_id: It is too long."


async def test_draining_says_how_long_to_wait_after_1012() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.send("draining", retry_after=3.5)
        await peer.close(1012)

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        assert (await anext(client)).type == "draining"
        with pytest.raises(ConnectionEnded) as ended:
            await anext(client)
        assert (ended.value.how, ended.value.retry_after) == (Reconnect.AFTER_RETRY_AFTER, 3.5)


async def test_a_connection_that_is_reset_ends_a_waiting_command_and_a_waiting_iteration() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.command("get_run")
        peer.reset()

    ended: list[int] = []
    async with serving(script) as server, connect(server.url, rng=rng()) as client, trio.open_nursery() as nursery:

        async def iterate() -> None:
            with pytest.raises(ConnectionEnded) as end:
                await anext(client)
            ended.append(end.value.code)

        nursery.start_soon(iterate)
        with pytest.raises(ConnectionEnded) as end:
            await client.command("get_run")
        ended.append(end.value.code)
    assert ended == [1006, 1006]


async def test_a_close_before_welcome_is_explained_by_the_error_before_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.receive()
        await peer.send("error", "Too many connections.", code="limit_reached", retry_after=7)
        await peer.close(1013)

    async with serving(script) as server:
        with pytest.raises(ConnectionEnded) as ended:
            async with connect(server.url, rng=rng()):
                pass
        assert (ended.value.code, ended.value.message, ended.value.retry_after) == (1013, "Too many connections.", 7.0)
        assert ended.value.how is Reconnect.WITH_LONG_BACKOFF


@pytest.mark.parametrize("frame", ["not json", "[]", '{"type": 3}', '{"content": "no type"}', b"binary"])
async def test_a_malformed_frame_closes_with_1002(frame: str | bytes) -> None:
    codes = []

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.websocket.send_message(frame)
        codes.append(await peer.closed())

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        with pytest.raises(ConnectionEnded) as ended:
            await anext(client)
        assert ended.value.code == 1002
        await trio.testing.wait_all_tasks_blocked()
        assert codes == [1002]


@pytest.mark.parametrize("metadata", [{"epoch": 3}, {"limits": 1}])
async def test_a_malformed_welcome_is_no_welcome(metadata: dict[str, Any]) -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(**metadata)

    async with serving(script) as server:
        with pytest.raises(ConnectionEnded) as ended:
            async with connect(server.url, rng=rng()):
                pass
        assert ended.value.code == 1002


async def test_no_welcome_in_time_is_unreachable() -> None:
    async def script(peer: Peer) -> None:
        await peer.receive()

    async with serving(script) as server:
        with pytest.raises(Unreachable, match=r"no answer within 0\.1 s"):
            async with connect(server.url, rng=rng(), within=0.1):
                pass


async def test_an_address_that_is_none_and_one_where_nobody_listens() -> None:
    with pytest.raises(ValueError, match="names no host"):
        async with connect("ws://", rng=rng()):
            pass
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(Unreachable, match="nothing answers there") as nobody:
        async with connect(f"127.0.0.1:{port}", rng=rng()):
            pass
    assert (nobody.value.status, nobody.value.reconnect) == (None, True)


@pytest.mark.parametrize(
    ("answer", "status", "reconnect", "retry_after"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 4\r\nContent-Length: 2\r\n\r\nno", 503, True, 4.0),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, False, None),
        (b"HTTP/1.1 418 Teapot\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", 418, False, None),
        (b"220 mail.example ESMTP\r\n", None, True, None),
        (b"", None, True, None),
    ],
)
async def test_what_refuses_or_is_no_websocket_is_unreachable(
    answer: bytes, status: int | None, reconnect: bool, retry_after: float | None
) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(
            lambda task_status: trio.serve_tcp(serve, 0, host="127.0.0.1", task_status=task_status)
        )
        with pytest.raises(Unreachable) as refused:
            async with connect(f"127.0.0.1:{listener.socket.getsockname()[1]}", rng=rng(), within=5):
                pass
        assert (refused.value.status, refused.value.reconnect) == (status, reconnect)
        assert refused.value.retry_after == retry_after
        assert "no answer within" not in refused.value.why  # seen at once, not waited for
        nursery.cancel_scope.cancel()


async def test_tls_against_a_plain_port_is_unreachable() -> None:
    async with serving(idle) as server:
        with pytest.raises(Unreachable):
            async with connect(server.url.replace("ws://", "wss://"), rng=rng(), within=5):
                pass
