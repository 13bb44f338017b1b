"""Sink `loki`: pushes to Grafana Loki."""

from __future__ import annotations

import json
import re
import ssl
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import cramjam
import msgspec

from ..batch import Batch
from ..component import ProbeError, Rejected, RetryAfter, Sink
from ..labels import sanitize
from ..options import Duration, Secret, Template
from ..record import Record
from ._logproto import Entries, stream

if TYPE_CHECKING:
    import aiohttp

MAX_LABELS = 15
"""Loki's default `max_label_names_per_series`."""
UNBOUNDED = frozenset(
    ("session_key", "thread_ts", "trace_id", "span_id", "user_id", "request_id", "message", "timestamp")
)
"""Fields with a value of their own in nearly every record: each would make a stream of its own."""

_TEXT = frozenset({str, type(None)})


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


class _Refused(Exception):
    """400 or 413: something in this push can never be taken."""


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

    # Loki journals pushes to one stream that come at once in any order, and at a restart leaves out those that stand in
    # a wrong one: with three at a time, every second restart soon after lost a push that it had taken.
    concurrency: ClassVar[int] = 1

    _session: aiohttp.ClientSession | None = None

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
            connector=aiohttp.TCPConnector(limit=self.concurrency + 1, ssl=context),
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
            async with self._session.post(self._push_url, data=_compress(b""), allow_redirects=False) as response:
                status, text = response.status, (await response.text(errors="replace"))[:200].strip()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProbeError(f"cannot reach Loki: {_say(error)}", "url") from None
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            option = "bearer" if self.bearer else "basic_auth" if self.basic_auth else "tenant"
            raise ProbeError(f"Loki answers {status} {text}; check the token, user and tenant", option)
        if status == HTTPStatus.NOT_FOUND or 300 <= status < 400:
            raise ProbeError(f"{self._push_url} answers {status}: there is no Loki at this path", "url")

    async def send(self, batches: Sequence[Batch]) -> None:
        """Push once; a push that Loki refuses is split until the entries it can never take are found."""
        rejected: list[tuple[Record, str]] = []
        try:
            await self._push(_compress(self._encode(batches)))
        except _Refused as refused:
            await self._find_refused(batches, str(refused), rejected)
        if rejected:
            raise Rejected(rejected, "see Loki's limits_config: age, line size, label and stream limits")

    async def _find_refused(self, batches: Sequence[Batch], reason: str, rejected: list[tuple[Record, str]]) -> None:
        """Push the halves again: what was stored already is equal, and Loki drops it."""
        entries = [(batch, record) for batch in batches for record in batch.records]
        if len(entries) == 1:
            rejected.append((entries[0][1], reason))
            return
        middle = len(entries) // 2
        for half in (entries[:middle], entries[middle:]):
            parts = _regroup(half)
            try:
                await self._push(_compress(self._encode(parts)))
            except _Refused as refused:
                await self._find_refused(parts, str(refused), rejected)

    async def _push(self, body: bytes) -> None:
        """One request. Raises _Refused, RetryAfter, or what the connection raises."""
        assert self._session
        async with self._session.post(self._push_url, data=body, allow_redirects=False) as response:
            # Nothing else is a delivery: 260 is Loki's answer to a blocked tenant, 200 that of a login page.
            if response.status == HTTPStatus.NO_CONTENT:
                return
            text = (await response.text(errors="replace"))[:500].strip()
            if response.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
                raise _Refused(text or f"Loki answers {response.status}")
            message = f"Loki answers {response.status}: {text}"
            after = response.headers.get("Retry-After", "")
            if after.isdigit():
                raise RetryAfter(message, float(after))
            raise OSError(message)

    def _encode(self, batches: Sequence[Batch]) -> bytes:
        """The push request, one stream for each set of label values."""
        streams: dict[bytes, list[bytes]] = {}
        for batch in batches:
            records = batch.records
            pieces = self._pieces(batch, streams)
            if self.line == "raw" and not self.metadata:
                self._entries.write(pieces, records)
                continue
            lines = [r.line for r in records] if self.line == "raw" else [r.to_json() for r in records]
            self._entries.write_with(pieces, records, lines, self._metadata(batch))
        return b"".join(chain.from_iterable(stream(labels, entries) for labels, entries in streams.items()))

    def _pieces(self, batch: Batch, streams: dict[bytes, list[bytes]]) -> Iterable[list[bytes]]:
        """For each record the list of pieces of its stream."""
        fields = self._label_fields
        if not fields:
            return repeat(streams.setdefault(self._labels({}), []), len(batch.records))
        columns = [_keys(batch.values(field)) for field in fields]
        keys: list[Any] = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        known: dict[Any, list[bytes]] = {}
        pieces = []
        for key in keys:
            out = known.get(key)
            if out is None:
                values = dict(zip(fields, key if len(fields) > 1 else (key,), strict=True))
                out = known[key] = streams.setdefault(self._labels(values), [])
            pieces.append(out)
        return pieces

    def _labels(self, values: Mapping[str, object]) -> bytes:
        """The labels as Loki writes them, sorted by name."""
        pairs = []
        for name, template in sorted(self.labels.items()):
            value = template.render(lambda field: sanitize(values[field]) if values[field] is not None else "")
            if value:
                pairs.append(f"{name}={json.dumps(value, ensure_ascii=False)}")
        return ("{" + ", ".join(pairs or ['source="unknown"']) + "}").encode()

    def _metadata(self, batch: Batch) -> Sequence[bytes]:
        if not self.metadata:
            return list(repeat(b"", len(batch.records)))
        pair = self._entries.pair
        columns = [
            [b"" if value is None or value == "" else pair(name, _text(value)) for value in batch.values(field)]
            for name, field in zip(map(_metadata_name, self.metadata), self.metadata, strict=True)
        ]
        return columns[0] if len(columns) == 1 else [b"".join(pairs) for pairs in zip(*columns, strict=True)]

    @cached_property
    def _label_fields(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(chain.from_iterable(template.fields for template in self.labels.values())))

    @cached_property
    def _entries(self) -> Entries:
        return Entries()

    @cached_property
    def _push_url(self) -> str:
        path = self.url.partition("://")[2].partition("/")[2]
        return self.url if path.strip("/") else self.url.rstrip("/") + "/loki/api/v1/push"


def _compress(body: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(body))


def _say(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _keys(values: list[Any]) -> list[str | None]:
    """The values as text, so that a list can be a key, and 1, 1.0 and true are three of them."""
    if _TEXT.issuperset(map(type, values)):
        return values
    return [None if value is None else _text(value) for value in values]


def _metadata_name(field: str) -> str:
    """Loki takes letters, digits and `_` only."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", field)


def _regroup(entries: Sequence[tuple[Batch, Record]]) -> list[Batch]:
    """Batches that hold just these records."""
    parts: dict[int, tuple[Batch, list[Record]]] = {}
    for batch, record in entries:
        parts.setdefault(id(batch), (batch, []))[1].append(record)
    return [batch.with_records(records) for batch, records in parts.values()]
