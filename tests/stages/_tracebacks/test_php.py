"""PHP's exceptions in other forms (with arguments, of other frameworks); real ones: `test_tracebacks.py`."""

from __future__ import annotations

import pytest

from tailrace.stages._tracebacks import find

from ._described import described


@pytest.mark.parametrize(
    ("text", "chain", "where"),
    [
        pytest.param(
            "PHP Fatal error:  Uncaught App\\OrderException: no lines\n"
            "second line in /srv/shop/src/Order.php:12\n"
            "Stack trace:\n"
            "#0 /srv/shop/src/Cart.php(40): App\\Order->total('x', Array)\n"
            "#1 /srv/shop/vendor/acme/run.php(7): App\\Cart::pay()\n"
            "#2 [internal function]: {closure}(3)\n"
            "#3 {main}\n"
            "\n"
            "Next RuntimeException: outer in /srv/shop/src/Cart.php:44\n"
            "Stack trace:\n"
            "#0 /srv/shop/index.php(3): App\\Cart->run()\n"
            "#1 {main}\n"
            "  thrown in /srv/shop/src/Cart.php on line 44\n",
            [("RuntimeException", "outer"), ("App\\OrderException", "no lines")],
            "/srv/shop/src/Cart.php:App\\Cart->run",
            id="a chain, the first one first, and a message of two lines",
        ),
        pytest.param(
            '[2026-11-03 10:00:00] production.ERROR: boom {"userId":3,"exception":"[object] '
            "(RuntimeException(code: 0): boom at /srv/shop/app/Cart.php:44)\n"
            "[stacktrace]\n"
            "#0 /srv/shop/vendor/laravel/framework/src/Container.php(36): App\\Http\\Cart->pay(Object(App\\Order))\n"
            "#1 {main}\n"
            "\n"
            "[previous exception] [object] (LogicException(code: 3): root at /srv/shop/app/Order.php:5)\n"
            "[stacktrace]\n"
            "#0 /srv/shop/app/Cart.php(40): App\\Order->total()\n"
            "#1 {main}\n"
            '"}\n',
            [("RuntimeException", "boom"), ("LogicException", "root")],
            "/srv/shop/app/Cart.php:App\\Http\\Cart->pay",
            id="Monolog's, the last one first",
        ),
        pytest.param(
            "2026-11-03 10:00:00 ERROR Error: Call to a member function x() on null in /srv/a.php:5\n"
            "Stack trace:\n"
            "#0 {main}\n",
            [("Error", "Call to a member function x() on null")],
            "/srv/a.php:{main}",
            id="as text behind a log header",
        ),
        pytest.param(
            "PHP Fatal error:  Uncaught App\\Stop in /srv/a.php:5\n"
            "Stack trace:\n"
            "#0 /srv/b.php(1): go()\n"
            "#1 {main}\n"
            "  thrown in /srv/a.php on line 5",
            [("App\\Stop", "")],
            "/srv/a.php:go",
            id="without a message",
        ),
        pytest.param(
            "RuntimeException: x in /srv/vendor/a/b.php:5\nStack trace:\n#0 /srv/app.php(9): A\\B->c()\n#1 {main}",
            [("RuntimeException", "x")],
            "/srv/app.php:{main}",
            id="thrown in a library",
        ),
    ],
)
def test_a_trace_says_what_was_raised_and_where(text: str, chain: list[tuple[str, str]], where: str) -> None:
    assert described(text) == ("php", chain, where)


@pytest.mark.parametrize("text", ["Stack trace:\n#0 {main}", "all is well\nStack trace:\n#0 /srv/a.php(1): f()\n"])
def test_a_stack_that_names_no_exception_is_none(text: str) -> None:
    assert find(text) is None
