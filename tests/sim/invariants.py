"""What must hold, checked from outside: after every life, and when all has come to rest."""

from collections.abc import Iterator

import msgspec
from fakes.administrators import all_versions
from fakes.contents import FakeFiles, contents_of, uid_of
from fakes.disk import FakePayload
from fakes.instances import attributes_of, sop_class_of
from fakes.oracle import Sent
from fakes.picky import wants
from fakes.task_agents import AGENT
from simulated_world import World

from adapter.domain.assignments import owner_of, views_of
from adapter.domain.entities import RETURN_TO_SENDER, ApplicationEntity, SameInstance
from adapter.domain.records import Commitment, Export
from adapter.domain.tables import EXPORT_TERMINAL, JOB_TERMINAL, ExportState, JobState

RETURNED = {"CT1": "ct1", "CT2": "ct2"}
"""Which destination a sender is."""
TAKEN = 0x0000


def versions_of(world: World) -> dict[str, list[ApplicationEntity]]:
    """Return everything that each AE Title may ever have been."""
    return all_versions(world.settings.application_entities, world.entities)


def wanted_pipelines(world: World, group_id: str) -> list[list[str]]:
    """Return what the processor that an acknowledged group belongs to may have made of it."""
    ae_title, processor = world.oracle.processor_of[group_id]
    wanted = []
    for entity in versions_of(world)[ae_title]:
        views = dict(views_of(entity))
        wanted.append(sorted(views[owner_of(processor, list(views))].pipelines))
    return wanted


def check_processors(world: World) -> None:
    """Every instance that was answered 0x0000 has joined one group of each that wants it."""
    assert not world.oracle.placed_twice
    versions = versions_of(world)
    for ae_title, study, joined in world.oracle.joined:
        wanted = [wanting(entity, study) for entity in versions[ae_title]]
        if len(wanted) == 1 and versions[ae_title][0].late_arrivals != "ignore":
            assert joined == wanted[0]
        else:  # late, or it came while that changed
            assert joined
            assert joined <= frozenset().union(*wanted)


def wanting(entity: ApplicationEntity, study: str) -> frozenset[str]:
    """Return the processors of an AE Title that want instances of a study."""
    return frozenset(
        name
        for name, view in views_of(entity)
        if view.processor == "aetitle" or (view.processor == "picky" and wants(study))
    )


def check_removed(world: World) -> None:
    """I3: what has been deleted was delivered before to whom it was for."""
    for job_id in sorted(world.disk.removed & world.disk.history.keys()):
        payload = world.disk.history[job_id]
        named = set(world.tasks.named.get(job_id, ()))
        for offer in world.desk.offers.values():
            if offer.task.job_id == job_id:
                named.update(offer.task.uris)
        outputs = payload.outputs or {}
        for destination in addressed(payload):
            for file in outputs.keys() - named:
                uid = outputs[file].sop_instance_uid
                assert has(world, destination, uid), f"{uid} was deleted too early"
    for offer in world.desk.offers.values():
        if world.desk.fetches and offer.its_job in world.disk.removed:
            assert offer.told, f"{offer.task.id} was forgotten before its service was told"


def addressed(payload: FakePayload) -> Iterator[str]:
    """Yield where the results of a job go that no task names."""
    for name in payload.job.destinations if payload.job else ():
        if name == RETURN_TO_SENDER:
            yield from (RETURNED[title] for title in payload.job.calling_ae_titles)
        else:
            yield name


def has(world: World, destination: str, uid: str) -> bool:
    """Return whether a destination has an instance, and has committed it if it is to."""
    if destination == "archive" and uid not in world.promises.committed:
        return False
    return world.oracle.has(destination, uid)


def check_tasks(world: World) -> None:
    """What was registered is done before its files go, and nobody is told what is not so."""
    assert not world.tasks.broken, world.tasks.broken
    assert not world.desk.broken, world.desk.broken
    for task_id, task in world.tasks.tasks.items():
        if task.job_id not in world.disk.removed or task.succeeded:
            continue
        assert task.agent != AGENT, f"{task_id} has gone, and its agent has not reported"
        payload = (world.disk.history | world.disk.fetched)[task.job_id]
        outputs = payload.outputs or {}
        for destination in task.destinations or addressed(payload):
            for file in outputs.keys() & {*task.files}:
                uid = outputs[file].sop_instance_uid
                assert has(world, destination, uid), f"{task_id} has gone without {uid}"


def check_safety(world: World) -> None:
    """I1, I2, I3: nothing acknowledged is lost, doubled, or deleted while it is held."""
    disk = world.disk
    jobs_of: dict[tuple[str, str], list[str]] = {}
    for payload in disk.history.values():
        for name in payload.files:
            jobs_of.setdefault((payload.job.group_id, name), []).append(payload.job.pipeline)
    for group_id, name in world.oracle.acknowledged:
        group = disk.open_groups.get(group_id) or disk.closed_groups.get(group_id)
        pipelines = jobs_of.get((group_id, name), [])
        wanted = wanted_pipelines(world, group_id)
        assert len(pipelines) == len(set(pipelines)), f"{name} is in two jobs of one pipeline"
        if group is not None:
            staged = (name in files for files in group.staged.values())
            assert name in group.files or any(staged), f"{name} was acknowledged and is gone"
        else:
            assert sorted(pipelines) in wanted, f"{name} has no job: {pipelines}"
    check_removed(world)
    check_tasks(world)
    check_processors(world)
    check_policies(world)
    check_refusals(world)
    check_same_instances(world)
    assert not world.entities.broken, world.entities.broken
    assert not world.oracle.let_in
    assert not world.promises.wrongly_kept
    assert not world.promises.lies_believed
    rows = (row for key, row in disk.rows.items() if key.startswith("commitment/"))
    waiting = {msgspec.msgpack.decode(row, type=Commitment).transaction_uid for row in rows}
    assert world.promises.asked - world.promises.reported <= waiting, "a request was forgotten"
    assert not world.orders.broken
    assert world.oracle.slowest_answer_s <= world.settings.dicom.scp.answer_s + 0.1


