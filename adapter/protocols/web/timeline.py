"""`GET /api/timeline/{studyInstanceUid}`: what happened to a study, from A-ASSOCIATE to exports.

Folders say which groups and jobs have instances of it, the ledger what became of those, and the
histories of groups who brought them. What has been reclaimed is not known any more, nor who brought
a group before the process began.
"""

from typing import Any

from litestar import get
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath
from msgspec import Struct

from adapter.domain.identifiers import UID_LENGTH_MAX
from adapter.domain.records import Export, GroupRecord, Job, Outcome
from adapter.domain.survey import StudyPlaces
from adapter.domain.views import Views
from adapter.domain.wall_time import rfc3339
from adapter.errors import RowNotFoundError, UnavailableError
from adapter.protocols.web.health import State
from adapter.protocols.web.roles import VIEWER

ENTRIES_MAX = 2000
"""Of an answer; the first ones are given, and that there are more."""


class Entry(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Something that happened."""

    at: str
    what: str
    """As the type of a live event (docs/events.md)."""
    ae_title: str = ""
    association: str = ""
    group: str = ""
    job: str = ""
    export: str = ""
    destination: str = ""
    data: dict[str, Any] = {}


class Timeline(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is known of a study."""

    study_instance_uid: str
    groups: list[str]
    jobs: list[str]
    exports: list[str]
    forgotten: list[str]
    """Groups of whom it is not known any more who brought them, or when they closed: the process
    has begun since, or thousands of groups have come."""
    entries: list[Entry]
    """In the order in which they happened. A group, and what comes of it, may have other studies
    beside this one."""
    previews: bool
    """There are pictures of its instances, for operators."""
    complete: bool
    """False: there are more entries."""


@get("/api/timeline/{study_instance_uid:str}", opt=VIEWER, summary="What happened to a study")
async def timeline(web: State, study_instance_uid: FromPath[str]) -> Timeline:
    """Return what is known of a study. 404 if nothing is, 503 if it cannot be read now."""
    places = StudyPlaces(groups=(), jobs=())
    if study_instance_uid.isprintable() and len(study_instance_uid) <= UID_LENGTH_MAX:
        try:
            places = await web.survey.study(study_instance_uid)
        except UnavailableError as error:
            raise HTTPException(f"the storage cannot be read: {error}", status_code=503) from None
    jobs = [job for job_id in places.jobs if (job := await _job(web, job_id)) is not None]
    if not places.groups and not jobs:
        raise NotFoundException(f"nothing is known of the study {study_instance_uid[:64]!r}")
    exports = [export for job in jobs for export in await web.ledger.exports_of(job.id)]
    groups = list(dict.fromkeys([*(g.id for g in places.groups), *(j.group_id for j in jobs)]))
    entries = _of_groups(web, groups, places.groups)
    for job in jobs:
        entries += _of_job(web, job)
    for export in exports:
        entries += _of_export(export, await web.ledger.outcomes(export.id))
        entries += [
            Entry(at=rfc3339(one.requested_at), what="commitment.requested", export=export.id,
                  destination=export.destination,
                  data={"transactionUid": one.uid, "instances": one.instances,
                        "over": one.over, "error": one.error})
            for one in await web.ledger.transactions(export.id)
        ]  # fmt: skip
    entries.sort(key=lambda entry: entry.at)
    return Timeline(
        study_instance_uid=study_instance_uid,
        groups=groups,
        jobs=[job.id for job in jobs],
        exports=[export.id for export in exports],
        forgotten=[group for group in groups if web.snapshot.histories.find(group) is None],
        entries=entries[:ENTRIES_MAX],
        previews=web.previews is not None,
        complete=len(entries) <= ENTRIES_MAX,
    )


async def _job(web: Views, job_id: str) -> Job | None:
    try:
        return await web.ledger.job(job_id)
    except RowNotFoundError:
        return None  # its folder is there before its row, and after it


def _of_groups(web: Views, groups: list[str], records: tuple[GroupRecord, ...]) -> list[Entry]:
    entries, associations = list[Entry](), set[str]()
    known = {record.id: record for record in records}
    for group in groups:
        history = web.snapshot.histories.find(group)
        if history is None:
            if record := known.get(group):  # from before this process
                entries.append(
                    Entry(at=rfc3339(record.opened_at), what="group.opened", group=group,
                          ae_title=record.ae_title,
                          data={"callingAeTitles": list(record.calling_ae_titles)})
                )  # fmt: skip
            continue
        title = history.ae_title
        entries += [
            Entry(at=rfc3339(note.at), what=note.type, ae_title=title, group=group, data=note.data)
            for note in history.notes
        ]
        for association in history.associations.values():
            if association.id in associations:
                continue
            associations.add(association.id)
            entries += [
                Entry(at=rfc3339(note.at), what=note.type, ae_title=title,
                      association=association.id, data=note.data)
                for note in association.notes
            ]  # fmt: skip
    return entries


def _of_job(web: Views, job: Job) -> list[Entry]:
    data = {"pipeline": job.pipeline, "instances": job.instances,
            "callingAeTitles": list(job.calling_ae_titles)}  # fmt: skip
    entries = [
        Entry(at=rfc3339(job.opened_at), what="job.opened", ae_title=job.ae_title, job=job.id,
              group=job.group_id, data=data)
    ]  # fmt: skip
    entries += [
        Entry(at=rfc3339(change.at), what="job.state", job=job.id, ae_title=job.ae_title,
              data={"state": change.state})
        for change in job.history
    ]  # fmt: skip
    for task in web.ledger.tasks.of_job(job.id):
        facts = {"task": task.id, "agent": task.agent, "files": task.files}
        entries.append(
            Entry(at=rfc3339(task.opened_at), what="task.registered", job=job.id, data=facts)
        )
        if task.changed_at != task.opened_at:
            entries.append(
                Entry(at=rfc3339(task.changed_at), what="task.state", job=job.id,
                      data={"task": task.id, "state": task.state, "error": task.error})
            )  # fmt: skip
    return entries


def _of_export(export: Export, outcomes: list[Outcome]) -> list[Entry]:
    """Return its beginning, its answers - those of one second are one entry -, and where it is."""
    about = {"export": export.id, "job": export.job_id, "destination": export.destination}
    entries = [
        Entry(at=rfc3339(export.opened_at), what="export.opened",
              data={"instances": export.instances}, **about)
    ]  # fmt: skip
    answered: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.attempts:
            answered.setdefault(int(outcome.at), []).append(outcome)
    for some in answered.values():
        delivered = sum(one.delivered for one in some)
        errors = sorted({one.error for one in some if one.error})[:5]
        data = {"delivered": delivered, "failed": len(some) - delivered, "errors": errors}
        entries.append(
            Entry(at=rfc3339(max(one.at for one in some)), what="export.sent", data=data, **about)
        )
    if export.changed_at != export.opened_at:
        state = {"state": export.state, "sent": export.sent, "failed": export.failed,
                 "error": export.error}  # fmt: skip
        entries.append(
            Entry(at=rfc3339(export.changed_at), what="export.state", data=state, **about)
        )
    return entries


TIMELINE = [timeline]
