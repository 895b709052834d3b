from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import (
    ChildEnded,
    Crash,
    Crashed,
    HandlerFailed,
    HookFailed,
    Killed,
    Refused,
    RefusedTell,
    Restarted,
    is_failure,
)
from runtime._failure import describe, strip
from tests.support.actors import LONG, Bench, Boom, Log, OpenHost, Probe, boom, hang, running, settle

# --- refusing


async def test_a_refused_tell_counts_as_handled_and_is_reported(bench: Bench):
    a = await bench.spawn("a", on={"no": lambda _: Refused("no")})
    a.ref.tell("no")
    await settle()
    assert bench.reports == [RefusedTell("/a", "str")]
    assert bench.counters(a).handled == 1
    assert a.log.started == [0]


# --- crashing


async def test_a_crash_ends_the_incarnation_and_is_counted_and_reported_once(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom})
    for message in (1, "boom", 2):
        a.ref.tell(message)
    await settle()
    counters = bench.counters(a)
    assert (counters.handled, counters.failed) == (2, 1)
    [crash] = bench.crashes()
    assert (crash.path, crash.kind, crash.incarnation, crash.message) == ("/a", "Probe", 0, "str")
    assert crash.detail == "Boom: asked for"
    assert bench.node(a).last_error == "Boom: asked for"
    assert a.log.ended[0].error is crash.error
    assert str(a.log.ended[0]) == "Boom: asked for"


async def test_a_report_has_the_traceback_and_afterwards_no_frame_is_kept():
    seen: list[Any] = []

    def look(report: Any) -> None:
        if isinstance(report, Crash):
            seen.append((report.error.__traceback__, report.error.__cause__.__traceback__))

    async with running() as bench:
        bench.system._report = look

        async def fail(_: Any) -> None:
            try:
                await boom()
            except Boom as error:
                raise ValueError("because") from error

        a = await bench.spawn("a", on={"fail": fail})
        a.ref.tell("fail")
        await settle()
        error = a.log.ended[0].error
        assert None not in seen[0]
        assert error.__traceback__ is None
        assert error.__cause__.__traceback__ is None


async def test_what_a_restart_does(bench: Bench):
    """The table at the end of SEMANTICS.md, its first column."""
    seen: list[Any] = []
    b = await bench.spawn("b")

    def begin(actor: Probe) -> None:
        if actor.incarnation == 0:
            actor.state = "old"
            actor.register("name")
            actor.subscribe("topic")
            actor.watch(b.ref)
            actor.timer("t", 5, "tick", every=5)
            actor.start(hang)

    a = await bench.spawn("a", OpenHost, start=begin, on={"boom": boom, "defer": lambda actor: actor.defer() and None})
    child = await bench.spawn("child", under=a)
    w = await bench.spawn("w", start=lambda actor: actor.watch(a.ref))

    async def owed() -> None:
        with pytest.raises(HandlerFailed):
            await a.ref.ask("defer", within=LONG)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(owed)
        await settle()
        a.ref.tell("boom")
        a.ref.tell("waiting")
    await settle()
    cell = a.cell
    seen = await a.do(lambda actor: [hasattr(actor, "state"), dict(actor.children), actor.incarnation])
    assert seen == [False, {}, 1]
    assert a.log.heard[-1] == "waiting"
    assert "boom" in a.log.heard
    assert a.log.heard.count("boom") == 1
    assert cell.links.tasks == cell.links.timers == cell.links.watching == cell.links.held == {}
    assert child.ref.target is bench.system.dead
    assert b.cell.links.watchers == {}
    assert [type(message) for message in w.log.heard] == [Restarted]
    assert bench.system.registry.lookup("name") is a.ref
    assert bench.system.topics.subscribers("topic") == 1
    assert bench.counters(a).failed == 1


ODD = [
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    StopIteration(),
    BaseExceptionGroup("mixed", [Boom(), SystemExit(1)]),
    ExceptionGroup("nested", [ExceptionGroup("inner", [Boom()])]),
]


