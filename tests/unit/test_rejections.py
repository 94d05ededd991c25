"""Rows of refused associations: folded, bounded, and each with what can be done about it."""

import pytest

from adapter.domain.rejections import Answer, Caller, Rejections, Why

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
    assert row.remedy.endswith((".", "BRAIN", "allow a-1"))
    assert why.rule == why.rule.lower().replace("_", "-").strip()


def test_what_the_peer_says_is_one_word_to_a_shell():
    caller = Caller(peer="10.0.0.7", calling_ae_title="CT1", called_ae_title="A; rm -rf /")
    row = Rejections().record("a-1", caller, Why.CALLED_UNKNOWN, REJECTED, "", 0.0)
    assert row.remedy.endswith("-a 'A; rm -rf /'")