def check_policies(world: World) -> None:
    """An AE Title does what it, or something it has been, allows."""
    versions = versions_of(world)
    for title, why, uid in world.oracle.ignored:
        allowed = set[str]()
        for entity in versions[title]:
            if entity.late_arrivals == "ignore":
                allowed.add("late")
            if all(view.processor == "picky" for _, view in views_of(entity)):
                allowed.add("no processor wants it")
            if sop_class_of(uid) in entity.ignored_sop_classes:
                allowed.add("ignored_sop_classes")
        assert why in allowed
    for payload in world.disk.history.values():
        entities = versions[payload.job.ae_title]
        most = [entity.max_instances or len(payload.files) for entity in entities]
        assert len(payload.files) <= max(most)
        priorities = {view.priority for entity in entities for _, view in views_of(entity)}
        assert payload.job.priority in priorities | {"normal"}  # which a plug-in may say
        late = {entity.late_arrivals for entity in entities}
        assert not payload.job.supplements or "supplement" in late


def check_refusals(world: World) -> None:
    """What an AE Title does not take gets its status, and is in no group and no job of it."""
    versions = versions_of(world)
    for ae_title, sending, status in world.oracle.refused:
        assert status in {
            status_of(each, sending.study, sending.uid) for each in versions[ae_title]
        }
    for _, ae_title, files in kept_by(world):
        for study, uid in {(name.partition("/")[0], uid_of(name)) for name in files}:
            statuses = {status_of(entity, study, uid) for entity in versions[ae_title]}
            assert TAKEN in statuses, f"{uid} is in a group that refuses it: {statuses}"


def status_of(entity: ApplicationEntity, study: str, uid: str) -> int | None:
    """Return what an AE Title says to an instance if it has room; None: it ignores it."""
    sop_class, attributes = sop_class_of(uid), attributes_of(study, uid)
    if sop_class in entity.ignored_sop_classes:
        return None
    if sop_class not in (entity.allowed_sop_classes or [sop_class]):
        return 0x0122
    return TAKEN if attributes.keys() >= {*entity.required_attributes} else 0xA900


def kept_by(world: World) -> Iterator[tuple[str, str, FakeFiles]]:
    """Yield id, AE Title and files of every group there is, and of those that were in jobs."""
    for group in (*world.disk.open_groups.values(), *world.disk.closed_groups.values()):
        yield group.record.id, group.record.ae_title, group.files
    for payload in world.disk.history.values():
        yield payload.job.group_id, payload.job.ae_title, payload.files


def check_same_instances(world: World) -> None:
    """Whatever came second has not reduced what is stored, and the right one has stayed."""
    versions = versions_of(world)
    for group_id, ae_title, files in kept_by(world):
        policies = {entity.same_instance for entity in versions[ae_title]}
        policy = policies.pop() if len(policies) == 1 else None
        kept, sent = contents_of(files), world.oracle.sent.get(group_id, {})
        assert kept.keys() <= sent.keys(), "nobody has sent this here"
        for name, of_name in sent.items():
            check_kept(policy, kept.get(name, []), of_name)


def check_kept(policy: SameInstance | None, kept: list[int], sent: list[Sent]) -> None:
    """Of all that was sent of one instance, what this policy says is kept.

    Args:
        policy: None: it has changed, and any of it may be kept.
        kept: What there is of it.
        sent: What was sent of it.
    """
    ours = [one for one in sent if one.content in kept]
    promised = [one for one in sent if one.acknowledged]
    assert {*kept} == {one.content for one in ours}, "nobody has sent these bytes"
    assert len(kept) <= 1 or policy not in ("keep-first", "replace"), "it is there twice"
    assert len(kept) == len({*kept}) or policy is None, "the same bytes are there twice"
    match policy:
        case "keep-both":
            assert {one.content for one in promised} <= {*kept}, "one of both has gone"
        case "keep-first" if promised:
            first = [one for one in ours if not any(each.precedes(one) for each in promised)]
            assert first, "a later one has taken the place of the first"
        case "replace" if promised:
            last = [one for one in ours if not any(one.precedes(each) for each in promised)]
            assert last, "an earlier one has the place of the last"


async def check_liveness(world: World) -> None:
    """I7: after the faults everything has ended, been delivered, and been reclaimed."""
    assert world.ledger is not None
    assert not world.oracle.pending
    assert not world.disk.open_groups
    assert not world.disk.closed_groups
    assert all(job.state in JOB_TERMINAL for job in await world.ledger.jobs())
    exports: list[Export] = await world.ledger.exports()
    assert all(export.state in EXPORT_TERMINAL for export in exports)
    for payload in world.disk.history.values():
        assert payload.job.supplements in ("", *world.disk.history), "lineage leads nowhere"
    faulted = [job for job in await world.ledger.jobs() if job.state is JobState.FAULTED]
    assert not faulted
    assert not [export for export in exports if export.state is ExportState.FAILED]
    assert not world.disk.payloads, "space was not reclaimed"
    assert not world.asked_before_stop - world.promises.reported
    if world.has_service:
        assert not world.desk.open
        for offer in world.desk.offers.values():
            refusable = offer.task.problem or {"nowhere", "made"} & {*offer.task.destinations}
            assert offer.ended or refusable or not world.desk.fetches, f"{offer} was not done"
