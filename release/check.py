"""Whether this tree can be released: `make release-check`.

Builds wheel and sdist, installs the wheel alone with the locked dependencies into an environment
of its own, runs the demo there, and looks at the licences of all that was installed. What it leaves
is in `dist/`: wheel, sdist, bill of materials (CycloneDX), and the table of licences.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from email.parser import Parser
from importlib.metadata import Distribution, PackageMetadata, distributions
from pathlib import Path

from adapter import __version__

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
NAME = f"dicom_adapter-{__version__}"
DEMO_S = 120.0
INSTALL_S = 1200.0
_ALLOWED = re.compile(
    r"Apache|BSD|\bMIT(-CMU|-0)?\b|\bISC\b|MPL-2|Mozilla Public|PSF|Python Software|"
    r"HPND|Historical Permission|Unlicense|0BSD|Zlib|CC0",
    re.IGNORECASE,
)
"""They ask only for their text to be passed on; MPL 2.0 ends at its own files."""
_REFUSED = re.compile(r"GPL|General Public|proprietary|commercial", re.IGNORECASE)


def run(*command: str | Path, cwd: Path = ROOT, timeout_s: float = INSTALL_S) -> None:
    """Run a command to its end, without the environment of this repository.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = {**clean, "SOURCE_DATE_EPOCH": commit_time(), "PIP_NO_INPUT": "1"}
    subprocess.run(
        [str(part) for part in command], check=True, cwd=cwd, env=environment, timeout=timeout_s
    )


def git(*arguments: str) -> str:
    """Return what git says about this repository."""
    done = subprocess.run(
        ["git", *arguments], check=True, cwd=ROOT, capture_output=True, text=True
    )  # fmt: skip
    return done.stdout.strip()


def commit_time() -> str:
    """Return seconds of the epoch: the date of everything in the wheel."""
    return git("log", "-1", "--format=%ct")


def build() -> tuple[Path, Path]:
    """Build sdist and wheel, and the wheel once more from the sdist: all the same bytes."""
    for old in DIST.glob("*"):
        old.unlink()
    run(sys.executable, "-m", "hatchling", "build", "-d", DIST)
    wheel, sdist = DIST / f"{NAME}-py3-none-any.whl", DIST / f"{NAME}.tar.gz"
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        unpacked = Path(folder) / NAME
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=unpacked)
        again = (Path(folder) / wheel.name).read_bytes()
    assert again == wheel.read_bytes(), "the sdist makes another wheel than the repository"
    return wheel, sdist


def check_contents(wheel: Path) -> None:
    """See that the wheel has what the repository has of `adapter`, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        metadata = Parser().parsestr(archive.read(f"{NAME}.dist-info/METADATA").decode())
    packed = {name for name in names if ".dist-info/" not in name}
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    included = wanted["targets"]["wheel"].get("force-include", {})
    expected = {*git("ls-files", "adapter").splitlines(), *included.values()}
    assert packed == expected, f"in one of wheel and repository only: {packed ^ expected}"
    for name in ("entry_points.txt", "licenses/LICENSE"):
        assert f"{NAME}.dist-info/{name}" in names, name
    assert metadata["Version"] == __version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    between_releases = any((ROOT / "changelog.d").glob("*.md"))
    assert between_releases or f"## {__version__} " in changelog, "the changelog lacks this version"


def try_wheel(wheel: Path, environment: Path) -> None:
    """Install the wheel alone, and run the demo from it where there is no repository."""
    python, program = environment / "bin" / "python", environment / "bin" / "dicom-adapter"
    venv.create(environment, with_pip=True)
    pip = (python, "-m", "pip", "--disable-pip-version-check", "-q")
    locked = ROOT / "locks" / "runtime.lock"
    run(*pip, "install", "--require-hashes", "--only-binary", ":all:", "-r", locked)
    run(*pip, "install", "--no-index", "--no-deps", wheel)
    run(*pip, "check")
    run(*pip, "uninstall", "-y", "pip", "setuptools")
    with tempfile.TemporaryDirectory() as elsewhere:
        run(program, "--version", cwd=Path(elsewhere))
        run(program, "demo", cwd=Path(elsewhere), timeout_s=DEMO_S)


def licence(metadata: PackageMetadata) -> str:
    """Return what a distribution says of its licence, by the clearest of three fields."""
    classified = [
        value.rpartition(" :: ")[2]
        for value in metadata.get_all("Classifier", [])
        if value.startswith("License :: OSI Approved :: ")
    ]
    expression = ", ".join(metadata.get_all("License-Expression", []))
    short = " ".join(metadata.get_all("License", [])).strip().partition("\n")[0]
    return expression or ", ".join(classified) or short or "none stated"


def may_be_shipped(text: str) -> bool:
    """Return whether a licence allows to be passed on with ours; one of several will do."""
    return any(
        _ALLOWED.search(choice) is not None and _REFUSED.search(choice) is None
        for choice in text.split(" OR ")
    )


def check_licences(installed: list[Distribution]) -> None:
    """Write the table of licences; each is one that may be shipped with ours."""
    said = {dist.metadata["Name"]: (dist.version, licence(dist.metadata)) for dist in installed}
    rows = [f"{name}\t{version}\t{text}\n" for name, (version, text) in sorted(said.items())]
    (DIST / f"{NAME}.licences.tsv").write_text("".join(rows))
    unknown = [row.strip() for row in rows if not may_be_shipped(row.split("\t")[2])]
    assert not unknown, f"licences that nobody has judged: {unknown}"


def write_bill_of_materials(environment: Path, installed: list[Distribution]) -> None:
    """Write what the environment consists of, and see that nothing is missing from it."""
    bill = DIST / f"{NAME}.cdx.json"
    cyclonedx = Path(sys.executable).parent / "cyclonedx-py"
    run(
        cyclonedx, "environment", environment / "bin" / "python", "--pyproject", "pyproject.toml",
        "--mc-type", "application", "--output-reproducible", "--of", "JSON", "-o", bill,
    )  # fmt: skip
    document = json.loads(bill.read_text())
    listed = {(part["name"], part["version"]) for part in document["components"]}
    root = document["metadata"]["component"]
    listed.add((root["name"], root.get("version", __version__)))
    there = {(dist.metadata["Name"], dist.version) for dist in installed}
    assert there <= listed, f"not in the bill of materials: {there - listed}"


def main() -> int:
    """Do all of it; return 0."""
    wheel, sdist = build()
    check_contents(wheel)
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "environment"
        try_wheel(wheel, environment)
        site = next(environment.glob("lib/python3.*/site-packages"))
        installed = list(distributions(path=[str(site)]))
        check_licences(installed)
        write_bill_of_materials(environment, installed)
    sizes = ", ".join(f"{path.name} {path.stat().st_size:,} bytes" for path in (wheel, sdist))
    sys.stdout.write(f"can be released: {sizes}; {len(installed)} packages\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
