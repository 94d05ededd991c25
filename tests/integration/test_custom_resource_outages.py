"""Custom resources while the API server, or the adapter, is away, refuses, or is another one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import entity_calls
import pytest
from entity_calls import AE_TITLES, SOURCES
from harness import Adapter, eventually
from health import MakeAdapter
from kubernetes_server import ApiServer
from resource_calls import BRAIN, accepted, answer_to, outage, row, settings


@pytest.fixture
def cluster() -> Iterator[ApiServer]:
    with ApiServer().running() as server:
        yield server


@pytest.fixture
def adapter(make_adapter: MakeAdapter, cluster: ApiServer, tmp_path: Path) -> Adapter:
    """An adapter that follows the cluster, and has one AE Title MAIN of its file."""
    return make_adapter(settings(cluster, tmp_path))


# --- outages

ODD_ANSWERS = (b"<html>", b'{"type": "ADDED", "object": 1}', b'{"metadata": {}, "items": [1]}')


def lists_of_sources(cluster: ApiServer) -> int:
    return len([path for _, path, _ in cluster.calls if "/sources?limit=" in path])


def test_watch_goes_on_after_a_cut_and_begins_anew_when_it_is_too_old(
    adapter: Adapter, cluster: ApiServer
) -> None:
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    accepted(cluster, "sources", "ct1")
    cluster.cut()
    cluster.apply("sources", "ct2", aeTitle="CT2", host="10.1.2.4")
    accepted(cluster, "sources", "ct2")
    assert lists_of_sources(cluster) == 1
    cluster.forget()
    cluster.apply("sources", "ct3", aeTitle="CT3", host="10.1.2.5")
    accepted(cluster, "sources", "ct3")
    assert lists_of_sources(cluster) == 2
    assert sorted(entity_calls.names(adapter, SOURCES)) == ["ct1", "ct2", "ct3"]


def test_cluster_that_is_away_removes_nothing_and_is_told(
    adapter: Adapter, cluster: ApiServer
) -> None:
    cluster.apply("aetitles", "brain", **BRAIN)
    accepted(cluster, "aetitles", "brain")
    cluster.stop()
    eventually(lambda: outage(adapter))
    health = adapter.get("/health/status")
    assert health["state"] == "degraded"
    assert "custom resources cannot be followed" in health["degradedBecause"][0]
    assert adapter.metrics("dicom_adapter_kubernetes_up") == {"": 0.0}
    assert adapter.request("GET", "/health/ready")[0] == 200
    assert answer_to(adapter, b"BRAIN")[0] == "accept"
    cluster.delete("aetitles", "brain")
    cluster.start()
    eventually(lambda: not outage(adapter), 20)
    eventually(lambda: not row(adapter, AE_TITLES, "brain"))
    counts = adapter.metrics("dicom_adapter_events")
    assert (counts["kubernetes.lost"], counts["kubernetes.reached"]) == (1, 1)


def test_adapter_starts_without_its_cluster(
    make_adapter: MakeAdapter, cluster: ApiServer, tmp_path: Path
) -> None:
    cluster.stop()
    adapter = make_adapter(settings(cluster, tmp_path))
    assert answer_to(adapter, b"MAIN")[0] == "accept"
    eventually(lambda: outage(adapter))
    cluster.apply("aetitles", "brain", **BRAIN)
    cluster.start()
    accepted(cluster, "aetitles", "brain")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda cluster: cluster.forbidden.add(("get", "sources")), "403 for sources"),
        (lambda cluster: cluster.missing.add("sources"), "is the CustomResourceDefinition"),
    ],
    ids=["forbidden", "not defined"],
)
def test_one_kind_that_cannot_be_watched_holds_up_no_other(
    make_adapter: MakeAdapter, cluster: ApiServer, tmp_path: Path, fault: Any, words: str
) -> None:
    fault(cluster)
    cluster.apply("aetitles", "brain", **BRAIN)
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    adapter = make_adapter(settings(cluster, tmp_path))
    accepted(cluster, "aetitles", "brain")
    assert words in outage(adapter)
    assert not row(adapter, SOURCES, "ct1")
    cluster.forbidden.clear()
    cluster.missing.clear()
    accepted(cluster, "sources", "ct1")
    eventually(lambda: not outage(adapter))


def test_status_that_may_not_be_written_is_told(
    make_adapter: MakeAdapter, cluster: ApiServer, tmp_path: Path
) -> None:
    cluster.forbidden.add(("patch", "status"))
    cluster.apply("aetitles", "brain", **BRAIN)
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    adapter = make_adapter(settings(cluster, tmp_path))
    eventually(lambda: row(adapter, AE_TITLES, "brain") and row(adapter, SOURCES, "ct1"))
    eventually(lambda: "403 for" in outage(adapter))
    cluster.forbidden.clear()
    accepted(cluster, "aetitles", "brain")
    eventually(lambda: not outage(adapter))


def test_answers_of_something_else_are_an_outage_and_no_crash(
    adapter: Adapter, cluster: ApiServer
) -> None:
    odd = iter(ODD_ANSWERS)
    served: list[bytes] = []

    def answer(method: str, path: str) -> tuple[int, bytes] | None:
        if body := next(odd, b""):
            served.append(body)
        return (200, body) if body else None

    cluster.answer = answer
    cluster.cut()  # each kind is asked for again, and one answer is for each
    eventually(lambda: len(served) == len(ODD_ANSWERS), 20)
    eventually(lambda: not outage(adapter), 30)
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    accepted(cluster, "sources", "ct1")


def test_long_lists_come_in_pages(
    make_adapter: MakeAdapter, cluster: ApiServer, tmp_path: Path
) -> None:
    cluster.page = 2
    for number in range(5):
        cluster.apply("sources", f"ct{number}", aeTitle=f"CT{number}", host="10.1.2.3")
    adapter = make_adapter(settings(cluster, tmp_path))
    for number in range(5):
        accepted(cluster, "sources", f"ct{number}")
    assert len(entity_calls.names(adapter, SOURCES)) == 5


# --- restarts


def test_restart_keeps_entities_and_hears_what_was_missed(
    adapter: Adapter, cluster: ApiServer
) -> None:
    cluster.apply("aetitles", "brain", **BRAIN)
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    cluster.apply("sources", "ct2", aeTitle="CT2", host="10.1.2.4")
    for name in ("ct1", "ct2"):
        accepted(cluster, "sources", name)
    accepted(cluster, "aetitles", "brain")
    adapter.kill()
    cluster.delete("sources", "ct1")
    cluster.tear_out("sources", "ct2")
    cluster.apply("aetitles", "brain", **BRAIN | {"timeoutS": 3})
    adapter.start()
    accepted(cluster, "aetitles", "brain")
    eventually(lambda: not entity_calls.names(adapter, SOURCES))
    eventually(lambda: ("sources", "ct1") not in cluster.objects)
    assert row(adapter, AE_TITLES, "brain")["timeoutS"] == 3


def test_what_is_not_followed_any_more_is_for_rest(
    make_adapter: MakeAdapter, cluster: ApiServer, tmp_path: Path
) -> None:
    adapter = make_adapter(settings(cluster, tmp_path) | {"shutdown": {"deadline_s": 120}})
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    accepted(cluster, "sources", "ct1")
    assert adapter.stop(60) == 0  # no watch holds it up
    adapter.settings["kubernetes"]["watch_custom_resources"] = False
    adapter.start()
    assert row(adapter, SOURCES, "ct1")["origin"] == "kubernetes"
    assert adapter.metrics("dicom_adapter_kubernetes_up") == {}
    assert entity_calls.call(adapter, "DELETE", f"{SOURCES}/ct1")[0] == 200
    assert not row(adapter, SOURCES, "ct1")


def test_kubeconfig_that_is_not_there_is_an_outage(
    make_adapter: MakeAdapter, cluster: ApiServer, tmp_path: Path
) -> None:
    changes = settings(cluster, tmp_path, kubeconfig=str(tmp_path / "none"))
    adapter = make_adapter(changes)
    eventually(lambda: "credentials" in outage(adapter))
    assert answer_to(adapter, b"MAIN")[0] == "accept"
