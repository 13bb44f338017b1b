"""Rule files in gitleaks' format."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.stages._redaction import Engine
from tailrace.stages._rule_files import load_rules
from tailrace.stages._rules import RuleError


def cleaned(text: str, engine: Engine) -> str:
    return engine.text(text, [])


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_gitleaks_file_says_group_entropy_and_what_is_allowed(tmp_path: Path) -> None:
    rules = load_rules(
        write(
            tmp_path / "r.toml",
            """
            [[rules]]
            id = "acme"
            regex = '''acme_(key|pin)=([a-z0-9]{8,})'''
            secretGroup = 2
            entropy = 2.0
            keywords = ["ACME_"]
            [[rules.allowlists]]
            regexTarget = "match"
            regexes = ['''pin=''']
            [[rules.allowlists]]
            stopwords = ["example"]
            [[rules]]
            id = "path-only"
            path = '''\\.pem$'''
            """,
        )
    )
    engine = Engine(rules)
    assert [rule.id for rule in rules] == ["acme"]
    assert cleaned("acme_key=a1b2c3d4e5", engine) == "acme_key=[REDACTED:acme]"
    for kept in ("acme_key=aaaaaaaaaa", "acme_pin=a1b2c3d4e5", "acme_key=example1234"):
        assert cleaned(kept, engine) == kept


def test_without_secret_group_the_first_group_is_the_secret(tmp_path: Path) -> None:
    rules = load_rules(
        write(tmp_path / "r.toml", "[[rules]]\nid='x'\nregex='''key:(a+)|pin:(b+)'''\nkeywords=['key','pin']")
    )
    assert cleaned("key:aaa pin:bbb", Engine(rules)) == "key:[REDACTED:x] pin:[REDACTED:x]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules = 5", "is not a rule file"),
        ("[[rules]", "is not a rule file"),
        ("[[rules]]\nid='x'\nregex='(?<=a)b'", "rule 'x': not a regular expression"),
        ("[[rules]]\nid='x'\nregex='a*'", "rule 'x': matches the empty text"),
        ("[[rules]]\nid='x'\nregex='a'\nsecretGroup=2", "rule 'x': secretGroup is 2"),
    ],
)
def test_a_rule_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RuleError, match=message.replace("(", r"\(")):
        load_rules(write(tmp_path / "r.toml", text))


def test_a_missing_rule_file_is_named() -> None:
    with pytest.raises(RuleError, match=r"cannot read none\.toml"):
        load_rules(Path("none.toml"))


def test_a_file_may_extend_another_without_some_rules(tmp_path: Path) -> None:
    write(tmp_path / "base.toml", "[[rules]]\nid='a'\nregex='aaaa'\n[[rules]]\nid='b'\nregex='bbbb'")
    path = write(
        tmp_path / "own.toml", "[extend]\npath='base.toml'\ndisabledRules=['a']\n[[rules]]\nid='c'\nregex='cccc'"
    )
    assert [rule.id for rule in load_rules(path)] == ["b", "c"]
