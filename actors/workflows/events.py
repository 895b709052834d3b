"""What a run says, made from its record: pure, but for the stamps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.protocol.agent_events import (
    Attempt,
    agent_delta,
    agent_progress,
    agent_response,
    agent_status,
    tool_completed,
    tool_executing,
)
from actors.protocol.approval_events import approval_request, approval_result
from actors.protocol.catalogue import CATALOGUE, Failure, fallback, retrying
from actors.protocol.event_types import AgentStatus, RunStatus, ToolStatus
from actors.protocol.run_events import run_status
from actors.workflows.messages import UsedTool

if TYPE_CHECKING:
    from actors.protocol.codes import ErrorType
    from actors.protocol.events import Event
    from actors.protocol.stamps import Stamps
    from actors.workflows.messages import Answered, FellBack, Retrying, UsingTool, Working, Wrote
    from actors.workflows.record import Approval, OpenTool, RunRecord, StepRecord

RESULTS: Final = {
    "approve": "The answer of {role} is released.",
    "reject": "The answer of {role} is not released.",
    "modify": "{role} is asked to write the answer again.",
}


def child_name(step: StepRecord) -> str:
    """The name of the actor that does the present attempt at a step."""
    return f"{step.name}-{step.attempt}"


def message_id_of(record: RunRecord, step: StepRecord) -> str:
    """One message for each attempt at a step, the same over restarts of the run's actor; at most 64 characters."""
    among, mark = (record.children, "c") if step.parent else (record.steps, "")
    position = next(number for number, other in enumerate(among) if other.name == step.name)
    return f"{record.run_id}.{mark}{position}.{step.attempt}"


