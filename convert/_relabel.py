"""Relabelling rules, worked out on labels that are known beforehand."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import re2

from ..config._yaml import Node
from ._reader import Reader

_REFERENCE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


def relabelled(labels: dict[str, str], rules: Iterable[Node], reader: Reader) -> dict[str, str] | None:
    """The labels after all rules, None where a rule leaves the target out. Rules are those of Prometheus."""
    labels = dict(labels)
    for rule in rules:
        action = reader.text(rule.child("action"), "replace").lower()
        sources = reader.texts(rule.child("source_labels"))
        value = reader.text(rule.child("separator"), ";").join(labels.get(name, "") for name in sources)
        regex = rule.child("regex")
        pattern = reader.text(regex, "(.*)", expand=False)
        try:
            search = re2.compile(f"^(?s:{pattern})$").search
        except re2.error:
            reader.report.add("no equal", regex or rule, f"`{pattern}` is not a regular expression")
            continue
        found = search(value)
        target = reader.text(rule.child("target_label"))
        replacement = reader.text(rule.child("replacement"), "$1", expand=False)
        if action == "replace":
            if found:
                name, new = _expanded(target, found), _expanded(replacement, found)
                labels[name] = new
                if not new:
                    del labels[name]
        elif action in ("keep", "drop"):
            if bool(found) == (action == "drop"):
                return None
        elif action in ("keepequal", "dropequal"):
            if (value == labels.get(target, "")) == (action == "dropequal"):
                return None
        elif action in ("labeldrop", "labelkeep"):
            labels = {name: one for name, one in labels.items() if bool(search(name)) == (action == "labelkeep")}
        elif action == "labelmap":
            labels |= {_expanded(replacement, hit): one for name, one in labels.items() if (hit := search(name))}
        elif action in ("lowercase", "uppercase"):
            labels[target] = value.lower() if action == "lowercase" else value.upper()
        elif action == "hashmod":
            # As Prometheus does: the last eight bytes of the MD5.
            number = int.from_bytes(hashlib.md5(value.encode(), usedforsecurity=False).digest()[8:])
            labels[target] = str(number % max(1, int(reader.text(rule.child("modulus"), "1"))))
    return labels


def _expanded(text: str, found: re.Match[str]) -> str:
    """`$1`, `${1}` and `${name}` filled in, as Go's regexp does."""

    def value(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        try:
            return found[int(name) if name.isdecimal() else name] or ""
        except (IndexError, KeyError):
            return ""

    return _REFERENCE.sub(value, text)
