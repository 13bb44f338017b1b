from __future__ import annotations

from tailrace.benchmarks.machine import about, command, version, wire
from tailrace.benchmarks.result import Result
from tailrace.benchmarks.shipper import Shipper

RUN = Result(rival="here", scenario="s1", mix="json", input_mb=1, want=1, status="ok", kinds={"loki/protobuf": 3})


def test_a_version_is_the_number_in_what_it_says() -> None:
    assert version(Shipper(cmd=["x"], ext="y", version=["echo", "promtail, version 3.5.0 (branch: x)"])) == "3.5.0"
    assert version(Shipper(cmd=["x"], ext="y", version=["echo", "no number"])) == "no number"
    assert version(Shipper(cmd=["x"], ext="y")) == ""


def test_the_command_names_no_folder_of_this_machine() -> None:
    shipper = Shipper(cmd=["@DIR@/../.venv/bin/tailrace", "run", "@CFG@", "--state=@STATE@/s"], ext="yaml")
    assert command("tailrace", shipper) == "tailrace run tailrace.s1.yaml --state=STATE/s"


def test_what_was_sent_is_said_of_each_shipper() -> None:
    assert wire("here", [RUN, RUN]) == "loki/protobuf"
    assert wire("far", [RUN]) == ""


def test_only_those_that_took_part_are_listed() -> None:
    text = about({"here": Shipper(cmd=["here"], ext="y"), "far": Shipper(cmd=["far"], ext="y")}, [RUN])
    assert "| here |  | `here` | loki/protobuf |" in text
    assert "far" not in text
