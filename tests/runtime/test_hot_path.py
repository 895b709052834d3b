"""What a plain message does not cost. Not how long it takes (the benchmarks say that), but what there is on its way."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Actor, Spec
from runtime._address import DeadTarget
from runtime._passive import PassiveTarget
from runtime._request import MARK, Request
from runtime._turn import Turns
from supervisors._dispatch import Dispatch
from supervisors._switch import Switch
from tests.support.actors import LONG, Bench, Log, OpenHost, Probe, boom, bounded, busy, settle

if TYPE_CHECKING:
    from collections.abc import Callable


class Plain(Actor):
    """Calls what it is given, and nothing else."""

    def __init__(self, look: Callable[[Actor], None]) -> None:
        self.look = look

    async def receive(self, message: Any) -> object:
        self.look(self)
        return None


async def spawn_plain(bench: Bench, look: Callable[[Actor], None]) -> Any:
    ref = await bench.root.do(lambda root: root.start_child(Spec("plain", lambda: Plain(look))))
    await settle()
    return ref


@pytest.mark.parametrize("kind", [DeadTarget, PassiveTarget, Switch, Dispatch])
def test_what_is_no_mailbox_has_no_room(kind: type[Any]):
    assert (kind.lane, kind.capacity) == ((), -1)


async def test_what_is_no_open_mailbox_has_no_room(later: Bench):
    plain = await later.spawn("plain", mailbox=bounded(9))
    weighed = await later.spawn("weighed", mailbox=bounded(9, weigher=lambda _: 1))
    waiting = await later.spawn("waiting", on={"boom": boom})
    waiting.ref.tell("boom")
    await settle()
    assert [subject.cell.capacity for subject in (plain, weighed, waiting)] == [9, -1, -1]


async def test_one_that_drains_has_no_room(bench: Bench):
    a = await busy(bench, bounded(9))
    for _ in range(2):
        a.ref.tell("wait")
    a.cell.request_stop("test", drain=True)
    assert a.cell.capacity == 9
    await trio.sleep(1.5)
    assert a.cell.capacity == -1
    assert not a.ref.tell(1)


async def test_where_senders_wait_there_is_no_room(bench: Bench):
    a = await busy(bench, bounded(1))
    a.ref.tell(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.ref.send, 2, 9)
        await settle()
        assert a.cell.capacity == -1
    await settle()
    assert a.cell.capacity == 1


async def test_the_lane_holds_bare_messages(bench: Bench):
    a = await busy(bench, bounded(9))
    message = object()
    a.ref.tell(message)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.ref.ask, "asked", 9)
        await settle()
        told, asked = a.cell.lane
        assert told is message
        assert (type(asked), asked.message) == (Request, "asked")
        a.cell.signal("signal")
        a.cell.signal("another")
        assert [type(item) for item in a.cell.lane] == [Request, object, Request]
        assert a.cell.lane[0] is MARK
        assert a.cell.depth == 2


async def test_a_parked_actor_has_no_lane(bench: Bench):
    a = await bench.spawn("a", on={"wait": lambda _: trio.sleep(1)})
    assert a.cell.lane is None
    a.ref.tell("wait")
    await settle()
    assert a.cell.lane is not None
    await trio.sleep(2)
    assert a.cell.lane is None


async def test_a_handler_is_awaited_by_the_loop_itself(bench: Bench):
    seen: list[tuple[Any, Any, Any]] = []

    def look(actor: Actor) -> None:
        task = trio.lowlevel.current_task()
        seen.append((sys._getframe(2).f_code, task, task._cancel_status._scope))  # type: ignore[attr-defined]

    ref = await spawn_plain(bench, look)
    cell = ref.target
    for _ in range(3):
        ref.tell("x")
    await settle()
    await ref.ask("x", within=LONG)
    assert seen == [(Turns.serve.__code__, cell.task, cell.scope)] * 4


async def test_the_clock_is_read_every_8_messages(bench: Bench):
    now, reads = bench.system.now, 0

    def counted() -> float:
        nonlocal reads
        reads += 1
        return now()

    bench.system.now = counted
    heard: list[Actor] = []
    ref = await spawn_plain(bench, heard.append)
    reads = 0
    for _ in range(64):
        ref.tell("x")
    await settle()
    assert len(heard) == 64
    assert reads <= 1 + 64 / 8


class Passes(trio.abc.Instrument):
    """How many tasks were made ready between two looks of the loop at the outside."""

    def __init__(self) -> None:
        self.scheduled = [0]

    def before_io_wait(self, timeout: float) -> None:
        self.scheduled.append(0)

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        self.scheduled[-1] += 1


async def test_independent_children_are_stopped_some_hundreds_a_pass(bench: Bench):
    """Cancelling ten thousand at once would freeze the loop for a fifth of a second."""

    class Many(OpenHost):
        independent = True

    log = Log()
    host = await bench.spawn("host", Many)
    await host.do(lambda actor: [actor.start_child(Spec(str(n), lambda: Probe(log))) for n in range(1000)] and None)
    await settle()
    assert len(log.started) == 1000
    passes = Passes()
    trio.lowlevel.add_instrument(passes)
    await bench.stop(host)
    trio.lowlevel.remove_instrument(passes)
    assert len(log.ended) == 1000
    assert 256 <= max(passes.scheduled) < 300
