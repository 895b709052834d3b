from __future__ import annotations

import math
from typing import Any

import pytest

from runtime import Actor, InvalidSpec, Mailbox, Overflow, Spec


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "name is ''; allowed: a text that is not empty"),
        ({"name": "a/b"}, 'has no "/"'),
        ({"name": 7}, "name is 7"),
        ({"start": None}, "a.start is None; allowed: a callable that makes an Actor"),
        ({"mailbox": 5}, "a.mailbox is 5; allowed: a Mailbox"),
        ({"shutdown": -1}, "a.shutdown is -1; allowed: seconds, 0 or more, or math.inf"),
        ({"shutdown": math.nan}, "a.shutdown is nan"),
        ({"start_within": 0}, "a.start_within is 0; allowed: seconds above 0"),
        ({"start_within": math.nan}, "a.start_within is nan"),
    ],
)
def test_a_spec_says_what_is_wrong_before_anything_starts(fields: dict[str, Any], message: str):
    with pytest.raises(InvalidSpec) as invalid:
        Spec(**({"name": "a", "start": Actor} | fields))
    assert message in str(invalid.value)
    assert isinstance(invalid.value, ValueError)
    assert invalid.value.value is next(iter(fields.values()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"capacity": 0}, "mailbox.capacity is 0; allowed: a whole number of at least 1"),
        ({"capacity": 1.5}, "mailbox.capacity is 1.5"),
        ({"overflow": "wait"}, "mailbox.overflow is 'wait'; allowed: Overflow.WAIT, Overflow.REJECT"),
        ({"overflow": Overflow.CONFLATE}, "mailbox.key is None; allowed: a function with Overflow.CONFLATE"),
        ({"key": len}, "None with any other policy"),
    ],
)
def test_a_mailbox_says_what_is_wrong(fields: dict[str, Any], message: str):
    with pytest.raises(InvalidSpec) as invalid:
        Mailbox(**fields)
    assert message in str(invalid.value)


def test_specs_are_values():
    assert Spec("a", Actor) == Spec("a", Actor)
    assert Mailbox() == Mailbox(1024, Overflow.WAIT)
    with pytest.raises(AttributeError):
        Spec("a", Actor).name = "b"  # type: ignore[misc]
