"""The console's files. They are read once, when the application is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Response, get

from understudy.console import CONTENT_SECURITY_POLICY, Asset, assets
from understudy.http.media import without_charset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import HTTPRouteHandler


def routes() -> Sequence[HTTPRouteHandler]:
    """One route a file."""
    return [_serve(asset) for asset in assets()]


def _serve(asset: Asset) -> HTTPRouteHandler:
    headers = {
        "content-security-policy": CONTENT_SECURITY_POLICY,
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }

    @get(asset.path, include_in_schema=False)
    async def page() -> Response[bytes]:
        return Response(asset.content, media_type=without_charset(asset.media_type), headers=headers)

    return page
