"""`/openapi.json`: OpenAPI 3.1 of what is served, generated from the routes themselves.

The framework would serve its document from a router of its own, with pages that load scripts from elsewhere and an
error page in another form than ours. So a second application, made of the same routes and thrown away again, writes the
document, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from litestar import Litestar, Response, get
from litestar.openapi import OpenAPIConfig

from understudy.http.polling import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import HTTPRouteHandler

_ABOUT: Final = (
    "Errors are objects with `code`, `message` and, where fields are wrong, `fields`. In development mode the header "
    "`X-User-Id` (default `dev`) names the user, and every user is operator."
)
_FAILURE: Final = {
    "description": "It is refused: by the status as by `code`",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}},
}
_ERROR_ENVELOPE: Final = {
    "description": "It is refused: an envelope of the type `error`, with the fitting status",
    "content": {"application/json": {"schema": {"type": "object"}}},
}


def describe(routes: Sequence[HTTPRouteHandler], version: str) -> bytes:
    """The OpenAPI document of these routes, as JSON. The routes are used up: they belong to one application."""
    config = OpenAPIConfig(title="Understudy", version=version, description=_ABOUT, path="/openapi")
    app = Litestar(list(routes), openapi_config=config, debug=False, pdb_on_exception=False, logging_config=None)
    document = app.openapi_schema.to_schema()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("400", None)  # of several refusals the one that the framework knows of
            operation["responses"]["default"] = _ERROR_ENVELOPE if path == COMMANDS else _FAILURE
    return msgspec.json.encode(document)


def route(document: bytes) -> HTTPRouteHandler:
    """The route that serves it."""

    @get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response[bytes]:
        return Response(document, media_type="application/json")

    return openapi
