"""A context over crashes, restarts and storage that fails: no event lost, doubled or out of order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import HealthCheck, example, given, settings

from tests.support.examples import examples
from tests.support.memory_journal import Fault
from tests.support.users_system import UsersSystem, settle, users_system, virtual

if TYPE_CHECKING:
    from tests.support.users_system import Follower

FAULTS: tuple[Fault, ...] = ("clean", "unknown", "unknown but done", "crash", "crash but done")


def verify(here: UsersSystem) -> None:
    """After everything has settled: the log holds all that was said, in order, and so does what every client got."""
    assert here.contents() == here.said
    top = len(here.said)
    assert here.counters.events_emitted == here.counters.events_committed == top
    for follower in here.followers:
        assert follower.closed is None
        assert follower.seqs == list(range(top - len(follower.seqs) + 1, top + 1))
        assert follower.seqs[0:1] in ([], [follower_start(follower) + 1])
        assert [text for seq, text in follower.got if seq is not None] == here.said[follower_start(follower) :]
        assert len(set(follower.ids)) == len(follower.ids)
        assert_in_order(here, follower)


def follower_start(follower: Follower) -> int:
    assert follower.began is not None
    first: int = follower.began.seq if follower._after is None else follower._after
    return first


def assert_in_order(here: UsersSystem, follower: Follower) -> None:
    """A sign of life, named e3 if d3 was the last durable one before it, is not overtaken and overtakes nothing."""
    last = follower_start(follower)
    for seq, text in follower.got:
        if seq is not None:
            last = seq
        elif text.startswith("e"):
            assert int(text[1:].split(".")[0]) == last, (text, follower.got)


STEPS = st.lists(
    st.one_of(
        st.sampled_from(
            ["say", "say", "say more", "sign", "sign", "follow", "follow from 0", "crash context", "crash journal"]
        ),
        st.sampled_from(["trouble", "no trouble", "wait", "wait long", "hold", "let go", "settle"]),
        st.sampled_from(FAULTS).map(lambda fault: f"fault {fault}"),
    ),
    max_size=40,
)


async def play(here: UsersSystem, steps: list[str]) -> None:
    """Do all that; a producer says one thing after the other, whatever else happens."""
    count = signs = 0
    for step in steps:
        match step:
            case "say" | "say more":
                names = [f"d{count + n}" for n in range(1, 2 if step == "say" else 4)]
                count += len(names)
                await here.say(*names)
            case "sign":
                signs += 1
                await here.say(f"e{count}.{signs}")
            case "follow":
                await here.follow()
            case "follow from 0":
                await here.follow(0)
            case "crash context":
                here.crash("/users/ada")
            case "crash journal":
                here.crash("/storage")
            case "trouble" | "no trouble":
                here.plan.trouble = step == "trouble"
            case "wait":
                await trio.sleep(0.3)
            case "wait long":
                await trio.sleep(70)
            case "hold":
                here.plan.close_gate()
            case "let go":
                here.plan.gate.set()
            case "settle":
                await settle()
            case _:
                here.plan.faults.append(step.removeprefix("fault "))  # type: ignore[arg-type]
    here.plan.trouble = False
    here.plan.gate.set()
    here.plan.faults.clear()
    await trio.sleep(120)


@settings(max_examples=examples(1.5), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
@example(["say", "wait", "trouble", "say more", "wait long", "wait long"])  # 60.3 - 60.0 is less than 0.3
def test_nothing_is_lost_doubled_or_reordered(steps: list[str]) -> None:
    async def main() -> None:
        async with users_system() as here:
            await play(here, steps)
            verify(here)

    virtual(main)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_while_somebody_follows(fault: Fault) -> None:
    async def main() -> None:
        async with users_system() as here:
            await here.follow()
            here.plan.faults.extend([fault] * 3)
            await play(here, ["say", "sign", "say more", "sign", "follow from 0", "wait", "say", "sign"])
            verify(here)
            assert len(here.said) == 5

    virtual(main)


@pytest.mark.parametrize("committed", [False, True])
def test_a_crash_of_the_context_while_its_batch_is_with_the_journal(committed: bool) -> None:
    """The journal may be done with it, or come to it only after the crash, and then skips it."""

    async def main() -> None:
        async with users_system() as here:
            follower = await here.follow()
            here.plan.takes = 1.0
            await here.say("d1", "e1.1")
            await trio.sleep(0.5 if committed else 0.0)
            here.crash("/users/ada")
            await trio.sleep(30)
            verify(here)
            assert follower.seqs == [1]

    virtual(main)


def test_the_journal_is_asked_for_one_batch_at_a_time() -> None:
    async def main() -> None:
        async with users_system() as here:
            here.plan.close_gate()
            for number in range(1, 6):
                await here.say(f"d{number}")
                await settle()
            here.plan.gate.set()
            await trio.sleep(1)
            verify(here)
            batches = [len(message.records) for message in here.plan.heard if hasattr(message, "records")]
            assert batches == [1, 4]

    virtual(main)


def test_a_producer_that_offers_again_what_is_still_under_way_doubles_nothing() -> None:
    """Storage holds out longer than the producer waits."""

    async def main() -> None:
        async with users_system() as here:
            here.plan.trouble = True
            await here.say("d1", "d2")
            await trio.sleep(200)
            assert len(here.actor("/users/ada")._outbox) <= 2 + 5  # the markers of those who asked, no second copies
            here.plan.trouble = False
            await trio.sleep(70)
            verify(here)

    virtual(main)


def test_a_new_incarnation_of_a_producer_waits_for_what_the_old_one_had_offered() -> None:
    async def main() -> None:
        async with users_system() as here:
            here.plan.takes = 1.0
            await here.say("d1")
            await settle()
            here.crash("/voice")
            await settle()
            await trio.sleep(0.5)
            assert not here.actor("/voice").opened.is_set()
            await trio.sleep(10)
            assert here.actor("/voice").opened.is_set()
            assert here.contents() == ["d1"]

    virtual(main)


def test_a_context_that_was_given_up_is_found_again() -> None:
    from supervisors import Intensity

    async def main() -> None:
        async with users_system(budget=Intensity(0, 1.0)) as here:
            await here.say("d1")
            await trio.sleep(1)
            here.crash("/users/ada")
            await settle()
            await here.say("d2", "w3")
            await trio.sleep(5)
            await here.say("w4")
            await trio.sleep(5)
            verify(here)
            assert here.actor("/voice").starts_over == 1

    virtual(main)


def test_what_is_only_ephemeral_survives_that_nobody_takes_it() -> None:
    from supervisors import Intensity

    async def main() -> None:
        async with users_system(budget=Intensity(0, 1.0)) as here:
            here.crash("/users/ada")
            await here.say("w1")
            await settle()
            here.crash("/users/ada")
            await settle()
            await here.say("w2")
            await trio.sleep(5)
            follower = await here.follow()
            await trio.sleep(1)
            assert follower.got in ([], [(None, "w2")])
            await here.say("e0.1")
            await trio.sleep(1)
            assert follower.got[-1] == (None, "e0.1")

    virtual(main)


def test_the_producer_hears_that_its_pieces_may_be_lost() -> None:
    async def main() -> None:
        async with users_system() as here:
            await here.say("d1")
            await trio.sleep(1)
            here.crash("/users/ada")
            await trio.sleep(1)
            assert here.actor("/voice").starts_over == 1

    virtual(main)


def test_nothing_is_said_to_have_been_emitted_twice_because_a_context_crashed() -> None:
    async def main() -> None:
        async with users_system() as here:
            here.plan.takes = 1.0
            await here.say("d1", "d2")
            await settle()
            here.crash("/users/ada")
            await trio.sleep(30)
            assert here.counters.events_emitted == 2
            assert here.counters.events_committed == 2

    virtual(main)
