from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import (
    Actor,
    ChildFailed,
    Crash,
    Crashed,
    HookFailed,
    Host,
    Killed,
    Restarting,
    Spec,
    Stopped,
    SystemFailed,
)
from tests.support.actors import Bench, Boom, Later, Log, OpenHost, Probe, Subject, boom, hang, running, settle

# --- stopped


async def test_stopped_runs_at_every_end_with_the_reason(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom, "done": lambda actor: actor.stop("done")})
    a.ref.tell("boom")
    await settle()
    a.cell.kill("by hand")
    await settle()
    a.ref.tell("done")
    await settle()
    assert [str(reason) for reason in a.log.ended] == ["Boom: asked for", "by hand", "done"]
    assert [type(reason) for reason in a.log.ended] == [Crashed, Killed, Stopped]


@pytest.mark.parametrize("who", ["the actor", "its host"])
async def test_stopped_is_shielded_from_cancellation(bench: Bench, who: str):
    steps: list[str] = []

    async def stopped(_: Any) -> None:
        await trio.sleep(1)
        steps.append("cleaned up")

    host = await bench.spawn("host", OpenHost)
    a = await bench.spawn("a", under=host, on={"hang": hang}, stop=stopped)
    a.ref.tell("hang")
    await settle()
    (a if who == "the actor" else host).cell.kill("by hand")
    await trio.sleep(2)
    assert steps == ["cleaned up"]


async def test_a_stopped_hook_that_hangs_is_cut_at_the_grace_and_reported(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom}, stop=lambda actor: hang() if actor.incarnation == 0 else None)
    start = trio.current_time()
    a.ref.tell("boom")
    assert await a.ref.ask(1, within=10) == 1
    assert trio.current_time() - start == pytest.approx(2.0)
    assert [type(report) for report in bench.reports] == [Crash, HookFailed]
    assert bench.reports[1].error is None


async def test_a_stopped_hook_that_fails_is_reported_and_changes_nothing(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom}, stop=lambda actor: 1 // 0 if actor.incarnation == 0 else None)
    a.ref.tell("boom")
    assert await a.ref.ask(1, within=10) == 1
    _, failed = bench.reports
    assert isinstance(failed, HookFailed)
    assert isinstance(failed.error, ZeroDivisionError)
    assert failed.error.__traceback__ is None


# --- hosts


async def test_a_host_without_a_policy_fails_when_a_child_fails(bench: Bench):
    class Plain(Host):
        async def started(self) -> None:
            self.start_child(Spec("child", lambda: Probe(Log(), on={"boom": boom})))

    host = await bench.spawn("host", lambda *_: Plain())
    bench.system.ref("/host/child").tell("boom")
    await settle()
    child, crash = bench.crashes()
    assert child.path == "/host/child"
    assert crash.path == "/host"
    assert isinstance(crash.error, ChildFailed)
    assert crash.detail == "ChildFailed: /host/child: Boom: asked for"
    assert crash.message == "ChildEnded"
    assert host.cell.incarnation == 1


async def test_a_host_does_not_mind_a_child_that_ends_well(bench: Bench):
    class Plain(Host):
        async def started(self) -> None:
            self.start_child(Spec("child", lambda: Probe(Log(), on={"done": lambda actor: actor.stop()})))

    host = await bench.spawn("host", lambda *_: Plain())
    bench.system.ref("/host/child").tell("done")
    await settle()
    assert host.cell.incarnation == 0
    assert host.cell.children == {}


async def test_a_crash_of_a_host_takes_its_children_along_and_nobody_else(bench: Bench):
    host = await bench.spawn("host", OpenHost, on={"boom": boom})
    other = await bench.spawn("other")
    child = await bench.spawn("child", under=host)
    host.ref.tell("boom")
    await settle()
    assert child.log.ended == [Stopped("its host stopped")]
    assert host.cell.incarnation == 1
    assert other.log.ended == []


async def test_the_crash_of_the_root_ends_the_system():
    with pytest.RaisesGroup(SystemFailed) as caught:
        async with running(OpenHost) as bench:
            bench.root.ref.tell(lambda _: 1 // 0)
            await trio.sleep(1)
    error = caught.value.exceptions[0]
    assert str(error) == "the root ended: ZeroDivisionError: integer division or modulo by zero"
    assert isinstance(error.__cause__, ZeroDivisionError)


async def test_a_root_that_is_killed_has_failed():
    with pytest.RaisesGroup(SystemFailed):
        async with running(OpenHost) as bench:
            bench.system.root.kill("by hand")  # type: ignore[union-attr]
            await trio.sleep(1)


async def test_a_root_that_cannot_be_made_has_failed():
    def make(_: Log) -> Actor:
        raise Boom("no root")

    with pytest.RaisesGroup(SystemFailed):
        async with running(make):
            await trio.sleep(1)


async def test_a_listener_to_reports_that_fails_disturbs_nobody():
    async with running() as bench:
        bench.system._report = lambda _: 1 // 0
        a = await bench.spawn("a", on={"boom": boom})
        a.ref.tell("boom")
        assert await a.ref.ask(1, within=1) == 1
        assert bench.system.report_failures == 1
        assert isinstance(bench.system.report_error, ZeroDivisionError)
        assert bench.system.report_error.__traceback__ is None


async def test_a_system_without_a_listener():
    from runtime import open_system

    log = Log()
    async with open_system(Spec("root", lambda: Later(log))) as system:
        root = Subject(system.ref("/"), log)
        ref = await root.do(lambda host: host.start_child(Spec("a", lambda: Probe(log, on={"boom": boom}))))
        ref.tell("boom")
        with pytest.raises(Restarting):
            await ref.ask(1, within=5)
        await trio.sleep(2)
        assert await ref.ask(1, within=5) == 1


async def test_a_cancelled_that_was_kept_is_a_failure_and_ends_no_sibling(bench: Bench):
    """Raised again in the wrong place it would cancel the host's nursery."""
    kept: list[trio.Cancelled] = []

    async def keep(_: Any = None) -> None:
        with trio.move_on_after(0.1):
            try:
                await trio.sleep(1)
            except trio.Cancelled as cancelled:
                kept.append(cancelled)
                raise
        raise kept[0]

    sibling = await bench.spawn("sibling")
    a = await bench.spawn("a", on={"keep": keep, "group": lambda _: group()})

    async def group() -> None:
        raise BaseExceptionGroup("with a Cancelled", [kept[0], Boom()])

    a.ref.tell("keep")
    await trio.sleep(1)
    assert isinstance(a.log.ended[0], Crashed)
    a.ref.tell("group")
    await settle()
    assert isinstance(a.log.ended[1], Crashed)
    await a.do(lambda actor: actor.start(keep))
    await trio.sleep(1)
    assert isinstance(a.log.heard[-1].error, trio.Cancelled)
    assert sibling.log.ended == []
    assert sibling.log.started == [0]
    assert a.log.started == [0, 1, 2]
