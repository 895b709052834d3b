from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import ChildEnded, Dead, InvalidSpec, Killed, Spec, Stopped
from tests.support.actors import (
    Batcher,
    Bench,
    Log,
    OpenHost,
    Outcomes,
    Probe,
    Restarter,
    boom,
    bounded,
    hang,
    settle,
    slow_stop,
)

# --- what becomes of messages


async def test_stop_leaves_queued_messages_undelivered(bench: Bench):
    a = await bench.spawn("a", on={"wait": lambda _: trio.sleep(1)})
    a.ref.tell("wait")
    await settle()
    a.ref.tell("told")
    async with trio.open_nursery() as nursery:
        asks = Outcomes(nursery)
        await asks.begin(a.ref.ask, "asked")
        await bench.stop(a)
        await trio.sleep(2)
    assert asks.handed_back == [(Dead, "asked")]
    assert a.log.heard == ["wait"]
    assert bench.lost() == [("/a", "told", "stopped")]
    counts = bench.system.totals.by_kind["Probe"]
    assert (counts["handled"], counts["undelivered"]) == (1, 2)


async def test_stop_passes_what_is_queued_in_a_full_mailbox(bench: Bench):
    """It comes by the system lane: load does not change what it means."""
    a = await bench.spawn("a", mailbox=bounded(9), on={n: lambda _: trio.sleep(1) for n in range(20)})
    for n in range(20):
        a.ref.tell(n)
    await settle()
    await bench.stop(a)
    await trio.sleep(1.5)
    assert a.log.heard == [0]
    assert a.log.ended == [Stopped("stopped by its host")]


async def test_an_actor_may_stop_itself_after_the_message_in_hand(bench: Bench):
    a = await bench.spawn("a", on={"done": lambda actor: actor.stop("had enough")})
    for message in (1, "done", 2):
        a.ref.tell(message)
    await settle()
    assert a.log.heard == [1, "done"]
    assert a.log.ended == [Stopped("had enough")]
    assert bench.log.heard[-1] == ChildEnded("a", a.ref, Stopped("had enough"))
    assert bench.lost() == [("/a", 2, "stopped")]


@pytest.mark.parametrize("make", [Probe, Batcher])
async def test_draining_serves_what_is_queued_and_accepts_nothing_new(bench: Bench, make: type[Probe]):
    a = await bench.spawn("a", make, on={"wait": lambda _: trio.sleep(1), "told": lambda _: trio.sleep(1)})
    a.ref.tell("wait")
    await settle()
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await a.ref.ask("asked", within=5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await settle()
        a.ref.tell("told")
        await bench.stop(a, why="drained", drain=True)
        await trio.sleep(1.5)
        assert not a.ref.tell("late")
        with pytest.raises(Dead):
            await a.ref.ask("late", within=1)
        with pytest.raises(Dead):
            await a.ref.send("late", within=1)
        await trio.sleep(1)
    assert answers == ["asked"] if make is Probe else [None]
    assert a.log.ended == [Stopped("drained")]
    assert bench.lost() == [("/a", "late", "stopping")] * 3


async def test_what_is_being_drained_is_not_diverted_by_a_wish_to_passivate(bench: Bench):
    a = await bench.spawn("a", on={"wait": lambda _: trio.sleep(1), "idle": lambda actor: actor.passivate()})
    for message in ("wait", "idle", "idle", "last"):
        a.ref.tell(message)
    await settle()
    await bench.stop(a, why="drained", drain=True)
    await trio.sleep(2)
    assert a.log.heard == ["wait", "idle", "idle", "last"]
    assert a.log.ended == [Stopped("drained")]
    assert not a.ref.tell("wakes nobody")


async def test_draining_with_senders_at_the_door_turns_them_away(bench: Bench):
    b = await bench.spawn("b", mailbox=bounded(1), on={"w": lambda _: trio.sleep(1)})
    b.ref.tell("w")
    await settle()
    b.ref.tell("queued")
    async with trio.open_nursery() as nursery:
        sends = Outcomes(nursery)
        await sends.begin(b.ref.send, "at the door")
        await bench.stop(b, drain=True)
        await trio.sleep(1)
    assert sends.handed_back == [(Dead, "at the door")]
    assert bench.lost() == [("/b", "at the door", "stopping")]
    assert b.log.heard == ["w", "queued"]


async def test_an_actor_may_drain_itself(bench: Bench):
    a = await bench.spawn("a", on={"done": lambda actor: actor.stop("had enough", drain=True)})
    for message in (1, "done", 2):
        a.ref.tell(message)
    await settle()
    assert a.log.heard == [1, "done", 2]
    assert a.log.ended == [Stopped("had enough")]


async def test_draining_has_its_time_and_what_is_left_then_is_undelivered(bench: Bench):
    a = await bench.spawn("a", on={n: lambda _: trio.sleep(1) for n in range(9)})
    for n in range(9):
        a.ref.tell(n)
    await settle()
    await bench.stop(a, within=2.5, drain=True)
    await trio.sleep(3)
    assert a.log.heard == [0, 1, 2]
    assert a.log.ended == [Killed("did not stop in time")]
    assert [message for _, message, _ in bench.lost()] == [3, 4, 5, 6, 7, 8]


async def test_a_stop_is_heard_while_senders_wait(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1), on={n: lambda _: trio.sleep(1) for n in range(20)})
    ended: list[Any] = []

    async def send(n: int) -> None:
        try:
            ended.append(await a.ref.send(n, within=60))
        except Dead as dead:
            ended.append(dead.message)

    async with trio.open_nursery() as nursery:
        for n in range(9):
            nursery.start_soon(send, n)
            await settle()
        await trio.sleep(2.5)
        a.cell.signal("signal")
        await trio.sleep(1)
        assert a.log.heard == [0, 1, 2, "signal", 3]
        await bench.stop(a)
    await settle()
    assert a.log.ended == [Stopped("stopped by its host")]
    assert a.log.heard == [0, 1, 2, "signal", 3]
    assert sorted(map(str, ended)) == ["5", "6", "7", "8", *["None"] * 5]


