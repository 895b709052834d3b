import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.storage.errors import DataDirectoryInUse, DataDirectoryUnusable
from actors.storage.lock import LOCK_NAME, lock_directory

HOLD = """
import sys
from pathlib import Path
from actors.storage.lock import lock_directory

lock = lock_directory(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    with lock_directory(tmp_path / "a" / "b") as lock:
        assert lock.directory == tmp_path / "a" / "b"
        assert (lock.directory.stat().st_mode & 0o777) == 0o700
        assert (lock.directory / LOCK_NAME).read_text() == f"{os.getpid()}\n"


def test_a_second_daemon_in_the_same_process_is_told(tmp_path: Path) -> None:
    with lock_directory(tmp_path):
        with pytest.raises(DataDirectoryInUse) as caught:
            lock_directory(tmp_path)
        assert caught.value.holder == os.getpid()
        with pytest.raises(DataDirectoryInUse):  # and the failed try took nothing from the holder
            lock_directory(tmp_path)


def test_a_second_daemon_in_another_process_is_told(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DataDirectoryInUse) as caught:
            lock_directory(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert f"process {holder.pid}" in str(caught.value)
        assert "--data" in str(caught.value)
        assert "\n" not in str(caught.value)
        holder.kill()  # a lock ends with its process, however that ends
        holder.wait()
        lock_directory(tmp_path).release()


def test_a_released_lock_can_be_taken_and_released_twice(tmp_path: Path) -> None:
    lock = lock_directory(tmp_path)
    lock.release()
    with lock_directory(tmp_path):
        lock.release()
        with pytest.raises(DataDirectoryInUse):
            lock_directory(tmp_path)


def test_a_lock_file_without_a_readable_note_still_locks(tmp_path: Path) -> None:
    with lock_directory(tmp_path):
        (tmp_path / LOCK_NAME).write_text("nonsense")
        with pytest.raises(DataDirectoryInUse, match="another daemon") as caught:
            lock_directory(tmp_path)
        assert caught.value.holder is None


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(DataDirectoryUnusable, match="a file in its place") as caught:
            lock_directory(directory)
        assert str(directory) in str(caught.value)
        assert "--data" in str(caught.value)


def test_a_place_where_nothing_can_be_made() -> None:
    with pytest.raises(DataDirectoryUnusable, match="/proc/understudy"):
        lock_directory(Path("/proc/understudy"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_the_right_to_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataDirectoryUnusable, match="Permission denied"):
        lock_directory(tmp_path)


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(DataDirectoryUnusable, match="not supported"):
        lock_directory(tmp_path)


def test_a_full_disk_does_not_keep_the_lock_from_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, data: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", refuse)
    with lock_directory(tmp_path), pytest.raises(DataDirectoryInUse):
        lock_directory(tmp_path)
