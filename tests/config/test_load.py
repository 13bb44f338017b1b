from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tailrace.config.load import Address, Home, check, home, load
from tailrace.config.problem import ConfigError, Problem, errors
from tailrace.pipeline.options import Duration

Write = Callable[[str], Path]


def told(path: Path) -> list[tuple[int, int, str, str]]:
    """Line, column, message and hint of each problem."""
    return [(p.line, p.column, p.message, p.hint) for p in check(path)[1]]


def test_a_whole_config_becomes_components(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "s3cret")
    config = load(
        write("""
        stage_files: [shape.py, list_source.py, list_sink.py]
        sources:
          app: { use: list_source, lines: [] }
        stages:
          - { use: shape, wait: 1h30m, size: 2KiB, pattern: 'a+', key: { env: KEY }, ports: { 80: 1 } }
          - use: shape
            rules: [{ name: n, labels: { app: "{source}" } }]
          - { use: shape, lines: [x, y], pair: [1, z] }
        sinks:
          out: { use: list_sink, batch_wait: 50ms }
          errors: { use: list_sink }
        exporter: {}
        state: here/state
        drain: 1m
        tests: []
        x-mine: 1
        """)
    )
    stages: list[Any] = list(config.stages)
    first, second, third = stages
    assert [stage.name for stage in config.stages] == ["shape", "shape.2", "shape.3"]
    assert (first.wait, first.size, first.pattern.text, first.ports) == (5400, 2048, "a+", {"80": 1})
    assert first.key.reveal() == "s3cret"
    assert second.rules[0].labels["app"].fields == ("source",)
    assert (third.lines, third.pair) == (["x", "y"], (1, "z"))
    assert {name: source.name for name, source in config.sources.items()} == {"app": "app"}
    assert [(name, sink.name) for name, sink in config.sinks.items()] == [("out", "out"), ("errors", "errors")]
    assert config.sinks["out"].batch_wait == 0.05
    assert config.exporter is not None
    assert (config.exporter.listen.host, config.exporter.listen.port) == ("127.0.0.1", 9464)
    assert (config.state, config.drain, config.tests) == (Path("here/state"), Duration(60), [])
    assert list(config.components()) == [
        "sources.app",
        "stages[0]",
        "stages[1]",
        "stages[2]",
        "sinks.out",
        "sinks.errors",
    ]


def test_what_is_not_written_has_its_default(staged: Write) -> None:
    config = load(staged(""))
    assert (config.stages, config.exporter, config.state, config.drain) == ([], None, Path("state"), Duration(30))
    assert (config.dead_letter.max_bytes, config.dead_letter.when_full) == (100 << 20, "wait")


@pytest.mark.parametrize(
    ("options", "marked", "message", "hint"),
    [
        ("wiat: 1s", "wiat", "no option 'wiat'", "did you mean 'wait'?"),
        ("name: x", "name", "no option 'name'", ""),
        ("_wanted: x", "_wanted", "no option '_wanted'", ""),
        ("wait: 5", "5", "wait: 5 is not a duration", ""),
        ("size: 4MX", "4MX", "size: '4MX' is not a size", ""),
        ("pattern: 'a('", "'a('", "pattern: not a regular expression (RE2): missing ): a(", ""),
        ("pattern: 5", "5", "pattern: expected a regular expression, got 5", 'quote it: "5"'),
        ("text: true", "true", "text: expected text, got true", 'quote it: "true"'),
        ("text: 007", "007", "text: expected text, got the number 007", 'quote it: "007"'),
        ("text: ", "", "text: expected text, got nothing", ""),
        ("flag: yes", "yes", "flag: expected true or false, got text 'yes'", "write true"),
        ("count: '3'", "'3'", "count: expected a whole number, got text '3'", "without quotes: 3"),
        ("count: 1.5", "1.5", "count: expected a whole number, got the number 1.5", ""),
        ("share: [1]", "[", "share: expected a number, got a list", ""),
        ("takes: x", "x", "takes: expected a list, got text 'x'", "write a list: [x]"),
        ("mode: fsat", "fsat", "mode: expected one of fast, slow, got text 'fsat'", "did you mean 'fast'?"),
        ("mode: 3", "3", "mode: expected one of fast, slow, got the number 3", ""),
        ("lines: [a, 5]", "5", "lines[1]: expected text, got the number 5", 'quote it: "5"'),
        ("ports: { a: 1, b: x }", "x", "ports.b: expected a whole number, got text 'x'", ""),
        ("pair: [x, y]", "x", "pair[0]: expected a whole number, got text 'x'", ""),
        ("rules: [{ nme: x, name: y }]", "nme", "rules[0]: no option 'nme'", "did you mean 'name'?"),
        ("rules: [{ type: gauge }]", "{", "rules[0]: the option 'name' is missing", ""),
        ("rules: [{ name: x, type: guage }]", "guage", "rules[0].type: expected one of counter, gauge", "'gauge'?"),
        ("rules: [{ name: x, labels: { a: '{' } }]", "'{'", "rules[0].labels.a: unbalanced braces", ""),
        ("key: { env: NOPE_NOT_SET }", "{", "key: the environment variable NOPE_NOT_SET is not set", ""),
        ("flag: true, mode: slow", "slow", "mode: slow does not go with flag", ""),
        ("count: -1", "shape", "a shape needs a count", ""),
    ],
)
def test_a_wrong_option_is_told_at_its_place(staged: Write, options: str, marked: str, message: str, hint: str) -> None:
    (problem,) = check(staged(f"- {{ use: shape, {options} }}"))[1]
    assert (problem.line, problem.message[: len(message)]) == (5, message)
    assert hint in problem.hint
    assert problem.source[problem.column - 1 :].startswith(marked)
    assert problem.width == max(1, len(marked))