async def test_nothing_is_missing_while_an_actor_stops(bench: Bench):
    a = await bench.spawn("a", on={"done": lambda actor: actor.stop()}, stop=lambda _: trio.sleep(1))
    for message in (1, 2, "done"):
        a.ref.tell(message)
    await settle()
    counters = bench.counters(a)
    assert (counters.handled, counters.in_hand, counters.missing) == (3, 0, 0)
    assert bench.node(a).state == "stopping"
    assert bench.node(a).handling is None


async def test_nothing_is_missing_while_a_message_of_the_kernel_is_handled(bench: Bench):
    a = await bench.spawn("a", on={"tick": lambda _: trio.sleep(1)})
    a.ref.tell(1)
    await settle()
    a.cell.signal("tick")
    await settle()
    counters = bench.counters(a)
    assert (counters.offered, counters.handled, counters.in_hand, counters.missing) == (1, 1, 0, 0)
    handling = bench.node(a).handling
    assert handling is not None
    assert handling.message == "str"


async def test_a_kill_between_two_messages_of_the_kernel_fails_nothing(bench: Bench):
    a = await bench.spawn("a")
    for n in range(100):
        a.cell.signal(n)
    a.cell.signal(lambda actor: actor._cell.kill("by hand"))
    for n in range(100):
        a.cell.signal(n)
    await settle()
    assert (bench.counters(a).failed, bench.counters(a).missing) == (0, 0)
    assert a.log.started == [0, 1]


# --- order


async def test_children_stop_newest_first_before_their_host(bench: Bench):
    order: list[str] = []
    host = await bench.spawn("host", OpenHost, stop=slow_stop(0, order, "host"))
    for name in "abc":
        await bench.spawn(name, under=host, stop=slow_stop(0.5, order, name))
    await bench.stop(host)
    await trio.sleep(3)
    assert order == ["c", "b", "a", "host"]


async def test_independent_children_stop_together(bench: Bench):
    class Independent(OpenHost):
        independent = True

    order: list[str] = []
    host = await bench.spawn("host", Independent, stop=slow_stop(0, order, "host"))
    for n in range(300):
        await host.do(
            lambda actor, n=n: actor.start_child(
                Spec(f"c{n}", lambda: Probe(Log(), stop=slow_stop(0.5, order, "child")))
            )
        )
    start = trio.current_time()
    await bench.root.do(lambda root: root.stop_child("host", within=30))
    while host.cell.running:
        await trio.sleep(0.1)
        if host.ref.target is bench.system.dead:
            break
    assert trio.current_time() - start < 1
    assert order == ["child"] * 300 + ["host"]


