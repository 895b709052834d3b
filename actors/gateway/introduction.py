"""What a client says of itself in `hello`, for whoever watches the daemon. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET

if TYPE_CHECKING:
    from actors.protocol.commands import Hello


def introduced(hello: Hello | None) -> dict[str, Any]:
    """The client's platform and version, how often it tried to come back, for how many milliseconds it was away, and
    the close code that it saw: each only if it was said. Nothing before `hello`.
    """
    if hello is None:
        return {}
    said: dict[str, Any] = {}
    if hello.client is not UNSET:
        said |= {"platform": hello.client.platform, "version": hello.client.version}
    if hello.reconnect is not UNSET:
        back = hello.reconnect
        said |= {"attempts": back.attempts, "down_ms": back.down_ms, "last_code": back.last_code}
    return {name: value for name, value in said.items() if value is not UNSET}
