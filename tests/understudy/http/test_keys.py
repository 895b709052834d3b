"""`Idempotency-Key` is the id of the command, whichever way the command comes."""

from __future__ import annotations

from typing import Any, Protocol

import httpx2
import pytest


class Site(Protocol):
    client: httpx2.AsyncClient


async def send(site: Site, envelope: dict[str, Any], key: str) -> httpx2.Response:
    return await site.client.post("/api/commands", json=envelope, headers={"Idempotency-Key": key})


@pytest.mark.parametrize("envelope", [{}, {"id": None}, {"id": "küche"}], ids=["none", "null", "the same"])
async def test_it_is_the_id_of_an_envelope_without_one(site: Site, envelope: dict[str, Any]) -> None:
    body = {**envelope, "type": "heartbeat"}
    answer = await site.client.post("/api/commands", json=body, headers={b"Idempotency-Key": "küche".encode()})
    assert answer.status_code == 200
    assert answer.json()["metadata"]["reply_to"] == "küche"


async def test_it_is_the_id_also_where_a_text_was_cut_within_a_character(site: Site) -> None:
    body = b'{"type": "heartbeat", "content": "cut \\ud83d"}'
    answer = await site.client.post("/api/commands", content=body, headers={"Idempotency-Key": "one"})
    assert (answer.status_code, answer.json()["metadata"]["reply_to"]) == (200, "one")


async def test_an_envelope_with_another_id_is_refused(site: Site) -> None:
    answer = await send(site, {"id": "one", "type": "heartbeat"}, "two")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_fields")
    assert set(answer.json()["fields"]) == {"Idempotency-Key"}


@pytest.mark.parametrize(
    "body", [b"nonsense", b"[]", b'{"id": 5, "type": "heartbeat"}', b'{"a":' * 100 + b"1" + b"}" * 100]
)
async def test_what_is_no_envelope_is_none_with_a_key_either(site: Site, body: bytes) -> None:
    answer = await site.client.post("/api/commands", content=body, headers={"Idempotency-Key": "one"})
    assert (answer.status_code, answer.json()["metadata"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize("type_", ["subscribe", "unsubscribe"])
async def test_a_channel_needs_a_websocket(site: Site, type_: str) -> None:
    answer = await send(site, {"type": type_, "metadata": {"channel": "agent_status"}}, "one")
    assert answer.status_code == 400
    told = answer.json()["metadata"]
    assert (told["code"], told["retryable"], told["reply_to"]) == ("bad_request", False, "one")
