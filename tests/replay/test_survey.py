"""What is in each stream."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from tailrace.replay.block import Rows, Writer, outlines
from tailrace.replay.survey import Hashes, survey


def test_each_stream_is_counted_and_hashed_in_its_order(tmp_path: Path) -> None:
    writer, hashes = Writer(tmp_path / "a.rows"), Hashes()
    for block in (Rows([1, 2, 3], [1, 0, 1], [0] * 3, [b"ab", b"c", b"d"], []), Rows([4], [1], [0], [b"efg"], [])):
        hashes.add(block)
        writer.write(block)
    writer.close()
    zero, one, two = survey(outlines(writer.path), 3, lambda key: f"k{key}", hashes)
    assert (zero.labels, zero.records, zero.bytes, zero.first_ns, zero.last_ns) == ("k0", 1, 1, 2, 2)
    assert (one.labels, one.records, one.bytes, one.first_ns, one.last_ns) == ("k1", 3, 6, 1, 4)
    assert one.sha256 == hashlib.sha256(b"ab\nd\nefg\n").hexdigest()
    assert one.times_sha256 == hashlib.sha256(struct.pack("<3q", 1, 3, 4)).hexdigest()
    assert (two.records, two.sha256) == (0, hashlib.sha256().hexdigest())
