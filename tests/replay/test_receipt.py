"""What is kept beside a replay."""

from __future__ import annotations

from pathlib import Path

from tailrace.replay.receipt import (
    Manifest,
    Read,
    ReadFile,
    Receipt,
    Stream,
    Verified,
    load_manifest,
    load_receipt,
    save,
)


def test_a_receipt_comes_back_as_it_was(tmp_path: Path) -> None:
    told = Receipt("n", "loki", 5, 4, 1, {"too old": 1}, Read(7), [ReadFile("a")], verified=Verified(5, 4))
    save(tmp_path / "receipt.json", told)
    assert load_receipt(tmp_path / "receipt.json") == told


def test_a_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    told = Manifest([["a", None]], Read(1), [], [Stream("{}", 1, 2, 3, 4, "5")], "name", "print")
    save(tmp_path / "manifest.json", told)
    assert load_manifest(tmp_path / "manifest.json") == told


def test_what_is_not_there_or_torn_is_none(tmp_path: Path) -> None:
    (tmp_path / "torn").write_text('{"name":')
    assert load_receipt(tmp_path / "torn") is None
    assert load_manifest(tmp_path / "torn") is None
    assert load_receipt(tmp_path / "missing") is None
    assert load_manifest(tmp_path / "missing") is None
