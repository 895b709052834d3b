"""Close codes, error codes and the sentences that go with them, as data."""

from collections.abc import Mapping
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final

import attrs


class Reconnect(Enum):
    """What a client does after a close."""

    NEVER = "no"
    WITH_BACKOFF = "with backoff"
    WITH_LONG_BACKOFF = "with backoff up to 60 s"
    AT_ONCE = "at once"
    AFTER_RETRY_AFTER = "after retry_after"
    WITH_NEW_TOKEN = "with a new token"  # noqa: S105 - a column of a table, not a password


@attrs.frozen
class Close:
    """One row of the table of close codes. `why` is the reason put into the Close frame (at most 123 bytes)."""

    code: int
    why: str
    reconnect: Reconnect
    resume: bool


NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
INVALID_TEXT: Final = 1007
FRAME_TOO_LARGE: Final = 1009
CONNECTION_FAILED: Final = 1011
DRAINING: Final = 1012
OVER_CAPACITY: Final = 1013
BAD_FRAMES: Final = 4400
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
NO_HELLO: Final = 4408
REPLACED: Final = 4409
SILENT: Final = 4410
SEQ_MISSING: Final = 4411
TOO_SLOW: Final = 4413
TOKEN_EXPIRED: Final = 4419
RATE_IGNORED: Final = 4429

_ROWS: Final = (
    Close(PROTOCOL_ERROR, "broken WebSocket", Reconnect.NEVER, resume=False),
    Close(UNSUPPORTED_DATA, "only text messages are understood", Reconnect.NEVER, resume=False),
    Close(INVALID_TEXT, "not UTF-8", Reconnect.NEVER, resume=False),
    Close(FRAME_TOO_LARGE, "frame too large", Reconnect.NEVER, resume=True),
    Close(CONNECTION_FAILED, "this connection failed, please come back", Reconnect.WITH_BACKOFF, resume=True),
    Close(DRAINING, "the daemon is going down for a moment", Reconnect.AFTER_RETRY_AFTER, resume=True),
    Close(OVER_CAPACITY, "too many connections", Reconnect.WITH_LONG_BACKOFF, resume=True),
    Close(BAD_FRAMES, "no valid hello first, or too many bad frames", Reconnect.NEVER, resume=False),
    Close(UNAUTHORIZED, "token missing, bad or revoked", Reconnect.NEVER, resume=False),
    Close(FORBIDDEN, "forbidden", Reconnect.NEVER, resume=False),
    Close(NO_HELLO, "no hello in time", Reconnect.WITH_BACKOFF, resume=True),
    Close(REPLACED, "replaced by a newer connection of this client", Reconnect.NEVER, resume=False),
    Close(SILENT, "three silent intervals", Reconnect.WITH_BACKOFF, resume=True),
    Close(SEQ_MISSING, "a seq was missing", Reconnect.AT_ONCE, resume=True),
    Close(TOO_SLOW, "too slow", Reconnect.AT_ONCE, resume=True),
    Close(TOKEN_EXPIRED, "token expired", Reconnect.WITH_NEW_TOKEN, resume=True),
    Close(RATE_IGNORED, "went on after rate_limited", Reconnect.WITH_BACKOFF, resume=True),
)
CLOSES: Final[Mapping[int, Close]] = MappingProxyType({row.code: row for row in _ROWS})


def close(code: int | None, *, by_client: bool = False) -> Close:
    """The row of `code`, also where the table lists it as "any other".

    None is a connection that ended without a Close frame. `by_client`: the client sent the code; only then do 1000 and
    1001 mean that the person left.
    """
    if by_client and code in {NORMAL, GOING_AWAY}:
        return Close(code or NORMAL, "the person left", Reconnect.NEVER, resume=True)
    if code is not None and code in CLOSES:
        return CLOSES[code]
    return Close(1006 if code is None else code, "the connection was lost", Reconnect.WITH_BACKOFF, resume=True)


class ErrorCode(StrEnum):
    """Every value of `error.metadata.code`."""

    BAD_REQUEST = "bad_request"
    UNKNOWN_TYPE = "unknown_type"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    ALREADY_RUNNING = "already_running"
    LIMIT_REACHED = "limit_reached"
    RATE_LIMITED = "rate_limited"
    TOO_LARGE = "too_large"
    INVALID_FIELDS = "invalid_fields"
    EXPIRED = "expired"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


@attrs.frozen
class ErrorTraits:
    """What goes with an error code: HTTP status, whether the same command may be sent again, what a person is told."""

    status: int
    retryable: bool
    sentence: str


_TRAITS: Final = {
    ErrorCode.BAD_REQUEST: ErrorTraits(400, False, "This message could not be read. Please send it again."),
    ErrorCode.UNKNOWN_TYPE: ErrorTraits(400, False, "This server does not know that command."),
    ErrorCode.UNAUTHORIZED: ErrorTraits(401, False, "Please sign in again."),
    ErrorCode.FORBIDDEN: ErrorTraits(403, False, "You may look at this, but not do that. Ask its owner for access."),
    ErrorCode.NOT_FOUND: ErrorTraits(404, False, "This was not found. It may have been removed."),
    ErrorCode.CONFLICT: ErrorTraits(409, False, "This was changed meanwhile. Please look at it again and decide anew."),
    ErrorCode.ALREADY_RUNNING: ErrorTraits(
        409, False, "Work is already going on here. Wait for it to end, or cancel it."
    ),
    ErrorCode.LIMIT_REACHED: ErrorTraits(429, False, "Your limit is reached. Finish or close something first."),
    ErrorCode.RATE_LIMITED: ErrorTraits(429, True, "That was a lot at once. Please wait a moment and try again."),
    ErrorCode.TOO_LARGE: ErrorTraits(413, False, "This is too large. Please send less."),
    ErrorCode.INVALID_FIELDS: ErrorTraits(422, False, "Some of what was sent needs a correction."),
    ErrorCode.EXPIRED: ErrorTraits(410, False, "The time for this has passed."),
    ErrorCode.UNAVAILABLE: ErrorTraits(503, True, "This is not available right now. Please try again later."),
    ErrorCode.INTERNAL: ErrorTraits(500, True, "Something went wrong on our side. Please try again."),
}
ERRORS: Final[Mapping[ErrorCode, ErrorTraits]] = MappingProxyType(_TRAITS)
NOT_YET: Final = "This version of the daemon does not offer that yet."
"""With `unavailable`: the protocol promises it, so it is neither unknown nor not found; another version has it."""


class ErrorType(StrEnum):
    """Every value of `agent_status.metadata.error_type`: why an agent failed."""

    RATE_LIMIT = "rate_limit"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    CONFIGURATION = "configuration"
    CONTENT_POLICY = "content_policy"
    TRUNCATED = "truncated"
    TOOL = "tool"
    INTERRUPTED = "interrupted"
    INTERNAL = "internal"
