from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import Ended, Full, HookFailed, Passivated, Restarted, Spec, Stopped
from tests.support.actors import LONG, Batcher, Bench, OpenHost, Probe, Restarter, Subject, bounded, running, settle


def leave(actor: Probe) -> None:
    actor.passivate()


async def passive(bench: Bench, **script: Any) -> Subject:
    """A probe that passivates at "idle"."""
    on = {"idle": leave, "wait": lambda _: trio.sleep(1), **script.pop("on", {})}
    return await bench.spawn("a", on=on, **script)


async def test_an_idle_actor_ends_and_its_place_is_free(bench: Bench):
    a = await passive(bench)
    a.ref.tell("idle")
    await settle()
    assert a.log.ended == [Passivated()]
    assert bench.root.cell.children == {}
    assert bench.system.tree().find("/a") is None
    assert bench.lost() == []


@pytest.mark.parametrize("how", ["tell", "ask", "send", "request"])
async def test_each_kind_of_message_wakes_it(bench: Bench, how: str):
    a = await passive(bench)
    a.ref.tell("idle")
    await settle()
    if how == "tell":
        assert a.ref.tell("wake")
    elif how == "request":
        b = await bench.spawn("b")
        await b.do(lambda actor: actor.request(a.ref, "wake", 5.0))
        await settle()
        assert b.log.heard[0].value == "wake"
    else:
        await getattr(a.ref, how)("wake", within=1)
    await settle()
    assert a.log.heard == ["idle", "wake"]
    assert a.log.started == [0, 0]
    assert bench.counters(a).offered == 1


async def test_forwarding_wakes_too(bench: Bench):
    a = await passive(bench)
    b = await bench.spawn("b", on={"work": lambda actor: actor.forward(a.ref)})
    a.ref.tell("idle")
    await settle()
    assert await b.ref.ask("work", within=1) == "work"


async def test_an_ask_from_a_handler_wakes_too(bench: Bench):
    a = await passive(bench)

    async def ask(_: Any) -> Any:
        return await a.ref.ask("hello", within=1)

    b = await bench.spawn("b", on={"go": ask})
    a.ref.tell("idle")
    await settle()
    assert await b.ref.ask("go", within=1) == "hello"


# --- what keeps it


async def test_waiting_messages_keep_it(bench: Bench):
    """It is told to leave while others wait: it does nothing, also where they are handled in the same turn."""
    a = await passive(bench)
    a.ref.tell("wait")
    await settle()
    for message in ("idle", 1, 2):
        a.ref.tell(message)
    await trio.sleep(2)
    assert a.log.heard == ["wait", "idle", 1, 2]
    assert a.log.ended == []


async def test_a_message_that_comes_after_the_wish_cancels_it(bench: Bench):
    async def idle_and_linger(actor: Probe) -> None:
        actor.passivate()
        await trio.sleep(1)

    a = await passive(bench, on={"linger": idle_and_linger})
    a.ref.tell("linger")
    await settle()
    a.ref.tell("more")
    await trio.sleep(2)
    assert a.log.heard == ["linger", "more"]
    assert a.log.ended == []
    a.ref.tell("linger")
    await trio.sleep(2)
    assert a.log.ended == [Passivated()]


async def test_a_message_that_comes_at_the_very_end_of_a_turn_cancels_the_wish_too(bench: Bench):
    async def idle_and_linger(actor: Probe) -> None:
        actor.passivate()
        await trio.sleep(1)

    a = await passive(bench, on={"linger": idle_and_linger})
    b = await bench.spawn("b", Batcher, on={"linger": idle_and_linger})
    for subject in (a, b):
        for n in range(63):
            subject.ref.tell(n)
        subject.ref.tell("linger")
    await settle()
    for subject in (a, b):
        subject.ref.tell("more")
    await trio.sleep(2)
    assert a.log.heard[-2:] == ["linger", "more"]
    assert b.log.heard[-1] == ["more"]
    assert a.log.ended == b.log.ended == []


async def test_an_answer_owed_keeps_it_until_nobody_wants_it(bench: Bench):
    kept: list[Any] = []
    a = await passive(bench, on={"defer": lambda actor: kept.append(actor.defer())})

    async def ask(within: float) -> None:
        with trio.move_on_after(within):
            await a.ref.ask("defer", within=LONG)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 1)
        await settle()
        a.ref.tell("idle")
        await settle()
        assert a.log.ended == []
    a.ref.tell("idle")  # the asker has gone
    await settle()
    assert a.log.ended == [Passivated()]
    assert not kept[0].answer(1)


async def test_a_request_under_way_keeps_it(bench: Bench):
    b = await bench.spawn("b", on={"slow": lambda _: trio.sleep(1)})
    a = await passive(bench)
    await a.do(lambda actor: actor.request(b.ref, "slow", 5.0))
    a.ref.tell("idle")
    await settle()
    assert a.log.ended == []
    await trio.sleep(2)
    a.ref.tell("idle")
    await settle()
    assert a.log.ended == [Passivated()]


