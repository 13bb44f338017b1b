from __future__ import annotations

import pytest

from tailrace.query.row import Row
from tailrace.query.template import Template, TemplateError

LABELS = {"level": "info", "n": "1250", "path": " /a/b ", "took": "1.5s", "q": 'say "hi"'}


def rendered(text: str) -> str:
    return Template(text).render(Row(b"the line", LABELS, {}, 1_762_167_600_500_000_000, open=False))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{.level}}/{{.nothing}}", "info/"),
        ("{{ .level | upper }}", "INFO"),
        ("{{ __line__ }}", "the line"),
        ("{{ __timestamp__ | unixEpoch }}", "1762167600"),
        ("{{ .nothing | default `-` }}", "-"),
        ('{{ trim .path }}{{ replace "i" "1" .level }}', "/a/b1nfo"),
        ('{{ printf "%-6s|%5.1f|%03d" .level (float64 .n) (int .n) }}', "info  |1250.0|1250"),
        ("{{ div .n 1000 }} {{ divf .n 1000 }} {{ mul 2 3 }} {{ add 1 2 3 }}", "1 1.25 6 6"),
        ("{{ trunc 2 .level }}{{ substr 1 3 .level }}", "innf"),
        ("{{ duration .took }}", "1.5"),
        ("{{ if eq .level `info` }}yes{{ else }}no{{ end }}", "yes"),
        ("{{ if .nothing }}a{{ else if gt (int .n) 5 }}b{{ else }}c{{ end }}", "b"),
        ("{{ if and (contains `inf` .level) (not .nothing) }}x{{ end }}", "x"),
        ("a  {{- .level -}}  b", "ainfob"),
        (r"{{ regexReplaceAll `(\w)nfo` .level `<$1>` }}", "<i>"),
        ("{{/* a comment */}}x", "x"),
        ("{{ alignLeft 6 .level }}|{{ alignRight 6 .level }}", "info  |  info"),
        ("{{ .q | printf `%q` }}", r'"say \"hi\""'),
    ],
)
def test_a_template_is_filled_as_go_fills_it(text: str, expected: str) -> None:
    assert rendered(text) == expected


def test_the_labels_that_it_reads_are_known() -> None:
    assert Template("{{.a}} {{ if .b }}{{ lower .c }}{{ end }}").names == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("{{ .a | uper }}", "the function uper is not supported; did you mean upper?", 9),
        ("x {{ .a", "{{ without }}", 3),
        ("{{ range .a }}{{ end }}", "{{ range }} is not supported", 4),
        ("{{ if .a }}x", "{{ if }} without {{ end }}", 4),
        ("{{ end }}", "no {{ if }}", 4),
        ("{{ }}", "is empty", 3),
        ("{{ .a.b }}", "not a function", 4),
        ("{{ $x }}", "'$x' is not supported", 4),
        ("{{ lower (.a }}", "( without )", 10),
    ],
)
def test_what_is_not_supported_is_refused_with_its_column(text: str, message: str, column: int) -> None:
    with pytest.raises(TemplateError) as refused:
        Template(text)
    assert message in str(refused.value)
    assert refused.value.column == column


def test_what_a_function_cannot_do_is_an_error_of_the_row() -> None:
    with pytest.raises(ValueError, match="is no duration"):
        rendered("{{ duration .level }}")
