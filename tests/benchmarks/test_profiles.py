"""A profile says which functions of tailrace took the time."""

from __future__ import annotations

from tailrace.benchmarks.profiles import shares, table

RAW = """\
m (/bin/tailrace:6);run (/s/cli/run.py:26);Parse.process (/s/stages/parse.py:9);_read (/x/msgspec/a.py:3) 30
m (/bin/tailrace:6);run (/s/cli/run.py:26);Parse.process (/s/stages/parse.py:12) 20
m (/bin/tailrace:6);Loki.send (/s/pipeline/sinks/loki.py:4);f.<locals>.<listcomp> (/s/pipeline/sinks/loki.py:5) 25
m (/bin/tailrace:6);run (/s/cli/run.py:26);_find_and_load (<frozen importlib._bootstrap>:1);x (/s/cli/y.py:1) 20
m (/bin/tailrace:6);parse (/lib/site-packages/stages/parse.py:1) 5
Thread.run (/lib/threading.py:982);_worker (concurrent/futures/thread.py:81) 400
"""


def test_samples_count_to_the_innermost_function_of_tailrace_and_waiting_threads_not_at_all() -> None:
    assert shares(RAW) == {
        "`stages/parse.py` Parse.process": 50,
        "`pipeline/sinks/loki.py` f": 25,
        "start-up and the rest": 25,
    }


def test_a_table_names_those_with_the_most_and_sums_up_the_others() -> None:
    assert table(shares(RAW), 2).splitlines()[2:] == [
        "| `stages/parse.py` Parse.process | 50.0 |",
        "| `pipeline/sinks/loki.py` f | 25.0 |",
        "| all others | 25.0 |",
    ]


def test_a_profile_without_samples_is_a_table_without_functions() -> None:
    assert table(shares("")).splitlines()[2:] == ["| all others | 100.0 |"]
