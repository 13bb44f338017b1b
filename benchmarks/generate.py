"""Writes the corpora: `python -m tailrace.benchmarks.generate [--mb 200] [MIX …]`."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import msgspec

from ..tests.services._server import cache
from .corpora import MIXES, Author

SEED = 7


class Corpus(msgspec.Struct):
    """What is in a corpus. Written beside it when it is complete."""

    mix: str
    mb: float
    """The size asked for, in 10⁶ bytes; the corpus ends with the event that reaches it."""
    bytes: int
    lines: int
    events: int
    secrets: dict[str, int]
    """How many are planted, by kind."""
    sha256: str


def corpus_path(mix: str, mb: float) -> Path:
    """Where a corpus is kept; `about` says what is in it."""
    return cache() / "bench-data" / f"{mix}-{mb:g}mb.log"


def about(path: Path) -> Corpus | None:
    """What is in a corpus, or None unless it is there and whole."""
    try:
        corpus = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Corpus)
        return corpus if path.stat().st_size == corpus.bytes else None
    except (OSError, msgspec.DecodeError):
        return None


def write(path: Path, mix: str, mb: float, seed: int = SEED) -> Corpus:
    """Write a corpus and what is in it. The same mix, size and seed always make the same bytes."""
    author = Author(mix, seed)
    digest = hashlib.sha256()
    corpus = Corpus(mix=mix, mb=mb, bytes=0, lines=0, events=0, secrets={}, sha256="")
    with path.open("wb", buffering=1 << 20) as file:
        for event in MIXES[mix](author):
            encoded = event.text.encode()
            file.write(encoded)
            digest.update(encoded)
            corpus.bytes += len(encoded)
            corpus.lines += event.lines
            corpus.events += 1
            if corpus.bytes >= mb * 1e6:
                break
    corpus.secrets = dict(sorted(author.secrets.items()))
    corpus.sha256 = digest.hexdigest()
    path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(corpus)) + b"\n")
    return corpus


def ensure(mix: str, mb: float) -> tuple[Path, Corpus]:
    """A corpus, written now if it is not there."""
    path = corpus_path(mix, mb)
    corpus = about(path)
    if corpus is None:
        print(f"writing {path}", file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        corpus = write(path, mix, mb)
    return path, corpus


def main() -> int:
    """Write what is not there yet."""
    parser = argparse.ArgumentParser(prog="python -m tailrace.benchmarks.generate", description="Write the corpora.")
    parser.add_argument("--mb", type=float, default=200, help="size of each in 10⁶ bytes (default: 200)")
    parser.add_argument("mixes", nargs="*", metavar="MIX", help=f"{', '.join(MIXES)} (default: all)")
    chosen = parser.parse_args()
    for mix in chosen.mixes or MIXES:
        if mix not in MIXES:
            parser.error(f"no mix {mix!r}; there are: {', '.join(MIXES)}")
        ensure(mix, chosen.mb)
    return 0


if __name__ == "__main__":
    sys.exit(main())
