"""`tailrace test`: from a config to the exit code."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from tailrace.cli.app import app

CONFIG = """\
sources: { in: { use: stdin } }
stages: [ { use: parse }, { use: redact } ]
sinks: { out: { use: stdout }, loki: { use: loki, url: "http://l:1", labels: { a: b }, bearer: { env: NOT_SET_HERE } } }
"""
TESTS = """\
tests:
  - name: a password does not leave
    in: password=hunter2
    out: { out: ['password=[REDACTED:key-name]'] }
"""
WRONG = """\
  - name: wrong
    in: password=hunter2
    out: { out: [password=], loki: 2 }
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(text: str, *arguments: str) -> Result:
    Path("tailrace.yaml").write_text(text)
    return CliRunner().invoke(app, ["test", *arguments])


def test_all_that_pass_are_named_and_the_exit_code_is_0() -> None:
    result = run(CONFIG + TESTS)
    assert result.exit_code == 0
    assert result.stdout.startswith("✓ a password does not leave\n1 passed in ")
    assert result.stderr == ""


def test_one_that_fails_is_shown_with_its_differences_and_the_exit_code_is_1() -> None:
    result = run(CONFIG + TESTS + WRONG)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:-1] == [
        "✓ a password does not leave",
        "✗ wrong  tailrace.yaml:8",
        "    out, record 1, line",
        "      - password=",
        "      + password=[REDACTED:key-name]",
        "    loki, records",
        "      - 2",
        "      + 1",
    ]
    assert result.stdout.splitlines()[-1].startswith("1 passed, 1 failed in ")


def test_a_terminal_gets_colours() -> None:
    Path("tailrace.yaml").write_text(CONFIG + TESTS + WRONG)
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm-256color"}
    command = [sys.executable, "-m", "tailrace.cli", "test"]
    subprocess.run(command, stdout=theirs, env=environment, timeout=60, check=False)
    told = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert "\x1b[32m✓\x1b[0m" in told
    assert "\x1b[7;31m[REDACTED:key-name]\x1b[0m" in told


def test_some_can_be_chosen_by_name() -> None:
    assert run(CONFIG + TESTS + WRONG, "--only", "password").exit_code == 0
    result = run(CONFIG + TESTS, "--only", "nothing")
    assert (result.exit_code, result.stderr) == (1, "no test in tailrace.yaml has 'nothing' in its name\n")


def test_a_machine_gets_json() -> None:
    result = run(CONFIG + TESTS + WRONG, "--json")
    told = json.loads(result.stdout)
    assert (told["ok"], [(test["name"], test["passed"]) for test in told["tests"]]) == (
        False,
        [("a password does not leave", True), ("wrong", False)],
    )
    assert told["tests"][1]["differences"][1] == {"where": "loki, records", "expected": "2", "got": "1", "hint": ""}


def test_a_ci_server_gets_junit_xml() -> None:
    assert run(CONFIG + TESTS + WRONG.replace("[password=]", '["a\\u0007b"]'), "--junit", "r.xml").exit_code == 1
    suite = ElementTree.parse("r.xml").getroot()[0]
    assert {key: suite.attrib[key] for key in ("name", "tests", "failures", "errors")} == {
        "name": "tailrace.yaml",
        "tests": "2",
        "failures": "1",
        "errors": "0",
    }
    passed, failed = suite
    assert (passed.attrib["name"], list(passed)) == ("a password does not leave", [])
    assert (failed.attrib["line"], failed[0].attrib["message"]) == ("8", "2 differences")
    assert "+ password=[REDACTED:key-name]" in (failed[0].text or "")


def test_a_junit_file_that_cannot_be_written_is_told() -> None:
    result = run(CONFIG + TESTS, "--junit", "not/there.xml")
    assert (result.exit_code, result.stderr) == (1, "cannot write not/there.xml: No such file or directory\n")


def test_without_tests_it_says_how_to_write_one_and_that_one_passes() -> None:
    result = run(CONFIG)
    assert result.exit_code == 1
    assert "no tests in tailrace.yaml" in result.stderr
    example = result.stderr.partition("\n\n")[2]
    assert run(CONFIG + example).exit_code == 0


def test_a_wrong_config_exits_with_78() -> None:
    result = run(CONFIG + TESTS.replace("in: p", "on: p"))
    assert result.exit_code == 78
    assert "tailrace.yaml:6:5: error: tests[0]: no option 'on'" in result.stderr
