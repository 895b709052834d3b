from __future__ import annotations

import pytest
import trio

from runtime import Killed, TimedOut
from tests.support.actors import Batcher, Bench, Boom, OpenHost, Probe, boom, bounded, settle


@pytest.mark.parametrize("make", [Probe, Batcher])
async def test_a_suspended_actor_leaves_its_messages_waiting(bench: Bench, make: type[Probe]):
    a = await bench.spawn("a", make)
    assert bench.system.suspend("/a")
    await settle()
    for n in range(3):
        assert a.ref.tell(n)
    await trio.sleep(5)
    node = bench.node(a)
    assert (node.state, node.mailbox.depth, node.counters.missing) == ("suspended", 3, 0)
    assert a.log.heard == []
    assert bench.system.resume("/a")
    await settle()
    assert a.log.heard == ([[0, 1, 2]] if make is Batcher else [0, 1, 2])
    assert bench.node(a).state == "running"


async def test_a_suspended_actor_handles_what_the_kernel_tells_it(bench: Bench):
    b = await bench.spawn("b")
    a = await bench.spawn("a", start=lambda actor: (actor.timer("t", 1, "tick"), actor.watch(b.ref)))
    bench.system.suspend("/a")
    a.ref.tell(1)
    await trio.sleep(2)
    await bench.stop(b)
    assert a.log.heard[0] == "tick"
    assert len(a.log.heard) == 2
    bench.system.resume("/a")
    await settle()
    assert a.log.heard[-1] == 1


async def test_a_timeout_says_that_the_target_is_suspended(bench: Bench):
    a = await bench.spawn("a")
    bench.system.suspend("/a")
    with pytest.raises(TimedOut, match="it was suspended, idle, 1 waiting"):
        await a.ref.ask(1, within=1)
    bench.system.resume("/a")
    await settle()
    assert bench.counters(a).expired == 1


async def test_the_mailbox_of_a_suspended_actor_is_bounded_and_senders_wait(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1))
    bench.system.suspend("/a")
    await settle()
    assert a.ref.tell(1)
    assert not a.ref.tell(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.ref.send, 3, 60)
        await trio.sleep(1)
        assert a.log.heard == []
        bench.system.resume("/a")
    await settle()
    assert a.log.heard == [1, 3]


async def test_a_suspended_actor_can_be_stopped_and_killed(bench: Bench):
    a = await bench.spawn("a")
    bench.system.suspend("/a")
    await settle()
    a.ref.tell(1)
    await bench.stop(a)
    assert a.ref.target is bench.system.dead
    assert bench.lost() == [("/a", 1, "stopped")]
    b = await bench.spawn("b")
    bench.system.suspend("/b")
    await settle()
    b.cell.kill("by hand")
    await settle()
    assert b.log.ended == [Killed("by hand")]
    assert bench.node(b).state == "running"  # a restart resumes it
    assert bench.counters(b).failed == 0


async def test_a_suspended_host_still_restarts_its_children(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom})
    bench.system.suspend("/")
    await settle()
    a.ref.tell("boom")
    assert await a.ref.ask(1, within=1) == 1
    bench.system.resume("/")


async def test_failing_an_actor_by_hand(bench: Bench):
    a = await bench.spawn("a", on={"wait": lambda _: trio.sleep(1)})
    a.ref.tell("wait")
    a.ref.tell("kept")
    await settle()
    assert bench.system.fail("/a", Boom("by an operator"))
    await trio.sleep(2)
    assert [str(reason) for reason in a.log.ended] == ["Boom: by an operator"]
    assert a.log.heard == ["wait", "kept"]
    assert bench.counters(a).failed == 0


async def test_nobody_can_be_suspended_where_nobody_is(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    a = await bench.spawn("a", under=host, start=boom)
    del a
    system = bench.system
    for order in (system.suspend, system.resume, lambda path: system.fail(path, Boom())):
        assert not order("/nowhere")
        assert not order("/host/a")


async def test_one_that_waits_to_restart_does_not_run(later: Bench):
    a = await later.spawn("a", on={"boom": boom})
    a.ref.tell("boom")
    await settle()
    assert not later.system.suspend("/a")
