"""Who a client is: the user of development mode, or a token, which may have to be renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@attrs.define(eq=False)
class Credentials:
    """`source` is a token, or gives one whenever it is asked; None where authentication is off."""

    user_id: str | None
    source: str | Callable[[], Awaitable[str]] | None
    _token: str | None = None

    @property
    def renewable(self) -> bool:
        """Whether there can be another token than the one that was refused."""
        return callable(self.source)

    async def token(self) -> str | None:
        """The token in force. Raises what the application's function raises."""
        if self._token is None:
            self._token = await self.source() if callable(self.source) else self.source
        return self._token

    def expire(self) -> None:
        """The daemon takes this token no more: get another the next time."""
        self._token = None

    async def headers(self) -> dict[bytes, bytes]:
        """The same over HTTP."""
        headers = {}
        if self.user_id is not None:
            headers[b"x-user-id"] = self.user_id.encode()
        token = await self.token()
        if token is not None:
            headers[b"authorization"] = b"Bearer " + token.encode()
        return headers
