"""One call from beginning to end: counted, answered, cleaned, bounded, written down, and only then given out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ...config.mcp import McpConfig
from ...pipeline.log import log
from ...pipeline.record import encode
from .calls import Audit, Rate
from .outgoing import NOTICE, Outgoing, fitted, marked
from .tools import REFUSALS, Found, Tools

_ARGUMENTS_BYTES = 16 << 10


class Answer(NamedTuple):
    """What a client gets."""

    text: str
    structured: dict[str, Any] | None
    """None when there is no answer."""
    reason: str = ""
    """Why there is none."""


class Answers:
    """Answers calls of tools. For one thread at a time."""

    def __init__(
        self,
        config: McpConfig,
        now_ns: Callable[[], int] = time.time_ns,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self._now = now
        self._outgoing = Outgoing(config.redact.stage(), config.limits.text)
        self._rate = Rate(config.limits.calls, now)
        self._audit = Audit(config.audit, now_ns)
        self._tools = Tools(config, self._outgoing, now_ns)

    def begin(self) -> None:
        """Write down that the server runs. Raises OSError when the audit log cannot be written."""
        config = self.config
        self._audit.write({"begun": config.http.listen if config.http else "stdio", "tools": config.offered()})

    def close(self) -> None:
        """Let go what is open."""
        self._tools.close()

    def answer(self, tool: str, arguments: Mapping[str, Any], client: str) -> Answer:
        """The answer to a call. `client` is who asks, for the audit log. Never raises."""
        begun = self._now()
        outcome, answer, rows = self._answered(tool, arguments)
        entry = {
            "client": self._outgoing.text(client),
            "tool": self._outgoing.text(tool)[:100],
            "arguments": self._shown(arguments),
            "outcome": outcome,
            "rows": rows,
            "bytes": len(answer.text.encode("utf-8", "replace")),
            "ms": round((self._now() - begun) * 1000),
        }
        if answer.structured is None:
            entry["reason"] = answer.reason
        try:
            self._audit.write(entry)
        except OSError as error:
            log.error("no call is answered: the audit log cannot be written", error=error.strerror)
            reason = "not answered: the audit log of this server cannot be written"
            return Answer(reason, None, reason)
        return answer

    def _answered(self, tool: str, arguments: Mapping[str, Any]) -> tuple[str, Answer, int]:
        """The outcome, the answer, and how many rows it has."""
        try:
            self._rate.take()
            answer, rows = self._made(self._tools.call(tool, arguments))
            return "answered", answer, rows
        except REFUSALS as error:
            return "refused", self._failed(str(error)), 0
        except OSError as error:
            return "failed", self._failed(error.strerror or str(error)), 0
        except Exception as error:  # its text may hold anything
            log.error("a call failed", tool=tool, error=type(error).__name__)
            return "failed", self._failed(f"this question cannot be answered ({type(error).__name__})"), 0

    def _made(self, found: Found) -> tuple[Answer, int]:
        limits = self.config.limits
        rows, left = fitted(self._outgoing.rows(found.rows[-limits.rows :]), limits.bytes)
        left += max(len(found.rows) - limits.rows, 0)
        notes = [self._outgoing.text(note) for note in found.notes]
        if left:
            notes.append(f"{left} older rows are left out: ask for less (a time range, a field, an id)")
        structured = {"untrusted": True, "notice": NOTICE, "notes": notes, "left_out": left, "rows": rows}
        lines = [encode(row).decode() for row in rows] or ["(nothing found)"]
        return Answer(marked("\n".join([*(f"note: {note}" for note in notes), *lines])), structured), len(rows)

    def _failed(self, message: str) -> Answer:
        """Messages may quote what was asked, or what a server said."""
        reason = self._outgoing.text(message)[:2000]
        return Answer(marked(reason), None, reason)

    def _shown(self, arguments: Mapping[str, Any]) -> Any:
        try:
            (shown,) = self._outgoing.rows([arguments])
            return shown if len(encode(shown)) <= _ARGUMENTS_BYTES else "(too long)"
        except Exception:
            return "(cannot be shown)"
