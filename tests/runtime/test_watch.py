from __future__ import annotations

from typing import Any

import trio

from runtime import Ended, Killed, Passivated, Restarted, Stopped
from tests.support.actors import Bench, OpenHost, Probe, Subject, boom, bounded, running, settle


def watching(*subjects: Subject) -> Any:
    """A `started` that watches."""

    def start(actor: Probe) -> None:
        for subject in subjects:
            actor.watch(subject.ref)

    return start


def brief(log: list[Any]) -> list[Any]:
    """Notices in a form that compares."""
    return [
        ("restarted", message.ref.path, message.incarnation)
        if isinstance(message, Restarted)
        else ("ended", message.ref.path, str(message.reason))
        if isinstance(message, Ended)
        else message
        for message in log
    ]


async def test_a_watcher_hears_of_every_restart_and_once_of_the_end(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom})
    w = await bench.spawn("w", start=watching(a))
    for _ in range(2):
        a.ref.tell("boom")
    await settle()
    await bench.stop(a, why="enough")
    a.ref.tell("too late")
    await settle()
    assert brief(w.log.heard) == [("restarted", "/a", 1), ("restarted", "/a", 2), ("ended", "/a", "enough")]
    assert w.cell.links.watching == {}


async def test_watching_twice_is_watching_once(bench: Bench):
    a = await bench.spawn("a")
    w = await bench.spawn("w", start=watching(a, a))
    await bench.stop(a)
    assert len(w.log.heard) == 1


async def test_watching_what_has_ended_gives_ended_at_once(bench: Bench):
    a = await bench.spawn("a")
    await bench.stop(a)
    w = await bench.spawn("w", start=watching(a))
    assert brief(w.log.heard) == [("ended", "/a", "not running")]


async def test_a_watcher_in_another_system_hears_of_the_end_of_a_root(bench: Bench):
    async with running() as other:
        w = await bench.spawn("w", start=watching(other.root))
    await settle()
    assert brief(w.log.heard) == [("ended", "/", "the system stops")]
    assert w.cell.links.watching == {}


async def test_watching_one_that_is_passive_gives_ended_at_once(bench: Bench):
    a = await bench.spawn("a", on={"go": lambda actor: actor.passivate()})
    w = await bench.spawn("w", start=watching(a))
    a.ref.tell("go")
    await settle()
    v = await bench.spawn("v", start=watching(a))
    assert brief(w.log.heard) == [("ended", "/a", "passivated")]
    assert brief(v.log.heard) == [("ended", "/a", "not running")]
    assert a.log.started == [0]


async def test_unwatch(bench: Bench):
    a = await bench.spawn("a")
    w = await bench.spawn("w", start=watching(a))
    await w.do(lambda actor: (actor.unwatch(a.ref), actor.unwatch(a.ref)))
    assert a.cell.links.watchers == {}
    await bench.stop(a)
    assert w.log.heard == []
    v = await bench.spawn("v")
    await v.do(lambda actor: actor.unwatch(a.ref))


async def test_a_full_mailbox_cannot_refuse_a_notice(bench: Bench):
    a = await bench.spawn("a")
    w = await bench.spawn("w", mailbox=bounded(1), start=watching(a), on={"wait": lambda _: trio.sleep(1)})
    w.ref.tell("wait")
    await settle()
    w.ref.tell(1)
    await bench.stop(a)
    await trio.sleep(2)
    assert brief(w.log.heard) == ["wait", ("ended", "/a", "stopped by its host"), 1]


async def test_a_watch_ends_with_the_incarnation_of_the_watcher(bench: Bench):
    a = await bench.spawn("a")
    w = await bench.spawn("w", on={"boom": boom})
    await w.do(lambda actor: actor.watch(a.ref))
    w.ref.tell("boom")
    await settle()
    assert a.cell.links.watchers == {}
    await bench.stop(a)
    assert w.log.heard == ["boom"]


async def test_two_that_watch_each_other_and_both_restart(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom}, start=lambda actor: actor.watch(bench.system.ref("/b")))
    b = await bench.spawn("b", on={"boom": boom}, start=watching(a))
    await a.do(lambda actor: actor.watch(b.ref))
    for _ in range(3):
        a.ref.tell("boom")
        await settle()
        b.ref.tell("boom")
        await settle()
    for subject in (a, b):
        links = subject.cell.links
        assert len(links.watchers) == len(links.watching) == 1
    await bench.stop(a)
    assert b.cell.links.watching == b.cell.links.watchers == {}
    assert brief(b.log.heard)[-1] == ("ended", "/a", "stopped by its host")


async def test_watchers_that_come_and_go_leave_nothing(bench: Bench):
    a = await bench.spawn("a")
    for n in range(20):
        w = await bench.spawn(f"w{n}", start=watching(a))
        await bench.stop(w)
    assert a.cell.links.watchers == {}


async def test_an_actor_may_watch_itself(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom})
    await a.do(lambda actor: actor.watch(actor.ref))
    a.ref.tell("boom")
    await settle()
    assert a.log.heard == ["boom"]
    await a.do(lambda actor: actor.watch(actor.ref))
    await bench.stop(a)


