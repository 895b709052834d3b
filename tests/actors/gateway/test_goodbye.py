"""Thousands are told to go a few at a time: nobody is held up by it, and all go by the same time."""

from __future__ import annotations

import pytest
import trio

from actors.gateway import gateway as gateway_module
from actors.gateway.gateway import Connections, told_by
from actors.gateway.messages import Drain
from actors.protocol.codes import DRAINING
from tests.support.gateway_system import gateway_system


@pytest.mark.parametrize(
    ("elapsed", "over", "told"),
    [(0.0, 5.0, 0), (0.01, 5.0, 40), (1.25, 5.0, 5_000), (2.5, 5.0, 10_000), (9.0, 5.0, 10_000), (0.0, 0.0, 10_000)],
)
def test_all_are_told_in_half_of_the_time(elapsed: float, over: float, told: int) -> None:
    assert told_by(10_000, elapsed, over) == told
    assert told_by(0, elapsed, over) == 0


def noted_turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many are left to be told, after each turn of telling."""
    left: list[int] = []
    tell_more = Connections._tell_more

    def noted(connections: Connections) -> None:
        tell_more(connections)
        left.append(len(connections._to_tell))

    monkeypatch.setattr(Connections, "_tell_more", noted)
    return left


async def test_a_loop_that_has_much_to_do_has_nobody_told_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two turns are all that there are: the second comes when half of the time is over."""
    monkeypatch.setattr(gateway_module, "TELL_AT_ONCE", 1)
    monkeypatch.setattr(gateway_module, "TELL_EVERY", 0.3)
    monkeypatch.setattr(gateway_module, "LEAVE_A_SECOND", 20)
    left = noted_turns(monkeypatch)
    async with gateway_system() as here:
        clients = [await here.welcomed(f"user{number}") for number in range(10)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.system.ref("/gateway/connections").ask, Drain(3.0, over=1000.0), 20.0)
            for client in clients:
                assert await client.ended() == DRAINING
        assert left == [9, 0]


async def test_the_goodbyes_come_in_batches_and_everybody_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_module, "TELL_AT_ONCE", 3)
    monkeypatch.setattr(gateway_module, "LEAVE_A_SECOND", 20)
    left = noted_turns(monkeypatch)
    async with gateway_system() as here:
        clients = [await here.welcomed(f"user{number}") for number in range(10)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.system.ref("/gateway/connections").ask, Drain(3.0, over=1000.0), 20.0)
            for client in clients:
                assert await client.ended() == DRAINING
                assert [frame["type"] for frame in client.frames].count("draining") == 1
                client.verify()
        assert left[0] == 7
        assert left[-1] == 0
        assert left == sorted(left, reverse=True)
        assert here.counters.connections_closed == {DRAINING: 10}


async def test_who_goes_before_being_told_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_module, "TELL_AT_ONCE", 1)
    monkeypatch.setattr(gateway_module, "TELL_EVERY", 0.2)
    monkeypatch.setattr(gateway_module, "LEAVE_A_SECOND", 1)
    async with gateway_system() as here:
        first = await here.welcomed("ada")
        second = await here.welcomed("bob")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.system.ref("/gateway/connections").ask, Drain(1.0, over=1000.0), 20.0)
            await first.until("draining")
            await second.raw.stream.aclose()
            assert await first.ended() == DRAINING
        assert here.counters.connections_closed == {DRAINING: 1, 1006: 1}


async def test_who_cannot_be_told_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connections, "child", lambda _connections, _name: None)
    async with gateway_system() as here:
        await here.welcomed()
        assert await here.system.ref("/gateway/connections").ask(Drain(1.0), 10.0)
        assert here.connections()
