"""Pictures of instances by the API: who sees them, what has none, and what does no harm."""

import io
import json
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from harness import Adapter, eventually, run_cli
from health import MakeAdapter, unharmed
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from test_api_keys import ROLES, Keyed, offline
from test_transcoding import RLE, with_many_pixels, with_pixels

from adapter.domain.previews import Instance, NoPicture
from adapter.protocols.transcoding.decoder_process import DecodingLimits
from adapter.protocols.transcoding.previews import WAITING_MAX, DrawnPreviews, PreviewLimits

OPEN_FOR_LONG = [{"name": "main", "ae_title": "MAIN", "timeout_s": 600, "pipelines": {"a": "a"}}]
NAMES = (
    "CT_small.dcm", "MR_small_implicit.dcm", "image_dfl.dcm", "MR_small_RLE.dcm",
    "SC_rgb_jpeg_dcmtk.dcm", "JPEG2000.dcm", "SC_rgb_rle_2frame.dcm",
)  # fmt: skip


def with_previews(make: MakeAdapter, **preview: Any) -> Adapter:
    return make({
        "preview": {"enabled": True, "timeout_s": 60, **preview},
        "application_entities": OPEN_FOR_LONG,
    })  # fmt: skip


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    return with_previews(make_shared_adapter, memory_gb=1.0)


@pytest.fixture
def adapter(shared: Adapter) -> Iterator[Adapter]:
    """Return one that shows pictures; in the end nothing of them is left."""
    with unharmed(shared):
        yield shared
    assert drawing(shared) == []
    assert list((shared.root / "transcoding").iterdir()) == []


def drawing(adapter: Adapter) -> list[int]:
    """Return the processes of an adapter that decode."""
    tasks = Path(f"/proc/{adapter.pid}/task").iterdir()
    pids = {int(pid) for task in tasks for pid in text_of(task / "children").split()}
    commands = {pid: text_of(Path(f"/proc/{pid}/cmdline")) for pid in pids}
    return sorted(pid for pid, words in commands.items() if b"adapter.transcoder" in words)


