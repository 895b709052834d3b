from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import Restarts
from tests.support.actors import LONG, Batcher, Bench, OpenHost, Probe, boom, bounded, settle


async def test_a_snapshot_has_a_node_for_every_actor(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    await bench.spawn("leaf", under=host)
    await bench.spawn("other")
    tree = bench.system.tree()
    assert [(node.path, node.kind, node.state) for node in tree.walk()] == [
        ("/", "Restarter", "running"),
        ("/host", "OpenHost", "running"),
        ("/host/leaf", "Probe", "running"),
        ("/other", "Probe", "running"),
    ]
    leaf = tree.find("/host/leaf")
    assert leaf is not None
    assert leaf.children == ()
    assert tree.find("/nowhere") is None


async def test_a_node_tells_what_its_actor_is_doing(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(5), on={"work": lambda _: trio.sleep(3)})
    await a.do(lambda actor: actor.start(trio.sleep_forever, name="waiting") and None)
    idle = bench.node(a)
    assert (idle.handling, idle.last_error, idle.waits_on, idle.restarts, idle.details) == (None, None, None, None, {})
    assert idle.tasks == ("waiting",)
    a.ref.tell("work")
    a.ref.tell(1)
    await trio.sleep(1.25)
    node = bench.node(a)
    assert node.handling is not None
    assert (node.handling.message, node.handling.age_ms) == ("str", pytest.approx(1250))
    assert (node.mailbox.depth, node.mailbox.capacity) == (1, 5)


async def test_counters_are_exact_in_the_middle_of_a_turn(bench: Bench):
    """A handler that awaits holds the loop in a turn; what came before it has been counted nevertheless."""
    other = await bench.spawn("other")
    on = {"wait": lambda _: trio.sleep(1), "go on": lambda actor: actor.forward(other.ref)}
    a = await bench.spawn("a", on=on)
    a.ref.tell("wait")
    await settle()
    with pytest.raises(Exception, match="in time"):
        await a.ref.ask("late", within=0.1)
    for message in (1, "go on", 2, "wait", 3, "go on"):
        a.ref.tell(message)
    a.cell.signal("signal")
    await trio.sleep(1.5)
    counters = bench.counters(a)
    assert (counters.offered, counters.handled, counters.moved, counters.expired) == (8, 3, 1, 1)
    assert (counters.waiting, counters.in_hand, counters.missing) == (2, 1, 0)
    await trio.sleep(2)
    counters = bench.counters(a)
    assert (counters.handled, counters.moved, counters.missing) == (5, 2, 0)


@pytest.mark.parametrize("position", [0, 1, 7, 8, 9, 31, 63, 64, 65])
async def test_counters_are_exact_anywhere_in_a_turn(bench: Bench, position: int):
    a = await bench.spawn("a", on={"wait": lambda _: trio.sleep(1)})
    for n in range(70):
        a.ref.tell("wait" if n == position else n)
    await settle()
    counters = bench.counters(a)
    assert (counters.handled, counters.in_hand, counters.waiting) == (position, 1, 69 - position)


async def test_an_actor_that_looks_sees_itself_exactly(bench: Bench):
    seen: list[Any] = []
    a = await bench.spawn("a", on={"look": lambda _: seen.append(bench.counters(a))})
    for message in (1, 2, "look", 3):
        a.ref.tell(message)
    await settle()
    [counters] = seen
    assert (counters.offered, counters.handled, counters.in_hand, counters.waiting) == (4, 2, 1, 1)


async def test_counters_of_a_crash_in_the_middle_of_a_turn(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom}, stop=lambda _: trio.sleep(1))
    for message in (1, 2, "boom", 3):
        a.ref.tell(message)
    await settle()
    counters = bench.counters(a)
    assert (counters.handled, counters.failed, counters.waiting, counters.missing) == (2, 1, 1, 0)
    assert bench.node(a).state == "stopping"


async def test_counters_while_senders_wait_and_in_batches(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(2), on={"wait": lambda _: trio.sleep(1)})
    b = await bench.spawn("b", Batcher, on={"wait": lambda _: trio.sleep(1)})
    for message in (1, 2, 3, "wait"):
        b.ref.tell(message)
    async with trio.open_nursery() as nursery:
        for message in ("wait", 1, 2, "wait", 3, 4, 5):
            nursery.start_soon(a.ref.send, message, 9)
            await settle()
            assert bench.counters(a).missing == bench.counters(b).missing == 0
        await trio.sleep(1.5)
        assert bench.counters(a).missing == 0
        assert bench.counters(a).in_hand == 1


