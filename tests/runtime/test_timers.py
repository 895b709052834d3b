from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
import trio

from runtime import InvalidSpec
from tests.support.actors import Bench, Probe, boom, bounded, settle


async def clocked(bench: Bench, *messages: str) -> tuple[Any, list[tuple[str, float]]]:
    """A probe, and what of `messages` it heard when."""
    heard: list[tuple[str, float]] = []
    start = trio.current_time()

    def note(message: str) -> Any:
        return lambda _: heard.append((message, round(trio.current_time() - start, 3)))

    a = await bench.spawn("a", on={**{message: note(message) for message in messages}, "boom": boom})
    return a, heard


async def test_a_timer_comes_once_when_it_is_due(bench: Bench):
    a, heard = await clocked(bench, "tick")
    await a.do(lambda actor: actor.timer("t", 1.5, "tick"))
    await trio.sleep(10)
    assert heard == [("tick", 1.5)]
    assert a.cell.links.timers == {}


async def test_a_timer_is_never_early_and_at_most_a_millisecond_late(bench: Bench):
    a, heard = await clocked(bench, "tick")
    await a.do(lambda actor: actor.timer("t", 0.00042, "tick"))
    await trio.sleep(1)
    assert 0.00042 <= heard[0][1] <= 0.0015


@pytest.mark.parametrize("delay", [0.0, -5.0])
async def test_a_timer_without_delay_comes_soon(bench: Bench, delay: float):
    a, heard = await clocked(bench, "tick")
    await a.do(lambda actor: actor.timer("t", delay, "tick"))
    await trio.sleep(1)
    assert heard[0][1] <= 0.001


async def test_a_timer_passes_what_is_queued_and_a_full_mailbox(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1), on={"wait": lambda _: trio.sleep(2)})
    await a.do(lambda actor: actor.timer("t", 1, "tick"))
    a.ref.tell("wait")
    await settle()
    a.ref.tell("queued")
    await trio.sleep(3)
    assert a.log.heard == ["wait", "tick", "queued"]


async def test_a_cancelled_timer_does_not_come(bench: Bench):
    a, heard = await clocked(bench, "tick")
    await a.do(lambda actor: actor.timer("t", 1, "tick"))
    assert await a.do(lambda actor: actor.cancel_timer("t"))
    assert not await a.do(lambda actor: actor.cancel_timer("t"))
    await trio.sleep(2)
    assert heard == []
    assert len(bench.system.wheel) == 0


async def test_a_timer_cancelled_after_it_has_fired_into_the_lane_does_not_come(bench: Bench):
    a, heard = await clocked(bench, "tick")
    cancelled: list[bool] = []

    async def late(actor: Probe) -> None:
        actor.timer("t", 0.5, "tick")
        await trio.sleep(1)
        cancelled.append(actor.cancel_timer("t"))

    await a.do(late)
    await trio.sleep(2)
    assert cancelled == [True]
    assert heard == []


async def test_a_replaced_timer_does_not_come_even_if_it_has_fired(bench: Bench):
    a, heard = await clocked(bench, "old", "new")

    async def late(actor: Probe) -> None:
        actor.timer("t", 0.5, "old")
        await trio.sleep(1)
        actor.timer("t", 0.5, "new")

    await a.do(late)
    await a.do(lambda actor: actor.timer("u", 1, "old"))
    await a.do(lambda actor: actor.timer("u", 2, "new"))
    await trio.sleep(5)
    assert heard == [("new", 1.5), ("new", 3.0)]


@pytest.mark.parametrize("fired", [False, True])
async def test_a_timer_ends_with_its_incarnation(bench: Bench, fired: bool):
    a, heard = await clocked(bench, "tick", "again")

    async def crash(actor: Probe) -> None:
        actor.timer("t", 0.5, "tick")
        actor.timer("u", 0.5, "again", every=0.5)
        await trio.sleep(1 if fired else 0.1)
        await boom()

    with pytest.raises(Exception, match="asked for"):
        await a.do(crash)
    await trio.sleep(5)
    assert heard == []
    assert a.log.started == [0, 1]
    assert len(bench.system.wheel) == 0


async def test_an_actor_that_ends_leaves_no_timer(bench: Bench):
    a, _ = await clocked(bench)
    await a.do(lambda actor: actor.timer("t", 100, "tick", every=100))
    await bench.stop(a)
    assert len(bench.system.wheel) == 0


async def test_a_repeating_timer_keeps_its_phase(bench: Bench):
    a, heard = await clocked(bench, "tick")
    await a.do(lambda actor: actor.timer("t", 1, "tick", every=0.5))
    await trio.sleep(3.2)
    assert [at for _, at in heard] == [1.0, 1.5, 2.0, 2.5, 3.0]
    await a.do(lambda actor: actor.cancel_timer("t"))
    await trio.sleep(2)
    assert len(heard) == 5


async def test_a_repeating_timer_skips_what_it_missed(bench: Bench):
    a, heard = await clocked(bench, "tick")
    await a.do(lambda actor: actor.timer("t", 1, "tick", every=1))
    await trio.sleep(1.5)
    await a.do(lambda _: trio.sleep(3.7))
    await trio.sleep(1.9)
    assert [at for _, at in heard] == [1.0, 5.2, 6.0, 7.0]


async def test_a_repeating_timer_may_not_spin(bench: Bench):
    a, heard = await clocked(bench, "tick")
    await a.do(lambda actor: actor.timer("t", 0, "tick", every=0))
    await trio.sleep(0.01)
    assert 9 <= len(heard) <= 11


@pytest.mark.parametrize(
    ("times", "key"), [((inf,), "delay"), ((nan,), "delay"), ((1.0, inf), "every"), ((1.0, nan), "every")]
)
async def test_the_times_of_a_timer_must_be_finite(bench: Bench, times: tuple[float, ...], key: str):
    a, heard = await clocked(bench, "tick", "tock")

    def set_it_wrongly(actor: Probe) -> None:
        actor.timer("t", 1.0, "tick")
        delay, *every = times
        with pytest.raises(InvalidSpec, match=f"timer.{key} is (inf|nan); allowed: a finite number"):
            actor.timer("t", delay, "tock", every=every[0] if every else None)

    await a.do(set_it_wrongly)
    await trio.sleep(5)
    assert heard == [("tick", 1.0)]


async def test_keys_tell_timers_apart(bench: Bench):
    a, heard = await clocked(bench, "x", "y")
    await a.do(lambda actor: (actor.timer(("k", 1), 1, "x"), actor.timer(("k", 2), 1, "y")))
    await trio.sleep(2)
    assert heard == [("x", 1.0), ("y", 1.0)]


async def test_the_handler_of_a_timer_may_set_it_again(bench: Bench):
    count: list[float] = []

    def again(actor: Probe) -> None:
        count.append(actor.now())
        if len(count) < 3:
            actor.timer("t", 1, "tick")

    a = await bench.spawn("a", on={"tick": again})
    a.ref.tell("tick")
    await trio.sleep(5)
    assert len(count) == 3
    assert a.cell.links.timers == {}


async def test_a_timer_does_not_keep_an_actor_from_passivating(bench: Bench):
    a = await bench.spawn("a", on={"idle": lambda actor: actor.passivate()})
    await a.do(lambda actor: actor.timer("idle", 1, "idle", every=1))
    await trio.sleep(1.5)
    assert len(a.log.ended) == 1
    assert len(bench.system.wheel) == 0


async def test_cancelling_what_was_never_set(bench: Bench):
    a = await bench.spawn("a")
    assert a.cell.links is None
    assert await a.do(lambda actor: actor.cancel_timer("t")) is False
