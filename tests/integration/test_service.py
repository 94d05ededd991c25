"""The adapter as a service: what its manager is told, and what a health check hears."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from dicom_peers import free_port
from harness import eventually, run_cli
from health import MakeAdapter
from tls_files import Files

WATCHDOG_US = 200_000
LOOK_S = 0.1


class Manager(threading.Thread):
    """Stands for systemd: what a service says to NOTIFY_SOCKET.

    It takes what comes at once: who finds the socket full does not wait.
    """

    def __init__(self, address: str) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(LOOK_S)
        self._socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self._over = threading.Event()
        self._lines: list[str] = []
        self._read = 0

    def run(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                self._lines += self._socket.recv(4096).decode().split("\n")

    def wait_told(self, state: str) -> list[str]:
        """Return what was told from what was waited for last up to a state."""
        eventually(lambda: state in self._lines[self._read :], what=f"{state}: {self._lines}")
        first, self._read = self._read, self._lines.index(state, self._read) + 1
        return self._lines[first : self._read]

    def end(self) -> None:
        self._over.set()
        self.join()
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path}"


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    manager = Manager(address)
    manager.start()
    yield manager
    manager.end()


def test_service_manager_hears_ready_life_and_stopping(
    make_adapter: MakeAdapter, manager: Manager, address: str
) -> None:
    adapter = make_adapter(start=False)
    adapter.variables = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(WATCHDOG_US)}
    adapter.start()
    before = manager.wait_told("READY=1")
    assert "STOPPING=1" not in before
    for _ in range(3):
        manager.wait_told("WATCHDOG=1")
    adapter.terminate()
    manager.wait_told("STOPPING=1")
    assert adapter.wait() == 0


def test_watchdog_of_another_process_hears_nothing(
    make_adapter: MakeAdapter, manager: Manager, address: str
) -> None:
    adapter = make_adapter(start=False)
    adapter.variables = {
        "NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(WATCHDOG_US), "WATCHDOG_PID": "1",
    }  # fmt: skip
    adapter.start()
    adapter.terminate()
    assert set(manager.wait_told("STOPPING=1")) == {"READY=1", "STOPPING=1"}
    assert adapter.wait() == 0


def test_service_manager_that_is_gone_stops_nothing(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(start=False)
    adapter.variables = {"NOTIFY_SOCKET": str(tmp_path / "nobody")}
    adapter.start()
    assert eventually(lambda: adapter.events("service_manager.not_told"))
    assert adapter.stop() == 0


def test_stop_while_it_starts_is_clean(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter(start=False)
    port = free_port()
    adapter.settings["api"]["port"] = port
    adapter.launch()
    eventually(lambda: answers(port), 30.0)
    adapter.terminate()
    assert adapter.wait() == 0


def answers(port: int) -> bool:
    """Return whether somebody listens there."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_health_follows_the_adapter(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    ready = run_cli("health", "--url", adapter.url)
    assert (ready.returncode, ready.stdout) == (0, "Healthy\n")
    file = adapter.file.with_name("running.toml")
    file.write_text(f'[api]\nhost = "0.0.0.0"\nauth = "none"\nport = {adapter.api_port}\n')
    assert run_cli("health", "-c", str(file)).returncode == 0
    assert adapter.stop() == 0
    gone = run_cli("health", "-c", str(file))
    assert gone.returncode == 1
    assert f"http://127.0.0.1:{adapter.api_port}: no adapter answers there" in gone.stderr


@pytest.mark.parametrize("name", ["adapter", "self_signed"])
def test_health_of_an_api_with_tls_is_asked_by_tls(
    make_adapter: MakeAdapter, tmp_path: Path, name: str
) -> None:
    """Whoever answers has to have the certificate of the configuration, for whatever name."""
    files = Files(tmp_path / "tls")
    identity = getattr(files, name)
    tls = {"certificate": str(identity.certificate), "key": str(identity.key)}
    adapter = make_adapter({"api": {"tls": tls}})
    port = f"api.port={adapter.api_port}"
    asked = run_cli("health", "-c", str(adapter.file), "--set", port)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "Healthy\n", "")
    other = (f"api.tls.certificate={files.foreign.certificate}",
             f"api.tls.key={files.foreign.key}")  # fmt: skip
    refused = run_cli(
        "health", "-c", str(adapter.file), "--set", port, "--set", other[0], "--set", other[1]
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    url = f"https://127.0.0.1:{adapter.api_port}"
    assert refused.stderr.startswith(f"{url}: its certificate: it is not that of ")
    by_address = run_cli("health", "--url", url)
    assert (by_address.returncode, by_address.stdout) == (1, "")
    assert "SSL_CERT_FILE" in by_address.stderr


def test_health_with_a_certificate_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    file = tmp_path / "adapter.toml"
    file.write_text('[api]\ntls.certificate = "missing.pem"\n')
    asked = run_cli("health", "-c", str(file))
    assert asked.returncode != 0
    assert "missing.pem" in asked.stderr
    assert len(asked.stderr.splitlines()) == 1


def test_adapter_without_space_is_live_and_not_ready(
    make_adapter: MakeAdapter, small_disk: Path
) -> None:
    reserve = {"root": str(small_disk), "reserve_space_gb": 1}
    adapter = make_adapter({"storage": reserve})
    unready = run_cli("health", "--url", adapter.url)
    assert (unready.returncode, unready.stdout) == (1, "Unhealthy\n")
    assert run_cli("health", "--live", "--url", adapter.url).returncode == 0


def test_health_at_a_port_that_nobody_can_know_is_bad_input(tmp_path: Path) -> None:
    file = tmp_path / "adapter.toml"
    file.write_text("[api]\nport = 0\n")
    asked = run_cli("health", "-c", str(file))
    assert asked.returncode == 2
    assert asked.stderr == "api.port = 0 is a port that only the adapter knows; say --url\n"
