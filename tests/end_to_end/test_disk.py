"""The disk under the daemon: full, locked by another process, damaged, or with a last write that was torn.

Each is a state that everybody can see and that passes with its cause. Meanwhile nothing is acknowledged that is not on
the disk, nobody is told what was not committed, and no actor is given up.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.daemon import House, Served, http, quick_file, serve, until
from tests.support.device import Device, devices
from tests.support.held_model import HeldModel, held_model
from tests.support.household import household

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

BRIEF = "A brief that nobody can keep"
SMALL_DISK = "3m"
A_LITTLE_ROOM = 65_536
PROBES = 3
"""Seconds of looking: the journal tries again every second."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    at = tmp_path / "disk"
    at.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(at)]
    if shutil.which("mount") is None or subprocess.run(options, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk here")
    yield at
    subprocess.run(["umount", "--lazy", str(at)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[Path]:
    """While this lasts, there is no room on the disk: the file that this gives has it all."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    yield ballast
    ballast.unlink()


async def nothing_given_up(here: House) -> None:
    assert here.crashes == 0
    assert here.daemon.counters.give_ups == 0
    assert here.unsettled() == []


def journal(here: House) -> str:
    node = here.node("/storage")
    assert node is not None
    return str(node.details["storage"])


def rows(database: Path, user: str) -> list[tuple[int, str]]:
    """A user's log in the file: seq and id."""
    connection = sqlite3.connect(database)
    try:
        return connection.execute(
            "SELECT seq, event_id FROM log WHERE log = (SELECT id FROM logs WHERE user = ?) ORDER BY seq", (user,)
        ).fetchall()
    finally:
        connection.close()


async def test_a_full_disk(disk: Path) -> None:
    async with household(disk, "ada", "grace") as (model, here, [ada, grace]):
        run_id = await ada.run_under_way()
        at = ada.log[-1]["seq"]
        with full(disk) as ballast:
            refused = await grace.ask("start_run", BRIEF, workflow="short")
            assert refused["metadata"]["code"] == "unavailable"
            assert refused["metadata"]["retryable"] is True
            assert "disk" not in refused["content"]  # what is for operators is in the log
            model.release()
            await model.until(whole=1)
            await until(lambda: journal(here) != "ok")
            # And so it stays, as long as there is no room for a batch: it is no use to be ready between two failures.
            os.truncate(ballast, ballast.stat().st_size - A_LITTLE_ROOM)
            assert await looked_at(here) == {(503, "unavailable")}
            again = await grace.ask("start_run", BRIEF, workflow="short")
            assert again["metadata"]["code"] == "unavailable"
            # Nothing is told that is not on the disk, and nothing else was.
            assert ada.log[-1]["seq"] == at
            assert [(frame["seq"], frame["id"]) for frame in ada.log] == rows(disk / "data/understudy.db", "ada")
            assert grace.log == []
            await nothing_given_up(here)
        await until(lambda: journal(here) == "ok")
        assert await ada.run_ended(run_id) == "completed"
        ready = await http(here.port, "/ready")
        assert (ready.status, ready.json["checks"]["storage"]["status"]) == (200, "ok")
        accepted = await grace.ask("start_run", BRIEF, workflow="short")
        assert await grace.run_ended(accepted["metadata"]["run_id"]) == "completed"
        await nothing_given_up(here)
        for each in (ada, grace):
            assert each.codes == []
            each.verify()
            assert [(f["seq"], f["id"]) for f in each.log] == rows(disk / "data/understudy.db", each.user)


async def looked_at(here: House) -> set[tuple[int, str]]:
    """What `/ready` says over some of the journal's own attempts."""
    seen: set[tuple[int, str]] = set()
    end = trio.current_time() + PROBES
    while trio.current_time() < end:
        ready = await http(here.port, "/ready")
        seen.add((ready.status, ready.json["checks"]["storage"]["status"]))
        await trio.sleep(0.05)
    return seen


# --- processes of their own


@asynccontextmanager
async def served(tmp_path: Path, model: HeldModel, port: int = 0) -> AsyncIterator[Served]:
    """`understudy serve` on the data below `tmp_path`."""
    async with serve(quick_file(tmp_path, model.base_url), tmp_path / "data", port=port) as daemon:
        yield daemon


async def storage_status(daemon: Served) -> tuple[int, str]:
    ready = await http(daemon.port, "/ready")
    return ready.status, ready.json["checks"]["storage"]["status"]


async def storage_is(daemon: Served, status: int, words: str) -> None:
    with trio.fail_after(40):
        while await storage_status(daemon) != (status, words):
            await trio.sleep(0.05)


async def killed(daemon: Served) -> None:
    daemon.signal(signal.SIGKILL)
    assert await daemon.process.wait() == -signal.SIGKILL


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def lock_of_another_process(database: Path) -> AsyncIterator[None]:
    """While this lasts, a process that is not the daemon may write, and nobody else."""
    holder = await trio.lowlevel.open_process(
        [sys.executable, "-c", HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    try:
        assert await holder.stdout.receive_some()
        yield
    finally:
        holder.kill()
        with trio.CancelScope(shield=True):
            await holder.wait()


async def test_a_database_locked_by_another_process(tmp_path: Path) -> None:
    database = tmp_path / "data" / "understudy.db"
    async with (
        held_model(held=False) as model,
        served(tmp_path, model) as daemon,
        devices(daemon.port, "ada") as [ada],
    ):
        assert await ada.run_ended(await ada.start_run()) == "completed"
        told = len(ada.log)
        async with lock_of_another_process(database):
            refused = await ada.ask("start_run", BRIEF, workflow="short")
            assert refused["metadata"]["code"] == "unavailable"
            await storage_is(daemon, 503, "unavailable")
        await storage_is(daemon, 200, "ok")
        assert len(ada.log) == told
        assert await ada.run_ended(await ada.start_run()) == "completed"
        ada.verify()
        assert [(f["seq"], f["id"]) for f in ada.log] == rows(database, "ada")


async def test_a_damaged_database_is_told_kept_and_taken_up_again_when_it_is_repaired(tmp_path: Path) -> None:
    database = tmp_path / "data" / "understudy.db"
    async with held_model(held=False) as model:
        async with served(tmp_path, model) as daemon, devices(daemon.port, "ada") as [ada]:
            assert await ada.run_ended(await ada.start_run()) == "completed"
            await ada.close()
            daemon.signal(signal.SIGTERM)
            assert await daemon.ended() == 0
        backup = database.read_bytes()
        garbage = backup[:200] + b"\xff" * (len(backup) - 200)
        database.write_bytes(garbage)
        async with served(tmp_path, model) as daemon:
            await storage_is(daemon, 503, "unavailable")
            assert (await http(daemon.port, "/health")).status == 200
            late = Device(daemon.port, "ada", comes_back=False)
            await late.live()
            [connection] = late.connections
            assert [frame["metadata"]["code"] for frame in connection.frames] == ["unavailable"]
            assert "damaged" not in json.dumps(connection.frames)
            assert str(tmp_path) not in json.dumps(connection.frames)
            assert database.read_bytes() == garbage  # for whoever can repair it
            database.write_bytes(backup)
            await storage_is(daemon, 200, "ok")
            async with devices(daemon.port, "ada", resume=ada.resume) as [back]:
                assert back.welcome["metadata"]["resumed"] is True
                # A moment later than the daemon, the user's context has learnt what it must know to start work.
                answer = await back.ask("start_run", BRIEF, workflow="short")
                while answer["type"] == "error":
                    assert answer["metadata"]["code"] == "unavailable"
                    await trio.sleep(0.1)
                    answer = await back.ask("start_run", BRIEF, workflow="short")
                assert await back.run_ended(answer["metadata"]["run_id"]) == "completed"
                back.verify()


async def test_a_torn_last_write_is_repaired_at_start(tmp_path: Path) -> None:
    """Power fails while a transaction is being written: half a frame lies behind what was committed."""
    database = tmp_path / "data" / "understudy.db"
    beside = database.with_name(database.name + "-wal")
    async with held_model() as model:
        async with served(tmp_path, model) as daemon, devices(daemon.port, "ada") as [ada]:
            await ada.run_under_way()
            await killed(daemon)
        log = ada.texts
        whole = beside.read_bytes()
        frame = whole[32 : 32 + 24 + 4096]
        beside.write_bytes(whole + frame[: len(frame) // 2])
        async with served(tmp_path, model) as daemon:
            await storage_is(daemon, 200, "ok")
            epoch = ada.resume
            assert epoch is not None
            async with devices(daemon.port, "ada", resume={**epoch, "seq": 0}) as [back]:
                await back.until(lambda: len(back.texts) >= len(log))
                assert back.texts[: len(log)] == log  # everything that was told is still there
                model.release()
                run_id = ada.log[0]["run_id"]
                assert await back.run_ended(run_id) in {"completed", "failed"}
                assert rows(database, "ada") == [(f["seq"], f["id"]) for f in back.log]
                back.verify(lossy=True)


async def test_a_last_write_that_the_disk_lost_leaves_what_came_before_it(tmp_path: Path) -> None:
    """The disk had said that it was written: the run goes on from what is there, and its log is whole."""
    database = tmp_path / "data" / "understudy.db"
    beside = database.with_name(database.name + "-wal")
    async with held_model(held=False) as model:
        async with served(tmp_path, model) as daemon, devices(daemon.port, "ada") as [ada]:
            run_id = await ada.start_run()
            assert await ada.run_ended(run_id) == "completed"
            await killed(daemon)
        os.truncate(beside, last_event_frame(database, beside, len(ada.log)))
        async with served(tmp_path, model) as daemon:
            await storage_is(daemon, 200, "ok")
            assert ada.resume is not None
            async with devices(daemon.port, "ada", resume={**ada.resume, "seq": 0}) as [back]:
                assert await back.run_ended(run_id) == "completed"
                kept = next(n for n, text in enumerate(ada.texts) if text != back.texts[n])
                assert 0 < kept < len(ada.texts)
                assert rows(database, "ada") == [(f["seq"], f["id"]) for f in back.log]
                back.verify(lossy=True)


def last_event_frame(database: Path, beside: Path, events: int) -> int:
    """Where to cut the write-ahead log: in the middle of the frame before which the last events are not committed."""
    whole = beside.read_bytes()
    trial = database.with_name("trial.db")
    for frames in range((len(whole) - 32) // 4120, 0, -1):
        size = 32 + frames * 4120 - 2000
        trial.write_bytes(database.read_bytes())
        trial.with_name("trial.db-wal").write_bytes(whole[:size])
        found = len(rows(trial, "ada"))
        for each in ("trial.db", "trial.db-wal", "trial.db-shm"):
            trial.with_name(each).unlink(missing_ok=True)
        if found < events:
            return size
    raise AssertionError("no cut loses an event")
