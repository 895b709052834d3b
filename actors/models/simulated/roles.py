"""What the simulated model writes in each role: templates, filled with words of the brief.

`{subject}` is the brief in a few words; `{a}` to `{e}` are words that matter in it; `{before}` is a sentence on the
answers before this one, or empty. `points` are sentences of which some are chosen and put into a list.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen
class Template:
    """Paragraphs around one list. `chosen` points of `points` go into it, numbered with `mark`."""

    opening: str
    heading: str
    mark: str
    points: tuple[str, ...]
    chosen: int
    closing: str


ROLES: Mapping[str, Template] = MappingProxyType(
    {
        "Analyst": Template(
            opening=(
                "## What is wanted\n\n{before}The brief asks for {subject}. At its heart are {a} and {b}; {c} is what "
                "people will judge it by. I read it as a product for people who know their own work well and have no "
                "patience for software that gets in the way of {a}.\n\n"
            ),
            heading="## Requirements\n\n",
            mark="R",
            points=(
                "A person can begin with {a} within a minute of the first visit, without reading anything.",
                "Everything about {b} is stored as soon as it is entered; nothing is lost when a connection breaks.",
                "Two people may work on the same {b} at once, and neither overwrites the other unseen.",
                "{c} is shown as it is now, and where it is old, the page says how old.",
                "A mistake in {d} can be undone for thirty days.",
                "Only the owner of a piece of {b} sees it, unless it has been shared by name.",
                "The most frequent page about {a} answers in under 200 ms with ten thousand entries.",
                "All of {d} can be exported in a format that other programs read.",
                "What concerns {e} works by keyboard alone, and with a screen reader.",
            ),
            chosen=6,
            closing=(
                "\n## Open questions\n\nHow many people use {a} at the same time in the busiest hour? Does {c} "
                "have to be "
                "kept for a legal period? Until somebody answers, I assume two hundred people and no such period. The "
                "greatest risk I see is {e}: it is named in the brief but nowhere bounded, so the first version should "
                "do the smallest thing there that is useful.\n"
            ),
        ),
        "Architect": Template(
            opening=(
                "## Shape\n\n{before}For {subject} I propose one service with a clear inside, not a fleet of "
                "small ones: "
                "the traffic that {a} brings does not pay for the network between them. {b} is a module with its own "
                "tables and a narrow interface, so that it can be taken out later, should it ever need to grow "
                "alone.\n\n"
            ),
            heading="## Decisions\n\n",
            mark="D",
            points=(
                "State of {a} lives in a relational database; every change is one transaction and one row of history.",
                "{b} is changed by commands that carry an id, so that a repeated command has one effect.",
                "What the browser shows of {c} comes over one stream of events with positions, resumed after a break.",
                "Slow work on {d} goes into a queue with bounded length; when it is full, the caller is told so.",
                "Permissions are checked where {b} is read, not where the request comes in.",
                "Everything outside our control around {e} has a deadline, a budget of retries and an understudy.",
                "Times are stored in UTC and shown in the reader's zone; {c} never depends on the server's.",
                "Each module of {a} reports how long it took and how often it failed, under stable names.",
            ),
            chosen=5,
            closing=(
                "\n## What I left out\n\nNo cache in front of {c}: it would be the first thing to be wrong. No "
                "separate "
                "search engine for {d}: the database's own index is enough up to some millions of rows. The interface "
                "between {a} and {e} is the one to get right now, because others will build on it.\n"
            ),
        ),
        "Developer": Template(
            opening=(
                "## Implementation\n\n{before}I built {subject} from the inside out: first the rules of {a} as plain "
                "functions, then storage, then the interface. The core fits on one page:\n\n"
                "```python\n@attrs.frozen\nclass {A}:\n    id: str\n    owner: str\n    revision: int\n    {b}: "
                "tuple[str, ...]\n\n\n"
                "def change_{b}(current: {A}, wanted: tuple[str, ...], revision: int) -> {A}:\n"
                "    if revision != current.revision:\n        raise Conflict(current)\n"
                "    return attrs.evolve(current, {b}=wanted, revision=revision + 1)\n```\n\n"
            ),
            heading="## Steps\n\n",
            mark="S",
            points=(
                "Write the types of {a} and {b}, with every invalid state made impossible to build.",
                "Store {a} with its revision; a stale one is answered with the newer state, not overwritten.",
                "Publish each change of {c} after its commit, never before.",
                "Put {d} behind a bounded queue with one worker, and measure how long entries wait.",
                "Check the owner of {b} in the query itself, so that no code path can forget it.",
                "Fail early when {e} is not configured, in one line that names the setting.",
                "Keep the handlers for {a} short: decide in a function, carry out in the handler.",
            ),
            chosen=5,
            closing=(
                "\nThe part about {e} is behind a flag that is off, until the open questions are answered. Nothing in "
                "{a} knows of HTTP; the adapter is forty lines. Start it with `make serve`, and put two entries of {b} "
                "in to see {c} move.\n"
            ),
        ),
        "Tester": Template(
            opening=(
                "## Strategy\n\n{before}I test {subject} where it can hurt: at the seams of {a} and {b}, and "
                "wherever two "
                "things happen at once. Rules are tested as functions with generated input, storage against a real "
                "database, and {c} from end to end through a browser.\n\n"
            ),
            heading="## Cases\n\n",
            mark="T",
            points=(
                "Two people change the same {b} in the same second: one wins, the other is shown the newer state.",
                "The process is killed between the commit of {a} and its event: it is sent once, after the restart.",
                "Somebody guesses the id of another's {b}: the answer is the same as for one that never was.",
                "The connection breaks in the middle of {c}: once it is back, nothing is missing or double.",
                "A thousand entries of {d} arrive at once: the queue fills, callers are told, memory stays flat.",
                "The provider behind {e} hangs: the deadline passes, the understudy answers, and the page says so.",
                "Names in {a} with quotes, emoji and right-to-left text come out exactly as they went in.",
                "The clock jumps by an hour while {c} is computed: no duration turns negative.",
            ),
            chosen=6,
            closing=(
                "\n## Result\n\nEach case was seen to fail with its rule taken out before it counted as passed. Not "
                "covered yet: {d} over a slow mobile network, and an upgrade with {b} in use. I would not "
                "release before "
                "the first of them has been tried.\n"
            ),
        ),
        "Deployer": Template(
            opening=(
                "## Rollout\n\n{before}{subject} goes out as one image, built once and promoted unchanged. The "
                "settings of "
                "{a} come from the environment and are printed, secrets masked, at start; a wrong one ends the program "
                "with a line that says what to do.\n\n"
            ),
            heading="## Runbook\n\n",
            mark="P",
            points=(
                "Back up the data of {b}, and restore the backup into an empty instance before anything else.",
                "Run the schema change for {a}: it only adds, so the old version goes on working beside the new one.",
                "Start one new instance, wait for `/ready`, then send it five percent of the traffic about {c}.",
                "Watch errors, latency and the depth of the queue of {d} for fifteen minutes.",
                "Go on to half, then to all; the old instances drain, and tell their clients when to come back.",
                "Turn on the flag for {e} for the team alone, and for everybody after a day without alerts.",
                "Keep the previous image for two weeks; going back is one command and loses no {b}.",
            ),
            chosen=6,
            closing=(
                "\n## Alerts\n\nPage somebody when {c} is older than five minutes, when more than one request in "
                "a hundred "
                "about {a} fails over ten minutes, or when the disk under {b} has a week left. Everything else "
                "can wait "
                "for the morning. Owner of the first week: whoever wrote {e}.\n"
            ),
        ),
    }
)

ASSISTANT = Template(
    opening="{before}You asked about {subject}. The words that carry it are {a}, {b} and {c}, so I begin there.\n\n",
    heading="",
    mark="",
    points=(
        "Begin with {a}: it is what everything else here depends on.",
        "{b} can follow as soon as {a} is settled, and not before.",
        "Decide early how you will know that {c} works; write the measure down.",
        "Keep {d} small in the first version, and say openly what it does not do.",
        "Ask those who will live with {e} before you build it.",
        "Look again at {a} after a week: by then you know what you had wrong.",
    ),
    chosen=4,
    closing="\nIf only one thing gets done today, let it be the first of these, because {b} and {c} follow from it.\n",
)
