"""The Helm chart, rendered by Helm and judged by the schemas of Kubernetes and by the adapter."""

import re
from collections.abc import Callable, Iterator, Mapping
from math import ceil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from adapter import __version__
from adapter.configuration import load
from adapter.domain.custom_resources import GROUP, PLURALS
from adapter.gateway import FAREWELL_S

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "dicom-adapter"
KUBERNETES = "1.30"
Document = dict[str, Any]
Render = Callable[..., dict[tuple[str, str], Document]]
FULL: Mapping[str, Any] = {
    "image": {"repository": "images.example.org/dicom-adapter", "digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": ["pull"],
    "config": {
        "application_entities": [{"name": "ct", "ae_title": "CT", "pipelines": {"one": "one"}}],
        "sources": [{"ae_title": "CT1", "host": "10.1.2.0/24"}],
        "dicom": {"scp": {"port": 104, "max_associations": 7}},
    },
    "secretVariables": [
        {"name": "DICOM_ADAPTER__PLATFORM__HTTP__API_KEY", "secretName": "p", "secretKey": "k"}
    ],
    "secretFiles": ["tls"],
    "customResources": {"enabled": True},
    "api": {"auth": "api-key"},
    "dicom": {"tlsPort": 2762},
    "service": {
        "type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "annotations": {"example.org/internal": "true"},
    },
    "persistence": {"storageClassName": "fast", "annotations": {"example.org/backup": "daily"}},
    "shutdown": {"association_grace_s": 5, "deadline_s": 99.5},
    "networkPolicy": {"api": [{"namespaceSelector": {}}]},
    "monitoring": {"serviceMonitor": True},
    "volumes": [{"name": "drop", "emptyDir": {}}],
    "volumeMounts": [{"name": "drop", "mountPath": "/drop"}],
    "podAnnotations": {"example.org/a": "b"},
    "podLabels": {"team": "imaging"},
    "nodeSelector": {"disk": "nvme"},
    "tolerations": [{"key": "imaging", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "imaging",
}  # fmt: skip
SMALL: Mapping[str, Any] = {
    "persistence": {"existingClaim": "mine"},
    "networkPolicy": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "serviceAccount": {"create": False},
    "service": {"type": "NodePort", "nodePort": 30104},
}


@pytest.fixture
def render(helm: ModuleType) -> Iterator[Render]:
    """Render the chart with values; return its documents by kind and name."""
    with helm.Chart.load(str(CHART)) as chart:

        def rendered(values: Mapping[str, Any] | None = None) -> dict[tuple[str, str], Document]:
            files = chart.render(dict(values or {}), name="pacs", namespace="imaging")
            documents = [
                document
                for path, text in files.items()
                if path.endswith(".yaml")
                for document in yaml.safe_load_all(text)
                if document
            ]
            return {(one["kind"], one["metadata"]["name"]): one for one in documents}

        yield rendered


@pytest.fixture(params=[{}, FULL, SMALL], ids=["defaults", "full", "small"])
def documents(request: pytest.FixtureRequest, render: Render) -> dict[tuple[str, str], Document]:
    """The chart with different values."""
    return render(request.param)


def pod_of(documents: dict[tuple[str, str], Document]) -> Document:
    return documents["StatefulSet", "pacs-dicom-adapter"]["spec"]["template"]["spec"]


def configuration_of(documents: dict[tuple[str, str], Document], file: Path) -> Any:
    data = documents["ConfigMap", "pacs-dicom-adapter"]["data"]
    file.write_text(data["adapter.yaml"])
    return load(file, {}).settings


def test_chart_has_nothing_to_lint(helm: ModuleType) -> None:
    found = helm.lint(str(CHART))
    serious = [one for one in found["messages"] if "icon is recommended" not in one["error"]]
    assert (serious, found["errors"]) == ([], [])


def test_documents_are_what_kubernetes_takes(
    documents: dict[tuple[str, str], Document], kubernetes: ModuleType
) -> None:
    for (kind, _), document in documents.items():
        if kind != "ServiceMonitor":  # a resource of the Prometheus operator
            kubernetes.validate(document, KUBERNETES, strict=True)


def test_pod_may_do_nothing_but_its_work(documents: dict[tuple[str, str], Document]) -> None:
    pod = pod_of(documents)
    has_role = ("Role", "pacs-dicom-adapter") in documents
    assert pod["automountServiceAccountToken"] is has_role
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]) == {"requests", "limits"}
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)


