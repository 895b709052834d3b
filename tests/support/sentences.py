"""All that a person can be told of a failure."""

from __future__ import annotations

from actors.protocol import catalogue
from actors.protocol.catalogue import CATALOGUE, USUAL
from actors.protocol.codes import ErrorType


def usual(kind: ErrorType) -> str:
    """What is told where only the `error_type` is known."""
    return CATALOGUE[USUAL[kind]].sentence


def every_sentence() -> frozenset[str]:
    others = {
        catalogue.BUSY_RETRYING,
        catalogue.SILENT_RETRYING,
        catalogue.ANOTHER_MODEL,
        catalogue.NO_MODEL,
        catalogue.NO_MODEL_IN_TIME,
        catalogue.NO_MODEL_SET_UP,
        catalogue.CONNECTION_LOST,
    }
    return frozenset(entry.sentence for entry in CATALOGUE.values()) | others
