from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tailrace.cli._found import as_json, printable, readable
from tailrace.cli.query import query

app = typer.Typer()
app.command()(query)

ERROR = b'{"timestamp":"2026-11-01T08:00:00.123Z","level":"error","source":"app","message":"\\u001b[31mboom\\nnext"}'
INFO = b'{"timestamp":"2026-11-01T09:00:00Z","level":"info","message":"fine"}'
TEXT = b"plain \x1b[2J text"
MAIN = "import typer; from tailrace.cli.query import query; app = typer.Typer(); app.command()(query); app()"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "2026-11-01.jsonl").write_bytes(b"\n".join([ERROR, INFO, TEXT, b""]))
    return tmp_path


def run(*arguments: object) -> tuple[int, bytes, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    return result.exit_code, result.stdout_bytes, result.stderr


def on_terminal(arguments: Sequence[object]) -> tuple[int, bytes]:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "40"}
    done = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(ours)
    return done.returncode, shown


def test_a_pipe_gets_json_lines(archive: Path) -> None:
    code, out, _ = run("{}", archive)
    assert code == 0
    assert out.splitlines()[:2] == [ERROR, INFO]
    assert json.loads(out.splitlines()[2]) == {"message": TEXT.decode()}


def test_raw_gives_the_lines_as_they_are_stored(archive: Path) -> None:
    assert run("{}", archive, "--raw") == (0, b"\n".join([ERROR, INFO, TEXT, b""]), "")


def test_no_match_is_no_error(archive: Path) -> None:
    assert run('{level="fatal"}', archive) == (0, b"", "")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--limit", "1"], [ERROR]),
        (["--last", "2"], [INFO, TEXT]),
        (["--from", "2026-11-01T09:00Z"], [INFO]),
        (["--to", "2026-11-01T09:00Z"], [ERROR]),
        (["--from", "2026-11-01", "--to", "2026-11-02"], [ERROR, INFO]),
        (["--from", "1793523600"], [INFO]),
        (["--to", "1000w"], []),
    ],
    ids=["limit", "last", "from", "to", "dates", "epoch", "ago"],
)
def test_limits_and_times_choose(archive: Path, options: list[str], expected: list[bytes]) -> None:
    code, out, _ = run("{}", archive, "--raw", *options)
    assert (code, out.splitlines()) == (0, expected)


def test_an_excerpts_sha256_finds_what_is_stored(archive: Path) -> None:
    digest = hashlib.sha256(ERROR).hexdigest()
    assert run("{}", archive, "--raw", "--sha256", digest[:12].upper()) == (0, ERROR + b"\n", "")
    assert run('{level="info"}', archive, "--raw", "--sha256", digest) == (0, b"", "")


def test_bad_logql_is_refused_with_a_caret_below_the_column(archive: Path) -> None:
    code, out, err = run('{level="error",\n app=error}', archive)
    assert (code, out) == (2, b"")
    assert err.splitlines()[-2:] == ["   app=error}", "       ^"]
    assert "expected text in quotes" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "yesterday"], "is no time"),
        (["--limit", "1", "--last", "1"], "not together"),
        (["--limit", "0"], "--limit"),
        (["--sha256", "xyz"], "hex digits"),
    ],
    ids=["time", "limit and last", "limit", "digest"],
)
def test_options_that_make_no_sense_are_refused(archive: Path, options: list[str], message: str) -> None:
    code, _, err = run("{}", archive, *options)
    assert code == 2
    assert message in err


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    code, _, err = run("{}", tmp_path / "nowhere")
    assert code == 2
    assert "no such file or folder" in err


def test_a_damaged_archive_is_named_and_the_rest_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b"\x1f\x8b nonsense")
    (tmp_path / "b.jsonl").write_bytes(INFO + b"\n")
    code, out, err = run("{}", tmp_path)
    assert (code, out) == (0, INFO + b"\n")
    assert "a.jsonl.gz" in err


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes((INFO + b"\n") * 50_000)
    command = [sys.executable, "-c", MAIN, "{}", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == INFO + b"\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_terminal_gets_one_coloured_line_each_and_no_escape_of_the_logs(archive: Path) -> None:
    code, shown = on_terminal(["{}", archive])
    assert code == 0
    lines = shown.decode().replace("\r\n", "\n").splitlines()
    assert len(lines) == 3
    assert "\x1b[31mERROR" in lines[0]
    assert "\\x1b[31mboom\\nnext" in lines[0]
    assert "\x1b[32mINFO" in lines[1]
    assert "plain \\x1b[2J text" in lines[2]


@pytest.mark.parametrize("option", ["--json", "--raw"])
def test_a_terminal_gets_no_escape_of_the_logs_with_other_options_either(archive: Path, option: str) -> None:
    code, shown = on_terminal(["{}", archive, option])
    assert code == 0
    assert b"\x1b" not in shown
    assert shown.count(b"\n") == 3


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (ERROR, "2026-11-01 08:00:00.123 ERROR    app \\x1b[31mboom\\nnext"),
        (b'{"ts":1793523600.5,"logger":"a.b","msg":"[red]x[/red]"}', "2026-11-01 09:00:00.500 a.b [red]x[/red]"),
        (b'{"time":"soon","level":30,"event":"e"}', "soon 30       e"),
        (b'{"a":1}', '{"a":1}'),
        (b"\xff text", "� text"),
        ('{"message":"a\u202eb\u009bc\u00a0d"}'.encode(), "a\\u202eb\\x9bc\u00a0d"),
        (rb'{"message":"\ud800"}', "\\ud800"),
    ],
)
def test_a_record_reads_as_time_level_source_message(line: bytes, expected: str) -> None:
    assert readable(line).plain == expected


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=[])))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert {unicodedata.category(c) for c in printable(text)}.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@settings(deadline=None)
@given(st.text())
def test_json_for_a_terminal_still_says_the_same(text: str) -> None:
    line = json.dumps({"message": text}, ensure_ascii=False).encode()
    assert json.loads(printable(as_json(line).decode(), "\\u{:04x}")) == {"message": text}
