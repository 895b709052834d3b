"""The client that stays, against scripted daemons over real sockets."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.protocol.codes import CLOSES, Close, Reconnect, close
from tests.support.grammar_log import Log, whole_run
from tests.support.hasty import Hasty
from tests.support.log_daemon import WITHIN, log_daemon
from tests.support.scripted_server import serving
from understudy.client import (
    Closed,
    CommandDropped,
    CommandRefused,
    CommandTooLarge,
    ConnectionEnded,
    Event,
    Gap,
    Open,
    Position,
    Waiting,
    events,
    open_client,
)

if TYPE_CHECKING:
    from tests.support.scripted_server import Peer
    from understudy.client import State


def the_run() -> list[dict[str, Any]]:
    log = Log()
    whole_run(log)
    return [frame for frame in log.frames if frame["type"] not in ("reply", "heartbeat", "draining")]


RUN = the_run()
ROWS = [*CLOSES.values(), *(close(code) for code in (1000, 1001, 1006, 4999))]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.code))
async def test_every_row_of_the_table_of_closes(row: Close) -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome(seq=4)
        await peer.durable("system", "five")
        await peer.durable("system", "six")
        await peer.command("typing")
        if row.code == 1006:
            peer.reset()
        else:
            await peer.send("draining", retry_after=0)
            await peer.close(row.code)

    async def second(peer: Peer) -> None:
        await peer.welcome(seq=6, replayed=1)
        await peer.durable("system", "six")
        await peer.durable("system", "seven")

    states: list[State] = []
    async with serving(first, second) as server:
        async with open_client(server.url, rng=Hasty(1), on_state=states.append, subscribe=["agent_status"]) as client:
            with trio.fail_after(WITHIN):
                seen = [await anext(client), await anext(client)]
                client.post("typing", metadata={"active": True})
                if row.reconnect in (Reconnect.NEVER, Reconnect.WITH_NEW_TOKEN):
                    for _ in range(2):
                        with pytest.raises(ConnectionEnded) as ended:
                            while True:
                                await anext(client)
                        assert ended.value.code == row.code
                    with pytest.raises(ConnectionEnded):
                        await client.command("typing")
                    assert isinstance(client.state, Closed)
                    assert len(server.peers) == 1
                    return
                seen += [event async for event in until_seq(client, 7)]
        assert [event.content for event in seen if event.seq] == ["five", "six", "seven"]
        metadata = [peer.hello["metadata"] for peer in server.peers if peer.hello]
        assert metadata[0]["client_id"] == metadata[1]["client_id"] == client.client_id
        assert "resume" not in metadata[0]
        assert metadata[1]["resume"] in ({"epoch": "e1", "seq": 5}, {"epoch": "e1", "seq": 6})
        assert metadata[1]["reconnect"]["last_code"] == row.code
        assert metadata[1]["reconnect"]["attempts"] == 1
        assert [one["subscribe"] for one in metadata] == [["agent_status"]] * 2
        assert server.peers[1].heard[-1]["metadata"]["seq"] == 7  # the last ack
    kinds = [type(state).__name__ for state in states]
    assert kinds == ["Open", "Waiting", "Connecting", "Open", "Closed"]


async def until_seq(client: Any, seq: int) -> Any:
    async for event in client:
        yield event
        if event.seq == seq:
            return


async def test_a_missing_seq_closes_with_4411_and_resumes() -> None:
    codes = []

    async def first(peer: Peer) -> None:
        await peer.welcome()
        await peer.durable("system", "one")
        await peer.send("system", "three", envelope={"seq": 3})
        codes.append(await peer.closed())

    async def second(peer: Peer) -> None:
        await peer.welcome(seq=3, replayed=3 if peer.seq == 0 else 2)

    async def replay(peer: Peer) -> None:
        hello = await peer.receive()
        at = hello["metadata"]["resume"]["seq"]
        fields = {"epoch": "e1", "seq": 3, "replayed": 3 - at, "resumed": True}
        await peer.send("welcome", reply_to=hello["id"], **fields)
        peer.seq = at
        for word in ("one", "two", "three")[at:]:
            await peer.durable("system", word)

    async with serving(first, replay) as server, open_client(server.url, rng=Hasty(1)) as client:
        with trio.fail_after(WITHIN):
            seen = [event.content async for event in until_seq(client, 3)]
    assert seen == ["one", "two", "three"]
    assert codes == [4411]


async def test_what_was_read_from_the_old_connection_is_acknowledged_on_the_new_one() -> None:
    lost = trio.Event()

    async def first(peer: Peer) -> None:
        await peer.welcome()
        await peer.durable("system", "one")
        await peer.durable("system", "two")
        await peer.command("get_run")
        peer.reset()
        await lost.wait()

    async def second(peer: Peer) -> None:
        await peer.welcome(seq=2, replayed=2)
        await peer.durable("system", "one")
        await peer.durable("system", "two")
        await peer.reply(await peer.command("get_run"))

    async with serving(first, second) as server:
        async with open_client(server.url, rng=Hasty(1)) as client:
            with trio.fail_after(WITHIN):
                await anext(client)
                lost.set()
                await client.command("get_run")
                assert (await anext(client)).content == "two"
        assert server.peers[1].heard[-1]["metadata"] == {"seq": 2}


async def test_a_hole_that_only_the_client_can_see_is_a_gap() -> None:
    async def first(peer: Peer) -> None:
        await peer.welcome(seq=3)
        await peer.command("typing")
        peer.reset()

    async def second(peer: Peer) -> None:
        await peer.welcome(epoch="e2", seq=9, resumed=True)
        await peer.durable("system", "ten")

    async with serving(first, second) as server, open_client(server.url, rng=Hasty(1)) as client:
        client.post("typing")
        with trio.fail_after(WITHIN):
            gap, event = await anext(client), await anext(client)
        assert isinstance(gap, Gap)
        assert gap.reason == "hole"
        assert (event.seq, client.position) == (10, Position("e2", 9))


async def test_an_unknown_type_comes_as_a_plain_event_and_known_ones_as_their_class() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.durable("hologram", "from a newer daemon")
        await peer.ephemeral("typing", user_id="eve", active=True)

    async with serving(script) as server, open_client(server.url, rng=Hasty(1)) as client:
        with trio.fail_after(WITHIN):
            unknown, typing = await anext(client), await anext(client)
    assert type(unknown) is Event
    assert unknown.seq == 1
    assert isinstance(typing, events.Typing)
    assert (typing.user_id, typing.active) == ("eve", True)


async def test_commands_without_an_answer_are_repeated_in_order_with_the_same_ids() -> None:
    heard: list[list[dict[str, Any]]] = [[], []]

    async def first(peer: Peer) -> None:
        await peer.welcome()
        for kind in ("start_run", "typing", "get_run"):
            heard[0].append(await peer.command(kind))
        await peer.reply(heard[0][1])
        peer.reset()

    async def second(peer: Peer) -> None:
        await peer.welcome()
        for kind in ("start_run", "get_run"):
            heard[1].append(await peer.command(kind))
        await peer.refuse(heard[1][1], "not_found", "There is no such run.")
        await peer.reply(heard[1][0], run_id="r1")

    async with serving(first, second) as server, open_client(server.url, rng=Hasty(1)) as client:
        with trio.fail_after(WITHIN):
            async with trio.open_nursery() as nursery:

                async def start() -> None:
                    reply = await client.command("start_run", content="A brief of tea", command_id="my-own")
                    assert reply.metadata["run_id"] == "r1"

                nursery.start_soon(start)
                await trio.testing.wait_all_tasks_blocked()
                client.post("typing", metadata={"active": True})
                posted = client.post("get_run", metadata={"run_id": "r0"})
                trouble = await anext(client)
            assert isinstance(trouble, events.Trouble)
            assert (trouble.code, trouble.reply_to) == ("not_found", posted)
            assert client.unanswered == 0
    assert heard[0][0]["id"] == "my-own"
    assert heard[1] in ([heard[0][0], heard[0][2]], [heard[0][0], heard[0][2]])


async def test_no_more_commands_are_under_way_than_the_daemon_takes_and_rate_limited_ones_go_again() -> None:
    order = []

    async def script(peer: Peer) -> None:
        await peer.welcome(limits={"frame_bytes": 4096, "in_flight": 2})
        first, second = await peer.command("typing"), await peer.command("typing")
        with trio.move_on_after(0.05):
            pytest.fail(f"a third one came: {await peer.command('typing')}")
        await peer.refuse(first, "rate_limited", "Slow down.", retry_after=0.01, retryable=True)
        await peer.reply(second)
        again = await peer.command("typing")
        order.extend([first["id"], again["id"]])
        await peer.reply(again)
        await peer.reply(await peer.command("typing"))

    async with serving(script) as server, open_client(server.url, rng=Hasty(1)) as client:
        with trio.fail_after(WITHIN):
            await client.until(Open)
            for _ in range(3):
                client.post("typing", metadata={"active": True})
            while client.unanswered:
                await trio.sleep(0.001)
    assert order[0] == order[1]


async def test_a_command_is_measured_before_it_is_sent_also_if_it_was_given_before_the_limit_was_known() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(limits={"frame_bytes": 400})

    async with serving(script) as server, open_client(server.url, rng=Hasty(1)) as client:
        large = client.post("send_message", content="x" * 500)
        with trio.fail_after(WITHIN):
            dropped = await anext(client)
            assert isinstance(dropped, CommandDropped)
            assert (dropped.command_id, dropped.reason, dropped.perhaps_done) == (large, "too_large", False)
            with pytest.raises(CommandTooLarge):
                await client.command("send_message", content="x" * 500)
        assert client.unanswered == 0


async def test_subscriptions_are_asked_for_again() -> None:
    async def first(peer: Peer) -> None:
        hello = await peer.welcome()
        assert hello["metadata"]["subscribe"] == ["task_completion"]
        await peer.reply(await peer.command("subscribe"), channel="engine_status")
        await peer.refuse(await peer.command("subscribe"), "forbidden", "Only for operators.")
        await peer.reply(await peer.command("unsubscribe"))
        await peer.reply(await peer.command("subscribe"), channel="agent_status")
        await peer.close(1011)

    async def second(peer: Peer) -> None:
        hello = await peer.welcome(subscribed=["engine_status", "agent_status"])
        assert hello["metadata"]["subscribe"] == ["engine_status", "agent_status"]
        await peer.ephemeral("channel", channel="agent_status", payload={"name": "Analyst"})

    async with (
        serving(first, second) as server,
        open_client(server.url, rng=Hasty(1), subscribe=["task_completion"]) as client,
    ):
        with trio.fail_after(WITHIN):
            await client.until(Open)
            await client.subscribe("engine_status")
            with pytest.raises(CommandRefused):
                await client.subscribe("system_metrics")
            await client.unsubscribe("task_completion")
            await client.command("subscribe", metadata={"channel": "agent_status"})
            news = await anext(client)
        assert isinstance(news, events.ChannelNews)
        assert client.channels == ("engine_status", "agent_status")
        assert client.welcome is not None
        assert client.welcome.subscribed == ["engine_status", "agent_status"]


async def test_an_expired_token_is_renewed() -> None:
    async def first(peer: Peer) -> None:
        hello = await peer.welcome()
        assert hello["metadata"]["token"] == "one"
        await peer.close(4419)

    async def second(peer: Peer) -> None:
        hello = await peer.welcome()
        assert hello["metadata"]["token"] == "two"
        await peer.durable("system", "here")

    tokens = ["one", "two"]

    async def token() -> str:
        await trio.lowlevel.checkpoint()
        return tokens.pop(0)

    async with serving(first, second) as server, open_client(server.url, rng=Hasty(1), token=token) as client:
        with trio.fail_after(WITHIN):
            assert (await anext(client)).content == "here"


async def test_what_the_token_source_raises_is_raised_where_the_application_reads() -> None:
    async def token() -> str:
        await trio.lowlevel.checkpoint()
        raise LookupError("no token today")

    async with open_client("127.0.0.1:1", rng=Hasty(1), token=token) as client:
        with pytest.raises(LookupError):
            await anext(client)
        with pytest.raises(LookupError):
            await client.command("typing")


async def test_a_hello_that_is_too_large_ends_the_client() -> None:
    async with (
        serving(lambda peer: peer.closed()) as server,
        open_client(server.url, rng=Hasty(1), token="t" * 70_000) as client,
    ):
        with pytest.raises(CommandTooLarge):
            await anext(client)


async def test_an_address_that_is_none() -> None:
    with pytest.raises(ValueError, match="names no host"):
        async with open_client("ws://", rng=Hasty(1)):
            pass


async def test_what_the_block_raises_comes_out_bare_and_acknowledges_nothing() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.durable("system", "one")

    async with serving(script) as server:
        with pytest.raises(ZeroDivisionError):
            async with open_client(server.url, rng=Hasty(1)) as client:
                await anext(client)
                raise ZeroDivisionError
        assert isinstance(client.state, Closed)
        await trio.testing.wait_all_tasks_blocked()
        assert "ack" not in [frame["type"] for frame in server.peers[0].heard]


async def test_what_was_posted_just_before_leaving_still_goes_out_before_the_close() -> None:
    codes = []

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await peer.command("mark_read")
        codes.append(await peer.closed())

    async with serving(script) as server:
        async with open_client(server.url, rng=Hasty(1)) as client:
            await client.until(Open)
            client.post("mark_read", metadata={"message_id": "m"})
        with trio.fail_after(WITHIN):
            while not codes:
                await trio.sleep(0.001)
    assert codes == [1000]


async def test_after_the_block_everything_says_so() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()

    async with serving(script) as server:
        async with open_client(server.url, rng=Hasty(1)) as client:
            await client.until(Open)
        for ask in (client.__anext__, lambda: client.command("typing"), lambda: client.until(Open)):
            with pytest.raises(ConnectionEnded, match="1000"):
                await ask()
        with pytest.raises(ConnectionEnded):
            client.post("typing")


async def test_two_tasks_cannot_iterate_at_once_and_an_id_can_wait_once() -> None:
    async with (
        serving(lambda peer: peer.closed()) as server,
        open_client(server.url, rng=Hasty(1)) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(client.__anext__)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await anext(client)
        client.post("typing", command_id="x")
        with pytest.raises(ValueError, match="still waiting"):
            client.post("typing", command_id="x")
        nursery.cancel_scope.cancel()


class CancelAt(trio.abc.Instrument):
    """Cancels a scope at the nth step of any task."""

    def __init__(self, steps: int, scope: trio.CancelScope) -> None:
        self.left = steps
        self.scope = scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:  # an instrument may not cancel by itself
            trio.lowlevel.current_trio_token().run_sync_soon(self.scope.cancel)


@pytest.mark.parametrize(("start", "refused"), [*((start, 0) for start in range(1, 18, 2)), (1, 502), (9, 502)])
@pytest.mark.repeats
async def test_cancelled_at_any_step_it_leaves_neither_task_nor_socket(start: int, refused: int) -> None:
    cancelled = True
    steps = start
    while cancelled:
        async with log_daemon(RUN, plans=[(4, "reset")], refuse_upgrades=refused) as daemon:
            own = trio.lowlevel.current_statistics().tasks_living
            with trio.CancelScope() as scope:
                instrument = CancelAt(steps, scope)
                trio.lowlevel.add_instrument(instrument)
                try:
                    async with open_client(daemon.url, rng=Hasty(steps)) as client:
                        await client.command("start_run", content="A shop that sells tea")
                        async for event in client:
                            if event.seq == RUN[-1]["seq"]:
                                break
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            cancelled = scope.cancelled_caught
            with trio.fail_after(WITHIN):  # every socket of the client's is closed, so the daemon's tasks end too
                while trio.lowlevel.current_statistics().tasks_living > own:
                    await trio.sleep(0.001)
        steps += 17
    assert steps > 100
    gc.collect()  # a socket that was only dropped would warn, and warnings are errors


async def test_cancelled_commands_are_not_repeated() -> None:
    given_up = trio.Event()

    async def first(peer: Peer) -> None:
        await peer.welcome()
        await peer.command("start_run")
        given_up.set()
        await peer.command("typing")
        peer.reset()

    async def second(peer: Peer) -> None:
        await peer.welcome()
        await peer.reply(await peer.command("typing"))
        await peer.reply(await peer.command("list_runs"))

    async with serving(first, second) as server, open_client(server.url, rng=Hasty(1)) as client:
        with trio.fail_after(WITHIN):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: client.command("start_run"))
                await given_up.wait()
                nursery.cancel_scope.cancel()
            client.post("typing")
            await client.command("list_runs")


async def test_states_can_be_waited_for() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome(connection_id="c9")
        await peer.close(1011)

    async def idle(peer: Peer) -> None:
        await peer.welcome(connection_id="c10")

    async with serving(script, idle) as server, open_client(server.url, rng=Hasty(1)) as client:
        with trio.fail_after(WITHIN):
            waiting = await client.until(Waiting)
            assert isinstance(waiting, Waiting)
            assert isinstance(waiting.trouble, ConnectionEnded)
            assert (waiting.seconds, waiting.trouble.code) == (0.0, 1011)
            opened = await client.until(Open)
            assert isinstance(opened, Open)
            assert opened.welcome.connection_id == "c10"
