"""Real faults: a disk without room, a lock held by another process, a damaged file, a process killed."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actors.storage import failures
from actors.storage.database import Database
from actors.storage.errors import (
    CommitFailed,
    CommitUnknown,
    DatabaseDamaged,
    DatabaseForeign,
    DatabaseUnavailable,
    DataDirectoryUnusable,
)
from actors.storage.interface import PutState, Record
from actors.storage.schema import VERSION


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "understudy.db"


def open_database(path: Path, *, max_pages: int | None = None, busy_timeout: float = 0.0) -> Database:
    return Database(path, random=Random(1), wall_clock=lambda: 0.0, busy_timeout=busy_timeout, max_pages=max_pages)


def event(event_id: str, body: bytes = b"{}") -> Record:
    return Record(event_id, body, ("ann",))


def fill(path: Path, events: int = 200) -> None:
    database = open_database(path)
    database.append([event(f"e{n}", b"x" * 1_000) for n in range(events)])
    database.close()


def test_a_full_disk_is_a_clean_failure_and_passes(path: Path) -> None:
    database = open_database(path, max_pages=20)
    database.append([event("before")])
    with pytest.raises(CommitFailed, match="SQLITE_FULL"):
        database.append([event("small"), event("large", b"x" * 200_000)])
    assert [stored.event_id for stored in database.read("ann", 0, 10)] == ["before"]
    assert database.append([event("small")])[0].seqs == (("ann", 2),)
    database.close()
    roomy = open_database(path)
    assert roomy.append([event("large", b"x" * 200_000)])[0].seqs == (("ann", 3),)
    roomy.close()


LIMITED = """
import resource, sys
from pathlib import Path
from random import Random
from actors.storage.database import Database
from actors.storage.errors import CommitFailed, CommitUnknown
from actors.storage.interface import Record

database = Database(Path(sys.argv[1]), random=Random(1), wall_clock=lambda: 0.0)
database.append([Record("before", b"{}", ("ann",))])
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
large = Record("large", b"x" * 400_000, ("ann",))
try:
    database.append([large])
except (CommitFailed, CommitUnknown) as failure:
    print(type(failure).__name__)
try:
    database.append([large])
except CommitFailed as failure:
    print(failure)
