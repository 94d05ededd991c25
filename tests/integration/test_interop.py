"""Every peer that Debian has, in both directions, with real files: what is stored is what was sent.

Peers that keep the bytes they receive are compared byte by byte; those that decode and encode anew
by the values of all elements. What a peer refuses or spoils is named here, with the reason.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import (
    GDCMSCU,
    ODIL,
    PIXELMED,
    dcmtk_storescp,
    ended,
    orthanc,
    pixelmed_scp,
    run_peer,
    run_program,
)
from harness import Adapter, eventually, run_cli
from health import MakeAdapter
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from sample_files import Sample, decoded, rounds, samples

DEFLATED = "1.2.840.10008.1.2.1.99"
COLOR_PALETTE = "1.2.840.10008.5.1.4.39.1"
HERE = "127.0.0.1"
FEW = (
    "CT_small.dcm", "MR_small.dcm", "SC_rgb_jpeg_gdcm.dcm", "examples_jpeg2k.dcm",
    "waveform_ecg.dcm",
)  # fmt: skip
"""Instances no peer objects to."""


@pytest.fixture(scope="module")
def found() -> list[Sample]:
    """Return samples with distinct SOP Instance UIDs."""
    return rounds(samples())[0]


@pytest.fixture(scope="module")
def few(found: list[Sample]) -> list[Sample]:
    chosen = [sample for sample in found if sample.path.name in FEW]
    assert len(chosen) == len(FEW)
    return chosen


def paths(chosen: Iterable[Sample]) -> list[str]:
    return [str(sample.path) for sample in chosen]


def send(destination: str, chosen: Iterable[Sample]) -> dict[str, str]:
    """Send with our SCU; return the errors by file name."""
    done = run_cli("send", "--json", destination, *paths(chosen))
    document: dict[str, Any] = json.loads(done.stdout)
    return {Path(file["path"]).name: file["error"] for file in document["files"] if file["error"]}


def arrived(adapter: Adapter, count: int) -> dict[str, Sample]:
    """Return what the adapter made jobs of, by SOP Instance UID, once it is so many."""
    eventually(lambda: len(list(adapter.instances("payloads"))) >= count, 20, f"{count} instances")
    stored = [Sample(path) for path in adapter.instances("payloads")]
    return {sample.sop_instance: sample for sample in stored}


def digests(chosen: Iterable[Sample]) -> set[tuple[str, str]]:
    return {sample.digest for sample in chosen}


def kept(folder: Path) -> set[tuple[str, str]]:
    return digests(Sample(path) for path in folder.rglob("*") if path.is_file())


def spoiled(sent: Iterable[Sample], stored: dict[str, Sample]) -> list[str]:
    """Return the names of those that came in their own syntax, but with other values."""
    pairs = [(sample, stored[sample.sop_instance]) for sample in sent]
    return [
        sample.path.name
        for sample, other in pairs
        if sample.syntax == other.syntax and decoded(sample.path) != decoded(other.path)
    ]


# --- DCMTK


@pytest.mark.peer("dcmtk")
def test_storescp_gets_every_sample_byte_for_byte(tmp_path: Path, found: list[Sample]) -> None:
    refused = {sample for sample in found if sample.sop_class == COLOR_PALETTE}
    odd = {  # DCMTK aborts on an odd fragment; a deflated data set is padded
        sample
        for sample in found
        if len(sample.data) % 2 and sample.syntax != DeflatedExplicitVRLittleEndian
    }
    with dcmtk_storescp(tmp_path / "scp", "+B", "+xa") as port:
        errors = send(f"ANY@{HERE}:{port}", found)
    assert errors.keys() == {sample.path.name for sample in refused | odd}
    for sample in refused:
        assert "abstract syntax not supported" in errors[sample.path.name]
    for sample in odd:
        assert "aborted by the peer's service user" in errors[sample.path.name]
    assert kept(tmp_path / "scp") == digests(set(found) - refused - odd)


@pytest.mark.peer("dcmtk")
def test_dcmsend_delivers_every_sample_it_can_read(
    make_adapter: MakeAdapter, found: list[Sample]
) -> None:
    adapter = make_adapter()
    unread = {
        "chrSQEncoding.dcm", "SC_rgb_jpeg.dcm", "UN_sequence.dcm", "no_meta_group_length.dcm",
        "priv_SQ.dcm",
    }  # fmt: skip
    readable = [sample for sample in found if sample.path.name not in unread]
    run_peer("dcmsend", "-nh", "-dn", "-aec", "MAIN", HERE, str(adapter.dicom_port),
             *paths(found))  # fmt: skip
    stored = arrived(adapter, len(readable))
    assert {sample.sop_instance for sample in readable} == stored.keys()
    converted = {s.path.name for s in readable if stored[s.sop_instance].syntax != s.syntax}
    assert converted <= {"ExplVR_BigEnd.dcm", "rtplan.dcm"}
    assert spoiled(readable, stored) == ["693_J2KI.dcm"]


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize("max_pdu", ["4096", "131072"])
def test_any_maximum_length_works_in_both_directions(
    make_adapter: MakeAdapter, tmp_path: Path, few: list[Sample], max_pdu: str
) -> None:
    with dcmtk_storescp(tmp_path / "scp", "+B", "+xa", "-pdu", max_pdu) as port:
        assert send(f"ANY@{HERE}:{port}", few) == {}
    assert kept(tmp_path / "scp") == digests(few)
    adapter = make_adapter({"dicom": {"scp": {"max_pdu": int(max_pdu)}}})
    run_peer("dcmsend", "-dn", "-pdu", max_pdu, "-aec", "MAIN", HERE, str(adapter.dicom_port),
             *paths(few))  # fmt: skip
    assert spoiled(few, arrived(adapter, len(few))) == []


PROPOSALS = {
    ("+C",): "CT_small.dcm",
    ("-R",): "CT_small.dcm",
    ("-x=",): "CT_small.dcm",
    ("-xe",): "CT_small.dcm",
    ("-xb",): "CT_small.dcm",
    ("-xi",): "MR_small.dcm",
    ("-xs",): "SC_rgb_jpeg_gdcm.dcm",
    ("-xy",): "SC_rgb_jpeg_dcmtk.dcm",
    ("-xv",): "examples_jpeg2k.dcm",
    ("-xr",): "MR_small_RLE.dcm",
    ("--repeat", "3"): "CT_small.dcm",
    ("--abort",): "CT_small.dcm",
    ("-pdu", "4096"): "CT_small.dcm",
    ("--max-send-pdu", "131072"): "CT_small.dcm",
}
"""Options of storescu, and a file for each."""


@pytest.mark.peer("dcmtk")
def test_storescu_proposals_are_understood(make_adapter: MakeAdapter) -> None:
    by_name = {sample.path.name: sample for sample in samples()}
    adapter = make_adapter({"application_entities": [
        {"name": f"p{n}", "ae_title": f"P{n}", "timeout_s": 1, "pipelines": {"one": "one"}}
        for n in range(len(PROPOSALS))
    ]})  # fmt: skip
    for number, (options, name) in enumerate(PROPOSALS.items()):
        run_peer("storescu", *options, "-aec", f"P{number}", HERE, str(adapter.dicom_port),
                 str(by_name[name].path))  # fmt: skip
    eventually(lambda: len(adapter.payload_folders()) == len(PROPOSALS), 20, "a job for each")
    sent = {by_name[name].sop_instance: by_name[name] for name in PROPOSALS.values()}
    stored = [Sample(path) for path in adapter.instances("payloads")]
    assert len(stored) == len(PROPOSALS)
    assert [s.path for s in stored if spoiled([sent[s.sop_instance]], {s.sop_instance: s})] == []


# --- Orthanc


@pytest.mark.peer("orthanc")
def test_orthanc_gives_back_what_it_was_sent(
    make_adapter: MakeAdapter, tmp_path: Path, few: list[Sample]
) -> None:
    """Our SCU to Orthanc, Orthanc's SCU to us."""
    with orthanc(tmp_path / "orthanc") as archive:
        assert send(f"ORTHANC@{HERE}:{archive.dicom_port}", few) == {}
        adapter = make_adapter()
        archive.send("PUT", "/modalities/us", ["MAIN", HERE, adapter.dicom_port])
        archive.send("POST", "/modalities/us/echo", {})
        archive.send("POST", "/modalities/us/store", archive.get("/instances"))
        stored = arrived(adapter, len(few))
    assert {s.sop_instance: s.syntax for s in few} == {u: s.syntax for u, s in stored.items()}
    assert spoiled(few, stored) == []


