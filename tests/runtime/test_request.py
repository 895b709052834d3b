from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import Dead, Full, HandlerFailed, InvalidSpec, Refused, Replied, Restarting, TimedOut
from tests.support.actors import Bench, Boom, Probe, Subject, boom, bounded, hang, settle


def requesting(other: Any, message: Any, within: float = 5.0, tag: Any = None) -> Any:
    """A function for a handler that requests."""
    return lambda actor: actor.request(other, message, within, tag=tag)


async def replies(bench: Bench, target: Subject, message: Any, *, within: float = 5.0, wait: float = 0.0) -> list[Any]:
    """What one request comes to."""
    name = f"requester{len(bench.root.cell.children)}"
    requester = await bench.spawn(name)
    await requester.do(requesting(target.ref, message, within))
    await trio.sleep(wait)
    await settle()
    assert requester.cell.links.requests == {}
    return requester.log.heard


async def test_the_answer_comes_as_one_message(bench: Bench):
    a = await bench.spawn("a")
    requester = await bench.spawn("r")
    message = object()
    await requester.do(requesting(a.ref, message, tag="mine"))
    await settle()
    [replied] = requester.log.heard
    assert isinstance(replied, Replied)
    assert (replied.tag, replied.ref, replied.message) == ("mine", a.ref, message)
    assert (replied.value, replied.error) == (message, None)


async def test_request_never_waits(bench: Bench):
    a = await bench.spawn("a", on={"hang": lambda _: trio.sleep(1)})
    requester = await bench.spawn("r")
    start = trio.current_time()
    for _ in range(3):
        await requester.do(requesting(a.ref, "hang"))
    assert trio.current_time() == start
    await trio.sleep(4)
    assert len(requester.log.heard) == 3


async def test_a_full_mailbox_cannot_refuse_the_reply(bench: Bench):
    a = await bench.spawn("a", on={"slow": lambda _: trio.sleep(1)})
    requester = await bench.spawn("r", mailbox=bounded(1), on={"work": lambda _: trio.sleep(2)})
    await requester.do(requesting(a.ref, "slow"))
    requester.ref.tell("work")
    await settle()
    requester.ref.tell("waiting")
    assert not requester.ref.tell("refused")
    await trio.sleep(3)
    kinds = [getattr(message, "value", message) for message in requester.log.heard]
    assert kinds == ["work", None, "waiting"]


@pytest.mark.parametrize(
    ("message", "error"),
    [("no", Refused), ("boom", HandlerFailed), ("hang", TimedOut)],
)
async def test_each_way_to_fail_is_one_reply(bench: Bench, message: str, error: type[Exception]):
    a = await bench.spawn("a", on={"no": lambda _: Refused("no"), "boom": boom, "hang": hang})
    [replied] = await replies(bench, a, message, within=0.5, wait=2)
    assert type(replied.error) is error
    assert replied.value is None
    if message == "hang":
        await bench.stop(a, within=0)


async def test_a_dead_a_full_and_a_waiting_target_reply_at_once(later: Bench):
    dead = Subject(later.system.ref("/dead"), later.log)
    full = await later.spawn("full", mailbox=bounded(1), on={"hang": hang})
    full.ref.tell("hang")
    await settle()
    full.ref.tell(1)
    waiting = await later.spawn("waiting", on={"boom": boom})
    waiting.ref.tell("boom")
    await settle()
    start = trio.current_time()
    for target, error in ((dead, Dead), (full, Full), (waiting, Restarting)):
        [replied] = await replies(later, target, "x")
        assert type(replied.error) is error
        assert replied.error.message == "x"
    assert trio.current_time() == start
    await later.stop(full, within=0)


async def test_a_queued_request_to_one_that_ends_or_waits_comes_back(later: Bench):
    a = await later.spawn("a", on={"slow": lambda _: slow()})

    async def slow() -> None:
        await trio.sleep(1)
        raise Boom("slowly")

    for error in (Restarting, Dead):
        a.ref.tell("slow")
        await settle()
        requester = await later.spawn(f"r{error.__name__}")
        await requester.do(requesting(a.ref, "queued"))
        if error is Dead:
            await later.stop(a, within=0)
        await trio.sleep(2)
        assert [type(message.error) for message in requester.log.heard] == [error]


