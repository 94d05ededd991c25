"""What is remembered of closed groups: durable, bounded, and free of patient data."""

import msgspec
import pytest

from adapter.domain.records import GroupRecord
from adapter.store import remembered
from adapter.store.remembered import RememberedGroups

CANARY = "PHI^4711"


def record(key=CANARY, identifier="group-1", ae_title="BRAIN", **changes):
    return GroupRecord(id=identifier, ae_title=ae_title, key=key, opened_at=0.0, **changes)


@pytest.fixture
def groups(tmp_path):
    made = RememberedGroups(tmp_path, "fsync")
    made.prepare()
    return made


def test_group_is_found_by_title_and_key_until_its_time(groups):
    groups.remember(record(), 100.0, 200.0)
    assert groups.find("BRAIN", "", CANARY, 199.0) == "group-1"
    assert groups.find("BRAIN", "", CANARY, 200.0) == ""
    assert groups.find("LUNG", "", CANARY, 150.0) == ""
    assert groups.find("BRAIN", "", "PHI^4712", 150.0) == ""


def test_each_processor_has_groups_of_its_own(groups):
    groups.remember(record(processor="one"), 100.0, 200.0)
    groups.remember(record(processor="two", identifier="group-2"), 100.0, 200.0)
    assert groups.find("BRAIN", "one", CANARY, 150.0) == "group-1"
    assert groups.find("BRAIN", "two", CANARY, 150.0) == "group-2"
    assert groups.find("BRAIN", "", CANARY, 150.0) == ""


def test_group_is_found_after_a_restart(groups, tmp_path):
    groups.remember(record(), 100.0, 200.0)
    again = RememberedGroups(tmp_path, "fsync")
    again.prepare()
    assert again.find("BRAIN", "", CANARY, 150.0) == "group-1"


def test_wall_clock_that_was_set_back_makes_nothing_new(groups):
    groups.remember(record(), 100.0, 200.0)
    assert groups.find("BRAIN", "", CANARY, -1e9) == "group-1"


def test_group_that_supplements_keeps_the_first_one_known(groups):
    groups.remember(record(), 100.0, 200.0)
    groups.remember(record(identifier="group-2", supplements="group-1"), 190.0, 290.0)
    assert groups.find("BRAIN", "", CANARY, 250.0) == "group-1"


def test_nothing_of_a_key_is_on_the_disk(groups, tmp_path):
    groups.remember(record(), 100.0, 200.0)
    for path in tmp_path.iterdir():
        assert CANARY not in path.name
        assert CANARY.encode() not in path.read_bytes()


def test_names_of_two_storage_roots_do_not_agree(tmp_path):
    """Whoever sees the names of one cannot try out Patient IDs with another."""
    names = []
    for root in ("a", "b"):
        (tmp_path / root).mkdir()
        groups = RememberedGroups(tmp_path / root, "os")
        groups.prepare()
        groups.remember(record(), 100.0, 200.0)
        names += [path.name for path in (tmp_path / root).iterdir() if path.suffix == ".json"]
    assert len(set(names)) == 2


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]"])
def test_damaged_memory_is_none(groups, tmp_path, damaged):
    groups.remember(record(), 100.0, 200.0)
    (path,) = tmp_path.glob("*.json")
    path.unlink()
    path.write_bytes(damaged)
    assert groups.find("BRAIN", "", CANARY, 150.0) == ""


def test_what_is_over_and_what_is_too_much_is_forgotten(groups, tmp_path, monkeypatch):
    monkeypatch.setattr(remembered, "REMEMBERED_MAX", 5)
    monkeypatch.setattr(remembered, "FORGET_EVERY", 10)
    for number in range(40):
        groups.remember(record(key=f"{number}"), float(number), 1000.0 + number)
    assert len(list(tmp_path.glob("*.json"))) <= 5 + 11
    assert groups.find("BRAIN", "", "39", 50.0) == "group-1"
    assert groups.find("BRAIN", "", "0", 50.0) == ""
    for number in range(12):
        groups.remember(record(key=f"new{number}"), 5000.0, 6000.0)
    left = [msgspec.json.decode(path.read_bytes()) for path in tmp_path.glob("*.json")]
    assert {row["until_at"] for row in left} == {6000.0}