class Telling(Probe):
    """Says something of itself, or fails to."""

    def inspect(self) -> dict[str, Any]:
        if self.log.heard:
            raise ValueError("not now")
        return {"heard": 0}


async def test_what_an_actor_says_of_itself_is_shown(bench: Bench):
    a = await bench.spawn("a", Telling)
    assert bench.node(a).details == {"heard": 0}


async def test_an_actor_that_cannot_say_does_not_hide_the_others(bench: Bench):
    a = await bench.spawn("a", Telling)
    b = await bench.spawn("b")
    await a.ref.ask(1, within=1)
    assert bench.node(a).details == {"inspect": "ValueError: not now"}
    assert bench.node(b).path == "/b"


async def test_restarts_are_what_the_host_knows(bench: Bench):
    class Counting(OpenHost):
        def restarts_of(self, name: str) -> Restarts | None:
            return Restarts(7, 2, 3, 5.0) if name == "a" else None

    host = await bench.spawn("host", Counting)
    a = await bench.spawn("a", under=host)
    b = await bench.spawn("b", under=host)
    assert bench.node(a).restarts == Restarts(7, 2, 3, 5.0)
    assert bench.node(b).restarts is None


async def test_a_failed_actor_stays_visible_for_a_minute(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    a = await bench.spawn("a", under=host, on={"boom": boom})
    b = await bench.spawn("b", under=host)
    a.ref.tell("boom")
    await bench.spawn("unharmed", under=host)
    await host.do(lambda actor: actor.stop_child("b"))
    await settle()
    node = bench.node(a)
    assert (node.state, node.last_error, node.counters.failed) == ("ended", "Boom: asked for", 1)
    assert bench.system.tree().find(b.ref.path) is None  # it was told to
    await trio.sleep(59)
    assert bench.system.tree().find("/host/a") is not None
    await trio.sleep(2)
    assert bench.system.tree().find("/host/a") is None


async def test_a_new_actor_takes_the_place_of_the_one_that_failed(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    a = await bench.spawn("a", under=host, on={"boom": boom})
    a.ref.tell("boom")
    await settle()
    again = await bench.spawn("a", under=host)
    assert bench.node(again).state == "running"
    assert [node.path for node in bench.system.tree().walk()].count("/host/a") == 1


async def test_graves_are_at_most_a_hundred(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    for n in range(120):
        a = await bench.spawn(str(n), under=host, start=boom)
    assert bench.node(a).state == "ended"
    found = [node for node in bench.system.tree().walk() if node.state == "ended"]
    assert len(found) == 100


async def test_a_snapshot_of_one_that_has_never_been_made(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    seen: list[Any] = []

    def start(actor: OpenHost) -> None:
        from runtime import Spec

        actor.start_child(Spec("a", Probe))
        seen.append(bench.system.tree().find("/host/a"))

    await host.do(start)
    assert (seen[0].kind, seen[0].state, seen[0].details) == ("?", "starting", {})


async def test_age_is_that_of_the_turn(bench: Bench):
    """The time is noted once a turn: a later message of the same turn looks as old as the turn."""
    a = await bench.spawn("a", on={"wait": lambda _: trio.sleep(1), "hang": lambda _: trio.sleep(LONG)})
    for message in ("wait", "hang"):
        a.ref.tell(message)
    await trio.sleep(1.5)
    handling = bench.node(a).handling
    assert handling is not None
    assert handling.age_ms == pytest.approx(1500)
    await bench.stop(a, within=0)


async def test_a_snapshot_in_turns_is_the_same_where_nothing_happens(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    await bench.spawn("leaf", under=host)
    await bench.spawn("other")
    assert await bench.system.tree_in_turns() == bench.system.tree()


async def test_others_run_while_a_snapshot_in_turns_is_taken(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("runtime._tree.CELLS_A_TURN", 2)
    host = await bench.spawn("host", OpenHost)
    for number in range(40):
        await bench.spawn(f"leaf{number}", under=host)
    async with trio.open_nursery() as nursery:

        async def stop_the_last() -> None:
            await host.do(lambda actor: actor.stop_child("leaf39"))

        nursery.start_soon(stop_the_last)
        tree = await bench.system.tree_in_turns()
    node = tree.find("/host")
    assert node is not None
    assert [child.path for child in node.children] == [f"/host/leaf{number}" for number in range(39)]
