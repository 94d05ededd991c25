"""Health and metrics.

Live: the event loop answers. Ready: new associations would be admitted. They differ on purpose: a
full disk makes the adapter unready, and restarting it would not help. Degraded: what is left is
taken and done, and something is not; that is no reason to keep everybody else out. So it is, until
the next start, after one that had to make the ledger anew: somebody has to look what is missing.
"""

import re
from collections import Counter
from typing import Any

from litestar import MediaType, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import SkipValidation
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from adapter.domain.entities import ApplicationEntity
from adapter.domain.tables import JOB_WAITING
from adapter.domain.views import Views
from adapter.protocols.web.access import Guarding
from adapter.protocols.web.access_metrics import AccessCollector
from adapter.protocols.web.cluster_metrics import cluster_metrics
from adapter.protocols.web.export_metrics import export_metrics
from adapter.protocols.web.families import counters, gauges, histograms
from adapter.protocols.web.hook_metrics import hook_metrics
from adapter.protocols.web.preview_metrics import preview_metrics
from adapter.protocols.web.roles import OPEN, VIEWER
from adapter.protocols.web.service_metrics import service_metrics
from adapter.protocols.web.thread_metrics import thread_metrics

_OF_AE_TITLE = re.compile("(entity|processor):")
"""Actors without which an AE Title takes no instances; its name follows."""
State = NamedDependency[SkipValidation[Views]]


def _text(healthy: bool) -> Response[str]:
    return Response(
        "Healthy" if healthy else "Unhealthy",
        status_code=200 if healthy else 503,
        media_type=MediaType.TEXT,
    )


@get("/health/live", opt=OPEN, summary="Is the process alive?", media_type=MediaType.TEXT)
async def live() -> Response[str]:
    """Answer 200 as long as the event loop turns."""
    return _text(True)


def why_unready(web: Views) -> list[str]:
    """Return why new work would be refused; empty: it would not."""
    reasons = []
    if web.stop.is_set():
        reasons.append("stopping")
    if web.space.low:
        reasons.append(web.space.fault or "storage space is low")
    if web.ledger.outage:
        reasons.append(web.ledger.outage)
    down = _actors_down(web)
    reasons += [f"{row['name']} is {row['state']}" for row in down if row.get("essential")]
    out = {row["name"].split(":")[1] for row in down if _OF_AE_TITLE.match(row["name"])}
    if web.listed["aetitle"] and out.issuperset(web.listed["aetitle"]):
        reasons.append("no AE Title can take instances")
    return reasons


def why_degraded(web: Views) -> list[str]:
    """Return what does not work, and what else does."""
    reasons = [f"{row['name']} is {row['state']}" for row in _actors_down(web)]
    reasons += _without_program(web)
    if web.platform.outage:
        reasons.append(f"the platform is away: {web.platform.outage}")
    if outage := _results_service_outage(web):
        reasons.append(f"the Results Service is away: {outage}")
    if outage := web.measurements.cluster.outage:
        reasons.append(f"custom resources cannot be followed: {outage}")
    if lost := web.found.lost:
        why = web.found.damage or "it had gone"
        reasons.append(f"the ledger was made anew at the start ({why}). Lost: {lost}")
    away = web.export_figures.down.items()
    return reasons + [f"destination {name} is down: {why}" for name, why in sorted(away)]


def _without_program(web: Views) -> list[str]:
    return [
        f"AE Title {listed.name!r}: {why}"
        for listed in web.listed["aetitle"].values()
        if isinstance(listed.entity, ApplicationEntity)
        for why in web.programs.problems(listed.entity)
    ]


async def _jobs_without_program(web: Views) -> list[str]:
    """Return for which pipelines jobs wait in vain; plug-ins may name any, and entries may go."""
    waiting = await web.ledger.jobs(JOB_WAITING)
    without = Counter(why for job in waiting if (why := web.programs.missing(job.pipeline_id)))
    return [f"{count} job{'s' * (count > 1)} cannot run: {why}" for why, count in without.items()]


def _actors_down(web: Views) -> list[dict[str, Any]]:
    return [row for row in web.snapshot.roster.at_work() if row["state"] in ("parked", "crashed")]


NOT_READY = ResponseSpec(
    str, generate_examples=False, media_type=MediaType.TEXT, description="It would not."
)


@get(
    "/health/ready", opt=OPEN, summary="Would new work be taken?", media_type=MediaType.TEXT,
    responses={503: NOT_READY},
)  # fmt: skip
async def ready(web: State) -> Response[str]:
    """Answer 200 if associations are admitted, else 503."""
    return _text(not why_unready(web))


