"""Text as the searchable memory sees it: a sequence of plain words. Pure.

What is stored and what is asked go through the same function, so that a query is never anything but words: no operator,
quote or column name of the search engine's language can be written in it.
"""

import re
import unicodedata
from typing import Final

# A character of a script that is written without spaces is a word of its own.
_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")

LONGEST_WORD: Final = 64
"""Characters; what is longer (a key, a blob) is cut, in the text and in the query alike."""


def words_of(text: str) -> list[str]:
    """The words of a text in their order: letters and digits, without case and accents."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(character for character in decomposed if not unicodedata.combining(character))
    return [word[:LONGEST_WORD] for word in _WORD.findall(text.casefold())]


def query_words(text: str, most: int) -> tuple[str, ...]:
    """At most so many different words of a query, in their order."""
    return tuple(dict.fromkeys(words_of(text)))[:most]
