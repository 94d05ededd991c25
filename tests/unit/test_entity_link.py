"""How seldom an association's thread crosses into Trio, and that nothing is lost by it."""

import trio
from fakes.placements import ONLY, first_group, settled

from adapter.domain.messages import Placement, ReceivedInstance
from adapter.protocols.dimse.entity_link import EntityLink
from adapter.protocols.dimse.service_link import TrioLink


class Service:
    """An entity with a lease of its choice."""

    attributes = frozenset({"0020,000D", "0020,000E"})
    grouping = frozenset({"0020,000D"})

    def __init__(self, lease_s):
        self.lease_s, self.asked, self.told, self.order = lease_s, 0, [], []
        self.staged = ""

    async def place(self, instance):
        self.asked += 1
        self.order.append("asked")
        return Placement(
            groups={ONLY: f"group-{self.asked}"}, study="9", series="9", instance="9",
            same_instance="keep-first", association=self.staged, lease_s=self.lease_s,
        )  # fmt: skip

    async def released(self):
        self.order.append("released")
        return True

    def settled(self, batch):
        self.order.append("told")
        self.told += batch


def instance(number, study="1.2", sop_class="1.1"):
    return ReceivedInstance(
        association="a", calling_ae_title="CT1", sop_class_uid=sop_class,
        sop_instance_uid=f"1.9.{number}", transfer_syntax_uid="1.2.840.10008.1.2",
        attributes={"0020,000D": study, "0020,000E": f"{study}.{number}"}, payload_bytes=1,
    )  # fmt: skip


async def in_thread(work):
    await trio.to_thread.run_sync(work)
    await trio.testing.wait_all_tasks_blocked()


async def test_lease_places_what_is_of_the_same_kind_by_its_own_uids():
    service = Service(60.0)
    link = EntityLink(TrioLink(service), service.grouping)
    placed = []
    await in_thread(lambda: placed.extend(link.place(instance(n)) for n in range(3)))
    assert service.asked == 1
    assert {first_group(p) for p in placed} == {"group-1"}
    assert (placed[2].study, placed[2].series, placed[2].instance) == ("1.2", "1.2.2", "1.9.2")


async def test_another_study_or_class_is_asked_about():
    service = Service(60.0)
    link = EntityLink(TrioLink(service), service.grouping)
    cases = [instance(1), instance(2, study="1.3"), instance(3, study="1.3", sop_class="1.5")]
    await in_thread(lambda: [link.place(case) for case in cases])
    assert service.asked == 3


async def test_lease_that_has_run_out_is_asked_about():
    service = Service(0.0)
    link = EntityLink(TrioLink(service), service.grouping)
    await in_thread(lambda: [link.place(instance(n)) for n in range(3)])
    assert service.asked == 3


async def test_news_are_told_in_order_and_before_the_next_question():
    service = Service(60.0)
    link = EntityLink(TrioLink(service), service.grouping)

    def work():
        for number in range(3):
            one = instance(number)
            link.settled(settled(one, link.place(one)))
        assert link.has_news
        link.ask(instance(4))
        assert not link.has_news

    await in_thread(work)
    assert [told.instance.sop_instance_uid for told in service.told] == ["1.9.0", "1.9.1", "1.9.2"]
    assert service.order == ["asked", "told", "asked"]


async def test_release_is_a_question_only_if_something_waits_for_it():
    service = Service(60.0)
    link = EntityLink(TrioLink(service), service.grouping)
    answers = []
    await in_thread(lambda: (link.place(instance(1)), answers.append(link.released())))
    assert (answers, service.order) == ([True], ["asked"])
    service.staged = "a"
    await in_thread(lambda: (link.ask(instance(2)), answers.append(link.released())))
    assert (answers, service.order) == ([True, True], ["asked", "asked", "released"])


async def test_what_became_of_instances_is_told_before_the_release():
    service = Service(60.0)
    service.staged = "a"
    link = EntityLink(TrioLink(service), service.grouping)

    def store_and_release():
        one = instance(1)
        link.settled(settled(one, link.place(one)))
        link.released()

    await in_thread(store_and_release)
    assert service.order == ["asked", "told", "released"]


async def test_staging_goes_with_the_lease():
    service = Service(60.0)
    service.staged = "a"
    link = EntityLink(TrioLink(service), service.grouping)
    placed = []
    await in_thread(lambda: placed.extend(link.place(instance(n)) for n in range(3)))
    assert service.asked == 1
    assert {place.association for place in placed} == {"a"}
