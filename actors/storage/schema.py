"""The tables, and which files are ours.

    logs   one row a user: a number, the user, the epoch, the top. Row 0 is nobody's: its log remembers the ids of
           records without a body.
    log    the events, ordered by log and seq in one tree without rowids; `at` stands before the body, so that trimming
           by age reads no bodies. The index that keeps ids unique begins with the id, not the log: ids rise with time,
           so a batch for 200 users touches one leaf of it instead of 200.
    reply  what a command was answered.
    cursor how far each client of a user has come: where it came in and what it acknowledged last (null: never), both
           positions in the log of that `epoch` (but see `interface.Cursor`), and when it was last seen.
    state  the key-value state.
    memory, memory_tag, memory_words: the searchable memory, see `memories`.

`user_version` counts the schema; `application_id` marks the file as Understudy's.
"""

from pathlib import Path
from sqlite3 import Connection
from typing import Final

from actors.storage import memories
from actors.storage.errors import DatabaseForeign

APPLICATION_ID: Final = 0x556E6479
VERSION: Final = 3
NOBODY: Final = 0

_TABLES: Final = (
    """
    CREATE TABLE logs (
        id INTEGER PRIMARY KEY, user TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL, top INTEGER NOT NULL
    )
    """,
    "INSERT INTO logs VALUES (0, '', '', 0)",  # NOBODY
    """
    CREATE TABLE log (
        log INTEGER NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL, event_id TEXT NOT NULL, body BLOB,
        PRIMARY KEY (log, seq), UNIQUE (event_id, log)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE reply (
        log INTEGER NOT NULL, command_id TEXT NOT NULL, at REAL NOT NULL, digest BLOB NOT NULL, reply BLOB NOT NULL,
        PRIMARY KEY (log, command_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE cursor (
        log INTEGER NOT NULL, client_id TEXT NOT NULL, epoch TEXT NOT NULL, came_in INTEGER NOT NULL, acked INTEGER,
        seen REAL NOT NULL, PRIMARY KEY (log, client_id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE state (
        space TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (space, key)
    ) WITHOUT ROWID
    """,
    *memories.TABLES,
)


def ensure_schema(connection: Connection, path: Path) -> None:
    """Make the tables in an empty file; accept our own. Raises DatabaseForeign, having changed nothing."""
    if _examine(connection, path) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    if _examine(connection, path) != VERSION:  # nobody was quicker
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _examine(connection: Connection, path: Path) -> int:
    """The schema's version, 0 of an empty file."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise DatabaseForeign(path, "it belongs to another program")
    if version > VERSION:
        raise DatabaseForeign(
            path,
            f"it was written by a newer version (schema {version}, this one knows {VERSION}); install that version",
        )
    if 0 < version < VERSION:
        raise DatabaseForeign(
            path,
            f"it was written by an older version (schema {version}, this one knows {VERSION}); "
            "install that version, or move the file away to begin with an empty one",
        )
    return int(version)
