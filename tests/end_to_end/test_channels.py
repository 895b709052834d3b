"""Channels of the whole daemon: agents at work, metrics, and subscriptions that outlive a connection's loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.support.cutting_proxy import Cut, cutting_proxy
from tests.support.daemon import WITHIN, house
from tests.support.device import Device, devices
from tests.support.hasty import Hasty
from tests.support.held_model import held_model
from understudy.client import open_client
from understudy.client.events import ChannelNews, RunStatus

if TYPE_CHECKING:
    from pathlib import Path

OFTEN = "[monitoring]\nmetrics_interval = 0.2\n"


def agents(device: Device, run_id: str) -> list[dict[str, Any]]:
    """What a device heard of the agents of a run; how their definitions stand is told besides."""
    payloads = [f["metadata"]["payload"] for f in device.frames if f["type"] == "channel"]
    return [each for each in payloads if each.get("agent_id", "").startswith(run_id)]


def stood(device: Device, run_id: str) -> list[tuple[str, str]]:
    """The same, in short: who, and how it was."""
    return [(each["name"], each["status"]) for each in agents(device, run_id)]


async def test_agents_at_work_are_heard_by_who_listens(tmp_path: Path) -> None:
    async with (
        held_model(held=False) as model,
        house(tmp_path, model.base_url) as here,
        devices(here.port, "ada", "ada", "root") as [ada, silent, root],
    ):
        for each in (ada, root):
            answer = await each.ask("subscribe", channel="agent_status")
            assert answer["metadata"]["channel"] == "agent_status"
        run_id = await ada.start_run()
        for each in (ada, silent):
            assert await each.run_ended(run_id) == "completed"
        # In development mode everybody is operator, so root hears of ada's agents too, and of nothing else of hers.
        await root.until(lambda: stood(root, run_id) == stood(ada, run_id))
        assert stood(ada, run_id)[0] == ("Writer", "processing")
        assert stood(ada, run_id)[-1] == ("Critic", "idle")
        last = agents(ada, run_id)[-1]
        assert last["metrics"]["tasks_completed"] == 1
        assert last["metrics"]["average_response_ms"] >= 0
        assert agents(silent, run_id) == []
        assert root.log == []
        for each in (ada, silent, root):
            each.verify()
        assert here.daemon.counters.isolation_violations == 0


async def test_metrics_are_told_while_somebody_listens(tmp_path: Path) -> None:
    async with (
        held_model(held=False) as model,
        house(tmp_path, model.base_url, more=OFTEN) as here,
        devices(here.port, "ada", "root") as [ada, root],
    ):
        assert (await root.ask("subscribe", channel="system_metrics"))["type"] == "reply"
        assert await ada.run_ended(await ada.start_run()) == "completed"

        def told() -> list[dict[str, Any]]:
            payloads = [f["metadata"]["payload"] for f in root.frames if f["type"] == "channel"]
            return [each for each in payloads if each["events_committed_per_second"] > 0]

        [first, *_] = await root.until(told)
        assert first["connections"] == 2
        assert first["users"] == 2
        assert first["isolation_violations"] == 0
        assert first["loop_lag_ms"] >= 0
        root.verify()


async def test_the_shipped_client_asks_again_after_it_lost_its_connection(tmp_path: Path) -> None:
    """The trap: subscriptions that are not restored after a reconnect."""
    cuts = [Cut("server", 4, reset_client=True, reset_server=True)]
    async with (
        held_model(held=False) as model,
        house(tmp_path, model.base_url, more=OFTEN) as here,
        cutting_proxy(here.port, lambda: cuts.pop() if cuts else None) as proxy,
        devices(here.port, "ada") as [ada],
    ):
        url = f"ws://127.0.0.1:{proxy.port}/ws"
        with trio.fail_after(WITHIN):
            async with open_client(
                url, rng=Hasty(1), user_id="ada", subscribe=["agent_status", "weather"], client_id="tab"
            ) as client:
                heard: list[ChannelNews] = []
                while client.welcome is None:
                    await trio.sleep(0.005)
                assert client.welcome.subscribed == ["agent_status"]
                await client.subscribe("system_metrics")
                async for event in client:  # the cut comes in the middle of the metrics
                    if len(proxy.connections) > 1 and isinstance(event, ChannelNews):
                        break
                assert proxy.connections[0].cut
                assert client.channels == ("agent_status", "weather", "system_metrics")
                assert client.welcome.subscribed == ["agent_status", "system_metrics"]
                run_id = await ada.start_run()
                async for event in client:
                    if isinstance(event, ChannelNews):
                        heard.append(event)
                    if isinstance(event, RunStatus) and (event.run_id, event.status) == (run_id, "completed"):
                        break
                assert {"Writer", "Critic"} <= {news.payload.get("name") for news in heard}
                await client.unsubscribe("system_metrics")
                assert client.channels == ("agent_status", "weather")
