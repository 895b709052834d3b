"""Places shared by users: whoever comes finds one, or has the next."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
import trio.testing

from actors.engines.places import Places


class Site:
    """Users at work in these places; `held` says who has how many."""

    def __init__(self, nursery: trio.Nursery, number: int) -> None:
        self.places = Places(number)
        self.held: dict[str, list[trio.CancelScope]] = {}
        self.order: list[str] = []
        self._nursery = nursery

    async def come(self, user: str, times: int = 1) -> list[trio.CancelScope]:
        scopes = [trio.CancelScope() for _ in range(times)]
        for scope in scopes:
            self._nursery.start_soon(self._hold, user, scope)
            await trio.testing.wait_all_tasks_blocked()
        return scopes

    async def _hold(self, user: str, scope: trio.CancelScope) -> None:
        with scope:
            async with self.places.one(user):
                self.order.append(user)
                mine = self.held.setdefault(user, [])
                mine.append(scope)
                try:
                    await trio.sleep_forever()
                finally:
                    mine.remove(scope)

    def count(self, user: str) -> int:
        return len(self.held.get(user, ()))

    async def end(self, user: str) -> None:
        self.held[user][0].cancel()
        await trio.testing.wait_all_tasks_blocked()


async def test_one_user_alone_leaves_a_tenth_and_who_comes_finds_a_place(nursery: trio.Nursery) -> None:
    here = Site(nursery, 20)
    await here.come("flood", 100)
    assert here.count("flood") == 18
    await here.come("ada")
    await here.come("bob")
    assert (here.count("ada"), here.count("bob")) == (1, 1)
    await here.come("ada", 3)
    for _ in range(3):
        await here.end("flood")
    assert (here.count("flood"), here.count("ada")) == (15, 4), "what becomes free goes to who has the fewest"


async def test_two_who_want_everything_share_it(nursery: trio.Nursery) -> None:
    here = Site(nursery, 20)
    await here.come("ada", 50)
    await here.come("bob", 50)
    for _ in range(10):
        await here.end("ada")
    assert (here.count("ada"), here.count("bob")) == (10, 10)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_few_places_are_all_used(nursery: trio.Nursery, number: int) -> None:
    here = Site(nursery, number)
    await here.come("ada", 9)
    assert here.count("ada") == number
    await here.come("bob", 9)
    await here.end("ada")
    await here.end("ada")
    assert here.order[number:].count("bob") >= 1, "in turn, where all have the same"


async def test_who_no_longer_waits_holds_nobody_up(nursery: trio.Nursery) -> None:
    here = Site(nursery, 1)
    await here.come("ada")
    [bob] = await here.come("bob")
    await here.come("eve")
    bob.cancel()
    await trio.testing.wait_all_tasks_blocked()
    await here.end("ada")
    assert here.order == ["ada", "eve"]


async def test_one_who_is_cancelled_as_the_place_comes_gives_it_on(nursery: trio.Nursery) -> None:
    here = Site(nursery, 1)
    [ada] = await here.come("ada")
    [bob] = await here.come("bob")
    await here.come("eve")
    ada.cancel()
    bob.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert here.count("eve") == 1


async def test_whatever_comes_and_goes_no_place_is_lost_or_given_twice(nursery: trio.Nursery) -> None:
    rng = random.Random(7)
    here = Site(nursery, 5)
    scopes: list[Any] = []
    for _ in range(300):
        if scopes and rng.random() < 0.5:
            scopes.pop(rng.randrange(len(scopes))).cancel()
            await trio.testing.wait_all_tasks_blocked()
        else:
            scopes += await here.come(rng.choice("abc"))
        assert sum(map(here.count, "abc")) == min(5, len(scopes))
    for scope in scopes:
        scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    await here.come("d", 5)
    assert here.count("d") == 5
