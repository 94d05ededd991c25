"""The same instance again, at once, or with other content; and data sets that are hard on a reader
(F38-F41, F46, F52): what is stored is always one whole instance that somebody sent.
"""

import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Adapter, eventually
from health import MakeAdapter, unharmed
from test_receivers import receivers
from wire import (
    ABORT,
    C_STORE,
    CT,
    DATA,
    EXPLICIT,
    Answer,
    Wire,
    context,
    data_set,
    explicit,
    pdu,
    pdv,
    request,
    split_part10,
)

SENDERS = 6
PIXELS = 200_000
CPU_S_MAX = 5.0
HANGS_S = 60.0
HARD = {"name": "hard", "ae_title": "HARD", "timeout_s": 60, "pipelines": {"one": "pipe-one"}}


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    entities = [
        {**HARD, "name": "main", "ae_title": "MAIN"},
        {**HARD, "name": "again", "ae_title": "AGAIN", "overwrite_same_instance": True},
        {**HARD, "grouping": "0010,0020"},
    ]
    return make_shared_adapter({"application_entities": entities})


@pytest.fixture
def adapter(shared: Adapter) -> Iterator[Adapter]:
    with unharmed(shared):
        yield shared
    eventually(lambda: not list((shared.root / "incoming" / ".part").iterdir()), 5, "no parts")


def with_pixels(uid: str, value: int, size: int = PIXELS) -> bytes:
    return data_set(uid, tail=explicit(0x7FE00010, b"OW", bytes((value,)) * size))


def copies(adapter: Adapter, uid: str) -> list[Path]:
    return [path for path in adapter.instances("incoming") if path.stem == uid]


def contents(adapter: Adapter, uid: str) -> list[bytes]:
    return [split_part10(path.read_bytes())[1] for path in copies(adapter, uid)]


def cpu_s(adapter: Adapter) -> float:
    """Return the processor time of the adapter, which does not depend on what else runs."""
    ticks = 0
    for pid in (adapter.pid, *receivers(adapter).values()):
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


def stored(adapter: Adapter, uid: str, content: bytes, called: bytes = b"MAIN") -> Answer:
    with Wire(adapter.dicom_port, timeout_s=HANGS_S) as wire:
        wire.associate(called=called)
        answer = wire.store(uid, content)
        wire.release()
    return answer


def test_exact_duplicate_is_success_and_one_copy(adapter: Adapter) -> None:
    """F38: the second takes nothing away from the first."""
    content = with_pixels("1.2.3.1", 1)
    assert [stored(adapter, "1.2.3.1", content) for _ in range(3)] == [("response", 0)] * 3
    assert contents(adapter, "1.2.3.1") == [content]


