"""An actor is killed at every step of what it is doing with others: nothing is lost, and they go on without it.

`test_cancellation` cuts off whoever calls; here it is the actor itself, its host or its supervisor that is cut off.
`open_test_system` looks at the end that every message is accounted for and that nothing is left.
"""

from __future__ import annotations

from collections import Counter
from types import FunctionType
from typing import Any

import pytest
import trio

from runtime import Actor, ActorError, ChildEnded, Ended, Host, Mailbox, Ref, Replied, Spec
from runtime.testing import CancelPoint, every_cancellation, open_test_system
from supervisors import (
    Backoff,
    ByKey,
    ChildSpec,
    Intensity,
    Resize,
    Routing,
    Strategy,
    Supervisor,
    fallback,
    pool,
    supervise,
)

SEEDS = range(2)
MANY = Intensity(1000, 5.0)
AT_ONCE = Backoff(base=0.0)


class Worker(Actor):
    """Takes its time with a number, and writes down what it has begun and done."""

    def __init__(self, begun: list[Any], done: list[Any]) -> None:
        self.begun = begun
        self.done = done

    async def receive(self, message: Any) -> object:
        self.begun.append(message)
        await trio.sleep(0.01)
        self.done.append(message)
        return message


class Open(Supervisor):
    """Runs functions in its handler."""

    def __init__(self, specs: list[ChildSpec], strategy: Strategy = Strategy.ONE_FOR_ALL) -> None:
        self.specs = specs
        self.strategy = strategy
        self.intensity = MANY

    def children_of(self) -> list[ChildSpec]:
        return self.specs

    async def receive(self, message: Any) -> object:
        if isinstance(message, FunctionType):
            return message(self)
        return await super().receive(message)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_has_made_a_request(seed: int):
    """The next incarnation hears nothing of it; whoever was asked is not disturbed."""

    async def scenario(point: CancelPoint) -> None:
        replies: list[tuple[int, Replied]] = []
        begun: list[Any] = []

        class Requester(Actor):
            async def receive(self, message: Any) -> None:
                if isinstance(message, Replied):
                    replies.append((self.incarnation, message))
                else:
                    await trio.lowlevel.checkpoint()
                    self.request(kit.system.ref("/worker"), (self.incarnation, message), 1.0, tag=self.incarnation)

        specs = [
            ChildSpec("requester", Requester, backoff=AT_ONCE),
            ChildSpec("worker", lambda: Worker(begun, [])),
        ]
        async with open_test_system(supervise("top", specs, intensity=MANY)) as kit:
            requester = kit.system.ref("/requester")
            with point.killing(requester):
                for number in range(3):
                    requester.tell(number)
                await trio.sleep(0.015)
            await trio.sleep(2.0)
            assert all(incarnation == reply.tag for incarnation, reply in replies), "an earlier life's reply"
            assert len(replies) == len({reply.message for _, reply in replies}) >= 3 - 3 * point.hit
            assert sorted(begun) == sorted(set(begun))
            assert await kit.system.ref("/worker").ask("still there", within=1.0) == "still there"
            assert [crash.path for crash in kit.crashes] == ["/requester"] * point.hit

    assert every_cancellation(scenario, seed=seed) > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_asked(seed: int):
    """Every ask and request comes out, at once or in time; those that were not in hand are served by the next life."""

    async def scenario(point: CancelPoint) -> None:
        came_out: Counter[str] = Counter()
        begun: list[Any] = []

        async def ask(ref: Ref[Any], number: int) -> None:
            try:
                came_out[f"answer {await ref.ask(number, within=5.0)}"] += 1
            except ActorError as error:
                came_out[type(error).__name__] += 1

        specs = [ChildSpec("worker", lambda: Worker(begun, []), backoff=AT_ONCE)]
        async with open_test_system(supervise("top", specs, intensity=MANY)) as kit:
            worker = kit.system.ref("/worker")
            await kit.settle()
            async with trio.open_nursery() as nursery:
                with point.killing(worker):
                    for number in range(4):
                        nursery.start_soon(ask, worker, number)
                    await trio.sleep(0.1)
            assert came_out.total() == 4
            assert came_out["HandlerFailed"] <= point.hit
            assert came_out.total() - came_out["HandlerFailed"] == sum(key.startswith("answer") for key in came_out)
            assert sorted(begun) == [0, 1, 2, 3]

    assert every_cancellation(scenario, seed=seed) > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_who_makes_others_wait_for_room(seed: int):
    """Senders get in, in their order, whether this life takes them or the next."""

    async def scenario(point: CancelPoint) -> None:
        begun: list[Any] = []
        specs = [ChildSpec("worker", lambda: Worker(begun, []), mailbox=Mailbox(1), backoff=AT_ONCE)]
        async with open_test_system(supervise("top", specs, intensity=MANY)) as kit:
            worker = kit.system.ref("/worker")
            await kit.settle()
            with point.killing(worker):
                for number in range(5):
                    await worker.send(number, within=5.0)
                await trio.sleep(0.1)
            assert begun == [0, 1, 2, 3, 4]

    assert every_cancellation(scenario, seed=seed) > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_host_that_starts_and_stops_children(seed: int):
    """Whatever it had begun ends with it: names are free, addresses dead, and every watcher has heard of it."""

    async def scenario(point: CancelPoint) -> None:
        class Named(Actor):
            async def started(self) -> None:
                await trio.lowlevel.checkpoint()
                assert self.register(f"the name of {self.ref.path}")
                self.start(trio.sleep_forever)

        class Starter(Host):
            async def receive(self, message: Any) -> object:
                match message:
                    case ("start", name):
                        ref = self.start_child(Spec(name, Named))
                        await trio.lowlevel.checkpoint()
                        watcher.watch(ref)
                    case ("stop", name):
                        self.stop_child(name)
                        await trio.lowlevel.checkpoint()
                    case ChildEnded():
                        return None
                return await super().receive(message)

        async with open_test_system() as kit:
            watcher = await kit.probe("watcher")
            host = await kit.spawn(Spec("host", Starter))
            with point.killing(host):
                for order in (("start", "a"), ("start", "b"), ("stop", "a"), ("start", "c"), ("stop", "c")):
                    host.tell(order)
                    await kit.settle()
            await kit.settle()
            ended = [notice.ref.path for notice in watcher.messages if isinstance(notice, Ended)]
            assert len(ended) == len(set(ended))
            if point.hit:
                assert kit.system.registry.names() == []
                assert [node.path for node in kit.system.tree().walk() if node.state != "ended"] == ["/", "/watcher"]
                assert not kit.system.ref("/host/b").tell("anybody there?")
                again = await kit.spawn(Spec("host", Starter))  # a host in the same place has nothing in its way
                for name in "abc":
                    again.tell(("start", name))
                await kit.settle()
                assert len(kit.system.registry.names()) == 3
            else:
                assert ended == ["/host/a", "/host/c"]

    assert every_cancellation(scenario, seed=seed) > 5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_child_that_starts(seed: int):
    """Killed before, in or after `started`: it has one life at a time, and the group comes up all the same."""

    async def scenario(point: CancelPoint) -> None:
        living: Counter[str] = Counter()
        most: Counter[str] = Counter()

        class Slow(Actor):
            async def started(self) -> None:
                living[self.ref.path] += 1
                most[self.ref.path] = max(most[self.ref.path], living[self.ref.path])
                await trio.sleep(0.01)

            async def receive(self, message: Any) -> object:
                return message

            async def stopped(self, reason: Any) -> None:
                await trio.lowlevel.checkpoint()
                living[self.ref.path] -= 1

        specs = [ChildSpec(name, Slow, backoff=AT_ONCE) for name in "ab"]
        async with open_test_system() as kit:
            top = await kit.spawn(Spec("top", lambda: Open(specs)))
            c = kit.system.ref("/top/c")
            with point.killing(c):
                await top.ask(lambda top: top.start_child(ChildSpec("c", Slow, backoff=AT_ONCE)), within=1.0)
                await trio.sleep(0.05)
            await trio.sleep(1.0)
            for name in "abc":
                assert await kit.system.ref(f"/top/{name}").ask(name, within=1.0) == name
            assert set(most.values()) == {1}
            assert set(living.values()) == {1}

    assert every_cancellation(scenario, seed=seed) > 3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("strategy", Strategy)
