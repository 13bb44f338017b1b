"""What chats with language models look like: messages, tool calls, images and sounds in base64."""

from __future__ import annotations

import re

import msgspec

from ..pipeline.excerpt import marker
from ._raw_json import RawObject, members, plain

ROLE = b'"role"'
"""Each chat message has it."""
_MEDIA = re.compile(r"(data:[\w.+-]{1,40}/[\w.+-]{1,60}(?:;[\w=.+-]{1,60}){0,4};base64,)([A-Za-z0-9+/=_-]{100,})")


def without_media(text: str) -> str:
    """The text with a marker in place of what its `data:` URLs hold."""
    return _MEDIA.sub(lambda found: found[1] + marker(len(found[2]), "chars", found[2].encode()), text)


def is_media(siblings: RawObject) -> bool:
    """Whether `data` is said to be an image or sound: Anthropic's `source`, OpenAI's `input_audio`."""
    kind, form = siblings.get("type"), siblings.get("format")
    return (kind is not None and plain(kind) == "base64") or form is not None


def nested(raw: bytes) -> msgspec.Raw | None:
    """The JSON object or list that a string holds."""
    inner = str(plain(raw)).strip().encode("utf-8", "replace")
    if inner[:1] not in (b"{", b"["):
        return None
    try:
        return msgspec.json.decode(inner, type=msgspec.Raw)
    except (msgspec.MsgspecError, ValueError):
        return None


def is_message(value: msgspec.Raw) -> bool:
    """Whether this is an object with a `role`."""
    raw = bytes(value)
    return raw[:1] == b"{" and ROLE in raw and "role" in members(raw)
