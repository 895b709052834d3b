"""A run as a client sees it: a pure fold over its events, `apply(view, event) -> view`.

The same rules serve a live stream, a replay, and a state that was loaded whole (`load`) with later events on top. The
text of a step is that of its latest attempt; deltas are ephemeral, so the fold has to be right however many of them are
missing, joined or repeated (PROTOCOL.md, "Deltas").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from understudy.client.envelope import Event

RUN_ENDED: Final = frozenset({"completed", "failed", "cancelled"})
STEP_ENDED: Final = frozenset({"completed", "cancelled", "error"})


@attrs.frozen(kw_only=True)
class StepView:
    """One step, at its latest attempt. `settled` says that `text` is the whole answer, as the daemon gave it."""

    name: str
    attempt: int = 1
    agent_name: str = ""
    parent: str | None = None
    status: str = "started"
    sentence: str = ""
    model: str | None = None
    error_type: str | None = None
    retry_after: float | None = None
    message_id: str | None = None
    text: str = ""
    settled: bool = False
    degraded: bool = False
    partial: bool = False
    artifact: str | None = None
    duration_ms: float | None = None
    elapsed_ms: float | None = None
    tokens: int | None = None
    tool: str | None = None

    @property
    def ended(self) -> bool:
        return self.status in STEP_ENDED


@attrs.frozen(kw_only=True)
class RunView:
    """A run. `plan` names its steps; `steps` are those that have begun, in that order.

    `progress` (0 to 100) is the daemon's. `as_of` is the `seq` of the last durable event in this view.
    """

    run_id: str
    status: str = "queued"
    workflow: str = ""
    plan: tuple[str, ...] = ()
    done: int = 0
    progress: float = 0.0
    steps: tuple[StepView, ...] = ()
    as_of: int = 0

    @property
    def ended(self) -> bool:
        return self.status in RUN_ENDED

    @property
    def simulated(self) -> bool:
        """Whether any answer comes from the simulated model."""
        return any(step.model == "simulated" for step in self.steps)

    def step(self, name: str) -> StepView | None:
        return next((step for step in self.steps if step.name == name), None)


def apply_delta(text: str, offset: int, piece: str) -> str:
    """`text` with `piece` put at `offset` (code points), replacing what stood from there on.

    A piece beyond the end is passed over: what is missing comes with an offset of 0 or with the whole answer.
    """
    return text if offset > len(text) else text[:offset] + piece


def apply(view: RunView, event: Event) -> RunView:
    """`view` after `event`. Other runs' events, unknown types and what it holds already change nothing."""
    if event.run_id != view.run_id:
        return view
    if event.seq is not None:
        if event.seq <= view.as_of:
            return view
        view = attrs.evolve(view, as_of=event.seq)
    if event.type == "run_status":
        return _with_run(view, event.metadata)
    name, attempt = event.metadata.get("step"), event.metadata.get("attempt", 1)
    if not isinstance(name, str) or not isinstance(attempt, int):
        return view
    before = view.step(name)
    if before is not None and attempt < before.attempt:
        return view
    after = before if before is not None and before.attempt == attempt else StepView(name=name, attempt=attempt)
    if event.agent_name:
        after = attrs.evolve(after, agent_name=event.agent_name)
    if isinstance(parent := event.metadata.get("parent"), str):
        after = attrs.evolve(after, parent=parent)
    return _with_step(view, _changed(after, event))


def load(view: RunView, run: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], seq: int) -> RunView:
    """`view` brought up to what `get_run` answered, `seq` being the log's top then.

    `run` is the metadata of the last `run_status`, `steps` those of each last `agent_status`. Texts that are known
    stay. Events up to `seq` that arrive later change nothing.
    """
    if seq < view.as_of:
        return view
    view = attrs.evolve(_with_run(view, run), as_of=seq)
    for metadata in steps:
        name, attempt = metadata.get("step"), metadata.get("attempt", 1)
        if isinstance(name, str) and isinstance(attempt, int):
            known = view.step(name)
            if known is None or known.attempt != attempt:
                known = StepView(name=name, attempt=attempt)
            view = _with_step(view, _status(known, metadata, known.sentence))
    return view


def _with_run(view: RunView, metadata: Mapping[str, Any]) -> RunView:
    plan = metadata.get("steps")
    return attrs.evolve(
        view,
        status=metadata.get("status", view.status),
        workflow=metadata.get("workflow", view.workflow),
        plan=tuple(plan) if isinstance(plan, list) else view.plan,
        done=metadata.get("done", view.done),
        progress=metadata.get("progress", view.progress),
    )


def _with_step(view: RunView, changed: StepView) -> RunView:
    if view.step(changed.name) is None:
        return attrs.evolve(view, steps=(*view.steps, changed))
    return attrs.evolve(view, steps=tuple(changed if step.name == changed.name else step for step in view.steps))


def _changed(step: StepView, event: Event) -> StepView:
    metadata = event.metadata
    match event.type:
        case "agent_status":
            return _status(step, metadata, event.content)
        case "agent_progress":
            return attrs.evolve(
                step, elapsed_ms=metadata.get("elapsed_ms", step.elapsed_ms), tokens=metadata.get("tokens", step.tokens)
            )
        case "agent_delta":
            return _delta(step, metadata, event.content)
        case "agent_response":
            return _response(step, metadata, event.content)
        case "tool_executing":
            return attrs.evolve(step, tool=metadata.get("tool_name"))
        case "tool_completed":
            return attrs.evolve(step, tool=None)
        case _:
            return step


def _status(step: StepView, metadata: Mapping[str, Any], sentence: str) -> StepView:
    return attrs.evolve(
        step,
        status=metadata.get("status", step.status),
        sentence=sentence,
        model=metadata.get("model", step.model),
        error_type=metadata.get("error_type"),
        retry_after=metadata.get("retry_after"),
    )


def _delta(step: StepView, metadata: Mapping[str, Any], piece: str) -> StepView:
    offset, message_id = metadata.get("offset"), metadata.get("message_id")
    if step.settled or not isinstance(offset, int) or offset < 0:
        return step
    text = step.text if message_id == step.message_id else ""
    return attrs.evolve(step, message_id=message_id, text=apply_delta(text, offset, piece))


def _response(step: StepView, metadata: Mapping[str, Any], text: str) -> StepView:
    usage = metadata.get("usage")
    return attrs.evolve(
        step,
        message_id=metadata.get("message_id", step.message_id),
        text=text,
        settled=True,
        model=metadata.get("model", step.model),
        degraded=metadata.get("degraded") is True,
        partial=metadata.get("partial") is True,
        artifact=metadata.get("artifact"),
        duration_ms=metadata.get("duration_ms"),
        tokens=usage.get("completion_tokens", step.tokens) if isinstance(usage, dict) else step.tokens,
    )
