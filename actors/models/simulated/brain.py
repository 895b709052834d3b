"""What the simulated model says: text that fits the role, built from the words of the request.

The same seed and the same messages give the same text, to the letter.
"""

from __future__ import annotations

import hashlib
import random
import re
from typing import TYPE_CHECKING

import attrs

from actors.models.simulated.roles import ASSISTANT, ROLES
from actors.models.simulated.verdicts import verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTICE = "\n*Simulated answer: no language model was asked. Configure one for real answers.*\n"

_WORD = re.compile(r"[^\W\d_]{3,}")
_POINT = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+(\S.{18,178})$", re.MULTILINE)
_MARKED = re.compile(r"\*\*([A-Z]?)\d*\.?\*\*\s*")
_SPEAKERS = {template.mark: name for name, template in ROLES.items()}
_ROLE = re.compile(r"\b(" + "|".join(ROLES) + r")\b", re.IGNORECASE)
_FENCED = re.compile(
    r"^\[(?P<mark>\w+) [^\n]*\bbegins\]\n(?P<material>.*?)^\[(?P=mark) [^\n]*\bends\]$", re.MULTILINE | re.DOTALL
)
_LABEL = re.compile(r"^[#*\s]*(?:the\s+)?(?:project\s+)?brief\b[*\s]*:?[*\s]*", re.IGNORECASE)
_SCAN = 20_000  # characters of the request that are looked at; more changes nothing in the answer
_SPARE = ("service", "entries", "overview", "history", "access")
_COMMON_WORDS = """
the and for with that this from have has had are was were will would should could can may must not but you
your our their its his her they them what when where which who how why all any each every some more most other
than then there here into onto over under about after before between also only very just make made want wants
wanted need needs needed please build create write use uses used using add new one two three lets let able
like project brief system app application small simple good best way get gets give gives given without within
per via out answer analyst architect developer tester deployer answers earlier previous team step role task
"""
_COMMON = frozenset(_COMMON_WORDS.split())


@attrs.frozen
class Prompt:
    """A message as far as the brain reads it."""

    role: str
    text: str


@attrs.frozen
class Brain:
    """Writes the answers. `seed` varies them from server to server; `longest` cuts them, in tokens."""

    seed: int = 0
    longest: int | None = None

    def answer(self, messages: Sequence[Prompt]) -> str:
        """The whole text, several hundred tokens of it, ending in a line that says it is simulated; less if cut."""
        said = "\n".join(message.text for message in messages if message.role != "system")[:_SCAN]
        instructions = "\n".join(message.text for message in messages if message.role == "system")[:_SCAN]
        judged = verdict(instructions, said)
        if judged is not None:
            return judged + NOTICE
        role = _role(instructions)
        brief = _unfenced(next((message.text for message in messages if message.role == "user"), said))
        rng = random.Random(f"{self.seed}:{prompt_digest(messages)}")
        template = ASSISTANT if role is None else ROLES[role]
        words = _key_words(brief)
        fill = {name: words[position] for position, name in enumerate("abcde")}
        fill["A"] = fill["a"].capitalize()
        fill["subject"] = _subject(brief)
        fill["before"] = _before(role, said, brief, rng)
        chosen = sorted(rng.sample(range(len(template.points)), template.chosen))
        points = "".join(
            f"- **{template.mark}{number}.** {_sentence(template.points[point].format_map(fill))}\n"
            for number, point in enumerate(chosen, 1)
        )
        opening, closing = template.opening.format_map(fill), template.closing.format_map(fill)
        text = opening + template.heading + points + closing + NOTICE
        return text if self.longest is None else "".join(pieces(text)[: self.longest])


def prompt_digest(messages: Sequence[Prompt]) -> str:
    """What a prompt is known by: the same messages, the same digest."""
    digest = hashlib.blake2b(digest_size=16)
    for message in messages:
        digest.update(f"{len(message.role)}:{message.role}{len(message.text)}:".encode())
        digest.update(message.text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def pieces(text: str) -> list[str]:
    """The text cut the way a model emits it: words with the space before them. Joined, they are the text again."""
    return re.findall(r"\s*\S{1,12}|\s+$", text)


def _role(instructions: str) -> str | None:
    """The role that the instructions name first: an agent is told who it is before it is told of the others."""
    found = _ROLE.search(instructions)
    return found.group(1).capitalize() if found else None


def _unfenced(text: str) -> str:
    """The first block of material, where the text stands between lines that mark where material begins and ends."""
    fenced = _FENCED.search(text)
    return text if fenced is None else fenced.group("material")


def _first_paragraph(brief: str) -> str:
    brief = _LABEL.sub("", brief.strip(), count=1)
    return " ".join(brief.split("\n\n", 1)[0].split())


def _subject(brief: str) -> str:
    line = _first_paragraph(brief)
    sentence = re.split(r"(?<=[.!?])\s", line, maxsplit=1)[0].rstrip(".!? ")
    if len(sentence) > 90:
        sentence = sentence[:90].rsplit(" ", 1)[0] + " …"
    return f'"{sentence}"' if sentence else "something that the brief leaves open"


def _key_words(brief: str) -> list[str]:
    """Five words of the brief that matter: the frequent before the rare, the early before the late."""
    counts: dict[str, int] = {}
    for word in _WORD.findall(_first_paragraph(brief)[:2000].casefold()):
        if word not in _COMMON:
            counts[word] = counts.get(word, 0) + 1
    ranked = sorted(counts, key=lambda word: -counts[word])  # stable: in order of appearance among equals
    return [*ranked, *(word for word in _SPARE if word not in counts), *_SPARE][:5]


def _before(role: str | None, said: str, brief: str, rng: random.Random) -> str:
    """A sentence that takes up what others have said, where the request holds any of it."""
    points = [match.group(1).strip() for match in _POINT.finditer(said, min(len(_first_paragraph(brief)), len(said)))]
    if not points:
        return ""
    point = rng.choice(points)
    marked = _MARKED.match(point)
    speaker = _SPEAKERS.get(marked.group(1)) if marked else None
    source = f"the {speaker}" if speaker and speaker != role else "what was said before"
    return f'I build on {source}: "{_MARKED.sub("", point).rstrip(".")}". '


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
