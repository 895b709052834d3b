"""Cancel, pause and resume, carried out: what a run's agents are told, and when. A part of the run's actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.protocol.codes import ErrorCode
from actors.protocol.event_types import AgentStatus, RunStatus
from actors.users.messages import CommandError, Later
from actors.workflows import approvals, attempts, orders, progress
from actors.workflows.events import child_name
from actors.workflows.messages import Decide, GoOn, Hold, Steer
from actors.workflows.orders import Order
from runtime import Refused

if TYPE_CHECKING:
    from actors.workflows.record import RunRecord, StepRecord
    from actors.workflows.run import Run
    from runtime import ReplyTo

CANCEL_WITHIN: Final = 5.0
NOT_SUSPENDED: Final = Refused(CommandError(ErrorCode.CONFLICT, "No operator has paused this run."))


class Steering:
    """Made by a run for itself."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._holds: dict[str, int] = {}
        """How often the agent of a step was told to hold."""

    def carry_out(self, steer: Steer, reply: ReplyTo) -> None:
        """Carry out an order. Answered when it is committed, so that no crash undoes it."""
        run = self._run
        before = run.record
        named = orders.named(before, steer.agent_name)
        if not named:
            reply.answer(Refused(CommandError(ErrorCode.NOT_FOUND)))
            return
        if run.ending or (steer.agent_name is not None and all(step.ended for step in named)):
            reply.answer(before.status)
            return
        if steer.order is Order.RELEASE and not before.suspended:
            reply.answer(NOT_SUSPENDED)
            return
        run.log.order(steer, reply.answer)
        for step in named:
            if steer.order is Order.CANCEL:
                self.stop_step(step.name, AgentStatus.CANCELLED)
            else:
                self._hold_or_release(step.name)
        if before.status == RunStatus.PAUSED and not run.record.cancelled and not progress.at_rest(run.record):
            run.log.status(RunStatus.RUNNING, "Work goes on.")

    def _hold_or_release(self, name: str) -> None:
        """Tell an agent at work that it is to rest before its next call, or that it may go on."""
        run = self._run
        step = run.record.step(name)
        agent = run.child(child_name(step))
        if not step.open:
            return
        if agent is None:
            if run.slots.waits(step) and orders.held(run.record, step):
                run.rest_unspawned(step)
            return
        if orders.held(run.record, step):
            self._holds[name] = self._holds.get(name, 0) + 1
            agent.tell(Hold(self._holds[name]))
            return
        if step.rests:
            step = run.log.release(step)
            run.set_clock(step)
        run.slots.work(step, lambda: self._let_go_on(name, step.attempt))

    def _let_go_on(self, name: str, attempt: int) -> None:
        """It has a slot again."""
        step, agent = self._run.record.step(name), self._run.child(child_name(self._run.record.step(name)))
        if agent is not None and self._run.listens_to(step, attempt) and not orders.held(self._run.record, step):
            agent.tell(GoOn())

    def agent_rests(self, step: StepRecord, number: int) -> None:
        """An agent has come to where it makes no further call."""
        run = self._run
        if orders.held(run.record, step) and not step.rests and number == self._holds.get(step.name):
            run.cancel_timer(("overdue", step.name))
            run.log.rest(step)
            run.slots.free(child_name(step))
            run.go_on()

    def stop_step(self, name: str, wanted: AgentStatus) -> None:
        """Stop the step's agent; when it is gone its attempt is closed with `wanted`."""
        run = self._run
        step = run.record.step(name)
        if step.proposal is not None:
            run.cancel_timer(("approval", name))
            run.close(step, attempts.cancelled(step), None)  # there is no agent to stop
        elif step.open and name not in run.stopping:
            run.child_agents.stop_of(name)
            run.stopping[name] = wanted
            if run.child(child_name(step)) is None:  # it waits for a slot
                run.timer(("gone", name), 0.0, Later(lambda: run.agent_gone(child_name(step))))
            else:
                run.stop_child(child_name(step), why="cancelled", within=CANCEL_WITHIN)


def of_an_ended_run(order: Steer | Decide, record: RunRecord | None, now: float) -> object:
    """The answer to an order that came when its run had ended, or never was (None). `now` in seconds since 1970."""
    if record is None:
        return Refused(CommandError(ErrorCode.NOT_FOUND))
    if isinstance(order, Steer):
        return record.status
    judged = approvals.judge(record, order, now)
    if judged is None:
        judged = CommandError(ErrorCode.NOT_FOUND)
    return Refused(judged) if isinstance(judged, CommandError) else judged
