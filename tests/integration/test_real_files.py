"""Every real instance of pydicom's own test set goes through unchanged, byte for byte."""

import hashlib
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import pydicom
import pytest
from conftest import MakeAdapter
from dicom_peers import ScriptedDestination
from harness import eventually, run_cli
from pydicom.uid import MediaStorageDirectoryStorage
from wire import split_part10

TEST_SET = Path(pydicom.__file__).parent / "data"
COPY = ["/bin/cp", "-r", "input/dcm", "output/"]


def uid_of(raw: bytes | str | None) -> str:
    text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(raw or "")
    return text.rstrip("\0 ")


class Sample:
    """A storage instance of the test set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        meta, self.data = split_part10(path.read_bytes())
        self.syntax = uid_of(meta.get(0x00020010))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
            self.sop_class = uid_of(dataset.get("SOPClassUID") or meta.get(0x00020002))
            self.sop_instance = uid_of(dataset.get("SOPInstanceUID") or meta.get(0x00020003))
        if not (self.syntax and self.sop_class and self.sop_instance and self.data):
            raise ValueError("not an instance of a SOP class in a transfer syntax")

    @property
    def digest(self) -> tuple[str, str]:
        return self.syntax, hashlib.sha256(self.data).hexdigest()


def samples() -> list[Sample]:
    """Return what a careful reader takes for a storage instance."""
    found = []
    for path in sorted(p for p in TEST_SET.rglob("*") if p.is_file()):
        if path.suffix in (".py", ".json", ".pyc", ".txt", ".md"):
            continue
        try:
            sample = Sample(path)
        except Exception:
            continue
        if sample.sop_class != MediaStorageDirectoryStorage:
            found.append(sample)
    return found


def rounds(found: list[Sample]) -> list[list[Sample]]:
    """Split so that no SOP Instance UID comes twice in a round: a group keeps the first one."""
    seen: Counter[str] = Counter()
    split: dict[int, list[Sample]] = defaultdict(list)
    for sample in found:
        split[seen[sample.sop_instance]].append(sample)
        seen[sample.sop_instance] += 1
    return list(split.values())


@pytest.fixture(scope="module")
def found() -> list[Sample]:
    return samples()


def test_the_set_covers_many_kinds(found: list[Sample]) -> None:
    """A set that shrank unnoticed would prove nothing."""
    assert len(found) > 120
    assert len({sample.syntax for sample in found}) >= 12
    assert len({sample.sop_class for sample in found}) >= 14


def test_every_instance_comes_back_unchanged(
    make_adapter: MakeAdapter, found: list[Sample]
) -> None:
    """Our SCU in, a command pipeline that copies, our SCU out to pynetdicom (REQ: stored as is)."""
    syntaxes = sorted({sample.syntax for sample in found})
    split = rounds(found)
    titles = [f"ROUND{number}" for number in range(len(split))]
    peer = ScriptedDestination({sample.sop_class: syntaxes for sample in found})
    with peer.listening():
        adapter = make_adapter({
            "application_entities": [
                {"name": title.lower(), "ae_title": title, "timeout_s": 1,
                 "pipelines": {"copy": "copy"}, "destinations": ["peer"]}
                for title in titles
            ],
            "platform": {
                "engine": "command",
                "pipelines": [{"id": "copy", "command": COPY, "max_concurrent": 4}],
            },
            "destinations": [
                {"name": "peer", "ae_title": "PEER", "host": "127.0.0.1", "port": peer.port}
            ],
        })  # fmt: skip
        for title, samples_of_round in zip(titles, split, strict=True):
            paths = [str(sample.path) for sample in samples_of_round]
            sent = run_cli("send", adapter.destination(title), *paths)
            assert sent.returncode == 0, sent.stderr
            assert f"sent {len(paths)}, failed 0" in sent.stdout
        eventually(lambda: len(peer.received) >= len(found), 60, "everything comes back")
        eventually(lambda: not unfinished(adapter.get("/api/exports?limit=1000")), 20)
        assert adapter.get("/api/exports?state=Failed") == []
    back = Counter(
        (r.transfer_syntax_uid, hashlib.sha256(r.data).hexdigest()) for r in peer.received
    )
    sent_digests = Counter(sample.digest for sample in found)
    names = {sample.digest: sample.path.name for sample in found}
    assert [names[lost] for lost in sent_digests - back] == []
    assert back == sent_digests


def unfinished(exports: list[dict[str, str]]) -> list[dict[str, str]]:
    return [export for export in exports if export["state"] not in ("Completed", "Failed")]
