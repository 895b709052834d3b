"""Isolation broken on purpose, in one place at a time, for a block: the proof has to find each."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import attrs

from actors.agents import step as agent_step
from actors.agents.prompts import assemble
from actors.agents.tool_context import tool_context
from actors.artifacts import store
from actors.artifacts.names import folder_of, folder_of_run
from actors.coordination import reading, task
from actors.coordination.board import Place
from actors.engines import recall
from actors.gateway import subscriptions
from actors.gateway.outbound import Out
from actors.operations.channels import Topic
from actors.storage.attending import ReadPage
from actors.storage.journal import FindReply
from actors.storage.memory import ForgetMemories, SearchMemory
from actors.users import devices
from actors.users.devices import Devices
from actors.users.keys import RUNS
from actors.users.live import LiveTexts
from actors.users.messages import Deliver
from actors.users.producer import Producer
from actors.users.reading import ReadRun
from actors.users.run_commands import RunCommands
from tests.support.said import delivery
from tests.support.stored_users import users_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY: Final = 1000


@contextmanager
def _instead(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for owner, name, new in changes:
            stack.enter_context(patch.object(owner, name, new))
        yield


def _before(first: list[Any], now: Any) -> Any:
    """What was given last time."""
    found = first[-1] if first else now
    first.append(now)
    return found


def memory_without_user() -> Any:
    def run(self: SearchMemory, storage: Any) -> Any:
        each = [search(attrs.evolve(self, user=user), storage) for user in users_of(storage)]
        found = tuple(match for matches in each for match in matches.found)
        return attrs.evolve(search(self, storage), found=found)

    search = SearchMemory.run
    return _instead((SearchMemory, "run", run))


def forgetting_without_user() -> Any:
    def run(self: ForgetMemories, storage: Any) -> int:
        return sum(storage.forget_memories(user, self.memory_ids) for user in users_of(storage))

    return _instead((ForgetMemories, "run", run))


def answers_of_the_memory_by_the_question_alone() -> Any:
    known: dict[str, Any] = {}

    async def search(self: Any, execute: Any, order: Any) -> Any:
        found = await recalled(self, execute, order)
        return known.setdefault(order.query, found) if found.result["memories"] else found

    recalled = recall.PerfectRecall._recall
    return _instead((recall.PerfectRecall, "_recall", search))


def ids_of_memories_by_the_key_alone() -> Any:
    id_of = recall.id_of
    return _instead((recall, "id_of", lambda _, key: id_of("", key)))


def files_without_user() -> Any:
    return _instead(
        (store, "folder_of", lambda root, _, run_id, step: folder_of(root, "", run_id, step)),
        (store, "folder_of_run", lambda root, _, run_id: folder_of_run(root, "", run_id)),
    )


def runs_by_their_id_alone() -> Any:
    def run(self: ReadRun, storage: Any) -> Any:
        run_id = self.key.rpartition("/")[2]
        rows = storage.list_state(RUNS, limit=MANY)
        return next((kept for key, kept in rows if key.endswith(run_id)), None), storage.top(self.user)

    return _instead((ReadRun, "run", run))


def tasks_of_everybody() -> Any:
    return _instead((reading, "tasks_of", lambda _: ""))


def replies_by_the_command_alone() -> Any:
    def run(self: FindReply, storage: Any) -> Any:
        kept = (storage.find_reply(user, self.command_id) for user in users_of(storage))
        return next((reply for reply in kept if reply is not None), None)

    return _instead((FindReply, "run", run))


def channels_for_everybody() -> Any:
    """What is subscribed to says not whose; the connection still looks at each that comes."""
    return _instead((subscriptions, "topic_of", lambda channel, *_: Topic(channel, None)))


def channels_for_everybody_and_nobody_looks() -> Any:
    everybody = (subscriptions, "topic_of", lambda channel, *_: Topic(channel, None))
    return _instead(everybody, (subscriptions, "may_hear", lambda *_: True))


def events_to_the_next_user() -> Any:
    """As they are; the connection still looks at each that comes."""
    return _misdelivered(lambda deliver, _: deliver)


def events_to_the_next_user_and_nobody_looks() -> Any:
    return _misdelivered(lambda deliver, owner: attrs.evolve(deliver, owner=owner))


def _misdelivered(change: Callable[[Deliver, str], Deliver]) -> Any:
    contexts: dict[str, Any] = {}

    def delivered(self: Any, frame: bytes, seq: int | None, event: Any = None) -> None:
        context = self._context
        contexts[context.user] = context
        deliver(self, frame, seq, event)
        for user, other in contexts.items():
            if user != context.user and event is not None:
                wrong = change(delivery(context.user, Out(frame, event=event), incarnation=other.incarnation), user)
                for device in other.devices.all():
                    if device.connection is not None:
                        device.connection.tell(wrong)

    deliver = Devices.deliver
    return _instead((Devices, "deliver", delivered))


def text_so_far_of_everybody() -> Any:
    shared = LiveTexts()
    return _instead((devices, "LiveTexts", lambda: shared))


def polls_without_user() -> Any:
    def run(self: ReadPage, storage: Any) -> Any:
        pages = [page(attrs.evolve(self, user=user), storage) for user in users_of(storage)]
        return attrs.evolve(page(self, storage), events=max(pages, key=lambda page: len(page.events)).events)

    page = ReadPage.run
    return _instead((ReadPage, "run", run))


def results_of_tasks_to_whoever_came_first() -> Any:
    users: list[str] = []

    def produce(actor: Any, contexts: Any, user: str, **more: Any) -> Producer:
        users.append(user)
        return Producer(actor, contexts, users[0], **more)

    return _instead((task, "Producer", produce))


def conversation_of_the_step_before() -> Any:
    before: list[Any] = []

    def assembled(*args: Any, **more: Any) -> Any:
        messages = assemble(*args, **more)
        return [*messages, *(_before(before, messages)[1:])]

    return _instead((agent_step, "assemble", assembled))


def tools_with_the_user_before() -> Any:
    users: list[str] = []

    def context(*args: Any) -> Any:
        made = tool_context(*args)
        return attrs.evolve(made, user=_before(users, made.user))

    return _instead((agent_step, "tool_context", context))


def workers_for_everybody() -> Any:
    def may(self: Place, claim: Any) -> bool:
        return may_claim(attrs.evolve(self, owner=None), claim)

    may_claim = Place.may
    return _instead((Place, "may", may))


def approvals_by_their_id_alone() -> Any:
    return _instead((RunCommands, "active", lambda *_: True))


_ALL: Final = (
    memory_without_user,
    forgetting_without_user,
    answers_of_the_memory_by_the_question_alone,
    ids_of_memories_by_the_key_alone,
    files_without_user,
    runs_by_their_id_alone,
    tasks_of_everybody,
    replies_by_the_command_alone,
    channels_for_everybody,
    channels_for_everybody_and_nobody_looks,
    events_to_the_next_user,
    events_to_the_next_user_and_nobody_looks,
    text_so_far_of_everybody,
    polls_without_user,
    results_of_tasks_to_whoever_came_first,
    conversation_of_the_step_before,
    tools_with_the_user_before,
    workers_for_everybody,
    approvals_by_their_id_alone,
)
LEAKS: Final[dict[str, Callable[[], Any]]] = {leak.__name__.replace("_", " "): leak for leak in _ALL}
"""By what each of them is."""
