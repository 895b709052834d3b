"""What storage can fail with, each named by what happened or by whose fault it is."""

from pathlib import Path


class StorageError(Exception):
    """Any of the below."""


class CommitFailed(StorageError):
    """Nothing of the batch was committed; offering it again later is safe. A full disk, a lock held by another."""


class CommitUnknown(StorageError):
    """The batch may have been committed or not. After `reopen`, offering it again finds out."""


class DatabaseUnavailable(StorageError):
    """The file could not be opened or read just now: nothing is known to be wrong with it. Try again later."""


class DatabaseDamaged(StorageError):
    """The file is not what was written. It is kept as it is, for whoever can repair it."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            f"The database {path} is damaged ({found}). It was left as it is: "
            "put a backup in its place, or move it away to begin with an empty one."
        )
        self.path = path
        self.found = found


class DatabaseForeign(StorageError):
    """The file is sound but not ours to write: another program's, or of a newer version."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"The database {path} cannot be used: {why}.")
        self.path = path


class DataDirectoryInUse(StorageError):
    """Another daemon holds the data directory."""

    def __init__(self, directory: Path, holder: int | None) -> None:
        process = "another daemon" if holder is None else f"another daemon (process {holder})"
        super().__init__(
            f"The data directory {directory} is in use by {process}. Stop that one, or choose another with --data."
        )
        self.directory = directory
        self.holder = holder


class DataDirectoryUnusable(StorageError):
    """The data directory cannot be made, or not written."""

    def __init__(self, directory: Path, why: str) -> None:
        super().__init__(
            f"The data directory {directory} cannot be written ({why}). "
            "Give this user the right to write there, or choose another with --data."
        )
        self.directory = directory