def text_of(file: Path) -> bytes:
    """Return what is in a file about a process or a thread; of one that has ended: nothing."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def sent(adapter: Adapter, *paths: Path | str) -> str:
    """Send files; return where the picture of the last one is."""
    done = run_cli("send", adapter.destination(), *map(str, paths))
    assert done.returncode == 0, done.stderr
    data_set = dcmread(paths[-1], stop_before_pixels=True)
    return path_of(data_set.StudyInstanceUID, data_set.SOPInstanceUID)


def path_of(study: str, instance: str) -> str:
    return f"/api/studies/{study}/instances/{instance}/preview"


def told(adapter: Adapter, path: str, status: int) -> str:
    """Ask for a picture that there is not; return what is said of it."""
    found, headers, body = adapter.request("GET", path)
    assert (found, headers["content-type"]) == (status, "application/problem+json")
    words: str = json.loads(body)["detail"]
    return words


def named(path: Path, number: int) -> Path:
    """Give an instance a UID of its own."""
    data_set = dcmread(path)
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
    data_set.save_as(path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_picture_is_shown_in_whatever_syntax_it_came(adapter: Adapter, name: str) -> None:
    source = get_testdata_file(name)
    status, headers, body = adapter.request("GET", sent(adapter, source))
    assert (status, headers["content-type"]) == (200, "image/png")
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    picture = Image.open(io.BytesIO(body), formats=["PNG"])
    data_set = dcmread(source)
    assert picture.size == (data_set.Columns, data_set.Rows) or max(picture.size) == 768
    assert picture.info == {}  # no text beside the pixels


def test_instances_of_a_study_are_listed_by_the_page(adapter: Adapter) -> None:
    source = get_testdata_file("CT_small.dcm")
    sent(adapter, source)
    data_set = dcmread(source)
    route = f"/api/studies/{data_set.StudyInstanceUID}/instances"
    (row,) = adapter.get(route)
    assert row == {
        "seriesInstanceUid": data_set.SeriesInstanceUID,
        "sopInstanceUid": data_set.SOPInstanceUID,
        "bytes": row["bytes"],
    }
    assert row["bytes"] > len(data_set.PixelData)
    status, headers, body = adapter.request("GET", f"{route}?offset=1")
    assert (status, headers["x-total-count"], body) == (200, "1", b"[]")


def test_picture_can_be_seen_when_the_group_is_a_job(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"preview": {"enabled": True, "timeout_s": 60}})
    path = sent(adapter, get_testdata_file("CT_small.dcm"))
    eventually(lambda: list(adapter.instances("payloads")))
    eventually(lambda: not adapter.groups_on_disk())
    assert adapter.request("GET", path)[0] == 200
    assert adapter.metrics("dicom_adapter_previews")["drawn"] == 1


@pytest.mark.parametrize(
    ("study", "instance"),
    [("1.2.3.4.5", "1.2.3"), ("STUDY", "1.2.3"), ("STUDY", ".."), ("%2e%2e", "1.2"),
     ("x" * 65, "1.2")],
)  # fmt: skip
def test_what_is_not_held_is_not_found(adapter: Adapter, study: str, instance: str) -> None:
    path = sent(adapter, get_testdata_file("CT_small.dcm"))
    known = path.split("/")[3]
    told(adapter, path_of(study.replace("STUDY", known), instance), 404)


def test_link_to_elsewhere_is_not_followed(adapter: Adapter, tmp_path: Path) -> None:
    path = sent(adapter, named(Path(copied("CT_small.dcm", tmp_path)), 70))
    (held,) = [each for each in adapter.instances("incoming") if each.stem == "1.2.3.70"]
    held.rename(tmp_path / "elsewhere.dcm")
    held.symlink_to(tmp_path / "elsewhere.dcm")
    told(adapter, path, 404)


def copied(name: str, folder: Path) -> str:
    path = folder / name
    path.write_bytes(Path(get_testdata_file(name)).read_bytes())
    return str(path)


# --- who may see them


def test_there_are_none_unless_they_are_configured(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"application_entities": OPEN_FOR_LONG})
    path = sent(adapter, get_testdata_file("CT_small.dcm"))
    assert "see preview.enabled" in told(adapter, path, 403)
    assert adapter.get(f"/api/timeline/{path.split('/')[3]}")["previews"] is False
    assert adapter.metrics("dicom_adapter_previews") == {}


def test_they_come_with_patient_data_in_logs_unless_that_is_said_otherwise(
    make_adapter: MakeAdapter,
) -> None:
    adapter = make_adapter({"application_entities": OPEN_FOR_LONG, "logging": {"phi": True}})
    path = sent(adapter, get_testdata_file("CT_small.dcm"))
    assert adapter.get(f"/api/timeline/{path.split('/')[3]}")["previews"] is True
    adapter.stop()
    adapter.settings["preview"] = {"enabled": False}
    adapter.start()
    told(adapter, path, 403)


def test_operators_see_them_and_that_is_on_record(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter(
        {"preview": {"enabled": True, "timeout_s": 60}, "api": {"auth": "api-key"},
         "application_entities": OPEN_FOR_LONG},
        start=False,
    )  # fmt: skip
    adapter.file.write_text(json.dumps(adapter.settings))
    tokens = {role: offline(adapter, f"the {role}", role).stdout.strip() for role in ROLES}
    adapter.start()
    keyed = Keyed(adapter, tokens)
    path = sent(adapter, get_testdata_file("CT_small.dcm"))
    assert keyed.status("GET", path) == 401
    assert keyed.status("GET", path, tokens["viewer"]) == 403
    assert (
        keyed.status("GET", path.rpartition("/instances/")[0] + "/instances", tokens["viewer"])
        == 200
    )
    assert keyed.status("GET", path, tokens["operator"]) == 200
    entries = keyed.ask("GET", "/api/audit?kind=order", "administrator")
    (entry,) = [each for each in entries if each["action"].endswith("/preview")]
    assert (entry["who"], entry["path"], entry["outcome"]) == ("the operator", path, 200)


# --- what has none


@pytest.mark.parametrize("name", ["rtplan.dcm", "reportsi.dcm", "waveform_ecg.dcm"])
def test_what_is_no_image_has_none(adapter: Adapter, name: str) -> None:
    assert "no pixels" in told(adapter, sent(adapter, get_testdata_file(name)), 406)


def test_pixels_that_are_rubbish_are_told_without_their_values(
    adapter: Adapter, tmp_path: Path
) -> None:
    path = sent(adapter, named(with_pixels(tmp_path / "bad.dcm", b"\x41" * 1000, RLE), 71))
    words = told(adapter, path, 406)
    assert words.startswith("no picture can be drawn of it: it cannot be decoded (")
    assert "AAAA" not in words


def test_header_that_promises_too_many_pixels_is_refused(adapter: Adapter, tmp_path: Path) -> None:
    small = Path(copied("CT_small.dcm", tmp_path))
    data_set = dcmread(small)
    data_set.Rows = data_set.Columns = 65_535
    data_set.save_as(small)
    words = told(adapter, sent(adapter, named(small, 72)), 413)
    assert words == (
        "it is too large for a picture: a frame of 4294836225 pixels; 25000000 are allowed"
    )


def test_data_set_that_swells_ends_at_its_share_of_memory(adapter: Adapter, tmp_path: Path) -> None:
    """A deflated data set (PS3.5 A.5) of 1.5 MB that becomes 1.5 GB."""
    bomb = tmp_path / "bomb.dcm"
    data_set = named(Path(copied("image_dfl.dcm", tmp_path)), 73).read_bytes()
    meta_end = 144 + struct.unpack_from("<I", data_set, 140)[0]
    before = zlib.decompress(data_set[meta_end:], -zlib.MAX_WBITS)
    squeeze = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    size = 1500 << 20
    with open(bomb, "wb") as file:
        file.write(data_set[:meta_end])
        file.write(squeeze.compress(before + b"\x09\x00\x10\x00LO\x04\x00SIZE"))
        file.write(squeeze.compress(b"\x09\x00\x01\x10OB\0\0" + struct.pack("<I", size)))
        file.writelines(squeeze.compress(bytes(1 << 20)) for _ in range(size >> 20))
        file.write(squeeze.flush())
    assert bomb.stat().st_size < size / 100
    done = run_cli("send", adapter.destination(), str(bomb))
    assert done.returncode == 0, done.stderr
    study = dcmread(get_testdata_file("image_dfl.dcm")).StudyInstanceUID
    assert "more than 1 GB of memory" in told(adapter, path_of(study, "1.2.3.73"), 413)


def test_instance_of_too_many_bytes_is_not_read(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    adapter = with_previews(make_adapter, max_instance_bytes=1_000_000)
    path = sent(adapter, named(with_many_pixels(tmp_path / "large.dcm", 2_000_000), 74))
    assert "; 1000000 are allowed" in told(adapter, path, 413)
    assert adapter.metrics("dicom_adapter_previews")["size"] == 1


# --- what does not end


STANDS_STILL = """
import os, signal, sys

