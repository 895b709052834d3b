"""Whatever ends leaves no cycle behind: a daemon that freezes the collector would never get it back."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Actor, ActorError, HandlerFailed, Refused, TimedOut
from runtime._lane import Lanes
from runtime._links import Links
from runtime._request import Request
from runtime._sender import Sender
from runtime._tasks import ActorTask
from runtime._timers import Deadline, Timer
from tests.support.actors import LONG, Bench, Boom, OpenHost, boom, bounded, hang, settle

if TYPE_CHECKING:
    from collections.abc import Iterator

KERNEL = (Actor, Lanes, Links, Request, Sender, ActorTask, Deadline, Timer, ActorError, Boom)


@contextmanager
def no_garbage() -> Iterator[None]:
    """Nothing of the kernel's that the block makes needs the collector."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        kernel = [each for each in gc.garbage if isinstance(each, KERNEL)]
        frames = [each for each in gc.garbage if isinstance(each, FrameType) and "/runtime/" in each.f_code.co_filename]
        assert kernel == []
        assert frames == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


WAYS = ["crash", "crash of a host", "stop", "kill", "passivate", "failed start", "no answer", "everything"]


@pytest.mark.parametrize("way", WAYS)
async def test_no_cycle_is_left(bench: Bench, way: str):
    host = await bench.spawn("host", OpenHost)
    with no_garbage():
        for n in range(3):
            await once(bench, host, way, str(n))
            await settle()


async def once(bench: Bench, host: Any, way: str, name: str) -> None:
    on = {"boom": boom, "hang": hang, "idle": lambda actor: actor.passivate(), "no": lambda _: Refused("no")}
    make = {"make": OpenHost} if way == "crash of a host" else {}
    a = await bench.spawn(name, **make, under=host, on=on, **({"start": boom} if way == "failed start" else {}))
    ref, cell = a.ref, a.ref.target
    del a
    if way == "crash":
        with pytest.raises(HandlerFailed):
            await ref.ask("boom", within=1)
    elif way == "crash of a host":
        await ref.ask(lambda actor: actor.start_child(cell.spec) and None, within=1)
        ref.tell("boom")
    elif way in ("stop", "kill"):
        ref.tell("hang")
        await settle()
        ref.tell("queued")
        await host.do(lambda actor: actor.stop_child(name, within=1 if way == "stop" else 0))
        await trio.sleep(2)
    elif way == "passivate":
        ref.tell("idle")
    elif way == "no answer":
        for message, error in (("no", Refused), ("hang", TimedOut)):
            with pytest.raises(error):
                await ref.ask(message, within=1)
        await host.do(lambda actor: actor.stop_child(name, within=0))
    elif way == "everything":
        await everything(bench, ref)
        await host.do(lambda actor: actor.stop_child(name, within=0))


async def everything(bench: Bench, ref: Any) -> None:
    """An actor that uses all there is."""

    def use(actor: Any) -> None:
        actor.start(boom)
        actor.start(hang)
        actor.timer("t", 100, "tick", every=1)
        actor.watch(bench.root.ref)
        actor.watch(actor.ref)
        actor.subscribe("topic")
        actor.register(actor.ref.path)
        actor.request(actor.ref, "hang", 0.5)

    await ref.ask(use, within=1)
    await trio.sleep(1)


async def test_no_cycle_is_left_by_senders(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1), on={"hang": hang})
    a.ref.tell("hang")
    await settle()
    a.ref.tell("fills it")
    with no_garbage():
        for _ in range(3):
            with pytest.raises(TimedOut):
                await a.ref.send("late", within=1)
            with trio.move_on_after(1):
                await a.ref.send("cancelled", within=LONG)
    await bench.stop(a, within=0)


async def test_an_ended_actor_is_freed_at_once(bench: Bench):
    import weakref

    class Freed(OpenHost):
        """With a `__weakref__`."""

    a = await bench.spawn("a", Freed)
    actor, cell = weakref.ref(a.cell.actor), weakref.ref(a.cell.actor)
    gc.disable()
    try:
        await bench.stop(a)
        assert actor() is None
        assert cell() is None
    finally:
        gc.enable()
