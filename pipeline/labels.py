"""Label values that stay few: ids, time stamps and addresses are cut out before a value reaches Loki or Prometheus."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

OTHER: Final = "__other__"
"""The label value that stands for all that came after a limit was reached."""

_MAX_CHARS = 80
_LOOK_AT = 512  # what stands further behind could not get into 80 characters, and the cache must not hold whole prompts

_IDS = re.compile(
    r"""
    (?<![0-9A-Za-z]) (?:
        [0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){1,3}(?:-[0-9A-Fa-f]{0,12})?       # UUID, also one that was cut off
      | (?:[A-Z][A-Z0-9]{5,}|[cdgCDG](?=[a-z]*[0-9])[a-z0-9]{6,}):[0-9]{9,}\.[0-9]+  # Slack channel:thread, either case
      | [CDGUWTB][0-9][A-Z0-9]{7,}                                          # Slack channel, user, team
      | [0-9]{4}-[0-9]{2}-[0-9]{2}[T\ ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]+)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?
      | [0-9]{8}[T_][0-9]{6}Z?                                              # 20260304_233600
      | [0-9]{9,}(?:\.[0-9]+)?                                              # epoch, thread_ts, any long number
      | 0x[0-9a-f]{9,}                                                      # address (an error code has 8 digits)
      | (?=[0-9]*[A-Fa-f])(?=[A-Fa-f]*[0-9])[0-9A-Fa-f]{8,}                 # hex that has both digits and letters
      | [0-9A-Fa-f]{16,}
      | (?=(?:[A-Za-z]*[0-9]){3})[0-9A-Za-z]{20,}                           # ULID, KSUID, random token
    ) (?![0-9A-Za-z])
    """,
    re.VERBOSE | re.ASCII,
)
_MARK = "\x00"
_MARKED = re.compile(f"[^0-9A-Za-z{_MARK}]*{_MARK}(?:[^0-9A-Za-z]*{_MARK})*[^0-9A-Za-z]*")
_STAGE_NODE = re.compile(r"Stage([A-Za-z]+)Node(?:_.*)?", re.DOTALL)
_OUTSIDE = re.compile(r"[^A-Za-z0-9_.:-]+")
_to_json = msgspec.json.Encoder(enc_hook=str).encode


def sanitize(value: object) -> str:
    """The value as a label value of at most 80 characters out of `A-Za-z0-9_.:-`, without ids; may be empty.

    Ids are UUIDs, session keys, Slack ids, time stamps, addresses, hex and numbers too long to mean something.
    What is left is joined by `_`; `Stage…Node` of a graph becomes the stage. Dates as in `gpt-4o-2024-08-06` stay.
    """
    if type(value) is str:
        return _clean(value[:_LOOK_AT])
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _clean(str(value)[:_LOOK_AT])
    try:
        text = _to_json(value).decode()
    except (ValueError, RecursionError):  # lone surrogates; nested too deep: no value to tell a stream by
        return ""
    return _clean(text[:_LOOK_AT])


@lru_cache(maxsize=4096)
def _clean(text: str) -> str:
    text = text.strip().replace(_MARK, " ")
    marked = _IDS.sub(_MARK, text)
    if marked != text:
        text = _MARKED.sub(_join, marked)
    text = _STAGE_NODE.sub(r"\1", text)
    return _OUTSIDE.sub("_", text)[:_MAX_CHARS]


def _join(gap: re.Match[str]) -> str:
    """Where ids were: nothing at an end, `_` between two rests."""
    return "_" if gap.start() > 0 and gap.end() < len(gap.string) else ""
