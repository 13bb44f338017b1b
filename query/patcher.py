"""The requests of a patcher log: each with its attempts, how it ended and why it failed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..pipeline.record import rfc3339
from .records import Found

_REQUEST = re.compile(r"timebox_patcher request_id=(\S+) (.*)", re.DOTALL)
_ATTEMPT = re.compile(r"attempt=(\d+)(?:/(\d+))?")
_ERROR_CHARS = 500


def requests(records: Iterable[Found]) -> list[dict[str, Any]]:
    """A row for each request, in the order in which they began."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        match = _REQUEST.match(record.text("message"))
        if match is None:
            continue
        request, said = match[1], match[2]
        row = found.get(request)
        if row is None:
            row = found[request] = {
                "request_id": request,
                "created_at": rfc3339(record.time_ns),
                "last_seen": "",
                "status": "unfinished",
                "attempts": 0,
                "max_attempts": None,
                "ops": None,
                "error": None,
                "log_path": record.path,
            }
        row["last_seen"] = rfc3339(record.time_ns)
        if attempt := _ATTEMPT.search(said.partition("\n")[0]):
            row["attempts"] = max(row["attempts"], int(attempt[1]))
            row["max_attempts"] = int(attempt[2]) if attempt[2] else row["max_attempts"]
        if said.startswith("success "):
            row["status"] = "success"
            if ops := re.search(r"\bops=(\d+)", said):
                row["ops"] = int(ops[1])
        elif said.startswith("failed "):
            row["status"], row["error"] = "failed", said.partition("error=")[2][:_ERROR_CHARS]
    return list(found.values())
