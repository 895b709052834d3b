"""Artifacts on a real disk."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.artifacts.names import BadName, checked, folder_of
from actors.artifacts.store import ArtifactMissing, ArtifactRefused, Artifacts, NotWanted, conflicts

RUN = "0001"


@pytest.fixture
def store(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts", most_bytes=1000, most_of_a_step=3)


def test_what_was_written_is_read_and_listed(store: Artifacts) -> None:
    written = store.write("ada", RUN, "design", "plan.md", b"one")
    assert store.read("ada", RUN, ["design"], "plan.md") == b"one"
    (listed,) = store.listing("ada", RUN)
    assert (listed.name, listed.step, listed.size) == ("plan.md", "design", 3)
    assert written.checksum == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"


def test_the_second_of_a_name_takes_the_place_of_the_first(store: Artifacts) -> None:
    store.write("ada", RUN, "design", "plan.md", b"one")
    store.write("ada", RUN, "design", "plan.md", b"two")
    assert store.read("ada", RUN, ["design"], "plan.md") == b"two"
    assert len(store.listing("ada", RUN)) == 1


def test_a_reader_sees_only_the_steps_it_names_of_its_own_user_and_run(store: Artifacts) -> None:
    store.write("ada", RUN, "design", "plan.md", b"one")
    for user, run, steps in [("ada", RUN, ["build"]), ("eve", RUN, ["design"]), ("ada", "0002", ["design"])]:
        with pytest.raises(ArtifactMissing):
            store.read(user, run, steps, "plan.md")
    assert store.listing("eve", RUN) == []


NAMES = ["", ".", "..", "../plan.md", "/etc/passwd", "a/b", "a\\b", ".hidden", "-rf", "a\0b", "ä.md", "a" * 129, "a\n"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_not_allowed_is_refused_by_name(store: Artifacts, name: str) -> None:
    with pytest.raises(BadName, match="Allowed are 1 to 128 letters"):
        store.write("ada", RUN, "design", name, b"")
    with pytest.raises(BadName):
        store.read("ada", RUN, ["design"], name)
    assert not store.root.exists()


@given(user=st.text(min_size=1), run=st.text(min_size=1), step=st.text(min_size=1), name=st.text())
def test_no_user_run_step_or_name_leads_out_of_the_root(user: str, run: str, step: str, name: str) -> None:
    root = Path("/root-of-all")
    try:
        name = checked(name)
    except BadName:
        name = "plan.md"
    try:
        path = folder_of(root, user, run, step) / name
    except UnicodeEncodeError:  # a lone surrogate: no file, and no JSON text either
        return
    assert Path(os.path.normpath(path)) == path
    assert path.parts[:2] == root.parts
    assert len(path.parts) == len(root.parts) + 4


@given(first=st.tuples(st.text(min_size=1), st.text(min_size=1)), second=st.tuples(st.text(min_size=1), st.text()))
def test_two_steps_never_share_a_folder(first: tuple[str, str], second: tuple[str, str]) -> None:
    root = Path("/r")
    try:
        folders = [folder_of(root, user, RUN, step) for user, step in (first, second)]
    except UnicodeEncodeError:
        return
    assert (folders[0] == folders[1]) == (first == second)


def test_too_large_and_too_many_are_refused_with_the_limit(store: Artifacts) -> None:
    with pytest.raises(ArtifactRefused, match="at most 1,000 are allowed"):
        store.write("ada", RUN, "design", "plan.md", bytes(1001))
    for number in range(3):
        store.write("ada", RUN, "design", f"{number}.md", b"")
    with pytest.raises(ArtifactRefused, match="3 artifacts already"):
        store.write("ada", RUN, "design", "4.md", b"")
    store.write("ada", RUN, "design", "2.md", b"again is no further one")


def test_the_answer_of_a_step_is_none_of_its_number(store: Artifacts) -> None:
    for number in range(3):
        store.write("ada", RUN, "design", f"{number}.md", b"")
    for _ in range(2):
        store.write("ada", RUN, "design", "design.md", b"the answer")
    store.remove("ada", RUN)
    store.write("ada", RUN, "design", "design.md", b"the answer")
    for number in range(3):
        store.write("ada", RUN, "design", f"{number}.md", b"")
    with pytest.raises(ArtifactRefused):
        store.write("ada", RUN, "design", "3.md", b"")


def test_all_that_leads_to_a_file_has_reached_the_disk(store: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def noting(handle: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noting)
    store.write("ada", RUN, "design", "plan.md", b"one")
    folder = folder_of(store.root, "ada", RUN, "design")
    assert {str(path) for path in (folder, *folder.parents[:4])} <= set(flushed)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (folder, *folder.parents[:3]))
    flushed.clear()
    store.write("ada", RUN, "design", "plan.md", b"two")
    assert flushed[1:] == [str(folder)], "once is enough"


def test_a_disk_that_does_not_take_it_leaves_the_older_file(store: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("ada", RUN, "design", "plan.md", b"one")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write("ada", RUN, "design", "plan.md", b"two")
    monkeypatch.undo()
    assert store.read("ada", RUN, ["design"], "plan.md") == b"one"
    assert [path.name for path in folder_of(store.root, "ada", RUN, "design").iterdir()] == ["plan.md"]


def test_conflicting_names_are_told_with_their_steps(store: Artifacts) -> None:
    for step, name in [("a", "plan.md"), ("b", "plan.md"), ("b", "own.md")]:
        store.write("ada", RUN, step, name, b"")
    assert conflicts(store.listing("ada", RUN)) == {"plan.md": ("a", "b")}


def test_a_forgotten_run_leaves_nothing(store: Artifacts) -> None:
    store.write("ada", RUN, "a/b", "plan.md", b"")
    store.write("ada", "0002", "a", "plan.md", b"")
    store.remove("ada", RUN)
    store.remove("ada", RUN)
    assert store.listing("ada", RUN) == []
    assert len(store.listing("ada", "0002")) == 1


def test_steps_are_listed_by_the_name_that_they_were_given(store: Artifacts) -> None:
    store.write("ada", RUN, "a/ü ..", "plan.md", b"")
    assert [artifact.step for artifact in store.listing("ada", RUN)] == ["a/ü .."]


def test_a_long_user_name_has_its_own_folder(store: Artifacts) -> None:
    for user in ["🎭" * 64, "🎭" * 63 + "🎬"]:
        store.write(user, RUN, "design", "plan.md", user.encode())
        assert store.read(user, RUN, ["design"], "plan.md") == user.encode()


def test_what_nobody_waits_for_any_more_is_not_put_in_its_place(store: Artifacts) -> None:
    store.write("ada", RUN, "design", "plan.md", b"by the attempt after it")
    with pytest.raises(NotWanted):
        store.write("ada", RUN, "design", "plan.md", b"too late", wanted=lambda: False)
    assert store.read("ada", RUN, ["design"], "plan.md") == b"by the attempt after it"
    assert [path.name for path in folder_of(store.root, "ada", RUN, "design").iterdir()] == ["plan.md"]
