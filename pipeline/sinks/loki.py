"""Sink `loki`: pushes to Grafana Loki."""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from itertools import chain
from typing import ClassVar, Literal
from urllib.parse import urlencode

import msgspec

from ..batch import Batch
from ..component import ProbeError, Rejected, Sink
from ..excerpt import SMALLEST
from ..http_client import Client, NotSent, Response
from ..log import log
from ..options import Duration, Secret, Size, Template, Tls
from ._answer import Answer
from ._lookup import HEADERS, Lookup, NotTold, TooMuch, Wanted, queries
from ._sending import Lane, Outcome, Plan, Push, Sending, compress
from ._streams import Entry, Streams

MAX_LABELS = 15
"""Loki's default `max_label_names_per_series`."""
UNBOUNDED = frozenset(
    ("session_key", "thread_ts", "trace_id", "span_id", "user_id", "request_id", "message", "timestamp")
)
"""Fields with a value of their own in nearly every record: each would make a stream of its own."""
CONNECTIONS = 4
"""Pushes of different streams go side by side."""
LEAST_LINE = 2 * SMALLEST
ANSWER_BYTES = 1 << 20
"""More of an answer to a push is not read."""
WEATHER = frozenset((408, 425, 429, 499))
"""Answers below 500 to a question that may be answered the next time."""


class BasicAuth(msgspec.Struct, forbid_unknown_fields=True):
    """User and password."""

    username: str
    password: Secret