@pytest.mark.parametrize(
    ("stage", "column", "message", "hint"),
    [
        ("- { use: shpae }", 10, "no stage 'shpae'", "did you mean 'shape'?"),
        ("- { use: list_sink }", 10, "no stage 'list_sink'", "list_sink is a sink: it goes under `sinks:`"),
        ("- { use: 5 }", 10, "`use:` is a word", ""),
        ("- { takes: [] }", 3, "`use:` is missing: which stage?", "shape"),
        ("- shape", 3, "expected a map with `use:`, got text 'shape'", "write { use: shape }"),
        ("- [shape]", 3, "expected a map with `use:`, got a list", ""),
    ],
)
def test_a_stage_that_is_none_is_told(staged: Write, stage: str, column: int, message: str, hint: str) -> None:
    ((line, at, said, would_do),) = told(staged(stage))
    assert (line, at, said) == (5, column, message)
    assert hint in would_do


def test_every_mistake_is_told_at_once(staged: Write) -> None:
    problems = told(
        staged("""
        - { use: shape, wiat: 1, count: x, takes: [1, 2], rules: [{ nme: 1, wait: 2 }, { name: 3 }] }
        - { use: nope }
        """)
    )
    assert [message.split(":")[0] for _, _, message, _ in problems] == [
        "no option 'wiat'",
        "count",
        "takes[0]",
        "takes[1]",
        "rules[0]",
        "rules[0]",
        "rules[0].wait",
        "rules[1].name",
        "no stage 'nope'",
    ]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("5", (1, 1), "a config is a map"),
        ("sinks: { a: { use: stdout } }", (1, 1), "no source: `sources:` needs at least one"),
        ("sources: { a: { use: stdin } }\nsinks: {}", (2, 8), "no sink: `sinks:` needs at least one"),
        ("sources: [a]", (1, 10), "`sources:` is a map of names"),
        ("sources: { 2b: { use: stdin } }", (1, 12), "'2b' cannot be the name of a source"),
        ("sorces: {}", (1, 1), "no option 'sorces'"),
        ("stages: {}", (1, 9), "`stages:` is a list"),
        ("drain: 5", (1, 8), "drain: 5 is not a duration"),
        ("state: [x]", (1, 8), "state: expected a path"),
        ("exporter: { listen: here }", (1, 21), "exporter.listen: 'here' is not an address"),
        ("exporter: { listne: x }", (1, 13), "exporter: no option 'listne'"),
        ("dead_letter: { when_full: stop }", (1, 27), "dead_letter.when_full: expected one of wait, drop_oldest"),
        ("dead_letter: { max_bytes: much }", (1, 27), "dead_letter.max_bytes: 'much' is not a size"),
        ("tests: x", (1, 8), "tests: expected a list"),
        ("tests: [{ name: a, lines: b }]", (1, 20), "tests[0]: no option 'lines'"),
        ("stage_files: [nope.py]", (1, 15), "nope.py cannot be loaded: no such file"),
    ],
)
def test_a_wrong_top_of_the_config_is_told(write: Write, text: str, place: tuple[int, int], message: str) -> None:
    assert message in [m[: len(message)] for line, column, m, _ in told(write(text)) if (line, column) == place]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def", "mine.py cannot be loaded: SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "mine.py cannot be loaded: SystemExit: 3"),
        ("import no_such_library", "mine.py cannot be loaded: ModuleNotFoundError: No module named 'no_such_library'"),
        ("x = 1", "mine.py cannot be loaded: ImportError"),
        (
            "from tailrace.pipeline.component import Component\nclass Mine(Component): pass",
            "Mine in mine.py is neither a Stage nor a Source nor a Sink",
        ),
    ],
)
def test_a_file_of_your_own_that_does_not_load_is_told(write: Write, code: str, message: str) -> None:
    path = write("stage_files: [mine.py]")
    Path("mine.py").write_text(code)
    assert [m[: len(message)] for _, column, m, _ in told(path) if column == 15] == [message]


