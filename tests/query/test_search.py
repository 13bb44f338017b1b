from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Literal

import cramjam
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.pipeline.match import Match
from tailrace.pipeline.record import Record
from tailrace.query.search import archives, decoded, fields_of, search

SECOND = 10**9
LINES = [
    json.dumps({"timestamp": f"2026-11-01T00:00:{n:02}Z", "level": ["info", "error"][n % 5 == 0], "n": n}).encode()
    for n in range(60)
]

SKIPPABLE = b"\x50\x2a\x4d\x18\x03\0\0\0abc"


def zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data))


def joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def found(text: str, *paths: Path, **options: Any) -> list[bytes]:
    return list(search(Match(text), paths, **options))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", joined(LINES)),
        ("a.jsonl", b"\n".join(LINES)),
        ("a.jsonl", b"\n\n".join(LINES) + b"\n\n"),
        ("a.jsonl.gz", gzip.compress(joined(LINES))),
        ("a.jsonl.gz", gzip.compress(joined(LINES[:7])) + gzip.compress(joined(LINES[7:])) + bytes(512)),
        ("a.jsonl.zst", zstd(joined(LINES))),
        (
            "a.jsonl.zst",
            zstd(joined(LINES[:7])) + b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd(b"") + zstd(joined(LINES[7:])),
        ),
        ("misnamed.txt", zstd(joined(LINES))),
    ],
    ids=["plain", "no last line break", "blank lines", "gzip", "gzip members", "zstd", "zstd frames", "by its content"],
)
def test_every_kind_of_archive_gives_its_lines_byte_for_byte(tmp_path: Path, name: str, data: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    assert found("{}", file) == LINES
    assert found('{level="error"}', file) == LINES[::5]
    assert found('{} |~ `"n": [12]5`', file) == [LINES[15], LINES[25]]
    assert file.read_bytes() == data


def test_archives_larger_than_one_read_are_read_whole(tmp_path: Path) -> None:
    lines = [b'{"n":%d,"pad":"%s"}' % (n, b"x" * (n % 977)) for n in range(9_000)]
    lines.insert(4_000, b'{"n":-1,"pad":"%s"}' % (b"y" * 3_000_000))
    for name, data in {
        "a.jsonl": joined(lines),
        "a.jsonl.gz": gzip.compress(joined(lines), 1),
        "a.jsonl.zst": zstd(joined(lines)),
        "b.jsonl.zst": b"".join(zstd(line + b"\n") for line in lines),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert found('{n!=""}', tmp_path / name) == lines
        assert found('{n="-1"}', tmp_path / name) == [lines[4_000]]
        (tmp_path / name).unlink()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
def test_wherever_a_file_was_cut_the_whole_lines_before_are_found(tmp_path: Path, pack: Any) -> None:
    whole = pack(joined(LINES[:20])) + pack(joined(LINES[20:]))
    file = tmp_path / "a.jsonl"
    counts = []
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        lines = found("{}", file)
        assert lines == LINES[: len(lines)]
        counts.append(len(lines))
    assert counts == sorted(counts)
    assert counts[-1] >= 20


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl.gz", gzip.compress(joined(LINES))[:-20]),
        ("a.jsonl.gz", gzip.compress(joined(LINES)) + b"not gzip"),
        ("a.jsonl.zst", zstd(joined(LINES))[:-20]),
        ("a.jsonl.zst", zstd(joined(LINES)) + b"not zstd"),
    ],
    ids=["torn gzip", "gzip and noise", "torn zstd", "zstd and noise"],
)
def test_a_damaged_archive_is_named(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    warnings: list[str] = []
    found("{}", tmp_path / name, warn=warnings.append)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{tmp_path / name}: ")


def test_whole_archives_and_plain_files_warn_of_nothing(tmp_path: Path) -> None:
    for name, data in {"a.gz": gzip.compress(b"{}\n"), "b.zst": zstd(b"{}\n"), "c.jsonl": b'{"a"', "d.gz": b""}.items():
        (tmp_path / name).write_bytes(data)
        warnings: list[str] = []
        found("{}", tmp_path / name, warn=warnings.append)
        assert warnings == []


def test_a_line_that_is_no_json_object_is_text(tmp_path: Path) -> None:
    lines = [
        b'{"level":"error"}',
        b"plain error",
        b"[1]",
        b'{"a":1} {"a":2}',
        b"{torn",
        b'\xef\xbb\xbf{"level":"bom"}',
        b"\xff",
    ]
    (tmp_path / "a.log").write_bytes(joined(lines))
    assert found('{level="error"}', tmp_path) == [lines[0]]
    assert found('{message="plain error"}', tmp_path) == [lines[1]]
    assert found('{message!=""}', tmp_path) == lines[1:5] + lines[6:]
    assert found('{level=~"b.*"}', tmp_path) == [lines[5]]
    assert found("{}", tmp_path) == lines


def test_lone_surrogates_and_bytes_that_are_not_utf8_lose_no_fields(tmp_path: Path) -> None:
    lines = [rb'{"a":"\ud800","level":"error"}', b'{"a":"\xff","level":"error"}', b'{"a":NaN,"level":"error"}']
    (tmp_path / "a.jsonl").write_bytes(joined(lines))
    assert found('{level="error", a!="x"}', tmp_path) == lines


def test_folders_are_read_in_the_order_in_which_files_were_written(tmp_path: Path) -> None:
    names = [
        "app/2026-11-01.jsonl",
        "app/2026-11-01.1.jsonl",
        "app/2026-11-01.2.jsonl",
        "app/2026-11-01.10.jsonl",
        "app/2026-11-02.jsonl.zst",
        "web/9/00.jsonl.gz",
        "web/10/00.jsonl",
    ]
    for name in [*names, ".hidden.jsonl", ".state/a.jsonl", "notes.md", "app/x.jsonl.tmp"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert archives([tmp_path]) == [tmp_path / name for name in names]
    assert archives([tmp_path / "notes.md", tmp_path / "app", tmp_path / names[0]])[:2] == [
        tmp_path / "notes.md",
        tmp_path / names[0],
    ]


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*nowhere"):
        archives([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("limit", "direction", "expected"),
    [
        (None, "forward", [0, 1, 2, 3, 4, 5]),
        (3, "forward", [0, 1, 2]),
        (None, "backward", [5, 4, 3, 2, 1, 0]),
        (3, "backward", [5, 4, 3]),
        (1, "backward", [5]),
        (99, "backward", [5, 4, 3, 2, 1, 0]),
    ],
)
def test_a_limit_counts_from_the_side_where_the_search_begins(
    tmp_path: Path, limit: int | None, direction: Literal["forward", "backward"], expected: list[int]
) -> None:
    for day in range(3):
        (tmp_path / f"{day}.jsonl").write_bytes(joined(LINES[day * 2 : day * 2 + 2]))
    assert found("{}", tmp_path, limit=limit, direction=direction) == [LINES[n] for n in expected]


def test_a_time_range_includes_its_start_and_not_its_end(tmp_path: Path) -> None:
    first = 1_793_491_200 * SECOND  # 2026-11-01T00:00Z
    others = [b'{"level":"error"}', b'{"timestamp":"soon"}', b'{"ts":1793491210.5}', b'{"@timestamp":1793491211500}']
    (tmp_path / "a.jsonl").write_bytes(joined(LINES + others))
    chosen = found("{}", tmp_path, start_ns=first + 10 * SECOND, end_ns=first + 12 * SECOND)
    assert chosen == [*LINES[10:12], *others[2:]]
    assert found('{level="error"}', tmp_path, end_ns=first + 6 * SECOND) == [LINES[0], LINES[5]]
    assert found("{}", tmp_path, start_ns=first + 58 * SECOND) == LINES[58:]


VALUES = [
    "error",
    "a/b",
    "<b>",
    "é",
    "200",
    "1.5",
    "1e3",
    "true",
    "",
    "[1]",
    "plain text",
    "wor",
    "error error",
    "\\u0065",
]
ESCAPES = [
    json.dumps,
    lambda value: json.dumps(value, ensure_ascii=False).replace("/", "\\/"),
    lambda value: json.dumps(value).replace("e", "\\u0065").replace("E", "\\u0045"),
    lambda value: json.dumps(value).replace("<", "\\u003c"),
]
ITEMS = st.one_of(st.sampled_from(VALUES), st.sampled_from([200, 1.5, 1000.0, True, [1], None]))
ENCODED = st.builds(lambda item, escape: escape(item), ITEMS, st.sampled_from(ESCAPES))
STORED = st.one_of(
    st.builds(lambda a, b: f'{{"a": {a}, "b": {b}}}', ENCODED, ENCODED),
    st.sampled_from(["error", "plain text", "{torn", "[1]", "200"]),
)
REGEXES = st.sampled_from(['"err|wor"', '"x*"', '"^.plain"', "`\\Ae`", '"(?i)E.R"'])
QUOTED = st.sampled_from(VALUES).map(json.dumps)
SIMPLE = st.one_of(
    st.builds("{{a={}}}".format, QUOTED),
    st.builds("{{a=~{}, b!={}}}".format, st.sampled_from(['"error|wor"', '"err.*"', '"200|true"']), QUOTED),
    st.builds("{{message={}}}".format, QUOTED),
    st.builds("{{}} |= {} or {}".format, QUOTED, QUOTED),
    st.builds(
        "{{}} != {} |~ {}".format, QUOTED, st.sampled_from(['"err|wor"', '"x*"', '"^.plain"', "`\\Ae`", '"(?i)E.R"'])
    ),
    st.builds("{{}} | a={} or b={}".format, QUOTED, QUOTED),
    st.just("{} | a >= 200"),
)
QUERIES = st.one_of(
    SIMPLE, st.builds("{} or {}".format, SIMPLE, SIMPLE), st.builds("{} unless {}".format, SIMPLE, SIMPLE)
)


@settings(deadline=None)
@given(QUERIES, st.lists(STORED.map(str.encode), max_size=8))
def test_skipping_what_cannot_match_never_skips_what_does(
    tmp_path_factory: pytest.TempPathFactory, text: str, lines: list[bytes]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.jsonl"
    file.write_bytes(joined(lines))
    match = Match(text)
    assert found(text, file) == [line for line in lines if match.matches(Record(line, parsed=fields_of(line)), {})]


def test_a_line_of_text_has_the_time_that_it_begins_with(tmp_path: Path) -> None:
    lines = [b"2026-11-01 00:00:05,123 ERROR x", b"[2026-11-01T00:00:06Z] y", b"Traceback (most recent call last):"]
    (tmp_path / "a.log").write_bytes(joined(lines))
    start = 1_793_491_206 * SECOND
    assert found("{}", tmp_path, end_ns=start) == lines[:1]
    assert found("{}", tmp_path, start_ns=start) == lines[1:2]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b'{"a":1}{"a":2}', b" "], id="two on one line, none on the next"),
        pytest.param([b'{"a":1}{"a":2}', b'{"x":', b'{"a":3}}'], id="one over two lines"),
        pytest.param([b'{"a":1}', b'{"a":2}'], id="one each"),
    ],
)
def test_fields_stay_with_their_lines(lines: list[bytes]) -> None:
    decoder = msgspec.json.Decoder(dict[str, Any])
    fields, one_each = decoded(lines, decoder)
    assert fields == [fields_of(line) for line in lines]
    assert one_each == (lines == [b'{"a":1}', b'{"a":2}'])
