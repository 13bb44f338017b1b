from tailrace.torture.matrix import matrix
from tailrace.torture.trial import Outcome, Plan


def outcome(seed: int, *, reconcile: bool = True, **values: object) -> Outcome:
    made = Outcome(Plan.of(seed), lines=100, looks=3)
    made.plan.reconcile = reconcile
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_each_kind_has_a_row_with_the_trials_it_was_in() -> None:
    good = outcome(1, done={"rename": 2, "kill -9": 1}, counted_too_many=0)
    bad = outcome(2, done={"kill -9": 4}, loki_lost=3, archive_twice=5, counted_too_many=7)
    rows = {line[:14].strip(): line[14:].split() for line in matrix([good, bad]).splitlines()}
    assert rows["rename"] == ["2", "1", "100", "0", "0", "0", "0"]
    assert rows["kill -9"] == ["5", "2", "200", "3", "0", "0", "5"]
    assert rows["all trials"] == ["7", "2", "200", "3", "0", "0", "5"]


def test_the_summary_names_the_seeds_that_were_not_exact() -> None:
    told = matrix([outcome(1), outcome(2, archive_lost=1), outcome(3, dead=2)])
    assert "exact: 1 of 3 trials; not: seed 2, 3" in told
    assert "books: 0 events unaccounted for in 9 looks; dead letters: 2" in told


def test_counts_by_metric_are_told_apart_by_reconcile() -> None:
    told = matrix([outcome(1, counted_too_many=0), outcome(2, counted_too_many=40, reconcile=False)])
    assert "count_over_time, with `reconcile: true`: exact in 1 of 1 trials, +0 in all" in told
    assert "count_over_time, without: exact in 0 of 1 trials, +40 in all" in told


def test_without_loki_there_are_no_columns_for_it() -> None:
    told = matrix([outcome(1, done={"rename": 1})])
    assert "Loki" not in told
    assert "count_over_time" not in told
