import msgspec

from tailrace.pipeline.batch import Position
from tailrace.pipeline.checkpoint import Saved
from tailrace.pipeline.flight import Begun, Flown, Taken
from tailrace.pipeline.partition import Partition, Partitions


def flown(name: str, start: int, end: int, slot: int = 0) -> Flown:
    return Flown("app", name, start, end, 7, slot)


def test_a_new_partition_gets_the_first_number_that_is_free() -> None:
    partitions = Partitions(["app", "audit"], ["loki"])
    slots = [partitions.get(source, "x").slot for source in ("app", "audit")]
    assert [*slots, partitions.get("app", "y").slot, partitions.get("app", "x").slot] == [0, 1, 2, 0]


def test_numbers_of_the_last_run_are_kept_saved_or_only_on_their_way() -> None:
    partitions = Partitions(["app"], ["loki"])
    partitions.restore({"app": {"a": Saved({"offset": 5}, slot=1)}}, [flown("b", 0, 9, slot=0)])
    assert [partitions.get("app", name).slot for name in ("a", "b", "c")] == [1, 0, 2]


def test_a_sink_that_was_ahead_skips_what_it_has() -> None:
    partition = Partition(["loki", "archive"], 0, Saved({"offset": 5}, taken={"loki": 5, "archive": 9, "gone": 7}))
    assert [partition.skip_before(sink, 5) for sink in ("loki", "archive")] == [5, 9]
    assert partition.ledger.taken == {"loki": 5, "archive": 9}


def test_what_was_on_its_way_is_known_until_it_is_settled() -> None:
    partitions = Partitions(["app"], ["loki"])
    partitions.restore({"app": {"a": Saved({"offset": 5})}}, [flown("a", 0, 5), flown("a", 5, 9), flown("a", 9, 12)])
    partition = partitions.get("app", "a")
    assert partition.known(0) is None
    assert partition.known(5) == flown("a", 5, 9)
    assert partition.known(8) == flown("a", 5, 9)
    assert partition.known(12) is None
    ack = partition.ledger.promise({"offset": 9}, 9)
    assert partitions.flown() == [flown("a", 5, 9), flown("a", 9, 12)]
    ack.settle("loki")
    assert partition.advance() == {"offset": 9}
    assert partitions.flown() == [flown("a", 9, 12)]


def test_what_sinks_took_before_a_crash_is_skipped_also_out_of_order() -> None:
    partitions = Partitions(["app"], ["loki", "archive"])
    flight = [flown("a", 0, 5), flown("a", 5, 9), flown("a", 9, 12)]
    taken = [
        Taken(1, "loki", {}, [("app", "a", 0, 5)]),
        Taken(2, "loki", {}, [("app", "a", 9, 12), ("app", "unknown", 0, 1)]),
        Taken(3, "archive", {"x": 7}, [("app", "a", 0, 5), ("app", "a", 5, 9)]),
    ]
    partitions.restore({}, [*flight, *taken])
    partition = partitions.get("app", "a")
    assert [partition.skip_before("loki", start) for start in (0, 5, 9)] == [5, 5, 12]
    assert [partition.skip_before("archive", start) for start in (0, 5, 9)] == [9, 9, 9]


def test_what_the_checkpoint_holds_already_is_not_applied_again() -> None:
    partitions = Partitions(["app"], ["loki"])
    taken = Taken(4, "loki", {}, [("app", "a", 0, 5)])
    partitions.restore({"app": {"a": Saved({"offset": 0})}}, [taken], number=4)
    assert partitions.get("app", "a").skip_before("loki", 0) == 0


def test_a_partition_that_had_only_begun_is_found_where_it_began() -> None:
    partitions = Partitions(["app"], ["loki"])
    partitions.restore({}, [Begun(1, "app", "a", {"offset": 4, "head": "abc"}, 2), flown("a", 4, 9, slot=2)])
    partition = partitions.get("app", "a")
    assert (partition.slot, partition.ledger.position, partition.end) == (2, {"offset": 4, "head": "abc"}, 4)
    assert partition.skip_before("loki", 4) == 4
    assert partition.known(4) == flown("a", 4, 9, slot=2)


def test_a_beginning_told_anew_counts_until_something_was_read_behind_it() -> None:
    partitions = Partitions(["app"], ["loki"])
    first: Position = {"offset": 0, "head": "a"}
    second: Position = {"offset": 0, "head": "abc"}
    partitions.restore({}, [Begun(1, "app", "a", first, 0), Begun(2, "app", "a", second, 0)])
    partition = partitions.get("app", "a")
    assert partition.ledger.position == second
    partition.ledger.promise({"offset": 5}, 5)
    assert not partition.begin({"offset": 0, "head": "abcd"})
    assert partition.ledger.position == second


def test_a_beginning_that_the_checkpoint_holds_is_not_applied_again() -> None:
    partitions = Partitions(["app"], ["loki"])
    saved = {"app": {"a": Saved({"offset": 7}, taken={"loki": 7})}}
    partitions.restore(saved, [Begun(3, "app", "a", {"offset": 0}, 0)], number=3)
    assert partitions.get("app", "a").ledger.position == {"offset": 7}


