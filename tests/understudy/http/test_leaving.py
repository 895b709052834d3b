"""What is answered over HTTP while the daemon goes down, what this version does not offer, and the key of a command."""

from __future__ import annotations

from typing import Any, Protocol

import httpx2
import pytest

from actors.gateway.entrance import LEAVING
from actors.protocol.codes import NOT_YET

COME_BACK = 3.2


class Site(Protocol):
    client: httpx2.AsyncClient
    phase: str

    def serve(self, **changes: Any) -> None: ...


def command(type_: str, **fields: Any) -> dict[str, Any]:
    return {"id": "one", "type": type_, "metadata": {}, **fields}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/commands", command("start_run", content="A brief that is long enough")),
        ("/api/commands", command("submit_task", content="Something to do")),
        ("/api/runs", {"brief": "A brief that is long enough"}),
        ("/api/tasks", {"description": "Something to do"}),
        ("/api/engines/execute", {"task_type": "search", "description": "tea"}),
    ],
    ids=["start_run", "submit_task", "runs", "tasks", "engines"],
)
async def test_while_it_goes_down_whoever_brings_work_is_told_the_same(site: Site, path: str, body: Any) -> None:
    site.serve(come_back=lambda: COME_BACK)
    site.phase = "draining"
    answer = await site.client.post(path, json=body)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "4"
    told = answer.json()
    if "type" in told:
        assert (told["metadata"]["code"], told["metadata"]["retry_after"]) == ("unavailable", COME_BACK)
        assert told["content"] == LEAVING
    else:
        assert (told["code"], told["message"]) == ("unavailable", LEAVING)


async def test_what_this_version_does_not_offer_is_called_so(site: Site) -> None:
    answer = await site.client.post("/api/commands", json=command("create_session"))
    assert (answer.status_code, answer.json()["metadata"]["code"]) == (503, "unavailable")
    assert answer.json()["content"] == NOT_YET
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize("key", [b"k" * 65, "ü".encode() * 65, b"\xff"], ids=["long", "long in UTF-8", "no text"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/runs", {"brief": "A brief that is long enough"}),
        ("/api/tasks", {"description": "Something to do"}),
        ("/api/engines/execute", {"task_type": "search", "description": "tea"}),
    ],
)
async def test_a_key_has_the_bounds_of_an_id(site: Site, path: str, body: Any, key: bytes) -> None:
    answer = await site.client.post(path, json=body, headers={b"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_fields")
    assert answer.json()["fields"] == {"Idempotency-Key": "Idempotency-Key must be an id of 1 to 64 characters."}


async def test_an_id_of_64_characters_is_a_key(site: Site) -> None:
    key = ("ü" * 64).encode()
    answer = await site.client.post("/api/runs", json={"brief": "too short"}, headers={b"Idempotency-Key": key})
    assert (answer.status_code, set(answer.json()["fields"])) == (422, {"brief"})
