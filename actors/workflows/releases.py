"""How answers come to count: at once, or when somebody has decided. A part of the run's actor.

Of a step that always needs a decision this is known; of any other it depends on the mode in which the session is when
the answer comes, so that is read then. The time in which somebody has to decide is measured from when it was asked for,
in wall time: over a restart the timer is set for what is left of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.event_types import RunStatus
from actors.storage.journal import GetState
from actors.users.keys import SESSIONS, session_key
from actors.users.messages import CommandError, Later
from actors.users.session_state import decode_session
from actors.workflows import approvals, progress
from actors.workflows.messages import Answered, Decide
from runtime import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.protocol.stamps import Stamps
    from actors.users.session_state import Mode
    from actors.workflows.record import Approval, StepRecord
    from actors.workflows.run import Run
    from runtime import Ref, Replied, ReplyTo

READ_WITHIN: Final = 30.0
READ_AGAIN: Final = 0.3
LONGEST_TIMER: Final = 86_400.0
"""Seconds after which a timer looks at the clock again."""


@attrs.define(eq=False)
class _Coming:
    """An answer of which it is not known yet whether it is held, and who waits to hear that it was taken."""

    answer: Answered
    replies: list[ReplyTo]


class Releases:
    """Made by a run for itself."""

    def __init__(self, run: Run, journal: Ref[object], stamps: Stamps) -> None:
        self._run = run
        self._journal = journal
        self._stamps = stamps
        self._coming: dict[str, _Coming] = {}

    # --- answers

    def answered(self, step: StepRecord, answer: Answered) -> None:
        """An agent has answered; it is told so when it is clear what becomes of the answer."""
        reply = self._run.defer()
        coming = self._coming.get(step.name)
        if coming is not None and coming.answer.attempt == answer.attempt:
            coming.replies.append(reply)  # told again: the agent had no word for too long
            return
        coming = self._coming[step.name] = _Coming(answer, [reply])
        if step.parent:  # it answers an agent, and what that one makes of it is what people see
            self._take(step.name, coming, held=False)
        elif step.approval.always:
            self._take(step.name, coming, held=True)
        else:
            self._read_mode(lambda mode: self._take(step.name, coming, held=approvals.is_held(step, mode)))

    def _read_mode(self, then: Callable[[Mode], None]) -> None:
        record = self._run.record

        def read(replied: Replied) -> None:
            if replied.error is not None:
                self._run.timer(("mode", object()), READ_AGAIN, Later(lambda: self._read_mode(then)))
            else:
                then(decode_session(replied.value).mode)

        query = GetState(SESSIONS, session_key(record.user, record.session_id))
        self._run.request(self._journal, query, READ_WITHIN, tag=read)

    def _take(self, name: str, coming: _Coming, *, held: bool) -> None:
        if self._coming.get(name) is coming:
            del self._coming[name]
        run = self._run
        step = run.record.step(name)
        if run.listens_to(step, coming.answer.attempt) and step.proposal is None:
            run.slots.report(step, "completed", coming.answer.duration_ms)
            if held:
                self.remind(run.log.hold(step, coming.answer))
            else:
                run.log.answered(step, coming.answer)
            run.attempt_over(run.record.step(name))
            run.go_on()
        for reply in coming.replies:
            reply.answer(True)

    # --- decisions

    def decide(self, order: Decide, reply: ReplyTo) -> None:
        """Somebody has decided: answered when it is committed."""
        judged = approvals.judge(self._run.record, order, self._stamps.wall())
        if isinstance(judged, CommandError):
            reply.answer(Refused(judged))
            return
        if judged is not None:  # it was taken before, and is perhaps still on its way to the disk
            self._run.log.keep(lambda: reply.answer(judged))
            return
        answer = approvals.answer_to(order.approval_id, order.decision)
        self._run.log.decide(order, lambda: reply.answer(answer))

    def remind(self, approval: Approval) -> None:
        """Have the time of this approval watched."""
        if approval.expires_at is not None and approval.open:
            left = max(0.0, approval.expires_at - self._stamps.wall())
            due = Later(lambda: self._overdue(approval.approval_id))
            self._run.timer(("approval", approval.step), min(left, LONGEST_TIMER), due)

    def _overdue(self, approval_id: str) -> None:
        run = self._run
        approval = approvals.find(run.record, approval_id)
        if approval is None or not approval.open or approval.expires_at is None:
            return
        if self._stamps.wall() < approval.expires_at:
            self.remind(approval)
            return
        run.log.decide(Decide(approval_id, approval.on_timeout, "", approvals.BY_TIMEOUT))
        run.go_on()

    def carry_out(self) -> None:
        """Do what was decided."""
        for step, approval in approvals.due(self._run.record):
            self._run.cancel_timer(("approval", step.name))
            self._run.attempt_over(self._run.log.carry_out(step, approval))

    def say(self) -> None:
        """That the run waits for somebody, or does so no more."""
        run = self._run
        waits = progress.awaits_decision(run.record)
        if waits and run.record.status == RunStatus.RUNNING:
            run.log.status(RunStatus.WAITING_FOR_APPROVAL, "An answer waits for a person to release it.")
        elif not waits and run.record.status == RunStatus.WAITING_FOR_APPROVAL:
            run.log.status(RunStatus.RUNNING, "Work goes on.")
