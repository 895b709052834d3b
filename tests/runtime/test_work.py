"""Worker threads and processes end in real time, so these tests have a real clock."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from runtime import Spec, TaskEnded, open_system
from tests.support.actors import LONG, Log, OpenHost, Probe


class Waiting(Probe):
    """Sets an event when a task has ended."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.event = trio.Event()

    async def receive(self, message: Any) -> object:
        if isinstance(message, TaskEnded):
            self.log.heard.append(message)
            self.event.set()
            return None
        return await super().receive(message)


def outcome(how: str, function: Any, *args: Any, **options: Any) -> TaskEnded:
    """How a piece of work ends."""
    log = Log()

    async def main() -> None:
        async with open_system(Spec("root", lambda: OpenHost(Log()))) as system:
            a = await system.ref("/").ask(lambda host: host.start_child(Spec("a", lambda: Waiting(log))), within=60)

            async def work(actor: Waiting) -> None:
                getattr(actor, how)(function, *args, **options)

            await a.ask(work, within=60)
            actor = a.target.actor
            with trio.fail_after(60):
                await actor.event.wait()

    trio.run(main)
    [ended] = log.heard
    assert isinstance(ended, TaskEnded)
    return ended


def where(base: int) -> tuple[int, int]:
    return threading.get_ident(), base + os.getpid()


def test_blocking_work_runs_in_a_thread():
    ended = outcome("start_in_thread", where, 0)
    assert ended.value[0] != threading.get_ident()
    assert ended.value[1] == os.getpid()
    assert ended.task.name == "where"


def test_busy_work_runs_in_a_process():
    pytest.importorskip("trio_parallel")
    ended = outcome("start_in_process", where, 0, name="busy")
    assert ended.error is None, ended.trace
    assert ended.value[1] != os.getpid()
    assert ended.task.name == "busy"


def test_an_error_of_the_work_is_that_of_the_task():
    ended = outcome("start_in_thread", int, "x")
    assert isinstance(ended.error, ValueError)


def test_an_actor_that_ends_leaves_its_thread_to_itself():
    free = threading.Event()

    async def main() -> None:
        async with open_system(Spec("root", lambda: OpenHost(Log()))) as system:
            root = system.ref("/")
            await root.ask(lambda host: host.start_in_thread(free.wait, LONG) and None, within=60)
        free.set()

    trio.run(main)


def test_a_limiter_bounds_how_many_run_at_once():
    """Not before each of the three has been let in by the limiter does it take a thread."""
    free = threading.Event()
    seen: list[int] = []

    async def main() -> None:
        limiter = trio.CapacityLimiter(1)
        async with open_system(Spec("root", lambda: OpenHost(Log()))) as system:
            root = system.ref("/")

            def work(host: OpenHost) -> None:
                for _ in range(3):
                    host.start_in_thread(free.wait, LONG, limiter=limiter)

            await root.ask(work, within=60)
            await trio.testing.wait_all_tasks_blocked()
            statistics = limiter.statistics()
            seen.extend((statistics.borrowed_tokens, statistics.tasks_waiting))
            free.set()

    trio.run(main)
    assert seen == [1, 2]


def hang_as_a_process(path: str) -> None:
    """Say who we are, and never end."""
    file = Path(path)
    file.with_suffix(".part").write_text(str(os.getpid()))
    file.with_suffix(".part").rename(file)
    time.sleep(LONG)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_process_of_an_actor_that_ends_is_killed(tmp_path: Path):
    pytest.importorskip("trio_parallel")
    note = tmp_path / "pid"

    async def main() -> None:
        async with open_system(Spec("root", lambda: OpenHost(Log()))) as system:
            root = system.ref("/")
            a = await root.ask(lambda host: host.start_child(Spec("a", lambda: Waiting(Log()))), within=60)
            await a.ask(lambda actor: actor.start_in_process(hang_as_a_process, str(note)) and None, within=60)
            with trio.fail_after(60):
                while not note.exists():
                    await trio.sleep(0.01)
            pid = int(note.read_text())
            assert lives(pid)
            await root.ask(lambda host: host.stop_child("a"), within=60)
            with trio.fail_after(20):
                while system.tree().find("/a") is not None or lives(pid):
                    await trio.sleep(0.01)

    trio.run(main)