def test_what_is_of_no_source_any_more_is_left_out() -> None:
    partitions = Partitions(["app"], ["loki"])
    partitions.restore({"old": {"a": Saved({"offset": 5})}}, [Flown("old", "b", 0, 1, 2, 3)])
    assert list(partitions) == []


def test_a_partition_without_a_settled_position_is_not_saved() -> None:
    partitions = Partitions(["app"], ["loki"])
    partition = partitions.get("app", "a")
    partition.ledger.promise({"offset": 3}, 3)
    assert partitions.saved() == {"app": {}}
    partition.flown.append(flown("a", 0, 3))
    assert partitions.saved()["app"]["a"].position == {}


def test_a_forgotten_partition_is_saved_until_it_is_delivered() -> None:
    partitions = Partitions(["app"], ["loki"])
    partition = partitions.get("app", "a")
    partition.ledger.promise({"offset": 1}, 1).settle("loki")
    last = partition.ledger.promise({"offset": 3}, 3)
    partitions.forget("app", ["a", "never seen"])
    assert partitions.saved()["app"]["a"].position == {"offset": 1}
    partitions.drop_forgotten()
    assert list(partitions) == [partition]
    last.settle("loki")
    assert partitions.saved() == {"app": {}}
    partitions.drop_forgotten()
    assert list(partitions) == []


def test_the_state_of_the_stages_goes_with_the_position() -> None:
    partition = Partition(["loki"], 4, Saved({"offset": 5}, msgspec.Raw(b'{"clock":{"last":1}}')))
    assert partition.state == {"clock": {"last": 1}}
    assert partition.saved({"offset": 5}).slot == 4
    assert bytes(partition.saved({"offset": 5}).state) == b'{"clock":{"last":1}}'


def test_a_partition_that_went_on_from_another_process_is_found_where_and_how_it_did() -> None:
    partitions = Partitions(["k"], ["loki"])
    anew = Begun(3, "k", "t/0", {"offset": 90, "claim": "b"}, 7, msgspec.Raw(b'{"clock":{"last":1}}'), True)
    flight: list[Flown | Begun | Taken] = [
        Flown("k", "t/0", 50, 60, 7, 7, number=2),
        anew,
        Flown("k", "t/0", 90, 95, 7, 7, number=4),
    ]
    partitions.restore({"k": {"t/0": Saved({"offset": 50, "claim": "a"}, slot=7)}}, flight)
    partition = partitions.get("k", "t/0")
    assert partition.ledger.position == {"offset": 90, "claim": "b"}
    assert (partition.state, partition.slot, partition.ledger.taken) == ({"clock": {"last": 1}}, 7, {"loki": 90})
    assert [one.start for one in partition.flown] == [90]


def test_a_partition_that_begins_anew_keeps_the_books_of_what_is_still_on_its_way() -> None:
    partitions = Partitions(["k"], ["loki"])
    old = partitions.get("k", "t/0")
    ack = old.ledger.promise({"offset": 9}, 9)
    old.ledger.books.read = 9
    old.ledger.books.of("loki").in_flight = 9
    for _ in range(2):
        partitions.restart("k", "t/0", Saved({"offset": 20}, slot=3))
        assert partitions.books("k").residual("loki") == 0
    assert partitions.books("k").of("loki").in_flight == 9
    assert (partitions.get("k", "t/0").end, partitions.get("k", "t/0").slot) == (20, 3)
    ack.settle("loki")
    old.ledger.books.of("loki").in_flight, old.ledger.books.of("loki").delivered = 0, 9
    partitions.restart("k", "t/0", Saved({"offset": 30}, slot=3))
    books = partitions.books("k")
    assert (books.read, books.of("loki").delivered, books.of("loki").in_flight) == (9, 9, 0)


def test_what_was_let_go_of_is_forgotten_once_no_sink_has_it() -> None:
    partitions = Partitions(["app"], ["loki"])
    partition = partitions.get("app", "a")
    ack = partition.ledger.promise({"offset": 5}, 5)
    partition.let_go, ack.books.of("loki").in_flight, ack.books.read = True, 2, 2
    partitions.restart("app", "a", Saved({"offset": 3}))
    assert partition.sending
    ack.books.of("loki").in_flight, ack.books.of("loki").delivered = 0, 2
    partitions.restart("app", "a", Saved({"offset": 7}, taken={"loki": 9}))
    assert partitions.books("app").of("loki").delivered == 2
    assert partitions._left["app"] == []
    assert partitions.get("app", "a").skip_before("loki", 7) == 9


def test_what_sinks_have_of_another_process_s_partition_is_known_after_a_crash() -> None:
    partitions = Partitions(["app"], ["loki", "archive"])
    begun = Begun(3, "app", "a", {"offset": 5}, 1, anew=True, taken={"loki": 5, "archive": 8})
    partitions.restore({"app": {"a": Saved({"offset": 900})}}, [begun], 2)
    assert [partitions.get("app", "a").skip_before(sink, 5) for sink in ("loki", "archive")] == [5, 8]
