"""Who may be a worker: one with a connection, also where the context has just restarted and does not know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors.protocol.codes import ErrorCode
from actors.users.messages import Handle, Locate
from runtime import Refused
from tests.support.tasks_system import tasks_system
from tests.support.users_system import command, virtual

if TYPE_CHECKING:
    from typing import Any

REGISTER = {"type": "register_agent", "metadata": {"name": "Digger", "capabilities": ["dig"]}}
UNREGISTER = {"type": "unregister_agent", "metadata": {"agent_id": "Digger"}}


@pytest.mark.parametrize("order", [REGISTER, UNREGISTER], ids=["register", "unregister"])
@pytest.mark.parametrize(
    ("client_id", "code", "again"),
    [("", ErrorCode.BAD_REQUEST, False), ("laptop", ErrorCode.UNAVAILABLE, True)],
    ids=["over HTTP", "before its connection is back"],
)
def test_a_worker_without_a_connection(
    monkeypatch: pytest.MonkeyPatch, order: dict[str, Any], client_id: str, code: ErrorCode, again: bool
) -> None:
    async def main() -> None:
        async with tasks_system(monkeypatch) as here:
            context = await here.base.users.ask(Locate("ada"), 60)
            with pytest.raises(Refused) as refused:
                await context.ask(Handle(command(order), client_id, 0.0, "user"), 60)
            assert refused.value.reason.code is code
            assert (refused.value.reason.retry_after is not None) is again

    virtual(main)
