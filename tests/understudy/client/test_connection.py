"""The client against a scripted daemon over real sockets."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import pytest
import trio
import wsproto
from trio.testing import Sequencer
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from actors.protocol.codes import Reconnect
from tests.support.scripted_server import serving
from understudy.client import (
    Comeback,
    CommandRefused,
    CommandTooLarge,
    ConnectionEnded,
    NoAnswer,
    Position,
    Unreachable,
    connect,
)

if TYPE_CHECKING:
    from tests.support.scripted_server import Peer


def rng() -> random.Random:
    return random.Random(7)


async def idle(peer: Peer) -> None:
    await peer.welcome()


async def test_hello_carries_who_and_where_and_welcome_is_read() -> None:
    async with serving(idle) as server:
        async with connect(
            server.url,
            rng=rng(),
            user_id="ada",
            token="t0ken",
            client_id="laptop",
            resume=Position("e1", 0),
            comeback=Comeback(attempts=2, down_ms=1500, last_code=1006),
        ) as client:
            assert client.welcome.epoch == "e1"
            assert client.welcome.limits.frame_bytes == 2 * 2**20
            assert client.position == Position("e1", 0)
        hello = server.peers[0].hello
        assert hello is not None
        metadata = hello["metadata"]
        assert metadata.pop("client")["platform"] == "python"
        assert metadata == {
            "user_id": "ada",
            "token": "t0ken",
            "client_id": "laptop",
            "resume": {"epoch": "e1", "seq": 0},
            "reconnect": {"attempts": 2, "down_ms": 1500, "last_code": 1006},
        }
        assert server.peers[0].websocket.subprotocol == "understudy.v1"


async def test_leaving_the_block_acknowledges_the_event_in_hand_and_closes_with_1000() -> None:
    codes = []

    async def script(peer: Peer) -> None:
        await peer.welcome(seq=4)
        await peer.durable("run_status", status="running")
        codes.append(await peer.closed())

    async with serving(script) as server:
        async with connect(server.url, rng=rng()) as client:
            event = await anext(client)
            assert (event.type, event.seq, event.run_id, event.metadata) == (
                "run_status",
                5,
                "r1",
                {"status": "running"},
            )
            assert client.position.seq == 4  # not yet processed: the next one has not been asked for
        assert client.position.seq == 5
        await trio.testing.wait_all_tasks_blocked()
        assert codes == [1000]
        assert server.peers[0].heard[-1]["metadata"] == {"seq": 5}


async def test_the_last_ack_always_goes_before_the_close() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.durable("system", "one")

    async with serving(*[script] * 30) as server:
        for _ in range(30):
            async with connect(server.url, rng=rng()) as client:
                await anext(client)
        await trio.testing.wait_all_tasks_blocked()
        assert [peer.heard[-1]["type"] for peer in server.peers] == ["ack"] * 30


async def test_an_exception_in_the_block_comes_out_bare_and_acknowledges_nothing() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.durable("run_status", status="running")

    async with serving(script) as server:
        with pytest.raises(ZeroDivisionError):
            async with connect(server.url, rng=rng()) as client:
                await anext(client)
                raise ZeroDivisionError
        await trio.testing.wait_all_tasks_blocked()
        assert [frame["type"] for frame in server.peers[0].heard] == ["hello"]


async def test_a_group_that_the_block_raises_is_not_taken_apart() -> None:
    async with serving(idle) as server:
        group = ExceptionGroup("mine", [ValueError("a"), ExceptionGroup("inner", [KeyError("b")])])
        with pytest.raises(ExceptionGroup) as caught:
            async with connect(server.url, rng=rng()):
                raise group
        assert caught.value is group


async def test_commands_get_their_own_answers_also_when_answers_overtake() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        first = await peer.command("get_run")
        second = await peer.command("list_runs")
        await peer.reply(second, runs=[])
        await peer.reply(first, "here", run={"status": "running"})

    async with serving(script) as server, connect(server.url, rng=rng()) as client, trio.open_nursery() as nursery:
        answers: dict[str, Any] = {}
        order = Sequencer()

        async def ask(turn: int, kind: str, **metadata: Any) -> None:
            async with order(turn):
                pass
            answers[kind] = await client.command(kind, metadata=metadata)

        nursery.start_soon(lambda: ask(0, "get_run", run_id="r1"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(lambda: ask(1, "list_runs"))
        with trio.fail_after(5):
            while len(answers) < 2:
                await trio.testing.wait_all_tasks_blocked()
        assert answers["list_runs"].metadata["runs"] == []
        assert (answers["get_run"].content, answers["get_run"].metadata["run"]) == ("here", {"status": "running"})


async def test_a_refusal_is_raised_with_its_code_and_fields() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        command = await peer.command("start_run")
        assert command["content"] == "tea"
        fields = {"content": "A brief has at least 10 characters."}
        await peer.refuse(command, "invalid_fields", "Please say more.", fields=fields, retryable=False)
        command = await peer.command("start_run")
        await peer.refuse(command, "rate_limited", "Slow down.", retryable=True, retry_after=2.5)

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        with pytest.raises(CommandRefused) as refused:
            await client.command("start_run", content="tea")
        assert (refused.value.code, refused.value.message) == ("invalid_fields", "Please say more.")
        assert refused.value.fields == {"content": "A brief has at least 10 characters."}
        assert (refused.value.retryable, refused.value.retry_after) == (False, None)
        with pytest.raises(CommandRefused) as refused:
            await client.command("start_run", content="tea")
        assert (refused.value.retryable, refused.value.retry_after) == (True, 2.5)


async def test_a_cancelled_command_leaves_nothing_and_its_late_answer_goes_nowhere() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        given_up = await peer.command("get_run")
        second = await peer.command("list_runs")
        await peer.reply(given_up)
        await peer.reply(second, runs=["r1"])
        await peer.durable("system", "after")

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: client.command("get_run", command_id="same"))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        reply = await client.command("list_runs")
        assert reply.metadata["runs"] == ["r1"]
        assert (await anext(client)).content == "after"


async def test_no_answer_in_time_names_the_command_to_repeat() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        lost = await peer.command("start_run")
        again = await peer.command("start_run")
        assert again == lost
        await peer.reply(again, run_id="r1")

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        with pytest.raises(NoAnswer) as silence:
            await client.command("start_run", content="a brief of tea", within=0.05)
        again = silence.value.command_id
        reply = await client.command("start_run", content="a brief of tea", command_id=again)
        assert reply.metadata["run_id"] == "r1"


async def test_an_id_that_is_still_waiting_is_refused() -> None:
    async with serving(idle) as server, connect(server.url, rng=rng()) as client, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: client.command("get_run", command_id="x"))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ValueError, match="still waiting"):
            await client.command("get_run", command_id="x")
        nursery.cancel_scope.cancel()


async def test_a_command_is_measured_in_bytes_before_it_is_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(limits={"frame_bytes": 400})
        await peer.reply(await peer.command("start_run"))

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        with pytest.raises(CommandTooLarge) as large:
            await client.command("start_run", content="ä" * 200)  # 200 characters, 400 bytes and the envelope
        assert large.value.size > large.value.limit == 400
        await client.command("start_run", content="a" * 200)


async def test_a_hello_that_is_too_large_is_not_sent() -> None:
    async with serving(idle) as server:
        with pytest.raises(CommandTooLarge):
            async with connect(server.url, rng=rng(), token="t" * 70_000):
                pass


async def test_unknown_types_are_passed_over_but_counted() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.durable("hologram", "from a newer daemon")
        await peer.send("glow")
        await peer.durable("system", "known")
        await peer.durable("hologram", "last")

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        event = await anext(client)
        assert (event.content, event.seq) == ("known", 2)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.__anext__)
                await trio.testing.wait_all_tasks_blocked(0.01)
                scope.cancel()
        assert client.position.seq == 3


@pytest.mark.parametrize("seq", [1, 4])
async def test_a_seq_that_is_missing_or_repeated_closes_with_4411_after_what_came_before(seq: int) -> None:
    codes = []

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.durable("system", "one")
        await peer.durable("system", "two")
        await peer.send("system", "strange", envelope={"seq": seq})
        codes.append(await peer.closed())

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        assert [(await anext(client)).content for _ in range(2)] == ["one", "two"]
        with pytest.raises(ConnectionEnded) as ended:
            await anext(client)
        assert (ended.value.code, ended.value.how, ended.value.resume) == (4411, Reconnect.AT_ONCE, True)
        assert client.position.seq == 2
        await trio.testing.wait_all_tasks_blocked()
        assert codes == [4411]


async def test_replayed_events_are_numbered_from_before_the_top() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(seq=9, replayed=2)
        for content in ("eight", "nine", "ten"):
            await peer.durable("system", content)

    async with serving(script) as server, connect(server.url, rng=rng(), resume=Position("e1", 7)) as client:
        assert client.position == Position("e1", 7)
        assert [(event.seq, event.content) for event in [await anext(client) for _ in range(3)]] == [
            (8, "eight"),
            (9, "nine"),
            (10, "ten"),
        ]


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


async def test_cancelling_an_iteration_loses_no_event() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        for number in range(50):
            await peer.command("typing")
            await peer.durable("system", str(number))

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        seen = []
        for _ in range(50):
            with trio.CancelScope() as scope:
                scope.cancel()
                seen.append((await anext(client)).content)
            with trio.move_on_after(0.001):
                await client.command("typing", within=0.001)
            seen.append((await anext(client)).content)
        assert seen == [str(number) for number in range(50)]


async def test_a_cancelled_iteration_takes_nothing_also_where_events_are_waiting() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.durable("system", "one")
        await peer.reply(await peer.command("list_runs"))

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        await client.command("list_runs")  # its answer came after the event
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(client)
        assert scope.cancelled_caught
        assert (await anext(client)).content == "one"


async def test_two_tasks_cannot_iterate_at_once() -> None:
    async with serving(idle) as server, connect(server.url, rng=rng()) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.__anext__)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await anext(client)
        nursery.cancel_scope.cancel()


async def test_cancelling_the_block_closes_with_1000() -> None:
    codes = []

    async def script(peer: Peer) -> None:
        await peer.welcome()
        codes.append(await peer.closed())

    async with serving(script) as server:
        with trio.CancelScope() as scope:
            async with connect(server.url, rng=rng()) as client:
                scope.cancel()
                await anext(client)
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert codes == [1000]


async def test_an_application_that_does_not_read_stops_the_reader_until_it_asks_something() -> None:
    piece = "x" * 300_000
    sent = []

    async def script(peer: Peer) -> None:
        await peer.welcome()
        command = None

        async def produce() -> None:
            for number in range(200):
                await peer.durable("system", piece)
                sent.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            command = await peer.command("list_runs")
            await peer.reply(command, runs=[])

    async with serving(script) as server, connect(server.url, rng=rng()) as client:
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(sent) < 150  # the bound and the socket's buffers, not the 60 MB
        # The answer stands behind events that nobody has read.
        await client.command("list_runs")
        async for event in client:
            if event.seq == 200:
                break
        assert len(sent) == 200


async def test_a_ping_while_the_client_is_closing_does_no_harm() -> None:
    """python-trio/trio-websocket#184: the reader raises where a ping meets our own Close."""

    async def serve(stream: trio.SocketStream) -> None:
        server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        async with stream:
            while data := await stream.receive_some():
                server.receive_data(data)
                for event in server.events():
                    if isinstance(event, Request):
                        await stream.send_all(server.send(AcceptConnection(subprotocol="understudy.v1")))
                    elif isinstance(event, TextMessage):
                        welcome = b'{"type":"welcome","metadata":{"epoch":"e","seq":0,"resumed":false,"replayed":0}}'
                        await stream.send_all(server.send(TextMessage(data=welcome.decode())))
                    elif isinstance(event, CloseConnection):
                        await stream.send_all(struct.pack("!BB", 0x89, 0) * 3)
                        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(
            lambda task_status: trio.serve_tcp(serve, 0, host="127.0.0.1", task_status=task_status)
        )
        async with connect(f"127.0.0.1:{listener.socket.getsockname()[1]}", rng=rng()):
            pass
        nursery.cancel_scope.cancel()
