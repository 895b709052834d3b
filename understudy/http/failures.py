"""Every error in one form: `{"code", "message", "fields"?}` with the fitting status.

A person reads the message, so it is never a library's: no stack trace, no class name, no path of a file. What really
happened goes to the log.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import attrs
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException
from msgspec import UNSET, UnsetType

from actors.protocol.codes import ERRORS, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from litestar.types import ExceptionHandler
    from structlog.typing import FilteringBoundLogger


class RequestRefused(Exception):
    """A request that cannot be carried out, for a reason that its sender is told.

    Args:
        code: gives the status and, where there is no `message`, the sentence.
        message: a sentence for a person.
        fields: a sentence for each wrong field.
        retry_after: seconds, for the header, which knows whole ones only.
        details: what else a program wants to know, such as the `run_id` of what is already running.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str | None = None,
        *,
        fields: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code, message, fields)
        self.code = code
        self.message = message or ERRORS[code].sentence
        self.fields = dict(fields or {})
        self.retry_after = retry_after
        self.details = dict(details or {})


@attrs.frozen(slots=False)
class Failure:
    """The body of every answer that is an error."""

    code: str
    message: str
    fields: dict[str, str] | UnsetType = UNSET


#: What the web framework itself refuses. 405 and its like have no code of their own in the protocol.
_BY_STATUS: Final = {
    401: ErrorCode.UNAUTHORIZED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    409: ErrorCode.CONFLICT,
    410: ErrorCode.EXPIRED,
    413: ErrorCode.TOO_LARGE,
    422: ErrorCode.INVALID_FIELDS,
    429: ErrorCode.RATE_LIMITED,
    503: ErrorCode.UNAVAILABLE,
}
_SENTENCES: Final = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "This is too large. Please send less.",
}
_UNREADABLE: Final = "This request could not be read. Please check it and send it again."


def retry_header(seconds: float) -> dict[str, str]:
    """Rounded up, and never "at once", as where an upgrade is refused."""
    return {"retry-after": str(max(1, math.ceil(seconds)))}


def failure_of_status(status: int) -> tuple[int, Failure]:
    """The answer to something that the framework refused with `status`."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _BY_STATUS:
        code = ErrorCode.INTERNAL
        return ERRORS[code].status, Failure(code, ERRORS[code].sentence)
    known = _BY_STATUS.get(status, ErrorCode.BAD_REQUEST)
    sentence = ERRORS[known].sentence if status in _BY_STATUS else _UNREADABLE
    return status, Failure(known, _SENTENCES.get(status, sentence))


def exception_handlers(log: FilteringBoundLogger) -> dict[int | type[Exception], ExceptionHandler[Any]]:
    """For the framework: what becomes of an exception that a route lets out."""

    def refused(_request: Request[Any, Any, Any], error: RequestRefused) -> Response[Any]:
        return answer_to(error)

    def by_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
        status, body = failure_of_status(error.status_code)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            tell(request, error)
        return _answer(status, body, dict(error.headers or {}))

    def unforeseen(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        tell(request, error)
        return _answer(*failure_of_status(HTTPStatus.INTERNAL_SERVER_ERROR))

    def tell(request: Request[Any, Any, Any], error: Exception) -> None:
        log.error("request failed", method=request.method, path=request.url.path, exc_info=error)

    handlers: dict[int | type[Exception], Callable[..., Response[Any]]]
    handlers = {RequestRefused: refused, HTTPException: by_framework, Exception: unforeseen}
    return handlers


def answer_to(error: RequestRefused) -> Response[Any]:
    """What its sender is told."""
    headers = {} if error.retry_after is None else retry_header(error.retry_after)
    body: Any = Failure(error.code, error.message, error.fields or UNSET)
    if error.details:
        said = {"code": error.code, "message": error.message} | ({"fields": error.fields} if error.fields else {})
        body = said | error.details
    return _answer(ERRORS[error.code].status, body, headers)


def _answer(status: int, body: Any, headers: dict[str, str] | None = None) -> Response[Any]:
    return Response(body, status_code=status, media_type=MediaType.JSON, headers=headers)
