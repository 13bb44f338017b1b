from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tailrace.cli._found import Shown, as_json, printable, readable
from tailrace.cli.query import query
from tailrace.query import search
from tailrace.query.index import Index

from ..query import agent_logs

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


def test_a_line_that_was_written_anew_is_shown_with_its_time_in_json_and_alone_as_text(archive: Path) -> None:
    text = '{level=~".+"} | json | line_format "{{.level}}!"'
    _, out, _ = run(text, archive)
    assert [json.loads(line) for line in out.splitlines()] == [
        {"timestamp": "2026-11-01T08:00:00.123000000Z", "message": "error!"},
        {"timestamp": "2026-11-01T09:00:00.000000000Z", "message": "info!"},
    ]
    assert run(text, archive, "--raw", "--last", 1) == (0, b"info!\n", "")
    assert readable(Shown(b"x", 0, {"level": "info"})).plain == "1970-01-01 00:00:00.000 INFO     x"


def test_a_metric_is_json_lines_in_a_pipe_and_text_when_asked(archive: Path) -> None:
    metric = "sum by (level) (count_over_time({level!=''}[1h]))".replace("''", '""')
    code, out, err = run(metric, archive, "--to", "2026-11-01T09:00Z")
    assert (code, err) == (0, "")
    stamp = "2026-11-01T09:00:00.000000000Z"
    assert [json.loads(line) for line in out.splitlines()] == [
        {"timestamp": stamp, "labels": {"level": level}, "value": 1} for level in ("error", "info")
    ]
    _, out, _ = run(
        metric, archive, "--from", "2026-11-01T08:00Z", "--to", "2026-11-01T09:00Z", "--step", "1h", "--raw"
    )
    assert out.splitlines() == [f"{stamp}\tlevel={level}\t1".encode() for level in ("error", "info")]


def test_a_metric_is_a_table_on_a_terminal(archive: Path) -> None:
    code, shown = on_terminal(['sum by (level) (count_over_time({level!=""}[1d]))', archive, "--to", "2026-11-02"])
    assert code == 0
    lines = [line.split() for line in re.sub(rb"\x1b\[[0-9;]*m", b"", shown).decode().splitlines()]
    assert lines == [["level", "value"], ["error", "1"], ["info", "1"]]


def test_numbers_that_json_does_not_know_are_text(archive: Path) -> None:
    _, out, _ = run("1 / 0", archive)
    assert json.loads(out)["value"] == "+Inf"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}"], "name archives or logs"),
        (["{}", ".", "--loki", "http://127.0.0.1:9"], "not both"),
        (["{}", "--loki", "somewhere"], "write a URL"),
        (["{}", "--loki", "http://127.0.0.1:9", "--labels", "a"], "is for files"),
        (["rate({}[5m])", ".", "--limit", "1"], "not for numbers"),
        (["{}", ".", "--step", "1m"], "--step is for metrics"),
        (["{}", ".", "--follow", "--last", "1"], "has no end"),
        (["{}", ".", "--from", "1h", "--to", "2h"], "--from is not before --to"),
        (["rate({}[5m])", ".", "--from", "10w", "--step", "1s"], "choose a larger --step"),
        (["{} | json", ".", "--sha256", "ab"], "selector and line filters alone"),
        (["{} | json | x > ", "."], "a number, a duration (10ms)"),
        (["absent_over_time({}[5m])", "."], "works in Loki (--loki) only"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, b"")
    assert message in err


def test_a_loki_that_is_not_there_is_named() -> None:
    code, _, err = run("{}", "--loki", "http://127.0.0.1:9")
    assert code == 1
    assert "127.0.0.1:9" in err


def test_what_cannot_be_counted_ends_it_with_what_would_do(archive: Path) -> None:
    code, _, err = run("sum(count_over_time({} | json | x=~`.*` [1w]))", archive, "--to", "2026-11-02")
    assert (code, err) == (0, "tailrace query: 1 records without a time are not counted\n")
    code, _, err = run("sum(sum_over_time({} | json | unwrap level [1w]))", archive, "--to", "2026-11-02")
    assert code == 1
    assert '__error__=""' in err


def test_in_colours_for_a_pager(archive: Path) -> None:
    command = [sys.executable, "-c", MAIN, '{level="info"}', str(archive), "--color"]
    assert b"\x1b[32mINFO" in subprocess.run(command, capture_output=True, check=True).stdout


def test_what_is_written_is_followed_until_it_is_enough_or_interrupted(archive: Path) -> None:
    path = archive / "2026-11-01.jsonl"
    command = [sys.executable, "-c", MAIN, '{level="info"}', str(archive), "--follow", "--from", "2026-11-01"]
    for more in (["--limit", "2"], []):
        # Who runs the tests in the background has the signal ignored, and what is started from there too.
        with subprocess.Popen(
            [*command, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == INFO + b"\n"
            with path.open("ab") as file:
                file.write(INFO + b"\n")
            assert process.stdout.readline() == INFO + b"\n"
            if not more:
                process.send_signal(signal.SIGINT)
            assert process.stdout.read() in (b"", INFO + b"\n")
            assert process.stderr.read() == b""
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("expression", "options"),
    [
        pytest.param('{} |= " = client.create(messages)"', [], id="a text"),
        pytest.param('{} |= "nothing has this word"', [], id="a text that is nowhere"),
        pytest.param(f'{{session_key="{agent_logs.key(1)}"}}', [], id="a field"),
        pytest.param(f'{{}} |= " {agent_logs.key(1)} " | json | model != ""', [], id="steps"),
        pytest.param("{}", ["--from", "2026-03-04T23:36:10Z", "--to", "2026-03-04T23:50:00Z"], id="a time range"),
        pytest.param("{}", ["--last", "3", "--to", "2026-03-04T23:40:00Z"], id="the last ones"),
    ],
)
def test_with_an_index_a_query_finds_the_same_in_fewer_files(
    expression: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = agent_logs.write(tmp_path / "logs")
    opened: list[Path] = []
    pieces = search._pieces

    def opening(file: Path, warn: Callable[[str], None]) -> Iterator[bytes]:
        opened.append(file)
        return pieces(file, warn)

    monkeypatch.setattr(search, "_pieces", opening)
    before, all_files = run(expression, logs, *options), len(opened)
    opened.clear()
    list(Index([logs]).files())
    opened.clear()
    assert run(expression, logs, *options) == before
    assert len(opened) < all_files
