"""The latest kinds of trouble are kept, and how often each was."""

from __future__ import annotations

from tailrace.pipeline.troubles import DETAIL_CHARS, MOST, Trouble, Troubles


def test_the_latest_comes_first_and_the_same_again_is_counted() -> None:
    troubles = Troubles()
    troubles.note("loki", "delivery failed", "503")
    troubles.note("parse", "dead letter", "odd", 2)
    troubles.note("loki", "delivery failed", "refused")
    assert [(one.where, one.what, one.detail, one.times) for one in troubles] == [
        ("loki", "delivery failed", "refused", 2),
        ("parse", "dead letter", "odd", 2),
    ]
    latest, before = troubles
    assert latest.at >= before.at > 1_600_000_000


def test_only_so_many_kinds_are_kept_and_no_endless_text() -> None:
    troubles = Troubles()
    for number in range(MOST + 5):
        troubles.note(str(number), "failed", "x" * 10_000)
        troubles.note("0", "failed", "again")
    kept = list(troubles)
    assert len(kept) == MOST
    assert (kept[0].where, kept[0].times) == ("0", MOST + 6)
    assert [one.where for one in kept[1:]] == [str(number) for number in range(MOST + 4, 5, -1)]
    assert max(len(one.detail) for one in kept) == DETAIL_CHARS


def test_a_line_tells_all_but_the_time() -> None:
    assert Trouble(1.0, "loki", "failed", "503", 1200, 1).line() == "loki failed (1,200 times), worker 1: 503"
    assert Trouble(1.0, "", "cannot save").line() == "cannot save"
