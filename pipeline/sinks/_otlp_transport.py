"""How OTLP travels: over HTTP or gRPC, and what the receiver's answers mean."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from ssl import SSLContext
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from ..component import RetryAfter
from ..http_client import Client, Response
from ..options import Tls
from ._answer import retry_after

Signal: TypeAlias = Literal["traces", "logs"]

PATHS: Mapping[Signal, str] = {"traces": "/v1/traces", "logs": "/v1/logs"}
METHODS: Mapping[Signal, str] = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
ANSWER_BYTES = 1 << 20
"""More of an answer is not read."""
TOO_LARGE = "larger than max"
"""gRPC's words for a message over the receiver's limit, under a code that also means other things."""
SUCCESS = frozenset((200, 202, 204))
"""200 by the specification; Loki answers 204."""
RETRYABLE = frozenset((429, 502, 503, 504))
"""Of HTTP, by the OTLP specification."""
SOME = frozenset((400, 413, 422))
"""Of HTTP, where something in the request is at fault, or there is too much of it."""
CALLS_RETRYABLE = frozenset(
    ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS", "RESOURCE_EXHAUSTED")
)
"""Of gRPC, by the same. RESOURCE_EXHAUSTED is among them also without a `RetryInfo`: so are rate limits said, and we
wait."""
CALLS_WRONG = frozenset(("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND"))
"""Of gRPC, where only another config helps."""
RECONNECT_MS = 5000


class Taken(NamedTuple):
    """A request was taken, but for so many of its items."""

    refused: int = 0
    why: str = ""


class Refused(Exception):
    """The receiver will never take a request as it is; `some`: because of some of its items, or for it is too large."""

    def __init__(self, message: str, *, some: bool = False, understood: bool = False) -> None:
        super().__init__(message)
        self.some = some
        self.understood = understood
        """The answer is one to OTLP: a receiver that refuses an empty request is one."""


class Busy(OSError):
    """The receiver is there, and takes nothing at present."""


class Wrong(OSError):
    """An answer that only another config will change; `status` is that of HTTP or the name of gRPC's code."""

    def __init__(self, message: str, status: int | str) -> None:
        super().__init__(message)
        self.status = status


class Transport(Protocol):
    """Sends requests."""

    async def export(self, signal: Signal, body: bytes) -> Taken:
        """One request. Raises Refused, RetryAfter, Wrong or another OSError."""

    async def close(self) -> None:
        """Close the connections."""


class Http:
    """OTLP/HTTP with protobuf."""

    def __init__(
        self, url: str, *, headers: Mapping[str, str], timeout: float, context: SSLContext | None, compress: bool
    ) -> None:
        own = {"Content-Type": "application/x-protobuf", "User-Agent": "tailrace"}
        if compress:
            own["Content-Encoding"] = "gzip"
        self._url = url.rstrip("/")
        self._client = Client(url, headers=own | dict(headers), timeout=timeout, context=context)
        self._compress = compress

    async def export(self, signal: Signal, body: bytes) -> Taken:
        """One POST."""
        if self._compress:
            body = gzip.compress(body, 1, mtime=0)
        return read_answer(await self._client.request("POST", self._url + PATHS[signal], body, at_most=ANSWER_BYTES))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


