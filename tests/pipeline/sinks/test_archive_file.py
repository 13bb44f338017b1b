"""One archive file: whole, or as long as before."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tailrace.pipeline.sinks._archive_file import ArchiveFile


def test_what_is_appended_is_in_the_file_and_stays(tmp_path: Path) -> None:
    file = ArchiveFile(tmp_path / "deep" / "a.jsonl")
    file.append(b"one\n")
    file.append(b"two\n")
    file.sync()
    file.keep()
    file.take_back()
    file.close()
    assert (tmp_path / "deep" / "a.jsonl").read_bytes() == b"one\ntwo\n"


def test_what_was_not_kept_can_be_taken_back(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"old\n")
    file = ArchiveFile(tmp_path / "a.jsonl")
    file.append(b"kept\n")
    file.keep()
    file.append(b"not kept\n")
    file.take_back()
    file.append(b"new\n")
    file.close()
    assert (tmp_path / "a.jsonl").read_bytes() == b"old\nkept\nnew\n"


def test_it_can_be_taken_back_even_when_it_is_closed(tmp_path: Path) -> None:
    file = ArchiveFile(tmp_path / "a.jsonl")
    file.append(b"kept\n")
    file.keep()
    file.append(b"not kept\n")
    file.close()
    file.sync()
    file.take_back()
    assert (tmp_path / "a.jsonl").read_bytes() == b"kept\n"


def test_a_write_cut_short_goes_on_where_it_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ArchiveFile(tmp_path / "a.jsonl")
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:3]))
    file.append(b"0123456789")
    monkeypatch.undo()
    file.close()
    assert (tmp_path / "a.jsonl").read_bytes() == b"0123456789"


def test_on_a_full_disk_it_goes_back_to_its_last_good_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ArchiveFile(tmp_path / "a.jsonl")
    file.append(b"kept\n")
    file.keep()
    write, room = os.write, [4]

    def full(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(fd, bytes(data)[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        file.append(b"too much\n")
    monkeypatch.undo()
    assert (tmp_path / "a.jsonl").read_bytes() == b"kept\ntoo "
    file.take_back()
    assert (tmp_path / "a.jsonl").read_bytes() == b"kept\n"
    file.append(b"too much\n")
    file.close()
    assert (tmp_path / "a.jsonl").read_bytes() == b"kept\ntoo much\n"


@pytest.mark.parametrize(
    ("there", "next_name"),
    [
        pytest.param({}, "a.jsonl.zst", id="the first"),
        pytest.param({"a.jsonl.zst": 9}, "a.jsonl.zst", id="the first has room"),
        pytest.param({"a.jsonl.zst": 10}, "a.1.jsonl.zst", id="the first is full"),
        pytest.param({"a.jsonl.zst": 10, "a.1.jsonl.zst": 3}, "a.1.jsonl.zst", id="the second has room"),
        pytest.param({"a.jsonl.zst": 10, "a.1.jsonl.zst": 12}, "a.2.jsonl.zst", id="the second is full"),
    ],
)
def test_it_goes_on_with_the_newest_file_or_the_one_after_it(
    tmp_path: Path, there: dict[str, int], next_name: str
) -> None:
    for name, size in there.items():
        (tmp_path / name).write_bytes(b"x" * size)
    file = ArchiveFile.next_of(tmp_path / "a.jsonl.zst", 10, None)
    file.close()
    assert file.path.name == next_name
    assert file.path.exists()


def test_without_a_limit_it_is_always_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"x" * 100)
    file = ArchiveFile.next_of(tmp_path / "a.jsonl", None, None)
    assert not file.is_due(None, None)
    file.close()
    assert file.path.name == "a.jsonl"


def test_after_a_restart_a_file_not_written_to_for_long_is_done(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"x")
    os.utime(tmp_path / "a.jsonl", (0, 0))
    file = ArchiveFile.next_of(tmp_path / "a.jsonl", None, 3600.0)
    file.close()
    assert file.path.name == "a.1.jsonl"


@pytest.mark.parametrize(("length", "age", "due"), [(0, -1.0, False), (1, -1.0, True), (1, 3600.0, False)])
def test_it_is_due_by_age_unless_it_is_empty(tmp_path: Path, length: int, age: float, due: bool) -> None:
    file = ArchiveFile(tmp_path / "a.jsonl")
    file.append(b"x" * length)
    assert file.is_due(None, age) is due
    file.close()


def test_a_folder_that_cannot_be_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        ArchiveFile(tmp_path / "file" / "a.jsonl")


def test_others_may_not_read_it(tmp_path: Path) -> None:
    ArchiveFile(tmp_path / "a.jsonl").close()
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o007 == 0
