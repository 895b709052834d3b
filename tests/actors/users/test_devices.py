"""Clients of a user: where they go on, and who takes whose place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors.protocol.codes import REPLACED
from actors.protocol.commands import Resume
from actors.protocol.event_types import GapReason
from actors.users.context import TRIM_EVERY
from actors.users.messages import Acked, Detach, Handle, Later, Replaced
from runtime import Refused
from tests.support.following import AWAKE, EPOCH, leave, said
from tests.support.memory_journal import Plan
from tests.support.users_system import command, settle, users_system, virtual

if TYPE_CHECKING:
    from tests.support.users_system import Follower


def plan_of(follower: Follower) -> tuple[Any, ...]:
    plan = follower.began.plan
    return plan.resumed, plan.after, plan.gap


# --- going on without saying where


def test_a_new_client_begins_at_the_top() -> None:
    async def main() -> None:
        async with users_system() as here:
            await said(here, "d1", "d2")
            first = await here.follow(client="c")
            assert plan_of(first) == (False, 2, None)
            await said(here, "d3")
            assert first.seqs == [3]

    virtual(main)


def test_one_that_never_acked_goes_on_where_it_first_came_in() -> None:
    async def main() -> None:
        async with users_system() as here:
            await said(here, "d1")
            first = await here.follow(client="c")
            await said(here, "d2", "d3")
            await leave(here, first)
            await said(here, "d4")
            second = await here.follow(client="c")
            assert plan_of(second) == (True, 1, None)
            assert second.seqs == [2, 3, 4]
            await leave(here, second)
            assert (await here.follow(client="c")).seqs == [2, 3, 4]

    virtual(main)


def test_one_that_has_acked_goes_on_there() -> None:
    async def main() -> None:
        async with users_system() as here:
            first = await here.follow(client="c")
            await said(here, "d1", "d2", "d3")
            first.ack(2)
            first.ack(1)
            await leave(here, first)
            assert (await here.follow(client="c")).seqs == [3]
            assert (await here.follow(client="another")).seqs == []

    virtual(main)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 5.0])
def test_over_a_crash_of_the_context_no_ack_is_lost(seconds: float) -> None:
    async def main() -> None:
        async with users_system() as here:
            first = await here.follow(client="c")
            await said(here, "d1", "d2")
            first.ack(2)
            await settle()
            await trio.sleep(seconds)
            here.crash("/users/ada")
            await leave(here, first)
            await said(here, "d3")
            assert (await here.follow(client="c")).seqs == [3]
            assert here.counters.events_delivered == 2

    virtual(main)


def test_the_same_name_of_another_user_is_another_client() -> None:
    async def main() -> None:
        async with users_system() as here:
            await said(here, "d1")
            await here.follow(client="c")
            other = await here.follow(client="c", user="bob")
            await said(here, "d2")
            assert here.followers[0].closed is None
            assert other.seqs == []

    virtual(main)


def test_what_the_client_says_itself_counts_and_is_an_ack() -> None:
    async def main() -> None:
        async with users_system() as here:
            first = await here.follow(client="c")
            await said(here, "d1", "d2", "d3", "d4")
            await leave(here, first)
            second = await here.follow(client="c", resume=Resume(EPOCH, 3))
            assert second.seqs == [4]
            assert here.counters.events_delivered == 3
            await leave(here, second)
            back = await here.follow(client="c", resume=Resume(EPOCH, 1))
            assert back.seqs == [2, 3, 4]
            await leave(here, back)
            assert (await here.follow(client="c")).seqs == [4]  # an ack never goes back
            assert here.counters.events_delivered == 3

    virtual(main)


def test_a_gap_does_not_move_where_a_client_goes_on() -> None:
    async def main() -> None:
        async with users_system() as here:
            first = await here.follow(client="c")
            await said(here, "d1", "d2")
            first.ack(1)
            for resume, gap in ((Resume("old", 1), GapReason.EPOCH), (Resume(EPOCH, 9), GapReason.AHEAD)):
                lost = await here.follow(client="c", resume=resume)
                assert plan_of(lost) == (False, 2, gap)
                assert lost.seqs == []
            await said(here, "d3")
            back = await here.follow(client="c")
            assert back.seqs == [2, 3]  # behind its last ack, which is all that anybody knows of it
            back.ack(3)
            await settle()
            assert here.counters.events_delivered == 3

    virtual(main)


@pytest.mark.parametrize("crash", [False, True])
def test_a_client_that_was_told_of_a_gap_and_acks_what_is_new_goes_on_there(crash: bool) -> None:
    """What it was told to do without has not been delivered."""

    async def main() -> None:
        async with users_system() as here:
            first = await here.follow(client="c")
            await said(here, "d1", "d2", "d3")
            first.ack(1)
            lost = await here.follow(client="c", resume=Resume("old", 1))
            if crash:
                here.crash("/users/ada")
                await trio.sleep(2)
            await said(here, "d4", "d5")
            assert lost.seqs == [4, 5]
            lost.ack(4)
            await leave(here, lost)
            assert here.counters.events_delivered == 2
            assert (await here.follow(client="c")).seqs == [5]

    virtual(main)


def test_what_was_acknowledged_before_a_gap_does_not_count_again_after_a_crash() -> None:
    async def main() -> None:
        async with users_system() as here:
            other = await here.follow(client="other")
            first = await here.follow(client="c")
            await said(here, "d1", "d2", "d3")
            first.ack(3)
            await here.follow(client="c", resume=Resume(EPOCH, 9))
            await trio.sleep(2)
            here.crash("/users/ada")
            await trio.sleep(2)
            other.ack(3)
            await settle()
            assert here.counters.events_delivered == 3

    virtual(main)


def test_a_known_client_whose_events_were_trimmed_hears_of_it() -> None:
    async def main() -> None:
        async with users_system(settings=attrs.evolve(AWAKE, log_events=2)) as here:
            first = await here.follow(client="c")
            await said(here, "d1", "d2", "d3", "d4", "d5")
            first.ack(1)
            await leave(here, first)
            await trio.sleep(TRIM_EVERY)
            second = await here.follow(client="c")
            assert plan_of(second) == (False, 5, GapReason.TRIMMED)
            assert second.began.plan.lost == (2, 3)
            await leave(here, second)
            await said(here, "d6")
            third = await here.follow(client="c")  # perhaps the connection broke before it had heard of it
            assert plan_of(third) == (False, 6, GapReason.TRIMMED)
            assert third.began.plan.lost == (2, 3)
            await leave(here, third)
            last = await here.follow(client="c", resume=Resume(EPOCH, 5))  # it has: it has loaded afresh
            assert (plan_of(last), last.seqs) == ((True, 5, None), [6])
            await leave(here, last)
            assert (await here.follow(client="c")).seqs == [6]

    virtual(main)


def test_a_cursor_of_another_log_is_a_gap() -> None:
    async def main() -> None:
        plan = Plan()
        async with users_system(plan=plan) as here:
            first = await here.follow(client="c")
            await leave(here, first)
            stored = plan.storage.cursors["ada"]["c"]
            plan.storage.cursors["ada"]["c"] = attrs.evolve(stored, epoch="before the backup")
            await said(here, "d1")
            for _ in range(2):
                second = await here.follow(client="c")
                assert plan_of(second) == (False, 1, GapReason.EPOCH)
                await leave(here, second)
                await trio.sleep(2)
            third = await here.follow(client="c")
            here.crash("/users/ada")
            await trio.sleep(2)
            await said(here, "d2")
            third.ack(2)
            await leave(here, third)
            assert here.counters.events_delivered == 1
            await said(here, "d3")
            assert (await here.follow(client="c")).seqs == [3]

    virtual(main)


def test_one_that_stood_in_another_log_and_says_where_it_is_in_this_one_is_taken_at_its_word() -> None:
    async def main() -> None:
        plan = Plan()
        async with users_system(plan=plan) as here:
            first = await here.follow(client="c")
            await leave(here, first)
            stored = plan.storage.cursors["ada"]["c"]
            plan.storage.cursors["ada"]["c"] = attrs.evolve(stored, epoch="before the backup", acked=500)
            await said(here, "d1", "d2", "d3")
            second = await here.follow(client="c", resume=Resume(EPOCH, 1))
            assert second.seqs == [2, 3]
            second.ack(2)
            await leave(here, second)
            assert (await here.follow(client="c")).seqs == [3]

    virtual(main)


# --- takeover


def test_a_newer_hello_of_the_same_client_takes_the_place() -> None:
    async def main() -> None:
        async with users_system() as here:
            old = await here.follow(client="c")
            await trio.sleep(0.1)
            await said(here, "d1", "w1")
            new = await here.follow(client="c")
            assert old.closed == REPLACED
            assert new.closed is None
            await said(here, "w2", "d2")
            assert old.got == [(1, "d1"), (None, "w1")]
            assert new.got == [(1, "d1"), (None, "w1"), (None, "w2"), (2, "d2")]
            assert here.actor("/users/ada").inspect()["connections"] == 1

    virtual(main)


@pytest.mark.parametrize("crash", [False, True])
def test_nothing_of_the_old_connection_counts_any_more(crash: bool) -> None:
    """Its commands and acks wait in the mailbox, perhaps in that of the next incarnation."""

    async def main() -> None:
        async with users_system() as here:
            old = await here.follow(client="c")
            await said(here, "d1", "d2")
            await trio.sleep(0.1)
            await here.follow(client="c")
            if crash:
                here.crash("/users/ada")
            here.context.tell(Acked("c", 2, old.hello_at))
            with pytest.raises(Refused) as caught:
                await here.context.ask(Handle(command({"type": "list_runs"}), "c", old.hello_at), 5)
            assert caught.value.reason == Replaced()
            await trio.sleep(5)
            assert here.counters.events_delivered == 0

    virtual(main)


@pytest.mark.parametrize("first", ["old", "new"])
def test_after_a_crash_of_the_context_the_newer_connection_stays(first: str) -> None:
    """The old one has not heard yet that it was replaced, and both attach again."""

    async def main() -> None:
        async with users_system() as here:
            old = await here.follow(client="c")
            await trio.sleep(0.1)
            here.plan.close_gate()
            new = await here.follow(client="c")
            if first == "old":  # it is back before the newer one has attached at all
                here.crash("/users/ada")
            here.plan.gate.set()
            await trio.sleep(0.5)
            here.crash("/users/ada")
            await trio.sleep(1)
            await said(here, "d1")
            assert old.closed == REPLACED
            assert new.closed is None
            assert new.seqs == [1]

    virtual(main)


def test_a_connection_whose_mailbox_is_full_is_told_when_there_is_room() -> None:
    async def main() -> None:
        async with users_system() as here:
            old = await here.follow(client="c")
            await trio.sleep(0.1)
            here.system.suspend(old.ref.path)
            while old.ref.tell(Later(lambda: None)):
                pass
            await here.follow(client="c")
            await trio.sleep(1)
            assert old.closed is None
            here.system.resume(old.ref.path)
            await trio.sleep(1)
            assert old.closed == REPLACED

    virtual(main)


def test_the_end_of_the_old_connection_is_not_the_end_of_the_new() -> None:
    async def main() -> None:
        async with users_system() as here:
            old = await here.follow(client="c")
            await trio.sleep(0.1)
            new = await here.follow(client="c")
            here.context.tell(Detach(old.ref))
            await leave(here, old)
            await said(here, "d1")
            assert new.seqs == [1]

    virtual(main)


def test_the_order_of_hellos_is_forgotten_when_nobody_can_ask_for_it() -> None:
    async def main() -> None:
        async with users_system(settings=attrs.evolve(AWAKE, idle_after=60.0)) as here:
            await here.follow()
            for _ in range(20):
                await leave(here, await here.follow())
            newest = here.actor("/users/ada").continuity.newest
            assert len(newest) == 21
            await trio.sleep(2000)
            assert list(newest) == [here.followers[0].client_id]
            await leave(here, here.followers[0])
            await trio.sleep(200)
            assert newest == {}

    virtual(main)
