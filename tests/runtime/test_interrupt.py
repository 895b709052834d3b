"""KeyboardInterrupt comes between any two bytecodes of code that is not protected. The kernel's is."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.lowlevel import currently_ki_protected
from trio.testing import MockClock

from runtime import Full
from runtime._address import Indirect, Ref
from runtime._cell import Cell
from runtime._lane import Lanes
from tests.support.actors import LONG, Bench, Later, bounded, running, settle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from runtime import NotAccepted


@pytest.fixture(autouse=True)
def interrupts_are_heard() -> Iterator[None]:
    """A shell that starts the tests in the background has SIGINT ignored, and the tests would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Looking(Indirect):
    """A target that notes whether it is called under protection."""

    def __init__(self, system: Any, seen: list[bool]) -> None:
        self.system = system
        self.seen = seen

    def overflow(self, ref: Ref[Any], item: Any) -> bool:
        self.seen.append(currently_ki_protected())
        return False

    def refusal(self, ref: Ref[Any], message: object) -> NotAccepted:
        return Full(ref, message)


async def test_puts_are_protected(bench: Bench):
    seen: list[bool] = []
    ref: Ref[Any] = Ref("/looking", Looking(bench.system, seen))
    assert not currently_ki_protected()
    ref.tell(1)
    for offer in (ref.ask, ref.send):
        with pytest.raises(Full):
            await offer(1, within=1)
    assert seen == [True] * 3


async def test_waiting_for_room_is_protected(bench: Bench):
    seen: list[bool] = []

    def weigh(_: object) -> int:
        seen.append(currently_ki_protected())
        return 1

    a = await bench.spawn("a", mailbox=bounded(1, weigher=weigh), on={"wait": lambda _: trio.sleep(1)})
    a.ref.tell("wait")
    await settle()
    for n in range(3):
        await a.ref.send(n, within=5)
    assert all(seen)
    assert len(seen) == 4


async def test_handlers_hooks_tasks_and_answers_run_protected(bench: Bench):
    seen: list[bool] = []

    def look(*_: Any) -> None:
        seen.append(currently_ki_protected())

    async def in_task() -> None:
        look()

    kept: list[Any] = []
    on = {"x": look, "defer": lambda actor: kept.append(actor.defer())}
    a = await bench.spawn("a", start=look, stop=look, on=on)
    a.ref.tell("x")
    await a.do(lambda actor: actor.start(in_task))
    await a.do(lambda actor: actor.timer("t", 1, "x"))
    await trio.sleep(2)

    async def ask() -> None:
        await a.ref.ask("defer", within=LONG)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await settle()
        kept[0]._request.settle = look
        kept[0].answer(1)

    class Entry:
        fire = look

    bench.system.wheel.add(trio.current_time(), Entry())
    await trio.sleep(1)
    await bench.stop(a)
    assert seen == [True] * 7


def interrupt_at(code: CodeType, line: int) -> Any:
    """A trace function that interrupts at the nth line of `code` that is run."""
    left = [line]

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is not code:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                signal.raise_signal(signal.SIGINT)
        return trace

    return trace


CASES = [("tell", Ref.tell), ("signal", Lanes.signal), ("ask", Ref.ask), ("send", Cell.wait_for_room)]


@pytest.mark.parametrize(("how", "function"), CASES, ids=[how for how, _ in CASES])
def test_an_interrupt_between_an_append_and_a_reschedule(how: str, function: Any):
    """Wherever it comes, it is raised at a checkpoint of the main task, and the actor has heard what it was told."""
    interrupted = 0
    for line in range(1, 60):

        async def main(line: int = line) -> bool:
            async with running(Later) as bench:
                a = await bench.spawn("a", mailbox=bounded(1), on={"wait": lambda _: trio.sleep(1)})
                if how == "send":
                    a.ref.tell("wait")
                    await settle()
                    a.ref.tell("queued")
                before = sys.gettrace()
                sys.settrace(interrupt_at(function.__code__, line))
                caught = False
                try:
                    if how in ("ask", "send"):
                        await getattr(a.ref, how)("hello", within=5)
                    elif how == "tell":
                        a.ref.tell("hello")
                    else:
                        a.cell.signal("hello")
                except KeyboardInterrupt:
                    caught = True
                finally:
                    sys.settrace(before)
                try:
                    await settle()
                except KeyboardInterrupt:
                    caught = True
                await trio.sleep(2)
                heard = [message for message in a.log.heard if message not in ("wait", "queued")]
                assert heard == ["hello"] or (caught and how in ("ask", "send") and heard == [])
                assert a.cell.links is None or a.cell.links.senders == {}
                assert await a.ref.ask("still there", within=1) == "still there"
                return caught

        interrupted += trio.run(main, clock=MockClock(autojump_threshold=0))
    assert interrupted >= 4
