"""Nobody ever gets a frame of somebody else's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import trio

from actors.gateway.outbound import Out
from tests.support.daemon import house, until
from tests.support.device import Device, devices
from tests.support.held_model import held_model
from tests.support.said import delivery

if TYPE_CHECKING:
    from pathlib import Path

USERS = ("ada", "grace", "ADA", "ada/grace", "ada%2Fgrace", "Ада")
"""Ids that a careless key would mix up."""
VIOLATIONS = "understudy_isolation_violations_total"


async def test_interleaved_runs_of_users_with_several_devices(tmp_path: Path) -> None:
    async with held_model(held=False, pause=0.005) as model, house(tmp_path, model.base_url) as here:
        everybody = [user for user in USERS for _ in range(3)]
        async with devices(here.port, *everybody) as all_devices:
            groups = {user: [each for each in all_devices if each.user == user] for user in USERS}
            runs: dict[str, list[str]] = {user: [] for user in USERS}

            async def work(user: str) -> None:
                for number in range(2):
                    run_id = await groups[user][number].start_run(f"The brief of {user}, number {number}")
                    runs[user].append(run_id)
                    for each in groups[user]:
                        assert await each.run_ended(run_id) == "completed"

            async with trio.open_nursery() as nursery:
                for user in USERS:
                    nursery.start_soon(work, user)
            assert len({run_id for ids in runs.values() for run_id in ids}) == 2 * len(USERS)
            for user, group in groups.items():
                for each in group:
                    each.verify()
                    assert {frame["run_id"] for frame in each.frames if "run_id" in frame} == set(runs[user])
                    assert each.log == group[0].log
                    other_ids = {run_id for other in USERS if other != user for run_id in runs[other]}
                    assert not any(run_id in json.dumps(each.frames) for run_id in other_ids)
            assert await here.metric(VIOLATIONS) == 0
            await nobody_reads_another_run(groups["grace"][0], runs["ada"][0])


async def nobody_reads_another_run(device: Device, run_id: str) -> None:
    for kind in ("get_run", "cancel_run"):
        answer = await device.ask(kind, run_id=run_id)
        assert answer["metadata"]["code"] == "not_found"
        assert answer == {**answer, "content": (await device.ask(kind, run_id="0" * 32))["content"]}


async def test_a_planted_misdelivery_is_refused_counted_and_logged(tmp_path: Path) -> None:
    async with (
        held_model() as model,
        house(tmp_path, model.base_url) as here,
        devices(here.port, "ada", "grace") as [ada, grace],
    ):
        run_id = await ada.run_under_way()
        connection = grace.welcome["metadata"]["connection_id"]
        planted = b'{"id":"planted","type":"system","content":"of another user"}'
        for seq in (None, 1):
            ref = here.system.ref(f"/gateway/connections/{connection}")
            assert ref.tell(delivery("ada", Out(planted, seq)))
        await until(lambda: here.daemon.counters.isolation_violations == 2)
        assert await here.metric(VIOLATIONS) == 2
        lines = [line for line in here.log if line["event"].startswith("isolation violation")]
        assert [(line["level"], line["user"], line["owner"]) for line in lines] == [("error", "grace", "ada")] * 2
        assert (await grace.ask("list_runs"))["metadata"]["runs"] == []
        assert "planted" not in json.dumps(grace.frames)
        model.release()
        assert await ada.run_ended(run_id) == "completed"
        assert await grace.run_ended(await grace.start_run()) == "completed"
        for each in (ada, grace):
            each.verify()
            assert each.codes == []
