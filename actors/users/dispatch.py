"""Which part of a user's context carries out which command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.protocol.codes import ErrorCode
from actors.protocol.commands import (
    CANCEL_RUN,
    DECIDE,
    GET_RUN,
    LIST_RUNS,
    PAUSE_RUN,
    REGISTER_AGENT,
    RESUME_RUN,
    SET_MODE,
    START_RUN,
    SUBMIT_TASK,
    TASK_UPDATE,
    UNREGISTER_AGENT,
)
from actors.users.messages import CommandError
from runtime import Refused

if TYPE_CHECKING:
    from actors.protocol.decode import Command
    from actors.users.context import UserContext


def carry_out(context: UserContext, command: Command, client_id: str, role: str) -> object:
    """The answer to the command in hand, of this client in this role; None where it comes later."""
    match command.type:
        case type_ if type_ == START_RUN:
            return context.commands.start(command)
        case type_ if type_ in {CANCEL_RUN, PAUSE_RUN, RESUME_RUN}:
            return context.commands.steer(command)
        case type_ if type_ == DECIDE:
            return context.decisions.decide(command)
        case type_ if type_ == SET_MODE:
            return context.modes.set(command)
        case type_ if type_ == GET_RUN:
            return context.commands.get(command)
        case type_ if type_ == LIST_RUNS:
            return context.commands.list(command)
        case type_ if type_ == SUBMIT_TASK:
            return context.tasks.submit(command)
        case type_ if type_ == TASK_UPDATE:
            return context.tasks.update(command, client_id)
        case type_ if type_ in {REGISTER_AGENT, UNREGISTER_AGENT}:
            return context.tasks.attend(command, client_id, role)
        case _:
            return Refused(CommandError(ErrorCode.UNAVAILABLE))
