"""One socket: who is too slow, silent, or sent away, what is still said before an end, and what is counted."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
import trio.testing

from actors.gateway import connection as connection_module
from actors.gateway import gateway as gateway_module
from actors.gateway.entrance import LEAVING
from actors.gateway.messages import Drain
from actors.gateway.outbound import Out
from actors.gateway.socket import Socket
from actors.protocol.codes import (
    CONNECTION_FAILED,
    DRAINING,
    NO_HELLO,
    OVER_CAPACITY,
    REPLACED,
    SILENT,
    TOO_SLOW,
)
from actors.users.messages import LastHeard
from runtime import Crash
from tests.support.gateway_system import Client, GatewaySystem, gateway_system
from tests.support.raw_websocket import BINARY, CLOSE, PING, PONG, RawWebSocket, close_payload, upgrade_request
from tests.support.said import delivery


async def small_window(here: GatewaySystem) -> RawWebSocket:
    """A connection of which the kernel takes little while its client does not read."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.connect(("127.0.0.1", here.port))
    raw = RawWebSocket(trio.SocketStream(sock))
    here.raws.append(raw)
    return raw


async def welcomed_with_small_window(here: GatewaySystem, **hello: Any) -> Client:
    raw = await small_window(here)
    await raw.handshake()
    client = Client(raw)
    await client.hello(**hello)
    return client


def flood(here: GatewaySystem, client: Client, count: int, size: int = 10_000) -> None:
    connection = here.connection(client)
    for _ in range(count):
        assert connection.tell(delivery("ada", Out(b'{"content": "%s"}' % (b"x" * size))))


