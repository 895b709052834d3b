"""What SQLite's errors mean for a commit, an opening, a read."""

import sqlite3
from pathlib import Path
from typing import Final

from actors.storage.errors import (
    CommitFailed,
    CommitUnknown,
    DatabaseDamaged,
    DatabaseUnavailable,
    DataDirectoryUnusable,
    StorageError,
)

# A constraint cannot fail but where a log's top lies below its events.
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT})
_NOT_WRITABLE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})

# What COMMIT itself may answer when it is certain that nothing was committed. A lock: it never began. A full disk: the
# frame that ends a transaction is the last one written, and the checksum of a piece of it does not hold. Any other I/O
# error may come from the fsync after that frame.
_CLEAN_AT_COMMIT: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL})


def primary_code(error: sqlite3.Error) -> int:
    """The error's primary result code, without the extension; SQLITE_ERROR where the module raised it by itself."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def describe(error: sqlite3.Error) -> str:
    """The error in words for a log."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return f"{error} ({name})"


def of_commit(error: sqlite3.Error, path: Path, *, committing: bool, rolled_back: bool) -> StorageError:
    """What a failed transaction raises.

    `committing`: the error came from COMMIT. Before it nothing can have been committed, so long as the connection could
    roll back; where it could not (`rolled_back` false), the connection is not to be trusted with the question.
    """
    code = primary_code(error)
    if committing and code not in _CLEAN_AT_COMMIT:
        return CommitUnknown(describe(error))
    if not rolled_back:
        return CommitUnknown(describe(error))
    if code in _DAMAGED:
        return DatabaseDamaged(path, describe(error))
    return CommitFailed(describe(error))


def of_read(error: sqlite3.Error, path: Path) -> StorageError:
    """What a failed read raises."""
    if primary_code(error) in _DAMAGED:
        return DatabaseDamaged(path, describe(error))
    return DatabaseUnavailable(describe(error))


def of_opening(error: sqlite3.Error, path: Path) -> StorageError:
    """What a failed opening raises."""
    if primary_code(error) in _NOT_WRITABLE:
        return DataDirectoryUnusable(path.parent, describe(error))
    return of_read(error, path)
