from __future__ import annotations

import pytest

from tailrace.benchmarks.latency import Delay
from tailrace.benchmarks.memory import Memory
from tailrace.benchmarks.report import BEGIN, END, PAGE, figures, placed, stage_table
from tailrace.benchmarks.result import Result


def run(speed: float, **seconds: float) -> Result:
    return Result(
        rival="tailrace",
        scenario="s6",
        mix="json",
        input_mb=100.0,
        want=1,
        status="ok",
        cpu_s=100.0 / speed,
        wall_s=100.0 / speed,
        mb_per_cpu_s=speed,
        stage_s=seconds,
    )


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    page = f"before\n{BEGIN}old\n{END}after\n"
    assert placed(page, "new") == f"before\n{BEGIN}\nnew\n{END}after\n"
    assert placed(placed(page, "new"), "new") == placed(page, "new")


@pytest.mark.parametrize("page", ["", f"{BEGIN}x", f"x{END}"], ids=["none", "no end", "no beginning"])
def test_a_page_without_its_marks_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="the page lacks the marks"):
        placed(page, "new")


def test_the_page_has_its_marks() -> None:
    assert placed(PAGE.read_text(), "new")


def test_the_costs_of_stages_are_those_of_the_round_disturbed_least_and_add_up() -> None:
    found = stage_table([run(10, parse=9.0), run(20, parse=1.0, redact=3.0), run(5, parse=0.1)])
    assert found.splitlines() == [
        "| corpus | parse | redact | the rest | all |",
        "|---|--:|--:|--:|--:|",
        "| json | 10.0 | 30.0 | 10.0 | 50.0 |",
    ]


def test_stages_that_took_longer_than_there_was_cpu_time_were_disturbed() -> None:
    assert stage_table([run(20, parse=6.0)]).splitlines()[2] == "| json | 60.0 | disturbed | 50.0 |"


def test_without_s6_there_is_no_table_of_stages() -> None:
    assert stage_table([]) == ""


def test_the_figures_hold_every_part_that_was_measured() -> None:
    delays = [Delay(rival="tailrace", rate=1, lines=1, missing=0, p50=1, p99=2, max=3)]
    text = figures([run(10, parse=9.0)], delays, [Memory(rival="tailrace", idle=50)], "p.svg")
    for words in ("| tailrace |", "![Speed of each shipper in each scenario](p.svg)", "### S6 by stage", "| 1 | tailr"):
        assert words in text
    assert "### Latency" in text
    assert "### Memory" in text


def test_what_was_not_measured_has_no_heading() -> None:
    text = figures([run(10)], [], [], "")
    assert [line for line in text.splitlines() if line.startswith(("#", "!"))] == ["### Speed"]
