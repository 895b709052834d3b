"""A Python client of the daemon, on trio.

async with connect("127.0.0.1:12000", rng=random.Random()) as client:
    await client.command("start_run", content="A shop that sells tea by weight")
    async for event in client:
        print(event.type, event.content)
"""

from understudy.client.connection import Client, connect
from understudy.client.envelope import Comeback, Event, Position, Reply, Welcome, websocket_address
from understudy.client.errors import CommandRefused, CommandTooLarge, ConnectionEnded, NoAnswer, Unreachable
from understudy.client.reconnect import reconnect_delay, wait_after
from understudy.client.view import RunView, StepView, apply, apply_delta, load

__all__ = [
    "Client",
    "Comeback",
    "CommandRefused",
    "CommandTooLarge",
    "ConnectionEnded",
    "Event",
    "NoAnswer",
    "Position",
    "Reply",
    "RunView",
    "StepView",
    "Unreachable",
    "Welcome",
    "apply",
    "apply_delta",
    "connect",
    "load",
    "reconnect_delay",
    "wait_after",
    "websocket_address",
]
