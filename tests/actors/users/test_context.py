"""What a user's context does besides keeping the order: attaching, polling, trimming, passivation."""

from __future__ import annotations

import json

import attrs
import pytest
import trio

from actors.protocol.codes import ErrorCode
from actors.storage.attending import Wake
from actors.storage.journal import TRIMMED_AT_ONCE, TrimLog
from actors.users.arrivals import ARRIVE_WITHIN
from actors.users.context import ContextSettings
from actors.users.keys import actor_name, default_session, run_key, runs_of
from actors.users.messages import Attach, AwaitNews, CommandError, Detach, Emit, Item, Locate, Sync
from runtime import Refused, TimedOut
from tests.support.memory_journal import MemoryStorage, Plan
from tests.support.users_system import UsersSystem, settle, users_system, virtual

QUICK = ContextSettings(idle_after=10.0, log_events=20_000, log_seconds=604_800.0)


def runs(here: UsersSystem) -> bool:
    node = here.system.tree().find("/users/ada")
    return node is not None and node.state == "running"


# --- attaching


def test_attaching_while_the_context_loads() -> None:
    async def main() -> None:
        async with users_system() as here:
            here.plan.close_gate()
            here.crash("/users/ada")
            await settle()
            await here.say("d1")
            follower = await here.follow()
            here.plan.gate.set()
            await trio.sleep(1)
            await here.say("d2")
            await trio.sleep(1)
            assert [text for _, text in follower.got][-1:] == ["d2"]
            assert follower.closed is None
            assert follower.seqs == list(range(follower.began.seq + 1, 3))

    virtual(main)


def test_attaching_is_refused_while_storage_is_in_trouble_and_goes_on_after_it() -> None:
    async def main() -> None:
        async with users_system() as here:
            here.plan.trouble = True
            context = await here.users.ask(Locate("ada"), 1)
            with pytest.raises(Refused) as caught:
                await context.ask(Attach(here.system.ref("/voice"), "c"), 5)
            assert caught.value.reason == CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)
            here.plan.trouble = False
            follower = await here.follow()
            await here.say("d1")
            await trio.sleep(1)
            assert follower.seqs == [1]

    virtual(main)


def test_who_has_gone_before_it_was_attached_gets_nothing() -> None:
    """An asker that gave up would not know where its events begin."""

    async def main() -> None:
        async with users_system() as here:
            await here.say("d1")
            await trio.sleep(1)
            here.plan.takes = 2.0
            with pytest.raises(TimedOut):
                await here.context.ask(Attach(here.system.ref("/runs"), "c"), 1)
            here.plan.takes = 0.0
            await trio.sleep(5)
            assert here.actor("/users/ada").inspect() == {"connections": 0, "outbox": 0}
            assert not here.actor("/users/ada")._cell.links.held
            await here.say("d2")
            await trio.sleep(1)
            assert here.orders == []

    virtual(main)


def test_who_has_gone_while_the_journal_did_not_answer_is_not_kept_in_mind() -> None:
    async def main() -> None:
        async with users_system() as here:
            await here.say("d1")
            await trio.sleep(1)
            here.plan.close_gate()
            with pytest.raises(TimedOut):
                await here.context.ask(Attach(here.system.ref("/runs"), "c"), 1)
            await trio.sleep(ARRIVE_WITHIN)
            here.plan.gate.set()
            assert not here.actor("/users/ada")._cell.links.held

    virtual(main)


def test_a_connection_that_detaches_or_ends_gets_nothing_more() -> None:
    async def main() -> None:
        async with users_system() as here:
            first, second = await here.follow(), await here.follow()
            here.context.tell(Detach(first.ref))
            here.context.tell(Detach(first.ref))
            here.system.root.actor.stop_child("follower1")  # type: ignore[union-attr]
            await here.say("d1")
            await trio.sleep(1)
            assert first.seqs == second.seqs == []
            assert here.actor("/users/ada").inspect()["connections"] == 0

    virtual(main)


def test_who_connects_in_the_middle_of_an_answer_gets_its_text_so_far() -> None:
    async def main() -> None:
        async with users_system() as here:
            await here.say("d1", "w1", "w2")
            await trio.sleep(1)
            follower = await here.follow(0)
            await here.say("w3")
            await trio.sleep(1)
            assert follower.got == [(1, "d1"), (None, "w1w2"), (None, "w3")]
            assert [frame["metadata"].get("offset") for frame in follower.frames] == [None, 0, 4]

    virtual(main)