# --- pynetdicom


def test_pynetdicom_delivers_every_sample_byte_for_byte(
    make_adapter: MakeAdapter, found: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pynetdicom._config.STORE_SEND_CHUNKED_DATASET", True)
    adapter = make_adapter()
    ae = AE("PYNETDICOM")
    pairs = sorted({(sample.sop_class, sample.syntax) for sample in found})
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in pairs]
    association = ae.associate(
        HERE, adapter.dicom_port, [*contexts, build_context(Verification)], ae_title="MAIN"
    )
    assert association.is_established
    assert association.send_c_echo().Status == 0
    regular = [
        sample for sample in found if sample.meta_uids == (sample.sop_class, sample.sop_instance)
    ]
    assert len(regular) > 120
    for sample in regular:
        assert association.send_c_store(sample.path).Status == 0, sample.path
    association.release()
    assert digests(arrived(adapter, len(regular)).values()) == digests(regular)


# --- others in Debian


@pytest.mark.peer("pixelmed")
def test_pixelmed_gets_every_sample_byte_for_byte(tmp_path: Path, found: list[Sample]) -> None:
    """It refuses Deflated, and Implicit VR for a class it takes in Explicit VR."""
    with pixelmed_scp(tmp_path / "scp") as port:
        assert run_cli("echo", f"PIXELMED@{HERE}:{port}").returncode == 0
        errors = send(f"PIXELMED@{HERE}:{port}", found)
    assert errors.keys() == {"image_dfl.dcm", "priv_SQ.dcm"}
    taken = [sample for sample in found if sample.path.name not in errors]
    assert kept(tmp_path / "scp") == digests(taken)


