"""The engines of the whole daemon, over HTTP."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import trio

from tests.support.daemon import House, Response, house, http, serve, until
from tests.support.device import devices
from tests.support.held_model import WHOLE, held_model

if TYPE_CHECKING:
    from pathlib import Path

NARROW = """
[engines.parallel_mind]
limit = 2
queue = 50
"""


async def execute(
    port: int, task_type: str, description: str = "", *, user: str = "ada", **parameters: Any
) -> Response:
    body = {"task_type": task_type, "description": description, "parameters": parameters}
    return await http(port, "/api/engines/execute", method="POST", body=body, headers={"X-User-Id": user})


async def engines(port: int) -> dict[str, Any]:
    return {engine["engine"]: engine for engine in (await http(port, "/api/engines")).json}


def contents(answer: Response) -> list[str]:
    assert answer.status == 200, answer.body
    return [memory["content"] for memory in answer.json["result"]["memories"]]


async def test_a_memory_outlives_kill_9_and_is_its_users_alone(tmp_path: Path) -> None:
    file = tmp_path / "understudy.toml"
    file.write_text("")
    async with serve(file, tmp_path / "data") as served:
        stored = await execute(
            served.port, "memory_query", action="remember", content="Tea at 80 degrees", tags=["tea"]
        )
        assert stored.json["status"] == "completed"
        assert contents(await execute(served.port, "memory_query", "tea")) == ["Tea at 80 degrees"]
        served.signal(signal.SIGKILL)
        await served.ended()
    async with serve(file, tmp_path / "data") as served:
        assert contents(await execute(served.port, "knowledge_retrieval", "tea")) == ["Tea at 80 degrees"]
        assert contents(await execute(served.port, "context_search", "tea", tags=["tea"])) == ["Tea at 80 degrees"]
        assert contents(await execute(served.port, "memory_query", "tea", user="grace")) == []
        assert contents(await execute(served.port, "memory_query", user="grace")) == []
        forgotten = await execute(
            served.port, "memory_query", user="grace", action="forget", memory_ids=[memory_id(stored)]
        )
        assert forgotten.json["result"] == {"memories": 0}
        assert len(contents(await execute(served.port, "memory_query", "tea"))) == 1


def memory_id(answer: Response) -> str:
    found: str = answer.json["result"]["memory_id"]
    return found


async def test_what_no_engine_takes_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    async with held_model(held=False) as model, house(tmp_path, model.base_url) as here:
        refused = await execute(here.port, "weather")
        assert (refused.status, refused.json["code"]) == (422, "invalid_fields")
        assert "brainstorming" in refused.json["fields"]["task_type"]
        cycle = [{"name": "a", "mission": "x", "depends_on": ["b"]}, {"name": "b", "mission": "x", "depends_on": ["a"]}]
        refused = await execute(here.port, "batch_operation", "all", tasks=cycle)
        assert refused.json["fields"] == {"parameters.tasks": "These tasks wait for each other: a → b → a."}
        refused = await execute(here.port, "hybrid", "x", creative={"candidates": 99})
        assert (refused.status, list(refused.json["fields"])) == (422, ["parameters.creative.candidates"])
        body = {"task_type": "innovation", "description": "x" * 10_001, "timeout": -1}
        refused = await http(here.port, "/api/engines/execute", method="POST", body=body)
        assert set(refused.json["fields"]) == {"description", "timeout"}
        assert model.asked == 0


async def test_graphs_drafts_and_both_through_a_real_model(tmp_path: Path) -> None:
    async with held_model(held=False) as model, house(tmp_path, model.base_url) as here:
        await execute(here.port, "memory_query", action="remember", content="They sell tea")
        tasks = [
            {"name": "find", "worker": "search", "mission": "tea"},
            {"name": "write", "mission": "Write of it", "agent": "writer", "depends_on": ["find"]},
        ]
        done = (await execute(here.port, "parallel_processing", "A shop", tasks=tasks)).json
        assert [task["result"] for task in done["result"]["tasks"]] == ["1. They sell tea", WHOLE]
        assert (done["result"]["finished"], done["result"]["total"]) == (2, 2)
        assert any("They sell tea" in text for text in model.heard)
        done = (await execute(here.port, "brainstorming", "A shop", candidates=2)).json
        assert [candidate["score"] for candidate in done["result"]["candidates"]] == [None, None]
        assert done["result"]["judging"]["status"] == "unreadable"
        assert done["result"]["text"] == WHOLE
        done = (await execute(here.port, "hybrid", "tea")).json
        assert list(done["result"]) == ["perfect_recall", "parallel_mind", "creative"]
        assert not done["degraded"]
        shown = await engines(here.port)
        assert [each["completed"] for each in shown.values()] == [3, 2, 2]
        assert all(each["average_ms"] > 0 for each in shown.values())
        assert await here.metric('understudy_engine_executions_total{engine="creative",outcome="completed"}') == 2.0


async def test_more_than_may_wait_goes_to_the_understudy(tmp_path: Path) -> None:
    """Two at work, fifty wait, and the ten that are too much are done one by one."""
    async with held_model() as model, house(tmp_path, model.base_url, more=NARROW) as here:
        answers: list[dict[str, Any]] = []

        async def one() -> None:
            answers.append((await execute(here.port, "batch_operation", "A shop")).json)

        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(one)
            await until(lambda: here.daemon.counters.engines["parallel_mind"].diverted >= 8)
            shown = (await engines(here.port))["parallel_mind"]
            assert (shown["limit"], shown["queue_limit"], shown["executing"], shown["queued"]) == (2, 50, 4, 56)
            model.release()
        diverted = [answer for answer in answers if answer.get("diverted_from") == "parallel_mind"]
        assert len(diverted) == 8
        assert all(answer["degraded"] and answer["engine"] == "one_by_one" for answer in diverted)
        assert all(answer["status"] == "completed" for answer in answers)
        assert not any(answer["degraded"] for answer in answers if answer["engine"] == "parallel_mind")
        assert not (await execute(here.port, "batch_operation", "A shop")).json["degraded"]


async def suspend(here: House, path: str, order: str) -> None:
    answer = await http(here.port, f"/api/supervisors{path}/{order}", method="POST")
    assert answer.status == 200, answer.body


async def test_a_suspended_engine_is_stood_in_for_until_it_is_resumed(tmp_path: Path) -> None:
    async with (
        held_model(held=False) as model,
        house(tmp_path, model.base_url) as here,
        devices(here.port, "ada", "grace") as [ada, grace],
    ):
        await grace.ask("subscribe", channel="engine_status")
        await execute(here.port, "memory_query", action="remember", content="One thing to remember")
        await ada.run_ended(await ada.start_run("A brief of somebody who sells tea"))
        for path in ("/engines/perfect_recall", "/engines/perfect_recall/engine"):
            await suspend(here, path, "suspend")
            await until(lambda: here.daemon.counters.engines["perfect_recall"].state == "degraded")
            answer = await execute(here.port, "memory_query", "which word")
            assert (answer.json["engine"], answer.json["diverted_from"]) == ("plain_scan", "perfect_recall")
            assert answer.json["degraded"]
            assert contents(answer) == [WHOLE, WHOLE]
            assert answer.json["result"]["memories"][0]["score"] is None
            assert contents(await execute(here.port, "memory_query", "word", user="grace")) == []
            await suspend(here, path, "resume")
            await until(lambda: here.daemon.counters.engines["perfect_recall"].state == "running")
            answer = await execute(here.port, "memory_query", "remember")
            assert (contents(answer), answer.json["degraded"]) == (["One thing to remember"], False)
        told = [frame["metadata"]["payload"] for frame in grace.frames if frame["type"] == "channel"]
        states = [each["state"] for each in told if each["engine"] == "perfect_recall"]
        assert [state for place, state in enumerate(states) if states[place - 1 : place] != [state]][-4:] == [
            *("degraded", "running") * 2
        ]
        for each in (ada, grace):
            each.verify()


async def test_an_engine_that_keeps_crashing_is_stood_in_for_and_comes_back(tmp_path: Path) -> None:
    async with held_model(held=False) as model, house(tmp_path, model.base_url) as here:
        counts = here.daemon.counters.engines["creative"]
        await here.crash_while("/engines/creative/engine", lambda: counts.state == "running")
        answer = (await execute(here.port, "innovation", "A shop")).json
        assert (answer["engine"], answer["status"]) == ("single_draft", "completed")
        await until(lambda: here.runs("/engines/creative/engine"))

        async def back() -> bool:
            return (await execute(here.port, "innovation", "A shop")).json["engine"] == "creative"

        with trio.fail_after(20):
            while not await back():
                await trio.sleep(0.05)
        assert counts.state == "running"


async def test_an_agent_is_not_given_the_model_that_makes_embeddings(tmp_path: Path) -> None:
    async with held_model(held=False) as model:
        more = f'[models.embed]\nmodel = "e"\nbase_url = "{model.base_url}"\n'
        more += '[engines.perfect_recall]\nembeddings_model = "embed"\n'
        async with house(tmp_path, model.base_url, more=more) as here:
            new = {"name": "smith", "role": "Smith", "prompt": "You forge.", "models": ["embed"]}
            answer = await http(here.port, "/api/agents", method="POST", body=new)
            assert (answer.status, answer.json["code"]) == (422, "invalid_fields")
            assert answer.json["fields"] == {
                "models": "No agent of the configuration has these models. Allowed: [default]."
            }
