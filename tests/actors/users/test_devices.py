"""Clients of a user: where they go on, who takes whose place, what counts as delivered, and what is written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors.protocol.codes import REPLACED, ErrorCode
from actors.protocol.commands import Resume
from actors.protocol.event_types import GapReason
from actors.storage.attending import Arrive, MoveCursors
from actors.storage.interface import MOST_CURSORS
from actors.storage.journal import Append
from actors.users.arrivals import ABOVE
from actors.users.context import TRIM_EVERY, ContextSettings
from actors.users.messages import (
    Acked,
    Acknowledge,
    AwaitNews,
    CommandError,
    Detach,
    Handle,
    Later,
    Locate,
    Poll,
    Polled,
    Replaced,
)
from runtime import Refused
from tests.support.memory_journal import Plan
from tests.support.users_system import UsersSystem, command, settle, users_system, virtual

if TYPE_CHECKING:
    from tests.support.users_system import Follower

EPOCH = "epoch-ada"
AWAKE = ContextSettings(idle_after=1e6, log_events=20_000, log_seconds=604_800.0)


async def said(here: UsersSystem, *names: str) -> None:
    await here.say(*names)
    await trio.sleep(0.1)


async def leave(here: UsersSystem, follower: Follower) -> None:
    here.system.root.actor.stop_child(follower.ref.path[1:])  # type: ignore[union-attr]
    await trio.sleep(0.1)


def plan_of(follower: Follower) -> tuple[Any, ...]:
    plan = follower.began.plan
    return plan.resumed, plan.after, plan.gap


def writes(here: UsersSystem) -> list[MoveCursors]:
    return [message for message in here.plan.heard if isinstance(message, MoveCursors)]


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


def test_after_a_gap_it_goes_on_from_the_top() -> None:
    async def main() -> None:
        async with users_system() as here:
            first = await here.follow(client="c")
            await said(here, "d1", "d2")
            first.ack(1)
            for resume, gap in ((Resume("old", 1), GapReason.EPOCH), (Resume(EPOCH, 9), GapReason.AHEAD)):
                lost = await here.follow(client="c", resume=resume)
                assert plan_of(lost) == (False, 2, gap)
            await said(here, "d3")
            assert (await here.follow(client="c")).seqs == [3]

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
            assert plan_of(await here.follow(client="c")) == (False, 1, GapReason.EPOCH)

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


# --- what counts as delivered


def test_trap_1_an_event_that_was_only_queued_or_sent_does_not_count_as_delivered() -> None:
    """Trap 1: an event counted as delivered when it was only queued, or when there was no socket at all."""

    async def main() -> None:
        async with users_system() as here:
            await said(here, "d1", "d2")  # there is no socket at all
            await trio.sleep(10)
            assert here.counters.events_delivered == 0
            first = await here.follow(client="c")  # begins at the top, and is never sent these two
            await said(here, "d3", "d4")
            assert first.seqs == [3, 4]  # sent
            assert here.counters.events_delivered == 0
            first.ack(3)
            await settle()
            assert here.counters.events_delivered == 1
            late = await here.follow(client="late", resume=Resume(EPOCH, 0))
            late.ack(4)
            await settle()
            assert here.counters.events_delivered == 4

    virtual(main)


def test_trap_3_what_was_missed_is_kept_for_the_client_and_not_for_the_connection() -> None:
    """Trap 3: an offline queue keyed by an id that changes on reconnect, so that nothing in it was ever delivered."""

    async def main() -> None:
        async with users_system() as here:
            first = await here.follow(client="c")
            await said(here, "d1")
            first.ack(1)
            await leave(here, first)
            await said(here, "d2", "d3")
            second = await here.follow(client="c")
            assert second.ref is not first.ref
            assert [text for _, text in second.got] == ["d2", "d3"]
            second.ack(3)
            await settle()
            assert here.counters.events_delivered == 3

    virtual(main)


def test_each_event_counts_as_delivered_once() -> None:
    async def main() -> None:
        async with users_system() as here:
            for client in ("a", "b", "c"):
                await here.follow(client=client)
            await said(here, *(f"d{n}" for n in range(1, 6)))
            a, b, c = here.followers
            for follower, seq, delivered in ((a, 2, 2), (a, 2, 2), (b, 4, 4), (a, 1, 4), (b, 99, 5), (c, 5, 5)):
                follower.ack(seq)
                await settle()
                assert here.counters.events_delivered == delivered

    virtual(main)


@pytest.mark.parametrize("how", ["crash", "sleep"])
def test_no_event_counts_as_delivered_twice_over_a_crash_or_a_sleep(how: str) -> None:
    async def main() -> None:
        async with users_system(settings=attrs.evolve(AWAKE, idle_after=10.0)) as here:
            first = await here.follow(client="a")
            await said(here, "d1", "d2")
            first.ack(2)
            await trio.sleep(2)
            if how == "crash":
                here.crash("/users/ada")
            await leave(here, first)
            await trio.sleep(100)
            other = await here.follow(client="b", resume=Resume(EPOCH, 0))
            other.ack(2)
            await settle()
            assert here.counters.events_delivered == 2

    virtual(main)


# --- what is written down


def test_acks_are_written_once_a_second_and_with_the_next_commit() -> None:
    async def main() -> None:
        async with users_system() as here:
            first = await here.follow(client="c")
            await said(here, *(f"d{n}" for n in range(1, 10)))
            await trio.sleep(5)
            before = len(writes(here))
            for seq in range(1, 9):
                first.ack(seq)
                await trio.sleep(0.1)
            assert len(writes(here)) == before
            await trio.sleep(1)
            assert [cursor.acked for write in writes(here)[before:] for cursor in write.cursors] == [8]
            first.ack(9)
            await settle()
            await said(here, "d10")
            at = [isinstance(message, MoveCursors) for message in here.plan.heard]
            assert at[-2:] == [True, False]
            assert isinstance(here.plan.heard[-1], Append)
            assert here.plan.storage.cursors["ada"]["c"].acked == 9

    virtual(main)


def test_a_known_client_that_comes_and_goes_writes_once() -> None:
    async def main() -> None:
        async with users_system() as here:
            await leave(here, await here.follow(client="c"))
            await trio.sleep(10)
            assert len(writes(here)) == 1
            await here.follow(client="c")
            await trio.sleep(10)
            assert len(writes(here)) == 1

    virtual(main)


def test_what_storage_does_not_take_is_written_later() -> None:
    async def main() -> None:
        async with users_system() as here:
            first = await here.follow(client="c")
            await said(here, "d1")
            here.plan.trouble = True
            first.ack(1)
            await trio.sleep(20)
            await leave(here, first)
            assert here.plan.storage.cursors["ada"]["c"].acked is None
            here.plan.trouble = False
            await trio.sleep(2)
            assert here.plan.storage.cursors["ada"]["c"].acked == 1
            assert here.actor("/users/ada").devices.all() == []

    virtual(main)


def test_an_idle_context_writes_before_it_leaves() -> None:
    async def main() -> None:
        async with users_system(settings=attrs.evolve(AWAKE, idle_after=10.0)) as here:
            first = await here.follow(client="c")
            await said(here, "d1")
            first.ack(1)
            here.plan.trouble = True
            await leave(here, first)
            await trio.sleep(100)
            assert here.actor("/users/ada") is not None
            here.plan.trouble = False
            await trio.sleep(100)
            assert here.plan.storage.cursors["ada"]["c"].acked == 1
            node = here.system.tree().find("/users/ada")
            assert node is None or node.state != "running"

    virtual(main)


def test_fifty_clients_are_kept_and_the_longest_unseen_goes_first() -> None:
    """The clients of one user are 50 at most; one that is open is never forgotten."""

    async def main() -> None:
        async with users_system() as here:
            kept = await here.follow(client="open")
            await leave(here, await here.follow(client="oldest"))
            for number in range(MOST_CURSORS - 2):
                await leave(here, await here.follow(client=f"c{number}"))
            assert len(here.plan.storage.cursors["ada"]) == MOST_CURSORS
            await here.follow(client="one more")
            arrive = [message for message in here.plan.heard if isinstance(message, Arrive)][-1]
            assert arrive.arrival.keep == ("open",)
            await said(here, "d1")
            assert kept.seqs == [1]

    virtual(main)


# --- trimming under a replay


def test_the_log_is_not_cut_under_a_client_that_is_being_sent_it() -> None:
    async def main() -> None:
        async with users_system(settings=attrs.evolve(AWAKE, log_events=2)) as here:
            await here.follow()
            await said(here, "d1", "d2", "d3", "d4", "d5")
            await trio.sleep(TRIM_EVERY - 5)
            slow = await here.follow(client="c", resume=Resume(EPOCH, 1))
            await trio.sleep(10)
            assert here.contents() == ["d2", "d3", "d4", "d5"]
            slow.ack(5)
            await trio.sleep(TRIM_EVERY)
            assert here.contents() == ["d4", "d5"]

    virtual(main)


def test_but_not_for_ever() -> None:
    async def main() -> None:
        async with users_system(settings=attrs.evolve(AWAKE, log_events=2)) as here:
            await said(here, "d1", "d2", "d3")
            await here.follow(client="c", resume=Resume(EPOCH, 0))
            await trio.sleep(2.5 * TRIM_EVERY)
            assert here.contents() == ["d2", "d3"]

    virtual(main)


# --- polling


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

    virtual(main)


def test_who_polls_without_a_name_goes_on_where_it_says() -> None:
    async def main() -> None:
        async with users_system() as here:
            await said(here, "d1")
            assert not (await poll(here, "")).plan.resumed
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
