"""Tasks: `submit_task` as a resource, and what became of them. A user sees the user's own, whoever does them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
from litestar import Request, delete, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from actors.coordination.messages import CancelTask, ListAgents
from actors.coordination.reading import ReadTask, ReadTasks
from actors.coordination.record import TaskRecord, decode_task, view
from actors.protocol.codes import ErrorCode
from actors.protocol.commands import SUBMIT_TASK, Capabilities, Name, Options, PriorityName
from actors.protocol.wire_values import wire_value, without_nulls
from actors.users.messages import CommandError
from runtime import ActorError, Refused
from understudy.coordination import COORDINATOR, TASKS
from understudy.http.commands import Commands, refused
from understudy.http.failures import RequestRefused
from understudy.http.reading import Active, Cursor, PageSize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import HTTPRouteHandler

    from runtime import System
    from understudy.http.sources import Sources

ASK_WITHIN: Final = 10.0
CANCEL_WITHIN: Final = 40.0


@attrs.frozen(slots=False)
class NewTask:
    """What `submit_task` takes. `priority`: LOW, MEDIUM, HIGH or CRITICAL."""

    description: Annotated[str, Meta(description="a text of 1 to 10,000 characters")]
    task_type: Name | None = None
    parameters: Options | None = None
    priority: PriorityName | None = None
    required_capabilities: Capabilities | None = None


@attrs.frozen(slots=False)
class Submitted:
    """The task has been accepted."""

    task_id: str
    status: str


async def ask(system: System, path: str, question: object, within: float = ASK_WITHIN) -> Any:
    """The answer of an actor. Raises RequestRefused for what it refuses, and where it cannot answer now."""
    try:
        return await system.ref(path).ask(question, within)
    except Refused as error:
        if isinstance(error.reason, CommandError):
            raise refused(error.reason) from None
        raise RequestRefused(ErrorCode.UNAVAILABLE, retry_after=1) from None
    except ActorError:
        raise RequestRefused(ErrorCode.UNAVAILABLE, retry_after=1) from None


def shown(record: TaskRecord) -> dict[str, Any]:
    """A task as JSON; what is absent is left out."""
    found: dict[str, Any] = without_nulls(wire_value(attrs.asdict(view(record))))
    return found


def routes(sources: Sources) -> Sequence[HTTPRouteHandler]:
    """The routes of this module."""
    commands, system = Commands(sources), sources.system

    async def submit(request: Request[Any, Any, Any], new: NewTask, **more: Any) -> Submitted:
        metadata = {
            "task_type": new.task_type,
            "parameters": new.parameters,
            "priority": new.priority,
            "required_capabilities": new.required_capabilities,
            **more,
        }
        answer = await commands.carry_out(request, SUBMIT_TASK, metadata, new.description, called="description")
        return Submitted(answer["task_id"], answer["status"])

    async def read(request: Request[Any, Any, Any], task_id: str) -> dict[str, Any]:
        user = sources.identify(request.headers).user_id
        stored = await ask(system, "/storage", ReadTask(user, task_id))
        if stored is None:
            raise RequestRefused(ErrorCode.NOT_FOUND)
        return shown(decode_task(stored))

    @post("/api/tasks", status_code=201, summary="Submit a task", operation_id="submit_task", tags=["tasks"])
    async def submit_task(request: Request[Any, Any, Any], data: JSONBody[NewTask]) -> Submitted:
        return await submit(request, data)

    @post(
        "/api/agents/{agent_id:str}/tasks",
        status_code=201,
        summary="Submit a task for one agent",
        operation_id="submit_task_to_agent",
        tags=["tasks"],
    )
    async def submit_to_agent(
        request: Request[Any, Any, Any], agent_id: FromPath[str], data: JSONBody[NewTask]
    ) -> Submitted:
        user = sources.identify(request.headers).user_id
        known = await ask(system, COORDINATOR, ListAgents(user))
        if agent_id not in {agent.agent_id for agent in known}:
            raise RequestRefused(ErrorCode.NOT_FOUND)
        return await submit(request, data, agent=agent_id)

    @get("/api/tasks", summary="The caller's tasks, oldest first", operation_id="tasks", tags=["tasks"])
    async def tasks(
        request: Request[Any, Any, Any],
        active: Active = None,
        cursor: Cursor = None,
        limit: PageSize = 100,
    ) -> dict[str, Any]:
        user = sources.identify(request.headers).user_id
        stored = await ask(system, "/storage", ReadTasks(user, cursor or "", limit, only_open=active is True))
        records = [decode_task(each) for each in stored]
        wanted = [record for record in records if active is not False or record.ended]
        page: dict[str, Any] = {"tasks": [shown(record) for record in wanted]}
        if len(records) == limit:
            page["next_cursor"] = records[-1].task_id
        return page

    @get("/api/tasks/{task_id:str}", summary="One task as it stands", operation_id="task", tags=["tasks"])
    async def task(request: Request[Any, Any, Any], task_id: FromPath[str]) -> dict[str, Any]:
        return await read(request, task_id)

    @delete(
        "/api/tasks/{task_id:str}",
        status_code=200,
        summary="Cancel a task; of one that has ended, how it ended",
        operation_id="cancel_task",
        tags=["tasks"],
    )
    async def cancel(request: Request[Any, Any, Any], task_id: FromPath[str]) -> dict[str, Any]:
        user = sources.identify(request.headers).user_id
        await read(request, task_id)  # what is not the caller's is not there
        await ask(system, TASKS, CancelTask(user, task_id), CANCEL_WITHIN)
        return await read(request, task_id)

    return [submit_task, submit_to_agent, tasks, task, cancel]
