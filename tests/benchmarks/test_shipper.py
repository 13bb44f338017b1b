from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.benchmarks.measure import SCENARIOS, environment
from tailrace.benchmarks.shipper import FILES, FOLLOWERS, HERE, Shipper, fill, known, load, present


def test_names_are_filled_in() -> None:
    assert fill(["--config=@CFG@", "a@b.c"], {"CFG": Path("/x/y.yaml")}) == ["--config=/x/y.yaml", "a@b.c"]


def test_a_name_without_a_value_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(ValueError, match=r"no value for @PROT@; there are: IN, PORT"):
        fill(["@PROT@"], {"PORT": 1, "IN": ""})


@pytest.mark.parametrize("text", ["[A-Z@]+@[A-Z]", "@version: 3.38", "user@HOST", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+"])
def test_other_at_signs_stay(text: str) -> None:
    assert fill([text], {}) == [text]


def test_configs_lie_beside_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "confs").mkdir()
    (tmp_path / "confs" / "mine.s1.toml").touch()
    file = tmp_path / "mine.json"
    file.write_text('{"mine": {"cmd": ["@DIR@/mine", "@CFG@"], "ext": "toml", "dir": "confs"}}')
    mine = load(file)["mine"]
    assert mine.config_file("mine", "s1") == tmp_path / "confs" / "mine.s1.toml"
    assert mine.config_file("mine", "s2") is None
    assert mine.program() is None
    (tmp_path / "mine").touch(mode=0o755)
    assert mine.program() == str(tmp_path / "mine")


def test_a_misspelt_key_is_refused_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"mine": {"cmd": ["x"], "ext": "toml", "onyl": []}}')
    with pytest.raises(ValueError, match=r"mine\.json: .*onyl"):
        load(file)


def test_python_may_write_its_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    made = environment(Shipper(cmd=["x"], ext="y", env={"HOME": "@STATE@/home"}), {"STATE": "/s"})
    assert "PYTHONDONTWRITEBYTECODE" not in made
    assert made["HOME"] == "/s/home"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipper_here_can_do_a_scenario_and_every_config_can_be_filled_in(path: Path) -> None:
    names = ["IN", "PORT", "AUX1", "AUX2", "STATE", "OUT", "OUTDIR", "CFG"]
    for name, shipper in load(path).items():
        values = dict.fromkeys(names, "x") | shipper.vars
        configs = [config for scenario in SCENARIOS if (config := shipper.config_file(name, scenario))]
        assert configs, name
        filled = fill([*shipper.cmd, *shipper.prepare, *(config.read_text() for config in configs)], values)
        assert [text for text in filled if "@PORT@" in text or "@IN@" in text] == []


def test_every_config_belongs_to_a_shipper_and_a_scenario() -> None:
    shippers = {name: shipper for path in FILES for name, shipper in load(path).items()}
    used = {shipper.config_file(name, scenario) for name, shipper in shippers.items() for scenario in SCENARIOS}
    others = {"fluent-bit.parsers", "fluent-bit.redact.lua", "fluent-bit.redact-naive.lua"}
    assert {path.name for path in (HERE / "configs").iterdir()} - {path.name for path in used if path} == others


def test_every_follower_is_described() -> None:
    assert set(FOLLOWERS) <= set(known())


def test_only_those_that_are_on_this_machine_are_present(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TAILRACE_CACHE", str(tmp_path))
    (tmp_path / "promtail").touch(mode=0o755)
    assert list(present(["fluent-bit", "promtail"])) == ["promtail"]


def test_a_name_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="no shipper 'nera'; there are: tailrace, probe"):
        present(["nera"])
