"""Traps that other actor systems fell into, each named after the trap."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import ChildStarted, Dead, Full, HandlerFailed, Spec, TimedOut, WaitCycle
from tests.support.actors import (
    LONG,
    Bench,
    Boom,
    Log,
    OpenHost,
    Probe,
    boom,
    bounded,
    hang,
    running,
    settle,
)


async def test_a_reply_to_an_asker_who_has_gone_kills_the_server(bench: Bench):
    server = await bench.spawn("server", on={"slow": lambda _: trio.sleep(1)})
    with pytest.raises(TimedOut):
        await server.ref.ask("slow", within=0.5)
    with trio.move_on_after(0.1):
        await server.ref.ask("slow", within=LONG)
    await trio.sleep(3)
    assert server.log.started == [0]


async def test_the_timeout_starts_only_after_a_blocking_send(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1), on={"hang": hang})
    a.ref.tell("hang")
    await settle()
    start = trio.current_time()
    with pytest.raises(TimedOut):
        await a.ref.ask("in the queue", within=1)
    assert trio.current_time() - start <= 1.0011
    with pytest.raises(Full):
        await a.ref.ask("no room", within=1)
    assert trio.current_time() - start <= 1.0011
    await bench.stop(a, within=0)


async def test_a_crash_during_a_call_leaves_the_caller_hanging(bench: Bench):
    async def suicide(actor: Probe) -> None:
        actor._cell.kill("by itself")
        await trio.sleep(1)

    a = await bench.spawn("a", on={"boom": boom, "kill": suicide})
    start = trio.current_time()
    for message in ("boom", "kill"):
        with pytest.raises(HandlerFailed):
            await a.ref.ask(message, within=LONG)
    assert trio.current_time() == start


async def test_an_exception_returned_as_a_value_is_raised_at_the_caller(bench: Bench):
    a = await bench.spawn("a")
    for error in (ValueError("x"), KeyboardInterrupt(), StopIteration(3)):
        assert await a.ref.ask(error, within=1) is error


async def test_a_failed_start_leaves_a_zombie(bench: Bench):
    host = await bench.spawn("host", OpenHost)

    class Unmade(Probe):
        def __init__(self, log: Log) -> None:
            del log
            raise Boom("not made")

    for name, make, script in (("a", Probe, {"start": boom}), ("b", Unmade, {})):
        zombie = await bench.spawn(name, make, under=host, **script)
        assert host.cell.children == {}
        assert zombie.ref.target is bench.system.dead
        with pytest.raises(Dead):
            await zombie.ref.ask(1, within=1)
        assert await (await bench.spawn(name, under=host)).ref.ask(1, within=1) == 1  # the name is free
        await host.do(lambda actor, name=name: actor.stop_child(name))
        await settle()


async def test_a_temporary_childs_crash_cancels_its_siblings(bench: Bench):
    host = await bench.spawn("host", OpenHost)  # restarts nobody
    a = await bench.spawn("a", under=host, on={"boom": boom})
    b = await bench.spawn("b", under=host, on={"work": lambda _: trio.sleep(2)})
    b.ref.tell("work")
    a.ref.tell("boom")
    await trio.sleep(1)
    assert b.log.ended == []
    assert await b.ref.ask(1, within=2) == 1


async def test_stop_is_a_message_in_a_full_queue(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(2), on={n: lambda _: trio.sleep(1) for n in range(3)})
    for n in range(3):
        a.ref.tell(n)
        await settle()
    assert not a.ref.tell("full")
    await bench.stop(a)
    await trio.sleep(1.5)
    assert a.log.heard == [0]
    assert a.ref.target is bench.system.dead


async def test_a_stop_timeout_per_level_multiplies_with_depth():
    async with running(stop_within=8.0) as bench:
        host = bench.root
        for level in range(10):
            host = await bench.spawn(f"level{level}", OpenHost, under=host, shutdown=float("inf"), stop=hang)
        start = trio.current_time()
    assert trio.current_time() - start <= 8.001


async def test_a_deque_with_a_maximum_length_drops_the_oldest_under_a_policy_called_wait(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(2), on={"wait": lambda _: trio.sleep(1)})
    a.ref.tell("wait")
    await settle()
    assert [a.ref.tell(n) for n in range(5)] == [True, True, False, False, False]
    await trio.sleep(2)
    assert a.log.heard == ["wait", 0, 1]


@pytest.mark.parametrize("checkpoints", range(8))
async def test_an_aliveness_check_before_enqueueing_loses_the_message_put_after_the_drain(
    bench: Bench, checkpoints: int
):
    """However the put meets the end: what was accepted is handled or undelivered, and what was not was refused."""
    a = await bench.spawn("a", stop=lambda _: trio.lowlevel.checkpoint())
    await bench.root.do(lambda root: root.stop_child("a"))
    accepted = 0
    for n in range(checkpoints):
        await trio.lowlevel.checkpoint()
        accepted += a.ref.tell(n)
    await settle()
    counts = bench.system.totals.by_kind["Probe"]
    assert counts["handled"] + counts["undelivered"] == accepted
    assert len(bench.lost()) == checkpoints - counts["handled"]


async def test_a_scope_reused_after_a_crash_stays_cancelled(bench: Bench):
    a = await bench.spawn("a", on={"wait": lambda _: trio.sleep(1)})
    for incarnation in range(3):
        a.cell.kill("by hand")
        await settle()
        assert await a.ref.ask("wait", within=5) is None
        assert a.cell.incarnation == incarnation + 1


MIXED = BaseExceptionGroup("mixed", [Boom(), SystemExit(1), ExceptionGroup("inner", [Boom()])])


@pytest.mark.parametrize("error", [SystemExit(1), MIXED], ids=["SystemExit", "group"])
@pytest.mark.parametrize("place", ["handler", "task", "started", "stopped"])
async def test_one_exception_escaping_a_cell_cancels_every_sibling(bench: Bench, place: str, error: BaseException):
    async def fail(actor: Probe | None = None) -> None:
        if place == "task" or actor is None or actor.incarnation == 0:
            raise error

    siblings = [await bench.spawn(f"s{n}", on={"work": lambda _: trio.sleep(2)}) for n in range(3)]
    for sibling in siblings:
        sibling.ref.tell("work")
    script: dict[str, Any] = {"started": {"start": fail}, "stopped": {"stop": fail}}.get(place, {"on": {"x": fail}})
    a = await bench.spawn("a", **script)
    if place == "task":
        await a.do(lambda actor: actor.start(fail))
    elif place == "stopped":
        a.cell.kill("by hand")
    else:
        a.ref.tell("x")
    await trio.sleep(3)
    assert [sibling.log.heard for sibling in siblings] == [["work"]] * 3
    assert [sibling.log.ended for sibling in siblings] == [[]] * 3
    assert bench.log.started == [0]


async def test_rescheduling_a_task_twice(bench: Bench):
    """Trio would fail an assertion: everything that can wake a task does so in the same step."""
    a = await bench.spawn("a")
    a.ref.tell(1)
    a.cell.signal("signal")
    a.ref.tell(2)
    a.cell.kill("by hand")
    a.ref.tell(3)
    await settle()
    assert a.log.started == [0, 1]
    kept: list[Any] = []
    b = await bench.spawn("b", on={"defer": lambda actor: kept.append(actor.defer())})

    async def ask() -> None:
        with pytest.raises(HandlerFailed):
            await b.ref.ask("defer", within=5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await settle()
        request = kept[0]._request
        b.cell.kill("by hand")
        await settle()
        request.fire()
        assert not kept[0].answer(1)
        assert not request.fail(Boom())
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.ref.ask, "defer", 5)
            await settle()
            kept[1].answer(1)
            scope.cancel()
            kept[1].answer(2)


async def test_a_parked_cancel_counted_as_a_failure(bench: Bench):
    a = await bench.spawn("a")
    a.ref.tell(1)
    await settle()
    await bench.stop(a, within=0)
    a = await bench.spawn("a")
    a.ref.tell(1)
    await settle()
    a.cell.kill("by hand")
    await settle()
    assert bench.counters(a).failed == 0
    assert bench.system.totals.by_kind["Probe"]["failed"] == 0


async def test_wheel_buckets_that_are_never_dropped(bench: Bench):
    a = await bench.spawn("a")
    for _ in range(2500):
        await a.ref.ask(1, within=1000)
        await trio.sleep(0.001)
    assert len(bench.system.wheel) == 0
    assert bench.system.wheel.buckets < 1100


async def test_stored_exceptions_that_keep_their_frames(bench: Bench):
    class Heavy:
        """Something that a frame would keep alive."""

    async def fail(_: Any) -> None:
        heavy = Heavy()
        try:
            await boom()
        except Boom as error:
            raise ValueError(id(heavy)) from error

    import gc

    a = await bench.spawn("a", on={"fail": fail})
    a.ref.tell("fail")
    await settle()
    reason = a.log.ended[0]
    assert reason.error.__traceback__ is reason.error.__cause__.__traceback__ is None
    assert not any(isinstance(each, Heavy) for each in gc.get_objects())


@pytest.mark.repeats
async def test_waiting_for_started_in_the_supervisors_turn_so_that_ten_thousand_start_one_by_one(bench: Bench):
    class Many(OpenHost):
        independent = True

        async def receive(self, message: Any) -> object:
            if isinstance(message, ChildStarted):
                self.log.ended.append(trio.current_time())  # type: ignore[arg-type]
                return None
            return await super().receive(message)

    host = await bench.spawn("host", Many)
    start = trio.current_time()
    log = Log()

    def start_all(actor: OpenHost) -> None:
        for n in range(10_000):
            actor.start_child(Spec(str(n), lambda: Probe(log, start=lambda _: trio.sleep(1))))

    await host.do(start_all)
    assert bench.system.ref("/host/9999").tell("accepted at once")
    await trio.sleep(1.5)
    assert len(host.log.ended) == 10_000
    assert set(host.log.ended) == {start + 1}
    await bench.stop(host, within=30)


async def test_a_child_that_asks_its_parent_in_started(bench: Bench):
    answers: list[Any] = []

    async def ask(actor: Probe) -> None:
        answers.append(await actor.system.ref("/host").ask("are you there", within=5))

    host = await bench.spawn("host", OpenHost)
    await bench.spawn("a", under=host, start=ask)
    assert answers == ["are you there"]


async def test_a_parent_that_asks_a_child_which_asks_it_in_started(bench: Bench):
    """One of them has to give way: the one who closes the cycle."""
    errors: list[Any] = []

    async def ask(actor: Probe) -> None:
        try:
            await actor.system.ref("/host").ask("are you there", within=LONG)
        except WaitCycle as cycle:
            errors.append(cycle.path)

    async def start_and_ask(actor: OpenHost) -> Any:
        return await actor.start_child(Spec("a", lambda: Probe(Log(), start=ask))).ask("hello", within=LONG)

    host = await bench.spawn("host", OpenHost)
    assert await host.do(start_and_ask) == "hello"
    assert errors == [("/host/a", "/host", "/host/a")]


async def test_two_full_actors_that_send_to_each_other(bench: Bench):
    ended: list[str] = []

    def sending(other: str) -> Any:
        async def send(actor: Probe) -> None:
            await trio.sleep(1)  # until both mailboxes are full
            try:
                await actor.system.ref(other).send("x", within=LONG)
                ended.append("sent")
            except WaitCycle as cycle:
                ended.append(" -> ".join(cycle.path))

        return send

    a = await bench.spawn("a", mailbox=bounded(1), on={"go": sending("/b")})
    b = await bench.spawn("b", mailbox=bounded(1), on={"go": sending("/a")})
    start = trio.current_time()
    for subject in (a, b):
        subject.ref.tell("go")
    await settle()
    for subject in (a, b):
        assert subject.ref.tell("fills it")
    await trio.sleep(2)
    assert sorted(ended) in (["/a -> /b -> /a", "sent"], ["/b -> /a -> /b", "sent"])
    assert trio.current_time() - start == 2


async def test_two_tasks_of_full_actors_that_send_to_each_other_end_by_their_deadlines(bench: Bench):
    """A task is no handler: there is no cycle to find, and the actors go on."""
    ended: list[str] = []

    async def send(actor: Probe, other: str) -> None:
        await trio.sleep(1)
        try:
            await actor.system.ref(other).send("x", within=3)
        except TimedOut:
            ended.append(actor.ref.path)

    subjects = [await bench.spawn(name, mailbox=bounded(1), on={"hang": hang}) for name in "ab"]
    for subject, other in zip(subjects, ("/b", "/a"), strict=True):
        await subject.do(lambda actor, other=other: actor.start(send, actor, other) and None)
        subject.ref.tell("hang")
    await settle()
    for subject in subjects:
        assert subject.ref.tell("fills it")
    await trio.sleep(5)
    assert sorted(ended) == ["/a", "/b"]
    for subject in subjects:
        await bench.stop(subject, within=0)


async def test_an_overflow_policy_throws_into_the_sender(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1), on={"hang": hang})
    sender = await bench.spawn("sender", on={"go": lambda _: [a.ref.tell(n) for n in range(3)]})
    a.ref.tell("hang")
    await settle()
    assert await sender.ref.ask("go", within=1) == [True, False, False]
    assert sender.log.started == [0]
    await bench.stop(a, within=0)


async def test_a_timer_runs_twice_after_a_restart(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom}, start=lambda actor: actor.timer("t", 1, "tick", every=1))
    a.ref.tell("boom")
    await trio.sleep(3.5)
    assert a.log.heard == ["boom", "tick", "tick", "tick"]
