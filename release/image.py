"""Whether the container image does its work: `make image-check`; as root, with buildah and runc.

Builds deploy/container/Containerfile on a base of its own that mmdebstrap makes from Debian's
packages, so that no registry is asked, and runs the image by runc: read-only root, no capability,
not root, one volume. There it is asked for its health, is sent an instance by DCMTK's storescu, and
is stopped by SIGTERM. Arguments are passed on to `buildah build`, such as a --volume with a CA.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
BASE, IMAGE = "localhost/dicom-adapter-base", "localhost/dicom-adapter"
USER = 10104
DICOM_PORT, API_PORT = 21112, 25000
START_S, STOP_S, POLL_S = 60.0, 40.0, 0.2
CONFIGURATION = f"""
[dicom.scp]
port = {DICOM_PORT}
host = "127.0.0.1"
reject_unknown_sources = false
[[application_entities]]
name = "main"
ae_title = "MAIN"
timeout_s = 1
pipelines = {{ one = "one" }}
[storage]
root = "/var/lib/dicom-adapter"
reserve_space_gb = 0
watermark_percent = 100
[api]
port = {API_PORT}
[logging]
format = "json"
"""
CONFIGURATION_FILE = "/etc/dicom-adapter/adapter.toml"
SERVE = ["dicom-adapter", "serve", "-c", CONFIGURATION_FILE]


def run(*command: str | Path) -> str:
    """Run a command to its end; return what it printed.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    done = subprocess.run(
        [str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )  # fmt: skip
    return done.stdout.strip()


def make_base(folder: Path) -> None:
    """Make a minimal Debian 12 root file system an image, if there is none yet."""
    found = subprocess.run(
        ["buildah", "inspect", "--type", "image", BASE], capture_output=True, check=False
    )
    if found.returncode == 0:
        return
    archive = folder / "base.tar"
    run(
        "mmdebstrap", "--variant=minbase", "--include=usr-is-merged",
        '--aptopt=Acquire::Languages "none"', "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright", "bookworm", archive,
    )  # fmt: skip
    recipe = folder / "Containerfile"
    recipe.write_text(
        f"FROM scratch\nADD {archive.name} /\n"
        "RUN apt-get purge -y usrmerge '^perl$' '^perl-modules-.*' '^libperl.*' '^lib.*-perl$'"
        " && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*\n"
    )
    run("buildah", "build", "--isolation", "chroot", "--squash", "-t", BASE, "-f", recipe, folder)


def write_specification(bundle: Path, root: Path, configuration: Path, volume: Path) -> None:
    """Write the bundle's config.json: everything that can be taken away is."""
    run("runc", "spec", "-b", bundle)
    spec = json.loads((bundle / "config.json").read_text())
    inspected = json.loads(run("buildah", "inspect", "--type", "image", IMAGE))
    process = spec["process"]
    process |= {"terminal": False, "args": SERVE, "noNewPrivileges": True}
    process |= {"user": {"uid": USER, "gid": USER}, "cwd": "/var/lib/dicom-adapter"}
    process |= {"env": inspected["OCIv1"]["config"]["Env"], "capabilities": {}}
    del process["rlimits"]  # ours
    spec["root"] = {"path": str(root), "readonly": True}
    bind = {"type": "bind", "options": ["bind", "nosuid", "nodev"]}
    spec["mounts"] = [kept for kept in spec["mounts"] if kept["type"] != "cgroup"] + [
        {**bind, "destination": "/var/lib/dicom-adapter", "source": str(volume)},
        {**bind, "destination": CONFIGURATION_FILE, "source": str(configuration)},
    ]
    namespaces = spec["linux"]["namespaces"]  # the machine's loopback, for storescu
    spec["linux"]["namespaces"] = [kept for kept in namespaces if kept["type"] != "network"]
    (bundle / "config.json").write_text(json.dumps(spec))


@contextmanager
def mounted() -> Iterator[Path]:
    """Yield the image's root file system, mounted."""
    working = run("buildah", "from", IMAGE)
    try:
        yield Path(run("buildah", "mount", working))
    finally:
        run("buildah", "rm", working)


def wait_ready(name: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the image's own health check succeeds."""
    deadline = time.monotonic() + START_S
    check = ["runc", "exec", name, "dicom-adapter", "health", "-c", CONFIGURATION_FILE]
    while subprocess.run(check, check=False, stderr=subprocess.DEVNULL).returncode:
        assert process.poll() is None, f"it ended: exit code {process.returncode}"
        assert time.monotonic() < deadline, f"not ready within {START_S} s"
        time.sleep(POLL_S)  # noqa: TID251 - nothing else runs here


def try_image(folder: Path, root: Path) -> None:
    """Run the image as it is meant to be run, and stop it."""
    configuration, volume = folder / "adapter.toml", folder / "volume"
    configuration.write_text(CONFIGURATION)
    configuration.chmod(0o644)
    volume.mkdir()
    os.chown(volume, USER, USER)
    folder.chmod(0o755)
    at = folder / "bundle"
    at.mkdir()
    write_specification(at, root, configuration, volume)
    name = f"dicom-adapter-{os.getpid()}"
    process = subprocess.Popen(["runc", "run", "-b", at, name])
    try:
        wait_ready(name, process)
        send_one()
        run("runc", "kill", name, signal.SIGTERM.name)
        code = process.wait(STOP_S)
    finally:
        subprocess.run(["runc", "delete", "-f", name], check=False, capture_output=True)
        process.kill()
        process.wait()
    stored = [path for path in volume.rglob("*.dcm") if path.is_file()]
    assert code == 0, f"exit code {code}"
    assert len(stored) == 1, stored


def send_one() -> None:
    """Send a small instance by storescu."""
    source = next(Path(sys.prefix).glob("lib/python3*/site-packages/pydicom/data/**/CT_small.dcm"))
    run("/usr/bin/storescu", "-aec", "MAIN", "127.0.0.1", str(DICOM_PORT), source)


def main(arguments: list[str]) -> int:
    """Build and try the image; return 0."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_base(folder)
        run(
            "buildah", "build", "--isolation", "chroot", "--format", "docker", "--layers",
            "--build-arg", f"BASE={BASE}", "-f", "deploy/container/Containerfile", "-t", IMAGE,
            *arguments, ROOT,
        )  # fmt: skip
        with mounted() as root:
            try_image(folder, root)
    size = run("buildah", "images", "--format", "{{.Size}}", IMAGE)
    sys.stdout.write(f"the image works: {size}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
