"""/metrics and /health as a monitoring system sees them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import REPOSITORY, Adapter, eventually, run_cli
from health import MakeAdapter
from metric_reference import metrics
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from pydicom.data import get_testdata_file
from wire import Wire, associate_rq

CT_SMALL = str(get_testdata_file("CT_small.dcm"))
UNUSED = {"name": "nowhere", "ae_title": "NOWHERE", "host": "127.0.0.1", "port": 1}
OTHER = {"name": "other", "ae_title": "OTHER AET", "pipelines": {"one": "pipe-one"}}


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Adapter:
    main = {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"one": "pipe-one"}}
    return make_adapter({"application_entities": [main, OTHER], "destinations": [UNUSED]})


def families(adapter: Adapter) -> dict[str, Metric]:
    status, headers, body = adapter.request("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("application/openmetrics-text")
    parsed: Iterator[Metric] = text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call]
    return {family.name: family for family in parsed}


def value(adapter: Adapter, sample: str, **labels: str) -> float:
    (found,) = [
        one.value
        for family in families(adapter).values()
        for one in family.samples
        if one.name == f"dicom_adapter_{sample}" and one.labels == labels
    ]
    return float(found)


def test_figures_follow_what_happens(adapter: Adapter) -> None:
    assert value(adapter, "receive_seconds_count", ae_title="MAIN") == 0
    assert run_cli("send", adapter.destination("MAIN"), CT_SMALL).returncode == 0
    of_main = {"ae_title": "MAIN"}
    eventually(lambda: value(adapter, "receive_seconds_count", **of_main) == 1)
    assert value(adapter, "receive_seconds_sum", **of_main) > 0
    assert value(adapter, "received_bytes_total", **of_main) > 10_000
    eventually(lambda: value(adapter, "association_seconds_count", **of_main) == 1)
    eventually(lambda: value(adapter, "group_seconds_count", **of_main) == 1)
    assert value(adapter, "group_seconds_sum", **of_main) >= 1
    eventually(lambda: value(adapter, "job_submit_seconds_count", **of_main) == 1)
    assert value(adapter, "receive_seconds_count", ae_title="OTHER AET") == 0
    assert value(adapter, "storage_free_bytes") > value(adapter, "storage_reserved_bytes")
    assert value(adapter, "actor_up", actor="entity:main") == 1
    orders = {"actor": "submitter", "mailbox": "orders"}
    assert value(adapter, "mailbox_messages", **orders) == 0
    assert value(adapter, "mailbox_not_empty_seconds", **orders) == 0
    assert value(adapter, "actor_crashes_total", actor="submitter") == 0


def test_labels_come_from_the_configuration_and_counters_never_fall(adapter: Adapter) -> None:
    before = families(adapter)
    for title in (b"MADEUP", b'X"} 1\n#'):
        with Wire(adapter.dicom_port) as wire:
            wire.send(associate_rq(called=title, calling=title))
            reply = wire.read_pdu()
            assert reply is not None
            assert reply[0] == 3  # A-ASSOCIATE-RJ
    assert run_cli("send", adapter.destination("MAIN"), CT_SMALL).returncode == 0
    eventually(lambda: value(adapter, "group_seconds_count", ae_title="MAIN") == 1)
    after = families(adapter)
    for name, family in before.items():
        if family.type not in ("counter", "histogram"):
            continue
        now = {(s.name, tuple(s.labels.items())): s.value for s in after[name].samples}
        for sample in family.samples:
            assert now[sample.name, tuple(sample.labels.items())] >= sample.value
    labels = {
        (key, label)
        for family in after.values()
        for sample in family.samples
        for key, label in sample.labels.items()
    }
    assert {label for key, label in labels if key == "ae_title"} == {"MAIN", "OTHER AET"}
    assert {label for key, label in labels if key == "destination"} == {"nowhere"}
    assert not [label for _, label in labels if "MADEUP" in label or "X" in label]


def metrics_named_in(text: str) -> set[str]:
    return set(re.findall(r"dicom_adapter_[a-z_]+", text))


def samples_of(adapter: Adapter) -> set[str]:
    """Return every sample name there is, also of families without one now."""
    suffixes = {
        "counter": ("_total",),
        "histogram": ("_bucket", "_count", "_sum"),
        "gauge": ("",),
    }
    return {
        f"{name}{suffix}"
        for name, family in families(adapter).items()
        for suffix in suffixes[family.type]
    }


def test_metrics_are_what_their_page_says(adapter: Adapter) -> None:
    assert run_cli("send", adapter.destination("MAIN"), CT_SMALL).returncode == 0
    eventually(lambda: value(adapter, "group_seconds_count", ae_title="MAIN") == 1)
    told = {metric.name: metric for metric in metrics()}
    for name, family in families(adapter).items():
        assert (family.type, family.documentation) == (told[name].type, told[name].help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(told[name].labels), name


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "prometheus-alerts.yaml"])
def test_every_metric_that_is_watched_exists(adapter: Adapter, name: str) -> None:
    text = (REPOSITORY / "config" / name).read_text()
    named = metrics_named_in(text)
    assert len(named) > 5
    assert named <= samples_of(adapter)


def test_alerts_and_dashboard_are_what_their_readers_expect() -> None:
    folder: Path = REPOSITORY / "config"
    (group,) = yaml.safe_load((folder / "prometheus-alerts.yaml").read_text())["groups"]
    for rule in group["rules"]:
        assert {"alert", "expr", "labels", "annotations"} <= set(rule)
        assert rule["labels"]["severity"] in ("warning", "critical")
    board: dict[str, Any] = yaml.safe_load((folder / "grafana-dashboard.json").read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) > 5


def test_status_keeps_claras_words_and_says_how_it_is(adapter: Adapter) -> None:
    status = adapter.get("/health/status")
    assert status["activeDimseConnections"] == 0
    assert status["services"]["entity:main"] == "Running"
    assert (status["state"], status["unreadyBecause"]) == ("ready", [])


def test_draining_is_unready_and_alive(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"shutdown": {"association_grace_s": 100, "deadline_s": 120}})
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        adapter.terminate()
        eventually(lambda: adapter.request("GET", "/health/ready")[0] == 503)
        assert adapter.get("/health/status")["unreadyBecause"][0] == "stopping"
        assert adapter.request("GET", "/health/live")[0] == 200
    assert adapter.wait() == 0