class Loki(Sink):
    """Pushes records to Loki as protobuf, grouped into streams by their labels.

    Each entry has the record's own time, its line, the labels, and ids as structured metadata; nothing in it depends on
    when or how often it is sent, so that a repeat is known as one.
    """

    url: str
    """Where Loki answers, such as `http://loki:3100`; the path `/loki/api/v1/push` is added when there is none."""
    labels: dict[str, Template]
    """Labels by name, `{field}` filled in from the record: few values each, for they are Loki's index. Values are
    sanitized (ids stripped); an empty one is left out."""
    metadata: list[str] = []
    """Fields to send as structured metadata: correlation ids and whatever else is searched for."""
    line: Literal["raw", "json"] = "raw"
    """`raw` ships the line as it was read (redacted, truncated); `json` all fields as one JSON object."""
    max_line: Size | None = Size(256 << 10)
    """Of a longer line (bytes; the default is Loki's own limit, `max_line_size`) Loki gets start and end with a marker
    between them that tells its length and SHA-256; JSON stays JSON. Structured metadata leads to the whole, which other
    sinks get: `source_file`, `source_offset` (where the event starts in it, in bytes), `line_bytes`, `line_sha256`.
    `null`: it is sent as it is, and Loki refuses it where it is over its limit."""
    tenant: str = ""
    """Sent as `X-Scope-OrgID`."""
    basic_auth: BasicAuth | None = None
    """User and password, such as `{ username: me, password: { env: LOKI_PASSWORD } }`."""
    bearer: Secret | None = None
    """A token, such as `{ env: LOKI_TOKEN }`."""
    tls: Tls = msgspec.field(default_factory=Tls)
    """For https: `{ ca: FILE, cert: FILE, key: FILE }`."""
    timeout: Duration = Duration(30.0)
    """A push without an answer for this long is tried again."""
    window: Duration = Duration(3600.0)
    """How far behind the newest entry of its stream Loki takes one: half of Loki's `ingester.max_chunk_age`."""
    reconcile: bool = True
    """Before a push is repeated (its answer was lost, Loki took a part of it, or a crash came between) ask Loki what it
    has of it, and push only the rest: then metric queries such as `count_over_time` count nothing twice, and a Loki
    that shards streams shows nothing twice. Where nothing fails nothing is asked; while Loki cannot be asked, a repeat
    waits. Needs a token that may read, and a `url` without a path or with one that ends in /api/v1/push; else all of it
    is pushed again, as are lines older than 2h41m, which Loki by default does not show before they are flushed."""

    # Loki journals pushes to one stream that come at once in any order, and at a restart leaves out those that stand in
    # a wrong one: with three at a time, every second restart soon after lost a push that it had taken.
    concurrency: ClassVar[int] = 1

    _http: Client | None = None
    _sending: Sending | None = None
    _settled_at: float | None = None
    _untold: bool = False

    # A push without an answer may be under way still. So what Loki does not have is asked for once more, these seconds
    # after its first answer since: at the start, and after each push that got no answer.
    settle: ClassVar[float] = 1.0

    def check(self) -> Iterable[tuple[str, str]]:
        """What Loki would refuse, or suffer from."""
        if "@" in self.url:
            yield "url", "user and password do not belong into the URL: use `basic_auth`"
        elif not re.fullmatch(r"https?://[^\s/]+(/\S*)?", self.url):
            yield "url", f"{self.url!r} is not a URL: write http://HOST:3100"
        if not self.labels:
            yield "labels", "Loki wants at least one label, such as { app: myapp }"
        if len(self.labels) > MAX_LABELS:
            yield "labels", f"{len(self.labels)} labels, Loki takes {MAX_LABELS}: move ids to `metadata`"
        for name, template in self.labels.items():
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__"):
                yield f"labels.{name}", f"{name!r} is not a label name: letters, digits and _, not starting with __"
            for field in UNBOUNDED.intersection(template.fields):
                yield f"labels.{name}", f"{{{field}}} would make a stream of nearly every record: use `metadata`"
        if self.max_line is not None and self.max_line < LEAST_LINE:
            yield "max_line", f"{self.max_line} leaves no room beside the marker: write {LEAST_LINE} or more, or null"
        if self.basic_auth and self.bearer:
            yield "bearer", "use either basic_auth or bearer"

    def shared(self, apart: Iterable[frozenset[str]]) -> Iterable[tuple[str, str]]:
        """Pushes of two processes to one stream could come at once, which Loki may lose when it restarts."""
        fields = set(chain.from_iterable(template.fields for template in self.labels.values()))
        if missing := sorted(set().union(*apart) - fields):
            more = ", ".join(f'{name}: "{{{name}}}"' for name in missing)
            yield "labels", f"several workers must not push to one stream: add labels that tell them apart: {more}"

    def reads(self) -> Iterable[str]:
        """Label and metadata fields, and those of `match`."""
        templates = chain.from_iterable(template.fields for template in self.labels.values())
        match = self.match.fields if self.match else ()
        return {*templates, *self.metadata, *match}

    async def open(self) -> None:
        """Be ready to connect."""
        headers = {"Content-Type": "application/x-protobuf", "User-Agent": "tailrace"}
        if self.tenant:
            headers["X-Scope-OrgID"] = self.tenant
        if self.bearer:
            headers["Authorization"] = f"Bearer {self.bearer.reveal()}"
        if self.basic_auth:
            pair = f"{self.basic_auth.username}:{self.basic_auth.password.reveal()}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        try:
            context = self.tls.context() if self.url.startswith("https") else None
        except OSError as error:
            raise ProbeError(f"cannot use these files: {error.strerror or error}", "tls") from None
        try:
            self._http = Client(self.url, headers=headers, timeout=self.timeout, context=context)
        except ValueError as error:
            raise ProbeError(f"cannot be sent: {error}") from None

    async def close(self) -> None:
        """Close the connections."""
        if self._http:
            await self._http.close()

    async def probe(self) -> None:
        """Push nothing at all: shows that Loki is there, and takes the token and tenant."""
        assert self._http
        try:
            status, _, body = await self._http.request("POST", self._push_url, compress(b""), at_most=ANSWER_BYTES)
        except OSError as error:
            raise ProbeError(f"cannot reach Loki: {error}", "url") from None
        text = body.decode("utf-8", "replace")[:200].strip()
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            option = "bearer" if self.bearer else "basic_auth" if self.basic_auth else "tenant"
            raise ProbeError(f"Loki answers {status} {text}; check the token, user and tenant", option)
        if status == HTTPStatus.NOT_FOUND or 300 <= status < 400:
            raise ProbeError(f"{self._push_url} answers {status}: there is no Loki at this path", "url")

    async def send(self, batches: Sequence[Batch]) -> None:
        """Push; exactly the records that Loki can never take are rejected. After an error, what is left is pushed."""
        sending = self._sending
        if sending is None or not sending.is_of(batches):
            sending = self._sending = Sending(batches, self._plan.lanes(batches))
        sending.failing = False
        drained = (self._drain(lane, sending) for lane in sending.lanes)
        errors = [error for error in await asyncio.gather(*drained, return_exceptions=True) if error is not None]
        if errors:
            raise max(errors, key=lambda error: getattr(error, "seconds", -1.0))
        self._sending = None
        if sending.rejected:
            hints = dict.fromkeys(why.hint for _, why in sending.rejected)
            raise Rejected([(record, why.text) for record, why in sending.rejected], "; ".join(hints))

    async def get(self, path: str, parameters: Mapping[str, str] | None = None, tenant: str = "") -> Response:
        """What Loki answers at a path of its own, such as `/config`; 404 where that cannot be known. Raises OSError."""
        assert self._http
        base, found, _ = self._push_url.partition("/loki/api/v1/push")
        if not found:
            return Response(HTTPStatus.NOT_FOUND, {}, b"")
        url = base + path + ("?" + urlencode(parameters) if parameters else "")
        named = {"X-Scope-OrgID": tenant} if tenant and not self.tenant else {}
        return await self._http.request("GET", url, headers={"Cache-Control": "no-cache"} | named)

    async def missing(self, batches: Sequence[Batch]) -> list[Entry]:
        """What Loki does not show of these. Raises OSError; NotTold when it cannot be asked."""
        entries = self._streams.entries(batches)
        shown = self._streams.shown(entries)
        there = await self._lookup.stored(
            [Wanted(entry.stream, entry.time_ns, *one) for entry, one in zip(entries, shown, strict=True)]
        )
        return [entry for place, entry in enumerate(entries) if place not in there]

    @property
    def streams(self) -> Streams:
        """How its records are encoded."""
        return self._streams

    async def _drain(self, lane: Lane, sending: Sending) -> None:
        """The pushes of one lane, one after the other. Raises RetryAfter or OSError."""
        while lane:
            async with self._slots:
                if sending.failing:
                    return
                try:
                    if lane[0].doubtful and self.reconcile and queries(self._push_url):
                        rest = await self._not_there(lane[0])
                        if rest is None:
                            lane.popleft()
                            continue
                        lane[0] = rest
                    outcome, answer = await self._push(lane[0])
                except BaseException:
                    sending.failing = True
                    raise
            lane.popleft()
            lane.extendleft(reversed(outcome.pushes))
            sending.rejected += outcome.rejected
            if outcome.weather:
                sending.failing = True
                raise answer.error()

    async def _push(self, push: Push) -> tuple[Outcome, Answer]:
        """One request. Raises RetryAfter or OSError when nothing came of it."""
        assert self._http
        try:
            status, headers, body = await self._http.request("POST", self._push_url, push.body, at_most=ANSWER_BYTES)
        except NotSent:
            raise
        except BaseException:
            push.doubtful, self._settled_at = True, None
            raise
        # Nothing else is a delivery: 260 is Loki's answer to a blocked tenant, 200 that of a login page.
        if status == HTTPStatus.NO_CONTENT:
            self._plan.taken(push)
            return Outcome([], []), Answer(status)
        answer = Answer.of(status, body.decode("utf-8", "replace"), headers)
        if not answer.refuses_all:
            push.doubtful = True
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._settled_at = None
        outcome = self._plan.after(push, answer)
        if outcome is None:
            raise answer.error()
        for part in outcome.pushes:
            part.doubtful = push.doubtful
        return outcome, answer

    async def _not_there(self, push: Push) -> Push | None:
        """What Loki does not have of a push; None when it has all. Raises OSError."""
        entries = push.entries()
        try:
            while True:
                asked_at = time.monotonic()
                shown = self._streams.shown(entries)
                there = await self._lookup.stored(
                    [Wanted(entry.stream, entry.time_ns, *one) for entry, one in zip(entries, shown, strict=True)]
                )
                entries = [entry for place, entry in enumerate(entries) if place not in there]
                now = time.monotonic()
                if not entries:
                    return None
                if self._settled_at is None:
                    self._settled_at = now + self.settle
                if asked_at >= self._settled_at:
                    return self._plan.rest(push, entries)
                await asyncio.sleep(self._settled_at - now)
        except NotTold as error:
            if not self._untold:
                log.warning("cannot ask Loki what it has, pushing all of it", sink=self.name, error=str(error))
            self._untold = True
            return self._plan.rest(push, entries)

    async def _ask(self, parameters: Mapping[str, str]) -> bytes:
        """One range query. Raises NotTold, TooMuch, RetryAfter or OSError."""
        assert self._http
        url = queries(self._push_url)
        url += ("&" if "?" in url else "?") + urlencode(parameters)
        status, headers, body = await self._http.request("GET", url, headers=HEADERS)
        if status == HTTPStatus.OK:
            if headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
                raise NotTold("that is not Loki which answers there")
            return body
        answer = Answer.of(status, body.decode("utf-8", "replace"), headers)
        if "larger than max" in answer.text or "max entries limit" in answer.text:
            raise TooMuch(str(answer.error()))
        if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR and answer.status not in WEATHER:
            raise NotTold(str(answer.error()))
        raise answer.error()

    @cached_property
    def _slots(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(CONNECTIONS)

    @cached_property
    def _streams(self) -> Streams:
        return Streams(self.labels, self.metadata, self.line, self.max_line or 0)

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self._ask, self._streams.names)

    @cached_property
    def _plan(self) -> Plan:
        return Plan(self._streams, self.window)

    @cached_property
    def _push_url(self) -> str:
        path = self.url.partition("://")[2].partition("/")[2]
        return self.url if path.strip("/") else self.url.rstrip("/") + "/loki/api/v1/push"
