from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from understudy.logs import (
    SCRUBBED,
    library_logger,
    library_logs,
    open_log,
    scrub_text,
    smells_of_secret,
)

MORNING = 1795163400.25


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_where_nobody_watches() -> None:
    out = io.StringIO()
    log = open_log(out, now=lambda: MORNING).bind(user="ada")
    log.info("run started", run_id="r1", steps=["a", "b"])
    assert lines(out) == [
        {
            "timestamp": "2026-11-20T08:30:00.250Z",
            "level": "info",
            "event": "run started",
            "user": "ada",
            "run_id": "r1",
            "steps": ["a", "b"],
        }
    ]


def test_a_readable_line_on_a_terminal_with_colours_only_there() -> None:
    out = Terminal()
    open_log(out, now=lambda: MORNING).warning("storage is slow", seconds=2.5)
    assert "\x1b[" in out.getvalue()
    plain = io.StringIO()
    open_log(plain, style="terminal", now=lambda: MORNING).warning("storage is slow", seconds=2.5)
    line = plain.getvalue()
    assert "\x1b" not in line
    assert line.count("\n") == 1
    assert line.split() == [line.split()[0], "[warning", "]", "storage", "is", "slow", "seconds=2.5"]
    uncoloured = Terminal()
    open_log(uncoloured, colours=False).info("x")
    assert "\x1b" not in uncoloured.getvalue()


@pytest.mark.parametrize("style", ["terminal", "json"])
def test_levels_below_the_chosen_one_write_nothing(style: Any) -> None:
    out = io.StringIO()
    log = open_log(out, style=style, level="error")
    log.debug("a")
    log.info("b")
    log.warning("c")
    assert out.getvalue() == ""
    log.error("d")
    log.critical("e")
    assert out.getvalue().count("\n") == 2


def test_a_level_that_is_none_says_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="'loud': has to be one of debug, info, warning, error, critical"):
        open_log(io.StringIO(), level="loud")


def test_two_logs_share_nothing_and_structlog_stays_as_it_was() -> None:
    before = structlog.get_config()
    first, second = io.StringIO(), io.StringIO()
    one = open_log(first, level="debug").bind(daemon=1)
    two = open_log(second, level="error")
    one.debug("only here")
    two.info("nowhere")
    two.error("only there")
    assert [line["event"] for line in lines(first)] == ["only here"]
    assert [(line["event"], "daemon" in line) for line in lines(second)] == [("only there", False)]
    assert structlog.get_config() == before
    assert not structlog.is_configured()


@pytest.mark.parametrize("style", ["terminal", "json"])
def test_an_exception_is_shown_whole_without_the_values_of_variables(style: Any) -> None:
    out = io.StringIO()
    log = open_log(out, style=style)
    local = "a local value"
    try:
        raise ExceptionGroup("two", [ValueError("first"), KeyError("second")])
    except ExceptionGroup:
        log.exception("the agent failed")
    text = out.getvalue()
    assert "Traceback (most recent call last)" in text
    assert "ValueError: first" in text
    assert local not in text
    if style == "json":
        assert text.count("\n") == 1


SECRET_NAMES = {
    *("api_key", "apiKey", "API-KEY", "apikey", "X-Api-Key", "OPENAI_API_KEY", "private_key", "Authorization"),
    *("HTTPAuthorization", "token", "refreshToken", "client_secret", "DB_PASSWORD", "Set-Cookie"),
}


@pytest.mark.parametrize("name", sorted(SECRET_NAMES))
def test_names_that_smell_of_secret(name: str) -> None:
    assert smells_of_secret(name)


