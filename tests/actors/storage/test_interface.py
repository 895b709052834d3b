from typing import Any

import pytest

from actors.storage import interface
from actors.storage.interface import KeepReply, PutState, Record


@pytest.mark.parametrize(
    ("event_id", "body", "users"),
    [
        ("", b"x", ("ann",)),
        ("e", b"x", ()),
        ("e", None, ("ann",)),
        ("e", b"x", ("",)),
        ("e", b"x", ("ann", "ann")),
        ("e", "x", ("ann",)),
        ("e", b"x", (5,)),
        ("\ud800", b"x", ("ann",)),
        ("e", b"x", ("\udfff",)),
    ],
)
def test_a_record_that_could_sink_a_batch_is_refused_where_it_is_made(event_id: Any, body: Any, users: Any) -> None:
    with pytest.raises(ValueError):  # UnicodeEncodeError is one
        Record(event_id, body, users)


def test_values_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface, "LARGEST_VALUE", 3)
    assert PutState("space", "k\u00e9y", b"abc").value == b"abc"
    with pytest.raises(ValueError, match="at most"):
        PutState("space", "key", b"abcd")
    with pytest.raises(ValueError, match="at most"):
        KeepReply("ann", "c1", b"d", b"long reply", 0)
