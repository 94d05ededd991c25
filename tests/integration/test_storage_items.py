"""What lies on the storage and what keeps it there; what cannot be deleted harms nobody."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import Adapter, eventually, run_cli
from health import MakeAdapter, missing
from wire import Wire, data_set

CHATTR = "/usr/bin/chattr"
ENTITIES = [
    {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"one": "pipe-one"}},
    {"name": "slow", "ae_title": "SLOW", "timeout_s": 600, "pipelines": {"one": "pipe-one"}},
]


def send(adapter: Adapter, uid: str, title: bytes = b"MAIN") -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=title)
        assert wire.store(uid, data_set(uid, study=f"{uid}.1")) == ("response", 0)
        wire.release()


def items(adapter: Adapter, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = adapter.get(f"/api/storage/items{query}")
    return found


def pages(adapter: Adapter, query: str) -> list[str]:
    """Follow the links from page to page; each says how many rows there are in all."""
    path, found, totals = f"/api/storage/items{query}", list[str](), set[str]()
    while path:
        status, headers, body = adapter.request("GET", path)
        assert status == 200
        told = {name.lower(): value for name, value in headers.items()}
        found += [row["id"] for row in json.loads(body)]
        totals.add(told["x-total-count"])
        path, _, relation = told.get("link", "").partition(">; ")
        assert relation in ("", 'rel="next"')
        path = path.removeprefix("<")
    assert totals == {str(len(found))}
    return found


def finish(adapter: Adapter, job: str) -> None:
    (adapter.root / "payloads" / job / "output" / "job.done").touch()


def test_items_say_what_keeps_them(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"application_entities": ENTITIES})
    send(adapter, "1.2.1")
    send(adapter, "1.2.2", b"SLOW")
    eventually(lambda: len(adapter.payload_folders()) == 1, 10)
    eventually(lambda: [i["why"] for i in items(adapter)][:1] == ["the job is Starting"], 10)
    job, group = items(adapter)
    assert (job["kind"], job["goes"], job["instances"]) == ("job", "no", 1)
    assert (group["kind"], group["goes"], group["aeTitle"]) == ("group", "no", "SLOW")
    finish(adapter, job["id"])
    eventually(lambda: items(adapter)[0]["goes"] == "when space is low", 15)
    done = items(adapter)[0]
    assert done["why"] == "storage.retention.completed_s"
    assert datetime.fromisoformat(done["until"]) > datetime.now(UTC)
    assert [item["id"] for item in items(adapter, "?goes=no")] == [group["id"]]
    assert items(adapter, "?limit=1&offset=1")[0]["id"] == group["id"]
    assert pages(adapter, "?limit=1") == [job["id"], group["id"]]
    assert pages(adapter, "?limit=1&goes=no") == [group["id"]]
    assert adapter.request("GET", "/api/storage/items?goes=perhaps")[0] == 400
    assert run_cli("jobs", "hold", done["id"], "--url", adapter.url).returncode == 0
    assert (items(adapter)[0]["goes"], items(adapter)[0]["why"]) == ("no", "an operator holds it")
    assert run_cli("jobs", "release", done["id"], "--url", adapter.url).returncode == 0
    shown = run_cli("storage", "--url", adapter.url)
    assert "storage.retention.completed_s" in shown.stdout
    rows = json.loads(run_cli("storage", "--json", "--goes", "no", "--url", adapter.url).stdout)
    assert [row["id"] for row in rows] == [group["id"]]


def test_what_cannot_be_deleted_is_put_aside_and_the_rest_goes_on(
    make_adapter: MakeAdapter,
) -> None:
    """Also over a start: a file that nobody may delete once was what a start fell over."""
    adapter = make_adapter({
        "application_entities": ENTITIES,
        "storage": {"retention": {"completed_s": 0, "faulted_s": 0}},
    })  # fmt: skip
    send(adapter, "1.2.1")
    (folder,) = eventually(adapter.payload_folders, 10)
    kept = folder / "output" / "kept"
    kept.write_text("result")
    if subprocess.run([CHATTR, "+i", str(kept)], check=False, capture_output=True).returncode:
        missing("this file system has no immutable files")
    try:
        eventually(lambda: items(adapter)[0]["state"] == "Starting", 10)
        finish(adapter, folder.name)
        eventually(lambda: [item["kind"] for item in items(adapter)] == ["quarantined"], 15)
        (item,) = items(adapter)
        assert item["id"] == f"payloads-{folder.name}"
        assert item["why"] == "cannot be deleted: Operation not permitted"
        assert adapter.payload_folders() == []
        found = adapter.root / "quarantine" / item["id"] / "found"
        assert (found / "output" / "kept").read_text() == "result"
        send(adapter, "1.2.2")
        eventually(lambda: len(adapter.payload_folders()) == 1, 10, "the next one")
        unfinished = adapter.root / "payloads" / ".job-left"
        adapter.kill()
        found.rename(unfinished)
        adapter.start()
        # The kill may have come between the next job's folder and the end of its group.
        eventually(lambda: len(items(adapter, "?goes=no")) == 3)
        assert not unfinished.exists()
    finally:
        for path in Path(adapter.root).rglob("kept"):
            subprocess.run([CHATTR, "-i", str(path)], check=True)


def test_folder_that_cannot_even_be_moved_is_tried_again(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({
        "application_entities": ENTITIES,
        "storage": {"retention": {"completed_s": 0, "faulted_s": 0}},
    })  # fmt: skip
    send(adapter, "1.2.1")
    (folder,) = eventually(adapter.payload_folders, 10)
    eventually(lambda: items(adapter)[0]["state"] == "Starting", 10)
    if subprocess.run([CHATTR, "+i", str(folder)], check=False, capture_output=True).returncode:
        missing("this file system has no immutable folders")
    try:
        finish(adapter, folder.name)  # from here on it is tried
        eventually(lambda: items(adapter)[0]["goes"] == "now", 15)
        eventually(lambda: "Operation not permitted" in items(adapter)[0]["why"], 15)
        eventually(lambda: adapter.events("payload.not_removed"))
        assert adapter.alive()
    finally:
        subprocess.run([CHATTR, "-i", str(folder)], check=True)
    eventually(lambda: not items(adapter), 15, "it is gone")
    assert len(adapter.events("payload.not_removed")) == 1, "told once, however often it is tried"
