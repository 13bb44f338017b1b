"""Bloom filters (Bloom 1970): a few bits for each token, which say of one whether it may be in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b

_BITS = 10
"""For each token: with four of them set, one answer of eighty is a wrong yes, none a wrong no."""
_MOST_BYTES = 1 << 20
_WORD = re.compile(rb"[0-9a-z_]+")
_INNER = re.compile(rb"(?<=[ -/:-@\[\]-^`{-~])(?<!\\)[0-9a-z_]{4,64}(?=[^0-9a-z_])")
_UNSURE = re.compile(rb"\\u00[2-7]|\xe2\x84\xaa|\xc4\xb0|\\u(?:212a|0130)", re.IGNORECASE)


def words(text: bytes) -> set[bytes]:
    """The words of a text, in lower case, that a filter is asked for: of 4 to 64 letters, digits and `_`."""
    return {word for word in set(_WORD.findall(text.lower())) if 4 <= len(word) <= 64}


def sure_words(needle: str) -> set[bytes]:
    """The words that any line has in which this stands: those at its ends may be parts of longer ones."""
    return set(_INNER.findall(needle.encode("utf-8", "replace").lower()))


def unsure(text: bytes) -> bool:
    r"""Whether a text writes letters in a way that hides words: `\u0061`, or signs whose lower case is ASCII."""
    return _UNSURE.search(text) is not None


def make(tokens: Iterable[bytes]) -> bytes:
    """A filter of the tokens."""
    own = set(tokens)
    size = min(_MOST_BYTES, max(16, len(own) * _BITS // 8 + 1))
    table, bits = bytearray(size), size * 8
    for token in own:
        for place in _places(token, bits):
            table[place >> 3] |= 1 << (place & 7)
    return bytes(table)


def may_hold(table: bytes, tokens: Iterable[bytes]) -> bool:
    """Whether all of the tokens may be among those that the filter was made of."""
    bits = len(table) * 8
    return all(table[place >> 3] >> (place & 7) & 1 for token in tokens for place in _places(token, bits))


def _places(token: bytes, bits: int) -> tuple[int, int, int, int]:
    number = int.from_bytes(blake2b(token, digest_size=16).digest(), "little")
    mask = 0xFFFFFFFF
    return (number & mask) % bits, (number >> 32 & mask) % bits, (number >> 64 & mask) % bits, (number >> 96) % bits