def test_a_component_of_your_own_that_raises_is_told_at_its_use(staged: Write) -> None:
    path = staged("- { use: mine }")
    Path("mine.py").write_text(
        "from tailrace.pipeline.component import Stage\n"
        "class Mine(Stage):\n"
        "    def check(self):\n"
        "        return 1 / 0\n"
    )
    path.write_text(path.read_text().replace("[shape.py,", "[mine.py,"))
    assert told(path) == [(5, 10, "stage 'mine' cannot be set up: ZeroDivisionError: division by zero", "")]


def test_a_missing_option_is_told_at_the_use(staged: Write) -> None:
    path = staged("- { use: mine }")
    Path("mine.py").write_text(
        "from tailrace.pipeline.component import Stage\nclass Mine(Stage, kw_only=True):\n    field: str\n"
    )
    path.write_text(path.read_text().replace("[shape.py,", "[mine.py,"))
    assert told(path) == [(5, 10, "stage 'mine' needs the option 'field'", "")]


@pytest.mark.parametrize(
    "options",
    [
        "key: hunter2",
        "kye: hunter2",
        "key: [hunter2]",
        "key: { value: hunter2 }",
        "password: hunter2",
        "rules: [{ name: x, token: hunter2, wait: 1 }]",
        "ports: { my_token: hunter2 }",
        "text: 5, key: hunter2, count: x",
        "count: x, text: 'http://me:hunter2@host/'",
    ],
)
def test_no_problem_shows_a_secret(staged: Write, options: str) -> None:
    problems = check(staged(f"- {{ use: shape, {options} }}"))[1]
    assert problems
    assert "hunter2" not in "".join(map(Problem.render, problems)) + repr(problems)


def test_load_raises_every_error(staged: Write) -> None:
    with pytest.raises(ConfigError, match="count") as caught:
        load(staged("- { use: shape, count: x, wait: 1 }"))
    assert len(caught.value.problems) == 2


def test_the_loaded_config_can_tell_later_problems_at_their_place(staged: Write) -> None:
    config = load(staged("- { use: shape, text: x }"))
    at = [config.problem(path, "m") for path in ("stages[0].text", "stages[0].wait", "sinks.out", "state")]
    assert [(problem.line, problem.column) for problem in at] == [(5, 23), (5, 10), (3, 22), (1, 1)]
    assert at[0].source == "- { use: shape, text: x }"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:9464", "127.0.0.1", 9464), ("[::1]:80", "::1", 80), ("localhost:0", "localhost", 0)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    address = Address.decode(text)
    assert (address.host, address.port, str(address)) == (host, port, text)


@pytest.mark.parametrize("value", ["127.0.0.1", ":9464", "a:b", "a:70000", "::1:80", 9464, "http://a:1"])
def test_what_is_no_address_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="write host:port"):
        Address.decode(value)


VALID = """\
stage_files: [shape.py, list_source.py, list_sink.py]
sources: { app: { use: list_source } }
sinks: { out: { use: list_sink, batch_wait: 50ms } }
stages:
  - { use: shape, rules: [{ name: n, labels: { app: "{source}" } }], takes: [message] }
  - { use: shape, pair: [1, z], ports: { a: 1 } }
"""


