"""Sink `loki`: pushes to Grafana Loki."""

from __future__ import annotations

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from ..batch import Batch
from ..component import ProbeError, Rejected, Sink
from ..log import log
from ..options import Duration, Secret, Template
from ._answer import Answer
from ._lookup import HEADERS, Wanted, queries, stored
from ._sending import Lane, Outcome, Plan, Push, Sending, compress
from ._streams import Streams, regroup

if TYPE_CHECKING:
    import aiohttp

MAX_LABELS = 15
"""Loki's default `max_label_names_per_series`."""
UNBOUNDED = frozenset(
    ("session_key", "thread_ts", "trace_id", "span_id", "user_id", "request_id", "message", "timestamp")
)
"""Fields with a value of their own in nearly every record: each would make a stream of its own."""
CONNECTIONS = 4
"""Pushes of different streams go side by side."""
LOOKUPS = 3
"""After so many failed attempts to ask Loki what it has, a repeat is pushed unasked."""


class BasicAuth(msgspec.Struct, forbid_unknown_fields=True):
    """User and password."""

    username: str
    password: Secret


class Tls(msgspec.Struct, forbid_unknown_fields=True):
    """How to trust the server, and to be trusted by it."""

    ca: str = ""
    """File with the certificates of the authorities to trust; the system's when empty."""
    cert: str = ""
    """File with the client's certificate."""
    key: str = ""
    """File with the client's key."""
    verify: bool = True
    """False accepts any certificate: only for a test."""

    def context(self) -> ssl.SSLContext:
        """The context for the connection. Raises OSError (ssl.SSLError included) for files that cannot be used."""
        context = ssl.create_default_context(cafile=self.ca or None)
        if self.cert:
            context.load_cert_chain(self.cert, self.key or None)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class Loki(Sink):
    """Pushes records to Loki as protobuf, grouped into streams by their labels.

    Each entry has the record's own time, its line, the labels, and ids as structured metadata; nothing in it depends on
    when or how often it is sent, so Loki itself drops a repeat.
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
    """Ask Loki after a crash which of the records that were on their way it has, and push only the others: then metric
    queries such as `count_over_time` do not count these twice, and a Loki that shards streams shows none twice. Needs
    a token that may read, and a `url` without a path or with one that ends in /api/v1/push; else all are pushed again,
    as are lines older than 2h41m, which Loki by default does not show before they are flushed: it drops the repeat."""

    # Loki journals pushes to one stream that come at once in any order, and at a restart leaves out those that stand in
    # a wrong one: with three at a time, every second restart soon after lost a push that it had taken.
    concurrency: ClassVar[int] = 1

    _session: aiohttp.ClientSession | None = None
    _sending: Sending | None = None
    _lookups: int = 0

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
        if self.basic_auth and self.bearer:
            yield "bearer", "use either basic_auth or bearer"

    def reads(self) -> Iterable[str]:
        """Label and metadata fields, and those of `match`."""
        templates = chain.from_iterable(template.fields for template in self.labels.values())
        match = self.match.fields if self.match else ()
        return {*templates, *self.metadata, *match}

    async def open(self) -> None:
        """Open the connection pool."""
        import aiohttp  # costs 150 ms that a config without Loki does without

        headers = {"Content-Type": "application/x-protobuf", "User-Agent": "tailrace"}
        if self.tenant:
            headers["X-Scope-OrgID"] = self.tenant
        if self.bearer:
            headers["Authorization"] = f"Bearer {self.bearer.reveal()}"
        if self.basic_auth:
            pair = f"{self.basic_auth.username}:{self.basic_auth.password.reveal()}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        try:
            context = self.tls.context() if self.url.startswith("https") else True
        except OSError as error:
            raise ProbeError(f"cannot use these files: {error.strerror or error}", "tls") from None
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=context),
            timeout=aiohttp.ClientTimeout(total=self.timeout),
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    async def probe(self) -> None:
        """Push nothing at all: shows that Loki is there, and takes the token and tenant."""
        import aiohttp

        assert self._session
        try:
            async with self._session.post(self._push_url, data=compress(b""), allow_redirects=False) as response:
                status, text = response.status, (await response.text(errors="replace"))[:200].strip()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProbeError(f"cannot reach Loki: {_say(error)}", "url") from None
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            option = "bearer" if self.bearer else "basic_auth" if self.basic_auth else "tenant"
            raise ProbeError(f"Loki answers {status} {text}; check the token, user and tenant", option)
        if status == HTTPStatus.NOT_FOUND or 300 <= status < 400:
            raise ProbeError(f"{self._push_url} answers {status}: there is no Loki at this path", "url")

    async def send(self, batches: Sequence[Batch]) -> None:
        """Push; exactly the records that Loki can never take are rejected. After an error, what is left is pushed."""
        sending = self._sending
        if sending is None or not sending.is_of(batches):
            unknown = await self._reconciled(batches) if self.reconcile else batches
            sending = self._sending = Sending(batches, self._plan.lanes(unknown))
        sending.failing = False
        drained = (self._drain(lane, sending) for lane in sending.lanes)
        errors = [error for error in await asyncio.gather(*drained, return_exceptions=True) if error is not None]
        if errors:
            raise max(errors, key=lambda error: getattr(error, "seconds", -1.0))
        self._sending = None
        if sending.rejected:
            hints = dict.fromkeys(why.hint for _, why in sending.rejected)
            raise Rejected([(record, why.text) for record, why in sending.rejected], "; ".join(hints))

    async def _drain(self, lane: Lane, sending: Sending) -> None:
        """The pushes of one lane, one after the other. Raises RetryAfter, OSError, or what the connection raises."""
        while lane:
            async with self._slots:
                if sending.failing:
                    return
                try:
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
        """One request. Raises RetryAfter, OSError, or what the connection raises, when nothing came of it."""
        assert self._session
        # aiohttp warns of larger ones in one piece; a file costs more.
        body = push.body if len(push.body) <= 1 << 20 else BytesIO(push.body)
        async with self._session.post(self._push_url, data=body, allow_redirects=False) as response:
            # Nothing else is a delivery: 260 is Loki's answer to a blocked tenant, 200 that of a login page.
            if response.status == HTTPStatus.NO_CONTENT:
                self._plan.taken(push)
                return Outcome([], []), Answer(response.status)
            answer = Answer.of(response.status, await response.text(errors="replace"), response.headers)
        outcome = self._plan.after(push, answer)
        if outcome is None:
            raise answer.error()
        return outcome, answer

    async def _ask(self, parameters: Mapping[str, str]) -> bytes:
        """One range query. Raises OSError, or what the connection raises."""
        assert self._session
        async with self._session.get(
            queries(self._push_url), params=parameters, headers=HEADERS, allow_redirects=False
        ) as response:
            body = await response.read()
            if response.status != HTTPStatus.OK:
                raise Answer.of(response.status, body.decode("utf-8", "replace"), response.headers).error()
            return body

    async def _reconciled(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """The batches without what Loki has of those that are repeated."""
        repeated = [batch for batch in batches if batch.repeated]
        if not repeated or not queries(self._push_url):
            return batches
        entries = self._streams.entries(repeated)
        lines = chain.from_iterable(map(self._streams.lines, repeated))
        wanted = [Wanted(entry.stream, entry.time_ns, line) for entry, line in zip(entries, lines, strict=True)]
        try:
            there = await stored(wanted, self._ask)
        except Exception as error:  # whatever it is: a push is right without asking, too
            self._lookups += 1
            if self._lookups < LOOKUPS:
                raise
            log.warning("cannot ask Loki what it has, pushing all of it", sink=self.name, error=_say(error))
            there = set()
        self._lookups = 0
        fresh = [entry for place, entry in enumerate(entries) if place not in there]
        return [*regroup(fresh), *(batch for batch in batches if not batch.repeated)]

    @cached_property
    def _slots(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(CONNECTIONS)

    @cached_property
    def _streams(self) -> Streams:
        return Streams(self.labels, self.metadata, self.line)

    @cached_property
    def _plan(self) -> Plan:
        return Plan(self._streams, self.window)

    @cached_property
    def _push_url(self) -> str:
        path = self.url.partition("://")[2].partition("/")[2]
        return self.url if path.strip("/") else self.url.rstrip("/") + "/loki/api/v1/push"


def _say(error: BaseException) -> str:
    return str(error) or type(error).__name__
