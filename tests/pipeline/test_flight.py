import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.flight import Begun, Flight, Flown, Taken


def flown(start: int, end: int) -> Flown:
    return Flown("app", "a.log#1", start, end, 1_790_000_000_000_000_000 + start, 3)


async def test_what_is_noted_is_on_disk_and_comes_back(tmp_path: Path) -> None:
    flight = Flight(tmp_path / "flight.jsonl")
    assert flight.load() == []
    flight.open([])
    await flight.note(flown(0, 10))
    assert Flight(flight.path).load() == [flown(0, 10)]
    await flight.note(flown(10, 20))
    flight.close()
    assert Flight(flight.path).load() == [flown(0, 10), flown(10, 20)]


async def test_what_sinks_took_is_noted_in_order_and_kept_until_the_checkpoint_holds_it(tmp_path: Path) -> None:
    flight = Flight(tmp_path / "flight.jsonl")
    flight.open([])
    one, two = (Taken(n, "loki", {"x": n}, [("app", "a", n, n + 1)]) for n in (1, 2))
    noting = asyncio.ensure_future(flight.note(flown(0, 10)))
    await asyncio.sleep(0)
    flight.take(one)
    await noting
    flight.take(two)
    assert flight.load() == [flown(0, 10), one, two]
    flight.saved(1)
    flight.open([])
    flight.close()
    assert flight.load() == [two]


async def test_where_a_partition_begins_is_on_disk_at_once_and_kept_until_the_checkpoint_holds_it(
    tmp_path: Path,
) -> None:
    flight = Flight(tmp_path / "flight.jsonl")
    flight.open([])
    begun = [Begun(n, "app", f"a.log#{n}", {"offset": 0, "head": "abc"}, n) for n in (1, 2)]
    for one in begun:
        await flight.note(one)
        assert Flight(flight.path).load()[-1] == one
    flight.saved(1)
    flight.open([flown(0, 10)])
    flight.close()
    assert flight.load() == [begun[1], flown(0, 10)]


async def test_opening_leaves_only_what_is_still_on_its_way(tmp_path: Path) -> None:
    flight = Flight(tmp_path / "flight.jsonl")
    flight.open([])
    await flight.note(flown(0, 10))
    flight.open([flown(10, 20)])
    flight.close()
    assert flight.load() == [flown(10, 20)]


async def test_many_notes_at_once_share_their_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flight = Flight(tmp_path / "flight.jsonl")
    flight.open([])
    syncs = 0
    real = os.fdatasync

    def count(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        real(fd)

    monkeypatch.setattr(os, "fdatasync", count)
    await asyncio.gather(*(flight.note(flown(n, n + 1)) for n in range(50)))
    flight.close()
    assert [one.start for one in flight.load() if isinstance(one, Flown)] == list(range(50))
    assert syncs <= 3


async def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    flight = Flight(tmp_path / "flight.jsonl")
    flight.open([flown(0, 10)])
    flight.close()
    with flight.path.open("ab") as file:
        file.write(b'["app","a.log#1",10')
    assert flight.load() == [flown(0, 10)]


async def test_a_full_disk_is_waited_for_and_leaves_no_torn_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flight = Flight(tmp_path / "flight.jsonl")
    flight.open([])
    real, failures = os.fdatasync, [OSError(28, "No space left on device")]

    def full(fd: int) -> None:
        if failures:
            raise failures.pop()
        real(fd)

    monkeypatch.setattr(os, "fdatasync", full)
    monkeypatch.setattr("tailrace.pipeline.flight.WAIT_SECONDS", 0)
    await flight.note(flown(0, 10))
    flight.close()
    assert flight.load() == [flown(0, 10)]


async def test_it_is_written_anew_only_when_it_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flight = Flight(tmp_path / "flight.jsonl")
    flight.open([flown(0, 10), flown(10, 20)])
    await flight.compact(list)
    assert len(flight.load()) == 2
    monkeypatch.setattr("tailrace.pipeline.flight.COMPACT_BYTES", 10)
    await flight.compact(lambda: [flown(10, 20)])
    await flight.note(flown(20, 30))
    flight.close()
    assert flight.load() == [flown(10, 20), flown(20, 30)]


@given(st.lists(st.tuples(st.text(max_size=20), st.integers(0, 1 << 50)), max_size=10))
def test_any_name_and_offset_comes_back(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[tuple[str, int]]
) -> None:
    flight = Flight(tmp_path_factory.mktemp("flight") / "flight.jsonl")
    kept = [Flown("app", name.encode("utf-8", "replace").decode(), at, at + 1, at, 0, True) for name, at in chunks]
    flight.open(kept)
    flight.close()
    assert flight.load() == kept
