"""Programs that hypothesis makes up: whatever actors do, messages are conserved and every ask ends once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from runtime import Actor, HandlerFailed, Mailbox, NotAccepted, Overflow, Refused, Replied, Spec, TimedOut, WaitCycle
from runtime.testing import assert_conserved, kernel_tasks
from tests.support.actors import Bench, Boom, Later, Restarter, running, settle
from tests.support.examples import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime import Ref


@attrs.frozen
class Do:
    """A message that says what to do with it; `to` is another actor, `size` its weight."""

    kind: str
    to: int
    size: int = 1


@attrs.define
class World:
    """The actors of a program, and what became of asks and requests."""

    refs: list[Ref[Any]] = attrs.field(factory=list)
    outcomes: dict[int, list[Any]] = attrs.field(factory=dict)
    requests: dict[int, tuple[Ref[Any], object]] = attrs.field(factory=dict)
    replies: dict[int, list[object]] = attrs.field(factory=dict)
    alive: list[object] = attrs.field(factory=list)
    hops: int = 50
    """How often a message may still be forwarded: two that forward to each other would never end."""

    def hop(self) -> bool:
        self.hops -= 1
        return self.hops >= 0


OUTCOMES = (NotAccepted, TimedOut, HandlerFailed, WaitCycle, Refused)


class Worker(Actor):
    """Does what messages say."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.life = object()

    async def started(self) -> None:
        self.world.alive.append(self.life)

    async def stopped(self, reason: object) -> None:
        del reason
        self.world.alive.remove(self.life)

    async def receive(self, message: Any) -> object:
        if isinstance(message, Replied):
            self.world.replies.setdefault(message.tag, []).append(self.life)
            return None
        if not isinstance(message, Do):
            return None
        other = self.world.refs[message.to]
        match message.kind:
            case "boom":
                raise Boom
            case "refuse":
                return Refused("no")
            case "slow":
                await trio.sleep(0.5)
            case "defer":
                reply = self.defer()

                async def later() -> None:
                    await trio.sleep(0.3)
                    reply.answer(1)

                self.start(later)
            case "keep":
                self.defer()
            case "forward" if self.world.hop():
                self.forward(other)
            case "twice" if self.world.hop():
                self.forward(other)
                self.forward(other)
            case "ask":
                try:
                    return await other.ask(Do("slow", message.to), within=0.8)
                except OUTCOMES as error:
                    return error
            case "ask and fail":
                await other.ask(Do("echo", message.to), within=0.4)
            case "send":
                await other.send(Do("slow", message.to), within=0.7)
            case "request":
                tag = len(self.world.requests)
                self.world.requests[tag] = (self.ref, self.life)
                self.request(other, Do("slow", message.to), 0.6, tag=tag)
            case "stop":
                self.stop()
            case "idle":
                self.passivate()
            case "tick":
                self.timer("t", 0.2, Do("echo", 0), every=0.2 if message.size > 2 else None)
        return message


class BatchWorker(Worker):
    """Takes up to three, handled one after the other."""

    batch = 3

    async def receive_batch(self, messages: Sequence[Any]) -> Sequence[object]:
        plain = {"forward", "twice", "defer", "keep"}
        return [await self.receive(message) if message.kind not in plain else None for message in messages]


MAILBOXES = [
    Mailbox(2),
    Mailbox(3, Overflow.REJECT),
    Mailbox(2, Overflow.DROP_OLDEST),
    Mailbox(2, Overflow.DROP_NEWEST),
    Mailbox(2, Overflow.CONFLATE, key=lambda message: message.kind),
    Mailbox(4, weigher=lambda message: message.size),
    Mailbox(4, Overflow.DROP_OLDEST, weigher=lambda message: message.size),
]
KINDS = [
    "echo",
    "boom",
    "refuse",
    "slow",
    "defer",
    "keep",
    "forward",
    "twice",
    "ask",
    "ask and fail",
    "send",
    "request",
    "stop",
    "idle",
    "tick",
]
messages = st.builds(Do, st.sampled_from(KINDS), st.integers(0, 2), st.integers(0, 5))
steps = st.one_of(
    st.tuples(st.just("tell"), st.integers(0, 2), messages),
    st.tuples(st.just("ask"), st.integers(0, 2), messages, st.sampled_from([0.0, 0.2, 0.6, 3.0])),
    st.tuples(st.just("send"), st.integers(0, 2), messages, st.sampled_from([0.1, 1.0])),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("kill"), st.integers(0, 2)),
    st.tuples(st.just("stop"), st.integers(0, 2), st.sampled_from([0.0, 0.2, 5.0])),
    st.tuples(st.just("drain"), st.integers(0, 2)),
    st.tuples(st.just("start"), st.integers(0, 2)),
    st.tuples(st.just("advance"), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])),
    st.tuples(st.just("settle")),
)


