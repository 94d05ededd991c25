"""The snapshot: what all events so far amount to, and no more."""

from datetime import UTC, datetime

import pytest
from sample_events import sample

from adapter.domain.event_types import EVENT_TYPES
from adapter.domain.snapshot import ENDED_MAX, Snapshot

BEGIN = datetime(2026, 1, 31, 9, 30, tzinfo=UTC).timestamp()


def at(second):
    return f"2026-01-31T09:30:{second:02}.000Z"


def folded(*events):
    snapshot = Snapshot()
    for number, event in enumerate(events):
        snapshot.apply(event, BEGIN + number)
    return snapshot.as_dict()


def association(verb, **data):
    return sample(f"association.{verb}", ae_title="BRAIN", association="a-1", data=data)


def instance(verb, **data):
    return sample(f"instance.{verb}", association="a-1", group="group-1", data=data)


def group(verb):
    data = {"instances": 0, "bytes": 0, "timeoutS": 5.0, "leftS": 3.0, "ageLeftS": 60.0}
    return sample(f"group.{verb}", ae_title="BRAIN", group="group-1", data=data)


def test_nothing_is_known_at_first():
    assert folded() == {
        "associations": [], "groups": [], "jobs": [], "exports": [], "tasks": [],
        "commitments": [], "destinations": [], "actors": [],
        "storage": {"low": False, "reclaimedBytes": 0},
    }  # fmt: skip


def test_association_counts_its_instances():
    (row,) = folded(
        association("requested", peer="10.0.0.7"),
        association("accepted", peer="10.0.0.7"),
        instance("stored", bytes=10),
        instance("stored", bytes=5),
        instance("refused", bytes=7),
        instance("duplicate", bytes=7),
        association("released", bytes=99, why="released"),
    )["associations"]
    assert row == {
        "id": "a-1", "aeTitle": "BRAIN", "openedAt": at(0), "changedAt": at(6), "state": "released",
        "stored": 2, "bytes": 15, "refused": 1, "peer": "10.0.0.7", "why": "released",
        "callingAeTitle": "", "contexts": 0, "tls": "",
    }  # fmt: skip


def test_group_lives_from_opened_to_closed():
    (row,) = folded(group("opened"), instance("stored", bytes=10))["groups"]
    assert (row["instances"], row["bytes"], row["dueAt"]) == (1, 10, at(6))
    assert folded(group("opened"), group("closed"))["groups"] == []


def test_group_is_due_when_its_time_is_over():
    (row,) = folded(group("opened"))["groups"]
    assert row["dueAt"] == at(3)
    (row,) = folded(group("opened"), instance("stored", bytes=10))["groups"]
    assert row["dueAt"] == at(6)


def test_instance_of_an_unknown_group_or_association_does_no_harm():
    assert folded(instance("stored", bytes=1)) == folded()


def test_job_keeps_what_it_was_told():
    opened = sample("job.opened", ae_title="BRAIN", group="group-1", job="job-1",
                   data={"state": "Queued", "pipeline": "seg", "name": "a name"})  # fmt: skip
    done = sample("job.completed", ae_title="BRAIN", group="group-1", job="job-1",
                 data={"state": "Completed", "pipeline": "seg"})  # fmt: skip
    (row,) = folded(opened, done)["jobs"]
    assert row == {
        "id": "job-1", "openedAt": at(0), "changedAt": at(1), "state": "Completed",
        "name": "a name", "pipeline": "seg", "aeTitle": "BRAIN", "group": "group-1",
        "instances": 0, "bytes": 0, "tries": 0, "dueAt": "", "error": "",
    }  # fmt: skip


def export(verb, **data):
    return sample(f"export.{verb}", job="job-1", export="export-1", destination="pacs", data=data)


def test_export_adds_up_what_was_delivered():
    (row,) = folded(
        export("opened", state="Queued", instances=3),
        export("sent", delivered=2, failed=1),
        export("sent", delivered=1),
    )["exports"]
    assert (row["sent"], row["state"], row["destination"]) == (3, "Queued", "pacs")


