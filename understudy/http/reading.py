"""What a request brings, read as strictly as a command: every field that is wrong gets its sentence.

The framework stops at the first wrong field, words it with the names of types, and fails where a text is no UTF-8 or
nests too deeply. So the body is read here before the framework turns it into its class, and what the framework finds
wrong with the address is put into our words. What each field wants stands beside it, in its annotation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, get_args

import attrs
import msgspec
from litestar import Request, Response
from litestar.params import Parameter, ParameterKwarg
from msgspec import Raw

from actors.protocol.codes import ErrorCode
from actors.protocol.decode import read_members, whole_characters
from actors.protocol.nesting import DEEPEST, deeper_than
from actors.protocol.wire_values import without_nulls
from understudy.http.failures import RequestRefused, answer_to

if TYPE_CHECKING:
    from litestar.exceptions import ValidationException
    from litestar.handlers import BaseRouteHandler

NO_OBJECT: Final = "The body of this request must be a JSON object."
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Raw])

Active: TypeAlias = Annotated[bool | None, Parameter(description="true or false")]
Cursor: TypeAlias = Annotated[
    str | None, Parameter(min_length=1, max_length=1_000, description="the next_cursor of the page before")
]
PageSize: TypeAlias = Annotated[int, Parameter(ge=1, le=100, description="a whole number from 1 to 100")]
Id: TypeAlias = Annotated[
    str | None, Parameter(min_length=1, max_length=200, description="a text of 1 to 200 characters")
]


class StrictRequest(Request[Any, Any, Any]):
    """A request whose body is an object with the fields that its route wants. A null reads as left out."""

    async def json(self) -> dict[str, Any]:
        """The body's fields that the route knows.

        Raises:
            RequestRefused: bad_request where the body is no object, invalid_fields where one of its fields is wrong.
        """
        try:
            text = (await self.body()).decode()
        except UnicodeDecodeError:
            raise RequestRefused(ErrorCode.BAD_REQUEST, "This request is not UTF-8.") from None
        if deeper_than(text):
            raise RequestRefused(ErrorCode.BAD_REQUEST, f"This request is nested deeper than {DEEPEST} levels.")
        try:
            members = _MEMBERS.decode(whole_characters(text))
        except msgspec.ValidationError:
            raise RequestRefused(ErrorCode.BAD_REQUEST, NO_OBJECT) from None
        except msgspec.DecodeError:
            raise RequestRefused(ErrorCode.BAD_REQUEST, "This request is not valid JSON.") from None
        shape = _shape(self.route_handler)
        _, wrong = read_members(shape, members)
        if wrong:
            raise RequestRefused(ErrorCode.INVALID_FIELDS, fields=wrong)
        known = {field.name for field in attrs.fields(shape)}
        return {
            name: without_nulls(msgspec.json.decode(raw))
            for name, raw in members.items()
            if name in known and bytes(raw) != b"null"
        }


def _shape(handler: BaseRouteHandler) -> Any:
    """The class of the body that a route takes."""
    annotation = handler.parsed_fn_signature.parameters["data"].annotation
    [shape] = [kind for kind in get_args(annotation) or (annotation,) if attrs.has(kind)]
    return attrs.resolve_types(shape)


def misread(request: Request[Any, Any, Any], error: ValidationException) -> Response[Any]:
    """For the framework: what it has refused, in our words."""
    wanted = {
        name: parameter.kwarg_definition.description
        for name, parameter in request.route_handler.parsed_fn_signature.parameters.items()
        if isinstance(parameter.kwarg_definition, ParameterKwarg) and parameter.kwarg_definition.description
    }
    problems = error.extra if isinstance(error.extra, list) else []
    fields = {
        name: f"{name} must be {wanted[name]}."
        for name in (problem.get("key") for problem in problems)
        if name in wanted
    }
    if fields:
        return answer_to(RequestRefused(ErrorCode.INVALID_FIELDS, fields=fields))
    return answer_to(RequestRefused(ErrorCode.BAD_REQUEST, NO_OBJECT))
