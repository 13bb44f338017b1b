from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tailrace.config._yaml import Node, read
from tailrace.config.problem import Problem


def read_text(tmp_path: Path, text: str | bytes) -> tuple[Node | None, list[Problem]]:
    path = tmp_path / "c.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    document, problems = read(path)
    return document.root, document.show(problems)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: true", True),
        ("a: FALSE", False),
        ("a: no", "no"),
        ("a: on", "on"),
        ("a: 1:30", "1:30"),
        ("a: 2026-01-02", "2026-01-02"),
        ("a: 012", 12),
        ("a: 0o17", 15),
        ("a: 0xff", 255),
        ("a: 1_000", "1_000"),
        ("a: 1.50", 1.5),
        ("a: -.5e3", -500.0),
        ("a: .inf", float("inf")),
        ("a: ~", None),
        ("a:", None),
        ("a: '5'", "5"),
        ("a: !!str 5", "5"),
        ("a: =", "="),
        ("a: [1, {b: c}]", [1, {"b": "c"}]),
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("1: x\na: true\n", True),
    ],
)
def test_scalars_are_what_yaml_1_2_says(tmp_path: Path, text: str, value: object) -> None:
    root, problems = read_text(tmp_path, text)
    assert problems == []
    assert root is not None
    assert root.plain()["a"] == value
    assert type(root.plain()["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a:\n\t- b", (2, 1), "cannot start any token"),
        ("a: [1\nb: 2", (2, 2), "expected ',' or ']'"),
        ("a: *x", (1, 4), "undefined alias"),
        ("a: 1\n---\nb: 2", (2, 1), "another document"),
        ("a: b\nü: x: y", (2, 5), "mapping values are not allowed"),
        ("a: 1\nb: x\x01", (2, 5), "U+0001 is not allowed"),
        ("a: 1\nb: 2\na: 3", (3, 1), "'a' is written twice, first on line 1"),
        ("a: {b: !env FOO}", (1, 8), "the tag !env has no meaning"),
        ("a: !!python/name:os.system x", (1, 4), "has no meaning"),
        ("a: &x [*x]", (1, 4), "alias inside of what it stands for"),
        ("? [1]\n: 2", (1, 3), "a name must be text"),
        ("a: !!int x", (1, 4), "not a YAML int"),
        ("<<: 5", (1, 5), "`<<` takes a map"),
    ],
)
def test_a_mistake_in_the_yaml_is_told_at_its_place(
    tmp_path: Path, text: str, place: tuple[int, int], message: str
) -> None:
    _, problems = read_text(tmp_path, text)
    assert [(p.line, p.column) for p in problems] == [place]
    assert message in problems[0].message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"a: 1\nb: \xff\xfe", "byte 0xff is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
    ids=["empty", "comments only", "not UTF-8", "deep"],
)
def test_a_file_that_is_no_config_is_told_as_such(tmp_path: Path, data: bytes, message: str) -> None:
    root, problems = read_text(tmp_path, data)
    assert root is None
    assert [message in problem.message for problem in problems] == [True]


def test_bytes_that_are_not_utf_8_are_told_with_line_and_column(tmp_path: Path) -> None:
    _, (problem,) = read_text(tmp_path, b"a: 1\nb: \xff")
    assert (problem.line, problem.column) == (2, 4)


def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    document, problems = read(tmp_path / "missing.yaml")
    assert document.root is None
    assert [p.message for p in problems] == ["cannot be read: No such file or directory"]


def test_tabs_get_a_hint(tmp_path: Path) -> None:
    _, (problem,) = read_text(tmp_path, "a:\n\tb: 1")
    assert "spaces" in problem.hint


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    root, _ = read_text(tmp_path, "\ufeffa: 1")
    assert root is not None
    assert root.plain() == {"a": 1}


def test_merged_keys_yield_to_own_ones_and_keep_their_place(tmp_path: Path) -> None:
    root, problems = read_text(tmp_path, "x: &x {p: 1, q: 2}\ny:\n  <<: [*x, {q: 9, r: 3}]\n  p: 5\n")
    assert problems == []
    assert root is not None
    assert root.plain()["y"] == {"p": 5, "q": 2, "r": 3}
    assert (root.at("y.q").line, root.at("y.p").line) == (1, 4)


def test_aliases_of_aliases_cannot_eat_the_memory(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    _, problems = read_text(tmp_path, bomb)
    assert any("too many aliases" in problem.message for problem in problems)


def test_paths_lead_to_the_deepest_node_there_is(tmp_path: Path) -> None:
    root, _ = read_text(tmp_path, "m:\n  - {labels: {app: x}}\n  - {labels: {app: y}}\n")
    assert root is not None
    assert root.at("m[1].labels.app").value == "y"
    assert root.at("m[1].labels.nope") is root.at("m[1].labels")
    assert root.at("m[7].labels") is root.at("m")


@pytest.mark.parametrize(
    "text",
    [
        "password: hunter2\npassword: x",
        "{ password: hunter2, a: 1, a: 2 }",
        "pasword: 'hunter2'\npasword: x",
        "api_key: hunter2\napi_key: 1",
        "token: {value: hunter2, value: x}",
        "a: 'http://bob:hunter2@host/'\n? [x]\n: 'http://bob:hunter2@host/'",
        "{ secret: 'a\n  hunter2', a: 1, a: 2 }",
        "password: hunter2 : [",
        "password: [hunter2",
        "x: 'http://bob:hunter2@host' y",
    ],
)
def test_a_secret_in_the_file_is_never_shown(tmp_path: Path, text: str) -> None:
    _, problems = read_text(tmp_path, text)
    assert problems
    assert "hunter2" not in "".join(map(Problem.render, problems)) + repr(problems)


def test_a_secret_before_the_mistake_does_not_move_the_caret(tmp_path: Path) -> None:
    _, (problem,) = read_text(tmp_path, "{ password: a-very-long-secret, b: 1, b: 2 }")
    _, source, caret, _ = problem.render().split("\n")
    assert source[caret.index("^") :] == "b: 2 }"


@given(text=st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_the_file_is_read_or_told(tmp_path: Path, text: str) -> None:
    root, problems = read_text(tmp_path, text)
    assert root is not None or problems
    assert all("\n" not in problem.source for problem in problems)