def test_reclaimed_job_takes_its_exports_along():
    state = folded(
        sample("job.opened", job="job-1"),
        export("opened"),
        sample("export.opened", job="job-2", export="export-2"),
        sample("storage.reclaimed", job="job-1", data={"bytes": 7}),
        sample("storage.reclaimed", job="job-0", data={"bytes": 3}),
    )
    assert state["jobs"] == []
    assert [row["id"] for row in state["exports"]] == ["export-2"]
    assert state["storage"]["reclaimedBytes"] == 10


def test_storage_is_low_until_it_recovers():
    low = sample("storage.low", data={"freeBytes": 1})
    assert folded(low)["storage"]["low"] is True
    assert folded(low, sample("storage.recovered"))["storage"]["low"] is False


def test_destination_has_its_last_state():
    events = [
        sample("destination.down", destination="pacs", data={"why": "no connection"}),
        sample("destination.up", destination="pacs"),
    ]
    assert folded(*events)["destinations"] == [{"name": "pacs", "state": "up", "changedAt": at(1)}]


def test_destination_that_is_gone_is_forgotten():
    down = sample("destination.down", destination="pacs")
    gone = sample("config.deleted", data={"kind": "destination", "name": "pacs"})
    other = sample("config.deleted", data={"kind": "aetitle", "name": "pacs"})
    assert folded(down, other)["destinations"] != []
    assert folded(down, other, gone)["destinations"] == []


def test_destination_is_held_until_it_is_released():
    held, up, released = (
        sample(f"destination.{verb}", destination="pacs") for verb in ("held", "up", "released")
    )
    row = {"name": "pacs", "state": "unknown", "changedAt": at(0), "held": True}
    assert folded(held)["destinations"] == [row]
    row = {"name": "pacs", "state": "up", "changedAt": at(1), "held": True}
    assert folded(held, up)["destinations"] == [row]
    row = {"name": "pacs", "state": "up", "changedAt": at(2)}
    assert folded(held, up, released)["destinations"] == [row]


def test_actor_keeps_its_number_of_crashes():
    (row,) = folded(
        sample("actor.crashed", data={"actor": "hub", "crashes": 2}),
        sample("actor.started", data={"actor": "hub"}),
    )["actors"]
    assert (row["state"], row["crashes"]) == ("started", 2)


@pytest.mark.parametrize(
    ("section", "ended"),
    [
        ("associations", lambda n: sample("association.released", association=f"a-{n}")),
        ("jobs", lambda n: sample("job.faulted", job=f"j-{n}", data={"state": "Faulted"})),
        (
            "exports",
            lambda n: sample("export.failed", export=f"e-{n}", data={"state": "Failed"}),
        ),
    ],
)
def test_only_so_much_that_ended_is_kept(section, ended):
    rows = folded(*(ended(number) for number in range(ENDED_MAX + 50)))[section]
    assert len(rows) == ENDED_MAX
    assert rows[-1]["id"].endswith(f"-{ENDED_MAX + 49}")


def test_what_goes_on_is_never_forgotten():
    open_jobs = [
        sample("job.opened", job=f"open-{n}", data={"state": "Queued"})
        for n in range(ENDED_MAX + 5)
    ]
    ended = [
        sample("job.completed", job=f"done-{n}", data={"state": "Completed"})
        for n in range(ENDED_MAX + 5)
    ]
    rows = folded(*open_jobs, *ended)["jobs"]
    assert sum(row["state"] == "Queued" for row in rows) == ENDED_MAX + 5
    assert sum(row["state"] == "Completed" for row in rows) == ENDED_MAX


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_every_event_type_is_folded_into_its_section(kind):
    topic = kind.partition(".")[0]
    nowhere = topic in ("instance", "storage", "config", "kubernetes") or kind in (
        "group.closed",
        "group.dropped",
    )
    state = folded(sample(kind))
    del state["storage"]
    assert [name for name, rows in state.items() if rows] == ([] if nowhere else [f"{topic}s"])
