"""Asks Prometheus: PromQL at a moment or over a range, and the exemplars of a query."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from typing import Any
from urllib.parse import urlencode, urlsplit

from ..pipeline.http_client import Client, NotSent
from .metrics import Moments, Series
from .units import duration

MOST_BYTES = 32 << 20
"""Of an answer."""
_TEXTS = re.compile(r'"(?:\\.|[^"\\])*"|' + r"'(?:\\.|[^'\\])*'|`[^`]*`|#[^\n]*", re.DOTALL)
_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(rf"\s*({_DURATION})\s*(?::\s*({_DURATION})?\s*)?")
_OFFSET = re.compile(rf"\boffset\b\s*(?:[-+]\s*)?({_DURATION})?", re.IGNORECASE)


class Refused(ValueError):
    """Prometheus does not take the query."""


class Exemplar:
    """One exemplar: of which series, its own labels (a trace), its value and time."""

    __slots__ = ("labels", "series", "time_ns", "value")

    def __init__(self, series: dict[str, str], labels: dict[str, str], value: float, time_ns: int) -> None:
        self.series = series
        self.labels = labels
        self.value = value
        self.time_ns = time_ns


class Prometheus:
    """A Prometheus, by its URL. Only what reads is ever asked; redirects are not followed."""

    def __init__(
        self, url: str, *, token: str = "", user: str = "", password: str = "", tenant: str = "", timeout: float = 60.0
    ) -> None:
        self._url = url.rstrip("/").removesuffix("/api/v1")
        self._timeout = timeout
        headers = {"X-Scope-OrgID": tenant} if tenant else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        elif user:
            headers["Authorization"] = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
        context = ssl.create_default_context() if urlsplit(url).scheme == "https" else None
        self._client = Client(self._url, headers=headers, timeout=timeout, context=context)
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """End the connections."""
        self._runner.run(self._client.close())
        self._runner.close()

    def series(self, query: str, moments: Moments) -> list[Series]:
        """The series of a query. Raises Refused and OSError."""
        timeout = f"{max(round(self._timeout * 1000), 1)}ms"  # it takes no fractions
        if moments.many == 1:
            data = self._get("query", query=query, time=_seconds(moments.start_ns), timeout=timeout)
        else:
            data = self._get(
                "query_range",
                query=query,
                start=_seconds(moments.start_ns),
                end=_seconds(moments.end_ns),
                step=_seconds(moments.step_ns),
                timeout=timeout,
            )
        result, kind = data["result"], data["resultType"]
        if kind == "string":
            raise Refused("this is a text, not a metric")
        if kind == "scalar":
            result = [{"metric": {}, "value": result}]
        return [
            Series(one["metric"], [(_ns(at), float(value)) for at, value in one.get("values") or [one["value"]]])
            for one in result
            if "values" in one or "value" in one  # native histograms have neither
        ]

    def exemplars(self, query: str, start_ns: int, end_ns: int) -> list[Exemplar]:
        """The exemplars of the series in a query, oldest first. Raises Refused and OSError."""
        data = self._get("query_exemplars", query=query, start=_seconds(start_ns), end=_seconds(end_ns))
        found = [
            Exemplar(one["seriesLabels"], own["labels"], float(own["value"]), _ns(own["timestamp"]))
            for one in data
            for own in one["exemplars"]
        ]
        return sorted(found, key=lambda exemplar: exemplar.time_ns)

    def _get(self, what: str, **parameters: str) -> Any:
        url = f"{self._url}/api/v1/{what}?{urlencode(parameters)}"
        try:
            response = self._runner.run(self._client.request("GET", url, at_most=MOST_BYTES))
        except NotSent as error:
            raise OSError(str(error)) from None
        if len(response.body) >= MOST_BYTES:
            raise Refused("the answer is too large: ask for fewer series, a shorter range or a larger step")
        try:
            answer = json.loads(response.body)
            if response.status == 200:
                return answer["data"]
            said = str(answer["error"])
        except (ValueError, KeyError, TypeError):
            raise OSError(f"Prometheus answers {response.status}, and not as Prometheus does") from None
        if response.status in (400, 422):
            raise Refused(f"Prometheus refuses it: {said}")
        raise OSError(f"Prometheus answers {response.status}: {said}")


def reach(query: str) -> int:
    """How far back in ns a query looks by its ranges, subqueries and offsets, all of them added up.

    Raises Refused for what cannot be told.
    """
    plain = _TEXTS.sub(lambda found: "\n" if found[0].startswith("#") else '""', query)
    total = 0
    for inside in _BRACKETS.findall(plain):
        found = _RANGE.fullmatch(inside)
        if found is None:
            raise Refused(f"[{inside}]: write a range as a duration, such as [5m] or [1h:1m]")
        total += _of(found[1])
    for written in _OFFSET.findall(plain):
        if not written:
            raise Refused("offset: write a duration, such as offset 1h")
        total += _of(written)
    if re.search(r"@", plain):
        raise Refused("@: choose the time by the arguments from and to")
    if plain.count("[") != len(_BRACKETS.findall(plain)):
        raise Refused("a bracket that is not closed, or one in another")
    return total


def _of(text: str) -> int:
    return duration(text, days=True) or 0


def _seconds(ns: int) -> str:
    return f"{ns // 10**9}.{ns % 10**9:09}"


def _ns(seconds: float) -> int:
    return round(float(seconds) * 1000) * 10**6
