"""Open groups go on after a kill or a stop with the time they have left (F56, F82)."""

import time
from pathlib import Path

from harness import Adapter, eventually, pass_time
from health import MakeAdapter
from wire import Wire, data_set

QUIET_S, WAITED_S = 8, 4
"""What is not waited for is slack for a busy machine."""
LONG_S = 600


def with_quiet_time(make_adapter: MakeAdapter, quiet_s: float = QUIET_S) -> Adapter:
    return make_adapter({
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": quiet_s, "pipelines": {"one": "pipe"}
        }]
    })  # fmt: skip


def store(adapter: Adapter, uid: str, study: str = "1.2.3") -> float:
    """Store an instance; return a time before it arrived."""
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        begun = time.monotonic()
        assert wire.store(uid, data_set(uid, study=study)) == ("response", 0)
        wire.release()
    return begun


def payloads(adapter: Adapter, count: int) -> list[Path]:
    def enough() -> list[Path]:
        found = adapter.payload_folders()
        return found if len(found) >= count else []

    return eventually(enough, QUIET_S + 5, f"{count} job folders")


def start_again(adapter: Adapter) -> float:
    """Start the adapter, however long that takes; return since when it runs."""
    adapter.start()
    return time.monotonic()


def test_group_closes_after_a_kill_when_it_would_have_closed(make_adapter: MakeAdapter) -> None:
    adapter = with_quiet_time(make_adapter)
    begun = store(adapter, "1.2.3.1")
    pass_time(WAITED_S)
    adapter.kill()
    started = start_again(adapter)
    payloads(adapter, 1)
    closed = time.monotonic()
    assert closed - begun > QUIET_S - 0.1  # times of files are coarse
    assert closed - started < QUIET_S - 1, "a restart gives no time back"


def test_instance_after_a_kill_joins_the_same_group(make_adapter: MakeAdapter) -> None:
    """Its time is long, so that no slow start is late for it."""
    adapter = with_quiet_time(make_adapter, LONG_S)
    store(adapter, "1.2.3.1")
    pass_time(2)
    adapter.kill()
    adapter.start()
    begun = store(adapter, "1.2.3.2")
    assert len(adapter.groups_on_disk()) == 1
    (group,) = eventually(
        lambda: [row for row in adapter.get("/api/groups") if row["instances"] == 2]
    )
    left_s = LONG_S - (time.monotonic() - begun)
    assert left_s - 1 < group["leftS"] <= LONG_S, "its time is that of the latest instance"
    assert adapter.request("POST", f"/api/groups/{group['id']}/close")[0] == 204
    payloads(adapter, 1)
    assert len(list(adapter.instances("payloads"))) == 2


def test_group_that_fell_due_while_down_closes_at_once(make_adapter: MakeAdapter) -> None:
    adapter = with_quiet_time(make_adapter)
    store(adapter, "1.2.3.1")
    adapter.kill()
    pass_time(QUIET_S + 0.2)
    started = start_again(adapter)
    payloads(adapter, 1)
    assert time.monotonic() - started < QUIET_S - 1


def test_stop_keeps_the_open_group_for_the_next_start(make_adapter: MakeAdapter) -> None:
    adapter = with_quiet_time(make_adapter)
    begun = store(adapter, "1.2.3.1")
    pass_time(WAITED_S)
    assert adapter.stop() == 0
    assert len(adapter.groups_on_disk()) == 1
    started = start_again(adapter)
    payloads(adapter, 1)
    closed = time.monotonic()
    assert closed - begun > QUIET_S - 0.1
    assert closed - started < QUIET_S - 1, "nor does a stop"


def test_groups_view_shows_the_time_left_after_a_restart(make_adapter: MakeAdapter) -> None:
    adapter = with_quiet_time(make_adapter, LONG_S)
    store(adapter, "1.2.3.1")
    pass_time(2)
    adapter.kill()
    adapter.start()
    (group,) = adapter.get("/api/groups")
    assert group["instances"] == 1
    assert group["leftS"] < LONG_S - 2 + 0.5, "a restart gives no time back"
