"""Prints records; a reader that goes away ends it quietly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tailrace.pipeline.match import Match
from tailrace.pipeline.sinks.stdout import Stdout
from tailrace.testing import batch_of


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        pytest.param({}, 'plain\n{"a": 1}\nTraceback\n  File\n', id="lines"),
        pytest.param(
            {"line": "json"},
            '{"timestamp":"1970-01-01T00:00:00.000000000Z","message":"plain"}\n{"a": 1}\n'
            '{"timestamp":"1970-01-01T00:00:00.000000000Z","message":"Traceback\\n  File"}\n',
            id="json",
        ),
    ],
)
async def test_each_record_is_printed(
    options: dict[str, str], printed: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    batch = batch_of(b"plain", b'{"a": 1}', b"Traceback\n  File")
    batch.records[1].format = "json"
    for record in batch.records:
        record.time_ns = 0
    await Stdout(**options).send([batch])  # type: ignore[arg-type]  # a table of options
    assert capfdbinary.readouterr().out == printed.encode()


async def test_bytes_that_are_not_utf_8_are_printed_as_they_are(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    await Stdout().send([batch_of(b"caf\xe9"), batch_of(b"b")])
    assert capfdbinary.readouterr().out == b"caf\xe9\nb\n"


def test_it_reads_the_fields_of_its_match_only() -> None:
    assert set(Stdout().reads()) == set()
    assert set(Stdout(match=Match('{level="error"}')).reads()) == {"level"}


SCRIPT = """
import asyncio, sys
from pathlib import Path
from tailrace.pipeline.runner import Runner
from tailrace.pipeline.sinks.stdout import Stdout
from tailrace.testing import ListSource

source, sink = ListSource(lines=[[b"%d" % n] * 999 for n in range(99)], name="app"), Stdout(name="out", batch_wait=0.0)
runner = Runner({"app": source}, [], {"out": sink}, wanted=[], state=Path(sys.argv[1]))
code = asyncio.run(runner.run(once=True))
assert runner.residual(runner.deliveries[0]) == 0
sys.exit(code)
"""


def test_a_reader_such_as_head_ends_the_run_quietly_and_well(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
