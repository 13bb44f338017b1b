"""The grammar of stack traces, on what real programs wrote (`tracebacks/`), and on forms of other versions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.stages._tracebacks import Trace, find

REAL = Path(__file__).parent / "tracebacks"


def read(name: str) -> str:
    return (REAL / f"{name}.txt").read_text()


def found(text: str) -> Trace:
    trace = find(text)
    assert trace is not None
    return trace


def types(trace: Trace) -> list[str]:
    return [one.type for one in trace.raised.path()]


def where(trace: Trace) -> str:
    assert trace.frame is not None
    return f"{trace.frame.file}:{trace.frame.function}"


CASES = {
    "python_chained": (
        ["KeyError", "ConfigError", "json.decoder.JSONDecodeError"],
        "'missing'",
        "/srv/shop/chained.py:main",
    ),
    "python_group": (
        ["ExceptionGroup", "ValueError"],
        "unhandled errors in a TaskGroup (2 sub-exceptions)",
        "/srv/shop/group.py:main",
    ),
    "python_nested_group": (
        ["RuntimeError", "ExceptionGroup", "ExceptionGroup", "OSError"],
        "wrapped",
        "/srv/shop/nested_group.py:<module>",
    ),
    "python_recursion": (
        ["RecursionError"],
        "maximum recursion depth exceeded",
        "/srv/shop/recursion.py:again",
    ),
    "python_syntax": (["SyntaxError"], "invalid syntax", "/srv/shop/syntax.py:<module>"),
    "python_syntax_in": (["SyntaxError"], "invalid syntax", "<string>:<module>"),
    "python_note": (["StopAsyncIteration", "Timeout"], "", "/srv/shop/note.py:bare"),
    "python_logged": (
        ["json.decoder.JSONDecodeError"],
        "Expecting value: line 1 column 1 (char 0)",
        "/srv/shop/logged.py:work",
    ),
    "python_lib": (
        ["json.decoder.JSONDecodeError"],
        "Extra data: line 1 column 3 (char 2)",
        "/srv/shop/lib.py:<module>",
    ),
    **{
        f"python_{form}": (
            ["RuntimeError", "OrderError", "ZeroDivisionError"],
            "2 checks failed:",
            "/srv/shop/chain.py:serve",
        )
        for form in ("38", "313", "313_colour")
    },
    "python_39": (["ValueError"], "", "/srv/shop/logged.py:work"),
    "python_310": (["SyntaxError"], "'(' was never closed", "/srv/shop/syntax.py:<module>"),
    "python_312": (["RecursionError"], "maximum recursion depth exceeded", "/srv/shop/recursion.py:again"),
    "python_313_group": (
        ["ExceptionGroup", "ValueError", "KeyError"],
        "jobs failed (2 sub-exceptions)",
        "/srv/shop/group.py:<module>",
    ),
    **{
        f"rich_{form}": (
            ["RuntimeError", "OrderError", "ZeroDivisionError"],
            "2 checks failed:",
            "/srv/shop/chain.py:serve",
        )
        for form in ("chain", "ascii", "locals", "colour")
    },
    "python_314": (["RuntimeError", "OrderError", "ZeroDivisionError"], "2 checks failed:", "/srv/shop/main.py:serve"),
    "python_314_group": (
        ["ExceptionGroup", "ValueError"],
        "jobs failed (2 sub-exceptions)",
        "/srv/shop/main.py:run",
    ),
    "python_314_json": (
        ["json.decoder.JSONDecodeError"],
        "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "/srv/shop/main.py:<module>",
    ),
    "python_314_recursion": (["RecursionError"], "maximum recursion depth exceeded", "/srv/shop/main.py:again"),
    "python_314_syntax": (
        ["SyntaxError"],
        "invalid syntax. Did you mean 'import'?",
        "/srv/shop/main.py:<module>",
    ),
    "rich_group": (
        ["ExceptionGroup", "ValueError"],
        "jobs failed (2 sub-exceptions)",
        "/srv/shop/group.py:<module>",
    ),
    **{
        f"loguru_{form}": (["ValueError", "ZeroDivisionError"], "bad", "/srv/shop/loguru_.py:main")
        for form in ("chain", "colour")
    },
    "rust_index": (["panic"], "index out of bounds: the len is 2 but the index is 5", "./a.rs:a::load"),
    "rust_none": (["panic"], "called `Option::unwrap()` on a `None` value", "./a.rs:a::unwrap_it"),
    "rust_multi": (["panic"], "first line", "./a.rs:a::main"),
    "rust_thread": (["panic"], "no number: ParseIntError { kind: InvalidDigit }", "./a.rs:a::main::{{closure}}"),
    "js_cause": (["QuotaError", "TypeError"], "no quota", "/srv/shop/a.js:call"),
    "js_uncaught": (["TypeError"], "Cannot read properties of undefined (reading 'z')", "/srv/shop/b.js:f"),
    "js_logged": (["Error"], "ENOENT: no such file or directory, open '/nope/x'", "/srv/shop/c.js:read"),
    "js_aggregate": (["AggregateError", "AssertionError"], "All promises were rejected", "/srv/shop/d.mjs:check"),
    "java_chain": (
        ["com.acme.App$OrderException", "java.lang.NumberFormatException"],
        "bad order",
        "App.java:com.acme.App.order",
    ),
    "java_logged": (
        ["com.acme.App$OrderException", "java.lang.NumberFormatException"],
        "bad order",
        "App.java:com.acme.App.order",
    ),
    "java_lib": (["java.util.NoSuchElementException"], "No value present", "App.java:com.acme.App.main"),
    "csharp_mono": (
        ["System.InvalidOperationException", "Shop.StockException"],
        "order failed",
        "/srv/shop/Program.cs:Shop.Orders.Place",
    ),
    "csharp_mono_task": (
        ["System.AggregateException", "System.NullReferenceException"],
        "One or more errors occurred. (Object reference not set to an instance of an object)",
        "/srv/shop/Program.cs:Program.Main",
    ),
    "dart_terse": (
        ["StackOverflowError"],
        "Stack Overflow",
        "package:sass/src/parse/stylesheet.dart:StylesheetParser._expression",
    ),
    "dart_unhandled": (
        ["FileSystemException"],
        "writeFrom failed, path = '' (OS Error: No space left on device, errno = 28)",
        "package:cli_repl/src/repl_adapter/vm.dart:ReplAdapter.write",
    ),
    "php_as_text": (["DivisionByZeroError"], "Division by zero", "/srv/shop/main.php:intdiv"),
    "php_as_text_alone": (["DivisionByZeroError"], "Division by zero", "/srv/shop/main.php:intdiv"),
    "php_chain": (["RuntimeException", "Shop\\OrderException"], "cannot pay", "/srv/shop/main.php:Shop\\main"),
    "php_monolog": (["RuntimeException", "Shop\\OrderException"], "cannot pay", "/srv/shop/main.php:Shop\\main"),
    "php_no_message": (["Stop"], "", "/srv/shop/main.php:{main}"),
    "php_type": (
        ["TypeError"],
        "add(): Argument #1 ($n) must be of type int, string given, called in /srv/shop/main.php on line 3 and defined",
        "/srv/shop/main.php:add",
    ),
    "ruby_chain": (["ConfigError", "ArgumentError"], "bad port", "/srv/shop/main.rb:rescue in port"),
    "ruby_34_chain": (["ConfigError", "ArgumentError"], "bad port", "/srv/shop/main.rb:Object#port"),
    "ruby_34_multiline": (["RuntimeError"], "2 checks failed:", "/srv/shop/main.rb:Object#check"),
    "ruby_multiline": (["RuntimeError"], "2 checks failed:", "/srv/shop/main.rb:check"),
    "ruby_nil": (["NoMethodError"], "private method `name' called for nil:NilClass", "/srv/shop/main.rb:name"),
    "ruby_thread": (["IOError"], "stream closed", "/srv/shop/main.rb:block in <main>"),
    "go_closure": (["panic"], "in goroutine 7", "/srv/shop/main.go:main.main.func1"),
    "go_custom": (["panic"], "custom", "/srv/shop/main.go:main.main"),
    "go_deadlock": (["fatal error"], "all goroutines are asleep - deadlock!", "/srv/shop/main.go:main.main"),
    "go_error": (["panic"], "boom", "/srv/shop/main.go:main.main"),
    "go_index": (["runtime error"], "index out of range [5] with length 0", "/srv/shop/main.go:main.(*cart).at"),
    "go_nil": (
        ["runtime error"],
        "invalid memory address or nil pointer dereference",
        "/srv/shop/main.go:main.main",
    ),
    "go_re": (["panic", "panic"], "wrapped: first", "/srv/shop/main.go:main.re.func1"),
    "go_stack": ([""], "", "/srv/shop/main.go:main.main"),
    "go_struct": (["main.Code"], "(main.Code) 0x4d40c8", "/srv/shop/main.go:main.main"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_real_program_wrote(name: str) -> None:
    trace = found(read(name))
    chain, message, frame = CASES[name]
    assert (types(trace), trace.raised.message, where(trace)) == (chain, message, frame)
    family = name.partition("_")[0]
    assert trace.language == {"js": "javascript", "rich": "python", "loguru": "python"}.get(family, family)


def test_every_real_trace_has_its_case() -> None:
    assert {path.stem for path in REAL.glob("*.txt")} == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_line_breaks_of_windows_and_a_log_header_in_front_change_nothing(name: str) -> None:
    plain = found(read(name))
    assert found(read(name).replace("\n", "\r\n")) == plain
    assert found("2026-03-04 12:00:00,179 ERROR app.jobs job 17 failed\n" + read(name)) == plain


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("go_stack")])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_a_trace_that_was_cut_off_is_no_error(name: str, share: float) -> None:
    text = read(name)
    trace = find(text[: int(len(text) * share)])
    assert trace is None or len(trace.fingerprint) == 12


def test_a_python_traceback_cut_off_in_its_frames_still_says_where() -> None:
    text = read("python_lib").rpartition("json.decoder")[0]
    trace = found(text)
    assert (trace.raised.type, where(trace)) == ("", "/srv/shop/lib.py:<module>")


def test_members_of_a_group_are_kept_with_their_own_chains() -> None:
    group = found(read("python_group")).raised
    assert [(child.type, child.message) for child in group.children] == [
        ("ValueError", "first"),
        ("TypeError", "second"),
    ]
    assert group.children[1].cause is not None
    assert group.children[1].cause.type == "KeyError"
    outer = found(read("python_nested_group")).raised.cause
    assert outer is not None
    assert [[one.type for one in child.path()] for child in outer.children] == [
        ["ExceptionGroup", "OSError"],
        ["TypeError"],
    ]
    assert [child.type for child in outer.children[0].children] == ["OSError", "ValueError"]


def test_a_remote_traceback_inside_a_message_is_what_was_wrapped() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/srv/shop/pool.py", line 3, in run\n'
        "    raise Failed(text)\n"
        "Failed: worker said:\n"
        "Traceback (most recent call last):\n"
        '  File "/srv/shop/worker.py", line 9, in work\n'
        "    1 / 0\n"
        "ZeroDivisionError: division by zero\n"
    )
    trace = found(text)
    assert types(trace) == ["Failed", "ZeroDivisionError"]
    assert where(trace) == "/srv/shop/pool.py:run"


def test_a_class_of_the_main_script_or_of_a_function_has_its_name() -> None:
    head = 'Traceback (most recent call last):\n  File "/srv/a.py", line 1, in f\n    f()\n'
    assert found(head + "__main__.Late: x").raised.type == "Late"
    assert found(head + "app.make.<locals>.Late: x").raised.type == "app.make.<locals>.Late"


def test_code_of_libraries_is_not_the_applications() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "/srv/app/jobs.py", line 3, in run\n    get()\n'
        '  File "/srv/.venv/lib/python3.11/site-packages/httpx/_api.py", line 9, in get\n    send()\n'
        '  File "<frozen importlib._bootstrap>", line 241, in _call\n'
        "httpx.ConnectTimeout\n"
    )
    trace = found(text)
    assert (trace.raised.type, trace.raised.message) == ("httpx.ConnectTimeout", "")
    assert where(trace) == "/srv/app/jobs.py:run"
    assert where(found(text.replace("/srv/app/", "/usr/lib/python3.11/"))) == "<frozen importlib._bootstrap>:_call"


RUBY = """\
/srv/shop/cart.rb:4:in `total': undefined method `sum' for nil:NilClass (NoMethodError)

    items.sum
         ^^^^
