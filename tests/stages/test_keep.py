"""Keep: only what matches goes on."""

from __future__ import annotations

import msgspec
import pytest

from tailrace.pipeline.options import decode_option
from tailrace.stages.keep import Keep
from tailrace.testing import batch_of, lines_of, run_stage


def keep(match: str) -> Keep:
    return msgspec.convert({"match": match}, Keep, dec_hook=decode_option)


@pytest.mark.parametrize(
    ("match", "left"),
    [
        pytest.param('{message=~"a.*"}', [b"a 1", b"a 2", b"a 1"], id="some, in their order"),
        pytest.param('{message="x"}', [], id="none"),
        pytest.param('{message!="x"}', [b"a 1", b"b 1", b"a 2", b"a 1"], id="all"),
        pytest.param('{source="test"} |= "1"', [b"a 1", b"b 1", b"a 1"], id="by label and line"),
    ],
)
def test_what_matches_goes_on(match: str, left: list[bytes]) -> None:
    batch = batch_of(b"a 1", b"b 1", b"a 2", b"a 1")
    kept = run_stage(keep(match), batch)
    assert lines_of(kept) == left
    assert kept.ack is batch.ack


def test_it_reads_what_its_match_reads() -> None:
    assert set(keep('{level="error", stage=~"a|b"}').reads()) == {"level", "stage"}


def test_a_match_that_is_no_logql_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.match"):
        keep("{level=}")


def test_no_record_is_made_to_find_out_what_matches() -> None:
    assert run_stage(
        keep('{message=~"a.*", source!="x"} |~ "[12]" or {} |= "b" | n > 5'), batch_of(b"a 1", b"c")
    ).columns
