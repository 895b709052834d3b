"""The cheap client: its frames, what it makes of a server's, and how it talks to each kind."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from bench.delivery.dialects import SOCKET_IO, Bare, SocketIo, Understudy, dialect
from bench.delivery.frames import PING, TEXT, Frame, Head, masked, request, take_frames, take_head
from bench.delivery.processes import Cores, allow_files, busy_seconds, cpu_seconds, resident_bytes
from bench.delivery.swarm import NotServed, Swarm
from bench.figures import OWN
from bench.peers.pushing import order
from tests.support.raw_websocket import encode_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and waits with epoll")

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def plain(payload: bytes, opcode: int = TEXT) -> bytes:
    return encode_frame(opcode, payload, masked=False)


# --- frames


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_of_any_length_are_taken_whole(size: int):
    payload = b"x" * size
    received = bytearray(plain(payload) + plain(b"next")[:3])
    assert list(take_frames(received)) == [Frame(TEXT, payload)]
    assert bytes(received) == plain(b"next")[:3]


def test_frames_that_arrive_byte_by_byte():
    received, found = bytearray(), []
    for byte in plain(b"a" * 200) + plain(b"", PING):
        received.append(byte)
        found += take_frames(received)
    assert found == [Frame(TEXT, b"a" * 200), Frame(PING, b"")]


@pytest.mark.parametrize("size", [5, 200, 70_000])
def test_a_mask_of_zeros_is_a_mask(size: int):
    sent = masked(TEXT, b"y" * size)
    assert sent[1] & 0x80
    assert sent[-size - 4 :] == b"\0\0\0\0" + b"y" * size
    assert len(sent) == len(encode_frame(TEXT, b"y" * size))


def test_the_head_of_an_answer():
    received = bytearray(b"HTTP/1.1 503 Busy\r\nRetry-After: 2.5\r\n\r\nrest")
    assert take_head(received) == Head(503, 2.5)
    assert bytes(received) == b"rest"
    assert take_head(bytearray(b"HTTP/1.1 101 Sw")) is None
    assert request("/ws", 80).startswith(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:80\r\n")


# --- dialects


def test_the_daemon_is_spoken_to_in_its_protocol():
    ours = dialect(OWN)
    hello = json.loads(ours.greeting("u", "c", ("e", 7)) or b"")
    assert hello["metadata"] == {"user_id": "u", "client_id": "c", "resume": {"epoch": "e", "seq": 7}}
    assert "resume" not in json.loads(Understudy().greeting("u", "c", None))["metadata"]
    assert ours.welcomes(b'{"type":"welcome","metadata":{"seq":3}}') == {"seq": 3}
    assert ours.welcomes(b'{"type":"error"}') is None
    assert ours.pong(b'{"type":"heartbeat"}')


def test_bare_servers_echo_and_push():
    bare = dialect("aiohttp")
    assert isinstance(bare, Bare)
    assert bare.pong(bare.ping(4))
    assert order(bare.push(3, 5).decode()) == (3, "xxxxx")
    assert order("echo 1") is None


def test_socket_io_has_packets_of_its_own():
    socket_io = dialect(SOCKET_IO)
    assert isinstance(socket_io, SocketIo)
    assert socket_io.automatic(b"2") == b"3"
    assert socket_io.automatic(b'0{"sid":"x"}') == b""
    assert socket_io.automatic(b'42["said","hello"]') is None
    assert socket_io.welcomes(b'40{"sid":"x"}') == {}
    assert socket_io.pong(b'42["said","echo 1"]')
    assert socket_io.push(1, 2) == b'42["say","push 1 2"]'


# --- the swarm, against a server that says what it is told to


@pytest.fixture
def server() -> Iterator[Callable[[bytes], Swarm]]:
    """Gives a swarm for a server that answers every handshake with these bytes."""
    listener = socket.create_server(("127.0.0.1", 0))
    swarms: list[Swarm] = []

    def start(answer: bytes) -> Swarm:
        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(answer)
                while connection.recv(4096):  # until the client goes
                    pass

        threading.Thread(target=serve, daemon=True).start()
        swarms.append(Swarm(listener.getsockname()[1], Understudy()))
        return swarms[-1]

    yield start
    for swarm in swarms:
        swarm.close()
    listener.close()


def welcome(*, seq: int, replayed: int = 0) -> bytes:
    metadata = {"epoch": "e", "seq": seq, "replayed": replayed, "resumed": True}
    return plain(json.dumps({"type": "welcome", "metadata": metadata}, separators=(",", ":")).encode())


def event(seq: int) -> bytes:
    return plain(b'{"seq":%d,"type":"system"}' % seq)


def test_a_client_has_arrived_when_it_has_what_it_missed(server: Callable[[bytes], Swarm]):
    swarm = server(SWITCHED + welcome(seq=3, replayed=2) + event(2) + event(3))
    (client,) = swarm.join(["u"])
    swarm.open_all([client])
    swarm.run(lambda: swarm.arrived == 1, 10.0, "arriving")
    assert (client.seq, client.missing, swarm.texts, swarm.inside) == (3, 0, 2, 1)
    client.close()
    assert (swarm.inside, swarm.arrived) == (0, 0)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (SWITCHED + welcome(seq=1) + event(3), "after event 1 came 3"),
        (SWITCHED + welcome(seq=1) + event(1), "after event 1 came 1"),
        (SWITCHED + event(1), "instead of a welcome"),
        (SWITCHED + welcome(seq=1) + plain((4413).to_bytes(2, "big") + b"too slow", 8), "closed with 4413 'too slow'"),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 2\r\n\r\n", "refused 503"),
    ],
)
def test_a_server_that_cheats_is_not_measured(server: Callable[[bytes], Swarm], answer: bytes, why: str):
    swarm = server(answer)
    swarm.open_all(swarm.join(["u"]))
    with pytest.raises(NotServed, match=why):
        swarm.run(lambda: False, 10.0, "nothing")


def test_nothing_is_waited_for_for_ever(server: Callable[[bytes], Swarm]):
    swarm = server(SWITCHED)
    swarm.open_all(swarm.join(["u"]))
    with pytest.raises(NotServed, match=r"entering: not within 0\.05 s; 0 clients are inside"):
        swarm.run(lambda: swarm.inside == 1, 0.05, "entering")


def test_who_is_refused_may_come_again(server: Callable[[bytes], Swarm]):
    swarm = server(b"HTTP/1.1 503 Busy\r\nRetry-After: 2\r\n\r\n")
    (client,) = swarm.join(["u"])
    waits: list[float] = []
    swarm.on_lost = lambda lost: waits.append(lost.retry_after)
    swarm.open_all([client])
    swarm.run(lambda: bool(waits), 10.0, "the refusal")
    assert waits == [2.0]
    assert swarm.ended == {"refused 503": 1}


# --- processes


def test_a_process_is_seen_from_outside():
    before = cpu_seconds(os.getpid())
    assert before <= cpu_seconds(os.getpid())
    assert 1_000_000 < resident_bytes(os.getpid()) < 10**11
    assert busy_seconds() > 0


def test_the_server_has_a_core_of_its_own_where_there_are_two():
    assert Cores.of({0, 1, 2}) == Cores(frozenset({2}), frozenset({0, 1}))
    assert Cores.of({0}) == Cores(frozenset({0}), frozenset({0}))


def test_no_more_files_are_promised_than_there_are():
    assert allow_files(16) >= 16
