from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.options import Secret, decode_option
from tailrace.pipeline.record import Record
from tailrace.stages._redacted_json import redact_value
from tailrace.stages.parse import Parse
from tailrace.stages.redact import Redact
from tailrace.testing import batch_of, run_stage

AWS = "AKIA" + "Q2W4E6R8T0Y1U3I5"
GITHUB = "ghp_" + "aB3dE6gH9j" * 4
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\nq1w2e3r4\n-----END RSA PRIVATE KEY-----"
CANARIES = [AWS, GITHUB, PEM, "sk-ant-api03-" + "aB3dE6gH9j" * 5]
TEXT = st.text(max_size=12) | st.sampled_from([*CANARIES, f"x{AWS}", f"\n{AWS}", f"{AWS}\\", '{"password": "hunter2"}'])
KEY = st.text(max_size=6) | st.sampled_from(["password", "apiKey", "token", "max_tokens", AWS, "name", "value"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4),
    max_leaves=12,
)


def stage(**options: Any) -> Redact:
    made = msgspec.convert(options, Redact, dec_hook=decode_option)
    made.name = "redact"
    return made


ALL = stage(pii=["email", "card"])


def redacted(line: bytes | str, format: str = "text", by: Redact = ALL, **fields: Any) -> Record:
    batch = batch_of(line.encode() if isinstance(line, str) else line)
    record = batch.records[0]
    record.format = format  # type: ignore[assignment]  # a literal's value
    for name, value in fields.items():
        setattr(record, name, value)
    run_stage(by, batch)
    return record


def as_json(value: object, by: Redact = ALL) -> Any:
    return json.loads(redacted(json.dumps(value), "json", by).line)


def kinds(value: object) -> object:
    if isinstance(value, dict):
        return [kinds(item) for item in value.values()]
    if isinstance(value, list):
        return [kinds(item) for item in value]
    return type(value)


def test_a_text_line_gets_markers() -> None:
    assert redacted(f"key {AWS} used").line == b"key [REDACTED:aws-access-key-id] used"


def test_a_clean_line_is_the_same_object() -> None:
    line = b'{"message": "caf\\u00e9 \\"quoted\\" C:\\\\temp"}'
    assert redacted(line, "json").line is line


def test_untouched_values_of_json_keep_their_bytes() -> None:
    line = b'{"a": 1.50, "k": "%s", "password": "x", "z": [1e3, {"n": 12345678901234567890123}]}' % AWS.encode()
    new = redacted(line, "json").line
    assert b"1.50" in new
    assert b'[1e3, {"n": 12345678901234567890123}]' in new
    assert json.loads(new)["k"] == "[REDACTED:aws-access-key-id]"


@pytest.mark.parametrize(
    "line",
    [
        '{"m": "\\u0041KIAQ2W4E6R8T0Y1U3I5"}',
        '{"m": "AK\\u0049AQ2W4E6R8T0Y1U3I5"}',
        '{"m": "first\\n' + AWS + '"}',
        '{"m": "tab\\t' + AWS + ' \\ud83d\\ude00"}',
        '{"m": "{\\"text\\": \\"line\\\\n' + AWS + '\\"}"}',
        '{"m": ["a", {"b": "\\u00e9' + AWS + '"}]}',
        '{"' + AWS + '": 1}',
        '{"a": "' + AWS + '", "a": "x"}',
        '{"x": {"a": "' + AWS + '", "a": "x"}}',
        '{"x": {"a": "\\u0041KIAQ2W4E6R8T0Y1U3I5", "a": "x"}}',
    ],
    ids=["first", "inner", "newline", "tab", "json in json", "nested", "key", "twice", "twice nested", "twice escaped"],
)
def test_secrets_behind_escapes_and_in_odd_places_are_found(line: str) -> None:
    new = redacted(line, "json").line
    assert AWS not in json.dumps(json.loads(new, object_pairs_hook=list), ensure_ascii=False)
    assert AWS[6:] not in new.decode()


