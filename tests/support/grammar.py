"""The one checker of the event grammar: everything that one client received on one connection, in order.

    assert check(frames) == []

Runs whose beginning the log does not hold (a resume in the middle) are judged by what can be known of them:
whatever is missing *before* the first frame is forgiven, nothing else.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from tests.support.grammar_tables import (
    AGENT_ENDS,
    ANSWERS,
    APPROVALS,
    BESIDE_REPLAY,
    FREE_ARRAYS,
    NOT_HANDED,
    OF_RUN,
    RUN_ENDS,
    STEP,
    TYPES,
    Frame,
    Test,
    positive,
    record,
    text,
    time,
)
from tests.support.grammar_tasks import Tasks


@attrs.frozen
class Violation:
    """A broken rule; `index` is the frame's, or the number of frames for what is missing at the end."""

    index: int
    rule: str
    detail: str


@attrs.define
class Attempt:
    """What is known of one attempt at one step."""

    started: bool = False
    thought: bool = False
    ended: str = ""
    message_id: str = ""
    text: str = ""
    pieces: int = 0
    lost: bool = False
    answered: bool = False
    tools: dict[str, str] = attrs.field(factory=dict)
    open_tools: set[str] = attrs.field(factory=set)
    asks: str = ""
    decision: str = ""
    status: str = ""
    announced: bool = False
    announces: bool = False


@attrs.define
class Run:
    """What is known of one run; `from_start` is false where the log begins in its middle."""

    from_start: bool
    ended: bool = False
    steps: list[str] | None = None
    done: int = 0
    attempts: dict[tuple[str, int], Attempt] = attrs.field(factory=dict)


def check(
    frames: Sequence[Frame], *, connection: bool = True, ends_midrun: bool = False, lossy: bool = False
) -> list[Violation]:
    """Every rule that `frames` break, in order.

    `connection`: they are all that came over one connection, `welcome` first; else a piece of a log, durable events
    only. `ends_midrun`: what is still open at the end is no violation. `lossy`: something between was crashed on
    purpose, so that deltas may be missing; an answer must then only begin with what came.
    """
    checker = Checker(connection, lossy)
    for index, frame in enumerate(frames):
        checker.frame(index, frame)
    checker.end(len(frames), ends_midrun)
    return checker.violations