async def test_a_sender_at_the_door_keeps_it(bench: Bench):
    async def idle_late(actor: Probe) -> None:
        await trio.sleep(1)
        actor.passivate()

    a = await passive(bench, mailbox=bounded(1), on={"late": idle_late})
    a.ref.tell("late")
    await settle()
    async with trio.open_nursery() as nursery:
        for n in range(3):
            nursery.start_soon(a.ref.send, n, 10)
            await settle()
    await settle()
    assert a.log.heard == ["late", 0, 1, 2]
    assert a.log.ended == []


async def test_a_wish_does_not_outlive_its_incarnation(bench: Bench):
    def leave_and_fail(actor: Probe) -> None:
        actor.passivate()
        raise ValueError("after the wish")

    a = await passive(bench, on={"both": leave_and_fail})
    a.ref.tell("both")
    await settle()
    assert a.log.started == [0, 1]
    assert len(a.log.ended) == 1
    assert bench.node(a).state == "running"


# --- races


async def test_messages_that_come_while_it_ends_start_it_again_after_stopped(bench: Bench):
    order: list[str] = []

    async def stopped(_: Probe) -> None:
        await trio.sleep(1)
        order.append("stopped")

    a = await passive(bench, stop=stopped, start=lambda _: order.append("started"))
    w = await bench.spawn("w", start=lambda actor: actor.watch(a.ref))
    a.ref.tell("idle")
    await settle()
    assert bench.node(a).state == "stopping"
    assert a.ref.tell(1)
    assert await a.ref.ask(2, within=5) == 2
    assert order == ["started", "stopped", "started"]
    assert a.log.heard == ["idle", 1, 2]
    assert [type(message) for message in w.log.heard] == [Restarted]  # its state is gone
    assert w.log.heard[0].reason == Passivated()


@pytest.mark.parametrize("gap", [0, 1, 2, 3, 4])
async def test_no_message_is_lost_however_it_meets_the_end(bench: Bench, gap: int):
    a = await passive(bench)
    for n in range(10):
        a.ref.tell("idle")
        for _ in range(gap):
            await trio.lowlevel.checkpoint()
        assert a.ref.tell(n)
        await settle()
    assert [message for message in a.log.heard if message != "idle"] == list(range(10))
    assert bench.lost() == []


async def test_a_passivating_actor_that_is_told_to_stop_is_not_woken(bench: Bench):
    a = await passive(bench, stop=lambda _: trio.sleep(1))
    a.ref.tell("idle")
    await settle()
    await bench.stop(a)
    await trio.sleep(2)
    assert a.log.ended == [Passivated()]
    assert not a.ref.tell("wakes nobody")
    assert a.log.started == [0]
    assert bench.log.heard[-1].reason == Stopped()


async def test_an_end_by_passivation_tells_watchers_ended(bench: Bench):
    a = await passive(bench)
    w = await bench.spawn("w", start=lambda actor: actor.watch(a.ref))
    a.ref.tell("idle")
    await settle()
    assert w.log.heard == [Ended(a.ref, Passivated())]


# --- the host


async def test_a_passive_actor_whose_host_ends_is_dead(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    a = await bench.spawn("a", under=host, on={"idle": leave})
    a.ref.tell("idle")
    await settle()
    await bench.stop(host)
    assert not a.ref.tell("wakes nobody")
    assert bench.lost() == [("/host/a", "wakes nobody", "dead")]


async def test_a_new_child_of_the_same_name_takes_the_address(bench: Bench):
    a = await passive(bench)
    a.ref.tell("idle")
    await settle()
    again = await bench.spawn("a")
    assert again.ref is a.ref
    assert await a.ref.ask(1, within=1) == 1
    assert again.log.heard == [1]


class Choosy(OpenHost):
    """Wakes nobody, one way or another."""

    way = "full"

    def revive(self, spec: Spec) -> bool:
        if self.way == "raise":
            raise ValueError("no")
        return self.way == "nothing"


@pytest.mark.parametrize(("way", "error"), [("full", "is full"), ("nothing", "has ended"), ("raise", "has ended")])
async def test_a_host_that_does_not_wake_its_child_does_not_fail_the_sender(bench: Bench, way: str, error: str):
    host = await bench.spawn("host", Choosy)
    host.cell.actor.way = way
    a = await bench.spawn("a", under=host, on={"idle": leave})
    a.ref.tell("idle")
    await settle()
    assert not a.ref.tell("told")
    with pytest.raises(Exception, match=error) as refused:
        await a.ref.ask("asked", within=1)
    assert isinstance(refused.value, Full) == (way == "full")
    assert [message for _, message, _ in bench.lost()] == ["told", "asked"]
    assert [type(report) for report in bench.reports] == ([HookFailed] * 2 if way == "raise" else [])
    assert host.log.started == [0]


async def test_a_root_may_leave_too():
    """Nobody is there to wake it: the system ends."""
    async with running(Restarter) as other:
        await other.root.do(leave)
        await settle()
        assert other.log.ended == [Passivated()]
        assert not other.root.ref.tell("nobody")


def test_reasons_read_like_words():
    assert str(Passivated()) == "passivated"
    assert str(Stopped()) == "stopped"
