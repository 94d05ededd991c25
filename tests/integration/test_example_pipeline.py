"""examples/pipelines: what its README says, end to end and right by right."""

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicom_peers import dcmtk_storescp, run_peer
from harness import REPOSITORY, Adapter, eventually
from health import MakeAdapter, missing
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import BasicTextSRStorage

EXAMPLE = REPOSITORY / "examples" / "pipelines"
CONFINE = [sys.executable, str(EXAMPLE / "confine.py")]
SENT = ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm")


def readme_settings() -> dict[str, object]:
    """Return the configuration of the README, with this machine's paths."""
    text = re.search(r"```toml\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    assert text is not None
    here = text[1].replace("/opt/pipelines/.venv/bin/python", sys.executable)
    return tomllib.loads(here.replace("/opt/pipelines", str(EXAMPLE)))


@pytest.fixture(scope="module", autouse=True)
def landlock() -> None:
    """Without it there is no sandbox to test."""
    done = subprocess.run([*CONFINE, "--", "/bin/true"], check=False)
    if done.returncode == os.EX_CONFIG:
        missing("this kernel has no Landlock")


# --- end to end


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    with dcmtk_storescp(tmp_path / "archive", "-aet", "ARCHIVE") as port:
        yield tmp_path / "archive", port


def reporting(make_adapter: MakeAdapter, port: int, **entity: object) -> Adapter:
    settings = readme_settings()
    (one,) = settings["application_entities"]  # type: ignore[misc]
    return make_adapter(settings | {
        "application_entities": [{**one, "timeout_s": 1, **entity}],
        "destinations": [
            {"name": "pacs", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": port}
        ],
    })  # fmt: skip


def uids_of(report: Dataset) -> dict[tuple[str, str], tuple[str, str]]:
    """Return study and series of each (SOP class, instance) the report refers to."""
    return {
        (one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID): (
            study.StudyInstanceUID, series.SeriesInstanceUID
        )
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }  # fmt: skip


@pytest.mark.peer("dcmtk")
def test_report_arrives_with_references_to_all_that_was_sent(
    make_adapter: MakeAdapter, archive: tuple[Path, int]
) -> None:
    folder, port = archive
    adapter = reporting(make_adapter, port)
    paths = [str(get_testdata_file(name)) for name in SENT]
    sources = {source.StudyInstanceUID: source for source in map(dcmread, paths)}
    assert len(sources) == len(SENT)
    run_peer("dcmsend", "-aec", "REPORT", "127.0.0.1", str(adapter.dicom_port), *paths)
    eventually(lambda: len(adapter.get("/api/exports?state=Completed")) == len(SENT), 20)
    arrived = [path for path in folder.iterdir() if path.is_file()]
    assert len(arrived) == len(SENT)
    for path in arrived:
        report = dcmread(path)
        source = sources.pop(report.StudyInstanceUID)
        assert report.SOPClassUID == BasicTextSRStorage
        assert uids_of(report) == {
            (source.SOPClassUID, source.SOPInstanceUID): (
                source.StudyInstanceUID, source.SeriesInstanceUID
            )
        }  # fmt: skip
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyID"):
            assert report.get(keyword, "") == source.get(keyword, ""), keyword
        assert report.SeriesInstanceUID != source.SeriesInstanceUID
        dump = run_peer("dcmdump", "+L", str(path))
        assert "=BasicTextSRStorage" in dump
        assert "E: " not in dump
        assert "W: " not in dump


@pytest.mark.peer("dcmtk")
def test_several_instances_of_a_study_make_one_report(
    make_adapter: MakeAdapter, archive: tuple[Path, int], tmp_path: Path
) -> None:
    folder, port = archive
    adapter = reporting(make_adapter, port)
    source = dcmread(str(get_testdata_file("CT_small.dcm")))
    (tmp_path / "study").mkdir()
    for number in range(4):
        source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        source.SeriesInstanceUID = f"1.2.4.{number % 2}"
        source.save_as(tmp_path / "study" / f"{number}.dcm")
    files = [str(path) for path in sorted((tmp_path / "study").iterdir())]
    run_peer("dcmsend", "-aec", "REPORT", "127.0.0.1", str(adapter.dicom_port), *files)
    eventually(lambda: adapter.get("/api/exports?state=Completed"), 20)
    (arrived,) = [path for path in folder.iterdir() if path.is_file()]
    found = uids_of(dcmread(arrived))
    assert {(uid, series) for (_, uid), (_, series) in found.items()} == {
        (f"1.2.3.{number}", f"1.2.4.{number % 2}") for number in range(4)
    }
    (payload,) = adapter.payload_folders()
    assert (payload / "job.log").read_text() == "report-0.dcm: 4 instances\n"


def test_repeated_run_makes_the_same_instance(tmp_path: Path) -> None:
    uids = set()
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "a.dcm").symlink_to(str(get_testdata_file("CT_small.dcm")))
    for _ in range(2):
        (tmp_path / "output").mkdir(exist_ok=True)
        environment = {
            "DICOM_ADAPTER_INPUT": str(tmp_path / "input"),
            "DICOM_ADAPTER_OUTPUT": str(tmp_path / "output"),
        }
        subprocess.run(
            [sys.executable, str(EXAMPLE / "report.py")], env=environment, check=True,
            capture_output=True,
        )  # fmt: skip
        report = dcmread(tmp_path / "output" / "report-0.dcm")
        uids.add((report.SOPInstanceUID, report.SeriesInstanceUID))
    assert len(uids) == 1


# --- the sandbox, right by right


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job's folder, as a pipeline finds it."""
    folder = tmp_path / "job"
    for name in ("input", "output"):
        (folder / name).mkdir(parents=True)
    (folder / "input" / "a.dcm").write_text("bytes")
    (folder / "job.meta").write_text("{}")
    return folder


def confined(job: Path, code: str, *options: str) -> object:
    """Run Python code within the sandbox; return what it leaves in `said`, or how it ended."""
    program = (
        f"import json\ntry:\n    {code}\nexcept Exception as e:\n    said = type(e).__name__\n"
        "print(json.dumps(said))"
    )
    rights = ["--read", "input", "--write", "output", *options]
    done = subprocess.run(
        [*CONFINE, *rights, "--", sys.executable, "-I", "-c", program],
        cwd=job, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return json.loads(done.stdout) if done.stdout else done.returncode


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("said = open('input/a.dcm').read()", "bytes"),
        ("open('output/b', 'w').write('x'); said = open('output/b').read()", "x"),
        ("open('input/a.dcm', 'a')", "PermissionError"),
        ("__import__('os').truncate('input/a.dcm', 0)", "PermissionError"),
        ("__import__('os').unlink('input/a.dcm')", "PermissionError"),
        ("__import__('os').link('input/a.dcm', 'output/a')", "OSError"),
        ("open('input/b', 'w')", "PermissionError"),
        ("open('job.meta')", "PermissionError"),
        ("open('elsewhere', 'w')", "PermissionError"),
        ("open('/etc/passwd')", "PermissionError"),
        ("__import__('os').listdir('/tmp')", "PermissionError"),
        ("open('/usr/x', 'w')", "PermissionError"),
    ],
)
def test_only_named_paths_are_there(job: Path, code: str, said: str) -> None:
    assert confined(job, code) == said
    assert (job / "input" / "a.dcm").read_text() == "bytes"