@attrs.define
class Checker:
    """The state of one check. Frames whose shape is broken are judged by their shape alone."""

    connection: bool
    lossy: bool
    handed: bool = False
    violations: list[Violation] = attrs.field(factory=list)
    index: int = 0
    welcomed: bool = False
    refused: bool = False
    resumed: bool = False
    replaying: int = 0
    next_seq: int | None = None
    from_start: bool = False
    ids: set[str] = attrs.field(factory=set)
    answered: set[str] = attrs.field(factory=set)
    causes: set[str] = attrs.field(factory=set)
    begun_here: set[str] = attrs.field(factory=set)
    runs: dict[str, Run] = attrs.field(factory=dict)
    tasks: Tasks = attrs.field(factory=Tasks)
    message_ids: dict[str, tuple[str, str, int]] = attrs.field(factory=dict)

    def report(self, rule: str, detail: str) -> None:
        self.violations.append(Violation(self.index, rule, detail))

    def frame(self, index: int, frame: Frame) -> None:
        self.index = index
        if not self.shape(frame):
            return
        kind, metadata = frame["type"], frame["metadata"]
        if frame["id"] in self.ids:
            self.report("id_repeated", frame["id"])
        self.ids.add(frame["id"])
        if self.connection:
            self.opening(kind, metadata)
        elif not TYPES[kind][0] and (not self.handed or kind in NOT_HANDED):
            self.report("ephemeral_in_log", kind)
        if TYPES[kind][0]:
            self.position(frame["seq"])
        if kind in ANSWERS | {"welcome"} and "reply_to" in metadata:
            if metadata["reply_to"] in self.answered:
                self.report("answered_twice", metadata["reply_to"])
            self.answered.add(metadata["reply_to"])
            if metadata["reply_to"] in self.causes:
                self.report("reply_late", "the reply came after an event that its command caused")
        if text(metadata.get("cause")):
            self.causes.add(metadata["cause"])
        if kind == "reply" and "session_id" in metadata and "status" not in metadata and text(metadata.get("run_id")):
            self.begun_here.add(metadata["run_id"])  # the answer to start_run
        if "run_id" in frame and kind not in BESIDE_REPLAY:
            self.of_run(frame, kind, metadata)
        if kind == "task_status":
            for rule, detail in self.tasks.see(metadata, self.from_start):
                self.report(rule, detail)

    def begin_afresh(self) -> None:
        """What follows came over another connection."""
        for attempt in (attempt for run in self.runs.values() for attempt in run.attempts.values()):
            attempt.text, attempt.pieces, attempt.lost = "", 0, False

    def end(self, index: int, ends_midrun: bool) -> None:
        self.index = index
        if self.connection and not self.welcomed and not self.refused:
            self.report("welcome_first", "no welcome came")
        if ends_midrun:
            return
        if self.replaying:
            self.report("replay", f"{self.replaying} events of the replay did not come")
        for run_id, run in self.runs.items():
            if not run.ended:
                self.report("run_unfinished", run_id)
            self.attempts_unfinished(run)
        for task_id in self.tasks.unfinished():
            self.report("task_unfinished", task_id)

    # Shape

    def shape(self, frame: Frame) -> bool:
        before = len(self.violations)
        for path in nulls(frame):
            self.report("null", path)
        kind = frame.get("type")
        if not isinstance(kind, str) or kind not in TYPES:
            self.report("unknown_type", repr(kind))
            return False
        durable, content, fields = TYPES[kind]
        envelope: dict[str, Test] = {
            "id": lambda value: text(value) and len(value) <= 64,
            "timestamp": time,
            "agent_name": text,
            "content": content,
            "metadata": record,
            ("session_id" if kind in OF_RUN | {"message"} else "session_id?"): text,
            ("run_id" if kind in OF_RUN else "run_id?"): text,
        }
        if durable and (frame.get("requires_ack") is not True or not positive(frame.get("seq"))):
            self.report("durable", f"{kind} lacks seq or requires_ack")
        if not durable and ("requires_ack" in frame or "seq" in frame):
            self.report("durable", f"{kind} is ephemeral but has seq or requires_ack")
        self.fields(frame, envelope)
        if record(frame.get("metadata")):
            of_step = STEP if kind.startswith("approval_") and "run_id" in frame else {}
            self.fields(frame["metadata"], {**fields, **of_step})
        return len(self.violations) == before

    def fields(self, values: Frame, tests: dict[str, Test]) -> None:
        for name, test in tests.items():
            name, optional = name.rstrip("?"), name.endswith("?")
            if name not in values:
                if not optional:
                    self.report("fields", f"{name} is missing")
            elif not test(values[name]):
                self.report("fields", f"{name} is {values[name]!r}")

    # Opening, Resume, Delivery

    def opening(self, kind: str, metadata: Frame) -> None:
        if self.refused:
            self.report("welcome_first", f"{kind} after the error that closes")
        elif not self.welcomed:
            if kind == "error":
                self.refused = True
            elif kind != "welcome":
                self.report("welcome_first", f"{kind} came first")
        elif kind == "welcome":
            self.report("welcome_once", "a second welcome")
        if kind == "gap" and (self.index != 1 or self.resumed):
            self.report("gap_place", "a gap comes right after a welcome that is not resumed")
        if self.replaying and not TYPES[kind][0] and kind not in BESIDE_REPLAY:
            self.report("replay", f"{kind} before the last replayed event")
        if kind == "welcome" and not self.welcomed:
            self.welcomed = True
            self.resumed = metadata["resumed"]
            self.replaying = metadata["replayed"]
            before = metadata["seq"] - metadata["replayed"]
            self.next_seq = before + 1
            self.from_start = before == 0
            if before < 0 or (self.replaying and not self.resumed):
                self.report("replay", "more is replayed than there is, or without being resumed")

    def position(self, seq: int) -> None:
        if self.next_seq is None:
            self.from_start = seq == 1
        elif seq != self.next_seq:
            self.report("seq", f"{seq} came, {self.next_seq} was due")
        self.next_seq = seq + 1
        self.replaying = max(0, self.replaying - 1)

    # Runs

    def of_run(self, frame: Frame, kind: str, metadata: Frame) -> None:
        run_id = frame["run_id"]
        run = self.runs.get(run_id)
        if run is None:
            queued = kind == "run_status" and metadata["status"] == "queued"
            run = self.runs[run_id] = Run(self.from_start or queued or run_id in self.begun_here)
        if run.ended:
            self.report("after_run_end", f"{kind} of {run_id}")
        if kind == "run_status":
            self.run_status(run, metadata)
        elif kind in OF_RUN | APPROVALS:
            self.of_attempt(run, (run_id, metadata["step"], metadata["attempt"]), kind, frame)

    def run_status(self, run: Run, metadata: Frame) -> None:
        steps, done = metadata["steps"], metadata["done"]
        if run.steps is not None and steps != run.steps:
            self.report("run_steps", "the steps changed")
        run.steps = steps
        ended = {step for (step, _), attempt in run.attempts.items() if attempt.ended and step in steps}
        if done > len(steps) or done < run.done or (run.from_start and done > len(ended)):
            self.report("run_done", f"done is {done}, was {run.done}, {len(ended)} of {len(steps)} steps ended")
        run.done = done
        if abs(metadata["progress"] - (100 * done / len(steps) if steps else 0)) >= 1:
            self.report("run_progress", f"progress is {metadata['progress']}, done {done} of {len(steps)}")
        if metadata["status"] in RUN_ENDS:
            if metadata["status"] == "completed" and done != len(steps):
                self.report("run_done", f"completed with {done} of {len(steps)} steps")
            self.attempts_unfinished(run)
            run.ended = True

    def attempts_unfinished(self, run: Run) -> None:
        for (step, number_), attempt in run.attempts.items():
            if not attempt.ended:
                self.report("attempt_unfinished", f"attempt {number_} at {step}")
                attempt.ended = "unfinished"

    # Attempts

    def of_attempt(self, run: Run, key: tuple[str, str, int], kind: str, frame: Frame) -> None:
        metadata = frame["metadata"]
        attempt = run.attempts.get(key[1:])
        begins = kind == "agent_status" and metadata["status"] == "started"
        if attempt is None:
            attempt = run.attempts[key[1:]] = Attempt(started=not run.from_start and not begins)
            self.attempt_order(run, key[1], key[2])
        if attempt.ended:
            self.report("attempt_after_end", f"{kind} of attempt {key[2]} at {key[1]}")
        elif begins and attempt.started:
            self.report("started_twice", f"attempt {key[2]} at {key[1]}")
        elif not begins and not attempt.started:
            self.report("not_started", f"{kind} of attempt {key[2]} at {key[1]}")
        if kind == "agent_status":
            self.agent_status(run, attempt, metadata["status"])
        elif kind == "agent_delta":
            self.message(attempt, key, metadata["message_id"])
            self.delta(attempt, metadata["offset"], frame["content"])
        elif kind == "agent_response":
            self.message(attempt, key, metadata["message_id"])
            self.response(attempt, frame)
        elif kind in APPROVALS:
            self.approval(run, attempt, kind, metadata)
        elif kind != "agent_progress":
            self.tool(run, attempt, kind, metadata)
        attempt.started = True

    def attempt_order(self, run: Run, step: str, number_: int) -> None:
        earlier = [(n, attempt) for (name, n), attempt in run.attempts.items() if name == step and n != number_]
        if any(not attempt.ended for _, attempt in earlier):
            self.report("attempt_order", f"attempt {number_} at {step} before the last one ended")
        last = max((n for n, _ in earlier), default=0)
        if number_ != last + 1 and (run.from_start or earlier):
            self.report("attempt_order", f"attempt {number_} at {step} after {last}")

    def agent_status(self, run: Run, attempt: Attempt, status: str) -> None:
        attempt.thought |= status == "thinking"
        if attempt.announced:
            self.report("tool_status", f"{status} where a tool was to be executed")
        attempt.status, attempt.announced = status, status == "executing_tool"
        attempt.announces |= attempt.announced
        if status not in AGENT_ENDS or attempt.ended:
            return
        attempt.ended = status
        if attempt.open_tools:
            self.report("tool_unfinished", ", ".join(sorted(attempt.open_tools)))
        if status == "completed" and run.from_start and not attempt.thought:
            self.report("no_thinking", "completed without thinking")
        if status == "completed" and run.from_start and not attempt.answered:
            self.report("response_missing", "completed without an agent_response")
        if status != "completed" and attempt.answered:
            self.report("response_on_failure", f"{status} after an agent_response")

    def approval(self, run: Run, attempt: Attempt, kind: str, metadata: Frame) -> None:
        """A decision is asked for once an attempt, and taken once; an answer that is not released never comes."""
        if ("expires_at" in metadata) != ("on_timeout" in metadata):
            self.report("fields", "expires_at and on_timeout come together or not at all")
        if kind == "approval_request":
            if attempt.asks:
                self.report("approval_pair", f"{metadata['approval_id']} is asked for behind {attempt.asks}")
            attempt.asks = metadata["approval_id"]
            return
        if attempt.decision or (attempt.asks != metadata["approval_id"] and (run.from_start or attempt.asks)):
            self.report("approval_pair", f"{metadata['approval_id']} is decided, {attempt.asks or 'nothing'} was asked")
        attempt.decision = metadata["decision"]

    def message(self, attempt: Attempt, key: tuple[str, str, int], message_id: str) -> None:
        if attempt.message_id not in {"", message_id} or self.message_ids.get(message_id, key) != key:
            self.report("message_id", f"{message_id} is not the one of this attempt")
        attempt.message_id = message_id
        self.message_ids[message_id] = key

    def delta(self, attempt: Attempt, offset: int, content: str) -> None:
        if attempt.answered:
            self.report("delta_late", "a delta after the agent_response")
        attempt.pieces += 1
        if offset > len(attempt.text):
            attempt.lost = True
            if not self.lossy:
                self.report("delta_gap", f"offset {offset}, {len(attempt.text)} code points so far")
            return
        attempt.text = attempt.text[:offset] + content
        attempt.lost = attempt.lost and offset > 0

    def response(self, attempt: Attempt, frame: Frame) -> None:
        metadata = frame["metadata"]
        if attempt.answered:
            self.report("response_twice", attempt.message_id)
        if attempt.asks and attempt.decision != "approve":
            self.report("not_released", attempt.message_id)
        attempt.answered = True
        if attempt.status == "executing_tool":
            self.report("tool_status", "an answer while the agent is said to use a tool")
        if "model" not in metadata and metadata.get("degraded") is not True:
            self.report("fields", "model is missing of an answer that is not degraded")
        whole_text = frame["content"]
        true = whole_text.startswith(attempt.text) if self.lossy else whole_text == attempt.text
        if attempt.pieces and not attempt.lost and not true:
            self.report("response_text", f"{len(whole_text)} code points, the deltas made {len(attempt.text)}")

    def tool(self, run: Run, attempt: Attempt, kind: str, metadata: Frame) -> None:
        call, name = metadata["tool_call_id"], metadata["tool_name"]
        if kind == "tool_executing":
            if call in attempt.tools:
                self.report("tool_pair", f"{call} is executed twice")
            if attempt.announces and not attempt.announced:
                self.report("tool_status", f"{call} is executed, and the agent is said to be {attempt.status}")
            attempt.announced = False
            attempt.open_tools.add(call)
        else:
            known = call in attempt.tools
            if (call not in attempt.open_tools and (run.from_start or known)) or attempt.tools.get(call, name) != name:
                self.report("tool_pair", f"{call} is completed without being executed")
            attempt.open_tools.discard(call)
        attempt.tools[call] = name


def nulls(value: Any, path: str = "$", *, free: bool = False) -> Iterator[str]:
    """Where there is a null. An item of an array that a tool or a client made (`free`) may be one."""
    if isinstance(value, dict):
        for name, item in value.items():
            if item is None:
                yield f"{path}.{name}"
            yield from nulls(item, f"{path}.{name}", free=free or name in FREE_ARRAYS)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            if item is None and not free:
                yield f"{path}[{place}]"
            yield from nulls(item, f"{path}[{place}]", free=free)