@pytest.mark.peer("pixelmed")
def test_pixelmed_delivers(make_adapter: MakeAdapter, few: list[Sample]) -> None:
    adapter = make_adapter()
    port = str(adapter.dicom_port)
    verify, store = (
        f"com.pixelmed.network.{service}SOPClassSCU" for service in ("Verification", "Storage")
    )
    printed = run_program(*PIXELMED, verify, HERE, port, "MAIN", "PIXELMED", "0")
    assert "was successful" in printed
    for path in paths(few):
        run_program(*PIXELMED, store, HERE, port, "MAIN", "PIXELMED", path, "0")
    assert spoiled(few, arrived(adapter, len(few))) == []


@pytest.mark.peer("odil")
def test_odil_delivers(make_adapter: MakeAdapter, few: list[Sample]) -> None:
    """It proposes uncompressed syntaxes only, and writes the decimal string 0.7 as .6999999."""
    adapter = make_adapter()
    peer = (HERE, str(adapter.dicom_port), "ODIL", "MAIN")
    run_program(ODIL, "echo", *peer)
    plain = [sample for sample in few if "1.2.4." not in sample.syntax]
    run_program(ODIL, "store", *peer, *paths(plain))
    assert spoiled(plain, arrived(adapter, len(plain))) == ["CT_small.dcm"]


@pytest.mark.peer("gdcm")
def test_gdcmscu_delivers(make_adapter: MakeAdapter, few: list[Sample]) -> None:
    """Debian's gdcmscu dies after the release, whoever the peer is; what it sent is there."""
    adapter = make_adapter()
    port = str(adapter.dicom_port)
    (sample,) = [sample for sample in few if sample.path.name == "CT_small.dcm"]
    ended(GDCMSCU, "--store", "-H", HERE, "-p", port, "--aetitle", "GDCM", "--call", "MAIN",
          "-i", str(sample.path))  # fmt: skip
    assert spoiled([sample], arrived(adapter, 1)) == []
    (row,) = adapter.get("/api/associations")
    assert row["state"] == "released"