class Grpc:
    """OTLP/gRPC. Raises ImportError where grpcio is not installed, OSError for files that cannot be read."""

    def __init__(
        self, target: str, *, headers: Mapping[str, str], timeout: float, tls: Tls | None, compress: bool
    ) -> None:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would write to stderr by itself
        import grpc
        import grpc.aio

        options = [
            ("grpc.enable_http_proxy", 0),  # as for HTTP
            ("grpc.enable_retries", 0),  # what is tried again, and when, is decided by the delivery
            ("grpc.max_reconnect_backoff_ms", RECONNECT_MS),
            ("grpc.primary_user_agent", "tailrace"),
        ]
        compression = grpc.Compression.Gzip if compress else grpc.Compression.NoCompression
        if tls is None:
            channel = grpc.aio.insecure_channel(target, options, compression)
        else:
            files = [Path(file).read_bytes() if file else None for file in (tls.ca, tls.key or tls.cert, tls.cert)]
            channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(*files), options, compression)
        self._channel: Any = channel
        self._calls = {signal: channel.unary_unary(method) for signal, method in METHODS.items()}
        self._metadata = tuple((name.lower(), value) for name, value in headers.items())
        self._timeout = timeout
        self._error = grpc.aio.AioRpcError

    async def export(self, signal: Signal, body: bytes) -> Taken:
        """One call."""
        try:
            answer = await self._calls[signal](body, timeout=self._timeout, metadata=self._metadata)
        except self._error as error:
            trailing = dict(error.trailing_metadata() or ())
            details = trailing.get("grpc-status-details-bin", b"")
            raise error_of(error.code().name, error.details() or "", details) from None
        return partial(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._channel.close()


def read_answer(answer: Response) -> Taken:
    """What an answer over HTTP means. Raises Refused, RetryAfter, Wrong or OSError."""
    status, headers, body = answer
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if status in SUCCESS:
        try:
            if kind == "application/json":
                return _json(body)
            if kind == "application/x-protobuf" or not body:
                return partial(body)
        except ValueError:
            pass
        raise Wrong(f"what answers there ({kind or 'of no content type'}) is no OTLP receiver", status)
    words = _words(body, kind)
    message = f"the receiver answers {status}" + (f": {words}" if words else "")
    if status in RETRYABLE:
        wait = retry_after(headers)
        raise Busy(message) if wait is None else RetryAfter(message, wait)
    if status in SOME or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Refused(message, some=status in SOME, understood=status == HTTPStatus.UNPROCESSABLE_ENTITY)
    # The specification lets go of these too, but a token or a path is a matter of the config: what waits is not lost.
    raise Wrong(message, status)


def error_of(code: str, words: str, details: bytes) -> Exception:
    """What a gRPC status means for the delivery; `details` is its `google.rpc.Status`."""
    message = f"the receiver answers {code}" + (f": {words[:500]}" if words else "")
    if code == "INVALID_ARGUMENT" or (code == "RESOURCE_EXHAUSTED" and TOO_LARGE in words):
        return Refused(message, some=True, understood=True)
    if code in CALLS_RETRYABLE:
        wait = retry_info(details)
        if wait is not None:
            return RetryAfter(message, wait)
        return Busy(message) if code == "RESOURCE_EXHAUSTED" else OSError(message)
    return Wrong(message, code) if code in CALLS_WRONG else Refused(message)


def partial(body: bytes) -> Taken:
    """What `Export…ServiceResponse` says: all signals have one form. Raises ValueError."""
    for number, value in members(body):
        if number == 1 and isinstance(value, bytes):
            inner = dict(members(value))
            refused, why = inner.get(1, 0), inner.get(2, b"")
            if isinstance(refused, int) and isinstance(why, bytes):
                return Taken(refused, why.decode("utf-8", "replace")[:500])
    return Taken()


def retry_info(status: bytes) -> float | None:
    """Seconds of the `RetryInfo` in a `google.rpc.Status`; None where there is none."""
    try:
        for number, detail in members(status):
            any_of = dict(members(detail)) if number == 3 and isinstance(detail, bytes) else {}
            kind, value = any_of.get(1), any_of.get(2, b"")
            if isinstance(kind, bytes) and kind.endswith(b"/google.rpc.RetryInfo") and isinstance(value, bytes):
                delay = dict(members(value)).get(1, b"")
                parts = dict(members(delay)) if isinstance(delay, bytes) else {}
                seconds, ns = parts.get(1, 0), parts.get(2, 0)
                if isinstance(seconds, int) and isinstance(ns, int):
                    return seconds + ns / 1e9
    except ValueError:
        pass
    return None


def members(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a protobuf message's fields. Raises ValueError where it is none."""
    place, end = 0, len(data)
    while place < end:
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == 2:
            size, place = _varint(data, place)
        else:
            size = {1: 8, 5: 4}.get(wire, end + 1)
        if place + size > end:
            raise ValueError("no protobuf message")
        yield number, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 64:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError("no protobuf message")


class _Partial(msgspec.Struct, rename="camel"):
    rejected_spans: int | str = 0
    rejected_log_records: int | str = 0
    error_message: str = ""


class _Response(msgspec.Struct, rename="camel"):
    partial_success: _Partial | None = None


def _json(body: bytes) -> Taken:
    """Raises ValueError."""
    told = msgspec.json.decode(body, type=_Response).partial_success or _Partial()
    return Taken(int(told.rejected_spans) + int(told.rejected_log_records), told.error_message[:500])


def _words(body: bytes, kind: str) -> str:
    """The message of a `google.rpc.Status`, whatever its content type says, or the text."""
    words = body
    if not kind.startswith("text/"):
        with suppress(ValueError):
            told = dict(members(body)).get(2)
            words = told if isinstance(told, bytes) else body
    text = words.decode("utf-8", "replace")[:500]
    return "".join(character if character.isprintable() else " " for character in text).strip()
