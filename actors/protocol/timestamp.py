"""The one form in which a time travels: 2026-11-20T08:30:00.000Z."""

import re
import time
from typing import Final

TIMESTAMP_PATTERN: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z", re.ASCII)


def format_timestamp(wall: float) -> str:
    """`wall`, in seconds since 1970 UTC, to the nearest millisecond. ValueError outside the years 1970 to 9999.

    Rounded, not cut: a float such as 1.001 lies a hair below its decimal, and cutting would lose the millisecond.
    """
    seconds, milliseconds = divmod(round(wall * 1000), 1000)
    if not 0 <= seconds <= 253_402_300_799:
        raise ValueError(f"not a time that the wire can carry: {wall!r}")
    moment = time.gmtime(seconds)
    return (
        f"{moment.tm_year:04}-{moment.tm_mon:02}-{moment.tm_mday:02}"
        f"T{moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02}.{milliseconds:03}Z"
    )
