"""Patient data is in the instances and nowhere else (F112; docs/security.md).

Every text attribute of the dictionary holds a canary; afterwards it is looked for in all that the
adapter says and names: log at debug level, events, every GET, metrics, names of files, ledger.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import trio
from harness import Adapter, eventually
from health import MakeAdapter, unharmed
from pydicom import Dataset
from pydicom.datadict import DicomDictionary
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from trio_websocket import open_websocket_url
from wire import CT, Wire, associate_rq

CANARY = "ZQXKANARI"
DATE, NUMBER = "19010203", "987654321"
CANARIES = (CANARY, CANARY.lower(), DATE, NUMBER)
TEXT = {"PN": f"{CANARY}^JOHN", "LO": CANARY, "SH": CANARY, "ST": CANARY, "LT": CANARY,
        "UT": CANARY, "UC": CANARY, "CS": CANARY, "DA": DATE, "IS": NUMBER, "DS": NUMBER,
        "AE": CANARY, "DT": f"{DATE}000000", "UR": CANARY}  # fmt: skip
ROUTES = ["/api/associations", "/api/groups", "/api/jobs", "/api/exports", "/api/tasks",
          "/api/commitments", "/api/destinations", "/api/audit", "/api/config/claraaetitle",
          "/health/status", "/metrics", "/api/logging"]  # fmt: skip
DICTIONARY = [
    (tag, vr) for tag, (vr, _, _, _, _) in sorted(DicomDictionary.items())
    if vr in TEXT and tag >> 16 not in (0x0000, 0x0002, 0x0004) and tag != 0x00080005
]  # fmt: skip


def encoded(uid: str) -> bytes:
    """Return a data set with a canary wherever one fits."""
    dataset = Dataset()
    for tag, vr in DICTIONARY:
        dataset.add_new(tag, vr, TEXT[vr])
    dataset.add_new(0x00091010, "LO", CANARY)
    nested = Dataset()
    nested.PatientName = f"{CANARY}^NESTED"
    dataset.OtherPatientIDsSequence = [nested]
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{uid}.1", f"{uid}.2"
    target = DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = True, False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_dataset(target, dataset)
    return target.getvalue()


def entity(name: str, **more: Any) -> dict[str, Any]:
    base = {"ae_title": name.upper(), "timeout_s": 1, "pipelines": {"one": "pipe-one"}}
    return {"name": name, **base, **more}


async def events_of(adapter: Adapter) -> str:
    """Return the greeting and every event so far that can be had again."""
    url = f"ws://127.0.0.1:{adapter.api_port}/api/events"
    heard = []
    for query in ("", "?since=0"):
        async with open_websocket_url(url + query, max_message_size=1 << 26) as socket:
            heard.append(await socket.get_message())  # with all that was asked for
            with trio.move_on_after(2):
                while True:
                    heard.append(await socket.get_message())
    return "".join(heard)


def names_below(root: Path) -> str:
    return "\n".join(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.fixture(scope="module")
def adapter(make_shared_adapter: MakeAdapter) -> Adapter:
    """An adapter that has been sent canaries, in ways that are right and in ways that are wrong."""
    adapter = make_shared_adapter(
        {
            "logging": {"level": "debug"},
            "dicom": {"scp": {"reject_unknown_sources": False, "log_dimse_datasets": True,
                              "log_data_pdus": True}},
            "application_entities": [
                entity("main"), entity("bypatient", grouping="0010,0020"),
                entity("strict", required_attributes=["0010,0010", "0018,9999"]),
            ],
            "destinations": [{"name": "away", "ae_title": "AWAY", "host": "127.0.0.1", "port": 1}],
        }
    )  # fmt: skip
    whole = encoded("1.2.3.4")
    broken = [
        whole[: len(whole) // 2], whole.replace(b"LO", b"\0\0"), whole.replace(b"UI", b"ZZ"),
        whole[40:], CANARY.encode() * 1000,
    ]  # fmt: skip
    for number, title in enumerate((b"MAIN", b"BYPATIENT", b"STRICT")):
        uid = f"1.2.3.4.{number}"
        with Wire(adapter.dicom_port) as wire:
            wire.associate(called=title)
            wire.store(uid, encoded(uid))
            wire.release()
        for data in broken:
            with Wire(adapter.dicom_port) as wire:
                wire.associate(called=title)
                wire.store(f"{uid}.9", data)
    eventually(lambda: len(adapter.get("/api/jobs")) >= 2, 20)
    eventually(lambda: not adapter.groups_on_disk(), 20, "nothing is moved any more")
    return adapter


def found_in(text: str) -> list[str]:
    return [f"...{text[max(0, text.index(c) - 200) :][:300]}" for c in CANARIES if c in text]


def test_the_canaries_were_received(adapter: Adapter) -> None:
    with unharmed(adapter):
        stored = [path.read_bytes() for path in adapter.instances("payloads")]
        assert len(stored) >= 2
        assert all(CANARY.encode() in each for each in stored)


def test_none_is_in_the_log(adapter: Adapter) -> None:
    assert any('"dimse.message"' in line for line in adapter.log)
    assert found_in("\n".join(adapter.log)) == []


@pytest.mark.parametrize("route", ROUTES)
def test_none_is_in_an_answer(adapter: Adapter, route: str) -> None:
    status, _, body = adapter.request("GET", route)
    assert status == 200
    assert found_in(body.decode()) == []


def test_none_is_among_the_events(adapter: Adapter) -> None:
    text = trio.run(events_of, adapter)
    assert '"instance.stored"' in text
    assert found_in(text) == []


def test_none_is_in_the_name_of_a_file(adapter: Adapter) -> None:
    assert ".dcm" in names_below(adapter.root)
    assert found_in(names_below(adapter.root)) == []


def test_none_is_in_the_ledger_or_what_platforms_read(adapter: Adapter) -> None:
    files = [p for p in (adapter.root / "ledger").rglob("*") if p.is_file()]
    files += list((adapter.root / "payloads").rglob("job.meta"))
    assert files
    assert [p for p in files if CANARY.encode() in p.read_bytes()] == []


HOSTILE_TITLES = [b'"}\n{"event":"x', b"\x1b[2J\x1b[H", b"a\r\nb", b"../../etc", b"\x00\x01\x02",
                  b"\xff\xfe", b"%s%n{0}", b"$(reboot)", b"<script>"]  # fmt: skip


@pytest.mark.parametrize("title", HOSTILE_TITLES)
def test_hostile_ae_title_forges_nothing(adapter: Adapter, title: bytes) -> None:
    before = len(adapter.log)
    with unharmed(adapter):
        for who in ({"calling": title}, {"called": title}):
            with Wire(adapter.dicom_port) as wire:
                wire.send(associate_rq(**who))
                wire.answer()
        said = eventually(lambda: [x for x in adapter.log[before:] if "association" in x])
    assert all(json.loads(line)["timestamp"] for line in said)
    assert "\x1b" not in "".join(said)
    names = names_below(adapter.root)
    assert not [word for word in ("etc", "script", "reboot", "\x1b") if word in names]
