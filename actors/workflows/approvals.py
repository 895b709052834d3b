"""Answers that are held until somebody decides about them, as changes of the record. Pure.

A decision is committed before it is answered, and carried out then: `due` says which are still to be, so a crash
between the two changes nothing. It is about one text: each attempt's answer has an approval of its own, which names its
digest. An approval is withdrawn when its attempt ends without one: it is cancelled, or the run given up.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from actors.protocol.codes import ErrorCode
from actors.users.messages import CommandError
from actors.users.session_state import HOLDING
from actors.workflows.messages import Answered
from actors.workflows.record import DECIDED, Approval, Proposal

if TYPE_CHECKING:
    from actors.users.session_state import Mode
    from actors.workflows.messages import Decide
    from actors.workflows.record import RunRecord, StepRecord

BY_TIMEOUT: Final = "timeout"
_MARK: Final = ".ask"
CHANGED: Final = "This is not the answer that you have seen. Please look at it again and decide anew."
WITHDRAWN: Final = "There is nothing to decide any more: the work that asked for it has ended."


def approval_id_of(message_id: str) -> str:
    """The id of the decision about one message, the same over restarts; like a message's, it begins with the run's."""
    return f"{message_id}{_MARK}"


def run_of(approval_id: str) -> str:
    """The run that an approval belongs to, if it belongs to any."""
    return approval_id.partition(".")[0]


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def answer_to(approval_id: str, decision: str) -> dict[str, Any]:
    """The reply to `decide`."""
    return {"approval_id": approval_id, "status": DECIDED[decision]}


def is_held(step: StepRecord, mode: Mode) -> bool:
    """Whether an answer of the step, given while the session is in this mode, waits for a decision."""
    return step.approval.always or mode in HOLDING


def requested(record: RunRecord, step: StepRecord, answer: Answered, message_id: str, now: float) -> RunRecord:
    """The record with the answer held. `now` in seconds since 1970."""
    policy = step.approval
    approval = Approval(
        approval_id=approval_id_of(message_id),
        step=step.name,
        attempt=step.attempt,
        message_id=message_id,
        digest=digest_of(answer.text),
        question=f"{step.role or step.agent} has an answer. Approve it, reject it, or say what is to be different.",
        requested_at=now,
        expires_at=None if policy.on_timeout == "wait" else now + policy.within,
        on_timeout=policy.on_timeout,
    )
    proposal = Proposal(approval.approval_id, msgspec.to_builtins(answer))
    record = record.put(attrs.evolve(record.step(step.name), proposal=proposal))
    return attrs.evolve(record, approvals=(*record.approvals, approval))


def held_answer(proposal: Proposal) -> Answered:
    return msgspec.convert(proposal.answer, Answered)


def find(record: RunRecord, approval_id: str) -> Approval | None:
    return next((approval for approval in record.approvals if approval.approval_id == approval_id), None)


def judge(record: RunRecord, order: Decide, now: float) -> CommandError | dict[str, Any] | None:
    """What to say to a decision, `now` in seconds since 1970; None: it is the one that counts, and is to be taken."""
    approval = find(record, order.approval_id)
    if approval is None:
        return CommandError(ErrorCode.NOT_FOUND)
    if order.digest is not None and order.digest != approval.digest:
        return CommandError(ErrorCode.CONFLICT, CHANGED)
    if approval.decision and approval.by != BY_TIMEOUT:
        same = approval.decision == order.decision and approval.feedback == order.feedback
        if same:
            return answer_to(approval.approval_id, approval.decision)
        return CommandError(ErrorCode.CONFLICT, details={"decision": approval.decision})
    if approval.decision:
        return CommandError(ErrorCode.EXPIRED, details={"decision": approval.decision})
    if approval.withdrawn:
        return CommandError(ErrorCode.EXPIRED, WITHDRAWN)
    if approval.expires_at is not None and now >= approval.expires_at:
        return CommandError(ErrorCode.EXPIRED, details={"decision": approval.on_timeout})
    return None


def decided(record: RunRecord, order: Decide, now: float) -> RunRecord:
    """The record with this decision taken."""
    taken = tuple(
        attrs.evolve(
            approval,
            decision=order.decision,
            feedback=order.feedback,
            by=order.by,
            cause=order.cause,
            decided_at=now,
        )
        if approval.approval_id == order.approval_id
        else approval
        for approval in record.approvals
    )
    return attrs.evolve(record, approvals=taken)


def withdrawn(record: RunRecord) -> RunRecord:
    """The record in which no approval is open whose answer is not held any more."""
    held = {step.proposal.approval_id for step in record.steps if step.proposal is not None}
    approvals = tuple(
        attrs.evolve(approval, withdrawn=True) if approval.open and approval.approval_id not in held else approval
        for approval in record.approvals
    )
    return record if approvals == record.approvals else attrs.evolve(record, approvals=approvals)


def waiting(record: RunRecord) -> list[Approval]:
    """Those about which nobody has decided yet."""
    return [approval for approval in record.approvals if approval.open]


def due(record: RunRecord) -> list[tuple[StepRecord, Approval]]:
    """The steps whose answer was decided about, and nothing has come of it yet."""
    return [
        (step, approval)
        for step in record.steps
        if step.proposal is not None
        and (approval := find(record, step.proposal.approval_id)) is not None
        and approval.decision
    ]
