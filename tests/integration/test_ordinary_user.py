"""The adapter without any privilege, as a container or a service has it: modes of files count.

Tests run as root mostly, whom a read-only file does not stop. So capabilities are taken away.
"""

import shutil
from pathlib import Path

from harness import eventually, run_cli
from health import MakeAdapter
from pydicom.data import get_testdata_file

WITHOUT_CAPABILITIES = (
    "/usr/bin/setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all",
)  # fmt: skip
COPY = ["/bin/cp", "-r", "input/dcm", "output/"]


def test_work_goes_on_after_a_restart(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    delivered = tmp_path / "delivered"
    delivered.mkdir()
    pipelines = [{"id": "pipe-one", "command": COPY}]
    entity = {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"one": "pipe-one"}}
    adapter = make_adapter(
        {
            "platform": {"engine": "command", "pipelines": pipelines},
            "application_entities": [entity | {"destinations": ["out"]}],
            "destinations": [{"name": "out", "type": "folder", "path": str(delivered)}],
            "storage": {"retention": {"completed_s": 0}},
        },
        start=False,
    )
    adapter.through = WITHOUT_CAPABILITIES
    for _ in range(2):
        adapter.start()
        capabilities = Path(f"/proc/{adapter.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in capabilities
        assert adapter.request("GET", "/health/ready")[0] == 200
        sent = run_cli("send", adapter.destination(), str(get_testdata_file("CT_small.dcm")))
        assert (sent.returncode, sent.stderr) == (0, "")
        eventually(lambda: list(delivered.rglob("*.dcm")), 20.0, "delivered")
        eventually(lambda: adapter.payload_folders() == [], 20.0, "files are deleted")
        shutil.rmtree(delivered)
        delivered.mkdir()
        assert adapter.events("storage.low") == []
        assert adapter.stop() == 0
