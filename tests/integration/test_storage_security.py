"""What others see of the storage, and that nothing a sender says leaves it by a planted link."""

import stat
from pathlib import Path

from harness import eventually
from health import MakeAdapter
from wire import Wire, data_set

REFUSED = ("response", 0xA700)
STORED = ("response", 0)
SETTINGS = {
    "application_entities": [
        {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"one": "pipe-one"}},
        {"name": "slow", "ae_title": "SLOW", "timeout_s": 600, "pipelines": {"one": "pipe-one"}},
    ]
}


def test_nobody_else_sees_anything_and_nothing_can_be_executed(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter(SETTINGS)
    with Wire(adapter.dicom_port) as wire:
        wire.associate()
        assert wire.store("1.2.1", data_set("1.2.1")) == STORED
        wire.release()
    eventually(lambda: adapter.payload_folders() and not adapter.groups_on_disk(), 10)
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"SLOW")
        assert wire.store("1.2.2", data_set("1.2.2")) == STORED
        wire.release()
    adapter.kill()  # nothing goes while it is looked at
    secret = adapter.root / "ledger"
    assert {path.name for path in secret.iterdir()} >= {"cache.db", "cache.db-wal"}
    for path in [adapter.root, *adapter.everything()]:
        mode = path.lstat().st_mode
        if path.is_relative_to(secret):  # passwords of destinations
            assert mode & 0o077 == 0, path
        if stat.S_ISDIR(mode):
            assert mode & 0o007 == 0, path
        else:
            assert mode & 0o111 == 0, path
        if path.suffix == ".dcm":
            assert stat.S_IMODE(mode) == 0o440
            assert path.read_bytes()[:128] == bytes(128)


def test_planted_link_leads_nothing_out_of_the_root(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    precious = tmp_path / "precious"
    precious.write_text("precious")
    adapter = make_adapter(SETTINGS)
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"SLOW")
        assert wire.store("1.2.1", data_set("1.2.1", study="1.2.3")) == STORED
        (group,) = adapter.groups_on_disk()
        (group / "dcm" / "1.2.3" / "1.2.9").symlink_to(outside)
        answer = wire.store("1.2.2", data_set("1.2.2", study="1.2.3", series="1.2.9"))
        assert answer == REFUSED
        assert wire.store("1.2.3", data_set("1.2.3", study="1.2.3", series="1.2.8")) == STORED
        wire.release()
    assert list(outside.iterdir()) == []
    adapter.kill()
    (outside / "group.json").write_bytes((group / "group.json").read_bytes())
    (adapter.root / "incoming" / "group-planted").symlink_to(outside)
    (adapter.root / "payloads" / "job-planted").symlink_to(outside)
    for name in (".probe", "ledger/.reserve"):
        (adapter.root / name).unlink(missing_ok=True)
        (adapter.root / name).symlink_to(precious)
    adapter.start()
    assert [path.name for path in adapter.groups_on_disk()] == [group.name]
    assert adapter.payload_folders() == []
    assert precious.read_text() == "precious"
    assert [path.name for path in outside.iterdir()] == ["group.json"]
