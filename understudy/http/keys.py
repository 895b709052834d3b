"""`Idempotency-Key`: the id of the command that a request is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw

from actors.protocol.codes import ErrorCode
from actors.protocol.commands import ENVELOPE_ID_LENGTH
from actors.protocol.decode import whole_characters
from actors.protocol.nesting import deeper_than
from understudy.http.callers import header_text
from understudy.http.failures import RequestRefused

if TYPE_CHECKING:
    from litestar import Request

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])


def idempotency_key(request: Request[Any, Any, Any]) -> str | None:
    """The command's id, as the request names it; None if it names none.

    Raises:
        RequestRefused: invalid_fields. An id has the same bounds, whichever way it comes.
    """
    given = request.headers.get(IDEMPOTENCY_KEY)
    if not given:
        return None
    key = header_text(given)
    if key is None or len(key) > ENVELOPE_ID_LENGTH:
        raise _refused(f"an id of 1 to {ENVELOPE_ID_LENGTH} characters")
    return key


def with_key(envelope: str, key: str | None) -> str:
    """A command's envelope that comes with this key. One without an id has it as its id.

    Raises:
        RequestRefused: invalid_fields where the envelope has another id: nobody knows which a repeat would have.
    """
    if key is None or deeper_than(envelope):
        return envelope
    try:
        members = _MEMBERS.decode(whole_characters(envelope))
    except (msgspec.DecodeError, UnicodeError):
        return envelope  # what is wrong with it is said by whoever decodes it
    command_id = msgspec.json.encode(key)
    given = bytes(members.get("id", Raw(b"null")))
    if given == b"null":
        return msgspec.json.encode(members | {"id": Raw(command_id)}).decode()
    if _differs(given, key):
        raise _refused("the id of the command, where it has one")
    return envelope


def _differs(given: bytes, key: str) -> bool:
    try:
        return msgspec.json.decode(given, type=str) != key
    except msgspec.ValidationError:
        return False  # no id at all, which is said by whoever decodes it


def _refused(wanted: str) -> RequestRefused:
    return RequestRefused(ErrorCode.INVALID_FIELDS, fields={IDEMPOTENCY_KEY: f"{IDEMPOTENCY_KEY} must be {wanted}."})
