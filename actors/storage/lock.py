"""The exclusive lock on a data directory, held for life.

`flock`, not `lockf`: a POSIX lock belongs to the process, so two daemons in one process would both have it, and whoever
closes any other handle on the file would let it go. The file stays when the lock is let go: removing it would let two
daemons lock two files of the same name.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from actors.storage.errors import DataDirectoryInUse, DataDirectoryUnusable

LOCK_NAME: Final = "lock"


class DirectoryLock:
    """A held lock; let go of by `release`, by leaving its `with` block, or by the end of the process."""

    def __init__(self, directory: Path, handle: int) -> None:
        self.directory = directory
        self._handle: int | None = handle

    def release(self) -> None:
        """Let go. Doing it twice does nothing."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def lock_directory(directory: Path) -> DirectoryLock:
    """Make `directory` where there is none, readable by its owner only, and lock it.

    Raises DataDirectoryInUse when another daemon holds it, in this process or another, and DataDirectoryUnusable when
    it cannot be made or written. Never waits.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DataDirectoryUnusable(directory, _reason(error)) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _read_holder(handle)
        os.close(handle)
        raise DataDirectoryInUse(directory, holder) from None
    except OSError as error:
        os.close(handle)
        raise DataDirectoryUnusable(directory, _reason(error)) from error
    _write_holder(handle)
    return DirectoryLock(directory, handle)


def _reason(error: OSError) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "there is a file in its place"
    return error.strerror or type(error).__name__


def _write_holder(handle: int) -> None:
    """Note the process for the message of the next one to come. On a full disk the lock holds without the note."""
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, b"%d\n" % os.getpid(), 0)
    except OSError:
        return


def _read_holder(handle: int) -> int | None:
    text = os.pread(handle, 32, 0).strip()
    return int(text) if text.isdigit() else None