\tfrom /usr/lib/ruby/3.2.0/set.rb:501:in `each'
\tfrom /srv/shop/main.rb:9:in `<main>'
/srv/shop/store.rb:2:in `load': no such row (KeyError)
\tfrom /srv/shop/cart.rb:3:in `total'
"""

CSHARP = """\
Unhandled exception. System.InvalidOperationException: order failed
 ---> Acme.Shop.StockException (0x80004005): no stock
   at Acme.Shop.Stock.Take(String sku, Int32 n) in /src/Stock.cs:line 14
   --- End of inner exception stack trace ---
   at System.Linq.Enumerable.First[TSource](IEnumerable`1 source)
   at Acme.Shop.Orders.Place() in C:\\src\\Orders.cs:line 31
   at Acme.Shop.Program.Main(String[] args) in C:\\src\\Program.cs:line 8
"""


@pytest.mark.parametrize(
    ("text", "language", "chain", "message", "frame"),
    [
        pytest.param(
            RUBY,
            "ruby",
            ["NoMethodError", "KeyError"],
            "undefined method `sum' for nil:NilClass",
            "/srv/shop/cart.rb:total",
            id="ruby",
        ),
        pytest.param(
            "app/cart.rb:4:in 'Cart#total': boom (Shop::Error)\n\tfrom app/main.rb:9:in '<main>'\n",
            "ruby",
            ["Shop::Error"],
            "boom",
            "app/cart.rb:Cart#total",
            id="ruby 3.4",
        ),
        pytest.param(
            "Traceback (most recent call last):\n\t1: from m.rb:9:in `<main>'\ncart.rb:4:in `total': boom (KeyError)\n",
            "ruby",
            ["KeyError"],
            "boom",
            "cart.rb:total",
            id="ruby 2.7 on a terminal",
        ),
        pytest.param(
            "E, [2026-03-04] ERROR -- : NoMethodError (undefined method 'x'):\n  \napp/models/a.rb:3:in 'x'\n",
            "ruby",
            ["NoMethodError"],
            "undefined method 'x'",
            "app/models/a.rb:x",
            id="rails",
        ),
        pytest.param(
            CSHARP,
            "csharp",
            ["System.InvalidOperationException", "Acme.Shop.StockException"],
            "order failed",
            "C:\\src\\Orders.cs:Acme.Shop.Orders.Place",
            id="csharp",
        ),
        pytest.param(
            "fail: Acme.Jobs[0]\n      System.TimeoutException: too late\n         at Acme.Jobs.Run(String id)\n",
            "csharp",
            ["System.TimeoutException"],
            "too late",
            "Acme.Jobs:Acme.Jobs.Run",
            id="csharp without files",
        ),
        pytest.param(
            "http: panic serving 127.0.0.1:5: boom\ngoroutine 5 [running]:\nmain.h({0x1, 0x2})\n\t/srv/h.go:7 +0x1\n",
            "go",
            ["panic"],
            "boom",
            "/srv/h.go:main.h",
            id="go http server",
        ),
        pytest.param(
            "main.load\n\t/srv/main.go:12\nmain.main\n\t/srv/main.go:30\n",
            "go",
            [""],
            "",
            "/srv/main.go:main.load",
            id="zap",
        ),
        pytest.param(
            "java.lang.IllegalStateException\n\tat app//com.acme.Job.run(Job.kt:3) ~[shop.jar:1.2]\n"
            "\tat com.acme.Job$$Lambda$14/0x01.run(Unknown Source)\n",
            "java",
            ["java.lang.IllegalStateException"],
            "",
            "Job.kt:com.acme.Job.run",
            id="java with modules and jars",
        ),
        pytest.param(
            "RangeError: too far\n    at async Promise.all (index 0)\n    at new Cart (C:\\shop\\cart.js:3:9)\n"
            "    at Shop.total [as sum] (/srv/node_modules/shop/index.js:1:1)\n",
            "javascript",
            ["RangeError"],
            "too far",
            "C:\\shop\\cart.js:new Cart",
            id="javascript",
        ),
    ],
)
def test_other_forms(text: str, language: str, chain: list[str], message: str, frame: str) -> None:
    trace = found(text)
    assert (trace.language, types(trace), trace.raised.message, where(trace)) == (language, chain, message, frame)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "all is well\nno trace here",
        "we meet\n   at noon (maybe)\n   at the pier",
        "files:\n\tmain.go\n\tat.go",
        'say "hello" at 10:00\n\tat home',
        "During handling of the above exception, another exception occurred:\n",
        "Traceback (most recent call last):",
        "caller: main.go:12\nlevel: info",
    ],
)
def test_text_without_a_trace_gives_none(text: str) -> None:
    assert find(text) is None


