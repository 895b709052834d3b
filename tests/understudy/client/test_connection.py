"""The client against a scripted daemon over real sockets: the block, the events, and cancellation."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
import trio
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from actors.protocol.codes import Reconnect
from tests.support.scripted_server import idle, rng, serving
from understudy.client import Comeback, ConnectionEnded, Position, connect

if TYPE_CHECKING:
    from tests.support.scripted_server import Peer


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
