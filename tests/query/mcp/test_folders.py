from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.query.mcp.folders import Folders, Outside

SECRET = b"outside\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder to read, with links that lead out of it, beside what is not to be read."""
    (tmp_path / "private.log").write_bytes(SECRET)
    (tmp_path / "private").mkdir()
    (tmp_path / "private/inner.log").write_bytes(SECRET)
    logs = tmp_path / "logs"
    (logs / "a/b").mkdir(parents=True)
    (logs / ".hidden").mkdir()
    for name in ("app.2.jsonl", "app.10.jsonl", "a/b/c.log.gz", "notes.txt", ".hidden/x.log"):
        (logs / name).write_bytes(b"inside\n")
    (logs / "file-link.log").symlink_to(tmp_path / "private.log")
    (logs / "folder-link").symlink_to(tmp_path / "private")
    (logs / "up").symlink_to("..")
    os.mkfifo(logs / "pipe.log")
    return logs


@pytest.fixture
def folders(logs: Path) -> Iterator[Folders]:
    with closing(Folders([logs])) as folders:
        yield folders


def inside(folders: Folders, path: str = "") -> list[str]:
    root = folders._roots[0]
    return [file.relative_to(root).as_posix() for file in folders.files(path)]


def test_the_archives_of_a_folder_are_found_in_their_order_without_links_pipes_and_hidden_folders(
    folders: Folders,
) -> None:
    assert inside(folders) == ["a/b/c.log.gz", "app.2.jsonl", "app.10.jsonl"]


@pytest.mark.parametrize("path", ["a", "a/b/c.log.gz", "./a//b", "notes.txt"])
def test_a_path_inside_means_what_is_there(folders: Folders, logs: Path, path: str) -> None:
    for written in (path, str(logs / path)):
        (held,) = folders.files(written)
        assert held.read_bytes() == b"inside\n"


@pytest.mark.parametrize(
    "path",
    [
        "../private.log",
        "a/../../private.log",
        "a/../app.2.jsonl",
        "/etc/passwd",
        "file-link.log",
        "folder-link",
        "folder-link/inner.log",
        "up/private.log",
        "up/logs/app.2.jsonl",
        "pipe.log/x",
        ".hidden/x.log",
        "app.2.jsonl/",
        "app.2.jsonl\0.log",
        "missing.log",
        "file:///etc/passwd",
        "http://127.0.0.1/x.log",
        "x" * 5000,
        "/proc/self/environ",
        "~/.ssh/id_rsa",
    ],
)
def test_a_path_that_leads_out_or_nowhere_is_refused_in_the_same_words(folders: Folders, path: str) -> None:
    if path == "app.2.jsonl/":  # a slash too many does no harm
        assert inside(folders, path) == ["app.2.jsonl"]
        return
    with pytest.raises(Outside, match=r"^nothing to read at "):
        folders.files(path)


def test_an_absolute_path_of_a_neighbour_with_the_same_beginning_is_outside(folders: Folders, logs: Path) -> None:
    (logs.parent / "logs-of-others").mkdir()
    (logs.parent / "logs-of-others/x.log").write_bytes(SECRET)
    with pytest.raises(Outside):
        folders.files(str(logs.parent / "logs-of-others/x.log"))


def test_a_pipe_is_no_file_and_nobody_waits_for_it(folders: Folders) -> None:
    (held,) = folders.files("pipe.log")
    with pytest.raises(FileNotFoundError):
        held.read_bytes()


def test_a_file_that_becomes_a_link_after_it_was_listed_is_not_followed(folders: Folders, logs: Path) -> None:
    (held,) = folders.files("app.2.jsonl")
    (logs / "app.2.jsonl").unlink()
    (logs / "app.2.jsonl").symlink_to(logs.parent / "private.log")
    with pytest.raises(OSError, match="symbolic links"):
        held.read_bytes()


def test_a_folder_that_becomes_a_link_after_it_was_listed_is_not_followed(folders: Folders, logs: Path) -> None:
    (held,) = folders.files("a/b/c.log.gz")
    (logs / "a").rename(logs / "old")
    (logs.parent / "private/b").mkdir()
    (logs.parent / "private/b/c.log.gz").write_bytes(SECRET)
    (logs / "a").symlink_to(logs.parent / "private")
    with pytest.raises(OSError, match=r"directory|symbolic"):
        held.read_bytes()


def test_what_is_opened_is_what_was_checked_even_if_another_file_is_put_there(folders: Folders, logs: Path) -> None:
    (held,) = folders.files("app.2.jsonl")
    by_descriptor = os.fspath(held)
    (logs / "app.2.jsonl").unlink()
    (logs / "app.2.jsonl").symlink_to(logs.parent / "private.log")
    assert Path(by_descriptor).read_bytes() == b"inside\n"


def test_a_root_that_is_a_link_itself_is_what_the_config_means(tmp_path: Path, logs: Path) -> None:
    (tmp_path / "current").symlink_to(logs)
    with closing(Folders([tmp_path / "current"])) as folders:
        assert "app.2.jsonl" in inside(folders)


@given(
    st.lists(
        st.sampled_from(
            [
                "..",
                ".",
                "",
                "a",
                "b",
                "up",
                "folder-link",
                "file-link.log",
                "private.log",
                "inner.log",
                "logs",
                "/",
                "~",
            ]
        ),
        max_size=8,
    ).map("/".join)
    | st.text(max_size=40)
)
def test_no_path_at_all_reads_anything_outside(tmp_path_factory: pytest.TempPathFactory, path: str) -> None:
    logs = _built_once(tmp_path_factory)
    with closing(Folders([logs])) as folders:
        for written in (path, f"{logs}/{path}"):
            try:
                files = folders.files(written)
            except Outside:
                continue
            for file in files:
                assert file.read_bytes() == b"inside\n"


_BUILT: list[Path] = []


def _built_once(factory: pytest.TempPathFactory) -> Path:
    if not _BUILT:
        top = factory.mktemp("confined")
        (top / "private").mkdir()
        (top / "private.log").write_bytes(SECRET)
        (top / "private/inner.log").write_bytes(SECRET)
        (top / "logs/a/b").mkdir(parents=True)
        (top / "logs/a/b/x.log").write_bytes(b"inside\n")
        (top / "logs/file-link.log").symlink_to(top / "private.log")
        (top / "logs/folder-link").symlink_to(top / "private")
        (top / "logs/up").symlink_to("..")
        _BUILT.append(top / "logs")
    return _BUILT[0]