def test_the_fingerprint_does_not_know_line_numbers_messages_or_folders() -> None:
    text = read("python_lib")
    other = text.replace("line 2", "line 77").replace("column 3 (char 2)", "column 9 (char 8)")
    assert found(other.replace("/srv/shop", "/home/me/shop")).fingerprint == found(text).fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [("JSONDecodeError", "OtherError"), ("lib.py", "other.py"), ("<module>", "run")],
    ids=["type", "file", "function"],
)
def test_the_fingerprint_knows_type_file_and_function(old: str, new: str) -> None:
    text = read("python_lib")
    assert found(text.replace(old, new)).fingerprint != found(text).fingerprint


def test_the_fingerprint_of_a_recursion_does_not_depend_on_its_depth() -> None:
    frame = '  File "/srv/a.py", line 2, in again\n    return again()\n'
    deep, deeper = (f"Traceback (most recent call last):\n{frame * n}RecursionError: x" for n in (3, 9))
    assert found(deep).fingerprint == found(deeper).fingerprint


def test_the_fingerprint_is_the_same_today_and_tomorrow() -> None:
    # Dashboards and saved queries hold these: a change here loses every known fault.
    names = ("python_chained", "python_group", "js_cause", "java_chain", "go_index")
    assert {name: found(read(name)).fingerprint for name in names} == {
        "python_chained": "f459573c3fb2",
        "python_group": "384570ee6fe3",
        "js_cause": "9c009cec6103",
        "java_chain": "acd981979d79",
        "go_index": "0f241ed15997",
    }


