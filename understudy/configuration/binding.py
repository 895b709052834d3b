"""Where the daemon may listen.

Until there is authentication, whoever reaches the port may name themselves any user. So only this machine may reach it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from understudy.configuration.kinds import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ALLOWED = (
    "allowed until authentication exists: 127.0.0.1, ::1 or localhost, because whoever reaches the port can act as any "
    "user; to reach the daemon from elsewhere, use an SSH tunnel or a proxy that authenticates"
)


def addresses(host: str) -> list[str]:
    """The addresses that the system gives for a name. Raises OSError where there are none."""
    return sorted({str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})


def refusal(host: str, resolve: Callable[[str], Iterable[str]] = addresses) -> str | None:
    """Why the daemon must not listen at `host`, or None where it may.

    Addresses are judged by themselves. Of names only `localhost` is looked up, and must lead to loopback addresses
    alone: what another name leads to can change between this check and the bind.
    """
    if is_loopback(host):
        return None
    if host.lower() == "localhost":
        try:
            found = list(resolve(host))
        except (OSError, UnicodeError):
            return f"is a name that this machine cannot resolve; {ALLOWED}"
        if found and all(is_loopback(address) for address in found):
            return None
        return f"leads to {', '.join(found) or 'nothing'} on this machine, not to loopback addresses alone; {ALLOWED}"
    return f"is not an address of this machine alone; {ALLOWED}"