def test_a_card_behind_an_escaped_newline_is_found_by_a_users_pattern() -> None:
    by = stage(builtin=False, keys=[], patterns={"card": r"\b4539[- ]?\d{4}[- ]?\d{4}[- ]?\d{4}\b"})
    assert redacted(b'{"m": "x\\n4539-1488-0343-6467"}', "json", by).line == b'{"m": "x\\n[REDACTED:card]"}'
    assert redacted(b'"x\\n4539-1488-0343-6467"', "text", by).line == b'"x\\n[REDACTED:card]"'


def test_a_false_finding_across_an_escape_breaks_nothing() -> None:
    line = b'{"m": "see\\n@corp.example"}'
    assert redacted(line, "json").line == line


def test_the_value_of_a_secret_key_is_hidden_whatever_it_is() -> None:
    mark = "[REDACTED:key-name]"
    value = {"password": 1234, "token": ["a", {"b": "c", "n": 1.5}], "secret": None, "cookie": True, "apiKey": ""}
    hidden = {"password": 0, "token": [mark, {"b": mark, "n": 0.0}], "secret": None, "cookie": True, "apiKey": ""}
    assert as_json(value) == hidden


def test_names_that_only_look_alike_stay() -> None:
    value = {"max_tokens": 5, "prompt_tokens": 7, "token_count": 1, "tokenizer": "x", "time_to_first_token": 0.5}
    assert as_json(value) == value


def test_headers_as_pairs_are_hidden() -> None:
    mark = "[REDACTED:key-name]"
    assert as_json({"h": [{"name": "Authorization", "value": "abc"}, ["Cookie", "sid=1"]]}) == {
        "h": [{"name": "Authorization", "value": mark}, ["Cookie", mark]]
    }


