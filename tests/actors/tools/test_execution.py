"""One call carried out: what becomes of a thread whose call is over, and of those who then find none."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing

from actors.artifacts.shelf import Shelf
from actors.artifacts.store import Artifacts
from actors.protocol.catalogue import Failure
from actors.tools.context import ToolContext, ToolProblem
from actors.tools.definitions import ToolDefinition, tool_from
from actors.tools.execution import Execution
from actors.tools.toolbox import ToolBox

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = ToolContext("ada", "r1", "step", 1, "c1")
WITHIN = 10.0


@attrs.define(eq=False)
class Lines:
    """A log; `late` is set when a late result was dropped."""

    lines: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)
    late: trio.Event = attrs.field(factory=trio.Event)

    def warning(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))
        self.late.set()

    def error(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))


class Blocking:
    """A tool that holds its thread until it is let go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.calls = 0
        self.begun = trio.Event()

    def tool(self) -> ToolDefinition:
        token = trio.lowlevel.current_trio_token()

        def block(fails: bool = False) -> str:
            """Block."""
            self.calls += 1
            token.run_sync_soon(self.begun.set)
            self.go_on.wait(WITHIN)
            if fails:
                raise ToolProblem("It has failed.")
            return "blocked"

        return tool_from(block, timeout=0.5)


def box_of(tool: ToolDefinition, lines: Lines) -> ToolBox:
    return ToolBox({tool.name: tool}, threads=trio.CapacityLimiter(1), log=lines)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_thread_that_takes_too_long_goes_on_keeps_its_place_and_its_result_is_dropped(fails: bool) -> None:
    blocking, lines = Blocking(), Lines()
    tool = blocking.tool()
    box = box_of(tool, lines)
    counts, threads = box.counts, box.threads
    assert threads is not None
    execution = Execution(tool, {"fails": fails}, CONTEXT, box)
    with trio.fail_after(WITHIN):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execution.run)
            await blocking.begun.wait()
            over = execution.overdue()
            nursery.cancel_scope.cancel()
        assert over.failure is Failure.TOOL_TIMEOUT
        assert "may still happen" in over.said
        assert (counts.threads_left, threads.borrowed_tokens, sum(counts.late.values())) == (1, 1, 0)

        # Whoever comes next finds no thread, and it is said so: to the model, and to the operator.
        another = Execution(tool, {"fails": False}, CONTEXT, box)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(another.run)
            await trio.testing.wait_all_tasks_blocked()
            over = another.overdue()
            nursery.cancel_scope.cancel()
        assert over.failure is Failure.TOOL_TIMEOUT
        assert "was not begun" in over.said
        assert lines.lines == [("no thread was free for a tool", {"tool": "block", "left": 1})]

        blocking.go_on.set()
        await lines.late.wait()
        assert lines.lines[1:] == [("late result of a tool dropped", {"tool": "block", "run_id": "r1"})]
        assert (dict(counts.late), counts.threads_left, blocking.calls) == ({"block": 1}, 0, 1)
        assert await Execution(tool, {"fails": False}, CONTEXT, box).run() == "blocked", "the place is free again"
        await trio.testing.wait_all_tasks_blocked()
        assert (dict(counts.late), counts.threads_left) == ({"block": 1}, 0)


async def test_a_thread_that_is_left_because_its_attempt_has_ended_is_counted_too() -> None:
    blocking, lines = Blocking(), Lines()
    tool = blocking.tool()
    box = box_of(tool, lines)
    with trio.fail_after(WITHIN):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Execution(tool, {"fails": False}, CONTEXT, box).run)
            await blocking.begun.wait()
            nursery.cancel_scope.cancel()
        assert box.counts.threads_left == 1
        blocking.go_on.set()
        await lines.late.wait()
    assert (box.counts.threads_left, dict(box.counts.late)) == (0, {"block": 1})


async def test_a_thread_that_begins_when_the_call_is_over_does_nothing() -> None:
    blocking, lines = Blocking(), Lines()
    tool = blocking.tool()
    box = box_of(tool, lines)
    execution = Execution(tool, {"fails": False}, CONTEXT, box)
    assert "was not begun" in execution.overdue().said
    assert await execution.run() is None
    await trio.testing.wait_all_tasks_blocked()
    assert blocking.calls == 0
    assert (dict(box.counts.late), box.counts.threads_left) == ({}, 0)


async def test_a_thread_that_ends_in_the_same_moment_as_its_time_is_not_left() -> None:
    blocking, lines = Blocking(), Lines()
    tool = blocking.tool()
    box = box_of(tool, lines)
    blocking.go_on.set()
    execution = Execution(tool, {"fails": False}, CONTEXT, box)
    assert await execution.run() == "blocked"
    await trio.testing.wait_all_tasks_blocked()
    execution.overdue()
    assert (box.counts.threads_left, dict(box.counts.late), lines.lines) == (0, {}, [])


@pytest.mark.parametrize("over", [False, True])
async def test_what_a_thread_writes_when_its_call_is_over_is_not_put_in_its_place(over: bool, tmp_path: Path) -> None:
    go_on, begun, done = threading.Event(), trio.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def write(context: ToolContext) -> str:
        """Write a file."""
        token.run_sync_soon(begun.set)
        go_on.wait(WITHIN)
        try:
            return context.shelf.write("plan.md", b"plan").name
        finally:
            token.run_sync_soon(done.set)

    shelf = Shelf(Artifacts(tmp_path), "ada", "r1", "step")
    tool = tool_from(write, timeout=0.5)
    execution = Execution(tool, {}, attrs.evolve(CONTEXT, artifacts=shelf), box_of(tool, Lines()))
    with trio.fail_after(WITHIN):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execution.run)
            await begun.wait()
            if over:
                execution.overdue()
                nursery.cancel_scope.cancel()
            go_on.set()
        await done.wait()
    assert [found.name for found in shelf.listing()] == ([] if over else ["plan.md"])


async def test_a_coroutine_is_cancelled() -> None:
    ended = []

    async def think() -> str:
        """Think."""
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")
        return ""

    tool = tool_from(think)
    execution = Execution(tool, {}, CONTEXT, ToolBox({"think": tool}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(execution.run)
        await trio.testing.wait_all_tasks_blocked()
        assert "did not end" in execution.overdue().said
        nursery.cancel_scope.cancel()
    assert ended == ["cancelled"]