@settings(max_examples=examples(2.5), deadline=None, database=None)
@given(
    st.lists(steps, max_size=30),
    st.lists(st.sampled_from(MAILBOXES), min_size=3, max_size=3),
    st.lists(st.sampled_from([Worker, BatchWorker]), min_size=3, max_size=3),
    st.sampled_from([Restarter, Later]),
)
def test_any_program_conserves_its_messages_and_ends_each_ask_once(
    program: list[Any], mailboxes: list[Mailbox], kinds: list[type[Worker]], root: type[Restarter]
):
    async def main() -> None:
        world = World()
        async with running(root) as bench:
            specs = [Spec(f"w{n}", lambda n=n: kinds[n](world), mailbox=mailboxes[n], shutdown=5) for n in range(3)]
            for spec in specs:
                world.refs.append(await bench.root.do(lambda host, spec=spec: host.start_child(spec)))
            async with trio.open_nursery() as nursery:
                await Program(bench, world, specs, nursery).play(program)
                await trio.sleep(30)
            assert_quiet(bench, world)
        for number, outcomes in world.outcomes.items():
            assert len(outcomes) == 1, (number, outcomes)
            assert not isinstance(outcomes[0], NotAccepted) or isinstance(outcomes[0].message, Do)
        assert world.alive == []
        assert kernel_tasks() == []

    trio.run(main, clock=MockClock(autojump_threshold=0))


def assert_quiet(bench: Bench, world: World) -> None:
    """Long after the last step nothing waits, and every request of the living was answered once."""
    assert_conserved(bench.system)
    for node in bench.system.tree().walk():
        assert node.counters.waiting == 0, node
        assert node.waits_on is None
    for tag, (_, life) in world.requests.items():
        replies = world.replies.get(tag, [])
        assert len(replies) <= 1
        assert replies in ([], [life])
        if life in world.alive:
            assert replies == [life], tag


@attrs.define
class Program:
    """Plays the steps of a program."""

    bench: Bench
    world: World
    specs: list[Spec]
    nursery: trio.Nursery
    scopes: list[trio.CancelScope] = attrs.field(factory=list)

    async def play(self, program: list[Any]) -> None:
        for step in program:
            match step:
                case ("tell", number, message):
                    self.world.refs[number].tell(message)
                case ("ask" | "send", number, message, within):
                    self.nursery.start_soon(self.offer, step[0], self.world.refs[number], message, within)
                case ("cancel", number) if number < len(self.scopes):
                    self.scopes[number].cancel()
                case ("advance", seconds):
                    await trio.sleep(seconds)
                case ("settle",):
                    await settle()
                case ("start", number):
                    await self.bench.root.do(lambda host, spec=self.specs[number]: start(host, spec))
                case (order, number, *more):
                    self.order(order, number, *more)

    def order(self, order: str, number: int, within: float = 0.0) -> None:
        root = self.bench.system.root
        assert root is not None
        cell = root.children.get(f"w{number}")
        if cell is None:
            return
        if order == "kill" and cell.running:
            cell.kill("by the program")
        elif order == "stop":
            root.stop_child(cell, "by the program", trio.current_time() + within)
        elif order == "drain" and cell.running:
            cell.stop_asked = True
            cell.request_stop("drained by the program", trio.current_time() + 5, drain=True)

    async def offer(self, how: str, ref: Ref[Any], message: Do, within: float) -> None:
        outcomes = self.world.outcomes.setdefault(len(self.world.outcomes), [])
        scope = trio.CancelScope()
        self.scopes.append(scope)
        with scope:
            try:
                outcomes.append(await getattr(ref, how)(message, within=within))
            except OUTCOMES as error:
                outcomes.append(error)
        if scope.cancelled_caught:
            outcomes.append("cancelled")


def start(host: Restarter, spec: Spec) -> None:
    """Start the child again, if it has ended."""
    if spec.name not in host.children:
        host.start_child(spec)
