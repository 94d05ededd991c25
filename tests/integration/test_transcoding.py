"""Destinations that take no compressed instances, and pixel streams that kill their decoder."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from dicom_peers import dcmtk_storescp
from harness import Adapter, eventually, run_cli
from health import MakeAdapter
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate

from adapter.protocols.transcoding.copies import NotMadeError, Wanted
from adapter.protocols.transcoding.decoder_process import DecoderProcess, DecodingLimits

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
RLE, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.91"
COPY = ["/bin/cp", "-r", "input/dcm", "output/"]
LIMITS = DecodingLimits(memory_bytes=2 * 10**9, deadline_s=60)
SMALL = str(get_testdata_file("MR_small_RLE.dcm"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copy"


def wanted(source: Path | str, target: Path) -> Wanted:
    return Wanted(source=str(source), target=str(target), transfer_syntax_uid=EXPLICIT)


def with_pixels(path: Path, pixels: bytes, syntax: str = RLE, **changes: Any) -> Path:
    """Write an instance whose one frame is what somebody says it is."""
    data_set = dcmread(SMALL)
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.PixelData = encapsulate([pixels])
    for keyword, value in changes.items():
        setattr(data_set, keyword, value)
    data_set.save_as(path)
    return path


def with_many_pixels(path: Path, count: int) -> Path:
    """Write an uncompressed instance with so many bytes of pixels, which take no room on disk."""
    data_set = dcmread(get_testdata_file("CT_small.dcm"))
    del data_set["PixelData"], data_set["DataSetTrailingPadding"]
    data_set.save_as(path)
    with open(path, "ab") as file:
        file.write(b"\xe0\x7f\x10\x00OW\0\0" + count.to_bytes(4, "little"))
        file.truncate(file.tell() + count)
    return path


# --- the process


async def test_one_process_makes_copy_after_copy(tmp_path: Path, target: Path) -> None:
    decoder = DecoderProcess(LIMITS)
    try:
        await decoder.make(wanted(SMALL, target))
        first = decoder._process
        with pytest.raises(NotMadeError):
            await decoder.make(wanted(with_pixels(tmp_path / "bad", b"rubbish"), target))
        await decoder.make(wanted(get_testdata_file("JPEG2000.dcm"), target))
        assert decoder._process is first
    finally:
        await decoder.close()
    assert first is not None
    assert first.returncode == -signal.SIGKILL


HOSTILE = {
    "rubbish": (b"\x41" * 1000, RLE),
    "nothing": (b"\0\0", RLE),
    "header that leads elsewhere": (b"\x0f\0\0\0" + b"\xff" * 60, RLE),
    "half a code stream": (b"\xff\x4f\xff\x51\x00\x2f" + b"\xff" * 40, JPEG_2000),
    "rubbish as JPEG 2000": (b"\0" * 1000, JPEG_2000),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_stream_that_is_none_is_told_without_its_values(
    tmp_path: Path, target: Path, case: str
) -> None:
    pixels, syntax = HOSTILE[case]
    decoder = DecoderProcess(LIMITS)
    try:
        with pytest.raises(NotMadeError) as caught:
            await decoder.make(wanted(with_pixels(tmp_path / "bad", pixels, syntax), target))
        await decoder.make(wanted(SMALL, target))
    finally:
        await decoder.close()
    assert "CompressedSamples" not in str(caught.value)
    assert len(str(caught.value)) < 200


async def test_image_that_needs_all_memory_gets_no_more_than_its_share(
    tmp_path: Path, target: Path
) -> None:
    huge = with_many_pixels(tmp_path / "huge", 1 << 30)
    decoder = DecoderProcess(DecodingLimits(memory_bytes=10**9, deadline_s=60))
    try:
        with pytest.raises(NotMadeError, match="needs more than 1 GB of memory"):
            await decoder.make(wanted(huge, target))
        await decoder.make(wanted(SMALL, target))
    finally:
        await decoder.close()


async def test_decoder_that_hangs_is_killed_at_its_deadline(tmp_path: Path, target: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    hanging = DecoderProcess(DecodingLimits(memory_bytes=10**9, deadline_s=0.5))
    with pytest.raises(NotMadeError, match=r"more than 0\.5 s"):
        await hanging.make(wanted(fifo, target))
    assert hanging._process is None


async def test_decoder_that_is_killed_is_told_and_replaced(tmp_path: Path, target: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    decoder = DecoderProcess(LIMITS)
    try:
        await decoder.make(wanted(SMALL, target))

        async def kill() -> None:
            assert decoder._process is not None
            decoder._process.kill()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill)
            with pytest.raises(NotMadeError, match="ended by signal 9"):
                await decoder.make(wanted(fifo, target))
        await decoder.make(wanted(SMALL, target))
    finally:
        await decoder.close()


async def test_cancel_ends_the_decoder(tmp_path: Path, target: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    decoder = DecoderProcess(LIMITS)
    await decoder.make(wanted(SMALL, target))
    process = decoder._process
    with trio.move_on_after(0.1):
        await decoder.make(wanted(fifo, target))
    assert process is not None
    assert process.returncode == -signal.SIGKILL


async def test_copy_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    decoder = DecoderProcess(LIMITS)
    try:
        with pytest.raises(NotMadeError, match="No such file or directory"):
            await decoder.make(wanted(SMALL, tmp_path / "nowhere" / "copy"))
    finally:
        await decoder.close()


# --- the adapter


def exporting(make_adapter: MakeAdapter, port: int, transcode: str, **more: Any) -> Adapter:
    """Start an adapter that exports what it receives to a destination on this port."""
    return make_adapter({
        "dicom": {"scu": {"export": {"max_retries": 0, "retry_delay_s": 0.2}, **more}},
        "application_entities": [{
            "name": "main", "ae_title": "MAIN", "timeout_s": 1, "grouping": "association",
            "pipelines": {"copy": "copy"}, "destinations": ["plain"],
        }],
        "platform": {"engine": "command", "pipelines": [{"id": "copy", "command": COPY}]},
        "destinations": [{
            "name": "plain", "ae_title": "PLAIN", "host": "127.0.0.1", "port": port,
            "transcode": transcode,
        }],
    })  # fmt: skip


def ended(adapter: Adapter, state: str) -> dict[str, Any]:
    """Wait until the one export is in this state; return it with its outcomes."""
    (row,) = eventually(lambda: adapter.get(f"/api/exports?state={state}"), 30, state)
    found: dict[str, Any] = adapter.get(f"/api/exports/{row['id']}")
    return found


@contextmanager
def plain_storescp(folder: Path, *options: str) -> Iterator[int]:
    """Run DCMTK's storescp, which takes no compressed instances unless told so."""
    with dcmtk_storescp(folder, *options) as port:
        yield port


