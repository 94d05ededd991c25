"""Metrics of how long things take, of actors and their mailboxes, and of the storage.

Labels are AE Titles, destinations and actors that are configured now; those that are gone are not
shown any more, and what a peer calls is never one.
"""

from collections.abc import Iterable, Iterator

import trio
from prometheus_client.core import GaugeMetricFamily, Metric

from adapter.domain.histogram import Histogram
from adapter.domain.roster import Roster
from adapter.domain.service_times import BOUNDS_S
from adapter.domain.views import Views
from adapter.protocols.web.families import counters, gauges, histograms

HISTOGRAMS = (
    (
        "association", "dicom_adapter_association_seconds",
        "Associations as acceptor, from accept to end", "ae_title",
    ),
    (
        "receive", "dicom_adapter_receive_seconds",
        "New instances, from C-STORE-RQ until their status is known", "ae_title",
    ),
    ("group", "dicom_adapter_group_seconds", "Groups, from open to close", "ae_title"),
    (
        "submit", "dicom_adapter_job_submit_seconds",
        "Jobs, from open until the platform has all of them", "ae_title",
    ),
    (
        "run", "dicom_adapter_job_run_seconds",
        "Jobs, from when the platform has all of them until it has completed them", "ae_title",
    ),
    ("export", "dicom_adapter_export_seconds", "Exports, from open to complete", "destination"),
)  # fmt: skip


def _families_of_times(web: Views) -> Iterator[Metric]:
    known = {"ae_title": _ae_titles(web), "destination": sorted(web.export_orders)}
    for what, name, text, label in HISTOGRAMS:
        observed = web.measurements.times.histograms[what]
        none = Histogram(BOUNDS_S[what])
        yield histograms(
            name, text, label, {value: observed.get(value, none) for value in known[label]}
        )


def _ae_titles(web: Views) -> list[str]:
    return sorted({listed.ae_title.strip() for listed in web.listed["aetitle"].values()})


def _mailboxes(roster: Roster, names: Iterable[str]) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "dicom_adapter_mailbox_messages",
        "Messages in a mailbox, and askers that wait to put one in", labels=["actor", "mailbox"],
    )  # fmt: skip
    age = GaugeMetricFamily(
        "dicom_adapter_mailbox_not_empty_seconds",
        "Since a mailbox was last seen empty; nothing in it has waited longer",
        labels=["actor", "mailbox"],
    )  # fmt: skip
    now = trio.current_time()
    for actor in names:
        for name, mailbox in roster.mailboxes(actor).items():
            depth.add_metric([actor, name], mailbox.waiting())
            age.add_metric([actor, name], mailbox.not_empty_s(now))
    yield from (depth, age)


def service_metrics(web: Views) -> list[Metric]:
    """Return the metrics."""
    times, trend, roster = web.measurements.times, web.measurements.trend, web.snapshot.roster
    actors = {row["name"]: row["state"] for row in roster.at_work()}
    return [
        *_families_of_times(web),
        counters(
            "dicom_adapter_received_bytes", "Data sets of new instances", "ae_title",
            {title: times.received_bytes[title] for title in _ae_titles(web)},
        ),
        counters(
            "dicom_adapter_actor_crashes", "Crashes; an actor is restarted or parked", "actor",
            {name: roster.crashes[name] for name in actors},
        ),
        gauges(
            "dicom_adapter_actor_up", "0 while an actor is being restarted, or is parked", "actor",
            {name: float(state == "started") for name, state in actors.items()},
        ),
        *_mailboxes(roster, actors),
        GaugeMetricFamily(
            "dicom_adapter_config_reload_successful",
            "0 if the latest reload of the configuration was refused",
            value=float(web.measurements.reloads.succeeded),
        ),
        GaugeMetricFamily(
            "dicom_adapter_config_reload_timestamp_seconds",
            "When the configuration was read again, in seconds since 1970; 0: never",
            value=web.measurements.reloads.at,
        ),
        GaugeMetricFamily(
            "dicom_adapter_storage_total_bytes", "Size of the file system of storage.root",
            value=trend.total_bytes,
        ),
        GaugeMetricFamily(
            "dicom_adapter_storage_free_bytes", "Free space of the file system of storage.root",
            value=trend.free_bytes,
        ),
        GaugeMetricFamily(
            "dicom_adapter_storage_reserved_bytes", "Below so much free space admission closes",
            value=trend.reserved_bytes,
        ),
        GaugeMetricFamily(
            "dicom_adapter_storage_full_in_seconds",
            "Until admission closes, by a straight line through the last half hour; +Inf: not "
            "foreseeable", value=trend.full_in_s,
        ),
    ]  # fmt: skip
