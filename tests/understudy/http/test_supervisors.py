from __future__ import annotations

import json
from typing import Any, Protocol

import attrs
import httpx2
import msgspec
import pytest
import trio

from runtime import Node, System
from tests.support.small_daemon import Fail, Hold, Work, admit, settled
from understudy.http import Caller
from understudy.http.supervisors import TreeNode, show, show_tree
from understudy.logs import scrub_text


class Site(Protocol):
    system: System

    def serve(self, **changes: Any) -> None: ...
    async def get(self, path: str, **headers: str) -> httpx2.Response: ...


ALWAYS = {"path", "kind", "state", "mailbox", "counters", "children"}


async def tree(site: Site) -> dict[str, Any]:
    answer = await site.get("/api/supervisors")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json()  # type: ignore[no-any-return]


def find(node: dict[str, Any], path: str) -> dict[str, Any]:
    found = [inner for inner in walk(node) if inner["path"] == path]
    assert len(found) == 1
    return found[0]


def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(inner for child in node["children"] for inner in walk(child))]


async def test_the_tree_in_the_protocols_words(site: Site) -> None:
    site.system.ref("/clerk").tell(Work())
    await settled()
    top = await tree(site)
    assert set(top) == ALWAYS  # nobody restarts the root
    assert [node["path"] for node in walk(top)] == [
        "/",
        "/clerk",
        "/visitors",
        "/speaker",
        "/speaker/lead",
        "/speaker/understudy",
    ]
    clerk = find(top, "/clerk")
    assert clerk == {
        "path": "/clerk",
        "kind": "Clerk",
        "state": "running",
        "mailbox": {"depth": 0, "capacity": 1024, "peak": 1},
        "counters": {"handled": 1, "failed": 0, "expired": 0, "dropped": 0, "undelivered": 0},
        "restarts": {"total": 0, "used": 0, "limit": 3, "period": 60.0},
        "children": [],
    }


async def test_what_is_absent_is_left_out(site: Site) -> None:
    for node in walk(await tree(site)):
        assert ALWAYS <= set(node) <= ALWAYS | {"restarts", "active"}
        assert None not in node.values()


async def test_a_message_in_hand(site: Site) -> None:
    hold = Hold(trio.Event(), trio.Event())
    clerk = site.system.ref("/clerk")
    clerk.tell(hold)
    await hold.begun.wait()
    clerk.tell(Work())
    node = find(await tree(site), "/clerk")
    assert node["handling"]["message"] == "Hold"
    assert node["handling"]["age_ms"] > 0
    assert node["mailbox"]["depth"] == 1
    hold.release.set()


async def test_a_fallback_names_the_target_in_charge(site: Site) -> None:
    top = await tree(site)
    assert find(top, "/speaker")["active"] == "lead"
    assert [node["path"] for node in walk(top) if "active" in node] == ["/speaker"]
    for _ in range(3):
        site.system.ref("/speaker").tell(Fail())
        await settled()
    top = await tree(site)
    assert find(top, "/speaker")["active"] == "understudy"
    lead = find(top, "/speaker/lead")
    assert lead["state"] == "waiting"
    assert lead["counters"]["failed"] == 3


async def test_an_error_is_one_line_without_secrets(site: Site) -> None:
    site.system.ref("/clerk").tell(Fail("no luck with api_key=sk-0123456789abcdef\nand more " + "x" * 1000))
    await settled()
    node = find(await tree(site), "/clerk")
    assert node["last_error"] == "RuntimeError: no luck with api_key=[secret]"
    assert node["restarts"] == {"total": 1, "used": 1, "limit": 3, "period": 60.0}
    site.system.ref("/clerk").tell(Fail("x" * 1000))
    await settled()
    assert len(find(await tree(site), "/clerk")["last_error"]) == 200


async def test_every_actor_is_in_it(site: Site) -> None:
    await admit(site.system, "a%2Fb", "ü")
    paths = [node["path"] for node in find(await tree(site), "/visitors")["children"]]
    assert paths == [node.path for node in find_node(site.system.tree(), "/visitors").children]
    assert len(paths) == 2


def find_node(top: Node, path: str) -> Node:
    found = top.find(path)
    assert found is not None
    return found


async def test_it_is_for_operators(site: Site) -> None:
    site.serve(identify=lambda headers: Caller(headers.get("x-user-id", ""), "user"))
    answer = await site.get("/api/supervisors", **{"X-User-Id": "ada"})
    assert answer.status_code == 403
    assert answer.json() == {"code": "forbidden", "message": "Only an operator may do that."}


@pytest.mark.parametrize("path", ["/api/supervisors/restart", "/api/supervisors//restart"])
async def test_nobody_could_start_the_root_anew(site: Site, path: str) -> None:
    answer = await site.client.post(path)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    await settled()
    assert (await tree(site))["state"] == "running"


async def test_a_large_tree_lets_others_run_while_it_is_shown(site: Site) -> None:
    await admit(site.system, *(f"v{index}" for index in range(1000)))
    snapshot = site.system.tree()
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        shown = json.loads(await show_tree(snapshot, scrub_text))
        done = True
    assert turns >= 2  # three checkpoints, and the order within each pass is random

    assert [node["path"] for node in walk(shown)] == [node.path for node in snapshot.walk()]
    assert shown == msgspec.to_builtins(whole(snapshot))


def whole(node: Node) -> TreeNode:
    """The same at once."""
    return attrs.evolve(show(node, scrub_text), children=[whole(child) for child in node.children])