async def test_stopping_what_does_not_exist_names_what_does(bench: Bench):
    await bench.spawn("a")

    def stop(root: OpenHost) -> None:
        with pytest.raises(InvalidSpec, match="name is 'b'; allowed: one of: a"):
            root.stop_child("b")

    await bench.root.do(stop)


async def test_a_host_is_stopped_while_its_children_start(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    await bench.spawn("ready", under=host)
    starting = await bench.spawn("starting", under=host, start=hang)
    await bench.stop(host, within=30)
    assert bench.node(host).state == "stopping"
    await trio.sleep(6)
    assert starting.log.ended == [Killed("did not stop in time")]
    assert host.ref.target is bench.system.dead


async def test_a_child_that_starts_without_end_is_cancelled_though_its_stop_has_no_deadline(bench: Bench):
    a = await bench.spawn("a", start=hang, start_within=10, shutdown=float("inf"))
    await trio.sleep(1)
    await bench.stop(a)
    assert a.log.ended == []
    await trio.sleep(10)
    assert a.log.ended == [Killed("did not start within 10 s")]
    assert a.ref.target is bench.system.dead


async def test_a_stop_without_a_deadline_is_not_cut_by_that_of_the_start(bench: Bench):
    host = await bench.spawn("host", OpenHost, start=lambda _: trio.sleep(2), start_within=10)
    await bench.stop(host, within=float("inf"))
    host.cell.actor.start_child(Spec("a", lambda: Probe(Log(), stop=lambda _: trio.sleep(1)), shutdown=90))
    leaf = bench.system.ref("/host/a")
    leaf.tell(lambda _: trio.sleep(50))
    await trio.sleep(60)
    assert host.log.ended == [Stopped("stopped by its host")]


async def test_a_child_that_waits_to_restart_is_closed_at_once(later: Bench):
    a = await later.spawn("a", on={"boom": boom})
    a.ref.tell("boom")
    await settle()
    assert later.node(a).state == "waiting"
    a.ref.tell("kept")
    await later.stop(a)
    assert a.ref.target is later.system.dead
    assert later.lost() == [("/a", "kept", "stopped")]
    await trio.sleep(5)
    assert a.log.started == [0]


async def test_a_host_with_a_child_that_waits_to_restart_stops(later: Bench):
    host = await later.spawn("host", Restarter)
    host.cell.actor.delay = 100.0
    a = await later.spawn("a", under=host, on={"boom": boom})
    b = await later.spawn("b", under=host)
    a.ref.tell("boom")
    await settle()
    await later.stop(host)
    assert a.ref.target is b.ref.target is host.ref.target is later.system.dead


async def test_a_child_that_fails_while_another_stops_is_closed_once(bench: Bench):
    """Its end and the order to stop it meet: it is counted once, and its watchers hear once."""
    host = await bench.spawn("host", OpenHost)
    first = await bench.spawn("first", under=host, stop=lambda _: trio.sleep(0.2))
    a = await bench.spawn("a", under=host, on={"boom": boom})
    await bench.spawn("last", under=host, stop=lambda _: trio.sleep(1))
    w = await bench.spawn("w", start=lambda actor: actor.watch(a.ref))
    before = bench.system.totals.by_kind.get("Probe", {}).get("ended", 0)
    await bench.stop(host, within=30)
    a.ref.tell("boom")
    await trio.sleep(5)
    assert bench.system.totals.by_kind["Probe"]["ended"] - before == 3
    assert len(w.log.heard) == 1
    assert first.log.ended == [Stopped("its host stopped")]


async def test_a_host_and_its_child_that_fail_in_one_step(bench: Bench):
    host = await bench.spawn("host", OpenHost, on={"boom": boom})
    a = await bench.spawn("a", under=host, on={"boom": boom})
    host.ref.tell(lambda _: a.ref.tell("boom"))
    host.ref.tell(lambda _: trio.sleep(1))
    host.ref.tell("boom")
    await trio.sleep(2)
    assert bench.system.totals.by_kind["Probe"]["ended"] == 1
    assert host.log.started == [0, 1]
