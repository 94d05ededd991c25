"""Custom resources of Kubernetes, in an API server of our own over real HTTP, and the real program.

Clara scenarios T-335 to T-347, T-384, T-385 as far as they say something about behaviour.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import entity_calls
import pytest
from dicom_peers import free_port
from entity_calls import AE_TITLES, DESTINATIONS, SOURCES
from harness import Adapter, eventually, run_cli
from health import MakeAdapter
from kubernetes_server import NAMESPACE, ApiServer
from wire import Wire, associate_rq, data_set

BRAIN = {"aeTitle": "BRAIN", "timeoutS": 1, "pipelines": {"seg": "pipe"}}
PACS = {"aeTitle": "PACS", "host": "127.0.0.1", "port": 104}
KEPT = "what was accepted before stays"


@pytest.fixture
def cluster() -> Iterator[ApiServer]:
    with ApiServer().running() as server:
        yield server


def settings(cluster: ApiServer, folder: Path, **more: Any) -> dict[str, Any]:
    """Return what has an adapter follow the cluster."""
    return {
        "kubernetes": {
            "watch_custom_resources": True, "namespace": NAMESPACE, "retry_s": 0.5,
            "kubeconfig": str(cluster.kubeconfig(folder)), "answer_s": 10,
        } | more,
    }  # fmt: skip


@pytest.fixture
def adapter(make_adapter: MakeAdapter, cluster: ApiServer, tmp_path: Path) -> Adapter:
    """An adapter that follows the cluster, and has one AE Title MAIN of its file."""
    return make_adapter(settings(cluster, tmp_path))


def row(adapter: Adapter, route: str, name: str) -> dict[str, Any]:
    """Return one as REST shows it; empty: there is none."""
    status, found, _ = entity_calls.call(adapter, "GET", f"{route}/{name}")
    return dict(found) if status == 200 else {}


def answer_to(adapter: Adapter, called: bytes) -> Any:
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(called=called))
        return wire.answer()


def accepted(cluster: ApiServer, plural: str, name: str) -> None:
    eventually(lambda: cluster.is_accepted(plural, name), what=f"{cluster.status(plural, name)}")


def told(cluster: ApiServer, plural: str, name: str, words: str) -> None:
    """Wait until a resource is not accepted, and says so."""

    def is_told() -> bool:
        status = cluster.status(plural, name)
        return not status.get("accepted", True) and words in status["message"]

    eventually(is_told, what=f"{words!r} in the status of {name}")


def outage(adapter: Adapter) -> str:
    return str(adapter.get("/health/status")["kubernetesOutage"])


# --- made, changed, removed


def test_resources_become_entities_that_work(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("aetitles", "brain", **BRAIN, destinations=["pacs"])
    told(cluster, "aetitles", "brain", "'pacs' is not among the destinations")
    cluster.apply("sources", "ct1", aeTitle="CT1", hostIp="10.1.2.3")
    cluster.apply("destinations", "pacs", **PACS)
    for plural, name in (("aetitles", "brain"), ("sources", "ct1"), ("destinations", "pacs")):
        accepted(cluster, plural, name)
    assert cluster.status("aetitles", "brain")["message"] == "in use"
    for route, name in ((AE_TITLES, "brain"), (SOURCES, "ct1"), (DESTINATIONS, "pacs")):
        assert (row(adapter, route, name)["origin"], row(adapter, route, name)["state"]) == (
            "kubernetes", "running",
        )  # fmt: skip
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        assert wire.store("1.2.1", data_set("1.2.1", study="1.9")) == ("response", 0)
    job = eventually(lambda: adapter.get("/api/jobs"))[0]
    assert (job["aeTitle"], job["pipeline"]) == ("BRAIN", "seg")
    assert adapter.get("/health/status")["degradedBecause"] == []
    assert adapter.metrics("dicom_adapter_kubernetes_up") == {"": 1.0}


def test_change_of_a_spec_changes_what_runs(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("aetitles", "brain", **BRAIN)
    accepted(cluster, "aetitles", "brain")
    cluster.apply("aetitles", "brain", **BRAIN | {"timeoutS": 7})
    accepted(cluster, "aetitles", "brain")
    assert cluster.status("aetitles", "brain")["observedGeneration"] == 2
    assert row(adapter, AE_TITLES, "brain")["timeoutS"] == 7


def test_status_is_written_once_for_each_change(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    accepted(cluster, "sources", "ct1")
    cluster.apply("sources", "ct2", aeTitle="CT2", host="10.1.2.4")
    accepted(cluster, "sources", "ct2")
    cluster.cut()
    watches = len([call for call in cluster.calls if "watch=true" in call[1]])
    eventually(
        lambda: len([call for call in cluster.calls if "watch=true" in call[1]]) >= watches + 3
    )
    patches = [path for method, path, _ in cluster.calls if method == "PATCH"]
    assert len([path for path in patches if path.endswith("/ct1/status")]) == 1


def test_deleted_resource_takes_its_entity_with_it(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("aetitles", "brain", **BRAIN)
    accepted(cluster, "aetitles", "brain")
    assert cluster.objects["aetitles", "brain"]["metadata"]["finalizers"]
    cluster.delete("aetitles", "brain")
    eventually(lambda: not row(adapter, AE_TITLES, "brain"))
    eventually(lambda: ("aetitles", "brain") not in cluster.objects)
    assert answer_to(adapter, b"BRAIN")[0] == "reject"


def test_removal_waits_for_work_and_says_so(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("aetitles", "brain", **BRAIN)
    accepted(cluster, "aetitles", "brain")
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        cluster.delete("aetitles", "brain")
        told(cluster, "aetitles", "brain", "is being removed; it goes when its work is done")
        assert wire.store("1.2.1", data_set("1.2.1", study="1.9")) == ("response", 0)
        assert row(adapter, AE_TITLES, "brain")["state"] == "draining"
    eventually(lambda: adapter.get("/api/jobs"))
    eventually(lambda: ("aetitles", "brain") not in cluster.objects)
    assert not row(adapter, AE_TITLES, "brain")


def test_what_others_name_stays_until_they_do_not(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("destinations", "pacs", **PACS)
    accepted(cluster, "destinations", "pacs")
    ours = {"name": "ours", "aeTitle": "OURS", "pipelines": {"one": "p"}, "destinations": ["pacs"]}
    entity_calls.make(adapter, AE_TITLES, ours)
    cluster.delete("destinations", "pacs")
    told(cluster, "destinations", "pacs", "cannot be removed: AE Title 'ours'")
    assert row(adapter, DESTINATIONS, "pacs")["state"] == "running"
    assert entity_calls.call(adapter, "DELETE", f"{AE_TITLES}/ours")[0] == 200
    eventually(lambda: ("destinations", "pacs") not in cluster.objects)
    assert not row(adapter, DESTINATIONS, "pacs")


def test_everything_deleted_at_once_goes_in_its_order(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("destinations", "pacs", **PACS)
    cluster.apply("aetitles", "brain", **BRAIN, destinations=["pacs"])
    accepted(cluster, "aetitles", "brain")
    cluster.delete("destinations", "pacs")
    cluster.delete("aetitles", "brain")
    eventually(lambda: not cluster.objects)
    assert not row(adapter, DESTINATIONS, "pacs")


def test_resource_torn_out_takes_its_entity_too(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    accepted(cluster, "sources", "ct1")
    cluster.tear_out("sources", "ct1")
    eventually(lambda: not row(adapter, SOURCES, "ct1"))


# --- refused


@pytest.mark.parametrize(
    ("plural", "spec", "words"),
    [
        ("aetitles", BRAIN | {"aeTitle": "SEVENTEEN-LETTERS"}, "aeTitle"),
        ("aetitles", BRAIN | {"timeoutz": 1}, "timeoutz: unknown key"),
        ("aetitles", BRAIN | {"name": "other"}, "name: is that of the resource, 'x'"),
        ("aetitles", BRAIN | {"aeTitle": "MAIN"}, "aeTitle: 'MAIN' is used"),
        ("sources", {"aeTitle": "CT1"}, "host: is missing"),
        ("destinations", PACS | {"port": 0}, "port = 0"),
        (
            "destinations",
            {"type": "dicomweb", "url": "https://a.example", "authentication": "bearer",
             "token": "secret-in-the-open"},
            "token: secrets are not for resources",
        ),
        (
            "destinations",
            {"type": "dicomweb", "url": "https://a.example", "authentication": "bearer",
             "tokenFile": "/etc/shadow"},
            "tokenFile: is for the configuration file only",
        ),
    ],
)  # fmt: skip
def test_wrong_spec_is_refused_as_rest_does(
    adapter: Adapter, cluster: ApiServer, plural: str, spec: dict[str, Any], words: str
) -> None:
    cluster.apply(plural, "x", **spec)
    told(cluster, plural, "x", words)
    assert adapter.metrics("dicom_adapter_events")["kubernetes.refused"] == 1
    assert "secret-in-the-open" not in "\n".join(adapter.log)
    assert "secret-in-the-open" not in str(cluster.status(plural, "x"))
    cluster.delete(plural, "x")
    eventually(lambda: not cluster.objects)
    assert outage(adapter) == ""


def test_wrong_change_leaves_what_was_accepted(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("aetitles", "brain", **BRAIN)
    accepted(cluster, "aetitles", "brain")
    cluster.apply("aetitles", "brain", **BRAIN | {"timeoutS": -1})
    told(cluster, "aetitles", "brain", KEPT)
    assert row(adapter, AE_TITLES, "brain")["timeoutS"] == 1
    cluster.apply("aetitles", "brain", **BRAIN | {"aeTitle": "OTHER"})
    told(cluster, "aetitles", "brain", "cannot be changed; remove it and make another one")
    assert answer_to(adapter, b"BRAIN")[0] == "accept"


def test_what_rest_or_the_file_has_made_is_theirs(adapter: Adapter, cluster: ApiServer) -> None:
    entity_calls.make(adapter, SOURCES, {"name": "ct1", "aeTitle": "CT1", "host": "10.1.2.3"})
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.9.9.9")
    told(cluster, "sources", "ct1", "'ct1' was made over REST; change or remove it there")
    cluster.apply("aetitles", "main", **BRAIN)
    told(cluster, "aetitles", "main", "'main' is of the configuration file; change it there")
    assert row(adapter, SOURCES, "ct1")["host"] == "10.1.2.3"
    assert entity_calls.call(adapter, "DELETE", f"{SOURCES}/ct1")[0] == 200
    accepted(cluster, "sources", "ct1")
    assert row(adapter, SOURCES, "ct1")["host"] == "10.9.9.9"


def test_what_a_resource_has_made_is_not_changed_over_rest(
    adapter: Adapter, cluster: ApiServer
) -> None:
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    accepted(cluster, "sources", "ct1")
    for method, body in (("PUT", {"aeTitle": "CT1", "host": "10.9.9.9"}), ("DELETE", None)):
        status, answer, _ = entity_calls.call(adapter, method, f"{SOURCES}/ct1", body)
        assert status == 409
        assert "made by a custom resource of Kubernetes" in str(answer)
    assert row(adapter, SOURCES, "ct1")["host"] == "10.1.2.3"


# --- outages


def test_changes_while_a_watch_is_cut_are_not_missed(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    accepted(cluster, "sources", "ct1")
    cluster.cut()
    cluster.apply("sources", "ct2", aeTitle="CT2", host="10.1.2.4")
    accepted(cluster, "sources", "ct2")
    lists = [path for _, path, _ in cluster.calls if "limit=" in path and "/sources" in path]
    assert len(lists) == 1


def test_version_that_is_forgotten_means_a_new_list(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    accepted(cluster, "sources", "ct1")
    cluster.forget()
    cluster.apply("sources", "ct2", aeTitle="CT2", host="10.1.2.4")
    accepted(cluster, "sources", "ct2")
    lists = [path for _, path, _ in cluster.calls if "limit=" in path and "/sources" in path]
    assert len(lists) == 2
    assert row(adapter, SOURCES, "ct1")["state"] == "running"


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


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>a proxy</html>", b"[]", b'{"items": 1}', b'{"metadata": {}, "items": [1]}'],
)
def test_answers_of_something_else_are_an_outage_and_no_crash(
    make_adapter: MakeAdapter, cluster: ApiServer, tmp_path: Path, body: bytes
) -> None:
    cluster.answer = lambda method, path: (200, body)
    adapter = make_adapter(settings(cluster, tmp_path))
    eventually(lambda: outage(adapter))
    cluster.answer = lambda method, path: None
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
    assert ("sources", "ct1") not in cluster.objects
    assert row(adapter, AE_TITLES, "brain")["timeoutS"] == 3


def test_what_is_not_followed_any_more_is_for_rest(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    accepted(cluster, "sources", "ct1")
    assert adapter.stop() == 0
    adapter.settings["kubernetes"]["watch_custom_resources"] = False
    adapter.start()
    assert row(adapter, SOURCES, "ct1")["origin"] == "kubernetes"
    assert adapter.metrics("dicom_adapter_kubernetes_up") == {}
    assert entity_calls.call(adapter, "DELETE", f"{SOURCES}/ct1")[0] == 200
    assert not row(adapter, SOURCES, "ct1")


def test_stop_waits_for_no_watch(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("sources", "ct1", aeTitle="CT1", host="10.1.2.3")
    accepted(cluster, "sources", "ct1")
    assert adapter.stop(8) == 0


def test_kubeconfig_that_is_not_there_is_an_outage(
    make_adapter: MakeAdapter, cluster: ApiServer, tmp_path: Path
) -> None:
    changes = settings(cluster, tmp_path, kubeconfig=str(tmp_path / "none"))
    adapter = make_adapter(changes)
    eventually(lambda: "credentials" in outage(adapter))
    assert free_port()
    assert run_cli("config", "check", str(adapter.file)).returncode == 0
