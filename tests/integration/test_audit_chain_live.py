"""The audit trail of a running adapter: its chain, and who had the configuration read again."""

import json
from pathlib import Path
from typing import Any

import pytest
from harness import Adapter, eventually, run_cli
from health import MakeAdapter
from test_reload import hang_up, reload, write

from adapter.store.diskcache_engine import DiskcacheEngine


def verify(adapter: Adapter, *more: str) -> tuple[int, str]:
    done = run_cli("audit", "verify", "--url", adapter.url, *more)
    return done.returncode, done.stderr or done.stdout


def export(adapter: Adapter) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run_cli("audit", "--json", "--url", adapter.url).stdout)
    return rows


def order_some(adapter: Adapter) -> None:
    for number in range(4):
        assert adapter.request("POST", f"/api/jobs/none-{number}/retry")[0] == 404


def test_trail_of_a_running_adapter_is_verified_over_a_kill(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    order_some(adapter)
    adapter.kill()
    adapter.start()
    order_some(adapter)
    code, said = verify(adapter)
    assert (code, said.splitlines()[0]) == (0, "9 entries, unbroken")
    (line, *_) = adapter.events("audit.recorded")
    assert line["hash"] in {f"{row['seq']}:{row['hash']}" for row in export(adapter)}
    assert verify(adapter, "--expect", line["hash"])[0] == 0
    code, said = verify(adapter, "--expect", f"3:{'0' * 64}")
    assert (code, said) == (1, f"entry 3:{'0' * 64} is not among the 9 entries\n")


def test_entry_that_was_changed_in_the_ledger_is_named(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    order_some(adapter)
    adapter.stop()
    engine = DiskcacheEngine(adapter.root / "ledger")
    row = dict(engine.load())["audit/order/3"]
    assert b"none-1" in row
    engine.write([("audit/order/3", row.replace(b"none-1", b"none-9"))])
    adapter.start()
    assert verify(adapter) == (
        1, "entry 3 (order) is not what it was when entry 4 came behind it\n",
    )  # fmt: skip


def test_export_carries_its_chain(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    adapter = make_adapter()
    order_some(adapter)
    rows = export(adapter)
    file = tmp_path / "export.json"
    for left_out, code, said in (
        (None, 0, "5 entries, unbroken"),
        (2, 1, "entry 3 (order) is missing; entry 4 came behind it"),
    ):
        file.write_text(json.dumps([row for row in rows if row["seq"] - 1 != left_out]))
        done = run_cli("audit", "verify", str(file))
        assert (done.returncode, (done.stderr or done.stdout).splitlines()[0]) == (code, said)


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}', '[{"seq": "x"}]', "null"])
def test_what_is_no_export_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "export.json"
    file.write_text(text)
    done = run_cli("audit", "verify", str(file))
    assert done.returncode == 2
    assert done.stderr == f"{file}: is no export of an audit trail\n"


def of_configuration(adapter: Adapter) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = adapter.get("/api/audit?kind=configuration")
    return [row for row in rows if row["action"].startswith("configuration")]


def test_signal_is_told_at_once_with_what_has_changed(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    write(adapter, {"platform": {"max_retries": 7}, "dicom": {"scp": {"max_pdu": 65536}}})
    hang_up(adapter)
    told = eventually(lambda: of_configuration(adapter)[1:], 10, "it is told")
    assert [(row["who"], row["before"], row["after"]) for row in told] == [
        ("SIGHUP", {"platform.max_retries": "3"}, {"platform.max_retries": "7"})
    ]
    adapter.stop()
    adapter.start()
    row = of_configuration(adapter)[-1]
    assert (row["who"], row["after"]) == ("start", {"dicom.scp.max_pdu": "65536"})


def test_file_and_orders_are_told_by_their_names(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    write(adapter, {"platform": {"max_retries": 7}})
    (row,) = eventually(lambda: of_configuration(adapter)[1:], 15, "the file")
    assert row["who"] == "file change"
    write(adapter, {"platform": {"max_retries": 8}})
    assert reload(adapter)[0] == 200  # at once: the file is looked at every other second
    row = of_configuration(adapter)[-1]
    assert (row["who"], row["after"]) == ("anybody", {"platform.max_retries": "8"})
    write(adapter, {"platform": {"max_retries": -1}})
    hang_up(adapter)
    refused = eventually(lambda: [row for row in of_configuration(adapter)
                                  if row["action"] == "configuration refused"])  # fmt: skip
    assert refused[0]["who"] == "SIGHUP"
    (why,) = refused[0]["after"]["problems"]
    assert "platform.max_retries = -1" in why
