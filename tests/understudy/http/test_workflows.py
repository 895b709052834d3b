"""`GET /api/workflows`: what a client has to know of a workflow to draw it before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from actors.workflows.definitions import ApprovalPolicy, StepDefinition, WorkflowDefinition

if TYPE_CHECKING:
    import httpx2


class Site(Protocol):
    def serve(self, **changes: Any) -> None: ...
    async def get(self, path: str, **headers: str) -> httpx2.Response: ...


async def test_batches_validations_and_approvals_are_shown(site: Site) -> None:
    steps = (
        StepDefinition("a", "analyst", batch="core"),
        StepDefinition("b", "tester", batch="core", approval=ApprovalPolicy(always=True, within=60.0)),
        StepDefinition("check", "tester", validates="core", on_failure="stop"),
        StepDefinition("last", "writer", approval=ApprovalPolicy(on_timeout="wait")),
    )
    site.serve(workflows={"tea": WorkflowDefinition("tea", "Tea", steps)})
    [shown] = (await site.get("/api/workflows")).json()
    usual = {"always": False, "on_timeout": "reject", "within": 3600.0}
    assert (shown["name"], shown["title"]) == ("tea", "Tea")
    assert shown["steps"] == [
        {
            "name": "a",
            "agent": "analyst",
            "depends_on": [],
            "on_failure": "continue",
            "approval": usual,
            "batch": "core",
        },
        {
            "name": "b",
            "agent": "tester",
            "depends_on": [],
            "on_failure": "continue",
            "approval": {"always": True, "on_timeout": "reject", "within": 60.0},
            "batch": "core",
        },
        {
            "name": "check",
            "agent": "tester",
            "depends_on": ["a", "b"],
            "on_failure": "stop",
            "approval": usual,
            "validates": "core",
        },
        {
            "name": "last",
            "agent": "writer",
            "depends_on": ["check"],
            "on_failure": "continue",
            "approval": {"always": False, "on_timeout": "wait"},
        },
    ]


async def test_the_document_describes_them(site: Site) -> None:
    schemas = (await site.get("/openapi.json")).json()["components"]["schemas"]
    step = next(schema for name, schema in schemas.items() if "validates" in schema.get("properties", {}))
    assert {"batch", "validates"} & set(step["required"]) == set()
    assert "approval" in step["required"]