def test_user_is_that_of_the_image(documents: dict[tuple[str, str], Document]) -> None:
    recipe = (CHART.parents[1] / "container" / "Containerfile").read_text()
    user, group = re.search(r"^USER (\d+):(\d+)$", recipe, re.MULTILINE).groups()  # type: ignore[union-attr]
    context = pod_of(documents)["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))


def test_configuration_is_one_that_the_adapter_takes(
    documents: dict[tuple[str, str], Document], tmp_path: Path
) -> None:
    settings = configuration_of(documents, tmp_path / "adapter.yaml")
    ports = {
        port["name"]: port["containerPort"] for port in pod_of(documents)["containers"][0]["ports"]
    }
    assert settings.dicom.scp.port == ports["dicom"]
    assert settings.api.port == ports["api"]
    mounts = {mount["mountPath"] for mount in pod_of(documents)["containers"][0]["volumeMounts"]}
    assert settings.storage.root in mounts


def test_pod_is_not_killed_while_it_drains(
    documents: dict[tuple[str, str], Document], tmp_path: Path
) -> None:
    settings = configuration_of(documents, tmp_path / "adapter.yaml")
    drain_s = settings.shutdown.deadline_s + FAREWELL_S
    assert pod_of(documents)["terminationGracePeriodSeconds"] >= ceil(drain_s) + 5


def test_there_is_one_replica_and_one_writer(documents: dict[tuple[str, str], Document]) -> None:
    assert documents["StatefulSet", "pacs-dicom-adapter"]["spec"]["replicas"] == 1
    claims = [one for (kind, _), one in documents.items() if kind == "PersistentVolumeClaim"]
    assert [claim["spec"]["accessModes"] for claim in claims] in ([], [["ReadWriteOnce"]])


def test_values_reach_their_places(render: Render, tmp_path: Path) -> None:
    documents = render(FULL)
    settings = configuration_of(documents, tmp_path / "adapter.yaml")
    assert settings.dicom.scp.max_associations == 7
    assert settings.application_entities[0].ae_title == "CT"
    (container,) = pod_of(documents)["containers"]
    assert container["image"].endswith(f"@sha256:{'0' * 64}")
    assert container["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "p", "key": "k"}
    assert {"name": "secret-tls", "mountPath": "/run/secrets/tls", "readOnly": True} in (
        container["volumeMounts"]
    )
    service = documents["Service", "pacs-dicom-adapter"]["spec"]
    assert [port["port"] for port in service["ports"]] == [104, 2762]
    assert service["externalTrafficPolicy"] == "Local"
    assert ("ServiceMonitor", "pacs-dicom-adapter") in documents


def test_a_change_of_the_configuration_makes_a_new_pod(render: Render) -> None:
    def checksum(values: Mapping[str, Any]) -> str:
        template = render(values)["StatefulSet", "pacs-dicom-adapter"]["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/config"]

    assert checksum({}) == checksum({"resources": {"limits": {"memory": "4Gi"}}})
    assert checksum({}) != checksum(FULL)


def test_nobody_reaches_the_api_unless_named(render: Render) -> None:
    policy = "NetworkPolicy", "pacs-dicom-adapter"
    named = [rule["ports"] for rule in render()[policy]["spec"]["ingress"]]
    assert named == [[{"port": "dicom"}]]
    named = [rule["ports"] for rule in render(FULL)[policy]["spec"]["ingress"]]
    assert named == [[{"port": "dicom"}, {"port": "dicom-tls"}], [{"port": "api"}]]


def test_small_has_nothing_that_was_declined(render: Render) -> None:
    documents = render(SMALL)
    assert {kind for kind, _ in documents} == {"ConfigMap", "Service", "StatefulSet"}
    assert pod_of(documents)["serviceAccountName"] == "default"
    volumes = pod_of(documents)["volumes"]
    assert {"name": "storage", "persistentVolumeClaim": {"claimName": "mine"}} in volumes


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 2},
        {"dicom": {"port": 104}},
        {"image": {"repository": "a", "digest": "latest"}},
        {"persistence": {"size": "big"}},
        {"shutdown": {"deadline_s": 0, "association_grace_s": 0}},
        {"secretVariables": [{"name": "lower", "secretName": "s", "secretKey": "k"}]},
    ],
)
def test_wrong_values_are_refused(helm: ModuleType, values: Mapping[str, Any]) -> None:
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(dict(FULL))
        with pytest.raises(helm.HelmError):
            chart.validate_schema(dict(values))


