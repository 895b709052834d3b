"""What a capability may be called is the same wherever it is said: over the wire, over REST, in the configuration."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.protocol.commands import Capabilities
from understudy.configuration.kinds import CAPABILITY
from understudy.http.agents import NewAgent
from understudy.http.tasks import NewTask

AGENT = {"name": "poet", "role": "Poet", "prompt": "Write."}


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("dig", True),
        ("count words", True),
        ("Wörter zählen", True),
        (" x", True),
        ("x" * 100, True),
        ("🍵" * 100, True),
        ("x" * 101, False),
        ("", False),
        ("  ", False),
        ("\n\t", False),
    ],
)
def test_one_rule(text: str, allowed: bool) -> None:
    def taken(kind: Any, value: Any) -> bool:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return False
        return True

    assert taken(Capabilities, [text]) is allowed
    assert taken(NewAgent, {**AGENT, "capabilities": [text]}) is allowed
    assert taken(NewTask, {"description": "Dig", "required_capabilities": [text]}) is allowed
    assert CAPABILITY.fits(text) is allowed


def test_fifty_at_most() -> None:
    many = [str(number) for number in range(51)]
    for kind, value in ((Capabilities, many), (NewAgent, {**AGENT, "capabilities": many})):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(value, kind)
    assert msgspec.convert(many[:50], Capabilities)
