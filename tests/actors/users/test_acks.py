"""Clients of a user: what counts as delivered, and what is written down."""

from __future__ import annotations

import attrs
import pytest
import trio

from actors.protocol.commands import Resume
from actors.storage.attending import Arrive, MoveCursors
from actors.storage.interface import MOST_CURSORS
from actors.storage.journal import Append
from actors.users.context import TRIM_EVERY
from tests.support.following import AWAKE, EPOCH, leave, said
from tests.support.users_system import UsersSystem, settle, users_system, virtual


def writes(here: UsersSystem) -> list[MoveCursors]:
    return [message for message in here.plan.heard if isinstance(message, MoveCursors)]


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
