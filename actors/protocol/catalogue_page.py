"""The catalogue as a page of the documentation: `python -m actors.protocol.catalogue_page > docs/errors.md`."""

from __future__ import annotations

import sys
from typing import Final

from actors.protocol import catalogue
from actors.protocol.catalogue import CATALOGUE
from actors.protocol.codes import ERRORS

_HEAD: Final = """\
# Errors, as people read them

This page is made from `actors/protocol/catalogue.py` and `actors/protocol/codes.py`
(`python -m actors.protocol.catalogue_page > docs/errors.md`); a test fails when it is not up to date.

## When an agent's work fails

`agent_status` error carries the `error_type` and the sentence. None of it is ever in a provider's own words: what the
provider, a tool or the daemon's own exceptions said stands in the daemon's log, under the same `run_id`, as `detail` of
`model call failed`, `an attempt of a model call failed, and is made again`, `model is left alone` or `tool failed`.

"Again" says whether the same may fare better when it is done again later.

| failure | `error_type` | what a person reads | again | what has happened |
|---|---|---|---|---|
"""


def render() -> str:
    """The whole page."""
    rows = "".join(
        f"| {failure} | `{entry.error_type}` | {entry.sentence} | {_yes(entry.retryable)} | {entry.when} |\n"
        for failure, entry in CATALOGUE.items()
    )
    meanwhile = "".join(
        f"| {status} | {sentence} | {when} |\n"
        for status, sentence, when in (
            (
                "retrying",
                catalogue.BUSY_RETRYING,
                "`error_type` rate_limit: the provider is busy, or it is not our turn.",
            ),
            ("retrying", catalogue.SILENT_RETRYING, "any other failure, and another attempt follows."),
            ("fallback", catalogue.ANOTHER_MODEL, "the next model of the agent's chain is asked."),
            (
                "fallback",
                catalogue.NO_MODEL_IN_TIME,
                "`error_type` rate_limit, and no model is left: a degraded answer.",
            ),
            ("fallback", catalogue.NO_MODEL_SET_UP, "`error_type` configuration, and no model is left."),
            ("fallback", catalogue.NO_MODEL, "anything else, and no model is left."),
        )
    )
    codes = "".join(
        f"| `{code}` | {traits.status} | {traits.sentence} | {_yes(traits.retryable)} |\n"
        for code, traits in ERRORS.items()
    )
    return (
        f"{_HEAD}{rows}\n## While it goes on\n\n| `agent_status` | what a person reads | when |\n|---|---|---|\n"
        f"{meanwhile}"
        f'\nA client says of its own lost socket: "{catalogue.CONNECTION_LOST}"\n'
        "\n## When a command is refused\n\nThe usual sentences; a refusal that knows more says more, and `fields` names"
        " each field.\n\n| `code` | HTTP | what a person reads | again |\n|---|---|---|---|\n" + codes
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    sys.stdout.write(render())
