"""Dart's exceptions with columns, and Flutter's, written by hand; real ones of Dart: `test_tracebacks.py`."""

from __future__ import annotations

import pytest

from ._described import described


@pytest.mark.parametrize(
    ("text", "chain", "where"),
    [
        pytest.param(
            "Unhandled exception:\n"
            "FormatException: Invalid radix-10 number (at character 1)\n"
            "abc\n"
            "^\n"
            "\n"
            "#0      int._handleFormatError (dart:core-patch/integers_patch.dart:126:5)\n"
            "#1      int.parse (dart:core-patch/integers_patch.dart:55:14)\n"
            "#2      Cart.total (package:shop/cart.dart:12:7)\n"
            "<asynchronous suspension>\n"
            "#3      main.<anonymous closure> (file:///srv/shop/bin/main.dart:2:7)\n",
            [("FormatException", "Invalid radix-10 number (at character 1)")],
            "package:shop/cart.dart:Cart.total",
            id="unhandled",
        ),
        pytest.param(
            "E/flutter ( 1234): [ERROR:flutter/runtime/dart_vm_initializer.cc(41)] "
            "Unhandled Exception: Bad state: No element\n"
            "E/flutter ( 1234): #0      List.first (dart:core-patch/growable_array.dart:343:5)\n"
            "E/flutter ( 1234): #1      _CartState.build (package:shop/cart.dart:88:21)\n",
            [("StateError", "Bad state: No element")],
            "package:shop/cart.dart:_CartState.build",
            id="in a device's log",
        ),
        pytest.param(
            "══╡ EXCEPTION CAUGHT BY WIDGETS LIBRARY ╞═════\n"
            "The following _TypeError was thrown building Cart(dirty, state: _CartState#1):\n"
            "Null check operator used on a null value\n"
            "\n"
            "When the exception was thrown, this was the stack:\n"
            "#0      _CartState.build (package:shop/cart.dart:88:21)\n"
            "#1      StatefulElement.build (package:flutter/src/widgets/framework.dart:5080:27)\n",
            [("_TypeError", "Null check operator used on a null value")],
            "package:shop/cart.dart:_CartState.build",
            id="caught by Flutter",
        ),
        pytest.param(
            "2026 SEVERE shop: RangeError (index): not in range\n"
            "#0      List.[] (dart:core-patch/growable_array.dart:264:36)\n"
            "#1      main (file:///srv/a.dart:2:7)",
            [("RangeError", "not in range")],
            "file:///srv/a.dart:main",
            id="behind a log header",
        ),
        pytest.param(
            "Unhandled exception:\nException: boom\n#0      main (file:///srv/a.dart:2:3)\n",
            [("Exception", "boom")],
            "file:///srv/a.dart:main",
            id="a bare Exception",
        ),
        pytest.param(
            "#0      main (file:///srv/a.dart:2:3)\n",
            [("", "")],
            "file:///srv/a.dart:main",
            id="frames alone",
        ),
    ],
)
def test_a_trace_says_what_was_raised_and_where(text: str, chain: list[tuple[str, str]], where: str) -> None:
    assert described(text) == ("dart", chain, where)
