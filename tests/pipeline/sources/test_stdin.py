import os
import sys
from pathlib import Path

import pytest

from tailrace.pipeline.batch import Chunk
from tailrace.pipeline.sources.stdin import Stdin


async def read(data: bytes, monkeypatch: pytest.MonkeyPatch, **options: object) -> list[Chunk]:
    """What the source makes of a pipe that holds this."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    monkeypatch.setattr(sys, "stdin", os.fdopen(reader))
    return [chunk async for chunk in Stdin(name="in", **options).chunks({}, once=False)]  # type: ignore[arg-type]  # options of the test


async def test_a_pipe_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = await read(b"one\ntwo\nthree", monkeypatch)
    assert [line for chunk in chunks for line in chunk.lines] == [b"one", b"two", b"three"]
    assert chunks[-1].position == {"offset": 13}
    assert chunks[0].labels == {"source": "in"}


async def test_an_empty_pipe_yields_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await read(b"", monkeypatch) == []


async def test_tracebacks_are_joined_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    error = b'ERROR:app:failed\nTraceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: x\n'
    text = error + b"INFO:app:on\n"
    chunks = await read(text, monkeypatch, multiline="traceback")
    lines = [line for chunk in chunks for line in chunk.lines]
    assert len(lines) == 2
    assert lines[1] == b"INFO:app:on"


async def test_a_file_can_be_redirected_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo\n")
    with path.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        chunks = [chunk async for chunk in Stdin(name="in").chunks({}, once=True)]
    assert [line for chunk in chunks for line in chunk.lines] == [b"one", b"two"]


async def test_earlier_pipes_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(writer)
    monkeypatch.setattr(sys, "stdin", os.fdopen(reader))
    source = Stdin(name="in")
    assert [chunk async for chunk in source.chunks({"stdin-old": {"offset": 7}}, once=True)] == []
    assert list(source.forgotten()) == ["stdin-old"]
    assert list(source.forgotten()) == []
