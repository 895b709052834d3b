"""Who asks. Until authentication is on, the header `X-User-Id` says so, and every user is operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from actors.protocol.codes import ErrorCode
from actors.protocol.commands import DEFAULT_USER
from understudy.http.failures import RequestRefused

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers.base import BaseRouteHandler

Role: TypeAlias = Literal["user", "operator"]
USER_HEADER: Final = "x-user-id"
LONGEST_USER_ID: Final = 200  # as `hello` has it


@attrs.frozen
class Caller:
    """The user in whose name a request comes."""

    user_id: str
    role: Role


def in_development(headers: Mapping[str, str]) -> Caller:
    """The policy of development mode. The id may be any text of 1 to 200 characters; `dev` if there is none.

    Raises:
        RequestRefused: invalid_fields.
    """
    user_id = header_text(headers.get(USER_HEADER, DEFAULT_USER)) or ""
    if not 1 <= len(user_id) <= LONGEST_USER_ID:
        raise RequestRefused(
            ErrorCode.INVALID_FIELDS,
            fields={"X-User-Id": f"X-User-Id must be a text of 1 to {LONGEST_USER_ID} characters."},
        )
    return Caller(user_id, "operator")


def header_text(value: str) -> str | None:
    """What stands in a header: its value comes as Latin-1, and people write UTF-8. None if it is no text."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return None


def operators_only(identify: Callable[[Mapping[str, str]], Caller]) -> Callable[..., None]:
    """A guard for routes that only operators may use."""

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        if identify(connection.headers).role != "operator":
            raise RequestRefused(ErrorCode.FORBIDDEN, "Only an operator may do that.")

    return guard
