"""What is wrong with a request is said field by field, as over the WebSocket; nothing that is sent is our failure."""

from __future__ import annotations

from typing import Any, Protocol

import httpx2
import pytest

BODIES = {
    "/api/runs": {"brief": "A brief that is long enough"},
    "/api/tasks": {"description": "Something to do"},
    "/api/agents/analyst/tasks": {"description": "Something to do"},
    "/api/agents": {"name": "poet", "role": "Poet", "prompt": "Write."},
    "/api/engines/execute": {"task_type": "memory_query"},
}


class Site(Protocol):
    client: httpx2.AsyncClient

    @property
    def log(self) -> list[dict[str, Any]]: ...
    async def get(self, path: str, **headers: str) -> httpx2.Response: ...


def refusal(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b'"text"',
        b'{"a": \xff}',
        b"[" * 50_000,
        b'{"a":' + b"[" * 80 + b"]" * 80 + b"}",
    ],
    ids=["empty", "no JSON", "list", "null", "text", "no UTF-8", "endless", "deep"],
)
async def test_a_body_that_is_no_object(site: Site, path: str, body: bytes) -> None:
    answer = await site.client.post(path, content=body, headers={"content-type": "application/json"})
    assert refusal(answer) == (400, "bad_request")
    assert site.log == []


@pytest.mark.parametrize("path", BODIES)
async def test_every_field_that_is_missing_or_of_the_wrong_kind_is_named(site: Site, path: str) -> None:
    needed = set(BODIES[path])
    missing = await site.client.post(path, json={"nobody_reads": 1})
    assert refusal(missing) == (422, "invalid_fields")
    assert set(missing.json()["fields"]) == needed
    wrong = await site.client.post(path, json=dict.fromkeys(needed, 5))
    assert refusal(wrong) == (422, "invalid_fields")
    assert set(wrong.json()["fields"]) == needed
    for name, sentence in {**missing.json()["fields"], **wrong.json()["fields"]}.items():
        assert name in sentence
        assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/runs", {"workflow": 5, "options": [], "session_id": ""}),
        ("/api/tasks", {"task_type": 5, "parameters": [], "priority": "soon", "required_capabilities": "all"}),
        ("/api/agents", {"models": "one", "max_concurrent_tasks": "2", "temperature": "hot", "max_tokens": 1.5}),
        ("/api/engines/execute", {"description": 1, "parameters": [], "timeout": "long"}),
        ("/api/runs/one/cancel", {"agent_name": 5}),
    ],
)
async def test_optional_fields_of_the_wrong_kind_too(site: Site, path: str, fields: dict[str, Any]) -> None:
    answer = await site.client.post(path, json={**BODIES.get(path, {}), **fields})
    assert refusal(answer) == (422, "invalid_fields")
    assert set(answer.json()["fields"]) == set(fields)


async def test_half_a_character_is_read_as_one_that_cannot_be(site: Site) -> None:
    body = rb'{"brief": "\ud83d", "workflow": "a\\ud83d"}'
    answer = await site.client.post("/api/runs", content=body, headers={"content-type": "application/json"})
    assert refusal(answer) == (422, "invalid_fields")
    assert set(answer.json()["fields"]) == {"brief"}


async def test_a_field_is_called_as_the_request_calls_it(site: Site) -> None:
    brief = await site.client.post("/api/runs", json={"brief": "  short   "})
    assert brief.json()["fields"] == {"brief": "The brief needs 10 to 10,000 characters."}
    description = await site.client.post("/api/tasks", json={"description": " "})
    assert set(description.json()["fields"]) == {"description"}


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("/api/runs?limit=0", {"limit"}),
        ("/api/runs?limit=101", {"limit"}),
        ("/api/runs?limit=many&active=perhaps", {"limit", "active"}),
        ("/api/runs?cursor=", {"cursor"}),
        ("/api/tasks?limit=0&active=perhaps&cursor=", {"limit", "active", "cursor"}),
        ("/api/websockets/stats?limit=0", {"limit"}),
        ("/api/events?after=-1&epoch=x", {"after"}),
        ("/api/events?after=x&epoch=", {"after", "epoch"}),
        ("/api/events?wait=26", {"wait"}),
        ("/api/events?wait=nan&client_id=", {"wait", "client_id"}),
    ],
)
async def test_what_stands_in_the_address_is_named_as_well(site: Site, query: str, fields: set[str]) -> None:
    answer = await site.get(query)
    assert refusal(answer) == (422, "invalid_fields")
    assert set(answer.json()["fields"]) == fields
    for name, sentence in answer.json()["fields"].items():
        assert sentence.startswith(f"{name} must be ")


async def test_the_document_says_that_every_operation_may_be_refused(site: Site) -> None:
    document = (await site.get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert "400" not in operation["responses"], path
            assert "default" in operation["responses"], path