if "adapter.transcoder" in sys.orig_argv:
    os.kill(os.getpid(), signal.SIGSTOP)
"""
"""Python runs it in each process, before anything else."""


def standing_still(make: MakeAdapter, folder: Path, timeout_s: float) -> Adapter:
    """Start an adapter whose processes that draw never come to it."""
    (folder / "sitecustomize.py").write_text(STANDS_STILL)
    adapter = with_previews(partial(make, start=False), timeout_s=timeout_s)
    adapter.packages = folder
    return adapter.start()


@contextmanager
def asked_for(adapter: Adapter, path: str) -> Iterator[tuple[int, Any]]:
    """Ask for a picture; yield the process that is to draw it."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(adapter.request, "GET", path)
        (pid,) = eventually(lambda: drawing(adapter))
        yield pid, asked


def test_process_that_does_not_end_is_killed_in_time(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = standing_still(make_adapter, tmp_path, 5.0)
    path = sent(adapter, get_testdata_file("CT_small.dcm"))
    with unharmed(adapter), asked_for(adapter, path) as (pid, asked):
        status, _, body = asked.result()
        assert status == 504
        assert "it takes more than 5 s" in json.loads(body)["detail"]
        assert not Path(f"/proc/{pid}").exists()
    assert list((adapter.root / "transcoding").iterdir()) == []
    assert adapter.metrics("dicom_adapter_previews")["time"] == 1


def test_stop_of_the_adapter_waits_for_no_picture(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = standing_still(make_adapter, tmp_path, 600)
    path = sent(adapter, get_testdata_file("CT_small.dcm"))
    with asked_for(adapter, path) as (pid, asked):
        assert adapter.stop() == 0
        assert asked.exception() is not None or asked.result()[0] != 200
    assert not Path(f"/proc/{pid}").exists()


async def test_only_so_many_wait_for_a_picture(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    hanging = Instance(series="1.2", name="1.2.3", path=str(fifo), size_bytes=0)
    limits = PreviewLimits(
        pixels_max=10**6, instance_bytes_max=10**6,
        process=DecodingLimits(memory_bytes=10**9, deadline_s=600),
    )  # fmt: skip
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    previews = DrawnPreviews(limits, scratch)
    async with trio.open_nursery() as nursery:
        for _ in range(WAITING_MAX + 1):
            nursery.start_soon(previews.picture, hanging)
        await trio.testing.wait_all_tasks_blocked(0.05)
        answer = await previews.picture(hanging)
        nursery.cancel_scope.cancel()
    assert isinstance(answer, NoPicture)
    assert answer.why == "busy"
    assert list(scratch.iterdir()) == []
