"""A log as a client receives it, made by the daemon's own constructors: what the checker is tested on."""

import json
from random import Random
from typing import Any

import attrs

from actors.protocol import agent_events, connection_events, run_events
from actors.protocol.agent_events import Attempt, Usage
from actors.protocol.codes import ErrorType
from actors.protocol.connection_events import Limits
from actors.protocol.event_types import AgentStatus, RunStatus, ToolStatus
from actors.protocol.events import Event, Stamp, caused_by, encode, new_stamp, with_seq
from tests.support.grammar_tables import Frame

ONE = Attempt(agent_name="Analyst", session_id="s1", run_id="r1", step="one")
TWO = attrs.evolve(ONE, step="two", agent_name="Tester")
STEPS = ["one", "two"]
LIMITS = Limits(**dict.fromkeys((field.name for field in attrs.fields(Limits)), 1))


def welcomed(stamp: Stamp, **more: Any) -> Event:
    """The greeting of a connection; `more` is where its log stands, and what is to be otherwise."""
    who = {"connection_id": "k", "client_id": "c", "user_id": "u", "role": "user", "tier": "free", "epoch": "e"}
    what = {"reply_to": "hello", "heartbeat_interval": 30, "limits": LIMITS, "server_time": 0.0}
    return connection_events.welcome(stamp, **{**who, **what, **more})


@attrs.define
class Log:
    """What a client receives, built by the daemon's own constructors."""

    frames: list[Frame] = attrs.field(factory=list)
    seq: int = 0
    random: Random = attrs.field(factory=lambda: Random(1))

    def stamp(self) -> Stamp:
        return new_stamp(self.random, 1_700_000_000)

    def add(self, *events: Event) -> None:
        for event in events:
            body = encode(event)
            if event.durable:
                self.seq += 1
                body = with_seq(body, self.seq)
            self.frames.append(json.loads(body))

    def welcome(self, *, replayed: int = 0, resumed: bool = False) -> None:
        seq = self.seq + replayed
        self.add(welcomed(self.stamp(), seq=seq, resumed=resumed, replayed=replayed, expires_at=9.0))

    def run(self, status: RunStatus, done: int, *, run_id: str = "r1", cause: str | None = None) -> None:
        event = run_events.run_status(
            self.stamp(), status, session_id="s1", run_id=run_id, workflow="w", steps=STEPS, done=done
        )
        self.add(caused_by(event, cause) if cause else event)

    def status(self, of: Attempt, status: AgentStatus, **more: Any) -> None:
        self.add(agent_events.agent_status(self.stamp(), of, status, sentence="At work.", **more))

    def delta(self, of: Attempt, offset: int, text: str, message_id: str) -> None:
        self.add(agent_events.agent_delta(self.stamp(), of, message_id=message_id, offset=offset, text=text))

    def response(
        self, of: Attempt, text: str, message_id: str, *, model: str | None = "m", degraded: bool = False
    ) -> None:
        self.add(
            agent_events.agent_response(
                self.stamp(),
                of,
                message_id=message_id,
                text=text,
                model=model,
                degraded=degraded,
                duration_ms=5,
                usage=Usage(prompt_tokens=1, completion_tokens=2),
            )
        )

    def executing(self, of: Attempt, call: str) -> None:
        self.add(
            agent_events.tool_executing(
                self.stamp(), of, tool_call_id=call, tool_name="search", tool_input={"rows": [None, 1]}
            )
        )

    def completed(self, of: Attempt, call: str) -> None:
        self.add(
            agent_events.tool_completed(
                self.stamp(), of, tool_call_id=call, tool_name="search", status=ToolStatus.SUCCESS, duration_ms=1
            )
        )

    def reply(self, reply_to: str, **metadata: Any) -> None:
        self.add(connection_events.reply(self.stamp(), reply_to=reply_to, metadata=metadata))


def whole_run(log: Log) -> None:
    """The frames of the run r1, from the reply to start_run on; a test that breaks one finds it by its place."""
    log.reply("c1", run_id="r1", session_id="s1")  # 1
    log.run(RunStatus.QUEUED, 0, cause="c1")  # 2
    log.run(RunStatus.RUNNING, 0)  # 3
    log.status(ONE, AgentStatus.STARTED, role="r")  # 4
    log.status(ONE, AgentStatus.THINKING)  # 5
    log.delta(ONE, 0, "He", "m1")  # 6
    log.delta(ONE, 2, "llo", "m1")  # 7
    log.executing(ONE, "t1")  # 8
    log.add(connection_events.heartbeat(log.stamp(), reply_to="c2", server_time=1.0))  # 9
    log.completed(ONE, "t1")  # 10
    log.add(agent_events.agent_progress(log.stamp(), ONE, sentence="Still at work.", elapsed_ms=1))  # 11
    log.delta(ONE, 5, "!", "m1")  # 12
    log.response(ONE, "Hello!", "m1")  # 13
    log.status(ONE, AgentStatus.COMPLETED)  # 14
    log.run(RunStatus.RUNNING, 1)  # 15
    log.status(TWO, AgentStatus.STARTED)  # 16
    log.status(TWO, AgentStatus.ERROR, error_type=ErrorType.INTERRUPTED)  # 17
    again = attrs.evolve(TWO, attempt=2)
    log.status(again, AgentStatus.STARTED)  # 18
    log.status(again, AgentStatus.THINKING)  # 19
    log.response(again, "Nothing to say.", "m3", model=None, degraded=True)  # 20
    log.status(again, AgentStatus.COMPLETED)  # 21
    log.run(RunStatus.COMPLETED, 2)  # 22
    log.reply("c3", run_id="r1", status="completed")  # 23
    log.add(connection_events.draining(log.stamp(), retry_after=1.5))  # 24
