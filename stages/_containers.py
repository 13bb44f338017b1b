"""What container runtimes put around the lines of a program: the CRI's text (Kubernetes) and Docker's JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ..pipeline.record import Fields
from ._text_lines import Reader

DOCKER = b'{"log":"'
"""What each line of Docker's json-file driver begins with."""

_CRI = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?+(?:Z|[+-]\d\d:\d\d)) "
    rb"(stdout|stderr) ([FP])(?::\S*+)?+(?: (.*+))?+",
    re.DOTALL,
)
_read = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode
_any = msgspec.json.decode
_BAD_JSON = (msgspec.MsgspecError, ValueError, RecursionError)


def cri(inside: Reader) -> Reader:
    """`time stream F|P text`, with the text read by `inside`; the parts of a line that the runtime split are joined."""

    def read(lines: Sequence[bytes]) -> list[Fields | None]:
        return _unwrapped(list(map(_cri, lines)), inside)

    return read


def docker(inside: Reader) -> Reader:
    """`{"log": text, "stream": …, "time": …}`, with the text read by `inside`; parts of a split line are joined."""

    def read(lines: Sequence[bytes]) -> list[Fields | None]:
        return _unwrapped(list(map(_docker, lines)), inside)

    return read


def _unwrapped(found: list[tuple[bytes, Fields] | None], inside: Reader) -> list[Fields | None]:
    """Fields of the text, beside them what the runtime says; its time counts, for it has a zone and all digits."""
    inner = iter(inside([pair[0] for pair in found if pair is not None]))
    fields: list[Fields | None] = []
    for pair in found:
        if pair is None:
            fields.append(None)
            continue
        text, outer = pair
        own = next(inner)
        if own is None:
            own = {"message": text.decode("utf-8", "replace")}
        fields.append({**outer, **own, "timestamp": outer["timestamp"]})
    return fields


def _cri(event: bytes) -> tuple[bytes, Fields] | None:
    outer: Fields = {}
    parts: list[bytes] = []
    for line in event.split(b"\n"):
        found = _CRI.fullmatch(line.removesuffix(b"\r"))
        if found is None:
            return None
        if not outer:
            outer = {"timestamp": found[1].decode(), "stream": found[2].decode()}
        parts += [found[4] or b"", b"" if found[3] == b"P" else b"\n"]
    return b"".join(parts[:-1]), outer


def _docker(event: bytes) -> tuple[bytes, Fields] | None:
    outer: Fields = {}
    parts: list[str] = []
    for line in event.split(b"\n"):
        if not line.startswith(DOCKER):
            return None
        try:
            fields = _read(line)
            parts.append(_text(fields.pop("log")))
            if not outer:
                outer = {"timestamp": _text(fields.pop("time")), "stream": _text(fields.pop("stream"))}
                outer |= {name: _any(value) for name, value in fields.items()}
        except (*_BAD_JSON, KeyError):
            return None
    return "".join(parts).removesuffix("\n").removesuffix("\r").encode(), outer
