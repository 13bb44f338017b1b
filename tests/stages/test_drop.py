"""Drop: what matches ends here."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.options import decode_option
from tailrace.stages.drop import Drop
from tailrace.stages.keep import Keep
from tailrace.testing import batch_of, lines_of, run_stage


def drop(match: str) -> Drop:
    return msgspec.convert({"match": match}, Drop, dec_hook=decode_option)


@pytest.mark.parametrize(
    ("match", "left"),
    [
        pytest.param('{message=~"a.*"}', [b"b 1"], id="some"),
        pytest.param('{message="x"}', [b"a 1", b"b 1", b"a 2", b"a 1"], id="none"),
        pytest.param('{message!="x"}', [], id="all"),
    ],
)
def test_what_matches_ends_here(match: str, left: list[bytes]) -> None:
    batch = batch_of(b"a 1", b"b 1", b"a 2", b"a 1")
    kept = run_stage(drop(match), batch)
    assert lines_of(kept) == left
    assert kept.ack is batch.ack


@given(st.lists(st.binary(max_size=4), max_size=8))
def test_each_record_is_either_kept_or_dropped(lines: list[bytes]) -> None:
    match = '{message=~".*a.*"}'
    kept = run_stage(msgspec.convert({"match": match}, Keep, dec_hook=decode_option), batch_of(*lines))
    left = run_stage(drop(match), batch_of(*lines))
    assert sorted(r.offset for r in kept.records + left.records) == [r.offset for r in batch_of(*lines).records]


def test_it_reads_what_its_match_reads() -> None:
    assert set(drop('{level="debug"}').reads()) == {"level"}


def test_a_match_that_is_no_logql_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.match"):
        drop("{level=}")


def test_no_record_is_made_to_find_out_what_matches() -> None:
    assert run_stage(
        drop('{message=~"a.*", source!="x"} |~ "[12]" or {} |= "b" | n > 5'), batch_of(b"a 1", b"c")
    ).columns