def test_a_supervisor_that_shuts_down(strategy: Strategy, seed: int):
    """Told to stop and then killed: all of its children have ended, each once, and their tasks with them."""

    async def scenario(point: CancelPoint) -> None:
        stopped: list[str] = []

        class Slow(Actor):
            async def started(self) -> None:
                self.start(trio.sleep_forever)

            async def receive(self, message: Any) -> None:
                await trio.sleep(0.02)

            async def stopped(self, reason: Any) -> None:
                await trio.sleep(0.01)
                stopped.append(self.ref.path)

        specs = [ChildSpec(name, Slow) for name in "abc"]
        async with open_test_system() as kit:
            watcher = await kit.probe("watcher")
            top = await kit.spawn(Spec("top", lambda: Open(specs, strategy)))
            refs = [kit.system.ref(f"/top/{name}") for name in "abc"]
            for ref in refs:
                watcher.watch(ref)
                ref.tell("work")
                ref.tell("left behind")
            await kit.settle()
            with point.killing(top):
                await kit.stop(top)
            await kit.settle()
            assert sorted(stopped) == ["/top/a", "/top/b", "/top/c"]
            if not point.hit:
                assert stopped == ["/top/c", "/top/b", "/top/a"], "newest first"
            assert {notice.ref for notice in watcher.messages} == set(refs)
            assert len(watcher.messages) == 3
            totals = kit.system.totals.by_kind["Slow"]
            assert (totals["offered"], totals["ended"]) == (6, 3)

    assert every_cancellation(scenario, seed=seed) > 5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("who", ["", "/lead", "/understudy"])