class RunEvents:
    """Makes the events of runs."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps
        self._speaking: dict[str, tuple[StepRecord, Attempt, str]] = {}

    def status(self, record: RunRecord) -> Event:
        """How the run stands, as its record says."""
        return run_status(
            self._stamps.stamp(),
            RunStatus(record.status),
            session_id=record.session_id,
            run_id=record.run_id,
            workflow=record.workflow,
            steps=[step.name for step in record.steps],
            done=record.done,
            content=record.sentence,
            conflicts=record.conflicts,
        )

    def agent(self, record: RunRecord, step: StepRecord, status: AgentStatus, sentence: str, **more: Any) -> Event:
        """Where the agent of an attempt stands; `more` as in `agent_status`."""
        stamp = self._stamps.stamp()
        return agent_status(stamp, _attempt(record, step), status, sentence=sentence, role=step.role or None, **more)

    def started(self, record: RunRecord, step: StepRecord) -> Event:
        return self.agent(record, step, AgentStatus.STARTED, step.sentence, task=step.mission or None)

    def thinking(self, record: RunRecord, step: StepRecord) -> Event:
        return self.agent(record, step, AgentStatus.THINKING, f"{step.role} is thinking.")

    def paused(self, record: RunRecord, step: StepRecord) -> Event:
        return self.agent(record, step, AgentStatus.PAUSED, step.sentence)

    def wrote(self, record: RunRecord, step: StepRecord, piece: Wrote) -> Event:
        # Who speaks, and in which message, is the same for hundreds of pieces: as long as the step's record is.
        known = self._speaking.get(step.name)
        if known is None or known[0] is not step:
            known = self._speaking[step.name] = step, _attempt(record, step), message_id_of(record, step)
        _, of, message_id = known
        return agent_delta(self._stamps.stamp(), of, message_id=message_id, offset=piece.offset, text=piece.text)

    def working(self, record: RunRecord, step: StepRecord, sign: Working) -> Event:
        return agent_progress(
            self._stamps.stamp(),
            _attempt(record, step),
            sentence=f"{step.role} is working.",
            elapsed_ms=sign.elapsed_ms,
            tokens=sign.tokens,
        )

    def retrying(self, record: RunRecord, step: StepRecord, retry: Retrying) -> Event:
        return self.agent(
            record,
            step,
            AgentStatus.RETRYING,
            retrying(retry.error_type),
            error_type=retry.error_type,
            retry_after=round(retry.delay, 3),
        )

    def fell_back(self, record: RunRecord, step: StepRecord, fall: FellBack) -> Event:
        sentence = fallback(fall.error_type, another=bool(fall.model))
        return self.agent(record, step, AgentStatus.FALLBACK, sentence, model=fall.model, error_type=fall.error_type)

    def at_a_tool(self, record: RunRecord, step: StepRecord) -> Event:
        return self.agent(record, step, AgentStatus.EXECUTING_TOOL, f"{step.role} is using a tool.")

    def using_tool(self, record: RunRecord, step: StepRecord, use: UsingTool) -> Event:
        return tool_executing(
            self._stamps.stamp(),
            _attempt(record, step),
            tool_call_id=use.tool_call_id,
            tool_name=use.tool_name,
            tool_input=use.tool_input,
            truncated=use.truncated,
        )

    def used_tool(self, record: RunRecord, step: StepRecord, use: UsedTool) -> Event:
        return tool_completed(
            self._stamps.stamp(),
            _attempt(record, step),
            tool_call_id=use.tool_call_id,
            tool_name=use.tool_name,
            status=use.status,
            duration_ms=use.duration_ms,
            tool_output=use.tool_output,
            error=use.error,
            truncated=use.truncated,
        )

    def tool_cut_off(self, record: RunRecord, step: StepRecord, tool: OpenTool) -> Event:
        """The end of a tool that nobody hears of any more: its attempt is being closed."""
        took, sentence = self._stamps.wall() - tool.began, CATALOGUE[Failure.TOOL_INTERRUPTED].sentence
        end = UsedTool(
            step.name,
            step.attempt,
            tool.tool_call_id,
            tool.tool_name,
            ToolStatus.ERROR,
            max(0, int(took * 1000)),
            error=sentence,
        )
        return self.used_tool(record, step, end)

    def response(self, record: RunRecord, step: StepRecord, answer: Answered) -> Event:
        return agent_response(
            self._stamps.stamp(),
            _attempt(record, step),
            message_id=message_id_of(record, step),
            text=answer.text,
            model=answer.model,
            duration_ms=answer.duration_ms,
            degraded=answer.degraded,
            partial=answer.partial,
            usage=answer.usage,
            artifact=answer.artifact,
        )

    def waiting(self, record: RunRecord, step: StepRecord) -> Event:
        return self.agent(record, step, AgentStatus.WAITING_FOR_APPROVAL, step.sentence)

    def approval_request(self, record: RunRecord, step: StepRecord, approval: Approval, answer: str) -> Event:
        return approval_request(
            self._stamps.stamp(),
            _attempt(record, step),
            approval_id=approval.approval_id,
            question=approval.question,
            message_id=approval.message_id,
            answer=answer,
            digest=approval.digest,
            expires_at=approval.expires_at,
            on_timeout=approval.on_timeout,
        )

    def approval_result(self, record: RunRecord, step: StepRecord, approval: Approval) -> Event:
        return approval_result(
            self._stamps.stamp(),
            _attempt(record, step),
            approval_id=approval.approval_id,
            decision=approval.decision,
            by=approval.by,
            sentence=RESULTS[approval.decision].format(role=step.role or step.agent),
            feedback=approval.feedback,
        )

    def failed(self, record: RunRecord, step: StepRecord, error_type: ErrorType, sentence: str) -> Event:
        return self.agent(record, step, AgentStatus.ERROR, sentence, error_type=error_type)


def _attempt(record: RunRecord, step: StepRecord) -> Attempt:
    return Attempt(
        agent_name=step.role or step.agent,
        session_id=record.session_id,
        run_id=record.run_id,
        step=step.name,
        attempt=step.attempt,
        parent=step.parent or None,
    )
