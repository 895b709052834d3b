"""The grammar of `agent_status` executing_tool: right before its tool, and another status before the answer."""

from __future__ import annotations

from actors.protocol.event_types import AgentStatus, RunStatus
from tests.support.grammar import check
from tests.support.grammar_log import ONE, Log


def log_of(*lines: str) -> list[str]:
    """The rules that a run with these lines breaks."""
    log, calls = Log(), 0
    log.welcome()
    log.reply("c1", run_id="r1", session_id="s1")
    log.run(RunStatus.QUEUED, 0)
    log.status(ONE, AgentStatus.STARTED)
    log.status(ONE, AgentStatus.THINKING)
    for line in lines:
        if line == "tool":
            calls += 1
            log.executing(ONE, f"t{calls}")
            log.completed(ONE, f"t{calls}")
        else:
            log.status(ONE, AgentStatus(line))
    log.response(ONE, "Done.", "m1")
    log.status(ONE, AgentStatus.COMPLETED)
    log.run(RunStatus.CANCELLED, 1)
    return [violation.rule for violation in check(log.frames)]


def test_a_tool_is_announced_and_then_the_agent_thinks_again() -> None:
    assert log_of("executing_tool", "tool", "executing_tool", "tool", "thinking") == []
    assert log_of("executing_tool", "tool", "paused", "executing_tool", "tool", "thinking") == []
    assert log_of("tool", "thinking") == [], "a log may begin in the middle"


def test_each_breach_is_found() -> None:
    assert log_of("executing_tool", "tool") == ["tool_status"], "nothing is said before the answer"
    assert log_of("executing_tool", "thinking") == ["tool_status"], "no tool follows"
    assert log_of("executing_tool", "tool", "thinking", "tool") == ["tool_status"], "the second is not announced"
