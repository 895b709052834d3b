"""Agents at work, from the events of a run."""

from __future__ import annotations

import random

import attrs

from actors.operations.agents_at_work import AgentsAtWork
from actors.protocol.agent_events import Attempt, agent_response, agent_status
from actors.protocol.channel_events import AgentState, AgentView
from actors.protocol.codes import ErrorType
from actors.protocol.event_types import AgentStatus, NoticeLevel, RunStatus
from actors.protocol.run_events import run_status, system
from actors.protocol.stamps import Stamps

ONE = Attempt(agent_name="Analyst", session_id="s", run_id="r", step="one")
TWO = attrs.evolve(ONE, step="two", agent_name="Tester")


class Told:
    def __init__(self) -> None:
        self.agents = AgentsAtWork()
        self.stamps = Stamps(random.Random(1), lambda: 1_800_000_000.0)

    def status(self, of: Attempt, status: AgentStatus) -> AgentView | None:
        error = ErrorType.TIMEOUT if status is AgentStatus.ERROR else None
        return self.agents.see(
            agent_status(self.stamps.stamp(), of, status, sentence="x", role="Role", error_type=error)
        )

    def response(self, of: Attempt, duration_ms: int) -> None:
        event = agent_response(self.stamps.stamp(), of, message_id="m", text="t", model="m", duration_ms=duration_ms)
        assert self.agents.see(event) is None

    def run(self, status: RunStatus) -> None:
        event = run_status(
            self.stamps.stamp(), status, session_id="s", run_id="r", workflow="w", steps=["one", "two"], done=0
        )
        assert self.agents.see(event) is None


def test_an_agent_from_its_start_to_its_end() -> None:
    told = Told()
    told.run(RunStatus.RUNNING)
    for status in (AgentStatus.STARTED, AgentStatus.THINKING, AgentStatus.RETRYING, AgentStatus.PAUSED):
        view = told.status(ONE, status)
        assert view is not None
        assert (view.agent_id, view.name, view.role) == ("r.one", "Analyst", "Role")
        assert (view.status, view.current_tasks, view.load) == (AgentState.PROCESSING, 1, 1.0)
        assert (view.metrics.tasks_completed, view.metrics.success_rate) == (0, None)
    told.response(ONE, 250)
    view = told.status(ONE, AgentStatus.COMPLETED)
    assert view is not None
    assert (view.status, view.current_tasks, view.load) == (AgentState.IDLE, 0, 0.0)
    assert (view.metrics.tasks_completed, view.metrics.average_response_ms) == (1, 250.0)
    assert (view.metrics.success_rate, view.metrics.tasks_failed) == (1.0, 0)
    assert view.metrics.last_activity == "2027-01-15T08:00:00.000Z"


def test_what_fails_and_is_tried_again_is_counted() -> None:
    told = Told()
    told.status(ONE, AgentStatus.STARTED)
    failed = told.status(ONE, AgentStatus.ERROR)
    assert failed is not None
    assert failed.status is AgentState.ERROR
    again = attrs.evolve(ONE, attempt=2)
    told.status(again, AgentStatus.STARTED)
    told.response(again, 100)
    view = told.status(again, AgentStatus.COMPLETED)
    assert view is not None
    assert (view.metrics.tasks_completed, view.metrics.tasks_failed, view.metrics.success_rate) == (1, 1, 0.5)
    cancelled = told.status(TWO, AgentStatus.CANCELLED)
    assert cancelled is not None
    assert cancelled.status is AgentState.IDLE
    assert cancelled.metrics.success_rate is None


def test_nothing_is_kept_of_a_run_that_has_ended_or_of_what_is_no_run() -> None:
    told = Told()
    told.status(ONE, AgentStatus.STARTED)
    told.status(TWO, AgentStatus.STARTED)
    assert len(told.agents) == 2
    notice = system(told.stamps.stamp(), "notice", NoticeLevel.INFO, notice="x")
    assert told.agents.see(notice) is None
    told.run(RunStatus.COMPLETED)
    assert len(told.agents) == 0
