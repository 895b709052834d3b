from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import (
    Dead,
    Full,
    HandlerFailed,
    InvalidSpec,
    Refused,
    Restarting,
    TimedOut,
)
from tests.support.actors import LONG, Bench, Boom, Outcomes, asking, boom, bounded, hang, settle


async def test_the_answer_is_what_the_handler_returns(bench: Bench):
    a = await bench.spawn("a")
    message = object()
    assert await a.ref.ask(message, within=1) is message


async def test_an_ask_with_a_timeout_raises_once_at_its_deadline(bench: Bench):
    a = await bench.spawn("a", on={"hang": hang})
    start = trio.current_time()
    with pytest.raises(TimedOut):
        await a.ref.ask("hang", within=0.3)
    late = trio.current_time() - start - 0.3
    assert -1e-9 < late <= 0.0011


@pytest.mark.parametrize("within", [0.0, -1.0])
async def test_no_time_at_all_is_a_timeout_at_once(bench: Bench, within: float):
    a = await bench.spawn("a", on={"hang": hang})
    start = trio.current_time()
    with pytest.raises(TimedOut):
        await a.ref.ask("hang", within=within)
    assert trio.current_time() - start <= 0.0011


@pytest.mark.parametrize("within", [float("inf"), float("nan")])
async def test_a_deadline_must_be_finite(bench: Bench, within: float):
    a = await bench.spawn("a")
    with pytest.raises(InvalidSpec, match="within"):
        await a.ref.ask(1, within=within)
    assert bench.counters(a).offered == 0


async def test_the_deadline_covers_the_time_in_the_queue(bench: Bench):
    a = await bench.spawn("a", on={"work": lambda _: trio.sleep(0.4)})
    ended: list[Any] = []

    async def ask() -> None:
        try:
            ended.append(await a.ref.ask("work", within=1))
        except TimedOut as error:
            ended.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask)
    assert ended[:2] == [None, None]
    assert [type(error) for error in ended[2:]] == [TimedOut, TimedOut]
    await trio.sleep(2)
    assert (bench.counters(a).handled, bench.counters(a).expired) == (3, 1)


async def test_what_nobody_waits_for_is_skipped(bench: Bench):
    a = await bench.spawn("a", on={"wait": lambda _: trio.sleep(1)})
    a.ref.tell("wait")
    with pytest.raises(TimedOut):
        await a.ref.ask("late", within=0.1)
    with trio.move_on_after(0.1):
        await a.ref.ask("cancelled", within=LONG)
    await trio.sleep(2)
    assert a.log.heard == ["wait"]
    assert bench.counters(a).expired == 2


async def test_what_nobody_waits_for_is_skipped_while_senders_wait(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1), on={"wait": lambda _: trio.sleep(1)})
    a.ref.tell("wait")
    await settle()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.1):
            nursery.start_soon(a.ref.send, "sent", 5)
            await a.ref.ask("cancelled", within=LONG)
    await settle()
    assert a.log.heard in (["wait", "sent"], ["wait", "cancelled", "sent"])


async def test_late_reply_is_dropped(bench: Bench):
    a = await bench.spawn("a", on={"slow": lambda _: trio.sleep(1)})
    with pytest.raises(TimedOut):
        await a.ref.ask("slow", within=0.5)
    await trio.sleep(2)
    assert a.log.started == [0]
    assert (bench.counters(a).handled, bench.counters(a).expired) == (1, 0)
    assert await a.ref.ask("next", within=1) == "next"


async def test_a_late_crash_harms_no_asker(bench: Bench):
    async def late(_: Any) -> None:
        await trio.sleep(1)
        raise Boom("late")

    a = await bench.spawn("a", on={"slow": late})
    with pytest.raises(TimedOut):
        await a.ref.ask("slow", within=0.5)
    await trio.sleep(2)
    assert a.log.started == [0, 1]


async def test_a_full_target_answers_at_once_and_hands_the_message_back(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1), on={"hang": hang})
    a.ref.tell("hang")
    await settle()
    a.ref.tell(1)
    start = trio.current_time()
    message = object()
    with pytest.raises(Full) as full:
        await a.ref.ask(message, within=5)
    assert full.value.message is message
    assert trio.current_time() == start


async def test_a_target_that_ends_answers_what_it_has_not_handled(bench: Bench):
    a = await bench.spawn("a", on={"wait": lambda _: trio.sleep(1)})
    a.ref.tell("wait")
    await settle()
    async with trio.open_nursery() as nursery:
        asks = Outcomes(nursery)
        await asks.begin(a.ref.ask, "late")
        await bench.stop(a)
    assert asks.handed_back == [(Dead, "late")]
    assert bench.system.totals.by_kind["Probe"]["undelivered"] == 1


