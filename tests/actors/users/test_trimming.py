"""Trimming takes nothing away from under a client that is being sent what it missed."""

from __future__ import annotations

import attrs
import trio

from actors.protocol.commands import Resume
from actors.users.context import TRIM_EVERY, ContextSettings
from actors.users.devices import REPLAY_KEPT
from actors.users.trimming import MOST_KEPT, TRIM_AGAIN
from tests.support.following import leave
from tests.support.users_system import UsersSystem, settle, users_system, virtual

HELD = 50
SMALL = ContextSettings(idle_after=100_000.0, log_events=HELD, log_seconds=604_800.0)
MISSED = 600
FROM_THE_BEGINNING = Resume("epoch-ada", 0)


async def overgrown(here: UsersSystem, events: int = MISSED) -> None:
    """The log has grown far beyond its limit, since it was last looked at."""
    await here.say(*(f"d{number}" for number in range(1, events + 1)))
    await trio.sleep(1)
    assert len(here.contents()) == events


def test_a_crash_of_the_context_cuts_off_no_replay() -> None:
    async def main() -> None:
        async with users_system(settings=SMALL) as here:
            await overgrown(here)
            here.plan.takes = 1.0
            client = await here.follow(client="c", resume=FROM_THE_BEGINNING)
            await trio.sleep(2.5)
            assert 0 < len(client.seqs) < MISSED
            here.crash("/users/ada")
            await trio.sleep(20)
            assert client.closed is None
            assert client.seqs == list(range(1, MISSED + 1))
            here.plan.takes = 0.0
            client.ack(MISSED)
            await trio.sleep(TRIM_EVERY)
            assert len(here.contents()) == HELD

    virtual(main)


def test_several_crashes_neither() -> None:
    async def main() -> None:
        async with users_system(settings=SMALL) as here:
            await overgrown(here)
            here.plan.takes = 1.0
            client = await here.follow(client="c", resume=FROM_THE_BEGINNING)
            for _ in range(4):
                await trio.sleep(1.5)
                here.crash("/users/ada")
            await trio.sleep(30)
            assert client.closed is None
            assert client.seqs == list(range(1, MISSED + 1))

    virtual(main)


def test_nothing_goes_while_somebody_is_being_told_where_to_begin() -> None:
    async def main() -> None:
        async with users_system(settings=SMALL) as here:
            began = trio.current_time()
            await overgrown(here)
            await trio.sleep_until(began + TRIM_EVERY - 0.01)
            here.plan.close_gate()
            client = await here.follow(client="c", resume=FROM_THE_BEGINNING)
            await trio.sleep(0.1)
            here.plan.gate.set()
            await settle()
            await trio.sleep(2 * TRIM_AGAIN)
            assert client.closed is None
            assert client.seqs == list(range(1, MISSED + 1))

    virtual(main)


def test_for_a_client_that_takes_its_time_the_log_grows_to_twice_its_limit_and_no_further() -> None:
    async def main() -> None:
        async with users_system(settings=SMALL) as here:
            await here.follow()
            await trio.sleep(TRIM_EVERY / 2)
            await overgrown(here)
            await here.follow(client="c", resume=FROM_THE_BEGINNING)  # it never acknowledges anything
            await trio.sleep(TRIM_EVERY / 2)
            assert len(here.contents()) == MOST_KEPT * HELD
            await trio.sleep(TRIM_EVERY)
            assert len(here.contents()) == HELD

    virtual(main)


def test_for_one_that_left_nothing_is_kept_also_where_that_was_not_seen() -> None:
    async def main() -> None:
        async with users_system(settings=attrs.evolve(SMALL, log_events=400)) as here:
            await overgrown(here)
            here.plan.takes = 1.0
            client = await here.follow(client="c", resume=FROM_THE_BEGINNING)
            await trio.sleep(1.5)
            here.crash("/users/ada")
            await leave(here, client)
            here.plan.takes = 0.0
            await trio.sleep(10)
            assert len(here.contents()) == MISSED
            await trio.sleep(max(REPLAY_KEPT, TRIM_EVERY))
            assert len(here.contents()) == 400

    virtual(main)
