"""From a text frame to a command, or to the one exception that says what is wrong with it.

Two ways through: the quick one decodes envelope and metadata straight into their classes. Only when it fails, or when a
null may be about, is the frame taken apart field by field, so that *every* wrong field gets its sentence and null reads
as left out.
"""

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, get_args, get_origin

import attrs
import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from actors.protocol.codes import ERRORS, ErrorCode
from actors.protocol.commands import BODIES, CONTENT_BOUNDS, ENVELOPE_ID_LENGTH, KNOWN, Body
from actors.protocol.nesting import DEEPEST, deeper_than
from actors.protocol.wire_values import without_nulls


class Rejected(Exception):
    """A frame that is no command.

    `code` is bad_request, unknown_type or invalid_fields; `message` a sentence for a person; `reply_to` the command's
    id where one could be read; `fields` a sentence for each wrong field, of invalid_fields only.
    """

    def __init__(
        self, code: ErrorCode, message: str, reply_to: str | None = None, fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code, message, reply_to, fields)
        self.code = code
        self.message = message
        self.reply_to = reply_to
        self.fields = dict(fields or {})

    @property
    def counts(self) -> bool:
        """Whether it is one of the bad frames of which the tenth within a minute closes the connection."""
        return self.code is not ErrorCode.INVALID_FIELDS


@attrs.frozen
class Command:
    """A command as it came in.

    `content` is trimmed. `body` is None for a type that is known but has no class yet. `raw_metadata` is the metadata's
    JSON as sent, `{}` where it was left out.
    """

    id: str
    type: str
    content: str
    session_id: str | None
    body: Body | None
    raw_metadata: bytes


@attrs.frozen
class _Envelope:
    id: str
    type: str
    content: str = ""
    session_id: str | UnsetType = UNSET
    metadata: Raw | UnsetType = UNSET


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])
_BODY_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Body]]] = MappingProxyType(
    {name: msgspec.json.Decoder(kind) for name, kind in BODIES.items()}
)
#: An escape; the group: one that is half of a character, without the other half.
_ESCAPE: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)
_SESSION_ID: Final = "session_id must be an id of 1 to 64 characters."


def decode(frame: str) -> Command:
    """The command in `frame`. Raises Rejected and nothing else; never RecursionError, however deep the frame nests."""
    if deeper_than(frame):
        raise Rejected(ErrorCode.BAD_REQUEST, f"This message is nested deeper than {DEEPEST} levels.")
    try:
        envelope, problems = _envelope(frame)
    except (msgspec.DecodeError, UnicodeError):
        try:
            envelope, problems = _envelope(whole_characters(frame))
        except (msgspec.DecodeError, UnicodeError):
            raise Rejected(ErrorCode.BAD_REQUEST, "This message is not valid JSON.") from None
    if not 1 <= len(envelope.id) <= ENVELOPE_ID_LENGTH:
        raise Rejected(ErrorCode.BAD_REQUEST, f"A message needs an id of 1 to {ENVELOPE_ID_LENGTH} characters.")
    if envelope.type not in KNOWN:
        raise Rejected(ErrorCode.UNKNOWN_TYPE, ERRORS[ErrorCode.UNKNOWN_TYPE].sentence, envelope.id)
    return _command(envelope, problems)


def digest(command: Command) -> bytes:
    """What two commands of the same id are compared by: type, content, session and metadata.

    Order of fields, white space and nulls in the metadata make no difference.
    """
    try:
        metadata = without_nulls(msgspec.json.decode(command.raw_metadata))
    except msgspec.ValidationError:  # a number out of range in a field that nobody reads: the bytes themselves then
        metadata = command.raw_metadata.decode()
    parts = [command.type, command.content, command.session_id, metadata]
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).digest()


def _envelope(frame: str) -> tuple[_Envelope, dict[str, str]]:
    """The envelope, and a sentence for each member of it that is of the wrong kind."""
    try:
        return _ENVELOPE.decode(frame), {}
    except msgspec.ValidationError:
        return _read_envelope(frame)


def whole_characters(frame: str) -> str:
    """The frame with U+FFFD for each half of a character.

    JSON has a word for such a half, and a browser writes it where a text was cut within an emoji; UTF-8 has none.
    """
    return _ESCAPE.sub(lambda found: found[0] if found[1] is None else "\\ufffd", frame)