def test_a_rule_that_wants_its_name_beside_it_finds_it_in_the_key(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("[[rules]]\nid='acme'\nregex='''acme[\"']?: ?[\"']([a-f0-9]{8})'''\nkeywords=['acme']")
    by = stage(rules=[str(path)], builtin=False, keys=[])
    assert as_json({"acme": "deadbeef", "m": "\n", "n": {"acme": "deadbeef"}}, by) == {
        "acme": "[REDACTED:acme]",
        "m": "\n",
        "n": {"acme": "[REDACTED:acme]"},
    }


def test_a_greedy_pattern_stays_within_its_string() -> None:
    by = stage(builtin=False, keys=[], patterns={"pw": r"pw=(?P<secret>.*)"})
    assert as_json({"m": "pw=abc", "level": "info"}, by) == {"m": "pw=[REDACTED:pw]", "level": "info"}
    assert as_json({"m": "pw=", "level": "info"}, by) == {"m": "pw=", "level": "info"}


def test_an_anchored_pattern_means_the_whole_value() -> None:
    by = stage(builtin=False, keys=[], patterns={"pin": r"^\d{4}$"})
    assert as_json({"pin": "1234", "long": "12345"}, by) == {"pin": "[REDACTED:pin]", "long": "12345"}
    assert redacted("1234", "text", by).line == b"[REDACTED:pin]"


def test_a_number_that_is_a_secret_becomes_zero() -> None:
    assert as_json({"pan": 4539148803436467, "ok": 4539148803436468}) == {"pan": 0, "ok": 4539148803436468}


def test_two_redacted_keys_do_not_swallow_each_other() -> None:
    other = "AKIA" + "Z" * 16
    assert as_json({AWS: 1, other: 2}) == {"[REDACTED:aws-access-key-id]": 1, "[REDACTED:aws-access-key-id] 2": 2}


@pytest.mark.parametrize("line", [PEM, f"found\n{PEM}\nbye", PEM[:60]], ids=["alone", "amid", "cut off"])
def test_a_private_key_over_several_lines_is_one_secret(line: str) -> None:
    for new in (redacted(line).line, redacted(json.dumps({"m": line}), "json").line):
        assert new.count(b"[REDACTED:private-key]") == 1
        assert b"MIIE" not in new
        assert b"q1w2" not in new


def test_parsed_and_added_fields_of_a_hit_record_are_clean() -> None:
    record = redacted(
        f"token={GITHUB} x",
        parsed={"a": GITHUB, "b": [f"<{GITHUB}>"], "n": 5},
        added={"again": {"deep": GITHUB}},
    )
    assert record.parsed == {"a": "[REDACTED:github-token]", "b": ["<[REDACTED:github-token]>"], "n": 5}
    assert record.added == {"again": {"deep": "[REDACTED:github-token]"}}


def test_a_secret_known_from_its_name_in_the_line_is_hidden_in_every_field() -> None:
    record = redacted("password=hunter2 ok", parsed={"message": "hunter2 ok"})
    assert record.parsed == {"message": "[REDACTED:key-name] ok"}


def test_a_parsed_field_of_a_text_line_is_hidden_by_its_name() -> None:
    record = redacted("bob hunter2 in", parsed={"user": "bob", "password": "hunter2"})
    assert record.parsed == {"user": "bob", "password": "[REDACTED:key-name]"}
    assert record.line == b"bob [REDACTED:key-name] in"


@pytest.mark.parametrize("value", [AWS, [AWS], {"k": AWS}, {AWS: 1}], ids=["text", "list", "object", "key"])
def test_added_values_that_do_not_stem_from_the_line_are_clean(value: object) -> None:
    batch = batch_of(b"clean", b"clean too")
    for record in batch.records:
        record.set("note", value)
        record.set("n", 5)
    run_stage(ALL, batch)
    for record in batch.records:
        assert AWS not in repr((record.added, record.parsed))
        assert record.added is not None
        assert record.fields["note"] == record.added["note"]


def test_added_text_seen_before_is_still_told_from_what_is_new() -> None:
    by = stage()
    mark = "[REDACTED:aws-access-key-id]"
    for value, expected in (("fine", "fine"), (AWS, mark), ("fine", "fine"), (AWS, mark)):
        batch = batch_of(b"x")
        batch.records[0].set("v", value)
        assert run_stage(by, batch).records[0].fields["v"] == expected


def test_an_added_field_is_hidden_by_its_name() -> None:
    batch = batch_of(b"x")
    batch.records[0].set("api_key", "abc")
    assert run_stage(ALL, batch).records[0].added == {"api_key": "[REDACTED:key-name]"}


def test_pseudonyms_are_the_same_for_the_same_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSEUDONYM_KEY", "k1")
    by = stage(mode="hash", hash_key={"env": "PSEUDONYM_KEY"})
    one, two = redacted(f"{AWS} password=x {AWS}", "text", by).line.split(b" password=")
    assert one == two.split()[1]
    assert redacted(b" ".join((one, two)), "text", by).line == b" ".join((one, two))
    other = stage(mode="hash")
    other.hash_key = Secret("k2", "test")
    assert redacted(AWS, "text", other).line != one
    assert one.startswith(b"[aws-access-key-id:")
    assert len(one) == len(b"[aws-access-key-id:]") + 12


@pytest.mark.parametrize(
    ("options", "path", "message"),
    [
        ({"pii": ["emial"]}, "pii[0]", "did you mean 'email'?"),
        ({"disable": ["jwtt"]}, "disable[0]", "did you mean 'jwt'?"),
        ({"mode": "hash"}, "hash_key", "needs a key"),
        ({"rules": ["none.toml"]}, "rules[0]", "cannot read none.toml"),
        ({"patterns": {"all": "x*"}}, "patterns.all", "empty text"),
    ],
    ids=["pii", "disable", "hash", "rules", "patterns"],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], path: str, message: str) -> None:
    ((where, what),) = stage(**options).check()
    assert where == path
    assert message in what


