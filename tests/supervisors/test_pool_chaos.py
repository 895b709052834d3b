"""Pools under random work, random resizes, failures and kills: what was accepted is begun, once, and in order.

That every message is accounted for, at every mailbox and after the end, is checked where the system is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime import Mailbox
from supervisors import ByKey, Routing
from tests.support.pools import Chaos, shop

if TYPE_CHECKING:
    from trio.testing import MockClock

pytestmark = pytest.mark.repeats
BY_KEY = ByKey(lambda message: message.key)
NO_BOUND = ByKey(lambda message: message.key, slack=float("inf"))


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("routing", [BY_KEY, NO_BOUND], ids=["bound", "no bound"])
async def test_no_message_of_a_key_overtakes_another_whatever_happens(
    autojump_clock: MockClock, seed: int, routing: ByKey
) -> None:
    async with shop(3, routing=routing, drain_within=1, worker={"mailbox": Mailbox(6), "shutdown": 1.0}) as s:
        chaos = Chaos(s, seed)
        await chaos.run()
        for key, numbers in s.floor.order().items():
            assert numbers == sorted(numbers), key
            accepted = chaos.accepted.get(key, [])
            assert [number for number in numbers if number in set(accepted)] == accepted, key
        assert s.floor.overlaps == []
        assert {reason for _, reason in s.lost} <= {"full", "restarting"}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("routing", Routing)
async def test_what_a_pool_has_accepted_is_begun_once_whatever_happens(
    autojump_clock: MockClock, seed: int, routing: Routing
) -> None:
    async with shop(3, routing=routing, drain_within=1, worker={"mailbox": Mailbox(6), "shutdown": 1.0}) as s:
        chaos = Chaos(s, seed)
        await chaos.run()
        begun = [number for _, number in s.floor.began]
        assert len(begun) == len(set(begun))
        assert {number for numbers in chaos.accepted.values() for number in numbers} <= set(begun)
        assert {reason for _, reason in s.lost} <= {"full", "restarting"}
