from __future__ import annotations

import json
import logging
import re
from typing import Any, Protocol

import httpx2
import pytest

from actors.protocol.codes import ErrorCode
from runtime import System
from understudy.console import CONTENT_SECURITY_POLICY, assets
from understudy.http import Caller, Check, RequestRefused, Sources, build_app, in_development
from understudy.http.failures import failure_of_status
from understudy.http.later import PROMISED


class Site(Protocol):
    system: System
    sources: Sources
    client: httpx2.AsyncClient
    checks: dict[str, Check]
    app: Any

    @property
    def log(self) -> list[dict[str, Any]]: ...
    def serve(self, **changes: Any) -> None: ...
    async def get(self, path: str, **headers: str) -> httpx2.Response: ...


def is_failure(answer: httpx2.Response, status: int, code: str) -> bool:
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert set(body) in ({"code", "message"}, {"code", "message", "fields"})
    assert re.fullmatch(r"[A-Z].*\.", body["message"])
    return (answer.status_code, body["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/nothing", "/api", "/api/nothing", "/api/runs/a/b/c", "/schema", "/docs", "/a%2Fb"])
async def test_an_unknown_address(site: Site, path: str) -> None:
    assert is_failure(await site.get(path), 404, "not_found")


async def test_a_method_that_an_address_does_not_take(site: Site) -> None:
    answer = await site.client.post("/health")
    assert is_failure(answer, 405, "bad_request")
    assert "GET" in answer.headers["allow"]
    assert is_failure(await site.client.put("/api/runs"), 405, "bad_request")


@pytest.mark.parametrize(("path", "methods"), PROMISED)
async def test_what_the_protocol_promises_comes_later(site: Site, path: str, methods: tuple[str, ...]) -> None:
    concrete = re.sub(r"\{\w+:str\}", "x-1", path).replace("{order:path}", "users/u%2F1/restart")
    for method in methods:
        answer = await site.client.request(method, concrete, content=b"{}" if method == "POST" else None)
        assert is_failure(answer, 503, "unavailable")
    assert site.log == []


async def test_a_fault_is_told_to_the_log_and_not_to_the_client(site: Site) -> None:
    def broken() -> bytes:
        raise LookupError("/srv/secret-place is gone")

    site.serve(metrics=broken)
    answer = await site.get("/metrics")
    assert is_failure(answer, 500, "internal")
    assert not re.search("LookupError|secret-place|Traceback|litestar", answer.text)
    [line] = site.log
    assert (line["event"], line["level"], line["method"], line["path"]) == (
        "request failed",
        "error",
        "GET",
        "/metrics",
    )
    assert "LookupError: /srv/secret-place is gone" in line["exception"]
    assert site.sources.counters.http_responses == {500: 1}


async def test_a_fault_in_a_group(site: Site) -> None:
    async def broken() -> dict[str, Check]:
        raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])

    site.serve(readiness=broken)
    assert is_failure(await site.get("/ready"), 500, "internal")
    assert "ValueError: one" in site.log[0]["exception"]


async def test_a_refusal_has_its_fields_and_its_time(site: Site) -> None:
    def refuse(_headers: object) -> Caller:
        raise RequestRefused(ErrorCode.RATE_LIMITED, fields={"rate": "Rate is too high."}, retry_after=7)

    site.serve(identify=refuse)
    answer = await site.get("/api/supervisors")
    assert is_failure(answer, 429, "rate_limited")
    assert answer.json()["fields"] == {"rate": "Rate is too high."}
    assert answer.headers["retry-after"] == "7"


async def test_a_refusal_has_what_a_program_wants_to_know_besides(site: Site) -> None:
    def refuse(_headers: object) -> Caller:
        raise RequestRefused(ErrorCode.ALREADY_RUNNING, fields={"run": "Wait for it."}, details={"run_id": "r1"})

    site.serve(identify=refuse)
    answer = await site.get("/api/supervisors")
    assert (answer.status_code, list(answer.json())) == (409, ["code", "message", "fields", "run_id"])
    assert answer.json()["run_id"] == "r1"


@pytest.mark.parametrize(
    ("framework", "status", "code"),
    [
        (400, 400, "bad_request"),
        (401, 401, "unauthorized"),
        (405, 405, "bad_request"),
        (413, 413, "too_large"),
        (415, 415, "bad_request"),
        (418, 418, "bad_request"),
        (429, 429, "rate_limited"),
        (500, 500, "internal"),
        (501, 500, "internal"),
        (503, 503, "unavailable"),
    ],
)
def test_what_the_framework_refuses_is_put_in_our_words(framework: int, status: int, code: str) -> None:
    answered, body = failure_of_status(framework)
    assert (answered, body.code) == (status, code)
    assert body.message.endswith(".")