def test_good_options_are_accepted() -> None:
    assert not list(stage(pii=["email", "card", "iban", "phone", "ip", "ssn"], disable=["jwt", "key-name"]).check())


def test_a_rule_can_be_switched_off() -> None:
    assert redacted(AWS, "text", stage(disable=["aws-access-key-id"])).line == AWS.encode()
    assert redacted("password=x", "text", stage(disable=["key-name"])).line == b"password=x"


def test_nothing_is_read_or_written_by_name() -> None:
    assert (list(ALL.reads()), list(ALL.writes())) == ([], [])


def test_a_record_that_cannot_be_redacted_is_raised_without_its_data() -> None:
    with pytest.raises(ValueError, match="cannot be decoded") as error:
        redacted('{"password": "hunter2"', "json")
    assert "hunter2" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_record_that_is_refused_stays_whole_so_that_the_next_try_refuses_it_too() -> None:
    line = " ".join(f"AKIA{n:016d}" for n in range(1001)).encode()
    record = Record(line, parsed={"message": line.decode()})
    batch = batch_of(b"x").with_records([record])
    for _ in range(2):
        with pytest.raises(ValueError, match="different secrets"):
            run_stage(ALL, batch)
        assert record.line == line


def test_json_with_bytes_that_are_not_utf8_is_redacted() -> None:
    new = redacted(b'{"a": "\xff %s", "password": "\xfe", "b\xfd": 1}' % AWS.encode(), "json").line
    assert AWS.encode() not in new
    assert b"\xfe" not in new


def test_text_can_be_cleaned_without_a_record() -> None:
    assert ALL.clean(f"401 for {AWS}\ud800") == "401 for [REDACTED:aws-access-key-id]\ud800"


def test_what_was_taken_out_is_counted_by_rule() -> None:
    by = stage()
    redacted(f"{AWS} {AWS} password=x", "text", by)
    by.clean(GITHUB)
    (family,) = by.collect()
    assert family.name == "tailrace_redactions"
    counts = {sample.labels["rule"]: sample.value for sample in family.samples}
    assert counts == {"aws-access-key-id": 2, "key-name": 1, "github-token": 1}


@pytest.mark.parametrize(
    "value",
    [
        {"m": ["a@b.com \n x"] * 30_000},
        {f"k{n}": AWS for n in range(5_000)},
        {"m": f'\n"{AWS} ' * 10_000},
        {f"AKIA{n:016d}": 1 for n in range(5_000)},
    ],
    ids=["many strings", "many fields", "one string", "many keys"],
)
def test_a_line_full_of_secrets_takes_linear_time(value: object) -> None:
    start = time.process_time()
    assert "REDACTED" in json.dumps(as_json(value))
    assert time.process_time() - start < 10


def test_an_empty_batch_passes() -> None:
    assert run_stage(ALL, batch_of()).records == []


@given(st.lists(st.binary(max_size=40) | TEXT.map(lambda t: t.encode("utf-8", "replace")), max_size=6))
def test_any_bytes_pass_and_redacting_twice_changes_nothing(parts: list[bytes]) -> None:
    once = redacted(b"".join(parts)).line
    assert redacted(once).line == once
    assert not any(canary.encode() in once for canary in CANARIES)


@given(st.dictionaries(KEY, JSON, max_size=5), st.booleans())
def test_json_stays_json_with_its_types_and_no_canary_is_left(value: dict[str, object], ascii: bool) -> None:
    once = redacted(json.dumps(value, ensure_ascii=ascii).encode("utf-8", "replace"), "json").line
    new = json.loads(once)
    assert kinds(new) == kinds(json.loads(json.dumps(value)))
    shown = json.dumps(new, ensure_ascii=False)
    assert not any(canary in shown or json.dumps(canary)[1:-1] in shown for canary in CANARIES)
    assert redacted(once, "json").line == once


