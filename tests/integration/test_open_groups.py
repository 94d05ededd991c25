"""Open groups go on after a kill or a stop with the time they have left (F56, F82)."""

import time
from pathlib import Path

from harness import Adapter, eventually, pass_time
from health import MakeAdapter
from wire import Wire, data_set

QUIET_S, SLACK_S = 8, 3
LONG_S = 600


def with_quiet_time(make_adapter: MakeAdapter, quiet_s: float = QUIET_S) -> Adapter:
    return make_adapter({
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": quiet_s, "pipelines": {"one": "pipe"}
        }]
    })  # fmt: skip


def store(adapter: Adapter, uid: str, study: str = "1.2.3") -> float:
    """Store an instance; return the time of its answer."""
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store(uid, data_set(uid, study=study)) == ("response", 0)
        answered = time.monotonic()
        wire.release()
    return answered


def payloads(adapter: Adapter, count: int) -> list[Path]:
    def enough() -> list[Path]:
        found = adapter.payload_folders()
        return found if len(found) >= count else []

    return eventually(enough, QUIET_S + 5, f"{count} job folders")


def test_group_closes_after_a_kill_when_it_would_have_closed(make_adapter: MakeAdapter) -> None:
    adapter = with_quiet_time(make_adapter)
    last = store(adapter, "1.2.3.1")
    pass_time(SLACK_S)
    adapter.kill()
    adapter.start()
    payloads(adapter, 1)
    assert QUIET_S - 0.5 < time.monotonic() - last < QUIET_S + SLACK_S


def test_instance_after_a_kill_joins_the_same_group(make_adapter: MakeAdapter) -> None:
    adapter = with_quiet_time(make_adapter)
    store(adapter, "1.2.3.1")
    adapter.kill()
    adapter.start()
    last = store(adapter, "1.2.3.2")
    assert len(adapter.groups_on_disk()) == 1
    payloads(adapter, 1)
    assert QUIET_S - 0.5 < time.monotonic() - last < QUIET_S + SLACK_S
    assert len(list(adapter.instances("payloads"))) == 2


def test_group_that_fell_due_while_down_closes_at_once(make_adapter: MakeAdapter) -> None:
    adapter = with_quiet_time(make_adapter)
    last = store(adapter, "1.2.3.1")
    adapter.kill()
    pass_time(last + QUIET_S + 0.2 - time.monotonic())
    adapter.start()
    started = time.monotonic()
    payloads(adapter, 1)
    assert time.monotonic() - started < SLACK_S


def test_stop_keeps_the_open_group_for_the_next_start(make_adapter: MakeAdapter) -> None:
    adapter = with_quiet_time(make_adapter)
    last = store(adapter, "1.2.3.1")
    assert adapter.stop() == 0
    assert len(adapter.groups_on_disk()) == 1
    adapter.start()
    payloads(adapter, 1)
    assert QUIET_S - 0.5 < time.monotonic() - last < QUIET_S + SLACK_S


def test_groups_view_shows_the_time_left_after_a_restart(make_adapter: MakeAdapter) -> None:
    adapter = with_quiet_time(make_adapter, LONG_S)
    store(adapter, "1.2.3.1")
    pass_time(2)
    adapter.kill()
    adapter.start()
    (group,) = adapter.get("/api/groups")
    assert group["instances"] == 1
    assert group["leftS"] < LONG_S - 2 + 0.5, "a restart gives no time back"
