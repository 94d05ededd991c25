"""A full disk: 0xA700, nothing partial, works again when space is there (F59, F60)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Adapter, eventually, fill
from health import MakeAdapter
from wire import EXPLICIT, Wire, data_set, echo_works, explicit, split_part10

MB = 1 << 20
INSTANCE_BYTES = 3 * MB
OUT_OF_RESOURCES = ("response", 0xA700)


@pytest.fixture
def adapter(small_disk: Path, make_adapter: MakeAdapter) -> Iterator[Adapter]:
    adapter = make_adapter(
        {
            "storage": {"root": str(small_disk / "root")},
            "application_entities": [
                {"name": "main", "ae_title": "MAIN", "timeout_s": 60, "pipelines": {"one": "one"}}
            ],
        }
    )
    yield adapter
    adapter.kill()


def large(uid: str) -> bytes:
    return data_set(uid, tail=explicit(0x7FE00010, b"OW", bytes(INSTANCE_BYTES)))


def whole(adapter: Adapter) -> list[str]:
    """Return the UIDs of instances under final names; each must be complete."""
    uids = []
    for path in adapter.instances("incoming"):
        meta, data = split_part10(path.read_bytes())
        assert meta[0x00020010].rstrip(b"\0").decode() == EXPLICIT
        assert data == large(path.stem)
        uids.append(path.stem)
    return sorted(uids)


def test_full_disk_answers_out_of_resources_and_recovers(
    adapter: Adapter, small_disk: Path
) -> None:
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.3.1", large("1.2.3.1")) == ("response", 0)
        filler = fill(small_disk, leave=INSTANCE_BYTES // 2)
        assert wire.store("1.2.3.2", large("1.2.3.2")) == OUT_OF_RESOURCES
        assert wire.store("1.2.3.3", large("1.2.3.3")) == OUT_OF_RESOURCES
        assert wire.echo() == ("response", 0)
        assert echo_works(adapter.dicom_port)
        eventually(lambda: not list((adapter.root / "incoming" / ".part").iterdir()))
        assert whole(adapter) == ["1.2.3.1"]
        filler.unlink()
        assert wire.store("1.2.3.2", large("1.2.3.2")) == ("response", 0)
    assert whole(adapter) == ["1.2.3.1", "1.2.3.2"]
    assert adapter.request("GET", "/health/live")[0] == 200


def test_disk_without_a_single_byte_answers_and_lives(adapter: Adapter, small_disk: Path) -> None:
    filler = fill(small_disk, leave=0)
    for number in range(3):
        with Wire(adapter.dicom_port) as wire:
            wire.associate()
            uid = f"1.2.3.{number}"
            assert wire.store(uid, large(uid)) == OUT_OF_RESOURCES
    assert whole(adapter) == []
    filler.unlink()
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.3.9", large("1.2.3.9")) == ("response", 0)


def test_group_that_falls_due_on_a_full_disk_becomes_a_job_later(
    small_disk: Path, make_adapter: MakeAdapter
) -> None:
    adapter = make_adapter({"storage": {"root": str(small_disk / "root")}})
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.3.1", large("1.2.3.1")) == ("response", 0)
        filler = fill(small_disk, leave=0)
    eventually(lambda: not list((adapter.root / "incoming").glob("group-*")), 10, "it closes")
    assert adapter.alive()
    filler.unlink()
    eventually(adapter.payload_folders, 45, "it becomes a job once there is space")
    assert echo_works(adapter.dicom_port)
    adapter.kill()