def test_a_fallback_that_switches(who: str, seed: int):
    """What waits moves once, in order. Only what was in hand when somebody was killed has failed."""

    async def scenario(point: CancelPoint) -> None:
        begun: list[Any] = []
        came_out: Counter[str] = Counter()

        class Target(Worker):
            async def receive(self, message: Any) -> object:
                if message == "boom":
                    await trio.lowlevel.checkpoint()
                    raise ValueError("asked for")
                return await super().receive(message)

        async def ask(message: Any) -> None:
            try:
                came_out[f"answer {await chain.ask(message, within=5.0)}"] += 1
            except ActorError as error:
                came_out[type(error).__name__] += 1

        targets = [ChildSpec(name, lambda: Target(begun, []), backoff=AT_ONCE) for name in ("lead", "understudy")]
        specs = [fallback("chain", targets, intensity=MANY)]
        async with open_test_system(supervise("top", specs, intensity=MANY)) as kit:
            chain = kit.system.ref("/chain")
            await kit.settle()
            async with trio.open_nursery() as nursery:
                with point.killing(kit.system.ref(f"/chain{who}")):
                    for message in ("boom", "boom", "boom", 1, 2, 3):
                        nursery.start_soon(ask, message)
                        await trio.lowlevel.checkpoint()
                    await trio.lowlevel.checkpoint()
                    chain.tell(4)
                    await trio.sleep(0.2)
            await kit.settle()
            assert came_out.total() == 6
            assert len(begun) == len(set(begun))
            if not point.hit:
                assert (begun, came_out["HandlerFailed"]) == ([1, 2, 3, 4], 3)
            elif who:
                assert begun == [1, 2, 3, 4]
                assert came_out["HandlerFailed"] <= 4
            assert await chain.ask("still there", within=10.0) == "still there"

    assert every_cancellation(scenario, seed=seed) > 5


ROUTINGS = {"least outstanding": Routing.LEAST_OUTSTANDING, "by key": ByKey(lambda message: message % 3)}


@pytest.mark.parametrize("who", ["", "/worker-0", "/worker-1"])
@pytest.mark.parametrize("routing", ROUTINGS)
def test_a_pool_that_is_resized(routing: str, who: str):
    """Growing and shrinking, with somebody killed in the middle: what was accepted is begun once; it has its size."""

    async def scenario(point: CancelPoint) -> None:
        begun: list[Any] = []
        worker = ChildSpec("worker", lambda: Worker(begun, []), mailbox=Mailbox(20), backoff=AT_ONCE)
        specs = [pool("pool", worker, 2, routing=ROUTINGS[routing], drain_within=0.015, backoff=AT_ONCE)]
        async with open_test_system(supervise("top", specs, intensity=MANY)) as kit:
            ref = kit.system.ref("/pool")
            await kit.settle()
            accepted: list[int] = []
            with point.killing(kit.system.ref(f"/pool{who}")):
                for number, size in enumerate((3, 1, 2)):
                    accepted += [each for each in range(4 * number, 4 * number + 4) if ref.tell(each)]
                    ref.tell(Resize(size))
                    await trio.sleep(0.012)
                await trio.sleep(0.5)
            await kit.settle()
            assert len(begun) == len(set(begun))
            if who or not point.hit:
                assert sorted(begun) == accepted
            assert len([node for node in kit.node(ref).children if node.state == "running"]) == 2
            for number in range(100, 103):
                assert await ref.ask(number, within=1.0) == number

    assert every_cancellation(scenario) > 5
