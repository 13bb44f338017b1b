"""One order by time, whatever is in memory at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.replay import merge
from tailrace.replay.block import Rows, blocks
from tailrace.replay.merge import Sorter


def rows(file: int, times: list[int], start: int = 0) -> Rows:
    lines = [b"%d/%d" % (file, number) for number in range(start, start + len(times))]
    return Rows(list(times), [0] * len(times), [file] * len(times), lines, [[str(at) for at in times]])


def all_sorted(
    folder: Path, files: list[list[int]], *, run_bytes: int, chunk: int
) -> list[tuple[int, bytes, str | None]]:
    """Read in turns, a chunk of each file."""
    sorter = Sorter(folder / "runs", run_bytes=run_bytes)
    for start in range(0, max(map(len, files), default=0), chunk):
        for number, times in enumerate(files):
            if part := times[start : start + chunk]:
                sorter.add(number, f"f{number}", rows(number, part, start))
    for _ in sorter.finish(folder / "sorted"):
        pass
    return [
        one
        for block in blocks(folder / "sorted")
        for one in zip(block.times, block.lines, block.columns[0], strict=True)
    ]


files = st.lists(
    st.lists(st.integers(1, 40).map(lambda at: at * 1_000_000), min_size=1, max_size=20), min_size=1, max_size=5
)


@settings(max_examples=60, deadline=None)
@given(files, st.integers(1, 60), st.integers(1, 7))
def test_the_order_does_not_depend_on_how_much_is_read_at_once(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int]], run_bytes: int, chunk: int
) -> None:
    folder = tmp_path_factory.mktemp("m")
    found = all_sorted(folder / "a", files, run_bytes=run_bytes, chunk=chunk)
    assert found == all_sorted(folder / "b", files, run_bytes=1 << 20, chunk=1 << 20)
    assert sorted(line for _, line, _ in found) == sorted(
        b"%d/%d" % (number, place) for number, times in enumerate(files) for place in range(len(times))
    )
    own = [int(text or 0) for *_, text in found]
    assert own == sorted(own)


def test_equal_times_tick_in_the_order_of_their_files_and_lines(tmp_path: Path) -> None:
    found = all_sorted(tmp_path, [[5000, 5000], [4000, 5000]], run_bytes=1, chunk=1)
    assert [(at, line) for at, line, _ in found] == [(4000, b"1/0"), (5000, b"1/1"), (5001, b"0/0"), (5002, b"0/1")]


def test_many_runs_are_merged_in_several_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "FAN_IN", 3)
    found = all_sorted(tmp_path, [[place * 7 % 50 * 1000 + 1 for place in range(50)]], run_bytes=8, chunk=2)
    assert [at for at, *_ in found] == [place * 1000 + 1 for place in range(50)]
    assert not (tmp_path / "runs").exists()


def test_a_sort_that_was_killed_leaves_nothing_that_the_next_one_finds(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "1.run").write_bytes(b"torn")
    assert [at for at, *_ in all_sorted(tmp_path, [[2]], run_bytes=1, chunk=1)] == [2]


def made_of(folder: Path, *parts: tuple[int, list[int]]) -> tuple[int, list[int], Sorter]:
    """How many runs it takes to sort these pieces of files, and what comes out."""
    sorter = Sorter(folder / "runs", run_bytes=1)
    for file, times in parts:
        sorter.add(file, f"f{file}", rows(file, times))
    runs = len(list((folder / "runs").iterdir()))
    for _ in sorter.finish(folder / "sorted"):
        pass
    return runs, [at for block in blocks(folder / "sorted") for at in block.times], sorter


@pytest.mark.parametrize(
    ("parts", "runs"),
    [
        pytest.param([(0, [1, 2]), (0, [3]), (1, [4, 5]), (2, [6])], 1, id="one file behind the other"),
        pytest.param([(0, [1, 3]), (0, [5]), (1, [2, 4]), (1, [6]), (0, [7])], 2, id="two that overlap"),
        pytest.param([(0, [4, 3]), (0, [2, 1])], 2, id="backwards"),
    ],
)
def test_what_is_in_order_makes_no_further_run(tmp_path: Path, parts: list[tuple[int, list[int]]], runs: int) -> None:
    made, found, _ = made_of(tmp_path, *parts)
    assert made == runs
    assert found == sorted(at for _, times in parts for at in times)


@pytest.mark.parametrize("second", [pytest.param(7, id="one run"), pytest.param(1, id="merged")])
def test_equal_times_and_hashes_are_right_however_it_was_sorted(tmp_path: Path, second: int) -> None:
    _, found, sorter = made_of(tmp_path, (0, [5, 6, 6]), (1, [second, 7]))
    lines = [line for block in blocks(tmp_path / "sorted") for line in block.lines]
    assert len(set(found)) == 5
    assert sorter.hashes.of(0) == hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