class TestTooSlow:
    async def test_too_many_bytes_waiting(self) -> None:
        async with gateway_system(limits={"outbound_bytes": 100_000}, close_within=0.5) as here:
            slow = await welcomed_with_small_window(here)
            quick = await here.welcomed()
            for _ in range(60):  # until the kernel takes no more
                flood(here, slow, 20)
                await trio.testing.wait_all_tasks_blocked(0.001)
                if not here.system.ref(here.connection(slow).path).target.watchable():
                    break
            await here.holds(lambda: here.counters.connections_closed[TOO_SLOW] == 1)
            assert (await quick.ask("heartbeat"))["type"] == "heartbeat"

    async def test_one_that_reads_on_learns_the_code(self) -> None:
        async with gateway_system(limits={"outbound_bytes": 100_000}) as here:
            slow = await welcomed_with_small_window(here)
            connection = here.connection(slow)
            for _ in range(60):
                flood(here, slow, 20)
                await trio.testing.wait_all_tasks_blocked(0.001)
                actor = connection.target.actor
                if actor._closing is not None:
                    break
            assert await slow.ended() == TOO_SLOW

    async def test_nothing_taken_for_too_long(self) -> None:
        async with gateway_system(send_within=0.1, close_within=0.2, limits={"outbound_bytes": 10**9}) as here:
            slow = await welcomed_with_small_window(here)
            flood(here, slow, 1500)
            await here.holds(lambda: here.counters.connections_closed[TOO_SLOW] == 1)
            await here.gone()

    async def test_a_replay_goes_at_the_clients_pace(self) -> None:
        """Far more than may wait for a connection, to a client that takes its time."""
        async with gateway_system(limits={"outbound_bytes": 20_000}) as here:
            here.say(*(f"d{n}" for n in range(1, 1501)))
            await here.holds(lambda: here.plan.storage.log_of("ada").top == 1500)
            client = await welcomed_with_small_window(here, resume={"epoch": "epoch-ada", "seq": 0})
            await trio.testing.wait_all_tasks_blocked(0.05)
            pages = len(here.plan.heard)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert len(here.plan.heard) == pages  # it waits for the client
            while client.seqs[-1:] != [1500]:
                await client.next()
            assert client.seqs == list(range(1, 1501))
            await here.holds(lambda: here.counters.events_sent == 1500)
            client.verify()

    async def test_only_what_was_written_counts_as_sent(self) -> None:
        async with gateway_system(limits={"outbound_bytes": 10**9}, close_within=0.2) as here:
            slow = await welcomed_with_small_window(here)
            flood(here, slow, 1500)
            await trio.testing.wait_all_tasks_blocked(0.05)
            sent = here.counters.ephemeral_sent
            assert 0 < sent < 1500
            slow.raw.reset()
            await here.gone()
            assert here.counters.ephemeral_sent == sent

    async def test_a_mailbox_that_was_full_once_closes(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            here.connection(client).tell(delivery("ada", Out(b'{"seq":9}', 9)))
            assert await client.ended() == TOO_SLOW
            assert client.seqs == []


class TestSilence:
    async def test_pings_are_sent_and_pongs_are_life(self) -> None:
        async with gateway_system(heartbeat_interval=0.25, silent_intervals=4) as here, trio.open_nursery() as nursery:
            client = await here.welcomed()
            nursery.start_soon(client.next)  # answers them
            await here.holds(lambda: client.pings >= 6 or client.code is not None)
            assert client.code is None
            nursery.cancel_scope.cancel()

    async def test_silence_closes_after_so_many_intervals_and_no_later(self) -> None:
        async with gateway_system(heartbeat_interval=0.4, silent_intervals=3) as here:
            client = await here.connect()
            await trio.sleep(0.3)  # so that the end of the silence is not an interval's
            await client.hello()
            began = trio.current_time()
            here_first = here.system.now
            frames = [await client.raw.read_frame()]
            while frames[-1].opcode != CLOSE:
                frames.append(await client.raw.read_frame())
            assert frames[-1].code == SILENT
            took = trio.current_time() - began
            assert 1.15 <= took  # noqa: SIM300
            assert here_first() > 0
            await client.raw.send_frame(CLOSE, close_payload(SILENT))
            await here.gone()
            assert here.counters.connections_closed == {SILENT: 1}

    async def test_silence_is_found_between_two_pings_as_well(self) -> None:
        """Pings begin after a random part of an interval; the silence ends when it ends."""
        async with gateway_system(heartbeat_interval=1.0, silent_intervals=1) as here:
            pings = []
            clients = [await here.welcomed() for _ in range(6)]
            for client in clients:
                opcodes = []
                with trio.fail_after(10):
                    while CLOSE not in opcodes:
                        opcodes.append((await client.raw.read_frame()).opcode)
                pings.append(opcodes.count(PING))
            assert max(pings) == 1

    async def test_any_frame_is_a_sign_of_life(self) -> None:
        async with gateway_system(heartbeat_interval=0.5, silent_intervals=2) as here:
            client = await here.welcomed()
            for _ in range(6):
                await trio.sleep(0.25)
                await client.raw.send_frame(PONG)
            assert (await client.ask("heartbeat"))["type"] == "heartbeat"

    async def test_when_anything_last_came_can_be_asked(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            first = await here.connection(client).ask(LastHeard(), 5)
            await client.ask("heartbeat")
            second = await here.connection(client).ask(LastHeard(), 5)
            assert first < second <= trio.current_time()
            flood(here, client, 3)
            assert await here.connection(client).ask(LastHeard(), 5) == second


class TestEnds:
    async def test_codes_are_counted_and_logged_with_their_reason(self) -> None:
        async with gateway_system(hello_within=2.0) as here:
            left = await here.welcomed()
            await left.raw.send_frame(CLOSE, close_payload(1001, "bye"))
            assert (await left.raw.read_close()).code == 1001
            broken = await here.welcomed()
            broken.raw.reset()
            binary = await here.welcomed()
            await binary.raw.send_frame(BINARY, b"x")
            assert await binary.ended() == 1003
            late = await here.connect()
            assert await late.ended() == NO_HELLO
            await here.gone()
            assert here.counters.connections_opened == 4
            assert here.counters.connections_open == 0
            assert here.counters.connections_closed == {1001: 1, 1006: 1, 1003: 1, NO_HELLO: 1}
            closed = [line for line in here.logs if line["event"] == "connection closed"]
            assert {(line["code"], line["by"]) for line in closed} == {
                (1001, "client"),
                (1006, "network"),
                (1003, "server"),
                (NO_HELLO, "server"),
            }
            assert {line["user"] for line in closed} == {"ada", None}
            assert all(0 <= line["seconds"] < 20 for line in closed)

    async def test_a_crash_of_one_closes_that_one(self) -> None:
        async with gateway_system() as here:
            injured, other = await here.welcomed(), await here.welcomed()
            here.crash(here.connection(injured).path)
            assert await injured.ended() == CONNECTION_FAILED
            assert (await other.ask("heartbeat"))["type"] == "heartbeat"
            here.say("d1")
            await other.until("system")
            assert sum(isinstance(report, Crash) for report in here.reports) == 1
            assert here.system.ref("/users/ada").target.actor.inspect()["connections"] == 1

    async def test_what_explains_a_close_is_written_before_it(self) -> None:
        async with gateway_system() as here:
            client = await here.connect()
            await client.send("heartbeat")
            while await client.next() is not None:
                pass
            assert client.errors() == ["bad_request"]
            assert client.code == 4400

    async def test_a_goodbye_that_nobody_takes_is_given_up(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(connection_module, "FAREWELL", 0.1)
        async with gateway_system(send_within=1000.0, limits={"outbound_bytes": 10**9}, close_within=0.2) as here:
            slow = await welcomed_with_small_window(here)
            flood(here, slow, 1500)
            await trio.testing.wait_all_tasks_blocked(0.05)
            here.connection(slow).tell(Drain(1.0))
            await here.gone()
            assert here.counters.connections_closed == {DRAINING: 1}

    async def test_a_context_forgets_a_connection_that_closes(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            await client.raw.send_frame(CLOSE, close_payload(1000))
            await here.gone()
            await here.holds(lambda: here.system.ref("/users/ada").target.actor.inspect()["connections"] == 0)


class TestDraining:
    async def test_clients_are_told_when_to_come_back(self) -> None:
        async with gateway_system() as here:
            clients = [await here.welcomed() for _ in range(5)]
            silent = await here.connect()
            waits = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.system.ref("/gateway/connections").ask, Drain(3.0), 10.0)
                for client in clients:
                    assert await client.ended() == DRAINING
                    waits.append(client.frames[-1]["metadata"]["retry_after"])
                    assert client.frames[-1]["type"] == "draining"
                    client.verify()
                assert await silent.ended() == DRAINING
                assert silent.frames == []
            assert all(0 <= wait <= 3.0 for wait in waits)
            assert len(set(waits)) == 5
            assert here.connections() == []

    async def test_until_it_goes_a_client_is_served_but_no_work_is_begun(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gateway_module, "LEAVE_A_SECOND", 0.001)
        async with gateway_system() as here, trio.open_nursery() as nursery:
            client = await here.welcomed()
            nursery.start_soon(here.system.ref("/gateway/connections").ask, Drain(3.0, over=1000.0), 10.0)
            told = await client.until("draining")
            refused = await client.ask("start_run", "A brief that is long enough", workflow="delivery")
            assert (refused["type"], refused["metadata"]["code"]) == ("error", "unavailable")
            assert refused["metadata"]["retry_after"] == told["metadata"]["retry_after"] > 0
            assert refused["content"] == LEAVING
            assert (await client.ask("list_runs"))["type"] == "reply"
            assert (await client.ask("heartbeat"))["type"] == "heartbeat"
            here.say("d1")
            await client.until("system")
            client.verify()
            nursery.cancel_scope.cancel()

    async def test_the_closes_are_spread_over_a_time_that_depends_on_how_many_there_are(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gateway_module, "LEAVE_A_SECOND", 20)
        closed: list[int] = []
        async with gateway_system(limits={"connections": 100}) as here, trio.open_nursery() as nursery:
            clients = [await here.welcomed() for _ in range(10)]
            nursery.start_soon(here.system.ref("/gateway/connections").ask, Drain(3.0, over=1000.0), 20.0)

            async def leave(number: int, client: Client) -> None:
                assert await client.ended() == DRAINING
                closed.append(number)

            async with trio.open_nursery() as leaving:
                for number, client in enumerate(clients):
                    leaving.start_soon(leave, number, client)
        assert sorted(closed) == list(range(10))
        assert closed != list(range(10))

    async def test_who_comes_while_it_drains_is_not_waited_for(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.system.ref("/gateway/connections").ask, Drain(1.0), 10.0)
                await client.until("draining")
                silent = await here.dial()
                assert await client.ended() == DRAINING
            assert here.connections()  # the silent one, which nobody has asked to leave
            await silent.stream.aclose()

    async def test_who_is_torn_away_by_the_deadline_is_told_the_same(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            path = here.connection(client).path
            here.system.ref(path).tell(Drain(1.0, over=1000.0))
            await client.until("draining")
            here.crash(path)
            assert await client.ended() == DRAINING

    async def test_nobody_new_is_let_in(self) -> None:
        async with gateway_system() as here:
            await here.system.ref("/gateway/connections").ask(Drain(1.0), 10.0)
            raw = await here.dial()
            head = await raw.handshake()
            assert b" 503 " in head
            assert b"Retry-After: " in head
            assert here.counters.connections_refused == {503: 1}
            plain = await here.dial()
            await plain.stream.send_all(b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert b"200" in await plain.read_head()
            assert await plain.read_to_end() == b"/hello"

    async def test_who_has_connected_and_said_nothing_is_not_waited_for(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(connection_module, "HEAD_GRACE", 0.05)
        async with gateway_system() as here:
            raw = await here.dial()
            await here.holds(here.connections)
            await here.system.ref("/gateway/connections").ask(Drain(1.0), 5.0)
            assert await raw.read_to_end() == b""

    async def test_who_is_still_saying_it_is_refused_in_words(self) -> None:
        async with gateway_system() as here:
            raw = await here.dial()
            request = upgrade_request()
            await raw.stream.send_all(request[:40])
            await here.holds(here.connections)
            (path,) = here.connections()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.system.ref("/gateway/connections").ask, Drain(1.0), 10.0)
                await here.holds(lambda: here.system.ref(path).target.actor._drained)
                await raw.stream.send_all(request[40:])
                assert b" 503 " in await raw.read_head()

    async def test_who_is_just_being_let_in_is_sent_away_at_once(self, monkeypatch: Any) -> None:
        accepted, go_on = trio.Event(), trio.Event()

        class SlowSocket(Socket):
            @classmethod
            async def accept(cls, *arguments: Any, **more: Any) -> Socket:
                opened = await Socket.accept(*arguments, **more)
                accepted.set()
                await go_on.wait()
                return opened

        monkeypatch.setattr(connection_module, "Socket", SlowSocket)
        async with gateway_system() as here, trio.open_nursery() as nursery:
            client = await here.connect()
            await accepted.wait()
            nursery.start_soon(here.system.ref("/gateway/connections").ask, Drain(1.0), 10.0)
            await trio.testing.wait_all_tasks_blocked(0.01)
            go_on.set()
            assert await client.ended() == DRAINING

    async def test_http_under_way_is_finished(self) -> None:
        async with gateway_system() as here:
            raw = await here.dial()
            head = b"POST /slow HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n"
            await raw.stream.send_all(head)
            await here.holds(here.connections)
            (path,) = here.connections()
            await here.holds(lambda: here.system.ref(path).target.actor._head_read)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.system.ref("/gateway/connections").ask, Drain(1.0), 10.0)
                await trio.testing.wait_all_tasks_blocked(0.01)
                await raw.stream.send_all(b"ok")
                assert b" 200 " in await raw.read_head()


class TestBeforeTheWebSocket:
    async def test_plain_http_is_served(self) -> None:
        async with gateway_system() as here:
            raw = await here.dial()
            await raw.stream.send_all(b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert b" 200 " in await raw.read_head()
            assert await raw.read_to_end() == b"/hello"
            await here.gone()
            assert here.counters.connections_opened == 0

    async def test_who_leaves_in_the_middle_of_it_is_no_news(self) -> None:
        async with gateway_system() as here:
            raw = await here.dial()
            await raw.stream.send_all(b"POST /slow HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n")
            await here.holds(here.connections)
            raw.reset()
            await here.gone()
            assert here.reports == []

    async def test_refusals_are_counted(self) -> None:
        async with gateway_system() as here:
            for request, status in (
                (upgrade_request("/elsewhere"), b" 404 "),
                (upgrade_request(also=(("Origin", "https://evil.example"),)), b" 403 "),
                (b"nonsense\r\n\r\n", b" 400 "),
            ):
                raw = await here.dial()
                await raw.stream.send_all(request)
                assert status in await raw.read_head()
            await here.gone()
            assert here.counters.connections_refused == {404: 1, 403: 1, 400: 1}
            assert here.counters.connections_opened == 0

    async def test_who_says_nothing_or_leaves_at_once(self) -> None:
        async with gateway_system(head_within=0.05) as here:
            silent, gone = await here.dial(), await here.dial()
            await gone.stream.aclose()
            assert b" 408 " in await silent.read_head()
            await here.gone()
            assert [report for report in here.reports if isinstance(report, Crash)] == []

    async def test_who_leaves_during_the_handshake(self) -> None:
        async with gateway_system() as here:
            for _ in range(20):
                raw = await here.dial()
                await raw.stream.send_all(upgrade_request())
                raw.reset()
            await here.gone()
            assert [report for report in here.reports if isinstance(report, Crash)] == []

    async def test_so_many_of_one_address(self) -> None:
        async with gateway_system(per_address=2) as here:
            first, second = await here.welcomed(), await here.welcomed()
            raw = await here.dial()
            head = await raw.handshake()
            assert b" 429 " in head
            assert b"Retry-After: " in head
            plain = await here.dial()
            await plain.stream.send_all(b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert b" 200 " in await plain.read_head()
            await first.raw.stream.aclose()
            await here.holds(lambda: here.system.ref("/gateway/connections").target.actor.inspect()["websockets"] == 1)
            assert (await (await here.welcomed()).ask("heartbeat"))["type"] == "heartbeat"
            assert (await second.ask("heartbeat"))["type"] == "heartbeat"
            assert here.counters.connections_refused == {429: 1}

    async def test_so_many_in_a_second(self) -> None:
        async with gateway_system(rate=0.001, burst=2) as here:
            for _ in range(2):
                await here.welcomed()
            raw = await here.dial()
            head = await raw.handshake()
            assert b" 503 " in head
            assert b"Retry-After: " in head

    async def test_so_many_of_one_user(self) -> None:
        async with gateway_system(limits={"connections": 2}) as here:
            first, second = await here.welcomed(client_id="one"), await here.welcomed()
            third = await here.connect()
            assert (await third.hello())["metadata"]["code"] == "limit_reached"
            assert await third.ended() == OVER_CAPACITY
            other = await here.welcomed("bob")
            again = await here.welcomed(client_id="one")  # takes the place of the first
            assert await first.ended() == REPLACED
            here.crash("/users/ada")  # who is inside stays inside
            for client in (second, other, again):
                assert (await client.ask("list_runs"))["type"] == "reply"

    async def test_above_the_limit_upgrades_are_refused_in_words_and_then_without(self) -> None:
        async with gateway_system(most=2, spare=1) as here:
            first, second = await here.welcomed(), await here.welcomed()
            third = await here.dial()
            assert b" 503 " in await third.handshake()
            await third.read_to_end()
            await here.holds(lambda: len(here.connections()) == 2)
            waiting = await here.dial()
            await here.holds(lambda: len(here.connections()) == 3)
            fourth = await here.dial()
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await fourth.handshake()
            await waiting.stream.aclose()
            for client in (first, second):
                assert (await client.ask("heartbeat"))["type"] == "heartbeat"


class TestTheTree:
    async def test_it_shows_what_waits(self) -> None:
        async with gateway_system() as here:
            client = await here.welcomed()
            connections = here.system.ref("/gateway/connections").target.actor
            assert connections.inspect() == {"websockets": 1, "draining": False}
            assert here.connection(client).target.actor.inspect()["outbound_bytes"] == 0

    async def test_it_shows_who_is_connected_since_when_and_how_it_came_back(self) -> None:
        async with gateway_system() as here:
            said = {"client": {"platform": "ios"}, "reconnect": {"attempts": 2, "last_code": 1006}}
            client = await here.welcomed(**said)
            shown = here.connection(client).target.actor.inspect()
            assert shown.pop("connected_seconds") >= 0
            assert shown == {
                "open": True,
                "outbound_bytes": 0,
                "user": "ada",
                "client_id": client.frames[0]["metadata"]["client_id"],
                "events_sent": 0,
                "platform": "ios",
                "attempts": 2,
                "last_code": 1006,
            }
            silent = here.connection(await here.welcomed("bob")).target.actor.inspect()
            assert "platform" not in silent

    async def test_a_stream_that_is_accepted_in_vain_is_closed(self) -> None:
        async with gateway_system(most=0, spare=0) as here:
            raw = await here.dial()
            assert await raw.read_to_end() == b""