async def test_a_refusal_of_the_framework_that_is_a_fault_is_logged(site: Site) -> None:
    from litestar.exceptions import ImproperlyConfiguredException

    def broken() -> bytes:
        raise ImproperlyConfiguredException("a detail of the framework")

    site.serve(metrics=broken)
    answer = await site.get("/metrics")
    assert is_failure(answer, 500, "internal")
    assert "detail" not in answer.text
    assert "a detail of the framework" in site.log[0]["exception"]


async def test_the_console(site: Site) -> None:
    for asset in assets():
        answer = await site.get(asset.path)
        assert answer.status_code == 200
        assert answer.content == asset.content
        assert answer.headers["content-type"] == asset.media_type
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/", "/console.css", "/health", "/ready", "/metrics", "/api/supervisors", "/nothing", "/api/runs"]
)
async def test_no_answer_is_to_be_sniffed_or_kept(site: Site, path: str) -> None:
    answer = await site.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] in {"no-store", "no-cache"}


async def test_head_is_get_without_a_body(site: Site) -> None:
    get, head = await site.get("/console.css"), await site.client.head("/console.css")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))
    assert (await site.client.head("/nothing")).status_code == 404


async def test_the_openapi_document(site: Site) -> None:
    answer = await site.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == "1.2.3"
    operations = {path: set(item) for path, item in document["paths"].items()}
    read = ("/health", "/ready", "/metrics", "/api/supervisors", "/api/events", "/api/workflows", "/api/runs/{run_id}",
            "/api/runs/{run_id}/artifacts", "/api/runs/{run_id}/artifacts/{name}")  # fmt: skip
    assert operations == {
        **{path: {"get"} for path in (*read, "/api/rate-limits", "/api/websockets/stats", "/api/engines")},
        **{path: {"get", "post"} for path in ("/api/runs", "/api/agents", "/api/tasks")},
        **{path: {"get", "delete"} for path in ("/api/agents/{agent_id}", "/api/tasks/{task_id}")},
        **{
            path: {"post"}
            for path in (
                "/api/agents/{agent_id}/tasks",
                "/api/commands",
                "/api/drain",
                "/api/engines/execute",
                "/api/runs/pause",
                "/api/runs/resume",
                "/api/runs/{run_id}/cancel",
                "/api/supervisors/{order}",
            )
        },
    }
    schemas = document["components"]["schemas"]
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))
    assert references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in schemas
    for path, schema in (("/health", "Health"), ("/ready", "Health"), ("/api/supervisors", "TreeNode")):
        operation = document["paths"][path]["get"]
        media = operation["responses"]["200"]["content"]["application/json"]
        assert media["schema"] == {"$ref": f"#/components/schemas/{schema}"}
        shown = (await site.get(path)).json()
        assert set(schemas[schema]["required"]) <= set(shown) <= set(schemas[schema]["properties"])
    assert "503" in document["paths"]["/ready"]["get"]["responses"]


async def test_who_asks_in_development(site: Site) -> None:
    asked = []

    def identify(headers: Any) -> Caller:
        asked.append(in_development(headers))
        return asked[-1]

    site.serve(identify=identify)
    assert (await site.get("/api/supervisors")).status_code == 200
    assert (await site.get("/api/supervisors", **{"X-User-Id": "ada"})).status_code == 200
    header = {"X-User-Id": "zoë".encode()}
    assert (await site.client.get("/api/supervisors", headers=header)).status_code == 200
    assert asked == [Caller("dev", "operator"), Caller("ada", "operator"), Caller("zoë", "operator")]


@pytest.mark.parametrize("value", [b"", b"x" * 201, b"\xff\xfe"])
async def test_a_user_id_that_is_none(site: Site, value: bytes) -> None:
    answer = await site.client.get("/api/supervisors", headers={"X-User-Id": value})
    assert is_failure(answer, 422, "invalid_fields")
    assert set(answer.json()["fields"]) == {"X-User-Id"}


async def test_two_applications_share_nothing(site: Site) -> None:
    first = site.app
    site.serve(version="9.9.9")
    assert (await site.get("/health")).json()["version"] == "9.9.9"
    assert (await site.get("/openapi.json")).json()["info"]["version"] == "9.9.9"
    site.app = first
    assert (await site.get("/health")).json()["version"] == "1.2.3"
    assert (await site.get("/openapi.json")).json()["info"]["version"] == "1.2.3"


async def test_no_logger_of_the_process_is_touched(site: Site) -> None:
    def state() -> dict[str, object]:
        loggers = [logging.root, *(logging.getLogger(name) for name in ("litestar", "hypercorn", "hypercorn.error"))]
        return {each.name: (each.level, each.propagate, list(each.handlers), each.disabled) for each in loggers}

    before = state()
    build_app(site.sources)
    await site.get("/nothing")
    assert state() == before


async def test_the_environment_turns_nothing_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITESTAR_DEBUG", "1")
    monkeypatch.setenv("LITESTAR_PDB", "1")

    def broken() -> bytes:
        raise LookupError("planted")

    site.serve(metrics=broken, log=site.sources.log)
    answer = await site.get("/metrics", Accept="text/html")
    assert is_failure(answer, 500, "internal")