def test_what_it_starts_is_confined_too(job: Path) -> None:
    code = "said = __import__('subprocess').call(['/bin/cat', '/etc/passwd'])"
    assert confined(job, code) == 1


def test_memory_is_limited(job: Path) -> None:
    code = "said = len(bytes(1 << 30))"
    assert confined(job, code, "--memory-mb", "512") == "MemoryError"
    assert confined(job, code, "--memory-mb", "4096") == 1 << 30


def test_size_of_a_file_is_limited(job: Path) -> None:
    code = "f = open('output/big', 'wb', 0); [f.write(bytes(1 << 20)) for _ in range(3)]"
    assert confined(job, code, "--file-mb", "1") == "OSError"
    assert (job / "output" / "big").stat().st_size == 1 << 20


def test_processor_time_is_limited(job: Path) -> None:
    assert confined(job, "exec('while True: pass')", "--cpu-s", "1") == -9


def test_tcp_is_refused(job: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"__import__('socket').create_connection(('127.0.0.1', {port}), 5)"
        assert confined(job, code) == "PermissionError"


def test_signals_do_not_reach_others(job: Path) -> None:
    assert confined(job, f"__import__('os').kill({os.getpid()}, 0)") == "PermissionError"
    code = "p = __import__('subprocess').Popen(['/bin/sleep', '9']); p.kill(); said = p.wait()"
    assert confined(job, code) == -9


def test_missing_program_is_told(job: Path) -> None:
    done = subprocess.run([*CONFINE, "--", "/no/such"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "confine: /no/such: No such file or directory\n")
