"""Custom resources of Kubernetes, in an API server of our own over real HTTP, and the real program.

Clara scenarios T-335 to T-347, T-384, T-385 as far as they say something about behaviour.
"""

from collections.abc import Iterator
from typing import Any

import entity_calls
import pytest
from entity_calls import AE_TITLES, DESTINATIONS, SOURCES
from harness import Adapter, eventually
from health import MakeAdapter, unharmed
from kubernetes_server import ApiServer
from resource_calls import BRAIN, accepted, answer_to, outage, row, settings, told
from wire import Wire, data_set

PACS = {"aeTitle": "PACS", "host": "127.0.0.1", "port": 104}
KEPT = "what was accepted before stays"


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[ApiServer]:
    with ApiServer().running() as server:
        yield server


@pytest.fixture(scope="module")
def shared_adapter(
    make_shared_adapter: MakeAdapter,
    shared_cluster: ApiServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Adapter:
    """An adapter that follows the cluster, and has one AE Title MAIN of its file."""
    return make_shared_adapter(settings(shared_cluster, tmp_path_factory.mktemp("cluster")))


@pytest.fixture
def cluster(shared_cluster: ApiServer) -> Iterator[ApiServer]:
    """The cluster, which has no resource before and after."""
    yield shared_cluster
    for plural, name in list(shared_cluster.objects):
        shared_cluster.delete(plural, name)
    eventually(lambda: not shared_cluster.objects, 30)


@pytest.fixture
def adapter(shared_adapter: Adapter, cluster: ApiServer) -> Iterator[Adapter]:
    with unharmed(shared_adapter, called=b"MAIN"):
        yield shared_adapter


def jobs(adapter: Adapter) -> list[Any]:
    return [one for one in adapter.get("/api/jobs") if one["aeTitle"] == "BRAIN"]


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
    assert answer_to(adapter, b"BRAIN")[0] == "accept"
    assert adapter.get("/health/status")["degradedBecause"] == []
    assert adapter.metrics("dicom_adapter_kubernetes_up") == {"": 1.0}


def test_change_of_a_spec_changes_what_runs(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("aetitles", "brain", **BRAIN)
    accepted(cluster, "aetitles", "brain")
    cluster.apply("aetitles", "brain", **BRAIN | {"timeoutS": 7})
    accepted(cluster, "aetitles", "brain")
    assert cluster.status("aetitles", "brain")["observedGeneration"] == 2
    assert row(adapter, AE_TITLES, "brain")["timeoutS"] == 7
    entry = adapter.get("/api/audit?kind=configuration")[-1]
    assert (entry["who"], entry["action"]) == ("kubernetes", "custom resource: change")
    assert (entry["path"], entry["after"]) == ("aetitles/brain", {"timeout_s": 7.0})


def test_status_is_written_once_for_each_change(adapter: Adapter, cluster: ApiServer) -> None:
    cluster.apply("sources", "once", aeTitle="CT1", host="10.1.2.3")
    accepted(cluster, "sources", "once")
    cluster.apply("sources", "twice", aeTitle="CT2", host="10.1.2.4")
    accepted(cluster, "sources", "twice")
    watches = len([call for call in cluster.calls if "watch=true" in call[1]])
    cluster.cut()
    eventually(
        lambda: len([call for call in cluster.calls if "watch=true" in call[1]]) >= watches + 3
    )
    cluster.apply("sources", "last", aeTitle="CT3", host="10.1.2.5")
    accepted(cluster, "sources", "last")  # so all has been looked at since the cut
    patches = [path for method, path, _ in cluster.calls if method == "PATCH"]
    assert len([path for path in patches if path.endswith("/once/status")]) == 1


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
    before = len(jobs(adapter))
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"BRAIN")
        cluster.delete("aetitles", "brain")
        told(cluster, "aetitles", "brain", "is being removed; it goes when its work is done")
        assert wire.store("1.2.2", data_set("1.2.2", study="1.8")) == ("response", 0)
        assert row(adapter, AE_TITLES, "brain")["state"] == "draining"
    eventually(lambda: len(jobs(adapter)) > before)
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
    before = adapter.metrics("dicom_adapter_events").get("kubernetes.refused", 0)
    cluster.apply(plural, "x", **spec)
    told(cluster, plural, "x", words)
    eventually(lambda: adapter.metrics("dicom_adapter_events")["kubernetes.refused"] == before + 1)
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