async def test_a_host_may_watch_its_child(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    a = await bench.spawn("a", under=host)
    await host.do(lambda actor: actor.watch(a.ref))
    await bench.stop(host)
    assert a.log.ended == [Stopped("its host stopped")]


async def test_who_watches_a_child_hears_when_its_parent_takes_it_along(bench: Bench):
    host = await bench.spawn("host", OpenHost, on={"boom": boom})
    a = await bench.spawn("a", under=host)
    w = await bench.spawn("w", start=watching(a, host))
    host.ref.tell("boom")
    await settle()
    assert brief(w.log.heard) == [("ended", "/host/a", "its host stopped"), ("restarted", "/host", 1)]


async def test_the_end_of_a_killed_actor(bench: Bench):
    a = await bench.spawn("a", on={"hang": lambda _: trio.sleep(1000)})
    w = await bench.spawn("w", start=watching(a))
    a.ref.tell("hang")
    await settle()
    await bench.stop(a, within=0)
    await trio.sleep(1)
    [ended] = w.log.heard
    assert ended.reason == Killed("did not stop in time")


async def test_a_notice_comes_to_a_watcher_that_waits_for_room_elsewhere(bench: Bench):
    a = await bench.spawn("a")
    w = await bench.spawn("w", start=watching(a), on={"work": lambda _: trio.sleep(5)})
    w.ref.tell("work")
    await settle()
    await bench.stop(a)
    assert w.log.heard == ["work"]
    await trio.sleep(6)
    assert len(w.log.heard) == 2


# --- names


async def test_a_name_has_one_holder(bench: Bench):
    a, b = await bench.spawn("a"), await bench.spawn("b")
    registry = bench.system.registry
    assert await a.do(lambda actor: actor.register("clerk"))
    assert await a.do(lambda actor: actor.register("clerk"))
    assert not await b.do(lambda actor: actor.register("clerk"))
    assert registry.lookup("clerk") is a.ref
    assert registry.lookup("nobody") is None
    assert await b.do(lambda actor: actor.register("other"))
    assert registry.names() == ["clerk", "other"]


async def test_names_and_topics_are_free_before_watchers_hear_of_the_end(bench: Bench):
    taken: list[Any] = []

    class Heir(Probe):
        async def receive(self, message: Any) -> object:
            if isinstance(message, Ended):
                taken.append((self.register("clerk"), self.system.topics.subscribers("news")))
            return await super().receive(message)

    a = await bench.spawn("a", start=lambda actor: (actor.register("clerk"), actor.subscribe("news")))
    b = await bench.spawn("b", Heir, start=watching(a))
    await bench.stop(a)
    assert taken == [(True, 0)]
    assert bench.system.registry.lookup("clerk") is b.ref


async def test_a_name_and_a_subscription_last_over_restarts(bench: Bench):
    def begin(actor: Probe) -> None:
        if actor.incarnation == 0:
            actor.register("clerk")
            actor.subscribe("news")

    a = await bench.spawn("a", on={"boom": boom}, start=begin)
    a.ref.tell("boom")
    await settle()
    assert bench.system.registry.lookup("clerk") is a.ref
    assert bench.system.topics.publish("news", "paper") == 1
    await settle()
    assert a.log.heard == ["boom", "paper"]


async def test_a_passivated_actor_gives_its_names_back(bench: Bench):
    a = await bench.spawn("a", on={"go": lambda actor: actor.passivate()}, start=lambda actor: actor.register("clerk"))
    a.ref.tell("go")
    await settle()
    assert a.log.ended == [Passivated()]
    assert bench.system.registry.lookup("clerk") is None
    await a.ref.ask(1, within=1)
    assert bench.system.registry.lookup("clerk") is a.ref


# --- topics


async def test_publishing_reaches_subscribers_in_the_order_of_subscription(bench: Bench):
    order: list[str] = []
    for name in ("c", "a", "b"):
        subject = await bench.spawn(name, on={"news": lambda actor: order.append(actor.ref.path)})
        await subject.do(lambda actor: actor.subscribe("topic"))
    topics = bench.system.topics
    assert topics.publish("topic", "news") == 3
    assert topics.publish("other", "news") == 0
    await settle()
    assert sorted(order) == ["/a", "/b", "/c"]
    assert [cell.ref.path for cell in topics._topics["topic"]] == ["/c", "/a", "/b"]


async def test_publishing_counts_who_accepted(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1), on={"wait": lambda _: trio.sleep(1)})
    b = await bench.spawn("b")
    for subject in (a, b):
        await subject.do(lambda actor: actor.subscribe("topic"))
    a.ref.tell("wait")
    await settle()
    a.ref.tell(1)
    assert bench.system.topics.publish("topic", "news") == 1
    assert bench.counters(a).dropped == 1


async def test_unsubscribing_and_ending_end_a_subscription(bench: Bench):
    a, b = await bench.spawn("a"), await bench.spawn("b")
    topics = bench.system.topics
    for subject in (a, b):
        await subject.do(lambda actor: (actor.subscribe("topic"), actor.subscribe("topic")))
    assert topics.subscribers("topic") == 2
    await a.do(lambda actor: (actor.unsubscribe("topic"), actor.unsubscribe("never")))
    assert topics.subscribers("topic") == 1
    await bench.stop(b)
    assert topics.subscribers("topic") == 0
    assert topics._topics == {}
    c = await bench.spawn("c")
    await c.do(lambda actor: actor.unsubscribe("never"))


async def test_a_topic_may_be_left_by_whom_it_reaches(bench: Bench):
    a = await bench.spawn("a", on={"bye": lambda actor: actor.unsubscribe("topic")})
    await a.do(lambda actor: actor.subscribe("topic"))
    assert bench.system.topics.publish("topic", "bye") == 1
    await settle()
    assert bench.system.topics.publish("topic", "bye") == 0
