"""`dicom-adapter config` as an operator uses it."""

from pathlib import Path

from harness import run_cli

APPSETTINGS = """{
  "DicomAdapter": {
    "readAeTitlesFromCrd": false,
    "dicom": { "scp": { "port": 1104, "aeTitles": [
      { "name": "lung", "aeTitle": "LUNGRX", "processorSettings": { "pipeline-lung": "8f" } } ] } },
    "services": { "platform": { "endpoint": "10.0.0.4:30002" } }
  }
}"""


def test_converted_file_passes_the_check(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "appsettings.json", tmp_path / "adapter.toml"
    theirs.write_text(APPSETTINGS)
    done = run_cli("config", "convert", str(theirs))
    assert done.returncode == 0
    lost = f"{theirs}: DicomAdapter.services.platform.endpoint: not carried: "
    assert [line for line in done.stderr.splitlines() if line.startswith(lost)]
    ours.write_text(done.stdout)
    checked = run_cli("config", "check", str(ours))
    assert (checked.returncode, checked.stdout) == (0, f"{ours}: valid; 1 AE Title\n")


def test_what_cannot_be_converted_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    file.write_text('{"a": 1}')
    done = run_cli("config", "convert", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{file}: is no configuration of Clara's: it has neither DicomAdapter nor dicom\n"
    )
