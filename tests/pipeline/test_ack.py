"""A position never moves past a chunk that somebody still owes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.ack import Ack, Ledger

SINKS = ("loki", "archive")


def ledger_of(chunks: int, position: int = 0) -> tuple[Ledger[int], list[Ack]]:
    ledger: Ledger[int] = Ledger(SINKS, position, end=position)
    acks = [ledger.promise(position + i + 1, position + i + 1) for i in range(chunks)]
    for ack in acks:
        ack.state = b'{"n":%d}' % ack.end
    return ledger, acks


def test_a_new_ledger_stands_where_it_was_told() -> None:
    ledger: Ledger[int] = Ledger(SINKS, 7, b'{"n":7}', end=7)
    assert not ledger.advance()
    assert (ledger.position, ledger.state, ledger.taken) == (7, b'{"n":7}', {"loki": 7, "archive": 7})


def test_one_sink_alone_does_not_move_the_position() -> None:
    ledger, acks = ledger_of(1)
    acks[0].settle("loki")
    assert not ledger.advance()
    assert ledger.position == 0
    assert ledger.taken == {"loki": 1, "archive": 0}
    assert ledger.in_flight == 1


def test_the_last_sink_moves_position_and_state() -> None:
    ledger, acks = ledger_of(1)
    for sink in SINKS:
        acks[0].settle(sink)
    assert ledger.advance()
    assert (ledger.position, ledger.state, ledger.in_flight) == (1, b'{"n":1}', 0)


def test_a_chunk_settled_before_an_earlier_one_waits_for_it() -> None:
    ledger, acks = ledger_of(2)
    for sink in SINKS:
        acks[1].settle(sink)
    assert not ledger.advance()
    assert ledger.taken == {"loki": 0, "archive": 0}
    for sink in SINKS:
        acks[0].settle(sink)
    assert ledger.advance()
    assert ledger.position == 2


def test_settling_twice_is_settling_once() -> None:
    ledger, acks = ledger_of(2)
    for _ in range(2):
        for sink in SINKS:
            acks[0].settle(sink)
    assert ledger.advance()
    assert not ledger.advance()
    assert ledger.position == 1


def test_a_debtor_added_by_hand_holds_the_position_too() -> None:
    ledger, acks = ledger_of(1)
    acks[0].owed.add("dead letter")
    for sink in SINKS:
        acks[0].settle(sink)
    assert not ledger.advance()
    assert ledger.taken == {"loki": 1, "archive": 1}
    acks[0].settle("dead letter")
    assert ledger.advance()


@given(st.data())
def test_in_whatever_order_chunks_settle_no_position_passes_one_that_is_owed(data: st.DataObject) -> None:
    chunks = data.draw(st.integers(1, 8))
    start = data.draw(st.integers(0, 5))
    ledger, acks = ledger_of(chunks, start)
    debts = data.draw(st.permutations([(i, sink) for i in range(chunks) for sink in SINKS]))
    paid: set[tuple[int, str]] = set()
    for i, sink in debts:
        acks[i].settle(sink)
        paid.add((i, sink))
        if not data.draw(st.booleans()):
            continue  # advance is called now and then only
        before = ledger.position or 0
        moved = ledger.advance()

        def prefix(*who: str) -> int:
            return next((n for n in range(chunks) if any((n, s) not in paid for s in who)), chunks)

        assert ledger.position == start + prefix(*SINKS)
        assert moved == (ledger.position > before)
        assert ledger.taken == {s: start + prefix(s) for s in SINKS}
        assert ledger.state == (b'{"n":%d}' % ledger.position if ledger.position > start else b"{}")
        assert ledger.in_flight == chunks - prefix(*SINKS)
    ledger.advance()
    assert ledger.position == start + chunks
    assert ledger.in_flight == 0
