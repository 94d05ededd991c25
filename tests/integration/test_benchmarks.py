"""The stress benchmark against real SCPs: what it reports is what happened. Speed is not tested."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from dicom_peers import dcmtk_storescp, free_port
from harness import Adapter, eventually
from health import MakeAdapter, unharmed

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.associations import main
from benchmarks.compare import BEGIN, END, replace_block
from benchmarks.exports import CASES
from benchmarks.exports import main as measure_exports
from benchmarks.ill_behaved import BEHAVIOURS
from benchmarks.open_groups import main as measure_open_groups
from benchmarks.scenarios import PYNETDICOM, Contender, Goal, Scenario
from benchmarks.verdict import Results, details, draw_ratios, draw_receiving, goals, reached


class Bench:
    """Runs the benchmark and reads its JSON."""

    def __init__(self, folder: Path) -> None:
        self._json = folder / "run.json"
        self.exit_code = -1

    def __call__(self, port: int, *arguments: str, called: str = "MAIN") -> dict[str, Any]:
        file = str(self._json)
        self.exit_code = main(
            ["--port", str(port), "--called", called, "--timeout", "60", "--json", file, *arguments]
        )
        figures: dict[str, Any] = json.loads(self._json.read_text())
        requests = dict(figures["requests"])
        assert requests.pop("planned") == sum(requests.values())
        return figures


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def adapter(make_shared_adapter: MakeAdapter) -> Adapter:
    return make_shared_adapter({"application_entities": [
        {"name": "main", "ae_title": "MAIN", "timeout_s": 600, "pipelines": {"one": "pipe-one"}},
        {"name": "full", "ae_title": "FULL", "timeout_s": 600, "pipelines": {"one": "pipe-one"},
         "max_associations": 2},
    ]})  # fmt: skip


@pytest.mark.parametrize("kind", ["ct", "mr", "sr", "mf"])
def test_every_instance_of_every_association_is_stored(
    adapter: Adapter, bench: Bench, kind: str
) -> None:
    before = len(list(adapter.instances("incoming")))
    figures = bench(
        adapter.dicom_port, "--associations", "3", "--instances", "2", "--kind", kind, "--mb", "2"
    )
    assert bench.exit_code == 0
    assert figures["associations"] == {"planned": 3, "up": 3, "complete": 3, "failed": 0}
    assert figures["requests"]["succeeded"] == 6
    assert figures["statuses"] == {"0x0000": 6}
    assert figures["response_ms"]["count"] == 6
    assert figures["set_up_ms"]["count"] == 3
    assert figures["fairness"]["ratio"] >= 1
    eventually(lambda: len(list(adapter.instances("incoming"))) == before + 6)


def test_two_processes_share_the_associations(adapter: Adapter, bench: Bench) -> None:
    figures = bench(
        adapter.dicom_port, "--associations", "5", "--instances", "3", "--kind", "sr",
        "--processes", "2", "--ramp-up", "0.2", "--pid", str(adapter.pid),
    )  # fmt: skip
    assert bench.exit_code == 0
    assert figures["requests"]["succeeded"] == 15
    assert figures["receiver"]["done"]["rss"] > 0
    assert figures["receiver"]["done"]["cpu_s"] >= figures["receiver"]["start"]["cpu_s"]


@pytest.mark.parametrize("kind", ["sr", "ct"])
def test_stock_sender_writes_the_same_bytes(adapter: Adapter, bench: Bench, kind: str) -> None:
    figures = bench(adapter.dicom_port, "--kind", kind, "--instances", "3", "--nagle")
    assert bench.exit_code == 0
    assert figures["requests"]["succeeded"] == 3


def test_ill_behaved_senders_are_counted_apart(
    adapter: Adapter, bench: Bench, tmp_path: Path
) -> None:
    total = 2 * len(BEHAVIOURS)
    image = tmp_path / "run.svg"
    with unharmed(adapter):
        figures = bench(
            adapter.dicom_port, "--associations", str(total), "--ill-behaved", "0.5",
            "--ill-s", "5", "--instances", "4", "--kind", "sr", "--picture", str(image),
        )  # fmt: skip
    assert bench.exit_code == 0
    assert figures["requests"]["succeeded"] == 4 * len(BEHAVIOURS)
    assert set(figures["ill_behaved"]) == set(BEHAVIOURS)
    for kind, ill in figures["ill_behaved"].items():
        assert sum(ill["endings"].values()) == ill["times"], kind
    assert "done" in figures["ill_behaved"]["nagle"]["endings"]
    assert any("aborted" in how for how in figures["ill_behaved"]["garbage"]["endings"])
    assert image.read_text().rstrip().endswith("</svg>")


def test_rejected_associations_say_why(adapter: Adapter, bench: Bench) -> None:
    figures = bench(adapter.dicom_port, "--associations", "3", called="NOBODY")
    assert bench.exit_code == 1
    assert figures["failures"] == {"rejected 1/1/7": 3}
    assert figures["requests"]["unsent"] == figures["requests"]["planned"] == 300
    assert figures["response_ms"] is None


def test_associations_over_a_limit_fail_and_the_others_do_not(
    adapter: Adapter, bench: Bench
) -> None:
    figures = bench(
        adapter.dicom_port, "--associations", "6", "--instances", "200", "--kind", "ct",
        called="FULL",
    )  # fmt: skip
    assert bench.exit_code == 1
    assert figures["associations"]["complete"] + figures["associations"]["failed"] == 6
    assert set(figures["failures"]) == {"rejected 2/3/2"}
    assert figures["requests"]["succeeded"] == 200 * figures["associations"]["complete"]


def test_nobody_there_is_a_reason_too(bench: Bench, tmp_path: Path) -> None:
    image = tmp_path / "run.png"
    figures = bench(free_port(), "--associations", "2", "--picture", str(image))
    assert bench.exit_code == 1
    assert figures["failures"] == {"connection refused": 2}
    assert image.read_bytes().startswith(b"\x89PNG")


def test_idle_associations_are_held_while_another_one_verifies(
    adapter: Adapter, bench: Bench
) -> None:
    figures = bench(adapter.dicom_port, "--idle", "--associations", "20", "--hold", "0.2")
    assert bench.exit_code == 0
    assert figures["associations"]["complete"] == 20
    assert figures["all_up_s"] > 0
    assert figures["probe_ms"]["count"] == 40
    assert figures["probe_failure"] == ""


def test_cycles_are_an_association_each(adapter: Adapter, bench: Bench) -> None:
    figures = bench(adapter.dicom_port, "--cycles", "--associations", "2", "--instances", "10")
    assert bench.exit_code == 0
    assert figures["associations"]["complete"] == 20
    assert figures["requests"]["succeeded"] == 20


@pytest.mark.peer("dcmtk")
def test_storescp_takes_what_is_sent(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with dcmtk_storescp(folder, "--fork") as port:
        figures = bench(
            port, "--associations", "4", "--instances", "5", "--kind", "sr", "--ill-behaved",
            "0.5", "--behaviour", "aborting", "--behaviour", "garbage", "--ill-s", "1",
        )  # fmt: skip
        assert bench.exit_code == 0
        assert figures["requests"]["succeeded"] == 10
        assert set(figures["ill_behaved"]) == {"aborting", "garbage"}
        assert len([path for path in folder.iterdir() if path.stat().st_size > 5000]) == 10


@pytest.mark.peer("dcmtk")
def test_peer_that_aborts_leaves_an_unanswered_request(bench: Bench, tmp_path: Path) -> None:
    with dcmtk_storescp(tmp_path / "out", "--abort-after") as port:
        figures = bench(port, "--instances", "3", "--kind", "sr")
    assert bench.exit_code == 1
    assert figures["requests"] == {
        "planned": 3, "succeeded": 0, "refused": 0, "unanswered": 1, "unsent": 2,
    }  # fmt: skip
    assert figures["associations"]["failed"] == 1


@pytest.mark.parametrize(
    "arguments",
    [["--associations", "0"], ["--ill-behaved", "2"], ["--idle", "--ill-behaved", "0.5"]],
)
def test_nonsense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--port", "1", "--called", "X", *arguments])
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


# --- compare: what it makes of figures


def _contender(name: str) -> Contender:
    return Contender(name, str, lambda: True, lambda _: {})


SCENARIO = Scenario(
    "ct-1", "receive CT", "instances/s",
    [_contender(name) for name in ("adapter", "pynetdicom", "pynetdicom, slower", "storescp")],
    [Goal(">= 10x pynetdicom", PYNETDICOM, at_least=10), Goal("all up", at_most=5, figure="up_s"),
     Goal(">= 5x Orthanc", ("Orthanc",), at_least=5)],
)  # fmt: skip
RESULTS: Results = {
    "ct-1": {
        "adapter": [{"per_s": 900.0, "up_s": 6.0}, {"per_s": 1100.0}, {"per_s": 1000.0}],
        "pynetdicom": [{"per_s": 100.0}],
        "pynetdicom, slower": [{"per_s": 50.0}],
        "storescp": [{"per_s": 2000.0}],
    }
}


def test_a_ratio_is_of_medians_and_against_the_best_rival() -> None:
    ratio, text, against = reached(RESULTS, SCENARIO, SCENARIO.goals[0]) or (0, "", "")
    assert ratio == 10
    assert text == "10.00x"
    assert against.startswith("pynetdicom: 100")


def test_the_table_says_which_goals_are_met() -> None:
    rows = goals([SCENARIO], RESULTS).splitlines()[2:]
    assert [row.split("|")[-2].strip() for row in rows] == ["yes", "**no**", "not measured"]
    assert "900 - 1100" in details([SCENARIO], RESULTS)


def test_plots_and_block_are_written(tmp_path: Path) -> None:
    ratios, receiving = tmp_path / "ratios.svg", tmp_path / "receiving.svg"
    assert draw_ratios(ratios, [SCENARIO], RESULTS)
    assert draw_receiving(receiving, [SCENARIO], RESULTS)
    assert not draw_ratios(ratios, [SCENARIO], {})
    for image in (ratios, receiving):
        assert image.stat().st_size < 200_000
        assert image.read_text().rstrip().endswith("</svg>")
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    replace_block(document, "new")
    assert document.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


def test_open_groups_are_measured_with_a_real_entity_and_store(tmp_path: Path) -> None:
    file = tmp_path / "groups.json"
    assert measure_open_groups([
        "--groups", "3", "30", "--instances", "300", "--rounds", "1", "--json", str(file)
    ]) == 0  # fmt: skip
    rows = json.loads(file.read_text())
    assert [row["open_groups"] for row in rows] == [3, 30]
    assert all(row["asking_us"] > 0 and row["storing_us"] > 0 for row in rows)


@pytest.mark.peer("dcmtk")
def test_exports_are_measured_beside_a_dead_destination(tmp_path: Path) -> None:
    file = tmp_path / "exports.json"
    assert measure_exports(["--exports", "60", "--rounds", "1", "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert list(figures) == list(CASES)
    assert all(min(run) > 0 for runs in figures.values() for run in runs)