async def test_a_target_that_waits_to_restart_answers_at_once(later: Bench):
    a = await later.spawn("a", on={"boom": boom, "slow": lambda _: slow()})

    async def slow() -> None:
        await trio.sleep(1)
        raise Boom("slowly")

    async def queued() -> None:
        with pytest.raises(Restarting) as back:
            await a.ref.ask("queued", within=LONG)
        assert back.value.message == "queued"
        assert back.value.retry_after == pytest.approx(1.0)

    a.ref.tell("slow")
    await settle()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queued)
        with trio.move_on_after(0.5):
            await a.ref.ask("gone", within=LONG)
    start = trio.current_time()
    await trio.sleep(0.25)
    with pytest.raises(Restarting, match=r"again in 0\.750 s") as back:
        await a.ref.ask("late", within=5)
    assert trio.current_time() == start + 0.25
    assert back.value.message == "late"
    counters = later.counters(a)
    assert (counters.expired, counters.undelivered, counters.dropped) == (1, 1, 1)
    await trio.sleep(1)
    assert await a.ref.ask(1, within=1) == 1


async def test_asks_stay_queued_during_an_immediate_restart(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom}, stop=lambda _: trio.sleep(1))
    a.ref.tell("boom")
    await settle()
    assert await a.ref.ask("late", within=5) == "late"
    assert a.log.started == [0, 1]


async def test_a_timeout_tells_what_the_target_was_doing(bench: Bench):
    a = await bench.spawn("a", on={"hang": hang})
    a.ref.tell("hang")
    await trio.sleep(2)
    a.ref.tell(1)
    with pytest.raises(TimedOut) as late:
        await a.ref.ask(b"late", within=0.5)
    error = late.value
    assert (error.ref, error.message, error.state) == (a.ref, b"late", "running")
    assert (error.handling, error.depth) == ("str", 2)
    assert error.age == pytest.approx(2.5, abs=0.002)
    assert str(error).startswith("/a did not answer bytes in time: it was running, handling str for 2.50")
    assert str(error).endswith("s, 2 waiting")


async def test_a_timeout_at_one_that_starts_or_has_deferred_says_so(bench: Bench):
    a = await bench.spawn("a", start=lambda _: trio.sleep(1), on={"defer": lambda actor: actor.defer()})
    with pytest.raises(TimedOut, match="it was starting, idle, 1 waiting"):
        await a.ref.ask(1, within=0.5)
    with pytest.raises(TimedOut, match="it was deferred, idle, 0 waiting"):
        await a.ref.ask("defer", within=2)


async def test_an_exception_that_is_returned_is_a_value(bench: Bench):
    a = await bench.spawn("a")
    error = ValueError("a value")
    assert await a.ref.ask(error, within=1) is error


async def test_refused_is_raised_at_the_asker_and_the_instance_lives(bench: Bench):
    a = await bench.spawn("a", on={"no": lambda _: Refused({"code": 7})})
    with pytest.raises(Refused, match="refused: ") as refused:
        await a.ref.ask("no", within=1)
    assert refused.value.reason == {"code": 7}
    assert a.log.started == [0]
    assert bench.reports == []


async def test_one_refusal_may_be_returned_again_and_again(bench: Bench):
    """Each asker has an error of its own, or its frames would pile up on the one that is kept."""
    never = Refused("never")
    a = await bench.spawn("a", on={"no": lambda _: never})
    for _ in range(3):
        with pytest.raises(Refused, match="never"):
            await a.ref.ask("no", within=1)
    assert never.__traceback__ is None


async def test_a_handler_that_crashes_gives_its_asker_the_failure(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom})
    with pytest.raises(HandlerFailed, match="/a failed while handling str: Boom: asked for") as failed:
        await a.ref.ask("boom", within=5)
    assert isinstance(failed.value.__cause__, Boom)
    assert failed.value.message == "boom"


async def test_a_handler_may_catch_what_its_ask_raises(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom, "no": lambda _: Refused("no")})

    async def careful(_: Any) -> list[str]:
        caught = []
        for message in ("boom", "no"):
            try:
                await a.ref.ask(message, within=1)
            except (HandlerFailed, Refused) as error:
                caught.append(type(error).__name__)
        return caught

    b = await bench.spawn("b", on={"go": careful})
    assert await b.ref.ask("go", within=5) == ["HandlerFailed", "Refused"]
    with pytest.raises(HandlerFailed, match="Refused"):
        await (await bench.spawn("c", on={"go": asking(a, "no")})).ref.ask("go", within=5)