@given(st.lists(st.sampled_from([AWS, GITHUB]), min_size=1, max_size=3), st.data())
def test_secrets_written_with_any_escapes_are_found(secrets: list[str], data: st.DataObject) -> None:
    body = "\\n".join(
        "".join(f"\\u{ord(char):04x}" if data.draw(st.booleans()) else char for char in secret) for secret in secrets
    )
    new = json.loads(redacted('{"m": "' + body + '"}', "json").line)["m"]
    assert not any(secret in new for secret in secrets)


def test_a_field_that_is_allowed_is_left_alone_and_others_are_not() -> None:
    by = stage(allow=["digest", "usage.token"])
    value = {"digest": AWS, "m": AWS, "usage": {"token": AWS}, "token": AWS, "list": [{"digest": AWS, "x": AWS}]}
    mark, name = "[REDACTED:aws-access-key-id]", "[REDACTED:key-name]"
    assert as_json(value, by) == {
        "digest": AWS,
        "m": mark,
        "usage": {"token": AWS},
        "token": name,
        "list": [{"digest": AWS, "x": mark}],
    }


def test_a_field_that_is_denied_is_hidden_whole_by_its_name_or_its_path() -> None:
    by = stage(deny=["prompt", "user.email"], builtin=False)
    hidden = "[REDACTED:key-name]"
    value = {"prompt": {"role": "user", "n": [1.5, True]}, "user": {"email": "a", "name": "b"}, "email": "c"}
    assert as_json(value, by) == {
        "prompt": {"role": hidden, "n": [0.0, True]},
        "user": {"email": hidden, "name": "b"},
        "email": "c",
    }


def test_a_denied_name_is_not_compared_loosely() -> None:
    value = {"system_prompt": "a", "Prompt": "b"}
    assert as_json(value, stage(deny=["prompt"], builtin=False)) == value


def test_allowed_and_denied_fields_of_a_text_line() -> None:
    by = stage(allow=["sha"], deny=["note"])
    record = redacted(f"note=hello sha={AWS}", "text", by, parsed={"note": "hello", "sha": AWS, "n": 1})
    assert record.line == b"note=[REDACTED:key-name] sha=[REDACTED:aws-access-key-id]"
    assert record.parsed == {"note": "[REDACTED:key-name]", "sha": AWS, "n": 1}


