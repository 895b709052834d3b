"""Clients of a user that poll instead of listening."""

from __future__ import annotations

import pytest
import trio

from actors.protocol.codes import ErrorCode
from actors.protocol.commands import Resume
from actors.protocol.event_types import GapReason
from actors.users.arrivals import ABOVE
from actors.users.messages import Acknowledge, AwaitNews, CommandError, Locate, Poll, Polled
from runtime import Refused
from tests.support.following import EPOCH, said
from tests.support.users_system import UsersSystem, users_system, virtual


async def poll(here: UsersSystem, client_id: str = "p", resume: Resume | None = None) -> Polled:
    context = await here.users.ask(Locate("ada"), 5)
    polled: Polled = await context.ask(Poll(client_id, resume), 5)
    return polled


def test_who_polls_is_a_client_like_any_other() -> None:
    async def main() -> None:
        async with users_system() as here:
            await said(here, "d1")
            first = await poll(here)
            assert (first.plan.resumed, first.plan.after) == (False, 1)
            await said(here, "d2", "d3")
            again = await poll(here)
            assert (again.plan.resumed, again.plan.after) == (True, 1)
            assert (await poll(here, resume=Resume(EPOCH, 2))).plan.after == 2
            assert here.counters.events_delivered == 1
            await trio.sleep(2)
            here.crash("/users/ada")
            assert (await poll(here)).plan.after == 2
            assert (await here.follow(client="p")).seqs == [3]
            assert here.actor("/users/ada").inspect()["connections"] == 1
            assert (await poll(here, resume=Resume("old", 2))).plan.gap is GapReason.EPOCH
            await trio.sleep(2)
            assert (await poll(here)).plan.after == 2  # perhaps it never heard of the gap
            assert (await poll(here, resume=Resume("old", 2))).plan.gap is GapReason.EPOCH
            await trio.sleep(2)
            assert (await poll(here, resume=Resume(EPOCH, 3))).plan.resumed
            assert here.counters.events_delivered == 1  # that one it has had to do without
            assert (await poll(here)).plan.after == 3

    virtual(main)


def test_who_polls_without_a_name_goes_on_where_it_says() -> None:
    async def main() -> None:
        async with users_system() as here:
            await said(here, "d1")
            assert not (await poll(here, "")).plan.resumed
            assert (await poll(here, "", Resume("old", 0))).plan.gap is GapReason.EPOCH
            assert (await poll(here, "", Resume(EPOCH, 1))).plan.resumed
            assert here.counters.events_delivered == 0  # it was never sent
            await said(here, "d2")
            await poll(here, "", Resume(EPOCH, 2))
            assert here.counters.events_delivered == 1
            assert here.plan.storage.cursors == {}
            assert not (await poll(here, "")).plan.resumed

    virtual(main)


def test_a_question_that_waits_ends_when_the_client_asks_again_or_has_a_websocket() -> None:
    async def main() -> None:
        async with users_system() as here:
            context = await here.users.ask(Locate("ada"), 5)
            answers: list[tuple[str, bool]] = []

            async def wait(name: str, client_id: str) -> None:
                answers.append((name, await context.ask(AwaitNews(0, client_id), 25)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, "nameless", "")
                nursery.start_soon(wait, "first", "p")
                await trio.sleep(1)
                nursery.start_soon(wait, "second", "p")
                await trio.sleep(1)
                assert answers == [("first", False)]
                await here.follow(client="p")
                await trio.sleep(1)
                assert answers == [("first", False), ("second", False)]
                await said(here, "d1")
            assert answers[-1] == ("nameless", True)

    virtual(main)


def test_an_ack_over_http_is_on_the_disk_when_it_is_answered() -> None:
    async def main() -> None:
        async with users_system() as here:
            await poll(here)
            await said(here, "d1", "d2")
            assert await here.context.ask(Acknowledge("p", 1), 5) is True
            assert here.plan.storage.cursors["ada"]["p"].acked == 1
            assert here.counters.events_delivered == 1
            with pytest.raises(Refused) as caught:
                await here.context.ask(Acknowledge("p", 3), 5)
            assert caught.value.reason == CommandError(ErrorCode.BAD_REQUEST, content=ABOVE)
            assert await here.context.ask(Acknowledge("", 2), 5) is True
            here.plan.trouble = True
            with pytest.raises(Refused) as caught:
                await here.context.ask(Acknowledge("p", 2), 5)
            assert caught.value.reason == CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)

    virtual(main)


def test_two_acks_over_http_at_once_are_both_answered() -> None:
    async def main() -> None:
        async with users_system() as here:
            await poll(here)
            await said(here, "d1", "d2")
            here.plan.takes = 0.5
            answers: list[bool] = []

            async def acknowledge(seq: int) -> None:
                answers.append(await here.context.ask(Acknowledge("p", seq), 20))

            async with trio.open_nursery() as nursery:
                for seq in (1, 2, 2):
                    nursery.start_soon(acknowledge, seq)
            assert answers == [True, True, True]
            assert here.plan.storage.cursors["ada"]["p"].acked == 2

    virtual(main)
