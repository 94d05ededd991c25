"""Rows of refused associations: folded, bounded, and each with what can be done about it."""

import pytest
import trio
from fakes.rows import KeptRows

from adapter.actors.rejection_keeper import PERIOD_S, RejectionKeeper
from adapter.channels import notify
from adapter.domain.rejections import Answer, Caller, Rejections, Why
from adapter.store.rejection_rows import RejectionRows

REJECTED = Answer(1, 1, 3)


def refuse(rejections, number, *, peer="10.0.0.7", calling="CT1", why=Why.SOURCE_UNKNOWN):
    caller = Caller(peer=peer, calling_ae_title=calling, called_ae_title="BRAIN")
    return rejections.record(f"a-{number}", caller, why, REJECTED, f"try {number}", float(number))


def test_caller_that_comes_back_is_counted_in_its_row():
    rejections = Rejections()
    for number in range(1000):
        refuse(rejections, number)
    refuse(rejections, 1000, peer="10.0.0.8")
    row, other = rejections.rows
    assert (row.id, row.latest_id, row.count, row.first_at, row.last_at) == (
        "a-0", "a-999", 1000, 0.0, 999.0,
    )  # fmt: skip
    assert row.detail == "try 999"
    assert other.count == 1


def test_row_is_found_by_its_first_and_its_latest_association():
    rejections = Rejections()
    rows = [refuse(rejections, number) for number in range(3)]
    assert rejections.find("a-0") is rejections.find("a-2") is rows[0]
    assert rejections.find("a-1") is None


@pytest.mark.parametrize(
    "other", [{"peer": "10.0.0.8"}, {"calling": "CT2"}, {"why": Why.SOURCE_ELSEWHERE}]
)
def test_another_caller_address_or_rule_has_its_own_row(other):
    rejections = Rejections()
    refuse(rejections, 1)
    refuse(rejections, 2, **other)
    assert [row.count for row in rejections.rows] == [1, 1]


def test_flood_from_one_address_pushes_out_its_own_rows():
    rejections = Rejections(rows_max=5)
    for number in range(3):
        refuse(rejections, number, peer=f"10.0.1.{number}")
    for number in range(10, 1010):
        refuse(rejections, number, peer="10.9.9.9", calling=f"X{number}")
    peers = [row.caller.peer for row in rejections.rows]
    assert peers == ["10.0.1.0", "10.0.1.1", "10.0.1.2", "10.9.9.9", "10.9.9.9"]
    assert rejections.find("a-10") is None
    assert rejections.find("a-1009") is not None


@pytest.mark.parametrize("why", Why)
def test_every_rule_says_what_can_be_done(why):
    row = refuse(Rejections(), 1, why=why)
    assert row.remedy.endswith((".", "BRAIN", "pipeline-NAME=ID", "allow a-1"))
    assert why.rule == why.rule.lower().replace("_", "-").strip()


def test_what_the_peer_says_is_one_word_to_a_shell():
    caller = Caller(peer="10.0.0.7", calling_ae_title="CT1", called_ae_title="A; rm -rf /")
    row = Rejections().record("a-1", caller, Why.CALLED_UNKNOWN, REJECTED, "", 0.0)
    assert row.remedy.endswith("-a 'A; rm -rf /' -n A-rm--rf- pipeline-NAME=ID")


async def test_rows_outlive_the_process_and_count_on():
    engine, before = KeptRows(RejectionRows), Rejections()
    for number in range(3):
        refuse(before, number, why=Why.SOURCE_ELSEWHERE)
    refuse(before, 3, peer="10.0.0.8")
    await engine.open().keep(before.rows)
    after = Rejections()
    after.adopt(engine.open().all())
    assert after.rows == before.rows
    assert after.find("a-0") is after.find("a-2")
    assert refuse(after, 4, why=Why.SOURCE_ELSEWHERE).count == 4


async def test_only_what_has_changed_is_written():
    engine, rejections = KeptRows(RejectionRows), Rejections(rows_max=3)
    kept = engine.open()
    for number in range(3):
        refuse(rejections, number, peer=f"10.0.1.{number}")
    for _ in range(2):
        await kept.keep(rejections.rows)
    refuse(rejections, 9, peer="10.0.1.1")
    await kept.keep(rejections.rows)
    refuse(rejections, 10, peer="10.0.1.9")
    await kept.keep(rejections.rows)
    assert engine.writes == [3, 1, 2]
    assert len(engine.rows) == 3


async def test_row_of_a_rule_there_is_no_more_is_left_out():
    engine, rejections = KeptRows(RejectionRows), Rejections()
    refuse(rejections, 1)
    refuse(rejections, 2, why=Why.LIMIT)
    await engine.open().keep(rejections.rows)
    (name,) = [key for key, row in engine.rows.items() if b"LIMIT" in row]
    engine.rows[name] = engine.rows[name].replace(b"LIMIT", b"LUNCH")
    assert [row.id for row in engine.open().all()] == ["a-1"]


async def test_flood_is_written_once_in_a_while_and_the_last_at_the_end(autojump_clock):
    engine, rejections = KeptRows(RejectionRows), Rejections()
    hint, hints = trio.open_memory_channel(1)
    keeper = RejectionKeeper(rejected=rejections, ledger=engine.open(), woken=hints)
    async with trio.open_nursery() as nursery:
        await nursery.start(keeper.run)
        for number in range(1000):
            refuse(rejections, number)
            notify(hint)
            await trio.sleep(PERIOD_S / 100)
        assert 9 <= len(engine.writes) <= 11
        refuse(rejections, 1000)
        notify(hint)
        hint.close()
    (row,) = engine.open().all()
    assert row.count == 1001
