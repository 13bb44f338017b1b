"""What Loki, or whatever stands before it, answers to a push."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from ..component import RetryAfter

REFUSALS = frozenset((401, 403, 404, 405, 413))
"""Statuses of answers that were given before anything was taken."""
THROTTLED = "ingestion rate limit exceeded for user"
"""Loki's words when a push as a whole is too much for the tenant; of one too fast for its stream a part is taken."""


class Answer(NamedTuple):
    """Status and text of an answer, and when to come again."""

    status: int
    text: str = ""
    after: float | None = None
    """Seconds; None where it was not said."""

    @classmethod
    def of(cls, status: int, text: str, headers: Mapping[str, str]) -> Answer:
        """From a response."""
        return cls(status, text.strip() or f"Loki answers {status}", retry_after(headers))

    @property
    def refuses_all(self) -> bool:
        """Nothing of the push can have been taken."""
        return self.status in REFUSALS or (self.status == 429 and THROTTLED in self.text[:200].lower())

    def error(self) -> Exception:
        """For the delivery, which tries again."""
        message = (
            self.text[:500]
            if self.text.startswith("Loki answers")
            else f"Loki answers {self.status}: {self.text[:500]}"
        )
        return OSError(message) if self.after is None else RetryAfter(message, self.after)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the header `Retry-After` has them: a number, or a date (RFC 9110); None if neither, or past.

    A date is taken relative to the answer's own `Date`, so that it does not matter whether two clocks agree.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    at = _unix(value)
    if at is None:
        return None
    now = _unix(headers.get("Date", ""))
    wait = at - (time.time() if now is None else now)
    return wait if wait > 0 else None


def _unix(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
