"""How deep a JSON text is nested, found without recursion and before anything decodes it.

A decoder that recurses raises RecursionError on deep input, also where it only skips a value. A loop over the
characters in Python takes a third of a second for a frame of 2 MiB, which would stop everybody; so the work is left to
C: strings are cut out, brackets become steps of +1 and -1, and the depth is their running sum.
"""

import re
from itertools import accumulate
from typing import Final

DEEPEST: Final = 64

# The closing quote is optional and the repeats are possessive: a string without an end is swallowed whole. Were it a
# mismatch, the search would begin again at each quote within it and take quadratic time.
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_SLICE: Final = 65_536


def deeper_than(text: str, deepest: int = DEEPEST) -> bool:
    """Whether objects and arrays in `text` nest deeper than `deepest`.

    After False no decoder goes deeper, whether or not the text is JSON: up to the place where it would stop, brackets
    are counted as it counts them.
    """
    if text.count("[") + text.count("{") <= deepest:
        return False
    steps = memoryview(_STRING.sub("", text).encode(errors="replace").translate(_STEPS, _OTHERS)).cast("b")
    depth = 0
    for start in range(0, len(steps), _SLICE):  # in slices, so that a text of brackets alone is refused at once
        depths = list(accumulate(steps[start : start + _SLICE], initial=depth))
        if max(depths) > deepest:
            return True
        depth = depths[-1]
    return False
