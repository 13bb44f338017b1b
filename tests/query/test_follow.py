from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import cramjam
import pytest

from tailrace.query.follow import Follower


def zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data))


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def read(follower: Follower) -> bytes:
    return b"".join(follower.read())


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.log", bytes), ("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstd)],
    ids=["plain", "gzip", "zstd"],
)
def test_what_is_written_after_the_start_is_read_once(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / name
    path.write_bytes(pack(b"old\n"))
    follower = Follower([tmp_path])
    assert read(follower) == b""
    append(path, pack(b"one\ntwo\n"))
    assert read(follower) == b"one\ntwo\n"
    packed = pack(b"three\n")
    append(path, packed[:5])
    first = read(follower)
    append(path, packed[5:])
    assert first + read(follower) == b"three\n"
    assert read(follower) == b""
    follower.close()


def test_half_a_line_waits_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.touch()
    follower = Follower([path])
    append(path, b"ha")
    assert read(follower) == b""
    append(path, b"lf\nnext")
    assert read(follower) == b"half\n"
    follower.close()


def test_a_rotated_file_is_read_to_its_end_and_the_new_one_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"old\n")
    follower = Follower([path])
    append(path, b"last\n")
    path.rename(tmp_path / "app.log.1")
    path.write_bytes(b"first\n")
    assert sorted(follower.read()) == [b"first\n", b"last\n"]
    assert read(follower) == b""
    follower.close()


def test_a_rotated_file_that_was_compressed_has_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"old\n")
    follower = Follower([tmp_path])
    (tmp_path / "app.log.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert read(follower) == b""
    follower.close()


def test_a_file_that_was_cut_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"a long old line\n")
    follower = Follower([path])
    path.write_bytes(b"new\n")
    assert read(follower) == b"new\n"
    follower.close()


def test_from_the_start_what_is_there_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"old\n")
    follower = Follower([tmp_path], from_start=True)
    assert read(follower) == b"old\n"
    (tmp_path / "b.jsonl").write_bytes(b"new file\n")
    assert read(follower) == b"new file\n"
    follower.close()


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"x\n"))
    told: list[str] = []
    follower = Follower([path], warn=told.append)
    append(path, b"no gzip at all")
    assert read(follower) == b""
    assert str(path) in told[0]
    follower.close()
