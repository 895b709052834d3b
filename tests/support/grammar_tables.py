"""The tables of the event grammar: every type that a daemon sends, and what each of its fields may be.

Written out from PROTOCOL.md and not taken from the daemon's own tables, so that a slip in those shows.
"""

import re
from collections.abc import Callable
from typing import Any

Frame = dict[str, Any]
Test = Callable[[Any], bool]

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)


def text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def string(value: Any) -> bool:
    return isinstance(value, str)


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def positive(value: Any) -> bool:
    return whole(value) and value > 0


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def record(value: Any) -> bool:
    return isinstance(value, dict)


def texts(value: Any) -> bool:
    return isinstance(value, list) and all(text(item) for item in value)


def time(value: Any) -> bool:
    return isinstance(value, str) and TIME.fullmatch(value) is not None


def one_of(*allowed: str) -> Test:
    return lambda value: value in allowed


def members(**tests: Test) -> Test:
    return lambda value: isinstance(value, dict) and all(test(value.get(name)) for name, test in tests.items())


ERROR_CODES = one_of(
    *("bad_request", "unknown_type", "unauthorized", "forbidden", "not_found", "conflict", "already_running"),
    *("limit_reached", "rate_limited", "too_large", "invalid_fields", "expired", "unavailable", "internal"),
)
ERROR_TYPES = one_of(
    *("rate_limit", "timeout", "unreachable", "configuration", "content_policy", "truncated", "tool"),
    *("interrupted", "internal"),
)
AGENT_ENDS = {"completed", "cancelled", "error"}
AGENT_STATUSES = one_of(
    *("started", "thinking", "retrying", "executing_tool", "waiting_for_approval", "paused", "fallback"), *AGENT_ENDS
)
RUN_ENDS = {"completed", "failed", "cancelled"}
RUN_STATUSES = one_of("queued", "running", "waiting_for_approval", "paused", *RUN_ENDS)
CHANNELS = one_of("agent_status", "task_completion", "engine_status", "system_metrics", "system_alerts")
TASK_ENDS = {"completed", "failed"}
TASK_STATUSES = one_of("queued", "running", *TASK_ENDS)
LIMITS = members(
    **dict.fromkeys(
        (
            *("frame_bytes", "outbound_bytes", "commands_per_minute", "in_flight", "connections", "sessions", "runs"),
            *("log_events", "log_seconds"),
        ),
        whole,
    )
)
USAGE = members(prompt_tokens=whole, completion_tokens=whole, estimated=flag)
STEP = {"step": text, "attempt": positive, "parent?": text}
TOOL = {"tool_call_id": text, "tool_name": text, "truncated?": flag, **STEP}

# Of each type: whether it is durable, what its content must be, and its metadata; a name with ? may be left out.
TYPES: dict[str, tuple[bool, Test, dict[str, Test]]] = {
    "welcome": (
        False,
        string,
        {
            **dict.fromkeys(("reply_to", "connection_id", "client_id", "user_id", "role", "tier", "epoch"), text),
            "seq": whole,
            "resumed": flag,
            "replayed": whole,
            "heartbeat_interval": number,
            "limits": LIMITS,
            "features": record,
            "subscribed": texts,
            "server_time": time,
            "protocol": lambda value: value == 1,
            "expires_at?": time,
        },
    ),
    "reply": (False, string, {"reply_to": text}),
    "heartbeat": (False, string, {"reply_to": text, "server_time": time}),
    "error": (
        False,
        text,
        {"reply_to?": text, "code": ERROR_CODES, "retryable": flag, "retry_after?": number, "fields?": record},
    ),
    "system": (True, string, {"event": text, "level": one_of("info", "warning", "error"), "expires_at?": time}),
    "run_status": (
        True,
        string,
        {"status": RUN_STATUSES, "workflow": text, "steps": texts, "done": whole, "progress": number},
    ),
    "agent_status": (
        True,
        text,
        {
            "status": AGENT_STATUSES,
            **dict.fromkeys(("role?", "task?", "model?"), text),
            "error_type?": ERROR_TYPES,
            "retry_after?": number,
            "progress?": number,
            **STEP,
        },
    ),
    "agent_progress": (False, text, {"elapsed_ms": number, "tokens?": whole, **STEP}),
    "agent_delta": (False, string, {"message_id": text, "offset": whole, **STEP}),
    "agent_response": (
        True,
        string,
        {
            "message_id": text,
            "duration_ms": number,
            "degraded?": flag,
            "partial?": flag,
            "usage?": USAGE,
            **dict.fromkeys(("model?", "variant?", "artifact?"), text),
            **STEP,
        },
    ),
    "tool_executing": (True, string, {"tool_input": record, **TOOL}),
    "tool_completed": (
        True,
        string,
        {"status": one_of("success", "error", "timeout"), "duration_ms": number, "error?": text, **TOOL},
    ),
    "approval_request": (
        True,
        text,
        {
            **dict.fromkeys(("approval_id", "message_id?", "answer?", "digest?"), text),
            "expires_at?": time,
            "on_timeout?": one_of("approve", "reject"),
        },
    ),
    "approval_result": (
        True,
        string,
        {"approval_id": text, "decision": one_of("approve", "reject", "modify"), "by": text, "feedback?": text},
    ),
    "message": (True, text, {"message_id": text, "author": text}),
    "session_updated": (True, string, {"revision": whole}),
    "task_status": (
        True,
        text,
        {"task_id": text, "status": TASK_STATUSES, "agent?": text, "attempt?": positive, "error?": text},
    ),
    "task_assigned": (
        False,
        string,
        {"task_id": text, "attempt": positive, "task_type": text, "parameters": record, "deadline": time},
    ),
    "task_withdrawn": (False, text, {"task_id": text, "attempt": positive}),
    "typing": (False, string, {"user_id": text, "active": flag}),
    "presence": (False, string, {"user_id": text, "presence": one_of("online", "afk", "offline")}),
    "channel": (False, string, {"channel": CHANNELS, "payload": record}),
    "gap": (
        False,
        text,
        {"reason": one_of("epoch", "trimmed", "ahead"), "from_seq?": whole, "to_seq?": whole},
    ),
    "draining": (False, string, {"retry_after": number}),
}
APPROVALS = {"approval_request", "approval_result"}
ANSWERS = {"reply", "error", "heartbeat"}
NOT_HANDED = {"welcome", "reply", "heartbeat"}
BESIDE_REPLAY = ANSWERS | {"draining"}
OF_RUN = {"run_status", "agent_status", "agent_progress", "agent_delta", "agent_response", "tool_executing"}
OF_RUN |= {"tool_completed"}
FREE_ARRAYS = {"tool_input", "tool_output", "parameters", "result", "options"}
