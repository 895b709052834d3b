"""Coming back: by client_id alone, after kill -9, in the place of another connection, after a long absence."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import trio

from actors.gateway.joining import PAGE
from actors.protocol.codes import REPLACED
from actors.protocol.event_types import NoticeLevel
from actors.protocol.run_events import system as notice
from actors.users.messages import Emit, Item, Locate
from tests.support.daemon import WITHIN, House, house, http, quick_file, serve, until
from tests.support.device import Device, devices
from tests.support.held_model import WHOLE, held_model

if TYPE_CHECKING:
    from pathlib import Path

USER = "dev"
"""Whom requests over HTTP come from."""


async def acknowledge(port: int, client_id: str, seq: int) -> None:
    """Over HTTP, where it is answered when it is on the disk."""
    body = {"id": f"ack {client_id} {seq}", "type": "ack", "metadata": {"seq": seq}}
    response = await http(port, f"/api/commands?{urlencode({'client_id': client_id})}", method="POST", body=body)
    assert (response.status, response.json["type"]) == (200, "reply"), response.body


async def statistics(port: int, **parameters: Any) -> dict[str, Any]:
    response = await http(port, f"/api/websockets/stats?{urlencode(parameters)}")
    assert response.status == 200, response.body
    found: dict[str, Any] = response.json
    return found


async def tell(here: House, *texts: str, user: str = USER) -> None:
    """Put notices into a user's log."""
    context = await here.system.ref("/users").ask(Locate(user), WITHIN)
    users: Any = here.system.ref("/users").target
    stamps = users.actor._services().stamps
    items = tuple(Item(notice(stamps.stamp(), "notice", NoticeLevel.INFO, notice=text)) for text in texts)
    assert await context.ask(Emit(items), WITHIN) is True


async def test_after_kill_9_a_client_that_says_nothing_goes_on_where_it_was(tmp_path: Path) -> None:
    """One has acknowledged, one never has; neither says where it is."""
    async with held_model() as model, trio.open_nursery() as clients:
        file = quick_file(tmp_path, model.base_url)
        async with serve(file, tmp_path / "data") as first:
            acks, silent = (Device(first.port, USER, client_id, says_where=False) for client_id in ("a", "b"))
            for device in (acks, silent):
                device.pause = 0.2
                await clients.start(device.live)
            run_id = await acks.run_under_way()
            seen = acks.log[-1]["seq"]
            await silent.until(lambda: silent.log and silent.log[-1]["seq"] >= seen)
            await acknowledge(first.port, "a", seen - 1)
            before = len(silent.log)
            first.signal(signal.SIGKILL)
            await first.ended()
            model.release()
        async with serve(file, tmp_path / "data") as second:
            acks.port = silent.port = second.port
            assert await acks.run_ended(run_id) == await silent.run_ended(run_id) == "completed"
            again = [frame for frame in acks.connections[-1].frames if "seq" in frame]
            assert acks.welcome["metadata"]["resumed"]
            assert again[0]["seq"] == seen
            whole = [frame for frame in silent.connections[-1].frames if "seq" in frame]
            assert silent.welcome["metadata"]["resumed"]
            assert whole[0]["seq"] == 1
            await silent.until(lambda: len(whole_log(silent)) >= len(again) + seen - 1)
            assert whole_log(silent)[:before] == silent.log[:before]  # as they were first sent
            for device in (acks, silent):
                device.comes_back = False
            clients.cancel_scope.cancel()


async def heard(device: Device, seqs: list[int]) -> None:
    """Wait until exactly these events have come."""
    await device.until(lambda: [frame["seq"] for frame in device.log] == seqs)


def whole_log(device: Device) -> list[dict[str, Any]]:
    """What came on the last connection."""
    return [frame for frame in device.connections[-1].frames if "seq" in frame]


@pytest.mark.parametrize("says_where", [True, False])
async def test_a_takeover_in_the_middle_of_an_answer(says_where: bool, tmp_path: Path) -> None:
    """The newer connection goes on without a gap or a repeat, with the text so far; the older one hears why it ends."""
    async with (
        held_model() as model,
        house(tmp_path, model.base_url) as here,
        devices(here.port, USER, client_id="tab") as [old],
    ):
        run_id = await old.run_under_way()
        seen = old.log[-1]["seq"]
        await old.send("ack", seq=seen)
        await until(lambda: here.daemon.counters.events_delivered == seen)
        async with devices(here.port, USER, client_id="tab", resume=old.resume, says_where=says_where) as [new]:
            await old.until(lambda: old.ended)
            assert old.codes == [REPLACED]
            delta = await new.wait_for(type="agent_delta")
            assert delta["metadata"]["offset"] == 0
            assert WHOLE.startswith(delta["content"])
            model.release()
            assert await new.run_ended(run_id) == "completed"
            assert new.welcome["metadata"]["resumed"]
            assert [frame["seq"] for frame in old.log + new.log] == list(range(1, new.log[-1]["seq"] + 1))
            assert [f["content"] for f in new.log if f["type"] == "agent_response"] == [WHOLE, WHOLE]
            old.verify(midrun=True)
            assert new.codes == []


