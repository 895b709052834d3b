"""Tasks that an engine does: what its answers and its refusals come to. In virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from actors.engines.messages import BadExecution, Cancel, EngineBusy, EngineProgress, EngineResult, Execute
from actors.protocol.catalogue import CATALOGUE, Failure
from runtime import Actor, Refused
from supervisors import ChildSpec
from tests.support.tasks_system import FILE, TasksSystem, run
from tests.support.users_system import OFTEN


def sentence(failure: Failure) -> str:
    return CATALOGUE[failure].sentence


class Scripted(Actor):
    """An engine that answers as it is told, one answer a time."""

    def __init__(self, answers: list[Any], heard: list[Any]) -> None:
        self.answers = answers
        self.heard = heard
        self.kept: list[Any] = []

    async def receive(self, message: Any) -> object:
        self.heard.append(message)
        if not isinstance(message, Execute):
            return None
        answer = self.answers.pop(0)
        if answer == "hang":
            self.kept.append(self.defer())
            return None
        if isinstance(answer, Exception) and not isinstance(answer, Refused):
            raise answer
        assert message.progress is not None
        message.progress.tell(EngineProgress(message.key, 1, 2))
        return answer


def result(status: str = "completed", failure: Failure | None = None, **more: Any) -> EngineResult:
    values = {"degraded": False, "diverted_from": None, "failure": failure, "duration_ms": 5, **more}
    return EngineResult("creative", "brainstorming", status, {"ideas": 3}, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answers", "story", "error"),
    [
        ([result()], ["running 1", "completed 1"], ""),
        ([Refused(EngineBusy(2.0)), Refused(EngineBusy(2.0)), result()], ["running 1", "completed 1"], ""),
        ([Refused(BadExecution({"parameters": "Say how many."}))], ["running 1", "failed 1"], "Say how many."),
        ([result("failed", Failure.CONTENT_POLICY)], ["running 1", "failed 1"], sentence(Failure.CONTENT_POLICY)),
        ([RuntimeError("planned"), result()], ["running 1", "queued", "running 2", "completed 2"], ""),
        (["hang", result()], ["running 1", "queued", "running 2", "completed 2"], ""),
        ([result("failed", Failure.INTERNAL, defect=True)] * 3, ["running 3", "failed 3"], sentence(Failure.INTERNAL)),
    ],
)
def test_an_engine_does_what_is_of_its_type(
    answers: list[Any], story: list[str], error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    left = list(answers)

    async def test(here: TasksSystem) -> None:
        root: Any = here.base.system.root
        root.actor.start_child(ChildSpec("creative", lambda: Scripted(left, heard), budget=OFTEN))
        refs["creative"] = here.base.system.ref("/creative")
        more: dict[str, Any] = {"parameters": {"n": 3}, "priority": "CRITICAL"}
        answer = await here.say("ada", "submit_task", "Ideas", task_type="brainstorming", **more)
        record = await here.ended(answer["task_id"])
        assert here.story(answer["task_id"])[-len(story) :] == story
        assert record.error == error
        assert record.attempts[-1].agent_id == "creative"
        if not error:
            assert record.result == {"ideas": 3, "engine": "creative", "degraded": False}
        asked = [message for message in heard if isinstance(message, Execute)]
        of_it = {(m.task_type, m.user, m.key, m.priority.value) for m in asked}
        assert of_it == {("brainstorming", "ada", record.task_id, "CRITICAL")}
        cancels = [message for message in heard if isinstance(message, Cancel)]  # of what is over there is none
        assert cancels == ([Cancel("ada", record.task_id)] if "hang" in answers else [])

    refs: dict[str, Any] = {}
    run(test, monkeypatch, engine=lambda kind: refs["creative"] if kind == "brainstorming" else None)


def test_capabilities_go_before_the_type(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit("File", task_type="brainstorming", **FILE)
        assert (await here.ended(task_id)).attempts[-1].agent_id == "clerk"

    run(test, monkeypatch, engine=lambda _: None)