@pytest.mark.parametrize("name", ["prompt_tokens", "max_tokens", "key", "keyboard", "author", "secretary", "step", ""])
def test_names_that_do_not(name: str) -> None:
    assert not smells_of_secret(name)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("Bearer abc.def-123", f"Bearer {SCRUBBED}"),
        ('{"Authorization": "Basic dXNlcjpwYXNz"}', f'{{"Authorization": "Basic {SCRUBBED}"}}'),
        ("Incorrect API key provided: sk-proj-abcdefgh12345.", f"Incorrect API key provided: {SCRUBBED}."),
        ("GET /ws?token=abcdef&x=1", f"GET /ws?token={SCRUBBED}&x=1"),
        ("redis://user:hunter2@host:6379", f"redis://user:{SCRUBBED}@host:6379"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln", SCRUBBED),
        ("AIzaSyA-1234567890123456789012", SCRUBBED),
        ("password='correct horse'", f"password='{SCRUBBED} horse'"),
        ("basic settings of the task, 3 tokens: fine", "basic settings of the task, 3 tokens: fine"),
        ("http://host:8080/path@x", "http://host:8080/path@x"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_of_any_text(text: str, scrubbed: str) -> None:
    assert scrub_text(text) == scrubbed


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=8), st.sampled_from(["terminal", "json"]))
def test_a_configured_secret_never_stands_in_a_line(secret: str, style: Any) -> None:
    out = io.StringIO()
    log = open_log(out, style=style, secrets=[secret], now=lambda: MORNING)
    log.info(secret, field={"deep": [secret]}, other=f"<{secret}>", thing=ValueError(secret))
    if style == "json":
        assert lines(out)[0] == {
            "timestamp": "2026-11-20T08:30:00.250Z",
            "level": "info",
            "event": SCRUBBED,
            "field": {"deep": [SCRUBBED]},
            "other": f"<{SCRUBBED}>",
            "thing": SCRUBBED,
        }
    else:
        said = f"[info     ] {SCRUBBED} field={{'deep': ['{SCRUBBED}']}} other=<{SCRUBBED}> thing={SCRUBBED}\n"
        assert out.getvalue().split(maxsplit=1)[1] == said


def test_values_under_secret_names_are_hidden_however_deep() -> None:
    out = io.StringIO()
    options = {"headers": [{"Authorization": "x"}], "api_key": None, "token": 3, ("odd", 1): "kept"}
    open_log(out).info("provider", options=options, tokens="12")
    assert lines(out)[0]["options"] == {
        "headers": [{"Authorization": SCRUBBED}],
        "api_key": None,
        "token": 3,
        "('odd', 1)": "kept",
    }
    assert lines(out)[0]["tokens"] == "12"
    assert options["headers"] == [{"Authorization": "x"}]  # the caller's own object is not touched


def test_a_value_that_contains_itself_ends_somewhere() -> None:
    out = io.StringIO()
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    open_log(out).info("round", loop=loop)
    assert "..." in out.getvalue()


def test_a_secret_in_an_exception_is_taken_out() -> None:
    out = io.StringIO()
    log = open_log(out, secrets=["correct-horse"])
    try:
        raise ValueError("401 for correct-horse and Bearer abcdefgh")
    except ValueError:
        log.exception("failed")
    assert "401 for" in out.getvalue()
    assert "correct-horse" not in out.getvalue()
    assert "abcdefgh" not in out.getvalue()


def test_no_value_can_pass_for_a_line_of_the_log_or_steer_the_terminal() -> None:
    out = io.StringIO()
    open_log(out, style="terminal").info("brief\n12:00:00 [error] forged", brief="a\x1b[2Jb\nc")
    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()


def test_a_log_that_cannot_be_written_harms_nobody() -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    open_log(Full()).error("lost")
    closed = io.StringIO()
    log = open_log(closed)
    closed.close()
    log.error("lost too")


def test_a_library_that_takes_a_logger_gets_one_outside_the_process_wide_tree() -> None:
    out = io.StringIO()
    logger = library_logger(open_log(out, level="debug"), "hypercorn.error")
    logger.info("not this")
    logger.warning("port %d", 80)
    logger.log(35, "odd level")
    logger.warning("%d", "does not fit")
    try:
        raise ValueError("inside")
    except ValueError:
        logger.exception("with a traceback")
    said = [(line["level"], line["event"], line["library"]) for line in lines(out)]
    assert said == [
        ("warning", "port 80", "hypercorn.error"),
        ("warning", "odd level", "hypercorn.error"),
        ("warning", "%d", "hypercorn.error"),
        ("error", "with a traceback", "hypercorn.error"),
    ]
    assert "ValueError: inside" in lines(out)[3]["exception"]
    assert (
        "hypercorn.error" not in logging.root.manager.loggerDict or logging.getLogger("hypercorn.error") is not logger
    )


def test_libraries_are_quiet_below_warning_and_as_before_afterwards() -> None:
    out = io.StringIO()
    openai, other = logging.getLogger("openai"), logging.getLogger("someone.else")
    before = (openai.level, openai.propagate, list(openai.handlers))
    with library_logs(open_log(out, level="debug")):
        openai.info("HTTP Request: POST")
        logging.getLogger("openai._base_client").warning("retrying with Bearer abcdefgh")
        other.info("not ours")
    assert [(line["library"], line["event"]) for line in lines(out)] == [
        ("openai._base_client", f"retrying with Bearer {SCRUBBED}")
    ]
    assert (openai.level, openai.propagate, list(openai.handlers)) == before