@pytest.mark.parametrize("where", ["receive", "started", "factory", "stopped"])
@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
async def test_nothing_that_an_actor_raises_reaches_others(bench: Bench, error: BaseException, where: str):
    fuse = [error]

    def fail(_: Any = None) -> None:
        if fuse:
            raise fuse.pop()

    def make(log: Log, **script: Any) -> Probe:
        if where == "factory":
            fail()
        return Probe(log, **script)

    host = await bench.spawn("host", OpenHost)
    sibling = await bench.spawn("sibling", under=host)
    script = {"receive": {"on": {"fail": fail}}, "started": {"start": fail}, "stopped": {"stop": fail}, "factory": {}}
    a = await bench.spawn("a", make, under=host, **script[where])
    a.ref.tell("fail")
    await settle()
    if where == "stopped":
        await host.do(lambda actor: actor.stop_child("a"))
        await settle()
        assert [type(report) for report in bench.reports] == [HookFailed]
    else:
        ended = host.log.heard[-1]
        assert isinstance(ended, ChildEnded)
        assert isinstance(ended.reason, Crashed)
        assert ended.reason.in_start == (where != "receive")
    assert a.ref.target is bench.system.dead
    assert await sibling.ref.ask(1, within=1) == 1
    assert host.log.started == [0]


class Mute(Exception):
    """An error whose text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("how", ["receive", "started", "task", "batch", "stopped"])
async def test_an_error_that_has_no_text_is_an_error_like_others(bench: Bench, how: str):
    async def fail(_: Any = None) -> None:
        raise Mute

    script: dict[str, Any] = {"on": {"fail": fail}}
    if how == "started":
        script = {"start": lambda actor: fail() if actor.incarnation == 0 else None}
    if how == "stopped":
        script = {"stop": fail}
    sibling = await bench.spawn("sibling")
    a = await bench.spawn("a", **script)
    if how == "receive":
        with pytest.raises(HandlerFailed, match="its text failed with RuntimeError"):
            await a.ref.ask("fail", within=5)
    elif how == "task":
        await a.do(lambda actor: actor.start(fail))
    elif how == "stopped":
        await bench.stop(a)
    await settle()
    assert await sibling.ref.ask(1, within=1) == 1
    if how in ("receive", "started"):
        assert str(a.log.ended[0]).endswith("Mute (its text failed with RuntimeError)")
        assert a.log.started == [0, 1]


def test_describe():
    assert describe(Boom("x")) == "Boom: x"
    assert describe(Mute()) == "Mute (its text failed with RuntimeError)"


def test_strip_finds_every_frame():
    def raised(error: BaseException) -> BaseException:
        try:
            raise error
        except BaseException as caught:
            return caught

    deep = raised(Boom("deep"))
    unraised = ValueError("never raised itself")
    unraised.__cause__ = deep
    member = raised(Boom("member"))
    group = raised(ExceptionGroup("group", [member]))
    top = raised(KeyError("top"))
    top.__cause__, top.__context__ = unraised, group
    deep.__context__ = top  # a cycle
    strip(top)
    assert [error.__traceback__ for error in (top, group, member, unraised, deep)] == [None] * 5
    strip(None)


async def test_a_long_error_is_cut(bench: Bench):
    async def fail(_: Any) -> None:
        raise Boom("x" * 10_000)

    a = await bench.spawn("a", on={"fail": fail})
    a.ref.tell("fail")
    await settle()
    error = bench.node(a).last_error
    assert error is not None
    assert len(error) == 500


async def test_a_report_of_an_idle_kill_names_no_message_of_an_earlier_life(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom})
    a.ref.tell("boom")
    await settle()
    a.cell.kill("by hand")
    await settle()
    first, second = bench.crashes()
    assert (first.message, second.message) == ("str", None)
    assert (second.error, second.detail, second.incarnation) == (None, "by hand", 1)
    assert a.log.ended[1] == Killed("by hand")
    assert is_failure(a.log.ended[1])


async def test_a_crash_on_a_message_of_the_kernel_names_it(bench: Bench):
    a = await bench.spawn("a", on={"tick": boom})
    await a.do(lambda actor: actor.timer("t", 1, "tick"))
    await trio.sleep(2)
    assert bench.crashes()[0].message == "str"
    assert (bench.counters(a).failed, bench.counters(a).handled) == (0, 1)
