"""Races, run under as many seeds of the scheduler as `--actor-seeds` says (see runtime/testing/README.md)."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import Actor, Spec
from runtime.testing import open_test_system, settle


@pytest.mark.actor_schedule
async def test_no_message_is_lost_around_passivation():
    """A message comes when the actor is about to leave, is leaving, or has left: it is handled all the same."""
    heard: list[object] = []

    class Sleeper(Actor):
        async def receive(self, message: Any) -> None:
            heard.append(message)
            if message == "idle":
                self.passivate()

    async def tell(message: object, later: int) -> None:
        for _ in range(later):
            await trio.lowlevel.checkpoint()
        sleeper.tell(message)

    async with open_test_system() as kit:
        sleeper = await kit.spawn(Spec("sleeper", Sleeper))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell, "idle", 0)
            nursery.start_soon(tell, "work", 1)
        await settle()
        assert "work" in heard
        assert kit.dead_letters == []
