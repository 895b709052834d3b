"""The files that runs leave behind: listed, and downloaded. Only whose run it is may have them.

What a model wrote is never shown as a page of this origin: it is text or bytes, to be saved, and browsers are told not
to guess otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from litestar import Request, Response, get
from litestar.params import FromPath, FromQuery

from actors.artifacts.names import BadName
from actors.artifacts.store import ArtifactMissing, conflicts
from actors.protocol.codes import ErrorCode
from actors.protocol.timestamp import format_timestamp
from actors.storage.journal import GetState
from actors.users.keys import RUNS, run_key
from runtime import ActorError
from understudy.http.failures import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from litestar.handlers import HTTPRouteHandler

    from actors.artifacts.store import Artifacts
    from understudy.http.sources import Sources

READ_WITHIN: Final = 10.0
LONGEST_RUN_ID: Final = 64
TEXT: Final = "text/plain"
"""The framework adds that it is UTF-8."""
BYTES: Final = "application/octet-stream"


@attrs.frozen(slots=False)
class ArtifactShown:
    """A file of a run. `checksum` is its SHA-256, in hex; `conflict`: another step has one of the same name."""

    name: str
    step: str
    size: int
    written: str
    checksum: str
    conflict: bool


def routes(sources: Sources) -> Sequence[HTTPRouteHandler]:
    """The routes of this module."""

    async def files(request: Request[Any, Any, Any], run_id: str) -> tuple[str, Artifacts]:
        """The caller's id, and the files, once it is sure that the run is theirs. Another's is as none at all."""
        user = sources.identify(request.headers).user_id
        if len(run_id) > LONGEST_RUN_ID:
            raise RequestRefused(ErrorCode.NOT_FOUND)
        try:
            stored = await sources.system.ref("/storage").ask(GetState(RUNS, run_key(user, run_id)), READ_WITHIN)
        except ActorError:
            raise RequestRefused(ErrorCode.UNAVAILABLE, retry_after=1) from None
        if stored is None or sources.artifacts is None:
            raise RequestRefused(ErrorCode.NOT_FOUND)
        return user, sources.artifacts

    async def from_disk(function: Callable[..., Any], *args: Any) -> Any:
        try:
            return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True)
        except (BadName, ArtifactMissing):
            raise RequestRefused(ErrorCode.NOT_FOUND) from None
        except OSError as error:
            sources.log.error("artifact not read", why=error.strerror)  # noqa: TRY400 - a disk's trouble has no use for a trace
            raise RequestRefused(ErrorCode.UNAVAILABLE, retry_after=1) from None

    @get("/api/runs/{run_id:str}/artifacts", summary="The files of a run", operation_id="artifacts", tags=["runs"])
    async def listing(request: Request[Any, Any, Any], run_id: FromPath[str]) -> list[ArtifactShown]:
        user, artifacts = await files(request, run_id)
        found = await from_disk(lambda: artifacts.listing(user, run_id, checksums=True))
        twice = conflicts(found)
        return [
            ArtifactShown(
                each.name, each.step, each.size, format_timestamp(each.written), each.checksum, each.name in twice
            )
            for each in found
        ]

    @get(
        "/api/runs/{run_id:str}/artifacts/{name:str}",
        summary="One file of a run; of several steps' with one name, the step's that is named",
        operation_id="artifact",
        tags=["runs"],
    )
    async def download(
        request: Request[Any, Any, Any], run_id: FromPath[str], name: FromPath[str], step: FromQuery[str | None] = None
    ) -> Response[bytes]:
        user, artifacts = await files(request, run_id)
        writers = [each.step for each in await from_disk(artifacts.listing, user, run_id) if each.name == name]
        if step is None and len(writers) > 1:
            raise RequestRefused(
                ErrorCode.CONFLICT,
                "Several steps have a file of this name. Please say which one's you want.",
                fields={"step": f"This must be one of {', '.join(writers)}."},
            )
        wanted = [writer for writer in writers if step in {None, writer}]
        content = await from_disk(artifacts.read, user, run_id, wanted, name)
        return Response(
            content,
            media_type=_kind(content),
            headers={"content-disposition": f'attachment; filename="{name}"', "content-security-policy": "sandbox"},
        )

    return [listing, download]


def _kind(content: bytes) -> str:
    """Text where it is text, whatever its name says."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return BYTES
    return BYTES if "\0" in text else TEXT
