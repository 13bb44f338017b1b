"""Reads push requests with the real protobuf and snappy libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cramjam
import pytest
from google.protobuf import (  # type: ignore[import-untyped]  # ships no types
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)


class Pushed(NamedTuple):
    """One entry of a push request."""

    labels: str
    time_ns: int
    line: bytes
    metadata: dict[str, str]


_F = descriptor_pb2.FieldDescriptorProto
_MESSAGES: dict[str, list[tuple[str, int, int, str]]] = {
    # Field, number, type, and the type's name for a repeated or single message.
    "PushRequest": [("streams", 1, _F.LABEL_REPEATED, "Stream")],
    "Stream": [("labels", 1, _F.LABEL_OPTIONAL, "string"), ("entries", 2, _F.LABEL_REPEATED, "Entry")],
    "Entry": [
        ("timestamp", 1, _F.LABEL_OPTIONAL, "Timestamp"),
        ("line", 2, _F.LABEL_OPTIONAL, "bytes"),  # a string in Loki, where Go lets any bytes pass
        ("structuredMetadata", 3, _F.LABEL_REPEATED, "LabelPair"),
    ],
    "LabelPair": [("name", 1, _F.LABEL_OPTIONAL, "string"), ("value", 2, _F.LABEL_OPTIONAL, "string")],
    "Timestamp": [("seconds", 1, _F.LABEL_OPTIONAL, "int64"), ("nanos", 2, _F.LABEL_OPTIONAL, "int32")],
}
_SCALARS = {"string": _F.TYPE_STRING, "bytes": _F.TYPE_BYTES, "int64": _F.TYPE_INT64, "int32": _F.TYPE_INT32}


def _push_request() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="logproto.proto", package="logproto", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, label, kind in fields:
            added = message.field.add(name=field, number=number, label=label)
            if kind in _SCALARS:
                added.type = _SCALARS[kind]
            else:
                added.type, added.type_name = _F.TYPE_MESSAGE, f".logproto.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("logproto.PushRequest"))


@pytest.fixture(scope="session")
def read_push() -> Callable[[bytes], list[Pushed]]:
    """Decodes the bytes of a push request, in the order of its streams and entries."""
    request = _push_request()

    def read(body: bytes) -> list[Pushed]:
        push = request.FromString(body)
        assert all(entry.timestamp.nanos < 10**9 for stream in push.streams for entry in stream.entries)
        return [
            Pushed(
                stream.labels,
                entry.timestamp.seconds * 10**9 + entry.timestamp.nanos,
                entry.line,
                {pair.name: pair.value for pair in entry.structuredMetadata},
            )
            for stream in push.streams
            for entry in stream.entries
        ]

    return read


@pytest.fixture(scope="session")
def read_body(read_push: Callable[[bytes], list[Pushed]]) -> Callable[[bytes], list[Pushed]]:
    """The same for the body of an HTTP request, which is snappy around it."""
    return lambda body: read_push(bytes(cramjam.snappy.decompress_raw(body)))