@pytest.mark.parametrize(
    ("line", "parsed", "expected"),
    [
        (f"{GITHUB} in", {"password": GITHUB}, "[REDACTED:github-token] in"),
        (f"hunter2 in {AWS}", {"password": "hunter2"}, "@ in [REDACTED:aws-access-key-id]"),
        ("ada 1234567 in", {"password": 1234567, "message": "1234567 in"}, "ada @ in"),
        ("ada ab1 in cab1", {"password": "ab1", "message": "ab1 in"}, "ada @ in cab1"),
        ("ada \x1b[35mhunter2\x1b[0m", {"password": "hunter2"}, "ada \x1b[35m@\x1b[0m"),
        ('x {"user": {"mail": "hi\\n\\"ada\\""}}', {"user": {"mail": 'hi\n"ada"'}}, 'x {"user": {"mail": "@"}}'),
        ('{"log": "{\\"n\\":\\"a\\\\nb-long\\"}"}', {"note": "a\nb-long"}, '{"log": "{\\"n\\":\\"@\\"}"}'),
        ("a 0042 b 1.50e3", {"note": 42, "user": {"mail": 1500.0}}, "a @ b @"),
        ("n=1e1 id=10", {"note": 10.0}, "n=@ id=@"),
        ("FATAL disk", {"note": "critical"}, "@ disk"),
        ("p \x1b[1mhun\x1b[35mter2\x1b[0m", {"note": "hunter2"}, "p \x1b[1m@\x1b[35m@\x1b[0m"),
        (
            "2026-11-03T10:00:00Z stdout P say hun\n2026-11-03T10:00:00Z stdout F ter2 now",
            {"note": "hunter2"},
            "2026-11-03T10:00:00Z stdout P say @\n2026-11-03T10:00:00Z stdout F @ now",
        ),
        (
            '{"log":"say hun","stream":"stdout","time":"x"}\n{"log":"ter2\\n","stream":"stdout","time":"x"}',
            {"note": "hunter2"},
            '{"log":"say @","stream":"stdout","time":"x"}\n{"log":"@\\n","stream":"stdout","time":"x"}',
        ),
        ('{"id":"1", "password": {"a": 1}} 1', {"id": "1", "password": {"a": 1}}, '{"id":"1", "password": @} 1'),
        ("pin 1 of 1", {"password": "1"}, "pin @ of @"),
        ("a=1 b=1 n 1", {"secret": {"a": 1}, "token": {"b": 1}}, "a=@ b=@ n 1"),
        ("a=1 b 1 n 1", {"secret": {"a": 1}, "token": {"b": 1}}, "a=@ b @ n @"),
        ("secret.a=1 a=12 n 1", {"secret": {"a": 1}}, "secret.a=@ a=12 n @"),
        ("token: [1, 2] 2", {"token": [1, 2]}, "token: @, @] @"),
        ("password\x1b[0m=\x1b[35m'x1'\x1b[0m x1", {"password": "x1"}, "password\x1b[0m=\x1b[35m'@'\x1b[0m x1"),
        ("note=1 n 1", {"note": 1}, "note=@ n @"),
        ("F one\nP two-three", {"note": "one\ntwo-three"}, "F @\nP @"),
        ("WARN Info", {"note": "info", "level": "warning"}, "WARN @"),
        ("a b", {"note": "", "user": {"mail": None}, "level": True}, "a b"),
    ],
    ids=[
        "by the rule for what it is",
        "beside another secret",
        "a number",
        "a short one, within another word",
        "in colours",
        "by its path, behind escapes",
        "behind two escapes",
        "numbers written in another way",
        "a number twice, written in two ways",
        "a level by another word",
        "colours within it",
        "parts of a line of CRI",
        "parts of a line of Docker",
        "a digit behind its name, and as another field",
        "a digit without its name",
        "a digit under two names",
        "a digit behind one of its two names",
        "a digit behind its name after a dot",
        "digits in a list",
        "a short one behind its name in colours",
        "a digit that is denied",
        "lines with something between",
        "in lower case",
        "nothing to hide",
    ],
)
def test_a_value_that_is_hidden_for_its_name_leaves_the_line_and_all_fields(
    line: str, parsed: dict[str, Any], expected: str
) -> None:
    by = stage(deny=["note", "user.mail"])
    record = redacted(line, by=by, parsed=json.loads(json.dumps(parsed)))
    assert record.text == expected.replace("@", "[REDACTED:key-name]")
    assert "ab1 in" not in str(record.parsed)
    assert "1234567" not in str(record.parsed)
    again = redacted(record.line, by=by, parsed=record.parsed)
    assert (again.line, again.parsed) == (record.line, record.parsed)


def test_a_line_without_fields_is_its_own_message() -> None:
    record = redacted(b"any\xff thing", by=stage(deny=["message"]))
    assert record.fields == {"message": "[REDACTED:key-name]"}
    assert b"any" not in record.line
    assert b"thing" not in record.line


@pytest.mark.parametrize("options", [{"deny": ["note"]}, {"keys": ["note"]}], ids=["deny", "keys"])
def test_a_value_to_hide_that_the_line_does_not_show_goes_nowhere(options: dict[str, Any]) -> None:
    batch = batch_of(b"<34>x", b"note=hello")
    batch.records[0].parsed, batch.records[1].parsed = {"note": "auth"}, {"note": "hello"}
    with pytest.raises(ValueError, match="does not show the value") as error:
        run_stage(stage(**options), batch)
    assert "auth" not in str(error.value)
    assert (batch.records[0].parsed, batch.records[1].line) == ({"note": "auth"}, b"note=hello")


