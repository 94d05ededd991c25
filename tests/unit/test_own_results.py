"""Results that come back in: who is guarded against what, and what is forgotten."""

import pytest

from adapter.domain.assignments import load_processors
from adapter.domain.entities import ApplicationEntity, OneProcessor
from adapter.domain.own_results import (
    Origin,
    OwnResult,
    came_back,
    guarded_by,
    may_come_back,
)
from adapter.store.own_results import RESULTS_PER_ROW, OwnResultRows

SEG, CT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.2"
LUNG = OneProcessor(name="lung", processor="aetitle", pipelines={"lung": "lung-v1"})
SEG_TOO = OneProcessor(name="seg", processor="aetitle", pipelines={"seg": "seg-v1"})
ORIGIN = Origin("job-1", "BRAIN", "seg-v1")


class Engine:
    """Rows that outlive who wrote them."""

    def __init__(self):
        self.rows, self.writes = {}, 0

    async def commit(self, changes):
        self.writes += 1
        for key, row in changes:
            if row is None:
                del self.rows[key]
            else:
                self.rows[key] = row

    def open(self, results_max=1000):
        own = OwnResultRows(self.commit, results_max)
        for _, row in sorted(self.rows.items(), reverse=True):
            own.adopt(row)
        return own


def entity(**changes):
    return ApplicationEntity(
        **{"name": "brain", "ae_title": "BRAIN", "pipelines": {"seg": "seg-v1"}} | changes
    )


def results(*numbers, sop_class=SEG):
    return [OwnResult(sop_class, f"1.2.{number}") for number in numbers]


@pytest.mark.parametrize(
    ("who", "is_guarded"),
    [
        (entity(), True),
        (entity(loop_guard=False), False),
        (entity(pipelines={"other": "other-v1"}), True),  # its own AE Title
        (entity(ae_title="RESEARCH"), True),  # the same pipeline
        (entity(ae_title="RESEARCH", pipelines={}, settings={"pipeline-x": "seg-v1"}), True),
        (entity(ae_title="CHEST", processors=[LUNG, SEG_TOO]), True),
        (entity(ae_title="CHEST", processors=[LUNG]), False),
        (entity(ae_title="CHEST", pipelines={"lung": "lung-v1"}), False),
        (entity(ae_title="seg-v1", pipelines={"lung": "BRAIN"}), False),
    ],
)
async def test_result_does_not_start_what_made_it(who, is_guarded):
    own = Engine().open()
    await own.remember(ORIGIN, results(1))
    assert (came_back(own, guarded_by(load_processors(who)), "1.2.1") == ORIGIN) == is_guarded
    assert may_come_back(own, guarded_by(load_processors(who)), SEG) == is_guarded
    assert came_back(own, guarded_by(load_processors(who)), "1.2.2") is None
    assert not may_come_back(own, guarded_by(load_processors(who)), CT)


async def test_results_survive_and_are_written_once():
    engine = Engine()
    many = range(2 * RESULTS_PER_ROW + 1)
    await engine.open().remember(ORIGIN, results(*many))
    assert len(engine.rows) == 3
    assert max(len(row) for row in engine.rows.values()) < 32 << 10
    own = engine.open()
    assert all(own.origin(f"1.2.{number}") == ORIGIN for number in many)
    await own.remember(ORIGIN, results(*many))
    assert engine.writes == 1


async def test_row_of_the_longest_uids_fits():
    engine = Engine()
    longest = [OwnResult("1" * 64, f"{number:064}") for number in range(RESULTS_PER_ROW)]
    await engine.open().remember(Origin("j" * 64, "A" * 16, "p" * 128), longest)
    assert max(len(row) for row in engine.rows.values()) < 32 << 10


async def test_oldest_are_forgotten_also_after_a_restart():
    engine = Engine()
    own = engine.open(results_max=5)
    for number in range(12):
        await own.remember(Origin(f"job-{number}", "BRAIN", "p"), results(number))
        if number == 7:
            own = engine.open(results_max=5)
    assert [n for n in range(12) if own.origin(f"1.2.{n}")] == [7, 8, 9, 10, 11]
    assert len(engine.rows) == 5
    assert own.come_of_class(("ae_title", "BRAIN"), SEG)
    await own.remember(Origin("job-99", "CHEST", "q"), results(*range(100, 105), sop_class=CT))
    assert not own.come_of_class(("ae_title", "BRAIN"), SEG)


async def test_result_of_two_jobs_is_the_latest_ones_and_is_not_forgotten_with_the_first():
    own = Engine().open(results_max=2)
    again = Origin("job-2", "BRAIN", "seg-v1")
    await own.remember(ORIGIN, results(1))
    await own.remember(again, results(1))
    await own.remember(again, results(2))
    assert own.origin("1.2.1") == again