@pytest.mark.parametrize(
    "names",
    [
        ("python_38", "python_313", "python_313_colour"),
        ("rich_chain", "rich_ascii", "rich_locals", "rich_colour"),
        ("loguru_chain", "loguru_colour"),
    ],
    ids=["versions of Python", "boxes of rich", "colours"],
)
def test_the_fingerprint_does_not_know_how_a_trace_is_drawn(names: tuple[str, ...]) -> None:
    assert len({found(read(name)).fingerprint for name in names}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("main.1f2a1b9c.js", "main.9a2a1b9c.js"), ("f$14/0x01ab.js", "f$9/0xffe0.js")],
    ids=["the hash of a bundle", "an address"],
)
def test_what_every_build_changes_is_no_part_of_the_fingerprint(one: str, other: str) -> None:
    text = "Error: x\n    at load (/srv/app/{}:1:1)\n"
    assert found(text.format(one)).fingerprint == found(text.format(other)).fingerprint
    assert found(text.format(one)).fingerprint != found(text.format("other.js")).fingerprint


def test_members_of_a_group_may_fail_in_any_order() -> None:
    head = "  + Exception Group Traceback (most recent call last):\n  | ExceptionGroup: g (2 sub-exceptions)\n"
    one, two = (
        head
        + f"  +-+---------------- 1 ----------------\n    | {a}: x\n"
        + f"    +---------------- 2 ----------------\n    | {b}: x\n    +------------------------------------\n"
        for a, b in (("OSError", "KeyError"), ("KeyError", "OSError"))
    )
    assert found(one).fingerprint == found(two).fingerprint


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 200_000 + "\tat x",
        "Error\n    at " + " (" * 50_000,
        "\tat " + "a." * 100_000 + "\n" * 10,
        "x.rb:1:in `" + "': " * 50_000,
        " " * 200_000 + "|" * 100,
        "Traceback (most recent call last):\n" + '  File "a", line 1, in b\n' * 20_000,
    ],
    ids=["blank lines", "brackets", "dots", "quotes", "blanks", "frames"],
)
def test_no_text_keeps_it_busy(text: str) -> None:
    # Quadratic patterns would take minutes here, and the test with them.
    trace = find(text)
    assert trace is None or trace.raised.frames


@given(st.lists(st.sampled_from([line for name in CASES for line in read(name).split("\n")]), max_size=40))
def test_no_mix_of_lines_is_an_error(lines: list[str]) -> None:
    trace = find("\n".join(lines))
    assert trace is None or (len(trace.fingerprint) == 12 and list(trace.raised.path()))