def test_every_value_is_in_the_schema_and_in_the_values() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())["properties"]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema) - {"global"} == set(values)
    for name, part in values.items():
        if "properties" in schema[name] and name != "config":
            assert set(part) == set(schema[name]["properties"]), name


def test_cluster_is_left_alone_unless_its_resources_are_wanted(render: Render) -> None:
    kinds = {kind for kind, _ in render()}
    assert not kinds & {"CustomResourceDefinition", "Role", "RoleBinding", "ClusterRole"}
    kinds = {kind for kind, _ in render({"customResources": {"enabled": True}})}
    assert kinds >= {"CustomResourceDefinition", "Role", "RoleBinding"}
    assert "ClusterRole" not in kinds
    without = {"customResources": {"enabled": True, "definitions": False}}
    assert "CustomResourceDefinition" not in {kind for kind, _ in render(without)}


def test_role_is_for_what_the_adapter_asks_and_for_its_account(render: Render) -> None:
    documents = render({"customResources": {"enabled": True}})
    name = "pacs-dicom-adapter"
    rules = documents["Role", name]["rules"]
    granted = {
        (resource, verb)
        for rule in rules
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    plurals = set(PLURALS.values())
    verbs = {(plural, verb) for plural in plurals for verb in ("list", "watch", "patch")}
    assert granted == verbs | {(f"{plural}/status", "patch") for plural in plurals}
    assert {group for rule in rules for group in rule["apiGroups"]} == {GROUP}
    (subject,) = documents["RoleBinding", name]["subjects"]
    assert subject["name"] == pod_of(documents)["serviceAccountName"]
    assert subject["namespace"] == "imaging"


def test_adapter_follows_the_namespace_of_the_release(render: Render, tmp_path: Path) -> None:
    documents = render({"customResources": {"enabled": True}})
    settings = configuration_of(documents, tmp_path / "adapter.yaml").kubernetes
    assert (settings.watch_custom_resources, settings.namespace) == (True, "imaging")
    settings = configuration_of(render(), tmp_path / "adapter.yaml").kubernetes
    assert not settings.watch_custom_resources


def test_definitions_outlive_the_release(render: Render) -> None:
    documents = render({"customResources": {"enabled": True}})
    definitions = [one for (kind, _), one in documents.items() if kind.startswith("CustomRes")]
    assert len(definitions) == len(PLURALS)
    for one in definitions:
        assert one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_api_key_is_asked_for_when_it_is_wanted(render: Render, tmp_path: Path) -> None:
    settings = configuration_of(render(FULL), tmp_path / "adapter.yaml")
    assert settings.api.auth == "api-key"
    (container,) = pod_of(render(FULL))["containers"]
    probes = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness")}
    probes.add(container["readinessProbe"]["httpGet"]["path"])
    assert probes == {"/health/live", "/health/ready"}  # these need no key


def test_chart_is_of_this_version() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
