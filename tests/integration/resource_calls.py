"""What people see of custom resources, in the cluster and at the adapter."""

from pathlib import Path
from typing import Any

import entity_calls
from harness import Adapter, eventually
from kubernetes_server import NAMESPACE, ApiServer
from wire import Wire, associate_rq

BRAIN = {"aeTitle": "BRAIN", "timeoutS": 1, "pipelines": {"seg": "pipe"}}


def settings(cluster: ApiServer, folder: Path, **more: Any) -> dict[str, Any]:
    """Return what has an adapter follow the cluster."""
    return {
        "kubernetes": {
            "watch_custom_resources": True, "namespace": NAMESPACE, "retry_s": 0.5,
            "kubeconfig": str(cluster.kubeconfig(folder)), "answer_s": 10,
        } | more,
    }  # fmt: skip


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
