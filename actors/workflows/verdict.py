"""The verdict of a step that validates a batch: the first line of its answer, read strictly. Pure.

What cannot be read is no approval: a batch is let through by a line that says so, and by nothing else.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

APPROVED: Final = "approved"
REJECTED: Final = "rejected"
FORM: Final = """\
Your answer decides whether the work goes on. Its first line must be exactly one of these two, with nothing before it:
VERDICT: approve
VERDICT: reject - the reason, in one sentence
Below it, in a few lines, say what you have found. Without such a line the work is held."""
UNREADABLE: Final = "The validation gave no verdict that can be read."
UNREACHED: Final = "Nobody could validate it, because no model could be reached."
BROKEN_OFF: Final = "The validation broke off."
NO_REASON: Final = "No reason was given."
LONGEST_REASON: Final = 300
_LINE: Final = re.compile(r"VERDICT: (approve|reject)(?: - (\S.*))?")


@attrs.frozen
class Verdict:
    """`kind`: approved or rejected; `reason`: a sentence, empty where it is approved."""

    kind: str
    reason: str = ""


def read_verdict(text: str, *, degraded: bool = False, partial: bool = False) -> Verdict:
    """The verdict that an answer begins with."""
    if degraded:
        return Verdict(REJECTED, UNREACHED)
    found = _LINE.fullmatch(text.lstrip("\n").partition("\n")[0].rstrip())
    if found is None:
        return Verdict(REJECTED, BROKEN_OFF if partial else UNREADABLE)
    if found[1] == "reject":
        return Verdict(REJECTED, (found[2] or NO_REASON)[:LONGEST_REASON])
    return Verdict(REJECTED, BROKEN_OFF) if partial else Verdict(APPROVED)
