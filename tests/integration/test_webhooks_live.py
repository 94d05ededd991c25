"""Webhooks against a server of our own words: signed, in order, again, and in nobody's way."""

from pathlib import Path
from typing import Any

import pytest
from harness import Adapter, eventually
from health import MakeAdapter
from hook_server import SECRET, HookServer
from wire import Wire


@pytest.fixture
def hook() -> HookServer:
    return HookServer()


def telling(
    make_adapter: MakeAdapter, folder: Path, *hooks: HookServer, start: bool = True, **keys: Any
) -> Adapter:
    (folder / "secret").write_text(SECRET + "\n")
    one = {"secret_file": str(folder / "secret"), "answer_s": 2, "connect_s": 2, **keys}
    webhooks = [{"name": f"hook-{n}", "url": hook.url, **one} for n, hook in enumerate(hooks)]
    return make_adapter({"webhooks": webhooks}, start=start)


def store(adapter: Adapter, *uids: str) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        for uid in uids:
            assert wire.store(uid) == ("response", 0)
        wire.release()


def test_events_come_signed_in_order_and_by_topic(
    make_adapter: MakeAdapter, tmp_path: Path, hook: HookServer
) -> None:
    with hook.running():
        adapter = telling(make_adapter, tmp_path, hook, topics=["group", "job", "instance"])
        store(adapter, "1.2.3.1", "1.2.3.2")
        eventually(lambda: "job.opened" in hook.kinds())
        numbers = [message["seq"] for message in hook.messages()]
        assert numbers == sorted(set(numbers))
        assert {kind.partition(".")[0] for kind in hook.kinds()} == {"group", "job", "instance"}
        assert hook.unsigned == []
        identity, messages = hook.deliveries[-1]
        assert identity.rpartition(":")[2] == str(messages[-1]["seq"])
        eventually(lambda: adapter.metrics("dicom_adapter_webhook_up") == {"hook-0": 1.0})


def test_what_fails_is_tried_again_and_what_is_refused_is_given_up(
    make_adapter: MakeAdapter, tmp_path: Path, hook: HookServer
) -> None:
    hook.statuses = [500, 429, 400]
    with hook.running():
        adapter = telling(make_adapter, tmp_path, hook, topics=["job"])
        store(adapter, "1.2.3.1")
        eventually(lambda: hook.statuses == [])
        (first,) = set(hook.refused)  # the same delivery each time
        eventually(lambda: adapter.events("webhook.given_up"))
        store(adapter, "1.2.4.1")
        eventually(lambda: "job.opened" in hook.kinds())
        assert first not in [identity for identity, _ in hook.deliveries]


def test_server_that_is_away_hears_it_later(
    make_adapter: MakeAdapter, tmp_path: Path, hook: HookServer
) -> None:
    adapter = telling(make_adapter, tmp_path, hook, topics=["job", "group"])
    store(adapter, "1.2.3.1")
    failed = eventually(lambda: adapter.events("webhook.failed"))
    assert "no connection" in failed[0]["why"]
    assert adapter.metrics("dicom_adapter_webhook_up") == {"hook-0": 0.0}
    with hook.running():
        eventually(lambda: {"group.opened", "job.opened"} <= hook.kinds())
        numbers = [message["seq"] for message in hook.messages()]
        assert numbers == sorted(set(numbers))


def test_one_that_hangs_holds_up_nobody_and_no_stop(
    make_adapter: MakeAdapter, tmp_path: Path, hook: HookServer
) -> None:
    hung = HookServer()
    hung.hangs.clear()
    with hook.running(), hung.running():
        adapter = telling(make_adapter, tmp_path, hook, hung, answer_s=600)
        store(adapter, "1.2.3.1")
        eventually(lambda: "job.opened" in hook.kinds())
        assert adapter.stop() == 0


def test_file_without_a_secret_is_refused_at_the_start(
    make_adapter: MakeAdapter, tmp_path: Path, hook: HookServer
) -> None:
    adapter = telling(make_adapter, tmp_path, hook, start=False)
    (tmp_path / "secret").unlink()
    with pytest.raises(AssertionError, match=r"webhooks\[0\]\.secret_file: No such file"):
        adapter.start()
