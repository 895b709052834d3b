"""What one step may do with the artifacts of its run."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.artifacts.names import BadName
from actors.artifacts.shelf import Shelf
from actors.artifacts.store import ArtifactMissing, ArtifactRefused, Artifacts


def test_a_step_writes_its_own_folder_and_reads_its_own_and_its_parents_only(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    for user, run_id, step, name in (
        ("ada", "r1", "first", "a.md"), ("ada", "r1", "second", "a.md"), ("ada", "r1", "aside", "b.md"),
        ("eve", "r1", "first", "c.md"), ("ada", "r2", "first", "d.md"),
    ):  # fmt: skip
        artifacts.write(user, run_id, step, name, f"{user} {run_id} {step}".encode())
    shelf = Shelf(artifacts, "ada", "r1", "third", ("first", "second"))
    assert [(found.step, found.name) for found in shelf.listing()] == [("first", "a.md"), ("second", "a.md")]
    assert shelf.read("a.md") == b"ada r1 second", "the latest"
    assert shelf.read("a.md", "first") == b"ada r1 first"
    shelf.write("a.md", b"own")
    assert shelf.read("a.md") == b"own"
    assert artifacts.read("ada", "r1", ["second"], "a.md") == b"ada r1 second"
    for name, step in (("b.md", None), ("b.md", "aside"), ("c.md", None), ("d.md", None), ("a.md", "../first")):
        with pytest.raises(ArtifactMissing):
            shelf.read(name, step)
    with pytest.raises(BadName):
        shelf.read("../first/a.md")
    with pytest.raises(BadName):
        shelf.write("../second/a.md", b"")


def test_a_tool_does_not_write_where_the_answer_is_kept(tmp_path: Path) -> None:
    shelf = Shelf(Artifacts(tmp_path), "ada", "r1", "design", ())
    with pytest.raises(ArtifactRefused, match="where the answer of this step is kept"):
        shelf.write("design.md", b"a deliverable")
    shelf.write("plan.md", b"a deliverable")
    assert shelf.keep_answer(b"See plan.md.").name == "design.md"
    assert (shelf.read("design.md"), shelf.read("plan.md")) == (b"See plan.md.", b"a deliverable")