async def test_a_deferred_answer_is_a_reply(bench: Bench):
    kept: list[Any] = []
    a = await bench.spawn("a", on={"defer": lambda actor: kept.append(actor.defer())})
    requester = await bench.spawn("r")
    await requester.do(requesting(a.ref, "defer"))
    await settle()
    assert kept[0].wanted
    assert kept[0].answer("later")
    assert not kept[0].answer("again")
    await settle()
    assert [message.value for message in requester.log.heard] == ["later"]


async def test_a_forwarded_request_is_answered_by_whom_it_reaches(bench: Bench):
    b = await bench.spawn("b", on={"work": lambda _: "b"})
    a = await bench.spawn("a", on={"work": lambda actor: actor.forward(b.ref)})
    [replied] = await replies(bench, a, "work")
    assert (replied.value, replied.ref) == ("b", a.ref)


async def test_a_reply_that_comes_after_the_deadline_is_dropped(bench: Bench):
    a = await bench.spawn("a", on={"slow": lambda _: trio.sleep(1)})
    heard = await replies(bench, a, "slow", within=0.5, wait=3)
    assert [type(message.error) for message in heard] == [TimedOut]


async def test_what_nobody_requests_any_more_is_skipped(bench: Bench):
    a = await bench.spawn("a", on={"wait": lambda _: trio.sleep(1)})
    requester = await bench.spawn("r")
    a.ref.tell("wait")
    await settle()
    await requester.do(requesting(a.ref, "late", within=5))
    await bench.stop(requester)
    await trio.sleep(2)
    assert a.log.heard == ["wait"]
    assert bench.counters(a).expired == 1
    assert len(bench.system.wheel) == 0


@pytest.mark.parametrize("answered", ["before the crash", "after it", "late"])
async def test_the_next_incarnation_hears_nothing_of_it(bench: Bench, answered: str):
    kept: list[Any] = []
    a = await bench.spawn("a", on={"defer": lambda actor: kept.append(actor.defer())})

    async def crash(actor: Probe) -> None:
        actor.request(a.ref, "defer", 1.0)
        await trio.sleep(0.1)
        if answered == "before the crash":
            kept[0].answer("too early")  # is in the system lane when the incarnation ends
        await boom()

    requester = await bench.spawn("r", on={"crash": crash})
    requester.ref.tell("crash")
    await trio.sleep(0.5)
    if answered == "after it":
        assert not kept[0].answer("too late")
    await trio.sleep(2)
    assert requester.log.heard == ["crash"]
    assert requester.log.started == [0, 1]


async def test_a_request_of_a_stopped_hook_is_not_heard_by_the_next_incarnation(bench: Bench):
    a = await bench.spawn("a")
    requester = await bench.spawn(
        "r", on={"boom": boom}, stop=lambda actor: (actor.request(a.ref, "x", 5.0), actor.timer("t", 0.5, "timer"))
    )
    requester.ref.tell("boom")
    await trio.sleep(10)
    assert requester.log.heard == ["boom"]
    assert requester.log.started == [0, 1]


async def test_a_request_needs_a_finite_deadline(bench: Bench):
    a = await bench.spawn("a")
    requester = await bench.spawn("r")
    with pytest.raises(HandlerFailed, match="within"):
        await requester.do(requesting(a.ref, "x", within=float("inf")))
    assert isinstance(bench.crashes()[0].error, InvalidSpec)


async def test_a_request_to_oneself_is_answered(bench: Bench):
    a = await bench.spawn("a", on={"me": lambda _: "myself"})
    await a.do(lambda actor: actor.request(actor.ref, "me", 5.0))
    await settle()
    assert [getattr(message, "value", message) for message in a.log.heard] == ["me", "myself"]


async def test_a_requester_has_no_edge(bench: Bench):
    """It does not wait, so whom it requests may ask it."""
    a = await bench.spawn("a")

    async def back(_: Any) -> Any:
        return await a.ref.ask("back", within=1)

    b = await bench.spawn("b", on={"go": back})
    await a.do(requesting(b.ref, "go"))
    await settle()
    assert [getattr(message, "value", message) for message in a.log.heard] == ["back", "back"]
