"""The searchable memory on SQLite: whose it is, what a query can be, and what goes when there is too much."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engines.ranking import rank
from actors.storage.interface import Record
from actors.storage.memory import (
    DAY,
    MOST_FOUND,
    Filter,
    ForgetMemories,
    MarkMemories,
    PutMemory,
    SearchMemory,
    overflow,
    worth_of,
)
from actors.storage.words import LONGEST_WORD, query_words, words_of
from tests.support.engines_system import START, open_database
from tests.support.examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.storage.database import Database
    from actors.storage.memory import Matches


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path)
    yield opened
    opened.close()


def put(
    user: str,
    memory_id: str,
    content: str,
    tags: tuple[str, ...] = (),
    *,
    content_type: str = "code",
    at: float = START,
    most: int = 1000,
) -> Record:
    memory = PutMemory(user, memory_id, content_type, content, tags, at, most)
    return Record(f"{user}/{memory_id}", None, (), (memory,))


def found(matches: Matches) -> list[str]:
    return [match.memory.memory_id for match in matches.found]


def search(database: Database, user: str, query: str, only: Filter | None = None, recent: int = 0) -> Matches:
    return SearchMemory(user, query, only or Filter(), recent).run(database)


def test_a_memory_is_found_by_its_words_and_tags(database: Database) -> None:
    database.append(
        [
            put("ada", "1", "def read_file(path): ...", ("python",)),
            put("ada", "2", "Die Straße nach Zürich", content_type="conversation"),
        ]
    )
    assert found(search(database, "ada", "READ the file")) == ["1"]
    assert found(search(database, "ada", "python")) == ["1"]
    assert found(search(database, "ada", "zurich STRASSE")) == ["2"]
    assert found(search(database, "ada", "nothing of it")) == []
    matches = search(database, "ada", "file file path")
    assert (matches.words, matches.containing, matches.memories) == (("file", "path"), (1, 1), 2)
    [match] = matches.found
    assert (match.counts, match.length) == ((1, 1), 5)
    assert match.memory.tags == ("python",)


def test_words_that_stand_next_to_each_other_are_all_counted(database: Database) -> None:
    database.append([put("ada", "1", "tea tea tea, teapot tea")])
    assert search(database, "ada", "tea").found[0].counts == (4,)


def test_words_that_nobody_has_read_before_are_words_all_the_same(database: Database) -> None:
    database.append([put("ada", "1", "tea")])
    matches = database.search_memory("ada", ['tea"', "NEAR(", "tea OR words:x", "*"], Filter(), 0)
    assert found(matches) == ["1"]


def test_tags_and_content_type_narrow_a_search(database: Database) -> None:
    database.append(
        [
            put("ada", "1", "tea", ("a", "b")),
            put("ada", "2", "tea", ("a",), content_type="error"),
            put("grace", "1", "tea", ("a", "b")),
        ]
    )
    assert found(search(database, "ada", "tea", Filter(("a", "b")))) == ["1"]
    assert found(search(database, "ada", "tea", Filter((), "error"))) == ["2"]
    assert found(search(database, "ada", "tea", Filter(("b",), "error"))) == []
    assert found(search(database, "ada", "", Filter(("a",)), recent=5)) == ["2", "1"]


def test_the_same_id_again_changes_nothing(database: Database) -> None:
    database.append([put("ada", "1", "first")])
    database.append([attrs.evolve(put("ada", "1", "second"), event_id="another")])
    assert database.count_memories("ada") == 1
    assert found(search(database, "ada", "second")) == []


def test_uses_and_successes_are_counted(database: Database) -> None:
    database.append([put("ada", "1", "tea")])
    assert MarkMemories("ada", ("1", "1", "none"), START + 5).run(database) == 1
    assert MarkMemories("ada", ("1",), START + 6, success=True).run(database) == 1
    assert MarkMemories("ada", ("1",), START + 4, success=False).run(database) == 1
    memory = search(database, "ada", "tea").found[0].memory
    assert (memory.uses, memory.successes, memory.failures, memory.used_at) == (1, 1, 1, START + 6)


def test_an_id_of_somebody_else_is_none(database: Database) -> None:
    database.append([put("ada", "secret", "tea")])
    assert MarkMemories("grace", ("secret",), START, success=False).run(database) == 0
    assert ForgetMemories("grace", ("secret",)).run(database) == 0
    assert ForgetMemories("ada", ("secret", "secret")).run(database) == 1
    assert database.count_memories("ada") == 0
    assert found(search(database, "ada", "tea")) == []


def test_what_has_too_much_loses_what_is_worth_least(database: Database) -> None:
    database.append([put("ada", f"{n}", "tea", at=START + n, most=20) for n in range(20)])
    database.mark_memories("ada", ["0", "1"], now=START + 30, success=True)
    database.mark_memories("ada", ["19"], now=START + 30, success=False)
    database.append([put("ada", "new", "tea", at=START + 31, most=20), put("grace", "1", "tea", most=20)])
    left = set(found(search(database, "ada", "tea")))
    assert {"0", "1", "new"} <= left
    assert "19" not in left
    assert len(left) == 19  # a twentieth more than needed, so that not each new one looks through all
    assert database.count_memories("grace") == 1


def test_a_search_looks_at_so_many_and_at_the_rarest_words_first(database: Database) -> None:
    database.append([put("ada", f"{n}", "tea" if n else "tea with lemon") for n in range(MOST_FOUND + 10)])
    matches = search(database, "ada", "tea lemon")
    assert len(matches.found) == MOST_FOUND
    assert matches.containing == (MOST_FOUND + 10, 1)
    assert found(matches)[0] == "0"


def test_what_is_used_last_comes_along_where_it_is_wanted(database: Database) -> None:
    database.append([put("ada", f"{n}", f"word{n}", at=START + n) for n in range(5)])
    assert found(search(database, "ada", "word0", recent=2)) == ["0", "4", "3"]
    assert found(search(database, "nobody", "word0", recent=2)) == []


def test_memories_outlive_the_daemon(tmp_path: Path) -> None:
    first = open_database(tmp_path)
    first.append([put("ada", "1", "tea")])
    first.close()
    second = open_database(tmp_path)
    assert found(search(second, "ada", "tea")) == ["1"]
    second.close()


@pytest.mark.parametrize("field", ["user", "memory_id", "content"])
def test_what_cannot_be_stored_is_refused_where_it_is_made(field: str) -> None:
    good = PutMemory("ada", "1", "code", "tea", (), START, 10)
    for bad in ("", "\ud800"):
        with pytest.raises(ValueError):
            attrs.evolve(good, **{field: bad})
    with pytest.raises(ValueError, match="content_type"):
        attrs.evolve(good, content_type="poem")
    with pytest.raises(ValueError, match="tags"):
        attrs.evolve(good, tags=("",))


# --- pure


def test_worth_rises_with_use_and_success_and_falls_with_age() -> None:
    usual = {"age": DAY, "idle": DAY, "uses": 1, "successes": 0, "failures": 0}
    worth = worth_of(**usual)  # type: ignore[arg-type]
    for change in ({"uses": 5}, {"successes": 1}, {"age": 0.0}, {"idle": 0.0}):
        assert worth_of(**{**usual, **change}) > worth  # type: ignore[arg-type]
    for change in ({"uses": 0}, {"failures": 1}, {"age": 400 * DAY}, {"idle": 90 * DAY}):
        assert 0 < worth_of(**{**usual, **change}) < worth  # type: ignore[arg-type]
    assert (overflow(100, 100), overflow(101, 100), overflow(2, 1)) == (0, 6, 1)


def test_words_are_letters_and_digits_and_nothing_else() -> None:
    assert words_of('a_b "OR" NOT-x* ÉTÉ ½') == ["a", "b", "or", "not", "x", "ete", "1", "2"]
    assert words_of("東京へ tea") == ["東", "京", "へ", "tea"]
    assert words_of("x" * 100) == ["x" * LONGEST_WORD]
    assert query_words("b a b c", 2) == ("b", "a")


HOSTILE = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from(
            [
                '"',
                "'",
                "\x00",
                "́",
                "*",
                "^",
                "(",
                ")",
                ":",
                "-",
                "+",
                "AND",
                "OR",
                "NOT",
                "NEAR(",
                "words:",
                "rowid",
                ";",
                "--",
                "memory_words",
                "tea",
                "{",
                "}",
                ",",
                "𞤀",
                "ﬃ",
                "㎏",
            ]
        ),
        max_size=12,
    ).map(" ".join),
)


@settings(max_examples=examples(1), deadline=None)
@given(HOSTILE, HOSTILE)
def test_a_query_is_words_and_nothing_else(content: str, query: str) -> None:
    """Whatever is asked for, in whatever language: no error, nothing else is done, and what holds a word is found."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(Path(folder))
        database.append([put("ada", "1", content + " "), put("grace", "2", "tea")])
        matches = search(database, "ada", query)
        common = set(words_of(content)) & set(query_words(query, 24))
        counted = [sum(match.counts) for match in matches.found]
        assert found(matches) in ([], ["1"])
        assert bool(counted and counted[0]) <= bool(common)
        if any(word.isascii() for word in common):
            assert counted
            assert counted[0] > 0
        assert database.count_memories("ada") == 1
        database.close()