def _read_envelope(frame: str) -> tuple[_Envelope, dict[str, str]]:
    """The envelope taken apart member by member, with a sentence for each member of the wrong kind but id and type."""
    try:
        members = {name: raw for name, raw in _MEMBERS.decode(frame).items() if bytes(raw) != b"null"}
    except msgspec.ValidationError:
        raise Rejected(ErrorCode.BAD_REQUEST, "A message must be a JSON object.") from None
    problems = {}
    command_id = _text(members.get("id"))
    command_type = _text(members.get("type"))
    if command_id is None or not 1 <= len(command_id) <= ENVELOPE_ID_LENGTH:
        raise Rejected(ErrorCode.BAD_REQUEST, f"A message needs an id of 1 to {ENVELOPE_ID_LENGTH} characters.")
    if command_type is None:
        raise Rejected(ErrorCode.BAD_REQUEST, "A message needs a type.", command_id)
    content = session_id = None
    if "content" in members and (content := _text(members["content"])) is None:
        problems["content"] = "content must be a text."
    if "session_id" in members and (session_id := _text(members["session_id"])) is None:
        problems["session_id"] = _SESSION_ID
    envelope = _Envelope(
        id=command_id,
        type=command_type,
        content=content or "",
        session_id=UNSET if session_id is None else session_id,
        metadata=members.get("metadata", UNSET),
    )
    return envelope, problems


def _text(raw: Raw | None) -> str | None:
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.ValidationError:
        return None


def _command(envelope: _Envelope, problems: dict[str, str]) -> Command:
    content = envelope.content.strip()
    session_id = None if envelope.session_id is UNSET else envelope.session_id
    if session_id is not None and not 1 <= len(session_id) <= ENVELOPE_ID_LENGTH:
        problems["session_id"] = _SESSION_ID
    bounds = CONTENT_BOUNDS.get(envelope.type)
    if bounds is not None and "content" not in problems and not bounds.shortest <= len(content) <= bounds.longest:
        problems["content"] = f"{bounds.called} needs {bounds.shortest:,} to {bounds.longest:,} characters."
    raw = b"{}" if envelope.metadata is UNSET else bytes(envelope.metadata)
    if raw == b"null":
        raw = b"{}"
    body = _body(envelope.type, raw, problems)
    if problems:
        message = ERRORS[ErrorCode.INVALID_FIELDS].sentence
        raise Rejected(ErrorCode.INVALID_FIELDS, message, envelope.id, problems)
    return Command(envelope.id, envelope.type, content, session_id, body, raw)


def _body(command_type: str, raw: bytes, problems: dict[str, str]) -> Body | None:
    """The typed metadata; None for a type without a class, or after adding to `problems`."""
    decoder = _BODY_DECODERS.get(command_type)
    if decoder is not None and b"null" not in raw:
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError:
            pass  # which fields are wrong, and how, is found below
    try:
        members = _MEMBERS.decode(raw)
    except msgspec.ValidationError:
        problems["metadata"] = "metadata must be an object."
        return None
    if decoder is None:
        return None
    values, wrong = read_members(BODIES[command_type], members)
    problems.update(wrong)
    return None if wrong else BODIES[command_type](**values)


def read_members(shape: Any, members: Mapping[str, Raw]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of the fields that the attrs class `shape` has, and a sentence for each that is wrong.

    A null reads as left out; what `shape` does not know is passed over. The annotation of each field has a description.
    """
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for field in attrs.fields(shape):
        given = bytes(members.get(field.name, Raw(b"null")))
        try:
            if given != b"null":
                values[field.name] = msgspec.convert(without_nulls(msgspec.json.decode(given)), field.type)
            elif field.default is attrs.NOTHING:
                wrong[field.name] = f"Please give {field.name}: {_wanted(field.type)}."
        except msgspec.ValidationError:
            wrong[field.name] = f"{field.name} must be {_wanted(field.type)}."
    return values, wrong


def _wanted(kind: Any) -> str:
    """What a field's type asks for, in words: the description nearest to the outside."""
    options = (kind,) if get_origin(kind) is Annotated else get_args(kind)
    for option in options:
        for note in get_args(option)[1:]:
            if isinstance(note, Meta) and note.description:
                return note.description
    raise TypeError(f"a field's type has no description: {kind}")
