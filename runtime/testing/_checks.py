"""What must hold at the end of every test, as assertions that say what does not."""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from inspect import iscoroutine
from types import FrameType
from typing import TYPE_CHECKING, Final

import attrs
import trio

from runtime._cells import SYSTEM, cell_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from runtime import System

ENDS: Final = ("handled", "failed", "expired", "dropped", "undelivered", "moved")
"""The ways in which a message can end."""


def assert_conserved(system: System) -> None:
    """Assert that every message that was offered is accounted for: at each living actor, and in the sums of the ended.

    It holds at every moment, while actors work and after the end.

    Raises:
        AssertionError: naming the actor and its counters.
    """
    if system.root is not None:
        for node in system.tree().walk():
            counters = node.counters
            assert counters.missing == 0, f"{node.path} has lost {counters.missing} messages: {counters}"
            assert min(attrs.astuple(counters)) >= 0, f"{node.path} has counted below zero: {counters}"
    for kind, counts in system.totals.by_kind.items():
        assert_balanced(kind, counts)


def assert_balanced(kind: str, counts: Counter[str]) -> None:
    """Assert that the sums of the ended actors of one kind balance (see `System.totals`)."""
    missing = counts["offered"] - sum(counts[end] for end in ENDS)
    assert missing == 0, f"ended actors of the kind {kind} have lost {missing} messages: {dict(counts)}"
    left = counts["waiting"] + counts["in_hand"]
    assert left == 0, f"ended actors of the kind {kind} still hold {left} messages: {dict(counts)}"
    assert min(counts.values()) >= 0, f"ended actors of the kind {kind} have counted below zero: {dict(counts)}"


def assert_no_leaks(system: System) -> None:
    """Assert that a system that has ended has left nothing: no task, deadline, name, subscription.

    Raises:
        AssertionError: naming what is left.
    """
    assert system.root is None or not system.root.running, f"{system.root} still runs"
    tasks = kernel_tasks(system) if in_trio() else []
    assert not tasks, f"tasks outlive their system: {', '.join(tasks)}"
    assert len(system.wheel) == 0, f"{len(system.wheel)} deadlines or timers outlive their system"
    names = system.registry.names()
    assert not names, f"names are still registered: {', '.join(names)}"
    topics = system.topics._topics  # noqa: SLF001 - the kernel's own field
    assert not topics, f"topics still have subscribers: {list(topics)}"


def in_trio() -> bool:
    """Whether this is called from inside `trio.run`."""
    return trio.lowlevel.in_trio_run()


def kernel_tasks(system: System | None = None) -> list[str]:
    """The tasks that the kernel has started and that still run, by path (or name): of `system`, or of any.

    Call it inside `trio.run`.
    """
    pending = [trio.lowlevel.current_root_task()]
    found: list[str] = []
    while pending:
        task = pending.pop()
        if task is None:
            continue
        cell, started_by = cell_of(task), task.context.get(SYSTEM)
        if cell is not None and (system is None or cell.system is system):
            found.append(f"{cell.ref.path} ({task.name})")
        elif started_by is not None and started_by is system:
            found.append(f"started by an actor, in a nursery that is not its own ({task.name})")
        elif cell is None and system is None and task.name.startswith("runtime."):
            found.append(task.name)
        pending += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return sorted(found)


def busy_threads() -> set[threading.Thread]:
    """The threads that run now, without trio's workers that have nothing to do (they end by themselves)."""
    from trio._core._thread_cache import THREAD_CACHE  # noqa: PLC0415 - the only list of idle workers

    idle = {worker._thread for worker in list(THREAD_CACHE._idle_workers)}  # noqa: SLF001
    return {thread for thread in threading.enumerate() if thread not in idle}


@contextmanager
def no_cycles(*packages: str) -> Iterator[None]:
    """Assert that the block leaves nothing of `packages` that only the cyclic collector could free.

    The system must outlive the block: a system as a whole is a cycle, an actor that has ended is not.

    Args:
        packages: top-level packages whose objects and frames count; `runtime` and `supervisors` if none is named.

    Raises:
        AssertionError: with the types of what was found, and how many of each.
    """
    counted = packages or ("runtime", "supervisors")
    was_enabled, flags = gc.isenabled(), gc.get_debug()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    before = len(gc.garbage)
    try:
        yield
        gc.collect()
        found: dict[str, int] = {}
        for garbage in gc.garbage[before:]:
            origin = origin_of(garbage)
            if origin.partition(".")[0] in counted:
                found[origin] = found.get(origin, 0) + 1
        assert not found, f"reference cycles: {found}"
    finally:
        gc.set_debug(flags)
        del gc.garbage[before:]
        if was_enabled:
            gc.enable()


def origin_of(thing: object) -> str:
    """Where a piece of garbage comes from: its class, or the code that a frame runs."""
    frame = thing.cr_frame if iscoroutine(thing) else thing
    if isinstance(frame, FrameType):
        return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
