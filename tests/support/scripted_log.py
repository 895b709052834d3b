"""A run of a given length as a list of events, and the actor that says them: durable and ephemeral ones mixed.

The events are made by the daemon's own constructors and obey the grammar. Two steps are at work at a time, so that
pieces of an answer have no neighbours of the same answer and none is joined to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors.protocol.agent_events import (
    Attempt,
    agent_delta,
    agent_progress,
    agent_response,
    agent_status,
    tool_completed,
    tool_executing,
)
from actors.protocol.codes import ErrorType
from actors.protocol.event_types import AgentStatus, RunStatus, ToolStatus
from actors.protocol.run_events import run_status
from actors.users.messages import Later
from actors.users.producer import Producer
from runtime import Actor, Replied, Restarted

if TYPE_CHECKING:
    from random import Random

    from actors.protocol.events import Event
    from actors.protocol.stamps import Stamps
    from runtime import Ref

PIECES: Final = ("So ", "the ", "shop ", "käuft ", "茶 ", "🍵 ", "and ", "then ")


@attrs.define
class Speaker:
    """One step at work: what it says next, and never twice the same kind of thing in a row."""

    of: Attempt
    stamps: Stamps
    rng: Random
    text: str = ""
    calls: int = 0
    open_call: str = ""

    @property
    def message_id(self) -> str:
        return f"{self.of.run_id[:20]}.{self.of.step}.{self.of.attempt}"

    def begin(self) -> list[Event]:
        return [self.status(AgentStatus.STARTED), self.status(AgentStatus.THINKING)]

    def status(self, status: AgentStatus, **more: Any) -> Event:
        return agent_status(self.stamps.stamp(), self.of, status, sentence=f"{self.of.agent_name}: {status}.", **more)

    def go_on(self) -> Event:
        """One more event: a piece of text, half the time, or a tool that begins or ends, or a sign of life."""
        choice = self.rng.random()
        stamp = self.stamps.stamp()
        if choice < 0.45:
            piece = self.rng.choice(PIECES)
            offset, self.text = len(self.text), self.text + piece
            return agent_delta(stamp, self.of, message_id=self.message_id, offset=offset, text=piece)
        if choice < 0.5:
            return agent_progress(stamp, self.of, sentence="Still at work.", elapsed_ms=self.calls)
        if self.open_call:
            call, self.open_call = self.open_call, ""
            return tool_completed(
                stamp, self.of, tool_call_id=call, tool_name="search", status=ToolStatus.SUCCESS, duration_ms=1
            )
        self.calls += 1
        self.open_call = f"{self.message_id}.{self.calls}"
        return tool_executing(
            stamp, self.of, tool_call_id=self.open_call, tool_name="search", tool_input={"n": self.calls}
        )

    def end(self, *, failing: bool) -> list[Event]:
        """The last three events, a tool's included; of an attempt that fails, one more sign and the error."""
        if self.open_call:
            close = tool_completed(
                self.stamps.stamp(),
                self.of,
                tool_call_id=self.open_call,
                tool_name="search",
                status=ToolStatus.ERROR,
                duration_ms=1,
                error="It did not answer.",
            )
        else:
            close = self.status(AgentStatus.THINKING)
        if failing:
            return [close, self.status(AgentStatus.ERROR, error_type=ErrorType.TIMEOUT)]
        answer = agent_response(
            self.stamps.stamp(),
            self.of,
            message_id=self.message_id,
            text=self.text,
            model="scripted",
            duration_ms=1,
        )
        return [close, answer, self.status(AgentStatus.COMPLETED)]


def scripted_run(rng: Random, stamps: Stamps, *, run_id: str, session_id: str, events: int) -> list[Event]:
    """A whole run of exactly so many `events` (from 40 on): six steps, two at a time, of which one fails."""
    names = [f"step{number}" for number in range(6)]
    said: list[Event] = []
    done = 0

    def stands(status: RunStatus, sentence: str) -> None:
        event = run_status(
            stamps.stamp(),
            status,
            session_id=session_id,
            run_id=run_id,
            workflow="scripted",
            steps=names,
            done=done,
            content=sentence,
        )
        said.append(event)

    stands(RunStatus.QUEUED, "Your brief has been accepted.")
    stands(RunStatus.RUNNING, "Work has begun.")
    for pair in (names[0:2], names[2:4], names[4:6]):
        last = pair[-1] == names[-1]
        speakers = [
            Speaker(Attempt(agent_name=name.title(), session_id=session_id, run_id=run_id, step=name), stamps, rng)
            for name in pair
        ]
        for speaker in speakers:
            said += speaker.begin()
        # What the pair leaves: two ends of three (one of two in the middle pair) and a run_status for each.
        ends = 7 if pair[0] == names[2] else 8
        due = events - ends if last else events * (names.index(pair[-1]) + 1) // 6 - ends
        while len(said) < due:
            for speaker in speakers[: due - len(said)]:
                said.append(speaker.go_on())
        for speaker in speakers:
            said += speaker.end(failing=speaker.of.step == names[2])
            done += 1
            ended = speaker.of.step == names[-1]
            stands(RunStatus.COMPLETED if ended else RunStatus.RUNNING, f"{done} steps are done.")
    assert len(said) == events, len(said)
    return said


@attrs.frozen
class Go:
    """To a `Narrator`: say the next few."""


class Narrator(Actor):
    """Says a script into a user's log, a few events at a time.

    Attributes:
        durable: how many durable events of the script have been said.
        quiet: set while everything that was said is committed.
        finished: set when everything has been.
    """

    def __init__(self, users: Ref[Any], user: str, script: list[Event], at_once: int = 8) -> None:
        self._script = list(reversed(script))
        self._at_once = at_once
        self.durable = 0
        self.quiet = trio.Event()
        self.finished = trio.Event()
        self._producer = Producer(self, users, user, emptied=self._emptied, lost=lambda: None)

    async def started(self) -> None:
        self._producer.open(self._producer.push)

    async def receive(self, message: Any) -> object:
        match message:
            case Go():
                self._say()
            case Replied():
                message.tag(message)
            case Later(call):
                call()
            case Restarted():
                self._producer.heard(message)
        return None

    def _say(self) -> None:
        """The next few, until there is a durable one among them: of the others nobody says that they are out."""
        before = self.durable
        while self._script and self.durable == before:
            for _ in range(min(self._at_once, len(self._script))):
                event = self._script.pop()
                self.durable += event.durable
                self._producer.add(event)
            self._producer.push()

    def _emptied(self) -> None:
        self.quiet.set()
        if not self._script:
            self.finished.set()
            self.stop("everything is said")
