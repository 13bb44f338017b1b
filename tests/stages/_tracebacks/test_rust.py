"""Rust's panics and errors."""

from __future__ import annotations

import pytest

from ._described import described


@pytest.mark.parametrize(
    ("text", "chain", "where"),
    [
        pytest.param(
            "thread 'main' panicked at 'index out of bounds: the len is 2 but the index is 5', src/main.rs:3:29\n"
            "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
            [("panic", "index out of bounds: the len is 2 but the index is 5")],
            "src/main.rs:",
            id="the form before 1.73",
        ),
        pytest.param(
            "thread 'w' panicked at 'one\ntwo', src/lib.rs:3:29\n",
            [("panic", "one")],
            "src/lib.rs:",
            id="before 1.73, a message of two lines",
        ),
        pytest.param(
            "Error: could not load order\n"
            "\n"
            "Caused by:\n"
            "    0: reading orders.json\n"
            "    1: No such file or directory (os error 2)\n"
            "\n"
            "Stack backtrace:\n"
            "   0: anyhow::error::<impl anyhow::Error>::msg\n"
            "             at /home/me/.cargo/registry/src/index/anyhow-1.0.75/src/error.rs:83:36\n"
            "   1: shop::order::load::h0123456789abcdef\n"
            "             at ./src/order.rs:9:5\n"
            "   2: shop::main\n"
            "             at ./src/main.rs:4:5\n",
            [
                ("Error", "could not load order"),
                ("Error", "reading orders.json"),
                ("Error", "No such file or directory (os error 2)"),
            ],
            "./src/order.rs:shop::order::load",
            id="anyhow",
        ),
        pytest.param(
            "2026 ERROR Error: outer\n\nCaused by:\n    inner\nnext",
            [("Error", "outer"), ("Error", "inner")],
            "",
            id="anyhow without a stack",
        ),
        pytest.param(
            "thread 'main' (7) panicked at src/main.rs:1:2:\n"
            "called `Result::unwrap()` on an `Err` value: ParseIntError { kind: Empty }\n",
            [
                ("panic", "called `Result::unwrap()` on an `Err` value: ParseIntError { kind: Empty }"),
                ("ParseIntError", "ParseIntError { kind: Empty }"),
            ],
            "src/main.rs:",
            id="the value of an unwrapped error",
        ),
        pytest.param(
            "Stack backtrace:\n   0: shop::main\n             at ./src/main.rs:4:5\n",
            [("", "")],
            "./src/main.rs:shop::main",
            id="a bare stack",
        ),
        pytest.param(
            "thread 'main' panicked at a.rs:1:1:\nx\nstack backtrace:\n   0: shop::load::h0123456789abcdef\n",
            [("panic", "x")],
            ":shop::load",
            id="a name with a hash",
        ),
    ],
)
def test_a_trace_says_what_was_raised_and_where(text: str, chain: list[tuple[str, str]], where: str) -> None:
    assert described(text) == ("rust", chain, where)