CUTS = {
    "colour": "say {}\x1b[35m{} ok",
    "cri": "2026-11-03T10:00:00Z stdout P say {}\n2026-11-03T10:00:00Z stdout F {} ok",
    "docker": '{{"log":"say {}","stream":"stdout","time":"x"}}\n{{"log":"{} ok\\n","stream":"stdout","time":"x"}}',
}


@pytest.mark.parametrize("form", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("options", [{"deny": ["note"]}, {"keys": ["note"]}], ids=["deny", "keys"])
@given(st.text("QXZ0189-+", min_size=4, max_size=12), st.integers(1, 11))
def test_no_part_of_a_value_that_was_cut_stays(form: str, options: dict[str, Any], value: str, cut: int) -> None:
    head, tail = value[:cut], value[cut:]
    record = redacted(form.format(head, tail), by=stage(builtin=False, **options), parsed={"note": value})
    if set(value) <= set(form):
        return  # is hidden wherever else it stands, too
    assert record.text.replace("[REDACTED:key-name]", "") == form.format("", "")
    assert record.parsed == {"note": "[REDACTED:key-name]"}


def test_a_tiny_value_behind_its_name_leaves_other_fields_alone() -> None:
    record = redacted('{"id":"1", "token": 1}\n', by=stage(), parsed={"id": "1", "token": 1, "message": "token=1 id=1"})
    assert record.parsed == {"id": "1", "token": 0, "message": "token=[REDACTED:key-name] id=1"}


@pytest.mark.parametrize(
    ("line", "pattern", "types", "shown"),
    [
        ("took 0.0120e1s 12", r"took (?P<note>[\d.e]+)s", {"note": "float"}, "took @s 12"),
        ("port 0x 007 ok", r"0x (?P<note>\d+)", {"note": "int"}, "port 0x @ ok"),
        ("FATAL: disk", r"(?P<level>\w+): (?P<message>.*)", {}, "@: disk"),
    ],
    ids=["a float", "an int", "a level"],
)
def test_a_value_that_parse_translated_is_hidden_in_the_line(
    line: str, pattern: str, types: dict[str, str], shown: str
) -> None:
    reader = msgspec.convert({"format": "regex", "pattern": pattern, "types": types}, Parse, dec_hook=decode_option)
    (record,) = run_stage(stage(deny=["note", "level"]), run_stage(reader, batch_of(line.encode()))).records
    assert record.text == shown.replace("@", "[REDACTED:key-name]")


def test_thousands_of_values_to_hide_take_no_quadratic_time() -> None:
    values = {f"k{n}": f"value-{n}" for n in range(20_000)}
    start = time.process_time()
    with pytest.raises(ValueError, match="more than 1000"):
        redacted(json.dumps(values), by=stage(deny=["note"]), parsed={"note": values})
    assert time.process_time() - start < 5


DENYING = stage(deny=["note", "user.a"])
CANARY = "swordfish-Äq 7"
PARSED: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "logfmt": ({"format": "logfmt"}, 'ts=2026-11-03T10:00:00Z note="{}" msg="say {}"', ["note"]),
    "regex": ({"format": "regex", "pattern": r"^(?P<note>.*) said (?P<message>.*)"}, "{} said {}", ["note"]),
    "prefixed JSON": (
        {"format": "prefixed_json"},
        '2026-11-03 10:00:00,000 INFO {{"note": "a", "user": {{"mail": ["{}"]}}, "m": "x {}"}}',
        ["user.mail"],
    ),
    "docker": (
        {"format": "docker"},
        r'{{"log":"{{\"user\":{{\"mail\":\"{}\"}}}}\n","stream":"stdout","time":"2026-11-03T10:00:00Z"}}',
        ["user.mail"],
    ),
    "structlog": (
        {"format": "structlog"},
        "2026-11-03 10:00:00 [\x1b[32minfo     \x1b[0m] paid   \x1b[36mnote\x1b[0m=\x1b[35m'{}'\x1b[0m",
        ["note"],
    ),
    "python": ({"format": "python"}, "2026-11-03 10:00:00,000 INFO app: {}\n  {}", ["message"]),
}


