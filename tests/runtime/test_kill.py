from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import Crashed, Ended, Host, InvalidSpec, Killed, Spec, Stopped
from tests.support.actors import Bench, Log, OpenHost, Probe, Subject, boom, hang, running, settle, slow_stop

# --- killing


@pytest.mark.parametrize("make", [Probe, OpenHost])
async def test_a_kill_before_the_task_has_begun(bench: Bench, make: type[Probe]):
    log = Log()
    spec = Spec("a", lambda: make(log, start=hang))

    def start_and_kill(host: OpenHost) -> None:
        host.start_child(spec)
        host._cell.children["a"].kill("at once")

    host = await bench.spawn("host", OpenHost)
    await host.do(start_and_kill)
    await settle()
    assert log.started == [0]
    assert log.ended == [Killed("at once")]


async def test_a_killed_host_takes_its_children_along(bench: Bench):
    host = await bench.spawn("host", OpenHost, stop=lambda _: trio.sleep(0.1))
    a = await bench.spawn("a", under=host, on={"hang": hang}, stop=lambda _: trio.sleep(0.5))
    a.ref.tell("hang")
    await settle()
    a.ref.tell("queued")
    host.cell.kill("by hand")
    await trio.sleep(2)
    assert a.log.ended == [Killed("its host ended")]
    assert host.log.ended == [Killed("by hand")]
    assert host.log.started == [0, 1]
    assert ("/host/a", "queued", "dead") in bench.lost()


async def host_with_a_busy_child(bench: Bench, **options: Any) -> tuple[Subject, Subject]:
    """A host whose child is in a handler that does not come to its end."""
    host = await bench.spawn("host", OpenHost, **options)
    a = await bench.spawn("a", under=host, on={"hang": hang}, shutdown=100)
    a.ref.tell("hang")
    await settle()
    return host, a


async def test_a_host_that_is_killed_while_it_stops_its_children_was_killed(bench: Bench):
    host, a = await host_with_a_busy_child(bench)
    w = await bench.spawn("w", start=lambda actor: actor.watch(host.ref))
    await bench.stop(host, within=100)
    host.cell.kill("enough")
    await settle()
    assert a.log.ended == [Killed("its host ended")]
    assert host.log.ended == [Killed("enough")]
    assert w.log.heard == [Ended(host.ref, Killed("enough"))]
    assert [(crash.path, crash.detail) for crash in bench.crashes()] == [("/host", "enough")]
    assert host.ref.target is bench.system.dead


async def test_a_host_whose_children_do_not_end_in_its_time_was_killed(bench: Bench):
    host, a = await host_with_a_busy_child(bench)
    await bench.stop(host, within=3)
    await trio.sleep(3.1)
    assert host.log.ended == a.log.ended == [Killed("did not stop in time")]
    assert bench.node(host).state == "ended"


async def test_a_host_that_has_crashed_stays_so_though_its_children_had_to_be_killed(bench: Bench):
    host, a = await host_with_a_busy_child(bench, on={"boom": boom})
    host.ref.tell("boom")
    await settle()
    host.cell.kill("enough")
    await settle()
    assert [type(reason) for reason in host.log.ended] == [Crashed]
    assert a.log.ended == [Killed("its host ended")]


async def test_a_host_whose_own_host_ends_while_it_stops_its_children_was_killed(bench: Bench):
    above = await bench.spawn("above", OpenHost)
    host = await bench.spawn("host", OpenHost, under=above)
    a = await bench.spawn("a", under=host, on={"hang": hang}, shutdown=100)
    a.ref.tell("hang")
    await settle()
    await above.do(lambda actor: actor.stop_child("host", within=100))
    above.cell.kill("enough")
    await settle()
    assert a.log.ended == host.log.ended == [Killed("its host ended")]
    assert above.log.ended == [Killed("enough")]


@pytest.mark.parametrize("independent", [True, False])
async def test_a_kill_when_the_children_have_ended_changes_nothing(bench: Bench, independent: bool):
    class Family(OpenHost):
        pass

    Family.independent = independent
    host = await bench.spawn("host", Family, stop=lambda actor: actor._cell.kill("too late"))
    await bench.spawn("a", under=host)
    await bench.stop(host)
    assert host.log.ended == [Stopped("stopped by its host")]


async def test_cancelling_the_system_still_runs_every_stopped_hook():
    ended: list[str] = []
    with trio.CancelScope() as scope:
        async with running() as bench:
            host = await bench.spawn("host", OpenHost, stop=slow_stop(0.1, ended, "host"))
            a = await bench.spawn("a", under=host, on={"hang": hang}, stop=slow_stop(0.1, ended, "a"))
            a.ref.tell("hang")
            await settle()
            scope.cancel()
            await trio.sleep(1)
    assert ended == ["a", "host"]


# --- hosts that are ending


async def test_a_host_that_ends_starts_no_children(bench: Bench):
    """One that it started would never be stopped, and the host would wait for it for ever."""
    log = Log()

    def start(host: OpenHost) -> None:
        with pytest.raises(InvalidSpec, match="start_child"):
            host.start_child(Spec("late", lambda: Probe(log)))

    host = await bench.spawn("host", OpenHost, on={"boom": boom}, stop=start)
    host.ref.tell("boom")
    await settle()
    assert bench.crashes()[0].path == "/host"
    assert [type(report) for report in bench.reports] == [type(bench.crashes()[0])]
    assert host.cell.children == {}
    assert log.started == []


async def test_a_passive_child_is_not_woken_by_a_host_that_ends(bench: Bench):
    host = await bench.spawn("host", OpenHost, on={"boom": boom})
    a = await bench.spawn("a", under=host, on={"idle": lambda actor: actor.passivate()})
    last = await bench.spawn("last", under=host, stop=lambda _: trio.sleep(1))
    a.ref.tell("idle")
    await settle()
    host.ref.tell("boom")
    await settle()
    assert last.log.ended != []
    assert not a.ref.tell("wakes nobody")
    await trio.sleep(3)
    assert host.log.started == [0, 1]
    assert a.log.started == [0]
    assert a.ref.tell("the new incarnation may wake it")
    await settle()
    assert a.log.started == [0, 0]


async def test_plain_hosts_can_be_asked_for_their_children(bench: Bench):
    seen: list[Any] = []

    class Plain(Host):
        async def started(self) -> None:
            self.start_child(Spec("a", lambda: Probe(Log())))
            self.start_child(Spec("b", lambda: Probe(Log())))
            seen.extend((list(self.children), self.child("a"), self.child("z")))
            with pytest.raises(InvalidSpec, match="a name that no child of /host has"):
                self.start_child(Spec("a", lambda: Probe(Log())))
            with pytest.raises(InvalidSpec, match="one of: a, b"):
                self.stop_child("z")

    await bench.spawn("host", lambda *_: Plain())
    assert seen == [["a", "b"], bench.system.ref("/host/a"), None]
    host = await bench.spawn("empty", OpenHost)

    def stop(actor: OpenHost) -> None:
        with pytest.raises(InvalidSpec, match="nothing, no child runs"):
            actor.stop_child("z")

    await host.do(stop)
