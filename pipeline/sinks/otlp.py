"""Sink `otlp`: sends records as spans and log records to an OpenTelemetry receiver, over HTTP or gRPC."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from ..batch import Batch, LineForm
from ..component import ProbeError, Rejected, RetryAfter, Sink
from ..log import log
from ..match import Match
from ..options import Duration, Secret, Template, Tls
from ..record import Record
from . import _otlp_conventions as conventions

if TYPE_CHECKING:
    from ._otlp_items import Items, Request
    from ._otlp_transport import Signal, Transport, Wrong

MISSING = "OTLP needs packages that are not installed: pip install 'tailrace[otlp]'"
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Otlp(Sink):
    """Sends each record with a trace id and a duration as a span, and every record as a log record that leads to it.

    All ids follow from the record, so a repeat is the same to the byte, and a receiver that knows a span by its id has
    it once. Names of attributes are those of OpenTelemetry's semantic conventions for GenAI.
    """

    url: str
    """Where the receiver answers: `http://tempo:4318` for `http` (`/v1/traces` and `/v1/logs` are added),
    `http://tempo:4317` for `grpc`; `https` encrypts."""
    protocol: Literal["http", "grpc"] = "http"
    """OTLP/HTTP with protobuf, or OTLP/gRPC."""
    signals: Annotated[list[Literal["traces", "logs"]], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["traces", "logs"]
    )
    """What to send: `[traces]` alone for a receiver that takes no logs, such as Jaeger."""
    headers: dict[str, Secret] = {}
    """Headers (gRPC: metadata) of each request, such as `{ Authorization: { env: OTLP_AUTHORIZATION } }`."""
    tls: Tls = msgspec.field(default_factory=Tls)
    """For https: `{ ca: FILE, cert: FILE, key: FILE }`."""
    timeout: Duration = Duration(30.0)
    """A request without an answer for this long is tried again."""
    compression: Literal["gzip", "none"] = "gzip"
    """How requests are compressed."""
    service: Template = Template("{source}")
    """The resource's `service.name`; `{field}` is filled in from the record."""
    resource: dict[str, Template] = {}
    """Further attributes of the resource, such as `{ deployment.environment.name: "{env}" }`."""
    line: LineForm = "raw"
    """What a log record's body is: `raw` the line as the stages left it, `json` all fields as one JSON object."""
    attributes: list[str] = []
    """Fields that become attributes by their own names, beside those that the conventions have names for."""
    trace_id: str = "trace_id"
    """The field with the trace: 32 hex digits, a W3C `traceparent`, or any other id, which is hashed into one."""
    span_id: str = "span_id"
    """The field with the record's own span: 16 hex digits. Where it is missing the id follows from where the record
    stands in its source. Write `""` where the field names the span that the record was logged in."""
    parent_span_id: str = "parent_span_id"
    """The field with the span above. Where it is missing: that of a `traceparent`, else that of the record's `stage`,
    else that of its session."""
    durations: dict[str, float] = msgspec.field(
        default_factory=lambda: {
            "duration_ms": 0.001,
            "elapsed_ms": 0.001,
            "latency_ms": 0.001,
            "duration_s": 1.0,
            "elapsed_s": 1.0,
            "latency_s": 1.0,
        }
    )
    """Fields that say how long it took, and what each is multiplied with to get seconds; the first one that is there
    counts. A record without one is no span, unless it ends a session."""
    start: str = "start_time"
    """The field that says when it began (RFC 3339, or a Unix time)."""
    time: Literal["end", "start"] = "end"
    """What the record's own time is where nothing else says when it began."""
    span_name: str = "span_name"
    """The field with the span's name; else it follows from the kind: `chat MODEL`, `execute_tool TOOL`, `stage STAGE`,
    `session`, or the record's `event`."""
    span_kind: str = "span_kind"
    """The field with `client`, `server`, `internal`, `producer` or `consumer`; else LLM calls are `client`."""
    llm: Match = Match(conventions.LLM)
    """Which records are calls of an LLM."""
    tool: Match = Match(conventions.TOOL)
    """Which records are calls of a tool."""
    stage: Match = Match(conventions.STAGE)
    """Which records end a stage: the span of the records with the same `stage` (and `turn`) in its trace."""
    session: Match = Match(conventions.SESSION)
    """Which records end a session: the first span of its trace. It began when its `thread_ts` or `session_key` says,
    unless the record has a duration."""

    _transport: Transport | None = None
    _attempt: list[Batch] = []
    """What is being sent, or could not be sent as a whole …"""
    _left: deque[Request] = deque()
    """… what is still to be sent of it …"""
    _refused: dict[int, tuple[Record, list[str]]] = {}
    """… and what was refused, by the identity of the record."""

    def check(self) -> Iterable[tuple[str, str]]:
        """A URL that cannot be, packages that are missing."""
        if find_spec("opentelemetry") is None or find_spec("opentelemetry.proto") is None:
            yield "use", MISSING
        if self.protocol == "grpc" and find_spec("grpc") is None:
            yield "protocol", MISSING
        port = "4318" if self.protocol == "http" else "4317"
        if "@" in self.url:
            yield "url", "user and password do not belong into the URL: use `headers`"
        elif not (found := re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", self.url)):
            yield "url", f"{self.url!r} is not a URL: write http://HOST:{port}"
        elif re.search(r"/v1/(traces|logs)/?$", self.url):
            yield "url", "leave /v1/traces and /v1/logs out: they are added for each signal"
        elif self.protocol == "grpc" and (found[1] or "/") != "/":
            yield "url", f"gRPC has no paths: write http://HOST:{port}"
        for name in self.headers:
            if not _HEADER.fullmatch(name):
                yield f"headers.{name}", f"{name!r} is not the name of a header"
        if self.protocol == "grpc" and not self.tls.verify:
            yield "tls.verify", "gRPC always checks the certificate: name its authority with `ca`"
        if conventions.SERVICE_NAME in self.resource:
            yield "resource.service.name", "is what `service` says: write it there"
        if not self.trace_id:
            yield "trace_id", "name the field that holds the trace's id"
        for field, scale in self.durations.items():
            if not 0 < scale < float("inf"):
                yield f"durations.{field}", f"{scale} turns nothing into seconds: write 0.001 for milliseconds"

    def reads(self) -> Iterable[str]:
        """All that spans and log records are made of."""
        try:
            return {*self._items.reads(), *(self.match.fields if self.match else ())}
        except ImportError:  # `check` says so
            return ()

    async def open(self) -> None:
        """Be ready to connect."""
        from ._otlp_transport import Grpc, Http

        headers = {name: value.reveal() for name, value in self.headers.items()}
        secure, compress = self.url.startswith("https:"), self.compression == "gzip"
        try:
            if self.protocol == "http":
                context = self.tls.context() if secure else None
                self._transport = Http(
                    self.url, headers=headers, timeout=self.timeout, context=context, compress=compress
                )
            else:
                target = self.url.partition("://")[2].rstrip("/")
                tls = self.tls if secure else None
                self._transport = Grpc(target, headers=headers, timeout=self.timeout, tls=tls, compress=compress)
        except ImportError:
            raise ProbeError(MISSING, "protocol") from None
        except OSError as error:
            raise ProbeError(f"cannot use these files: {error.strerror or error}", "tls") from None
        except ValueError as error:
            raise ProbeError(f"cannot be sent: {error}", "headers") from None

    async def close(self) -> None:
        """Close the connections."""
        if self._transport:
            await self._transport.close()

    async def probe(self) -> None:
        """Send nothing at all of each signal: shows that a receiver is there, and takes it and the token."""
        from ._otlp_transport import Busy, Refused, Wrong

        assert self._transport
        for signal in self.signals:
            try:
                await self._transport.export(signal, b"")
            except (Busy, RetryAfter) as error:
                log.warning("the receiver is busy", sink=self.name, error=str(error))
            except Wrong as error:
                raise self._problem(signal, error) from None
            except Refused as error:
                if error.understood:
                    continue
                raise ProbeError(f"is not taken as a receiver of {signal}: {error}", "url") from None
            except OSError as error:
                where, hint = self._tls_hint(str(error))
                raise ProbeError(f"cannot reach the receiver: {error}{hint}", where) from None

    def _tls_hint(self, words: str) -> tuple[str, str]:
        """Which option it is about, and what would do. TLS has few words for what went wrong, and gRPC others."""
        if not self.url.startswith("https:"):
            return "url", ""
        if "CERTIFICATE_VERIFY_FAILED" in words:
            return "tls", "; `tls: { ca: FILE }` names the authority that signed its certificate"
        if "WRONG_VERSION_NUMBER" in words:
            return "url", "; it speaks no TLS on this port: write http://"
        if "CERTIFICATE_REQUIRED" in words or "HANDSHAKE_FAILURE" in words or "TSI_" in words:
            return "tls", "; where it wants to see a certificate, `tls: { cert: FILE, key: FILE }` names ours"
        return "url", ""

    def _problem(self, signal: Signal, error: Wrong) -> ProbeError:
        if error.status in (401, 403, "UNAUTHENTICATED", "PERMISSION_DENIED"):
            return ProbeError(f"{error}; check the token in `headers`", "headers")
        if error.status in (404, 405, "UNIMPLEMENTED", "NOT_FOUND"):
            others = [other for other in self.signals if other != signal]
            hint = f"; if it takes no {signal}, write signals: [{others[0]}]" if others else ""
            return ProbeError(f"{error}: nobody takes {signal} there{hint}", "url")
        return ProbeError(str(error), "url")

    async def send(self, batches: Sequence[Batch]) -> None:
        """Send. What is refused is rejected; after an error, what is left is sent."""
        from ._otlp_transport import Refused

        assert self._transport
        if list(map(id, batches)) != list(map(id, self._attempt)):
            self._left, self._refused = deque(self._items.requests(batches)), {}
            self._attempt = list(batches)
        while self._left:
            request = self._left[0]
            try:
                taken = await self._transport.export(request.signal, request.body)
            except Refused as error:
                self._left.popleft()
                if error.some and len(request.items) > 1:
                    self._left.extendleft(reversed(request.halves()))
                else:
                    self._refuse(request, str(error))
                continue
            self._left.popleft()
            if taken.refused > 0:
                # It must not be sent again, and nobody says which ones they are: none of them may get lost.
                of = f"{taken.refused} of {len(request.items)}"
                self._refuse(request, f"the receiver took the request but for {of} items: {taken.why or 'no reason'}")
            elif taken.why:
                log.warning("the receiver warns", sink=self.name, signal=request.signal, words=taken.why)
        refused, self._attempt, self._refused = list(self._refused.values()), [], {}
        if refused:
            hint = "the other side says why; `tailrace dlq retry` sends them again"
            raise Rejected([(record, "; ".join(reasons)) for record, reasons in refused], hint)

    def _refuse(self, request: Request, reason: str) -> None:
        for item in request.items:
            record = item.batch.records[item.place]
            _, reasons = self._refused.setdefault(id(record), (record, []))
            reasons.append(f"{request.signal}: {reason}")

    @cached_property
    def _items(self) -> Items:
        from ._otlp_items import Fields, Items

        fields = Fields(
            self.trace_id,
            self.span_id,
            self.parent_span_id,
            self.start,
            self.span_name,
            self.span_kind,
            self.durations,
            tuple(dict.fromkeys(self.attributes)),
        )
        matches: dict[conventions.Kind, Match] = {
            "session": self.session,
            "stage": self.stage,
            "tool": self.tool,
            "llm": self.llm,
        }
        resource = {conventions.SERVICE_NAME: self.service, **self.resource}
        return Items(self.signals, fields, matches, resource, line=self.line, starts=self.time == "start")
