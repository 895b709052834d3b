"""`/api/supervisors`: the tree of actors as it is now.

Twenty thousand actors are five megabytes and most of a second's work, so it is done in turns, from the first actor that
is looked at to the last byte: others have theirs in between. What comes of that is a picture of a short while and not
of one moment: each actor is shown as it was when it was come to, whole and true of itself, and one that has started or
ended meanwhile may be missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio
from litestar import MediaType, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from msgspec.json import Encoder

from actors.protocol.codes import ErrorCode
from understudy.http.callers import operators_only
from understudy.http.failures import Failure, RequestRefused
from understudy.http.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from litestar.handlers import HTTPRouteHandler

    from runtime import Node

NODES_A_STEP: Final = 256
"""Nodes shown between two checkpoints."""
LONGEST_ERROR: Final = 200
END: Final = b"]}"
"""How a node ends, whose children come last."""
COMMA: Final = b","
NO_NEW_ROOT: Final = "Nothing is above the root that could start it anew. Drain the daemon, and start it again."


@attrs.frozen(slots=False)
class Mailbox:
    """Messages that wait, how many may (in the mailbox's own unit), and the most that ever did."""

    depth: int
    capacity: int
    peak: int


@attrs.frozen(slots=False)
class Handling:
    """The type of the message in hand, and for how long it has been."""

    message: str
    age_ms: float


@attrs.frozen(slots=False)
class Counters:
    """What became of the messages."""

    handled: int
    failed: int
    expired: int
    dropped: int
    undelivered: int


@attrs.frozen(slots=False)
class Restarts:
    """Restarts in all, those that count now, how many may, and in how many seconds."""

    total: int
    used: int
    limit: int
    period: float


@attrs.frozen(slots=False)
class TreeNode:
    """One actor. `active` is the target in charge, of a fallback only."""

    path: str
    kind: str
    state: str
    mailbox: Mailbox
    counters: Counters
    handling: Handling | UnsetType = UNSET
    restarts: Restarts | UnsetType = UNSET
    active: str | UnsetType = UNSET
    last_error: str | UnsetType = UNSET
    children: list[TreeNode] = attrs.field(factory=list)


@attrs.frozen(slots=False)
class Done:
    """What was ordered."""

    path: str
    order: str


class RestartOrdered(Exception):
    """An operator wants this actor to start anew: it ends with this, and its supervisor does the rest."""


def show(node: Node, scrub: Callable[[str], str]) -> TreeNode:
    """A node as PROTOCOL.md has it, without its children."""
    mailbox, counters, handling, restarts = node.mailbox, node.counters, node.handling, node.restarts
    return TreeNode(
        path=node.path,
        kind=node.kind,
        state=node.state,
        mailbox=Mailbox(mailbox.depth, mailbox.capacity, mailbox.peak),
        counters=Counters(counters.handled, counters.failed, counters.expired, counters.dropped, counters.undelivered),
        handling=UNSET if handling is None else Handling(handling.message, round(handling.age_ms, 3)),
        restarts=UNSET
        if restarts is None
        else Restarts(restarts.total, restarts.used, restarts.limit, restarts.period),
        active=_active(node),
        last_error=UNSET if node.last_error is None else _shortened(scrub(node.last_error)),
    )


def _active(node: Node) -> str | UnsetType:
    active = node.details.get("active")
    return active if isinstance(active, str) and "targets" in node.details else UNSET


def _shortened(text: str) -> str:
    """The first line, and not too much of it: the whole is in the log."""
    return next(iter(text.splitlines()), "")[:LONGEST_ERROR]


async def show_tree(tree: Node, scrub: Callable[[str], str]) -> bytes:
    """The whole tree as JSON. Others get their turn while it is put into words.

    Cancellation: nothing has happened.
    """
    encode = Encoder().encode
    pieces: list[bytes] = []
    pending: list[Node | bytes] = [tree]
    shown = 0
    while pending:
        part = pending.pop()
        if isinstance(part, bytes):
            pieces.append(part)
            continue
        pieces.append(encode(show(part, scrub)).removesuffix(END))
        pending.append(END)
        for place, child in enumerate(reversed(part.children), 1):
            pending.append(child)
            if place < len(part.children):
                pending.append(COMMA)
        shown += 1
        if shown % NODES_A_STEP == 0:
            await trio.lowlevel.checkpoint()
    return b"".join(pieces)


def routes(sources: Sources) -> Sequence[HTTPRouteHandler]:
    """The routes of this module."""

    @get(
        "/api/supervisors",
        guards=[operators_only(sources.identify)],
        summary="The live tree of supervisors and actors",
        description="A picture of a short while: each actor as it was when it was come to, whole and true of itself. "
        "One that has started or ended meanwhile may be missing.",
        operation_id="supervisors",
        tags=["operations"],
        responses={
            200: ResponseSpec(TreeNode, description="The root, with all that are beneath it", generate_examples=False),
            403: ResponseSpec(Failure, description="The caller is no operator", generate_examples=False),
        },
    )
    async def supervisors() -> Response[bytes]:
        shown = await show_tree(await sources.system.tree_in_turns(), sources.scrub)
        return Response(shown, media_type=MediaType.JSON)

    @post(
        "/api/supervisors/{order:path}",
        status_code=200,
        guards=[operators_only(sources.identify)],
        summary="Restart, suspend or resume the actor at a path: PATH/restart, PATH/suspend, PATH/resume",
        operation_id="order_actor",
        tags=["operations"],
    )
    async def order(order: FromPath[str]) -> Done:
        path, _, verb = order.rpartition("/")
        system = sources.system
        verbs: dict[str, Callable[[str], bool]] = {
            "restart": lambda path: system.fail(path, RestartOrdered("an operator ordered a restart")),
            "suspend": system.suspend,
            "resume": system.resume,
        }
        if verb not in verbs:
            raise RequestRefused(ErrorCode.BAD_REQUEST, f"An actor can be told: {', '.join(verbs)}.")
        if verb == "restart" and not path.strip("/"):
            raise RequestRefused(ErrorCode.CONFLICT, NO_NEW_ROOT)
        if not verbs[verb](path or "/"):
            raise RequestRefused(ErrorCode.NOT_FOUND, "No actor runs at this path.")
        sources.log.warning("an operator gave an order", path=path or "/", order=verb)
        return Done(path or "/", verb)

    return [supervisors, order]
