"""A brief in, answers out: commands, devices that come and go, and what the owner of a run sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.daemon import house
from tests.support.device import Device, devices
from tests.support.grammar import check
from tests.support.held_model import BEGINNING, WHOLE
from tests.support.household import household

if TYPE_CHECKING:
    from pathlib import Path

BEGUN = "".join(BEGINNING)


async def test_a_run_from_brief_to_last_answer(tmp_path: Path) -> None:
    async with household(tmp_path, "ada", held=False) as (model, _, [ada]):
        run_id = await ada.start_run()
        assert await ada.run_ended(run_id) == "completed"
        told = [
            (f["type"], f["metadata"].get("step"), f["metadata"].get("status"), f["metadata"].get("progress"))
            for f in ada.log
        ]
        assert told == [
            ("run_status", None, "queued", 0),
            ("run_status", None, "running", 0),
            ("agent_status", "writing", "started", None),
            ("agent_status", "writing", "thinking", None),
            ("agent_response", "writing", None, None),
            ("agent_status", "writing", "completed", None),
            ("run_status", None, "running", 50),
            ("agent_status", "critique", "started", None),
            ("agent_status", "critique", "thinking", None),
            ("agent_response", "critique", None, None),
            ("agent_status", "critique", "completed", None),
            ("run_status", None, "completed", 100),
        ]
        responses = [frame for frame in ada.log if frame["type"] == "agent_response"]
        assert [(f["agent_name"], f["content"], f["metadata"]["model"]) for f in responses] == [
            ("Writer", WHOLE, "lead-1"),
            ("Critic", WHOLE, "lead-1"),
        ]
        assert WHOLE not in model.heard[0]
        assert WHOLE in model.heard[1]  # the second builds on the first
        ada.verify()


async def test_five_agents_answer_in_order_with_the_simulated_model(tmp_path: Path) -> None:
    async with house(tmp_path, None) as here, devices(here.port, "ada") as [ada]:
        run_id = await ada.start_run(workflow="delivery")
        assert await ada.run_ended(run_id) == "completed"
        responses = [frame for frame in ada.log if frame["type"] == "agent_response"]
        assert [frame["agent_name"] for frame in responses] == [
            "Analyst",
            "Architect",
            "Developer",
            "Tester",
            "Deployer",
        ]
        assert {frame["metadata"]["model"] for frame in responses} == {"simulated"}
        assert {frame["metadata"]["degraded"] for frame in responses} == {False}
        deltas = [frame for frame in ada.frames if frame["type"] == "agent_delta"]
        assert len(deltas) > 5 * 10  # token by token, not at once
        ada.verify()


# --- devices


async def test_a_run_goes_on_without_its_owner(tmp_path: Path) -> None:
    async with household(tmp_path, "ada") as (model, here, [ada]):
        run_id = await ada.run_under_way()
        await ada.drop()
        model.release()
        await model.until(whole=2)
        at = ada.resume
        assert at is not None
        async with devices(here.port, "ada", resume=at, client_id=ada.client_id) as [back]:
            assert await back.run_ended(run_id) == "completed"
            welcome = back.welcome["metadata"]
            assert welcome["resumed"]
            log = ada.log + back.log
            assert [frame["seq"] for frame in log] == list(range(1, len(log) + 1))
            assert check(log, connection=False) == []
            back.verify()


async def test_resuming_in_the_middle_gives_exactly_what_is_missing(tmp_path: Path) -> None:
    async with household(tmp_path, "ada", held=False) as (_, here, [ada]):
        assert await ada.run_ended(await ada.start_run()) == "completed"
        epoch, top = ada.welcome["metadata"]["epoch"], ada.log[-1]["seq"]
        for seq in (0, 1, top // 2, top - 1, top):
            async with devices(here.port, "ada", resume={"epoch": epoch, "seq": seq}) as [late]:
                metadata = late.welcome["metadata"]
                assert (metadata["resumed"], metadata["replayed"], metadata["seq"]) == (True, top - seq, top)
                await late.until(lambda late=late, seq=seq: len(late.log) == top - seq)
                assert late.log == ada.log[seq:]  # as first sent, ids and timestamps included
                late.verify()


@pytest.mark.parametrize(("where", "reason"), [("elsewhere", "epoch"), ("above", "ahead")])
async def test_a_position_that_is_not_in_the_log_is_a_gap(where: str, reason: str, tmp_path: Path) -> None:
    async with household(tmp_path, "ada", "grace", held=False) as (_, here, [ada, grace]):
        run_id = await ada.start_run()
        assert await ada.run_ended(run_id) == "completed"
        top = ada.log[-1]["seq"]
        epoch = (grace if where == "elsewhere" else ada).welcome["metadata"]["epoch"]
        position = {"epoch": epoch, "seq": top if where == "elsewhere" else top + 1}
        async with devices(here.port, "ada", resume=position) as [lost]:
            gap = await lost.wait_for(type="gap")
            assert (gap["metadata"], lost.welcome["metadata"]["resumed"]) == ({"reason": reason}, False)
            answer = (await lost.ask("get_run", run_id=run_id))["metadata"]
            assert (answer["run"]["status"], answer["seq"]) == ("completed", top)
            assert lost.log == []
            again = await lost.start_run()
            assert await lost.run_ended(again) == "completed"
            lost.verify()


async def test_two_devices_see_the_same_and_a_late_one_the_text_so_far(tmp_path: Path) -> None:
    async with household(tmp_path, "ada", "ada") as (model, here, [one, two]):
        run_id = await one.start_run()
        for each in (one, two):
            await each.until(lambda each=each: text_of(each) == BEGUN)
        async with (
            devices(here.port, "ada") as [late],
            devices(here.port, "ada", resume={"epoch": one.welcome["metadata"]["epoch"], "seq": 0}) as [behind],
        ):
            for each in (late, behind):
                delta = await each.wait_for(type="agent_delta")
                assert (delta["content"], delta["metadata"]["offset"]) == (BEGUN, 0)
            assert [frame["type"] for frame in late.frames] == ["welcome", "agent_delta"]
            assert behind.frames[1:-1] == one.log  # the text so far comes after the replay
            model.release()
            for each in (one, two, late, behind):
                assert await each.run_ended(run_id) == "completed"
                each.verify()
            assert one.log == two.log == behind.log
            assert late.log == one.log[-len(late.log) :]


def text_of(each: Device) -> str:
    return "".join(frame["content"] for frame in each.frames if frame["type"] == "agent_delta")


# --- commands


async def test_a_repeated_start_run_is_carried_out_once(tmp_path: Path) -> None:
    async with household(tmp_path, "ada", "ada", "ada", "ada", "grace") as (
        model,
        _here,
        [ada, again, other, late, grace],
    ):
        brief, options = "A brief, the same each time", {"id": "once", "workflow": "short"}
        for each in (again, other, late):
            each.repeated.add("once")
        first = await ada.ask("start_run", brief, **options)
        assert first["type"] == "reply"
        assert (await again.ask("start_run", brief, **options))["metadata"] == first["metadata"]
        refused = await other.ask("start_run", "A brief, and another one now", **options)
        assert (refused["type"], refused["metadata"]["code"]) == ("error", "conflict")
        theirs = await grace.ask("start_run", brief, **options)
        assert theirs["metadata"]["run_id"] != first["metadata"]["run_id"]  # an id is its user's own
        model.release()
        for each in (ada, again, other, late):
            assert await each.run_ended(first["metadata"]["run_id"]) == "completed"
        assert (await late.ask("start_run", brief, **options))["metadata"] == first["metadata"]
        assert await grace.run_ended(theirs["metadata"]["run_id"]) == "completed"
        assert model.asked == 4
        for each in (ada, again, other, late, grace):
            each.verify()


async def test_a_session_has_one_run_at_a_time(tmp_path: Path) -> None:
    async with household(tmp_path, "ada", "ada") as (model, _, [ada, phone]):
        run_id = await ada.run_under_way()
        refused = await phone.ask("start_run", "Another brief, too early", workflow="short")
        assert (refused["metadata"]["code"], refused["metadata"]["run_id"]) == ("already_running", run_id)
        model.release()
        assert await phone.run_ended(run_id) == "completed"
        assert await phone.run_ended(await phone.start_run()) == "completed"
        for each in (ada, phone):
            await each.until(lambda each=each: len(each.log) == 24)
            each.verify()


@pytest.mark.parametrize(
    ("content", "options", "field"),
    [("too short", {}, "content"), ("A brief for nobody at all", {"workflow": "nothing"}, "workflow")],
)
async def test_a_brief_that_cannot_be_taken(content: str, options: dict[str, str], field: str, tmp_path: Path) -> None:
    async with household(tmp_path, "ada") as (model, _, [ada]):
        refused = await ada.ask("start_run", content, **options)
        assert (refused["metadata"]["code"], set(refused["metadata"]["fields"])) == ("invalid_fields", {field})
        refused = await ada.ask("start_run", "A brief for a session", session_id="somebody-elses")
        assert refused["metadata"]["code"] == "not_found"
        assert (await ada.ask("list_runs"))["metadata"]["runs"] == []
        assert model.asked == 0
        ada.verify()


async def test_a_cancelled_run_ends_when_its_agents_are_gone(tmp_path: Path) -> None:
    async with household(tmp_path, "ada", "ada") as (model, here, [ada, phone]):
        run_id = await ada.run_under_way()
        assert model.open == 1
        answer = await phone.ask("cancel_run", run_id=run_id)
        assert answer["metadata"] == {
            "reply_to": answer["metadata"]["reply_to"],
            "run_id": run_id,
            "status": "running",
        }
        assert await ada.run_ended(run_id) == "cancelled"
        await model.until(open=0, left=1)  # the provider was told to stop
        assert [path for path in here.paths() if path.startswith(f"/runs/{run_id}/")] == []
        statuses = [f["metadata"]["status"] for f in ada.log if f["type"] in {"agent_status", "run_status"}]
        assert statuses[-2:] == ["cancelled", "cancelled"]
        again = await phone.ask("cancel_run", run_id=run_id)
        assert again["metadata"]["status"] == "cancelled"
        run = (await phone.ask("get_run", run_id=run_id))["metadata"]
        assert run["run"]["status"] == "cancelled"
        assert [(step["step"], step["status"]) for step in run["steps"]] == [("writing", "cancelled")]
        model.release()
        assert await phone.run_ended(await phone.start_run()) == "completed"
        for each in (ada, phone):
            await each.until(lambda each=each: each.log[-1]["metadata"].get("status") == "completed")
            each.verify()


async def test_one_agent_is_cancelled_and_the_others_go_on(tmp_path: Path) -> None:
    async with household(tmp_path, "ada") as (model, _, [ada]):
        run_id = await ada.run_under_way()
        refused = await ada.ask("cancel_run", run_id=run_id, agent_name="Nobody")
        assert refused["metadata"]["code"] == "not_found"
        await ada.ask("cancel_run", run_id=run_id, agent_name="Writer")
        await ada.wait_for(type="agent_delta", step="critique")
        model.release()
        assert await ada.run_ended(run_id) == "completed"
        assert [f["agent_name"] for f in ada.log if f["type"] == "agent_response"] == ["Critic"]
        ada.verify()


async def test_runs_are_listed_with_the_position_that_they_are_of(tmp_path: Path) -> None:
    async with household(tmp_path, "ada", held=False) as (model, _, [ada]):
        assert (await ada.ask("get_run", run_id="nothing"))["metadata"]["code"] == "not_found"
        done = [await ada.start_run()]
        await ada.run_ended(done[0])
        done.append(await ada.start_run())
        await ada.run_ended(done[1])
        model.hold()
        open_run = await ada.run_under_way()
        top = ada.log[-1]["seq"]
        epoch = ada.welcome["metadata"]["epoch"]

        async def listed(**options: object) -> list[str]:
            answer = (await ada.ask("list_runs", **options))["metadata"]
            assert (answer["epoch"], answer["seq"]) == (epoch, top)
            return [run["run_id"] for run in answer["runs"]]

        assert await listed() == [*done, open_run]
        assert await listed(active=True) == [open_run]
        assert await listed(active=False) == done
        page = (await ada.ask("list_runs", limit=2))["metadata"]
        assert [run["run_id"] for run in page["runs"]] == done
        assert await listed(limit=2, cursor=page["next_cursor"]) == [open_run]
        run = (await ada.ask("get_run", run_id=open_run))["metadata"]
        assert (run["epoch"], run["seq"]) == (epoch, top)
        assert (run["run"]["status"], run["run"]["done"], run["run"]["progress"]) == ("running", 0, 0)
        assert [(step["step"], step["status"]) for step in run["steps"]] == [("writing", "thinking")]
        model.release()
        assert await ada.run_ended(open_run) == "completed"
        ada.verify()


@pytest.mark.parametrize("brief", ["Tee für Ä", "  spaces around a brief  ", "🫖" * 10_000])
async def test_a_brief_is_measured_trimmed_in_code_points(brief: str, tmp_path: Path) -> None:
    async with household(tmp_path, "ada", held=False) as (_, _, [ada]):
        if len(brief.strip()) < 10:
            assert (await ada.ask("start_run", brief))["metadata"]["code"] == "invalid_fields"
        else:
            assert await ada.run_ended(await ada.start_run(brief)) == "completed"
        ada.verify()