def received(folder: Path) -> dict[str, Dataset]:
    found = (dcmread(path) for path in folder.iterdir())
    return {one.SOPInstanceUID: one for one in found}


NAMES = ("CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm")


@pytest.mark.peer("dcmtk")
def test_destination_that_refuses_a_syntax_gets_nothing_unless_told(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    files = [str(get_testdata_file(name)) for name in NAMES]
    with plain_storescp(tmp_path / "plain") as port:
        adapter = exporting(make_adapter, port, "never")
        assert run_cli("send", adapter.destination(), *files).returncode == 0
        export = ended(adapter, "Failed")
    errors = {o["sopInstanceUid"]: o["error"] for o in export["outcomes"] if o["error"]}
    assert export["sent"] == 1
    assert len(errors) == 2
    rle = errors[dcmread(files[1]).SOPInstanceUID]
    assert rle.startswith(f"SOP class 1.2.840.10008.5.1.4.1.1.4 in transfer syntax {RLE}: ")
    assert "transfer syntaxes not supported" in rle


@pytest.mark.peer("dcmtk")
@pytest.mark.parametrize(("option", "syntax"), [("+x=", EXPLICIT), ("+xi", IMPLICIT)])
def test_copies_are_sent_where_they_are_asked_for_and_it_says_so(
    make_adapter: MakeAdapter, tmp_path: Path, option: str, syntax: str
) -> None:
    files = [str(get_testdata_file(name)) for name in NAMES]
    with plain_storescp(tmp_path / "plain", option) as port:
        adapter = exporting(make_adapter, port, "uncompressed")
        assert run_cli("send", adapter.destination(), *files).returncode == 0
        export = ended(adapter, "Completed")
    found = received(tmp_path / "plain")
    for path in files:
        before = dcmread(path)
        after = found[before.SOPInstanceUID]
        assert after.file_meta.TransferSyntaxUID == syntax
        assert (after.pixel_array == before.pixel_array).all()
    said = {o["sopInstanceUid"]: o.get("transcoded", "") for o in export["outcomes"]}
    assert said[dcmread(files[1]).SOPInstanceUID] == f"{RLE} to {syntax}"
    assert said[dcmread(files[0]).SOPInstanceUID] == (
        "" if syntax == EXPLICIT else f"{EXPLICIT} to {IMPLICIT}"
    )
    # The folder of copies goes with the association, which ends when nothing else waits for it.
    eventually(lambda: not list((adapter.root / "transcoding").iterdir()))


@pytest.mark.peer("dcmtk")
def test_what_is_taken_as_it_is_stored_goes_so(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    with plain_storescp(tmp_path / "rle", "+xr") as port:
        adapter = exporting(make_adapter, port, "uncompressed")
        assert run_cli("send", adapter.destination(), SMALL).returncode == 0
        export = ended(adapter, "Completed")
    (found,) = received(tmp_path / "rle").values()
    assert found.file_meta.TransferSyntaxUID == RLE
    assert found.PixelData == dcmread(SMALL).PixelData
    assert not any(outcome.get("transcoded") for outcome in export["outcomes"])


@pytest.mark.peer("dcmtk")
def test_stream_that_cannot_be_decoded_is_held_alone(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    bad = with_pixels(tmp_path / "bad.dcm", b"rubbish!", SOPInstanceUID="1.2.3.9")
    data_set = dcmread(bad)
    data_set.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9"
    data_set.save_as(bad)
    with plain_storescp(tmp_path / "plain") as port:
        adapter = exporting(make_adapter, port, "uncompressed")
        assert run_cli("send", adapter.destination(), str(bad), SMALL).returncode == 0
        export = ended(adapter, "Failed")
    (error,) = [o["error"] for o in export["outcomes"] if o["error"]]
    assert error.startswith(f"not transcoded from {RLE} to {EXPLICIT}: it cannot be decoded (")
    assert list(received(tmp_path / "plain")) == [dcmread(SMALL).SOPInstanceUID]