def test_a_log_that_was_replaced_makes_the_context_begin_anew() -> None:
    async def main() -> None:
        async with users_system() as here:
            await here.say("d1", "d2")
            first = await here.follow()
            here.plan.storage = MemoryStorage()
            here.plan.storage.log_of("ada").epoch = "another"
            await here.follow()
            await trio.sleep(5)
            assert here.crashes("UserContext") == 1
            assert first.closed == 1011
            await here.say("d3")
            await trio.sleep(1)
            assert here.followers[1].got == [(1, "d3")]

    virtual(main)


# --- polling


def test_who_waits_for_news_is_told_when_there_are() -> None:
    async def main() -> None:
        async with users_system() as here:
            await here.say("d1", "d2")
            await trio.sleep(1)
            told: list[tuple[int, float]] = []

            async def wait(seq: int) -> None:
                assert await here.context.ask(AwaitNews(seq), 50) is True
                told.append((seq, trio.current_time()))

            async with trio.open_nursery() as nursery:
                for seq in (1, 2, 3, 2):
                    nursery.start_soon(wait, seq)
                await trio.sleep(1)
                assert [seq for seq, _ in told] == [1]
                await here.say("e", "d3")
                await trio.sleep(1)
                assert sorted(seq for seq, _ in told) == [1, 2, 2]
                await here.say("d4")
            assert told[-1][0] == 3

    virtual(main)


def test_who_has_given_up_waiting_is_forgotten() -> None:
    async def main() -> None:
        async with users_system() as here:
            for _ in range(20):
                with pytest.raises(TimedOut):
                    await here.context.ask(AwaitNews(0), 1)
            actor = here.actor("/users/ada")
            assert len(actor.news._waiting) == 1
            assert len(actor._cell.links.held) == 1
            await here.say("d1")
            await trio.sleep(1)
            assert not actor._cell.links.held

    virtual(main)


def test_news_that_came_while_the_context_was_away_are_told_when_it_is_back() -> None:
    async def main() -> None:
        async with users_system() as here:
            here.plan.takes = 1.0
            await here.say("d1")
            await trio.sleep(0.5)
            here.crash("/users/ada")
            await settle()
            began = trio.current_time()
            assert await here.context.ask(AwaitNews(0), 25) is True
            assert trio.current_time() - began < 10

    virtual(main)


# --- trimming


def test_the_log_is_trimmed_when_the_context_wakes_and_then_again_and_again() -> None:
    async def main() -> None:
        settings = attrs.evolve(QUICK, idle_after=100_000.0, log_events=3, log_seconds=50.0)
        async with users_system(settings=settings) as here:
            await here.follow()
            await here.say(*(f"d{n}" for n in range(1, 10)))
            await trio.sleep(1)
            assert len(here.contents()) == 9
            await trio.sleep(600)
            assert here.contents() == ["d7", "d8", "d9"]
            (waking,) = [message.waking for message in here.plan.heard if isinstance(message, Wake)]
            (order,) = [message for message in here.plan.heard if isinstance(message, TrimLog)]
            assert (waking.max_events, waking.max_age) == (order.max_events, order.max_age) == (3, 50.0)
            assert order.now == pytest.approx(waking.now + 600, abs=1)
            await here.say("d10")
            await trio.sleep(1)
            here.crash("/users/ada")
            await trio.sleep(5)
            assert here.contents() == ["d8", "d9", "d10"]

    virtual(main)


def test_trimming_goes_on_until_nothing_is_left_to_trim() -> None:
    async def main() -> None:
        plan = Plan()
        async with users_system(plan=plan, settings=attrs.evolve(QUICK, log_events=5)) as here:
            await here.say("d0")
            await trio.sleep(30)
            assert not runs(here)
            log = plan.storage.log_of("ada")
            (stored,) = log.events.values()
            for seq in range(2, 2 * TRIMMED_AT_ONCE + 100):
                log.events[seq] = attrs.evolve(stored, seq=seq)
                log.top = seq
            follower = await here.follow(0)
            await trio.sleep(1)
            assert len(log.events) == 5
            assert follower.began.first > TRIMMED_AT_ONCE  # the first round comes before anybody is told what there is

    virtual(main)


def test_trimming_that_fails_is_left_to_the_next_time() -> None:
    async def main() -> None:
        async with users_system(settings=attrs.evolve(QUICK, idle_after=100_000.0)) as here:
            await here.follow()
            here.plan.trouble = True
            await trio.sleep(650)
            here.plan.trouble = False
            await here.say("d1")
            await trio.sleep(1)
            assert here.contents() == ["d1"]

    virtual(main)


# --- passivation


def test_an_idle_context_leaves_memory_and_wakes_when_somebody_asks() -> None:
    async def main() -> None:
        async with users_system(settings=QUICK) as here:
            await here.say("d1")
            await trio.sleep(5)
            assert runs(here)
            await trio.sleep(20)
            assert not runs(here)
            await here.say("d2")
            await trio.sleep(1)
            assert runs(here)
            follower = await here.follow(0)
            assert follower.got == [(1, "d1"), (2, "d2")]

    virtual(main)


