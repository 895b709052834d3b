"""Silent failures: what counts as one, what does not, and that somebody really looks."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from actors.users.context import ContextSettings
from actors.users.coverage import Coverage
from actors.users.device import Device
from actors.users.silence import DueEvents, Found, SilentFailure
from tests.support.users_system import UsersSystem, settle, users_system, virtual

SETTINGS = ContextSettings(idle_after=1e6, log_events=20_000, log_seconds=604_800.0)


def device(acked: int, *, acks_since: float = 0.0, joined: int = 0, moved_at: float = 0.0) -> Device:
    """One that is connected."""
    connection: Any = object()
    return Device("c", 0, acked, connection=connection, joined=joined, acks_since=acks_since, moved_at=moved_at)


class TestDueEvents:
    def test_what_is_acknowledged_is_settled_from_the_oldest_on(self) -> None:
        due, coverage = DueEvents(60.0), Coverage()
        due.add(0, 1, 0.0)
        due.add(1, 2, 0.1)
        due.add(2, 3, 10.0)
        assert len(due) == 3
        assert due.next_look == 60.0
        coverage.add(0, 1)
        assert due.settle(coverage) == 0  # together with the next
        coverage.add(0, 2)
        assert due.settle(coverage) == 2
        assert due.next_look == 70.0
        coverage.add(2, 3)
        assert due.settle(coverage) == 1
        assert due.next_look is None

    def test_who_was_there_and_has_not_acknowledged_it_is_named(self) -> None:
        due, coverage = DueEvents(60.0), Coverage()
        due.add(5, 8, 10.0)
        assert due.look(69.9, coverage, [device(5)]) == Found()
        coverage.add(0, 6)
        assert due.look(70.0, coverage, [device(6)]) == Found(1, 2, ("c",))
        assert not due

    @pytest.mark.parametrize(
        "there",
        [
            [],
            [device(0, acks_since=10.5)],
            [device(8)],
            [Device("c", 0, 5, acks_since=0.0)],
        ],
        ids=["nobody", "has not acked before", "has acknowledged it", "has left"],
    )
    def test_it_is_nobodys_silence(self, there: list[Device]) -> None:
        due = DueEvents(60.0)
        due.add(5, 8, 10.0)
        assert due.look(70.0, Coverage(), there) == Found()
        assert not due

    def test_during_a_replay_only_a_standstill_counts(self) -> None:
        due, coverage = DueEvents(60.0), Coverage()
        due.add(1000, 1001, 10.0)
        slow = device(300, joined=1000, moved_at=65.0)
        assert due.look(70.0, coverage, [slow]) == Found()
        assert due.next_look == 125.0
        assert due.look(125.0, coverage, [slow]) == Found(0, 1, ("c",))

    def test_what_is_due_already_is_not_added_again(self) -> None:
        due = DueEvents(60.0)
        due.add(5, 8, 10.0)
        due.add(3, 8, 20.0)
        due.add(4, 9, 20.0)
        assert len(due) == 4


async def attending(here: UsersSystem) -> None:
    """A client that has acknowledged the first event."""
    await here.follow()
    await here.say("d1")
    await trio.sleep(1)
    here.followers[0].ack(1)
    await settle()


def test_an_event_that_a_connected_client_does_not_acknowledge_is_found() -> None:
    async def main() -> None:
        async with users_system(settings=SETTINGS) as here:
            await attending(here)
            await here.say("d2", "d3")
            await trio.sleep(59)
            assert here.silent == []
            await trio.sleep(2)
            assert here.silent == [
                SilentFailure("ada", "unacknowledged", 2, 60.0, (here.followers[0].client_id,)),
            ]
            counters = here.counters
            assert counters.silent_failures == {"unacknowledged": 2}
            assert (counters.events_due, counters.events_due_acknowledged) == (2, 0)
            here.followers[0].ack(3)
            await trio.sleep(200)
            assert len(here.silent) == 1
            assert counters.events_delivered == 3
            await here.say("d4")
            await trio.sleep(10)
            here.followers[0].ack(4)
            await trio.sleep(100)
            assert (counters.events_due, counters.events_due_acknowledged) == (3, 1)
            assert len(here.silent) == 1

    virtual(main)


def test_the_time_is_configured() -> None:
    async def main() -> None:
        async with users_system(settings=attrs.evolve(SETTINGS, acknowledged_within=5.0)) as here:
            await attending(here)
            await here.say("d2")
            await trio.sleep(6)
            assert [failure.seconds for failure in here.silent] == [5.0]

    virtual(main)


def test_a_client_that_never_acks_cannot_be_missed() -> None:
    async def main() -> None:
        async with users_system(settings=SETTINGS) as here:
            await here.follow()
            await here.follow(client="r")
            await here.say("d1", "d2")
            await trio.sleep(200)
            assert here.silent == []
            assert here.counters.events_due == 0

    virtual(main)


def test_having_acked_on_an_earlier_connection_does_not_count() -> None:
    async def main() -> None:
        async with users_system(settings=SETTINGS) as here:
            await here.follow(client="c")
            await here.say("d1")
            await trio.sleep(1)
            here.followers[0].ack(1)
            await settle()
            await here.follow(client="c")
            await here.say("d2")
            await trio.sleep(200)
            assert here.silent == []

    virtual(main)


def test_what_another_device_has_acknowledged_is_delivered() -> None:
    async def main() -> None:
        async with users_system(settings=SETTINGS) as here:
            await attending(here)
            other = await here.follow()
            await here.say("d2")
            await trio.sleep(1)
            other.ack(2)
            await trio.sleep(200)
            assert here.silent == []
            assert here.counters.events_due_acknowledged == 1

    virtual(main)


def test_a_client_that_leaves_is_not_silent() -> None:
    async def main() -> None:
        async with users_system(settings=SETTINGS) as here:
            await attending(here)
            await here.say("d2")
            await trio.sleep(10)
            here.system.root.actor.stop_child("follower0")  # type: ignore[union-attr]
            await trio.sleep(200)
            assert here.silent == []
            assert here.counters.events_due == 1

    virtual(main)


def test_an_event_that_is_not_committed_is_found() -> None:
    async def main() -> None:
        async with users_system(settings=SETTINGS) as here:
            here.plan.trouble = True
            await here.say("d1", "e", "d2")
            await trio.sleep(55)
            assert here.silent == []
            await trio.sleep(10)
            assert here.silent == [SilentFailure("ada", "uncommitted", 2, 60.0)]
            await trio.sleep(200)
            assert len(here.silent) == 1
            assert here.counters.silent_failures == {"uncommitted": 2}
            here.plan.trouble = False
            await trio.sleep(100)
            assert here.contents() == ["d1", "d2"]
            assert len(here.silent) == 1

    virtual(main)


def test_over_a_crash_of_the_context_it_is_not_forgotten() -> None:
    async def main() -> None:
        async with users_system(settings=SETTINGS) as here:
            await attending(here)
            await here.say("d2")
            await trio.sleep(30)
            here.crash("/users/ada")
            await trio.sleep(59)
            assert here.silent == []
            await trio.sleep(10)
            assert [(failure.kind, failure.events) for failure in here.silent] == [("unacknowledged", 1)]

    virtual(main)


def test_the_timer_rests_while_there_is_nothing_to_look_for() -> None:
    async def main() -> None:
        async with users_system(settings=SETTINGS) as here:
            await attending(here)
            await trio.sleep(100)
            watch = here.actor("/users/ada").silence
            assert not watch._armed
            await here.say("d2")
            await settle()
            assert watch._armed
            here.followers[0].ack(2)
            await trio.sleep(100)
            assert not watch._armed

    virtual(main)
