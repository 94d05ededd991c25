"""What is remembered of groups and of the associations that brought them."""

from sample_events import sample

from adapter.domain.group_histories import ASSOCIATIONS_MAX, NOTES_MAX, GroupHistories


def fold(histories, *events):
    for at, event in enumerate(events):
        histories.apply(event, float(at))


def association(verb, name="a-1"):
    return sample(f"association.{verb}", association=name, data={"peer": "10.0.0.7"})


def stored(group="g-1", name="a-1", **data):
    return sample("instance.stored", group=group, association=name, data=data)


def opened(group="g-1"):
    return sample("group.opened", group=group, ae_title="BRAIN")


def test_association_is_told_to_its_end_with_the_group_it_brought():
    histories = GroupHistories()
    fold(
        histories, association("requested"), association("accepted"), opened(), stored(), stored(),
        sample("group.closed", group="g-1"), association("released"),
    )  # fmt: skip
    history = histories.find("g-1")
    assert history.ae_title == "BRAIN"
    assert [note.type for note in history.notes] == ["group.opened", "group.closed"]
    (brought,) = history.associations.values()
    assert [(note.at, note.type) for note in brought.notes] == [
        (0, "association.requested"), (1, "association.accepted"), (6, "association.released"),
    ]  # fmt: skip


def test_instance_of_several_groups_tells_all_of_them_who_brought_it():
    histories = GroupHistories()
    fold(
        histories, association("requested"), opened("g-1"), opened("g-2"),
        stored(groups=["g-1", "g-2"]),
    )  # fmt: skip
    assert [list(histories.find(group).associations) for group in ("g-1", "g-2")] == [["a-1"]] * 2


def test_only_the_latest_groups_are_known():
    histories = GroupHistories(groups_max=2)
    fold(histories, opened("g-1"), opened("g-2"), opened("g-3"))
    assert histories.find("g-1") is None
    assert histories.find("g-3")


def test_history_of_a_group_is_bounded_and_its_end_is_told():
    histories = GroupHistories()
    for number in range(2 * ASSOCIATIONS_MAX):
        name = f"a-{number}"
        fold(histories, association("requested", name), opened(), stored(name=name))
    fold(histories, sample("group.closed", group="g-1"))
    history = histories.find("g-1")
    assert len(history.associations) == ASSOCIATIONS_MAX
    assert len(history.notes) == NOTES_MAX + 1
    assert history.notes[-1].type == "group.closed"
