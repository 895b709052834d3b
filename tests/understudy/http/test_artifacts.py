"""The files of a run over HTTP: whose they are, what a browser may make of them, and how a disk's trouble looks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from actors.artifacts.store import ArtifactMissing, Artifacts
from actors.storage.journal import GetState
from actors.users.keys import RUNS, run_key
from runtime import Actor, Refused
from supervisors import ChildSpec

if TYPE_CHECKING:
    from pathlib import Path

BASE = "/api/runs/r1/artifacts"


class Storage(Actor):
    """Knows one run of ada's; refuses everything while it is told to."""

    def __init__(self) -> None:
        self.away = False
        self.asked: list[GetState] = []

    async def receive(self, message: Any) -> object:
        assert isinstance(message, GetState)
        self.asked.append(message)
        if self.away:
            return Refused("away")
        return b"{}" if (message.space, message.key) == (RUNS, run_key("ada", "r1")) else None


@pytest.fixture
def storage(site: Any) -> Storage:
    actor = Storage()
    site.system.root.actor.start_child(ChildSpec("storage", lambda: actor))
    return actor


@pytest.fixture
def store(site: Any, storage: Storage, tmp_path: Path) -> Artifacts:
    artifacts = Artifacts(tmp_path)
    site.serve(artifacts=artifacts)
    for step, name, content in (
        ("first", "note.md", "Tee für zwei".encode()),
        ("first", "page.html", b"<script>alert(1)</script>"),
        ("first", "data.bin", b"\xff\x00"),
        ("first", "zero.txt", b"text with a \0 in it"),
        ("second", "note.md", b"of the second"),
    ):
        artifacts.write("ada", "r1", step, name, content)
    return artifacts


async def get(site: Any, path: str = BASE, user: str = "ada") -> tuple[int, Any, Any]:
    response = await site.get(path, **{"x-user-id": user})
    body = response.json() if response.headers["content-type"].startswith("application/json") else response.content
    return response.status_code, body, response.headers


async def test_they_are_listed_with_what_conflicts(site: Any, store: Artifacts) -> None:
    status, listed, _ = await get(site)
    assert status == 200
    assert [(each["name"], each["step"], each["conflict"]) for each in listed] == [
        ("data.bin", "first", False),
        ("note.md", "first", True),
        ("note.md", "second", True),
        ("page.html", "first", False),
        ("zero.txt", "first", False),
    ]
    assert listed[1]["size"] == len("Tee für zwei".encode())
    assert len(listed[1]["checksum"]) == 64


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page.html", "text/plain; charset=utf-8"),
        ("data.bin", "application/octet-stream"),
        ("zero.txt", "application/octet-stream"),
    ],
)
async def test_none_is_ever_shown_as_a_page_of_ours(name: str, kind: str, site: Any, store: Artifacts) -> None:
    status, body, headers = await get(site, f"{BASE}/{name}")
    assert (status, headers["content-type"]) == (200, kind)
    assert body == store.read("ada", "r1", ["first"], name)
    assert headers["content-disposition"] == f'attachment; filename="{name}"'
    assert headers["content-security-policy"] == "sandbox"


async def test_of_several_with_one_name_the_step_has_to_be_named(site: Any, store: Artifacts) -> None:
    status, body, _ = await get(site, f"{BASE}/note.md")
    assert (status, body["code"]) == (409, "conflict")
    assert body["fields"] == {"step": "This must be one of first, second."}
    assert (await get(site, f"{BASE}/note.md?step=second"))[1] == b"of the second"
    assert (await get(site, f"{BASE}/note.md?step=third"))[0] == 404


async def test_what_is_another_users_or_not_there_is_not_found(site: Any, store: Artifacts, storage: Storage) -> None:
    for path in (BASE, f"{BASE}/note.md?step=first"):
        assert (await get(site, path, "eve"))[0] == 404
    assert (await get(site, "/api/runs/r2/artifacts"))[0] == 404
    assert (await get(site, f"{BASE}/nothing.md"))[0] == 404
    assert (await get(site, f"{BASE}/.hidden"))[0] == 404
    asked = len(storage.asked)
    assert (await get(site, f"/api/runs/{'r' * 65}/artifacts"))[0] == 404
    assert len(storage.asked) == asked, "an id that long is nobody's"


async def test_without_files_there_are_none(site: Any, storage: Storage) -> None:
    assert (await get(site))[0] == 404


async def test_storage_that_is_away_is_said_with_when_to_come_back(
    site: Any, store: Artifacts, storage: Storage
) -> None:
    storage.away = True
    status, body, headers = await get(site)
    assert (status, body["code"], headers["retry-after"]) == (503, "unavailable", "1")


@pytest.mark.parametrize("error", [OSError(5, "Input/output error", "/srv/secret"), PermissionError(13, "No")])
async def test_a_disk_in_trouble_is_said_so_and_no_path_with_it(
    error: OSError, site: Any, store: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> list[Any]:
        raise error

    monkeypatch.setattr(Artifacts, "listing", broken)
    for path in (BASE, f"{BASE}/note.md"):
        status, body, headers = await get(site, path)
        assert (status, body["code"], headers["retry-after"]) == (503, "unavailable", "1")
        assert "secret" not in json.dumps(body)
    assert [line["why"] for line in site.log if line["event"] == "artifact not read"] == [error.strerror] * 2


async def test_one_that_is_swept_between_listing_and_reading_is_gone(
    site: Any, store: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> bytes:
        raise ArtifactMissing("note.md")

    monkeypatch.setattr(Artifacts, "read", gone)
    assert (await get(site, f"{BASE}/page.html"))[0] == 404