def test_a_context_with_a_connection_stays() -> None:
    async def main() -> None:
        async with users_system(settings=QUICK) as here:
            follower = await here.follow()
            await trio.sleep(100)
            assert runs(here)
            here.context.tell(Detach(follower.ref))
            await trio.sleep(9)
            assert runs(here)
            await trio.sleep(15)
            assert not runs(here)

    virtual(main)


def test_a_context_with_an_open_run_stays_also_while_it_does_not_know_of_it() -> None:
    async def main() -> None:
        async with users_system(settings=QUICK) as here:
            here.plan.storage.state["open_run", run_key("ada", "r1")] = b"s"
            here.plan.trouble = True
            here.crash("/users/ada")
            await trio.sleep(100)
            assert runs(here)
            here.plan.trouble = False
            await trio.sleep(100)
            assert runs(here)
            assert [order.record_id for order in here.orders] == ["r1"]

    virtual(main)


def test_a_context_that_somebody_tries_to_attach_to_stays() -> None:
    async def main() -> None:
        async with users_system(settings=QUICK) as here:
            follower = await here.follow()
            await here.say("d1")
            await trio.sleep(1)
            here.crash("/users/ada")
            await settle()

            def in_trouble_when_it_knows_of_no_run(point: str) -> None:
                if point.startswith("after") and isinstance(here.plan.heard[-1], Wake):
                    here.plan.trouble = True

            here.crash("/users/ada")
            here.plan.at = in_trouble_when_it_knows_of_no_run
            await trio.sleep(100)
            assert here.plan.trouble
            assert follower.closed is None
            here.plan.at = str
            here.plan.trouble = False
            await here.say("d2")
            await trio.sleep(5)
            assert follower.seqs == [1, 2]

    virtual(main)


@pytest.mark.parametrize("moment", [9.9, 10.0, 10.0001, 10.1, 19.9, 20.0, 20.0001])
@pytest.mark.parametrize("kind", ["attach", "emit", "sync"])
def test_what_comes_while_it_is_about_to_leave_is_not_lost(moment: float, kind: str) -> None:
    async def main() -> None:
        async with users_system(settings=QUICK) as here:
            context = await here.users.ask(Locate("ada"), 1)
            await trio.sleep_until(moment)
            for _ in range(3):
                if kind == "attach":
                    follower = await here.follow(0)
                    assert follower.began is not None
                    assert follower.closed is None
                elif kind == "emit":
                    assert await context.ask(Emit(()), 5) is True
                else:
                    assert await context.ask(Sync(), 5) is True
                await trio.lowlevel.checkpoint()

    virtual(main)


def test_a_durable_event_that_nobody_waits_for_still_keeps_it_awake() -> None:
    async def main() -> None:
        async with users_system(settings=QUICK) as here:
            here.plan.trouble = True
            await here.say("d1")
            await trio.sleep(15)
            here.crash("/voice")
            await trio.sleep(100)
            assert runs(here)
            here.plan.trouble = False
            await trio.sleep(1)
            assert here.contents() == ["d1"]

    virtual(main)


# --- isolation and names


def test_users_share_nothing() -> None:
    async def main() -> None:
        async with users_system() as here:
            ada, bob, odd = await here.follow(), await here.follow(user="bob"), await here.follow(user="ada/../ada %")
            await here.say("d1", "w2")
            await trio.sleep(1)
            assert ada.seqs == [1]
            assert bob.got == odd.got == []
            assert len(set(map(id, (here.actor("/users/ada"), here.actor("/users/bob"))))) == 2

    virtual(main)


@pytest.mark.parametrize("user", ["ada", "ada/bob", "../x", "ü", " ", "a" * 200, "%2F"])
def test_names_derived_from_a_user(user: str) -> None:
    assert "/" not in actor_name(user)
    assert run_key(user, "r").startswith(runs_of(user))
    assert runs_of(user) != runs_of(user + "x")
    assert not run_key(user + "x", "r").startswith(runs_of(user))
    assert len(default_session(user)) <= 64
    assert default_session(user) != default_session(user + "x")


def test_an_item_knows_its_id() -> None:
    assert Item(None, change="x").id == "x"
    assert Item(None, change="x").durable


def test_frames_carry_their_seq_and_nothing_else_is_added() -> None:
    async def main() -> None:
        async with users_system() as here:
            follower = await here.follow()
            await here.say("d1")
            await trio.sleep(1)
            stored = json.loads(here.plan.storage.log_of("ada").events[1].body)
            assert follower.frames == [{"seq": 1, **stored}]

    virtual(main)
