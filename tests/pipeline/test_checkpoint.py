"""The state file is whole at every moment, and one tailrace's alone."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from threading import Thread

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.checkpoint import VERSION, Checkpoint, Saved, State, StateError

SAVED = {
    "app": {
        "/var/log/a.log": Saved(
            {"offset": 5, "path": "/var/log/a.log"}, msgspec.Raw(b'{"clock":{"last":1}}'), {"loki": 7}
        )
    }
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
POSITIONS = st.dictionaries(TEXT, st.integers(-(1 << 63), (1 << 64) - 1) | TEXT, max_size=3)


def test_the_first_start_finds_nothing(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path).load().sources == {}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    Checkpoint(tmp_path).save(State(SAVED, {}))
    (one,) = Checkpoint(tmp_path).load().sources["app"].values()
    assert one.position == {"offset": 5, "path": "/var/log/a.log"}
    assert msgspec.json.decode(one.state) == {"clock": {"last": 1}}
    assert one.taken == {"loki": 7}


@given(position=POSITIONS, taken=st.dictionaries(TEXT, st.integers(0, 1 << 60), max_size=3), key=TEXT)
def test_any_position_comes_back(
    tmp_path_factory: pytest.TempPathFactory, position: dict[str, int | str], taken: dict[str, int], key: str
) -> None:
    folder = tmp_path_factory.mktemp("state")
    Checkpoint(folder).save(State({key: {key: Saved(position, taken=taken)}}, {}))
    assert Checkpoint(folder).load().sources[key][key] == Saved(position, taken=taken)


def test_a_save_replaces_the_one_before_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(State(SAVED, {}))
    checkpoint.save(State({}, {}))
    assert checkpoint.load().sources == {}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.json"]


def test_a_save_that_failed_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(State(SAVED, {}))
    (tmp_path / "checkpoint.tmp").mkdir()
    with pytest.raises(OSError, match="directory"):
        checkpoint.save(State({}, {}))
    assert checkpoint.load().sources.keys() == {"app"}


def test_what_a_save_cut_short_by_a_crash_left_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.tmp").write_bytes(b'{"version":1,"sour')
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.load().sources == {}
    checkpoint.save(State(SAVED, {}))
    assert checkpoint.load().sources.keys() == {"app"}


def test_saves_in_two_threads_do_not_mix(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    failed: list[OSError] = []

    def save(name: str) -> None:
        try:
            for _ in range(20):
                checkpoint.save(State({name: {str(i): Saved({"offset": i}) for i in range(200)}}, {}))
        except OSError as error:
            failed.append(error)

    threads = [Thread(target=save, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    (partitions,) = checkpoint.load().sources.values()
    assert len(partitions) == 200


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "not a state file", id="empty"),
        pytest.param(b'{"version":1,"sour', "not a state file", id="cut short"),
        pytest.param(b"\x00" * 64, "not a state file", id="zeros"),
        pytest.param(b"[]", "not a state file", id="not an object"),
        pytest.param(b'{"version":1}', "not a state file", id="no sources"),
        pytest.param(
            b'{"version":1,"sources":{"a":{"p":{"position":{"offset":1.5}}}},"sinks":{}}',
            "not a state file",
            id="no position",
        ),
        pytest.param(b"[" * 100_000, "not a state file", id="too deep"),
        pytest.param(
            b'{"version":2,"sources":{}}', f"state of version 2, this tailrace reads {VERSION}", id="a later version"
        ),
        pytest.param(b"{}", "state of version None", id="no version"),
    ],
)
def test_a_file_that_it_cannot_read_is_refused_with_a_way_out(tmp_path: Path, data: bytes, message: str) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.path.write_bytes(data)
    with pytest.raises(StateError, match=message) as caught:
        checkpoint.load()
    assert "move it and flight.jsonl away to read every source from its start_at again" in str(caught.value)
    assert str(checkpoint.path) in str(caught.value)


def test_something_else_in_its_place_is_refused(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.path.mkdir()
    with pytest.raises(StateError, match="cannot be read: Is a directory"):
        checkpoint.load()


def test_the_folder_is_created_and_belongs_to_one(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    first, second = Checkpoint(folder), Checkpoint(folder)
    first.lock()
    with pytest.raises(StateError, match=rf"in use by another tailrace \(pid {os.getpid()}\); stop it, or give"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()
    assert (folder / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_of_one_that_died_does_not_hold(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("12345678901\n")
    checkpoint = Checkpoint(tmp_path)
    checkpoint.lock()
    checkpoint.unlock()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_holder_that_did_not_write_its_pid_is_unknown(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(StateError, match="pid unknown"):
            Checkpoint(tmp_path).lock()


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be used as state folder: Not a directory"):
        Checkpoint(tmp_path / "file" / "state").lock()


def test_giving_back_what_was_never_taken_does_nothing(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "state").unlock()
    assert not (tmp_path / "state").exists()


def test_the_state_file_is_an_ordinary_file(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(State(SAVED, {}))
    assert stat.S_ISREG(checkpoint.path.stat().st_mode)
