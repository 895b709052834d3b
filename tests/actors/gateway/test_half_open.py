"""A peer that is there no more and has not said so: its system still takes what is sent, or not even that."""

from __future__ import annotations

import signal
import subprocess
import sys

import trio

from actors.protocol.codes import SILENT
from tests.support.gateway_system import gateway_system
from tests.support.raw_websocket import TEXT, encode_frame, upgrade_request

CLIENT = """
import socket, sys
stream = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
stream.sendall(bytes.fromhex(sys.argv[2]))
while b"welcome" not in stream.recv(65536):
    pass
print("inside", flush=True)
sys.stdin.read()
"""
"""Says hello, and then is a program that does not even answer pings: it is stopped."""


async def test_a_program_that_was_stopped_is_found_and_said() -> None:
    """No end of file and no reset comes, writing works, and acks of TCP come: only the silence says it."""
    hello = b'{"id": "h", "type": "hello", "metadata": {"user_id": "ada"}}'
    said = (upgrade_request() + encode_frame(TEXT, hello)).hex()
    async with gateway_system(heartbeat_interval=0.3, silent_intervals=3, close_within=0.2) as here:
        command = [sys.executable, "-c", CLIENT, str(here.port), said]
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            with trio.fail_after(20):
                assert b"inside" in await process.stdout.receive_some()
            process.send_signal(signal.SIGSTOP)
            other = await here.welcomed("bob")  # not before: until somebody reads for it, it is silent as well
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other.ended)  # answers its pings
                await here.holds(lambda: here.counters.connections_closed)
                nursery.cancel_scope.cancel()
            assert here.counters.connections_closed == {SILENT: 1}
            (line,) = (line for line in here.logs if line["event"] == "connection closed")
            assert (line["user"], line["code"], line["by"]) == ("ada", SILENT, "server")
            assert line["why"] == "three silent intervals"
            assert line["seconds"] >= 0.9
            assert other.pings >= 3
            assert other.code is None
        finally:
            process.kill()
            await process.wait()
