"""Options are decoded from what people write, or refused with what would do."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.options import Duration, Regex, Secret, Size, Template, decode_option

SECRET = "hunter2-is-not-printed"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("1d", 86400),
        ("2w", 1209600),
        ("0s", 0),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert Duration.decode(text) == seconds


@pytest.mark.parametrize("value", ["", "5", "s", "5 minutes", "-5s", "5s and more", "1e3s", 5, 5.0, True, None, ["5s"]])
def test_what_is_no_duration_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration: write a number and a unit, such as 250ms"):
        Duration.decode(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (4096, 4096),
        (0, 0),
        ("4096", 4096),
        ("1KiB", 1024),
        ("512 KiB", 524288),
        ("10MB", 10**7),
        ("1.5KiB", 1536),
        ("1GiB", 1 << 30),
        (" 7B ", 7),
        ("3kB", 3000),
    ],
)
def test_a_size_is_bytes_or_a_number_and_a_unit(value: object, size: int) -> None:
    assert Size.decode(value) == size


@pytest.mark.parametrize("value", ["", "KiB", "10 megabytes", "-1", -1, 1.5, True, None, "1KiB 2KiB"])
def test_what_is_no_size_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size: write bytes or a unit, such as 4096"):
        Size.decode(value)


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    secret = Secret.decode({"env": "TOKEN"})
    assert secret.reveal() == SECRET
    assert secret.origin == "env TOKEN"


def test_a_secret_comes_from_a_file_without_its_line_break(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET + "\n")
    assert Secret.decode({"file": str(tmp_path / "token")}).reveal() == SECRET


def test_a_secret_is_never_printed() -> None:
    secret = Secret(SECRET, "env TOKEN")
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", "%s" % secret, repr([secret])):  # noqa: UP031  # the point
        assert SECRET not in text
        assert "env TOKEN" in text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(SECRET, "never written in the config", id="plain text"),
        pytest.param({"env": "TOKEN", "file": "x"}, "never written in the config", id="both"),
        pytest.param({}, "never written in the config", id="neither"),
        pytest.param({"vault": SECRET}, "not a secret reference", id="another kind"),
        pytest.param({"env": 5}, "not a secret reference", id="a number"),
        pytest.param({"env": "TAILRACE_NOT_SET"}, "environment variable TAILRACE_NOT_SET is not set", id="not set"),
        pytest.param({"file": "/nonexistent/token"}, "cannot read /nonexistent/token: No such file", id="no file"),
        pytest.param({"file": "/dev/null"}, "/dev/null is empty", id="empty file"),
    ],
)
def test_what_is_no_secret_is_refused_and_not_quoted(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Secret.decode(value)
    assert SECRET not in str(caught.value)


def test_a_secret_file_that_is_not_text_is_refused_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff" + SECRET.encode())
    with pytest.raises(ValueError, match="token is not text in UTF-8") as caught:
        Secret.decode({"file": str(tmp_path / "token")})
    assert caught.value.__suppress_context__
    assert "0xff" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fields", "rendered"),
    [
        ("plain", (), "plain"),
        ("", (), ""),
        ("{app}", ("app",), "shop"),
        ("a/{app}/{date}.jsonl", ("app", "date"), "a/shop/2026-01-01.jsonl"),
        ("{app}{app}", ("app",), "shopshop"),
        ("{none}!", ("none",), "!"),
        ("{http.status}", ("http.status",), "200"),
        ("{@t}", ("@t",), "now"),
    ],
)
def test_a_template_is_filled_from_fields(text: str, fields: tuple[str, ...], rendered: str) -> None:
    template = Template.decode(text)
    assert template.fields == fields
    assert template.render({"app": "shop", "date": "2026-01-01", "http.status": 200, "@t": "now"}.get) == rendered
    assert repr(template) == f"Template({text!r})"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{app", "unbalanced braces"),
        ("app}", "unbalanced braces"),
        ("{{app}}", "unbalanced braces"),
        ("{}", "is not a field name"),
        ("{a b}", "is not a field name"),
        ("{0}", "is not a field name"),
        (5, "expected text with {field} in it"),
    ],
)
def test_what_is_no_template_is_refused(text: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Template.decode(text)


@given(st.text())
def test_a_template_is_made_or_refused_and_nothing_else(text: str) -> None:
    try:
        template = Template(text)
    except ValueError:
        assert "{" in text or "}" in text
    else:
        assert template.render(lambda field: "{" + field + "}") == text


def test_a_regex_searches_bytes_and_knows_the_place_of_its_named_groups() -> None:
    regex = Regex.decode(r"(?P<zeta>\d+) (\w+) (?P<alpha>\w+)")
    found = regex.search("ü 12 b c".encode())
    assert {name: found.group(place) for name, place in regex.groups.items()} == {"zeta": b"12", "alpha": b"c"}
    assert list(regex.groups) == ["zeta", "alpha"]
    assert regex.search(b"none") is None
    assert repr(regex) == r"Regex('(?P<zeta>\\d+) (\\w+) (?P<alpha>\\w+)')"


@pytest.mark.parametrize(
    ("value", "message"),
    [("(", r"not a regular expression \(RE2\): missing \)"), (r"(?=x)", "RE2"), (5, "expected a regular expression")],
)
def test_what_is_no_regex_is_refused(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Regex.decode(value)


class Options(msgspec.Struct):
    wait: Duration
    size: Size
    template: Template


def test_a_struct_is_decoded_with_them_and_errors_name_the_place() -> None:
    values = {"wait": "1s", "size": "1KiB", "template": "{a}"}
    assert msgspec.convert(values, Options, dec_hook=decode_option).size == 1024
    with pytest.raises(msgspec.ValidationError, match=r"'soon' is not a duration.*\$\.wait"):
        msgspec.convert(values | {"wait": "soon"}, Options, dec_hook=decode_option)


def test_another_type_is_left_to_msgspec() -> None:
    with pytest.raises(NotImplementedError):
        decode_option(complex, "1j")
