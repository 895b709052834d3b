"""A device that looks at every frame as it comes: nothing in it may be another user's."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.protocol.event_types import RUN_ENDS, ToolStatus
from actors.protocol.task_events import TASK_ENDS
from tests.support.device import Device
from understudy.client.socket import Ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.isolation.marks import Marks
    from tests.support.grammar_tables import Frame

OF_WORKERS: Final = {"task_assigned", "task_withdrawn"}
"""What a worker of everybody's is told of anybody's tasks."""


@attrs.define(eq=False)
class Watched(Device):
    """See the module. Made with `watched`.

    Attributes:
        hears_all: whether channels may tell it of everybody, as they do operators.
        serves_all: whether it is a worker of everybody's, whose tasks may be anybody's.
        answers: to its commands, by their id.
        run_ends, task_ends: how what its log tells of has ended.
        asked: approvals that it was asked for.
        offers: tasks that it was given to do.
        tools: that have succeeded for its user, by their names.
        welcomed: what its last `welcome` said.
    """

    marks: Marks = attrs.field(kw_only=True)
    hears_all: bool = False
    serves_all: bool = False
    answers: dict[str, Frame] = attrs.field(factory=dict)
    run_ends: dict[str, str] = attrs.field(factory=dict)
    task_ends: dict[str, str] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)
    offers: list[dict[str, Any]] = attrs.field(factory=list)
    tools: Counter[str] = attrs.field(factory=Counter)
    welcomed: dict[str, Any] = attrs.field(factory=dict)

    def _note(self, frame: Frame) -> None:
        super()._note(frame)
        kind, metadata = frame["type"], frame.get("metadata", {})
        if not (self.hears_all and kind == "channel") and not (self.serves_all and kind in OF_WORKERS):
            self.marks.look(self.user, json.dumps(frame), f"{kind} to {self.client_id}")
        match kind:
            case "welcome":
                self.welcomed = metadata
                self.marks.claim(self.user, metadata["epoch"], "the log")
            case "reply" | "error" if metadata.get("reply_to"):
                self.answers[metadata["reply_to"]] = frame
            case "run_status" if metadata["status"] in RUN_ENDS:
                self.run_ends[frame["run_id"]] = metadata["status"]
            case "task_status" if metadata["status"] in TASK_ENDS:
                self.task_ends[metadata["task_id"]] = metadata["status"]
            case "tool_completed":
                self.tools[metadata["tool_name"]] += metadata["status"] == ToolStatus.SUCCESS
            case "approval_request":
                self.asked.append(metadata["approval_id"])
            case "task_assigned":
                self.offers.append(metadata)

    async def sometime(self, holds: Callable[[], Any]) -> None:
        """As `until`, for what need not ever be."""
        while not holds():
            await self._changed.park()

    async def ask(self, kind: str, content: str = "", *, id: str | None = None, **metadata: Any) -> Frame:  # noqa: A002
        """As `Device.ask`; quicker where much has come."""
        command_id = id or uuid.uuid4().hex
        while True:
            at = len(self.connections)
            try:
                await self.send(kind, content, id=command_id, **metadata)
            except Ended:
                await self._next_connection(at)
                continue

            def answered(at: int = at) -> Frame | bool:
                return self.answers.get(command_id) or self.connections[at - 1].code is not None

            found = await self.until(answered)
            if isinstance(found, dict):
                return found
            self.repeated.add(command_id)
            await self._next_connection(at)

    def lose(self) -> bool:
        """Let go of the socket, if there is one; it comes back, unless it is told not to."""
        if self._socket is None:
            return False
        self._socket.release()
        return True
