"""Who is next at a destination."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from adapter.domain.entities import PRIORITY_ORDER
from adapter.domain.export_queue import ExportQueue
from adapter.domain.records import Export


def export(number, priority="normal", opened_at=0.0, due_at=0.0):
    return Export(
        id=f"export-{number}", job_id="job-1", destination="pacs", priority=priority,
        opened_at=opened_at, changed_at=0.0, instances=1, due_at=due_at,
    )  # fmt: skip


def taken(queue, now):
    found = []
    while one := queue.take(now):
        found.append(one)
    return found


def test_what_has_failed_least_often_can_be_asked_for_first():
    queue = ExportQueue()
    old = structs.replace(export(1, "immediate"), try_count=1)
    later = export(4, due_at=9.0)
    queue.add([old, export(2, opened_at=2.0), export(3, opened_at=1.0), later])
    assert [queue.take_least_tried(0.0).id for _ in range(3)] == ["export-3", "export-2", old.id]
    assert queue.take_least_tried(0.0) is None
    assert queue.take_least_tried(9.0) is later


rows = st.lists(
    st.tuples(st.sampled_from(list(PRIORITY_ORDER)), st.integers(0, 5), st.integers(0, 9))
)


@given(rows, st.integers(0, 9))
def test_what_is_due_comes_by_priority_and_age_and_the_rest_stays(drawn, now):
    exports = [export(n, *row) for n, row in enumerate(drawn)]
    queue = ExportQueue()
    queue.add(exports)
    due = [e for e in exports if e.due_at <= now]
    assert queue.due(now) == len(due)
    assert taken(queue, now) == sorted(
        due, key=lambda e: (PRIORITY_ORDER[e.priority], e.opened_at, e.id)
    )
    left = [e for e in exports if e.due_at > now]
    assert len(queue) == len(left)
    assert queue.next_due_at() == min((e.due_at for e in left), default=float("inf"))
    assert sorted(queue.take_all(), key=id) == sorted(left, key=id)
    assert taken(queue, 99.0) == []


def test_export_is_taken_up_once():
    queue = ExportQueue()
    queue.add([export(1)])
    queue.add([export(1)])
    assert len(taken(queue, 0.0)) == 1


def test_export_that_was_taken_can_come_back_later():
    queue = ExportQueue()
    queue.add([export(1)])
    queue.take(0.0)
    queue.add([export(1, due_at=60.0)])
    assert (taken(queue, 59.0), len(taken(queue, 60.0))) == ([], 1)
