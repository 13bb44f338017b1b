"""Asks Loki: log queries page by page, metric queries, and what comes in while one waits."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode, urlsplit

from ..pipeline.http_client import Client, NotSent
from .metrics import Moments, Series, in_order

PAGE = 5000
"""Entries of one answer: the most that Loki gives unless it is told otherwise (max_entries_limit_per_query)."""
LATE_NS = 30 * 10**9
"""How much later than its time a record may arrive and be seen by who follows."""
TIMEOUT = 300.0


class Refused(ValueError):
    """Loki does not take the query; `column` is where, if it says so."""

    def __init__(self, message: str, column: int = 0) -> None:
        super().__init__(message)
        self.column = column


class Entry(NamedTuple):
    """What Loki holds of one record."""

    time_ns: int
    line: str
    labels: dict[str, str]
    """Those of the stream, its metadata, and what parsers found."""


class Loki:
    """A Loki, by its URL. Tenant and login come from the environment, by the names that logcli uses.

    Raises ValueError for a URL that cannot be used.
    """

    def __init__(
        self,
        url: str,
        tenant: str = "",
        environment: Mapping[str, str] = os.environ,
        *,
        timeout: float = TIMEOUT,
        at_most: int | None = None,
    ) -> None:
        """`timeout`: seconds for each request. `at_most`: bytes of an answer; a larger one is refused."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write a URL such as http://localhost:3100")
        if parts.username or parts.password:
            raise ValueError("no login in the URL: set LOKI_USERNAME and LOKI_PASSWORD")
        self._url = url.rstrip("/").removesuffix("/loki/api/v1/push").removesuffix("/loki/api/v1")
        headers = {}
        if tenant := tenant or environment.get("LOKI_ORG_ID", ""):
            headers["X-Scope-OrgID"] = tenant
        if token := environment.get("LOKI_BEARER_TOKEN", ""):
            headers["Authorization"] = f"Bearer {token}"
        elif user := environment.get("LOKI_USERNAME", ""):
            login = f"{user}:{environment.get('LOKI_PASSWORD', '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        context = ssl.create_default_context() if parts.scheme == "https" else None
        self._client = Client(self._url, headers=headers, timeout=timeout, context=context)
        self._at_most = at_most
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """End the connections."""
        self._runner.run(self._client.close())
        self._runner.close()

    def logs(
        self,
        query: str,
        start_ns: int,
        end_ns: int,
        limit: int | None = None,
        direction: Literal["forward", "backward"] = "forward",
        warn: Callable[[str], None] = lambda message: None,
    ) -> Iterator[Entry]:
        """The entries from a time up to, not including, another, in the order of their times.

        Raises Refused, and OSError when Loki cannot be asked.
        """
        left = limit
        seen: Counter[tuple[str, str]] = Counter()
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left + seen.total())
            page = self._page(query, start_ns, end_ns, size, direction)
            fresh = _without(page, seen)[:left]
            yield from fresh
            left = None if left is None else left - len(fresh)
            if len(page) < size:
                return
            last = page[-1].time_ns
            seen = Counter((_key(entry), entry.line) for entry in page if entry.time_ns == last)
            if page[0].time_ns == last and size == PAGE:
                warn(f"more than {PAGE} records have one time: some of them are not shown")
                seen.clear()
                last += 1 if direction == "forward" else -1
            start_ns, end_ns = (last, end_ns) if direction == "forward" else (start_ns, last + 1)

    def _page(self, query: str, start_ns: int, end_ns: int, size: int, direction: str) -> list[Entry]:
        if start_ns >= end_ns:
            return []
        data = self._get("query_range", query=query, start=start_ns, end=end_ns, limit=size, direction=direction)
        if data["resultType"] != "streams":
            raise Refused("this is a metric query")
        entries = [
            Entry(int(time_ns), line, stream["stream"])
            for stream in data["result"]
            for time_ns, line, *_ in stream["values"]
        ]
        return sorted(entries, key=lambda entry: entry.time_ns, reverse=direction == "backward")

    def series(self, query: str, moments: Moments) -> list[Series]:
        """The series of a metric query, in the order of `evaluate`. Raises Refused and OSError."""
        if moments.many == 1:
            data = self._get("query", query=query, time=moments.start_ns)
        else:
            data = self._get(
                "query_range",
                query=query,
                start=moments.start_ns,
                end=moments.end_ns,
                step=f"{moments.step_ns / 1e9:.9f}".rstrip("0").rstrip("."),
            )
        if data["resultType"] == "streams":
            raise Refused("this is a log query")
        result = data["result"]
        if data["resultType"] == "scalar":
            result = [{"metric": {}, "value": result}]
        found = [
            Series(one["metric"], [(_ns(at), float(value)) for at, value in one.get("values") or [one["value"]]])
            for one in result
        ]
        return in_order(found)

    def follow(self, query: str, now_ns: Callable[[], int], start_ns: int | None = None) -> Iterator[list[Entry]]:
        """With each turn what has come since the last one. Raises Refused and OSError."""
        begin = now_ns() if start_ns is None else start_ns
        seen: dict[tuple[int, str, str], int] = {}
        while True:
            until = now_ns()
            fresh: list[Entry] = []
            counts: Counter[tuple[int, str, str]] = Counter()
            # up to a moment ahead: a record may have a time that is not reached yet
            for entry in self.logs(query, begin, until + LATE_NS):
                key = (entry.time_ns, _key(entry), entry.line)
                counts[key] += 1
                if counts[key] > seen.get(key, 0):
                    fresh.append(entry)
            yield fresh
            begin = max(begin, until - LATE_NS)
            seen = {key: count for key, count in counts.items() if key[0] >= begin}

    def _get(self, what: str, **parameters: object) -> Any:
        url = f"{self._url}/loki/api/v1/{what}?{urlencode(parameters)}"
        try:
            response = self._runner.run(self._client.request("GET", url, at_most=self._at_most))
        except NotSent as error:
            raise OSError(str(error)) from None
        if response.status != 200:
            raise _refused(response.status, response.body)
        if self._at_most is not None and len(response.body) >= self._at_most:
            raise Refused("the answer is too large: ask for less")
        try:
            return json.loads(response.body)["data"]
        except (ValueError, KeyError, TypeError):
            raise OSError(f"the answer of {self._url} is none of Loki's") from None


def _refused(status: int, body: bytes) -> Exception:
    text = body[:1000].decode("utf-8", "replace").strip()
    if status != 400:
        more = {401: "set LOKI_USERNAME and LOKI_PASSWORD, or LOKI_BEARER_TOKEN", 404: "is this Loki's URL?"}
        return OSError(f"Loki answers {status}: {text or 'nothing'}{f' ({more[status]})' if status in more else ''}")
    found = re.search(r"line 1, col (\d+)", text)
    return Refused(f"Loki refuses it: {text}", int(found[1]) if found else 0)


def _without(page: list[Entry], seen: Counter[tuple[str, str]]) -> list[Entry]:
    """The entries but those that the page before had."""
    if not seen:
        return page
    left, last = seen.copy(), page[0].time_ns if page else 0
    fresh = []
    for entry in page:
        key = (_key(entry), entry.line)
        if entry.time_ns == last and left[key] > 0:
            left[key] -= 1
        else:
            fresh.append(entry)
    return fresh


def _key(entry: Entry) -> str:
    return json.dumps(entry.labels, sort_keys=True)


def _ns(seconds: float) -> int:
    return round(float(seconds) * 1000) * 10**6
