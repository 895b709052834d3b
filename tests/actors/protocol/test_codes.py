import pytest

from actors.protocol.codes import CLOSES, ERRORS, ErrorCode, Reconnect, close


def test_every_error_code_has_status_and_sentence() -> None:
    assert set(ERRORS) == set(ErrorCode)
    assert {code.value: ERRORS[code].status for code in ErrorCode} == {
        "bad_request": 400,
        "unknown_type": 400,
        "unauthorized": 401,
        "forbidden": 403,
        "not_found": 404,
        "conflict": 409,
        "already_running": 409,
        "limit_reached": 429,
        "rate_limited": 429,
        "too_large": 413,
        "invalid_fields": 422,
        "expired": 410,
        "unavailable": 503,
        "internal": 500,
    }
    assert all(traits.sentence.endswith(".") for traits in ERRORS.values())


@pytest.mark.parametrize(
    ("code", "reconnect", "resume"),
    [
        (1002, Reconnect.NEVER, False),
        (1003, Reconnect.NEVER, False),
        (1006, Reconnect.WITH_BACKOFF, True),
        (1007, Reconnect.NEVER, False),
        (1009, Reconnect.NEVER, True),
        (1011, Reconnect.WITH_BACKOFF, True),
        (1012, Reconnect.AFTER_RETRY_AFTER, True),
        (1013, Reconnect.WITH_LONG_BACKOFF, True),
        (4400, Reconnect.NEVER, False),
        (4401, Reconnect.NEVER, False),
        (4403, Reconnect.NEVER, False),
        (4408, Reconnect.WITH_BACKOFF, True),
        (4409, Reconnect.NEVER, False),
        (4410, Reconnect.WITH_BACKOFF, True),
        (4411, Reconnect.AT_ONCE, True),
        (4413, Reconnect.AT_ONCE, True),
        (4419, Reconnect.WITH_NEW_TOKEN, True),
        (4429, Reconnect.WITH_BACKOFF, True),
        (None, Reconnect.WITH_BACKOFF, True),
        (4999, Reconnect.WITH_BACKOFF, True),
        (1000, Reconnect.WITH_BACKOFF, True),
    ],
)
def test_what_a_close_asks_of_the_client(code: int | None, reconnect: Reconnect, resume: bool) -> None:
    row = close(code)
    assert (row.code, row.reconnect, row.resume) == (1006 if code is None else code, reconnect, resume)


@pytest.mark.parametrize("code", [1000, 1001])
def test_a_person_who_left_does_not_come_back_by_itself(code: int) -> None:
    assert close(code, by_client=True).reconnect is Reconnect.NEVER
    assert close(code, by_client=True).resume


def test_reasons_fit_into_a_close_frame() -> None:
    assert all(len(row.why.encode()) <= 123 for row in CLOSES.values())