def test_same_uid_with_other_content_never_replaces_silently(adapter: Adapter) -> None:
    """F39: the first is kept, unless the configuration says otherwise."""
    first, second = with_pixels("1.2.3.2", 1), with_pixels("1.2.3.2", 2, PIXELS // 2)
    for content in (first, second):
        stored(adapter, "1.2.3.2", content)
    assert contents(adapter, "1.2.3.2") == [first]


def test_same_uid_replaces_the_first_as_a_whole_where_configured(adapter: Adapter) -> None:
    first, second = with_pixels("1.2.3.3", 1), with_pixels("1.2.3.3", 2, PIXELS // 2)
    for content in (first, second):
        assert stored(adapter, "1.2.3.3", content, b"AGAIN") == ("response", 0)
    assert contents(adapter, "1.2.3.3") == [second]


@pytest.mark.parametrize("called", [b"MAIN", b"AGAIN"])
def test_same_uid_on_many_associations_is_never_mixed(adapter: Adapter, called: bytes) -> None:
    """F41: all at once, piece by piece; one of them is stored, to the last byte."""
    uid = f"1.2.4.{len(called)}"
    sent = [with_pixels(uid, value) for value in range(SENDERS)]
    ready = threading.Barrier(SENDERS)
    answers: list[Answer] = []

    def send(content: bytes) -> None:
        with Wire(adapter.dicom_port) as wire:
            wire.associate(called=called)
            ready.wait(HANGS_S)
            answers.append(wire.store(uid, content))
            wire.release()

    threads = [threading.Thread(target=send, args=(content,)) for content in sent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [("response", 0)] * SENDERS
    (found,) = contents(adapter, uid)
    assert found in sent


def test_duplicate_that_is_cut_off_leaves_the_first(adapter: Adapter) -> None:
    content = with_pixels("1.2.3.4", 1)
    assert stored(adapter, "1.2.3.4", content, b"AGAIN") == ("response", 0)
    with Wire(adapter.dicom_port) as wire:
        wire.associate(called=b"AGAIN")
        wire.send(pdu(DATA, pdv(3, 3, request(C_STORE, CT, b"1.2.3.4"))))
        wire.send(pdu(DATA, pdv(3, 0, with_pixels("1.2.3.4", 2)[:10_000])))
        wire.send(pdu(ABORT, bytes(4)))
        assert wire.answer() == ("closed",)
    assert contents(adapter, "1.2.3.4") == [content]


def test_a_million_elements_cost_little(adapter: Adapter) -> None:
    """F46: 8 MB of empty elements between the first UIDs and the last."""
    private = b"".join(
        struct.pack("<HH2sH", 0x0009, number & 0xFFFF, b"LO", 0) for number in range(1, 60_000)
    )
    head = data_set("1.2.3.5")
    at = head.index(struct.pack("<HH", 0x0020, 0x000D))
    before = cpu_s(adapter)
    answer = stored(adapter, "1.2.3.5", head[:at] + private * 17 + head[at:])
    assert answer in (("response", 0), ("response", 0xC000))
    assert cpu_s(adapter) - before < CPU_S_MAX
    assert len(copies(adapter, "1.2.3.5")) == (answer == ("response", 0))


TEXTS = {
    "not_utf_8": b"\xff\xfe\xc0\x80",
    "escape_sequences": b"\x1b$B\x1b[31mred\x1b(B",
    "right_to_left": "\u202e\u0627\u0628".encode(),
    "html": b"<script>alert(1)</script>",
    "json": b'"},{"event":"instance.stored"',
    "newline": b"a\r\nb\x00c",
    "ten_kilobytes": b"x" * 10_000,
    "backslashes": b"a\\b\\c",
}


@pytest.mark.parametrize("case", TEXTS)
def test_hostile_text_is_data_and_nothing_else(adapter: Adapter, case: str) -> None:
    """F52: grouped by it, shown as JSON, and stored byte for byte."""
    uid = f"1.2.5.{sorted(TEXTS).index(case)}"
    text = TEXTS[case]
    head = data_set(uid)
    at = head.index(struct.pack("<HH", 0x0020, 0x000D))
    patient = explicit(0x00080005, b"CS", b"ISO 2022 IR 87")
    name = explicit(0x00100010, b"PN", text) + explicit(0x00100020, b"LO", text)
    content = head[:at].replace(head[:8], patient + head[:8], 1) + name + head[at:]
    assert stored(adapter, uid, content, b"HARD") == ("response", 0)
    assert contents(adapter, uid) == [content]
    assert adapter.get("/api/groups")
    assert [line for line in adapter.log if not line.startswith("{")] == []
    assert not [line for line in adapter.log if "script" in line or "alert" in line]


def test_context_that_is_proposed_twice_stores_on_both(adapter: Adapter) -> None:
    """Many senders propose a class once for each of their syntaxes."""
    with Wire(adapter.dicom_port) as wire:
        wire.associate((context(3, CT, EXPLICIT), context(5, CT, EXPLICIT)))
        for number, uid in ((3, "1.2.6.1"), (5, "1.2.6.2")):
            wire.message(number, request(C_STORE, CT, uid.encode()), data_set(uid))
            assert wire.answer() == ("response", 0)
        assert wire.release() == ("released",)
