"""What the original's own integration tests checked, with DCMTK as there: T-001 to T-008, T-017.

Groups are closed by order once everything has been sent, so no test depends on how fast a peer is.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import DCMTK, ended, run_peer
from harness import Adapter, eventually
from health import MakeAdapter, unharmed
from pydicom.data import get_testdata_file
from test_group_policies import jobs, post, sizes

pytestmark = pytest.mark.peer("dcmtk")

HERE = "127.0.0.1"
CT_SMALL = str(get_testdata_file("CT_small.dcm"))
NOT_LOW_FOR_ANYBODY_GB, MORE_THAN_THERE_IS_GB = 0, 1_000_000
LONG_S = 600
CLARA1 = {
    "name": "clara1", "ae_title": "Clara1",
    "settings": {"timeout": LONG_S, "priority": "Higher", "pipeline-only": "p1"},
}  # fmt: skip
CLARA2 = {
    "name": "clara2", "ae_title": "Clara2",
    "settings": {
        "timeout": LONG_S, "groupBy": "0010,0020", "pipeline-first": "p1", "pipeline-second": "p2",
    },
}  # fmt: skip
SOURCES = [{"ae_title": title, "host": HERE} for title in ("PACS1", "PACS2")]


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    return make_shared_adapter({
        "dicom": {"scp": {"reject_unknown_sources": True}},
        "application_entities": [CLARA1, CLARA2], "sources": SOURCES,
    })  # fmt: skip


@pytest.fixture
def adapter(shared: Adapter) -> Iterator[Adapter]:
    with unharmed(shared, called=b"Clara1", calling=b"PACS1"):
        yield shared


def told(adapter: Adapter, program: str, calling: str, called: str, *more: str) -> tuple[int, str]:
    """Return the exit status of a program of DCMTK, and what it printed."""
    titles = ("-aet", calling, "-aec", called)
    done = ended(DCMTK[program], *titles, HERE, str(adapter.dicom_port), *more)
    return done.returncode, done.stdout + done.stderr


# --- who is heard


@pytest.mark.parametrize("calling", ["PACS1", "PACS2"])
@pytest.mark.parametrize("called", ["Clara1", "Clara2"])
def test_registered_source_is_answered_by_each_ae_title(
    adapter: Adapter, calling: str, called: str
) -> None:
    """T-002, T-020."""
    assert told(adapter, "echoscu", calling, called) == (0, "")


@pytest.mark.parametrize(("program", "more"), [("echoscu", ()), ("storescu", (CT_SMALL,))])
@pytest.mark.parametrize(
    ("calling", "called", "reason"),
    [
        ("UNKNOWN", "Clara1", "Calling AE Title Not Recognized"),
        ("PACS1", "UNKNOWN", "Called AE Title Not Recognized"),
    ],
)
def test_stranger_is_refused_with_the_reason(
    adapter: Adapter, program: str, more: tuple[str, ...], calling: str, called: str, reason: str
) -> None:
    """T-001, T-003, T-005, T-006, T-020: nothing of it is stored."""
    status, printed = told(adapter, program, calling, called, *more)
    assert status != 0
    assert "Rejected Permanent" in printed
    assert reason in printed
    assert adapter.groups_on_disk() == []


def test_client_that_aborts_does_no_harm(adapter: Adapter) -> None:
    """T-004."""
    status, _ = told(adapter, "echoscu", "PACS1", "Clara1", "--abort")
    assert status == 0
    eventually(lambda: not adapter.associations(), 10, "its place is free")


@pytest.mark.parametrize(
    ("reserve_gb", "called", "reason"),
    [
        (NOT_LOW_FOR_ANYBODY_GB, "UNKNOWN", "Called AE Title Not Recognized"),
        (MORE_THAN_THERE_IS_GB, "UNKNOWN", "Called AE Title Not Recognized"),
        (MORE_THAN_THERE_IS_GB, "MAIN", "Rejected Transient"),
    ],
)
def test_unknown_ae_title_is_refused_whatever_the_space(
    make_adapter: MakeAdapter, reserve_gb: int, called: str, reason: str
) -> None:
    """T-017: who is called is looked at before the space, and T-019 the space before the data."""
    adapter = make_adapter({"storage": {"reserve_space_gb": reserve_gb}})
    status, printed = told(adapter, "storescu", "PACS1", called, CT_SMALL)
    assert status != 0
    assert reason in printed


# --- what is made of it


def study(folder: Path, patient: int, number: int, series: int, each: int) -> list[Path]:
    """Write the series of a study, each into a folder of its own; return the folders."""
    folders = []
    for one in range(series):
        inside = folder / f"{patient}-{number}-{one}"
        inside.mkdir()
        for index in range(each):
            (inside / f"{index}.dcm").write_bytes(Path(CT_SMALL).read_bytes())
        files = [str(path) for path in inside.iterdir()]
        uid = f"1.2.9.{patient}.{number}"
        run_peer(
            "dcmodify", "-q", "-nb", "-gin", "-m", f"0020,000d={uid}",
            "-m", f"0020,000e={uid}.{one}", "-m", f"0010,0020=P{patient}", *files,
        )  # fmt: skip
        folders.append(inside)
    return folders


def send_at_once(adapter: Adapter, deliveries: Sequence[tuple[str, Path]]) -> int:
    """Send each folder to its AE Title over an association of its own; return how many files."""

    def send(delivery: tuple[str, Path]) -> tuple[int, str]:
        called, folder = delivery
        return told(adapter, "storescu", "PACS1", called, "-v", "+sd", str(folder))

    with ThreadPoolExecutor(len(deliveries)) as associations:
        answers = list(associations.map(send, deliveries))
    for (_, folder), (status, printed) in zip(deliveries, answers, strict=True):
        assert status == 0
        assert printed.count("Received Store Response (Success)") == len(list(folder.iterdir()))
    return sum(len(list(folder.iterdir())) for _, folder in deliveries)


def close_all(adapter: Adapter, count: int) -> list[dict[str, Any]]:
    """Close the open groups, of which there are so many; return them."""
    groups: list[dict[str, Any]] = adapter.get("/api/groups")
    assert len(groups) == count
    for group in groups:
        assert post(adapter, f"/api/groups/{group['id']}/close")[0] == 204
    return groups


def stored(adapter: Adapter) -> float:
    """Return how many instances the event stream was told of."""
    return adapter.metrics("dicom_adapter_events")["instance.stored"]


def test_eight_associations_to_two_ae_titles_become_eight_jobs(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    """T-007: four studies make four jobs, their two patients twice two; each instance is told."""
    adapter = make_adapter({"application_entities": [CLARA1, CLARA2]})
    folders = [
        folder
        for patient in (1, 2)
        for number in (1, 2)
        for folder in study(tmp_path, patient, number, series=1, each=4)
    ]
    sent = send_at_once(adapter, [(title, f) for title in ("Clara1", "Clara2") for f in folders])
    assert sent == 32
    eventually(lambda: stored(adapter) == sent, 10, "every instance is told")
    close_all(adapter, 6)
    assert sizes(adapter, 8) == [4, 4, 4, 4, 8, 8, 8, 8]
    made = eventually(lambda: len(rows := adapter.get("/api/jobs")) == 8 and rows, 10, "8 rows")
    assert sorted((job["aeTitle"], job["pipeline"], job["priority"]) for job in made) == (
        [("Clara1", "only", "higher")] * 4
        + [("Clara2", "first", "normal")] * 2
        + [("Clara2", "second", "normal")] * 2
    )


def test_study_in_five_series_over_five_associations_is_one_job(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    """T-008."""
    adapter = make_adapter({"application_entities": [CLARA1]})
    folders = study(tmp_path, 1, 1, series=5, each=4)
    sent = send_at_once(adapter, [("Clara1", folder) for folder in folders])
    eventually(lambda: stored(adapter) == sent, 10, "every instance is told")
    close_all(adapter, 1)
    (job,) = jobs(adapter, 1)
    assert sizes(adapter, 1) == [sent]
    assert len(list(job.rglob("input/dcm/*/*"))) == len(folders), "a folder for each series"
