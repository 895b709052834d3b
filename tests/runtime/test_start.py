from __future__ import annotations

from typing import Any

import trio

from runtime import (
    ChildEnded,
    ChildStarted,
    Spec,
    is_failure,
)
from tests.support.actors import (
    Bench,
    Log,
    OpenHost,
    Probe,
    boom,
    hang,
    settle,
)


async def test_a_failed_start_ends_the_incarnation(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    a = await bench.spawn("a", under=host, start=boom)
    [ended] = host.log.heard
    assert isinstance(ended, ChildEnded)
    assert str(ended.reason) == "failed to start: Boom: asked for"
    assert a.log.ended == [ended.reason]
    assert host.cell.children == {}
    [crash] = bench.crashes()
    assert (crash.message, crash.kind) == (None, "Probe")


async def test_a_factory_that_makes_no_actor_is_a_failed_start(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    spec = Spec("a", object)  # type: ignore[arg-type]
    await host.do(lambda actor: actor.start_child(spec))
    await settle()
    [ended] = host.log.heard
    assert isinstance(ended, ChildEnded)
    assert str(ended.reason) == "failed to start: InvalidSpec: a.start() is 'object'; allowed: an Actor"
    [crash] = bench.crashes()
    assert crash.kind == "?"


async def test_what_was_told_to_one_that_never_started_is_undelivered(bench: Bench):
    host = await bench.spawn("host", OpenHost)

    def start(actor: OpenHost) -> bool:
        return actor.start_child(Spec("a", lambda: Probe(Log(), start=boom))).tell("early")

    assert await host.do(start)
    await settle()
    assert bench.lost() == [("/host/a", "early", "dead")]


async def test_messages_wait_for_started(bench: Bench):
    a = await bench.spawn("a", start=lambda _: trio.sleep(1))
    assert bench.node(a).state == "starting"
    assert await a.ref.ask(1, within=5) == 1
    assert bench.node(a).state == "running"


async def test_a_start_that_takes_too_long_is_cancelled_and_a_failure(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    a = await bench.spawn("a", under=host, start=hang, start_within=2)
    await trio.sleep(1.9)
    assert host.log.heard == []
    await trio.sleep(0.2)
    [ended] = host.log.heard
    assert isinstance(ended, ChildEnded)
    assert is_failure(ended.reason)
    assert str(ended.reason) == "did not start within 2 s"
    assert a.log.ended == [ended.reason]


async def test_the_deadline_of_a_start_is_over_once_it_has_started(bench: Bench):
    a = await bench.spawn("a", start=lambda _: trio.sleep(1), start_within=2)
    await trio.sleep(10)
    assert await a.ref.ask(1, within=1) == 1


async def test_a_start_without_a_deadline(bench: Bench):
    a = await bench.spawn("a", start=lambda _: trio.sleep(100), start_within=float("inf"))
    await trio.sleep(101)
    assert await a.ref.ask(1, within=1) == 1


async def test_a_child_may_ask_its_parent_as_it_starts(bench: Bench):
    answers: list[Any] = []

    async def ask_parent(actor: Probe) -> None:
        answers.append(await actor.system.ref("/host").ask("hello", within=5))

    host = await bench.spawn("host", OpenHost)
    await bench.spawn("a", under=host, start=ask_parent)
    assert answers == ["hello"]


async def test_an_announcing_actor_says_itself_when_it_has_started(bench: Bench):
    class Announcing(Probe):
        announces = True

    host = await bench.spawn("host", OpenHost)
    a = await bench.spawn("a", Announcing, under=host, start_within=1)
    await trio.sleep(5)
    assert host.log.heard == []
    await a.do(lambda actor: actor._cell.announce())
    await settle()
    assert host.log.heard == [ChildStarted("a", a.ref)]


async def test_a_start_is_announced_though_the_child_has_ended_since(bench: Bench):
    host = await bench.spawn("host", OpenHost)

    async def start_and_fail(actor: OpenHost) -> None:
        actor.start_child(Spec("a", lambda: Probe(Log(), on={"boom": boom}))).tell("boom")
        await trio.sleep(1)

    await host.do(start_and_fail)
    await settle()
    assert [type(message) for message in host.log.heard] == [ChildStarted, ChildEnded]
