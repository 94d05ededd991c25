"""Every real instance of pydicom's own test set goes through unchanged, byte for byte."""

from collections import Counter

import pytest
from dicom_peers import ScriptedDestination
from harness import eventually, run_cli
from health import MakeAdapter
from sample_files import Sample, digest, rounds, samples

COPY = ["/bin/cp", "-r", "input/dcm", "output/"]


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
    back = Counter(digest(r.transfer_syntax_uid, r.data) for r in peer.received)
    sent_digests = Counter(sample.digest for sample in found)
    names = {sample.digest: sample.path.name for sample in found}
    assert [names[lost] for lost in sent_digests - back] == []
    assert back == sent_digests


def unfinished(exports: list[dict[str, str]]) -> list[dict[str, str]]:
    return [export for export in exports if export["state"] not in ("Completed", "Failed")]