async def test_two_clients_of_one_user_see_the_same_and_go_on_each_from_its_own_place(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here, devices(here.port, USER, USER, says_where=False) as [one, two]:
        await tell(here, "n1", "n2", "n3")
        for device, acked in ((one, 1), (two, 2)):
            await heard(device, [1, 2, 3])
            await device.send("ack", seq=acked)
        await until(lambda: here.daemon.counters.events_delivered == 2)
        for device in (one, two):
            device.comes_back = False
            await device.drop()
        await until(lambda: here.daemon.counters.connections_open == 0)
        await tell(here, "n4")
        for device, missed in ((one, [2, 3, 4]), (two, [3, 4])):
            async with devices(here.port, USER, client_id=device.client_id, says_where=False) as [back]:
                await heard(back, missed)
                back.verify()


async def test_away_for_longer_than_a_page_while_live_events_come(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here, devices(here.port, USER) as [device]:
        await tell(here, "first")
        await device.until(lambda: device.log)
        await device.drop()
        missed = 3 * PAGE + 50
        for start in range(0, missed, 100):
            await tell(here, *(f"missed {n}" for n in range(start, min(start + 100, missed))))
        more = 0

        async def go_on_talking() -> None:
            nonlocal more
            while True:
                await tell(here, f"live {more}")
                more += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on_talking)
            async with devices(here.port, USER, client_id=device.client_id, resume=device.resume) as [back]:
                assert back.welcome["metadata"]["replayed"] >= missed
                await back.until(lambda: any(frame["content"] == "live 20" for frame in back.log))
                back.verify()
                assert [frame["seq"] for frame in back.log] == list(range(2, len(back.log) + 2))
                assert back.codes == []
            nursery.cancel_scope.cancel()


async def test_what_is_delivered_is_in_the_statistics(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here, devices(here.port, USER, "bob") as [device, bob]:
        port = here.port
        await tell(here, "n1", "n2", "n3")
        await tell(here, "for bob", user="bob")
        await device.until(lambda: len(device.log) == 3)
        await bob.until(lambda: bob.log)
        await device.send("ack", seq=2)
        await until(lambda: here.daemon.counters.events_delivered == 2)
        found = await statistics(port)
        assert found["connections"] == {"open": 2, "opened": 2, "closed": {}, "refused": {}}
        events = found["events"]
        assert (events["attempted"], events["committed"], events["sent"], events["acknowledged"]) == (4, 4, 4, 2)
        assert (events["due"], events["queued_bytes"]) == (0, 0)
        assert "success_rate" not in events
        assert found["active_users"] == 2
        first, second = found["users"]
        assert (first["user_id"], second["user_id"]) == ("bob", USER)
        assert (second["attempted"], second["committed"], second["sent"], second["acknowledged"]) == (3, 3, 3, 2)
        [one] = second["devices"]
        connection_id = device.welcome["metadata"]["connection_id"]
        assert one == {
            "client_id": device.client_id,
            "connection_id": connection_id,
            "sent": 3,
            "acknowledged": 2,
            "waiting": 1,
            "queued_bytes": 0,
            "came_in": 0,
            "acked": 2,
        }
        assert "acked" not in first["devices"][0]
        page = await statistics(port, limit=1)
        assert ([user["user_id"] for user in page["users"]], page["next_cursor"]) == (["bob"], "bob")
        rest = await statistics(port, limit=1, cursor="bob")
        assert [user["user_id"] for user in rest["users"]] == [USER]
        assert "next_cursor" not in rest
        only = await statistics(port, user_id=USER)
        assert [user["user_id"] for user in only["users"]] == [USER]


async def test_a_silent_failure_is_counted_and_told(tmp_path: Path) -> None:
    more = "\n[users]\nacknowledged_within = 0.2\n"
    async with house(tmp_path, None, more=more) as here, devices(here.port, USER) as [device]:
        await tell(here, "n1")
        await device.until(lambda: device.log)
        await device.send("ack", seq=1)
        await until(lambda: here.daemon.counters.events_delivered == 1)
        await tell(here, "n2")
        await until(lambda: here.daemon.counters.silent_failures["unacknowledged"] == 1)
        assert await here.metric('understudy_silent_failures_total{kind="unacknowledged"}') == 1
        assert await here.metric('understudy_silent_failures_total{kind="uncommitted"}') == 0
        assert await here.metric("understudy_events_due_total") == 1
        found = await statistics(here.port)
        assert found["events"]["silent_failures"] == {"unacknowledged": 1, "uncommitted": 0}
        assert found["events"]["success_rate"] == 0.0
        assert found["users"][0]["silent_failures"] == 1
        [line] = [line for line in here.log if line["event"] == "silent failure"]
        assert (line["level"], line["user"], line["clients"]) == ("critical", USER, [device.client_id])


async def test_a_poller_goes_on_by_its_client_id_and_its_after_is_an_ack(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here:

        async def ask(**parameters: Any) -> dict[str, Any]:
            response = await http(here.port, f"/api/events?{urlencode(parameters)}")
            assert response.status == 200, response.body
            found: dict[str, Any] = response.json
            return found

        begin = await ask(client_id="p")
        assert (begin["resumed"], begin["seq"]) == (False, 0)
        await tell(here, "n1", "n2", "n3")
        page = await ask(client_id="p")
        assert (page["resumed"], [event["seq"] for event in page["events"]]) == (True, [1, 2, 3])
        assert here.daemon.counters.events_delivered == 0
        await ask(client_id="p", epoch=page["epoch"], after=2)
        assert here.daemon.counters.events_delivered == 2
        assert [event["seq"] for event in (await ask(client_id="p"))["events"]] == [3]
        await acknowledge(here.port, "p", 3)
        assert here.daemon.counters.events_delivered == 3
        above = {"id": "x", "type": "ack", "metadata": {"seq": 4}}
        refused = await http(here.port, "/api/commands?client_id=p", method="POST", body=above)
        assert (refused.status, refused.json["metadata"]["code"]) == (400, "bad_request")
        async with devices(here.port, USER, client_id="p", says_where=False) as [device]:
            assert (device.welcome["metadata"]["resumed"], device.welcome["metadata"]["replayed"]) == (True, 0)