@given(start=st.integers(0, len(VALID)), length=st.integers(0, 12), put=st.text("{}[]:,'\"&*!|> \n\tax5-", max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_config_is_loaded_or_told_in_the_file(write: Write, start: int, length: int, put: str) -> None:
    path = write("")
    path.write_text(VALID[:start] + put + VALID[start + length :])
    config, problems = check(path)
    assert (config is None) == bool(errors(problems))
    lines = path.read_text().splitlines()
    assert all(problem.line <= len(lines) + 1 for problem in problems)


def test_where_a_run_is_found_is_told_without_its_components(write: Write) -> None:
    path = write("""
        sources: { app: { use: file, inclde: 7 }, own: { use: mine }, odd: 5 }
        sinks: { loki: { use: loki, bearer: { env: TAILRACE_TEST_NO_SUCH_TOKEN } }, out: { use: stdout } }
        exporter: { listen: "127.0.0.1:9" }
        state: there
    """)
    found, problems = home(path)
    assert problems == []
    assert found is not None
    assert (found.state, found.sinks) == (Path("there"), ("loki", "out"))
    assert found.exporter is not None
    assert found.exporter.listen.port == 9
    assert {name: cls and cls.word() for name, cls in found.sources.items()} == {
        "app": "file",
        "own": None,
        "odd": None,
    }


def test_where_a_run_is_found_has_its_defaults(write: Write) -> None:
    found, problems = home(write("{}"))
    assert (found, problems) == (Home(Path("state"), None, {}, ()), [])


@pytest.mark.parametrize("text", ["state: [x]", "exporter: { listen: here }", "a: [", "[a]", ""])
def test_a_config_that_does_not_tell_where_a_run_is_found_is_refused(write: Write, text: str) -> None:
    found, problems = home(write(text))
    assert found is None
    assert problems


SHARED = """
workers: {workers}
sources:
  app: {{ use: {source} }}
sinks:
  out: {{ use: {sink} }}
"""
FILE = "file, include: [app.log]"


@pytest.mark.parametrize(
    ("workers", "source", "sink", "place", "message"),
    [
        (0, FILE, "jsonl, path: a/b.jsonl", (2, 10), "workers: expected `int` >= 1"),
        (2, "stdin", "jsonl, path: a/b.jsonl", (2, 10), "no source here can be read by several workers"),
        (2, FILE, "stdout", (6, 15), "only one process can print"),
        (2, FILE, "loki, url: 'http://l', labels: { app: a }", (6, 46), "labels: several workers must not push to one"),
    ],
    ids=["none", "nothing to share", "stdout", "one stream"],
)  # fmt: skip
def test_what_several_workers_cannot_share_is_told(
    write: Write, workers: int, source: str, sink: str, place: tuple[int, int], message: str
) -> None:
    (found,) = told(write(SHARED.format(workers=workers, source=source, sink=sink)))
    assert found[:2] == place
    assert found[2].startswith(message)


@pytest.mark.parametrize(
    ("workers", "sink"),
    [
        (1, "stdout"),
        (2, "jsonl, path: a/b.jsonl"),
        (64, "loki, url: 'http://l', labels: { app: a, file: '{file}' }"),
    ],
)
def test_what_several_workers_can_share_is_right(write: Write, workers: int, sink: str) -> None:
    config = load(write(SHARED.format(workers=workers, source=FILE, sink=sink)))
    assert config.workers == workers


GROUP = "kafka, brokers: ['k:9092'], topics: [t], group: g"


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("a/b.jsonl", "{partition} and {topic}"),
        ("a/{topic}.jsonl", "{partition}"),
        ("a/{partition}/{date}.jsonl.zst", "{topic}"),
    ],
)
def test_an_archive_that_processes_of_a_group_would_write_to_together_is_refused(
    write: Write, path: str, missing: str
) -> None:
    text = SHARED.format(workers=1, source=GROUP, sink=f"jsonl, path: '{path}'")
    (found,) = told(write(text))
    wanted = f"path: processes of one group must not write to one file: put {missing} into the path"
    assert found[:3] == (6, 28, wanted)
    assert load(write(text.replace(path, f"{path}/{{topic}}-{{partition}}.jsonl"))).sinks
