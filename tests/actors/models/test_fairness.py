"""Twenty users at one gate, one of whom floods: the waiting time of the others does not double. In virtual time."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors.models.fair_line import FairLine
from actors.models.limiter import Limiter
from runtime import Refused
from supervisors import Outcome
from tests.support.gate_site import opened

if TYPE_CHECKING:
    from tests.support.gate_site import Site

pytestmark = pytest.mark.repeats

WARM = 70.0
"""Seconds until everybody's last minute is known; then the flood begins, and waiting times count."""
SECONDS = 90.0
USERS = [f"u{number}" for number in range(20)]
FLOODER = "flooder"
FLOOD = 8.0
"""Requests a second, nearly twice what the gate lets through."""


async def come_and_go(site: Site, user: str, every: float, lasts: float, waits: dict[str, list[float]]) -> None:
    """One user: requests at random times, each of which takes a random time once it is let through."""
    rng = random.Random(user)
    async with trio.open_nursery() as nursery:
        while True:
            await trio.sleep(rng.expovariate(1 / every))
            nursery.start_soon(one_request, site, user, rng.expovariate(1 / lasts), waits)


async def one_request(site: Site, user: str, lasts: float, waits: dict[str, list[float]]) -> None:
    began = trio.current_time()
    ticket = site.ledger.admit(began)
    acquire = attrs.evolve(site.acquire(ticket=ticket, tokens=300, deadline=began + 600), user=user)
    try:
        lease = await site.gate.ask(acquire, within=600)
    except Refused:  # more wait than may: of those who flood, and of nobody else
        waits.setdefault(user, []).append(math.inf)
        return
    waits.setdefault(user, []).append(trio.current_time() - began)
    await trio.sleep(lasts)
    site.settle(lease, Outcome.SUCCESS, tokens_used=300)


async def mean_wait_of_the_others(flooded: bool, every: float, lasts: float, **limits: Any) -> float:
    """With twenty users, of whom one behaves as the others do, or floods."""
    waits: dict[str, list[float]] = {}
    async with opened(waiting=200, **limits) as site, trio.open_nursery() as nursery:
        for user in USERS[1:]:
            nursery.start_soon(come_and_go, site, user, every, lasts, waits)
        if not flooded:
            nursery.start_soon(come_and_go, site, USERS[0], every, lasts, waits)
        await trio.sleep(WARM)
        waits.clear()
        if flooded:
            nursery.start_soon(come_and_go, site, FLOODER, 1 / FLOOD, lasts, waits)
        await trio.sleep(SECONDS)
        nursery.cancel_scope.cancel()
    others = [wait for user in USERS[1:] for wait in waits.get(user, [])]
    assert len(others) > 50
    return sum(others) / len(others)


# Each busy to some nine tenths by twenty users who behave, so that these wait a little as well.
BUSY: list[tuple[str, float, float, dict[str, int]]] = [
    ("in flight", 4.4, 1.0, {"in_flight": 5}),
    ("requests a minute", 4.4, 0.5, {"requests_per_minute": 300}),
    ("tokens a minute", 4.4, 0.5, {"tokens_per_minute": 90_000}),
    ("all of them", 4.4, 1.0, {"in_flight": 5, "requests_per_minute": 300, "tokens_per_minute": 90_000}),
]


@pytest.mark.parametrize(("what", "every", "lasts", "limits"), BUSY, ids=[case[0] for case in BUSY])
async def test_the_others_waiting_time_does_not_double(
    autojump_clock: MockClock, what: str, every: float, lasts: float, limits: dict[str, int]
):
    before = await mean_wait_of_the_others(False, every, lasts, **limits)
    during = await mean_wait_of_the_others(True, every, lasts, **limits)
    assert during <= 2 * before + 0.02, (before, during)


async def test_first_come_first_served_would_double_it(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch):
    """That the test above can tell."""
    monkeypatch.setattr(Limiter, "shares", lambda *arguments: True)
    monkeypatch.setattr(FairLine, "first", lambda line: sorted(line, key=lambda waiter: waiter.since)[:1])
    _, every, lasts, limits = BUSY[0]
    # The order alone is not what `served` expects: it only has to go through.
    before = await mean_wait_of_the_others(False, every, lasts, **limits)
    during = await mean_wait_of_the_others(True, every, lasts, **limits)
    assert during > 4 * before + 1, (before, during)
