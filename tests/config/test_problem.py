from __future__ import annotations

import pytest

from tailrace.config.problem import ConfigError, Problem, did_you_mean, errors, without_credentials

PROBLEM = Problem(
    file="tailrace.yaml",
    line=12,
    column=10,
    width=4,
    message="no stage 'drpo'",
    hint="did you mean 'drop'?",
    source="  - {use: drpo }",
)


def test_a_problem_shows_place_line_caret_and_hint() -> None:
    assert PROBLEM.render() == (
        "tailrace.yaml:12:10: error: no stage 'drpo'\n    - {use: drpo }\n           ^^^^\n  hint: did you mean 'drop'?"
    )


def test_colour_changes_nothing_but_colour() -> None:
    coloured = PROBLEM.render(colour=True)
    assert "\x1b[1;31merror:\x1b[0m" in coloured
    for code in ("\x1b[1;31m", "\x1b[36m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == PROBLEM.render()


def test_a_problem_of_the_file_itself_has_no_place() -> None:
    assert Problem(file="c.yaml", message="is empty").render() == "c.yaml: error: is empty"


def test_tabs_before_the_place_stand_before_the_caret_too() -> None:
    problem = Problem(file="c", line=1, column=3, message="m", source="\t\tx")
    assert problem.render().split("\n")[2] == "  \t\t^"


def test_the_error_holds_all_problems_and_says_them() -> None:
    warning = Problem(file="c", message="hm", severity="warning")
    error = ConfigError([PROBLEM, warning])
    assert "drpo" in str(error)
    assert errors(error.problems) == [PROBLEM]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("drpo", "did you mean 'drop'? there is: drop, parse"),
        ("PARSE", "did you mean 'parse'? there is: drop, parse"),
        ("xyz", "there is: drop, parse"),
    ],
)
def test_the_hint_names_the_nearest_word_and_all_of_them(word: str, hint: str) -> None:
    assert did_you_mean(word, ["parse", "drop"]) == hint
    assert did_you_mean(word, []) == ""


def test_credentials_in_a_url_are_blacked_out() -> None:
    assert (
        without_credentials("to http://bob:pw@host:1/x and http://host/a@b")
        == "to http://***@host:1/x and http://host/a@b"
    )