USERS = ("ada", "grace", "root", "ad", "ada%", "ada'--")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "search", "mark", "forget"]),
        st.sampled_from(USERS),
        st.integers(0, 5),
        st.sampled_from(["tea", "tea with milk", "coffee", "milk", "tea tea"]),
    ),
    max_size=25,
)


def play(database: Database, steps: list[tuple[str, str, int, str]], only: str | None = None) -> list[object]:
    """What each step gave, of all users or of one alone."""
    given_back: list[object] = []
    for number, (what, user, which, words) in enumerate(steps):
        if only is not None and user != only:
            continue
        now = START + number
        match what:
            case "put":
                content = f"{words} of {user.encode().hex()}"
                record = put(user, f"{which}", content, (f"tag-{which}",), at=now, most=4)
                database.append([attrs.evolve(record, event_id=f"{number}")])
            case "search":
                matches = search(database, user, words, recent=which)
                given_back.append((user, matches, rank(matches, 10, now)))
            case "mark":
                given_back.append((user, database.mark_memories(user, [f"{which}"], now=now, success=which % 2 == 0)))
            case "forget":
                given_back.append((user, database.forget_memories(user, [f"{which}"])))
    return given_back


@settings(max_examples=examples(0.4), deadline=None)
@given(STEPS)
def test_a_user_finds_the_same_whatever_others_do(steps: list[tuple[str, str, int, str]]) -> None:
    """Interleaved users: what each finds, in which order and with which scores, is what they would find alone."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "all").mkdir()
        database = open_database(Path(folder) / "all")
        together = play(database, steps)
        for user in sorted({step[1] for step in steps}):
            (Path(folder) / user).mkdir()
            alone = open_database(Path(folder) / user)
            own = [each for each in together if each[0] == user]  # type: ignore[index]
            assert own == play(alone, steps, user)
            assert user.encode().hex() in repr(own) or "content" not in repr(own)
            for other in USERS:
                assert other == user or f"of {other.encode().hex()}'" not in repr(own)
            alone.close()
        database.close()
