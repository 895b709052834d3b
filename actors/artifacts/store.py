"""Artifacts on disk: one folder a step, written whole or not at all.

A step writes only to its own folder and reads only those of the steps that it waits for: who may do what is decided by
the `Shelf` that an agent is given, not by the names that a model sends. All calls block and belong in a worker thread.

Order: the file is on disk before the event that names it is committed. A crash between the two leaves a file that the
next attempt at the step writes again; never an event that names a file which is not there.

Rejected: keeping artifacts in the database. They are large, are read by name, and a person wants to find them.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import attrs

from actors.artifacts.names import answer_name, checked, folder_of, folder_of_run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

ARTIFACTS: Final = "artifacts"
"""The folder of all of them, in the data directory."""
MOST_BYTES: Final = 4 * 1024 * 1024
MOST_OF_A_STEP: Final = 64
_UNFINISHED: Final = ".unfinished-"


@attrs.frozen
class Artifact:
    """A file of a run.

    Attributes:
        name: its name, unique in its step.
        step: who wrote it.
        size: in bytes.
        checksum: SHA-256 of the content, in hex; empty in a listing that has not read the files.
        written: seconds since 1970.
    """

    name: str
    step: str
    size: int
    checksum: str
    written: float


class ArtifactRefused(Exception):
    """What the writer asked for is not allowed; `str()` of it says what is, for a person or a model."""


class NotWanted(Exception):
    """Nobody waits for the file any more: it was not put in its place."""


class ArtifactMissing(Exception):
    """There is no such file where the reader may look."""


@attrs.frozen
class Artifacts:
    """All artifacts of a daemon.

    Attributes:
        root: the folder of all; made when something is first written.
        most_bytes: of one artifact.
        most_of_a_step: how many files one step may have besides its answer.
    """

    root: Path
    most_bytes: int = MOST_BYTES
    most_of_a_step: int = MOST_OF_A_STEP

    def write(
        self, user: str, run_id: str, step: str, name: str, content: bytes, wanted: Callable[[], bool] = lambda: True
    ) -> Artifact:
        """Put a file in the step's folder, in place of one of the same name. On return it has reached the disk.

        `wanted` is asked when all of it is there but its name: a disk that took its time may have been given up, and
        the next attempt has written the file anew.

        Raises:
            BadName: the name is not allowed.
            ArtifactRefused: it is too large, or the step has too many.
            NotWanted: nobody waits for it any more.
            OSError: the disk did not take it; an older file of this name is untouched.
        """
        checked(name)
        if len(content) > self.most_bytes:
            raise ArtifactRefused(f"This artifact has {len(content):,} bytes; at most {self.most_bytes:,} are allowed.")
        folder = folder_of(self.root, user, run_id, step)
        _make(folder)
        answer = answer_name(step)
        others = sum(other not in {name, answer} for other in _names(folder))
        if name != answer and others >= self.most_of_a_step:
            raise ArtifactRefused(f"This step has {self.most_of_a_step} artifacts already, and may have no more.")
        _replace(folder, name, content, wanted)
        return _artifact(folder / name, step, hashlib.sha256(content).hexdigest())

    def read(self, user: str, run_id: str, steps: Collection[str], name: str) -> bytes:
        """The content of a file of one of these steps; of several with this name, the first step's.

        Raises:
            BadName: no artifact can have this name.
            ArtifactMissing: none of these steps has it.
            OSError: the disk could not be read.
        """
        checked(name)
        for step in steps:
            with suppress(FileNotFoundError):
                return (folder_of(self.root, user, run_id, step) / name).read_bytes()
        raise ArtifactMissing(name)

    def listing(self, user: str, run_id: str, *, checksums: bool = False) -> list[Artifact]:
        """Every file of a run, by name and then by step; nothing of a run that left none. `checksums`: reads them."""
        folder = folder_of_run(self.root, user, run_id)
        try:
            steps = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        except FileNotFoundError:
            return []
        found = [
            _artifact(path := folder / component / name, unquote(component[1:]), _checksum(path) if checksums else "")
            for component in steps
            for name in _names(folder / component)
        ]
        return sorted(found, key=lambda artifact: (artifact.name, artifact.step))

    def remove(self, user: str, run_id: str) -> None:
        """Take away what a run has left: it is forgotten. Doing it again does nothing."""
        folder = folder_of_run(self.root, user, run_id)
        for directory, _, names in os.walk(folder, topdown=False):
            for name in names:
                Path(directory, name).unlink(missing_ok=True)
            Path(directory).rmdir()


def conflicts(artifacts: Collection[Artifact]) -> dict[str, tuple[str, ...]]:
    """The names that more than one step has used, with those steps: what consolidating has to report. Pure."""
    steps: dict[str, list[str]] = {}
    for artifact in artifacts:
        steps.setdefault(artifact.name, []).append(artifact.step)
    return {name: tuple(sorted(writers)) for name, writers in sorted(steps.items()) if len(writers) > 1}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(_UNFINISHED))


def _artifact(path: Path, step: str, checksum: str) -> Artifact:
    facts = path.stat()
    return Artifact(path.name, step, facts.st_size, checksum, facts.st_mtime)


def _replace(folder: Path, name: str, content: bytes, wanted: Callable[[], bool]) -> None:
    """Write beside, flush, rename, flush the folder: a power cut leaves the old file or the new one."""
    handle, unfinished = tempfile.mkstemp(prefix=_UNFINISHED, dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if not wanted():
            raise NotWanted(name)
        Path(unfinished).replace(folder / name)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    _flush(folder)


def _make(folder: Path) -> None:
    """The folder, and what is missing above it; each has reached the disk, or a power cut could take all below it."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _flush(folder.parent)


def _flush(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