@get("/health/status", opt=VIEWER, summary="Services and their state")
async def status(web: State) -> dict[str, Any]:
    """Return the number of open associations, the state of every actor, and what is wrong.

    `state` is `unready`, `degraded` or `ready`.
    """
    unready, degraded = why_unready(web), why_degraded(web) + await _jobs_without_program(web)
    names = {"started": "Running", "stopped": "Stopped", "crashed": "Stopped", "parked": "Stopped"}
    actors = web.snapshot.sections["actors"]
    return {
        "state": "unready" if unready else "degraded" if degraded else "ready",
        "activeDimseConnections": web.occupancy.associations,
        "services": {name: names.get(row["state"], "Unknown") for name, row in actors.items()},
        "unreadyBecause": unready,
        "degradedBecause": degraded,
        "platformOutage": web.platform.outage,
        "resultsServiceOutage": _results_service_outage(web),
        "kubernetesOutage": web.measurements.cluster.outage,
        "destinationOutages": dict(web.export_figures.down),
    }


def _results_service_outage(web: Views) -> str:
    return web.results_service.service.outage if web.results_service else ""


def _job_metrics(web: Views) -> list[Metric]:
    return [
        gauges(
            "dicom_adapter_jobs", "Jobs in the ledger by state", "state",
            {str(state): count for state, count in web.ledger.job_counts().items()},
        ),
        counters(
            "dicom_adapter_job_retries", "Failed steps that are tried again, by step", "step",
            web.figures.retries,
        ),
        GaugeMetricFamily(
            "dicom_adapter_ledger_up", "0 while the ledger waits for room",
            value=float(not web.ledger.outage),
        ),
        histograms(
            "dicom_adapter_job_queue_wait_seconds", "How long jobs waited for their turn", "",
            {"": web.figures.waits},
        ),
    ]  # fmt: skip


def _in_hand(web: Views) -> Metric:
    sections = GaugeMetricFamily(
        "dicom_adapter_open", "What is in hand, by kind and state",
        labels=["kind", "state"],
    )  # fmt: skip
    for kind in ("groups", "jobs", "exports", "tasks", "commitments"):
        states: dict[str, int] = {}
        for row in web.snapshot.sections[kind].values():
            states[str(row.get("state"))] = states.get(str(row.get("state")), 0) + 1
        for state, count in sorted(states.items()):
            sections.add_metric([kind, state], count)
    return sections


class _Collector:
    """Reads the metrics off the process's own state when it is asked."""

    def __init__(self, web: Views) -> None:
        self._web = web

    def collect(self) -> list[Metric]:
        """Return all metrics."""
        web = self._web
        return [
            counters("dicom_adapter_events", "Live events by type", "type", web.event_counts),
            _in_hand(web),
            GaugeMetricFamily(
                "dicom_adapter_platform_up", "0 while the platform cannot be used",
                value=float(not web.platform.outage),
            ),
            GaugeMetricFamily(
                "dicom_adapter_results_service_up", "0 while the Results Service is away",
                value=float(not _results_service_outage(web)),
            ),
            GaugeMetricFamily(
                "dicom_adapter_associations", "Open associations as acceptor",
                value=web.occupancy.associations,
            ),
            GaugeMetricFamily(
                "dicom_adapter_associations_max", "Limit of open associations",
                value=web.occupancy.associations_max,
            ),
            gauges(
                "dicom_adapter_receiver_associations", "Associations of a receiver process",
                "receiver", web.receiver_loads(),
            ),
            GaugeMetricFamily(
                "dicom_adapter_half_open", "Connections without an association",
                value=web.occupancy.half_open,
            ),
            GaugeMetricFamily(
                "dicom_adapter_half_open_max", "Room for connections without an association",
                value=web.occupancy.half_open_max,
            ),
            counters(
                "dicom_adapter_rejections", "Rejected associations by rule", "rule",
                web.occupancy.rejections,
            ),
            counters(
                "dicom_adapter_connections_without_request",
                "Connections that brought no A-ASSOCIATE-RQ, by how they ended", "end",
                web.occupancy.without_request,
            ),
            GaugeMetricFamily(
                "dicom_adapter_storage_low", "1 if admission is closed for want of space",
                value=float(web.space.low),
            ),
            *_job_metrics(web),
            *export_metrics(web), *hook_metrics(web), *preview_metrics(web),
            *service_metrics(web), *thread_metrics(), *cluster_metrics(web),
            gauges(
                "dicom_adapter_certificate_expiry_seconds",
                "When a certificate of ours expires, in seconds since 1970", "key",
                web.certificate_expiries(),
            ),
            CounterMetricFamily(
                "dicom_adapter_events_lost", "Events the hub could not take",
                value=web.events_lost(),
            ),
        ]  # fmt: skip


@get("/metrics", opt=VIEWER, summary="OpenMetrics", include_in_schema=False)
async def metrics(web: State, access: Guarding) -> Response[bytes]:
    """Return the metrics in the OpenMetrics text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(web))
    registry.register(AccessCollector(access))
    text = generate_latest(registry)  # type: ignore[no-untyped-call]
    return Response(text, media_type=CONTENT_TYPE_LATEST)


HEALTH = [live, ready, status, metrics]