@pytest.mark.parametrize(("options", "form", "deny"), PARSED.values(), ids=PARSED)
@pytest.mark.parametrize("other", ["", f" {AWS}"], ids=["alone", "beside another secret"])
def test_what_parse_took_out_of_a_text_line_is_hidden_in_it(
    options: dict[str, Any], form: str, deny: list[str], other: str
) -> None:
    line = form.replace("{}", CANARY + other).replace("{{", "{").replace("}}", "}")
    batch = run_stage(msgspec.convert(options, Parse, dec_hook=decode_option), batch_of(line.encode()))
    (record,) = run_stage(stage(deny=deny), batch).records
    assert record.format == "text"
    shown = record.text + record.to_json().decode()
    assert "swordfish" not in shown
    assert AWS not in shown
    assert "[REDACTED:key-name]" in record.text


@given(
    st.dictionaries(st.sampled_from(["note", "user", "m", "message"]), JSON, max_size=4),
    st.booleans(),
    st.sampled_from(["x {}", '{{"a": {}}}', "{} y"]),
)
def test_a_text_line_with_fields_is_redacted_once_and_for_all(parsed: dict[str, Any], ascii: bool, form: str) -> None:
    line = form.replace("{}", json.dumps(parsed, ensure_ascii=ascii)).encode("utf-8", "replace")
    try:
        once = redacted(line, by=DENYING, parsed=dict(parsed))
    except ValueError:
        return
    again = redacted(once.line, by=DENYING, parsed=once.parsed)
    assert (again.line, again.parsed) == (once.line, once.parsed)


def test_added_fields_are_allowed_and_denied_as_well() -> None:
    batch = batch_of(b"x")
    batch.records[0].set("sha", AWS)
    batch.records[0].set("note", {"deep": "hello"})
    run_stage(stage(allow=["sha"], deny=["note"]), batch)
    assert batch.records[0].added == {"sha": AWS, "note": {"deep": "[REDACTED:key-name]"}}


def test_a_field_cannot_be_allowed_and_denied() -> None:
    ((where, what),) = stage(allow=["a"], deny=["b", "a"]).check()
    assert (where, what) == ("deny[1]", "'a' stands under allow as well: take it out of one of them")


def test_what_is_said_of_a_whole_partition_is_clean() -> None:
    path = f"/var/log/{AWS}/ada@example.com.log"
    labels = {"source": "app", "file": path}
    first, second = (run_stage(ALL, batch_of(b"x", labels=labels)) for _ in range(2))
    assert dict(first.labels) == {"source": "app", "file": "/var/log/[REDACTED:aws-access-key-id]/[REDACTED:email]"}
    assert second.labels is first.labels
    assert labels["file"] == path
    clean = {"source": "app", "file": "/var/log/app.log"}
    assert run_stage(ALL, batch_of(b"x", labels=clean)).labels is clean


@given(st.dictionaries(KEY, JSON, max_size=4), st.booleans())
def test_what_the_joined_scan_finds_is_what_a_look_at_every_decoded_value_finds(
    value: dict[str, object], ascii: bool
) -> None:
    value = json.loads(json.dumps(value).encode("utf-8", "replace"))
    by_scan = redacted(json.dumps(value, ensure_ascii=ascii).encode("utf-8", "replace"), "json").line
    value = json.loads(json.dumps(value, ensure_ascii=ascii).encode("utf-8", "replace"))
    assert json.loads(by_scan) == redact_value(ALL._engine, value, [])