database.reopen()
print([stored.event_id for stored in database.read("ann", 0, 10)])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
outcomes = database.append([large, Record("after", b"{}", ("ann",))])
print([(outcome.event_id, outcome.seqs, outcome.repeated) for outcome in outcomes])
database.close()
"""


def test_a_write_that_the_system_refuses_leaves_the_outcome_to_be_looked_up(path: Path) -> None:
    """The file may not grow any more, which only COMMIT finds out: unknown, reopen, look, offer again."""
    ran = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [
        "CommitUnknown",
        "the database is closed",
        "['before']",
        "[('large', (('ann', 2),), False), ('after', (('ann', 3),), False)]",
    ]


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_held_by_another_process_is_a_clean_failure_and_passes(path: Path) -> None:
    database = open_database(path)
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CommitFailed, match="locked"):
            database.append([event("e1")])
        with pytest.raises(CommitFailed, match="locked"):
            database.top("ann")
        assert database.read("ann", 0, 1) == []
        holder.kill()
        holder.wait()
    assert database.append([event("e1")])[0].seqs == (("ann", 1),)
    database.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from random import Random
from actors.storage.database import Database
from actors.storage.interface import PutState, Record

database = Database(Path(sys.argv[1]), random=Random(1), wall_clock=lambda: 0.0)
database.append([Record("e1", b"one", ("ann",), (PutState("s", "k", b"1"),))])
database._connection.execute("BEGIN IMMEDIATE")
database._apply(database._connection, Record("e2", b"two", ("ann",), (PutState("s", "k", b"2"),)), 0.0, {})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_committed_outlives_a_kill_and_what_was_not_leaves_nothing(path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode == -signal.SIGKILL
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    database = open_database(path)
    assert [stored.event_id for stored in database.read("ann", 0, 10)] == ["e1"]
    assert database.get_state("s", "k") == b"1"
    assert database.append([event("e2")])[0].seqs == (("ann", 2),)
    database.close()


def damaged(path: Path) -> str:
    """What opening says; the file must be left as it was."""
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(DatabaseDamaged) as caught:
        open_database(path)
    assert (path.read_bytes() if path.exists() else None) == before
    assert caught.value.path == path
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_of_garbage_is_kept(path: Path) -> None:
    path.write_bytes(Random(3).randbytes(20_000))
    assert "not a database" in damaged(path)


@pytest.mark.parametrize("kept", [0.3, 0.8])
def test_a_truncated_file_is_kept(path: Path, kept: float) -> None:
    fill(path)
    os.truncate(path, int(path.stat().st_size * kept) // 4096 * 4096)
    damaged(path)


def test_a_file_with_a_page_overwritten_is_kept(path: Path) -> None:
    fill(path)
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 8192)
    damaged(path)


@pytest.mark.parametrize("remove", [True, False])
def test_a_write_ahead_log_without_its_database_is_kept(path: Path, remove: bool) -> None:
    """SQLite alone would delete it without a word."""
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode == -signal.SIGKILL
    beside = path.with_name(path.name + "-wal")
    log = beside.read_bytes()
    if remove:
        path.unlink()
    else:
        os.truncate(path, 0)
    assert "write-ahead log" in damaged(path)
    assert beside.read_bytes() == log


def test_damage_that_shows_while_running(path: Path) -> None:
    fill(path, events=5_000)  # more than the connection keeps in memory
    database = open_database(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(DatabaseDamaged):
        database.read("ann", 0, 5_000)
    with pytest.raises(DatabaseDamaged):
        database.append([event("new")])
    with pytest.raises(DatabaseDamaged):
        database.check()
    database.close()


def test_another_programs_database_is_not_touched(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseForeign, match="another program"):
        open_database(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_not_touched(path: Path) -> None:
    fill(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseForeign, match="newer version") as caught:
        open_database(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_an_older_schema_is_not_touched(path: Path) -> None:
    fill(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION - 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseForeign, match="older version"):
        open_database(path)
    assert path.read_bytes() == before


def test_a_place_where_no_database_can_be_made(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryUnusable, match="missing"):
        open_database(tmp_path / "missing" / "understudy.db")
    (tmp_path / "understudy.db").mkdir()
    with pytest.raises(DataDirectoryUnusable):
        open_database(tmp_path / "understudy.db")


def test_no_room_for_even_an_empty_database(path: Path) -> None:
    fill(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseUnavailable, match="locked"):
        open_database(path)
    connection.close()
    open_database(path).close()


def test_a_closed_database_says_so_and_reopens(path: Path) -> None:
    database = open_database(path)
    database.close()
    database.close()
    with pytest.raises(DatabaseUnavailable, match="closed"):
        database.read("ann", 0, 1)
    with pytest.raises(CommitFailed, match="closed"):
        database.append([Record("x", None, (), (PutState("s", "k", b""),))])
    database.reopen()
    database.append([event("e1")])
    database.close()


def test_a_file_system_without_shared_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Connection(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            return super().execute("SELECT 'delete'" if "journal_mode" in sql else sql, parameters)

    connect = sqlite3.connect
    monkeypatch.setattr("sqlite3.connect", lambda *args, **kwargs: connect(*args, factory=Connection, **kwargs))
    with pytest.raises(DataDirectoryUnusable, match="write-ahead"):
        open_database(path)


def error(code: int) -> sqlite3.Error:
    failure = sqlite3.OperationalError("told so")
    failure.sqlite_errorcode = code
    failure.sqlite_errorname = "SQLITE_X"
    return failure


@pytest.mark.parametrize(
    ("code", "committing", "rolled_back", "kind"),
    [
        (sqlite3.SQLITE_BUSY, False, True, CommitFailed),
        (sqlite3.SQLITE_BUSY, True, True, CommitFailed),
        (sqlite3.SQLITE_FULL, True, True, CommitFailed),
        (sqlite3.SQLITE_FULL, True, False, CommitUnknown),
        (sqlite3.SQLITE_IOERR, False, True, CommitFailed),
        (sqlite3.SQLITE_IOERR_WRITE, False, False, CommitUnknown),
        (sqlite3.SQLITE_IOERR_FSYNC, True, True, CommitUnknown),
        (sqlite3.SQLITE_CORRUPT, True, True, CommitUnknown),
        (sqlite3.SQLITE_CORRUPT, False, True, DatabaseDamaged),
        (sqlite3.SQLITE_NOTADB, False, True, DatabaseDamaged),
        (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, False, True, DatabaseDamaged),
    ],
)
def test_what_an_error_means_for_a_commit(
    path: Path, code: int, committing: bool, rolled_back: bool, kind: type[Exception]
) -> None:
    assert type(failures.of_commit(error(code), path, committing=committing, rolled_back=rolled_back)) is kind


def test_an_error_without_a_code() -> None:
    assert failures.primary_code(sqlite3.ProgrammingError("x")) == sqlite3.SQLITE_ERROR
    assert failures.describe(sqlite3.ProgrammingError("x")) == "x (ProgrammingError)"


def test_probing_finds_a_full_disk_and_leaves_nothing(path: Path) -> None:
    """An empty transaction would find nothing."""
    full = open_database(path, max_pages=20)
    full.append(())
    with pytest.raises(CommitFailed, match="SQLITE_FULL"):
        full.probe()
    assert full.append([event("small")])[0].seqs == (("ann", 1),)
    full.close()
    database = open_database(path)
    database.probe()
    assert database.list_state("probe") == []
    size = path.stat().st_size
    for _ in range(5):
        database.probe()
    database.close()
    assert path.stat().st_size <= size + 300_000  # the room is used again and again


def test_a_probe_that_a_kill_cut_in_two_is_finished_by_the_next(path: Path) -> None:
    database = open_database(path)
    database.append([Record("left", None, (), (PutState("probe", "room", b"x"),))])
    database.probe()
    assert database.list_state("probe") == []
    database.close()
