from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import trio

from runtime import LoopBlocked, Spec, Stuck, Watchdog, open_system, watch_loop
from runtime._watchdog import describe_block
from tests.support.actors import LONG, Bench, Log, OpenHost, Probe, settle

if TYPE_CHECKING:
    from trio.testing import MockClock


def stuck(bench: Bench) -> list[Stuck]:
    return [report for report in bench.reports if isinstance(report, Stuck)]


async def watched(bench: Bench, after: float = 10.0) -> None:
    await bench.spawn("watchdog", lambda *_: Watchdog(after, every=1.0))


async def test_an_actor_that_gets_nothing_done_is_reported_once(bench: Bench):
    await watched(bench)
    a = await bench.spawn("a", on={"hang": lambda _: trio.sleep(LONG)})
    await bench.spawn("idle")
    a.ref.tell("hang")
    a.ref.tell(1)
    await trio.sleep(9)
    assert stuck(bench) == []
    await trio.sleep(60)
    [report] = stuck(bench)
    assert (report.path, report.kind, report.state, report.handling, report.depth) == (
        "/a",
        "Probe",
        "running",
        "str",
        1,
    )
    assert 10 <= report.age <= 12
    await bench.stop(a, within=0)


async def test_it_is_reported_again_when_it_gets_stuck_again(bench: Bench):
    await watched(bench)
    a = await bench.spawn("a", on={"slow": lambda _: trio.sleep(15)})
    for _ in range(2):
        a.ref.tell("slow")
        await trio.sleep(30)
    assert len(stuck(bench)) == 2


async def test_slow_progress_is_progress(bench: Bench):
    """Also within one turn, which is as long as its handlers."""
    await watched(bench)
    a = await bench.spawn("a", on={n: lambda _: trio.sleep(4) for n in range(20)})
    for n in range(20):
        a.ref.tell(n)
    await trio.sleep(100)
    assert a.log.heard == list(range(20))
    assert stuck(bench) == []


async def test_one_that_is_suspended_is_not_stuck(bench: Bench):
    await watched(bench)
    a = await bench.spawn("a")
    bench.system.suspend("/a")
    await settle()
    a.ref.tell(1)
    await trio.sleep(60)
    assert stuck(bench) == []
    bench.system.resume("/a")


async def test_those_that_end_are_forgotten(bench: Bench):
    await watched(bench)
    a = await bench.spawn("a", on={"hang": lambda _: trio.sleep(LONG)})
    a.ref.tell("hang")
    await trio.sleep(3)
    await bench.stop(a, within=0)
    await trio.sleep(3)
    assert bench.system.root is not None
    assert bench.system.root.children["watchdog"].actor._seen == {}


async def test_a_large_tree_is_looked_at_in_parts(bench: Bench):
    class Many(OpenHost):
        independent = True

    host = await bench.spawn("host", Many)
    log = Log()
    await host.do(lambda actor: [actor.start_child(Spec(str(n), lambda: Probe(log))) for n in range(2100)] and None)
    await watched(bench)
    last = bench.system.ref("/host/2099")
    last.tell(lambda _: trio.sleep(LONG))
    await trio.sleep(30)
    assert [report.path for report in stuck(bench)] == ["/host/2099"]
    await bench.stop(host, within=0)


async def test_a_blocked_loop_is_described_with_its_actor(bench: Bench):
    seen: list[LoopBlocked] = []

    def look(_: Any) -> None:
        seen.append(describe_block(threading.get_ident(), 0.5))

    a = await bench.spawn("a", on={"look": look})
    a.ref.tell("look")
    await settle()
    assert (seen[0].path, seen[0].message, seen[0].seconds) == ("/a", "str", 0.5)
    assert "in look" in seen[0].stack


async def test_a_blocked_loop_outside_any_actor_is_described_without(bench: Bench):
    block = describe_block(threading.get_ident(), 0.5)
    assert (block.path, block.message) == (None, None)
    assert describe_block(-1, 0.5).stack == ""


def test_a_blocked_loop_is_found_while_it_is_blocked():
    """Real time and a real thread: that is what this is about."""
    seen: list[LoopBlocked] = []
    found = threading.Event()

    def note(block: LoopBlocked) -> None:
        seen.append(block)
        found.set()

    def hold(_: Any) -> None:
        assert found.wait(10)
        time.sleep(0.05)  # and once only, though it goes on

    async def main() -> None:
        async with open_system(Spec("root", lambda: OpenHost(Log()))) as system:
            with watch_loop(system, note, after=0.02):
                ref = system.ref("/")
                await ref.ask(hold, within=20)

    trio.run(main)
    assert [block.path for block in seen] == ["/"]
    assert "in hold" in seen[0].stack


async def test_the_beat_of_the_loop_watch_goes_on(autojump_clock: MockClock, bench: Bench):
    seen: list[LoopBlocked] = []
    with watch_loop(bench.system, seen.append, after=1.0):
        await trio.sleep(3)
        assert len(bench.system.wheel) == 1
    await trio.sleep(1)
    assert seen == []
    assert len(bench.system.wheel) == 0
