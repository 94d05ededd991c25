"""Budgets (F04-F07, F64): whoever is one too many is told so at once, and a place that is free is
free.
"""

import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from harness import REPOSITORY, Adapter, environment, eventually, pass_time
from health import MakeAdapter, missing, unharmed
from wire import CT, EXPLICIT, Wire, associate_rq, context, echo_works

LOCAL_LIMIT = ("reject", 2, 3, 2)
WITHOUT_REQUEST = "dicom_adapter_connections_without_request"
STORAGE = (context(3, CT, EXPLICIT),)


def limited(make_adapter: MakeAdapter, **scp: object) -> Adapter:
    return make_adapter({"dicom": {"scp": scp}})


def descriptors(needed: int) -> None:
    """Raise this process's own limit; skip where it cannot be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        missing(f"{needed} descriptors (ulimit -Hn is {hard})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


@contextmanager
def silent(port: int, count: int, source: str = "") -> Iterator[list[Wire]]:
    """Hold connections that say nothing."""
    with ExitStack() as stack:
        yield [stack.enter_context(Wire(port, source)) for _ in range(count)]


def is_open(wire: Wire) -> bool:
    wire.sock.setblocking(False)
    try:
        return wire.sock.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False
    finally:
        wire.sock.settimeout(8)


# --- associations

LIMITS = {
    "all": {"dicom": {"scp": {"max_associations": 1}}},
    "source": {"dicom": {"scp": {"max_associations_per_source": 1}}},
    "ae_title": {
        "application_entities": [
            {"name": "main", "ae_title": "MAIN", "max_associations": 1, "pipelines": {"a": "a"}}
        ]
    },
}


@pytest.mark.parametrize("limit", LIMITS)
def test_sender_that_comes_back_at_once_finds_its_place_free(
    make_adapter: MakeAdapter, limit: str
) -> None:
    """From A-RELEASE-RP on, whether it closes its connection before the next one or never."""
    adapter = make_adapter(LIMITS[limit])
    with ExitStack() as kept:
        for number in range(200):
            wire = kept.enter_context(Wire(adapter.dicom_port))
            wire.associate(STORAGE)
            assert wire.store(f"1.2.3.{number}") == ("response", 0)
            assert wire.release() == ("released",)
            if number % 3 == 0:
                wire.sock.close()
    assert adapter.metrics("dicom_adapter_rejections") == {}


@pytest.mark.parametrize("limit", LIMITS)
def test_limit_is_counted_under_its_name(make_adapter: MakeAdapter, limit: str) -> None:
    adapter = make_adapter(LIMITS[limit])
    with Wire(adapter.dicom_port) as first, Wire(adapter.dicom_port) as second:
        first.associate()
        second.send(associate_rq())
        assert second.answer() == LOCAL_LIMIT
    names = {
        "all": "dicom.scp.max_associations",
        "source": "dicom.scp.max_associations_per_source",
        "ae_title": "max_associations of the AE Title",
    }
    assert adapter.metrics("dicom_adapter_rejections") == {names[limit]: 1}
    (rejected,) = adapter.get("/api/associations?state=rejected")
    assert rejected["why"]["words"] == names[limit]


def test_one_source_leaves_room_for_others(make_adapter: MakeAdapter) -> None:
    adapter = limited(make_adapter, max_associations=5, max_associations_per_source=2)
    port = adapter.dicom_port
    with Wire(port) as first, Wire(port) as second, Wire(port) as third:
        first.associate()
        second.associate()
        third.send(associate_rq())
        assert third.answer() == LOCAL_LIMIT
        with Wire(port, "127.0.0.2") as other:
            other.associate()


def test_place_of_a_peer_that_aborted_or_vanished_is_free(make_adapter: MakeAdapter) -> None:
    adapter = limited(make_adapter, max_associations=1)
    for how in ("abort", "reset", "close"):
        wire = Wire(adapter.dicom_port).associate()
        if how == "abort":
            wire.abort()
        elif how == "reset":
            wire.reset()
        wire.sock.close()
        eventually(lambda: adapter.associations() == 0)
        assert echo_works(adapter.dicom_port)


def test_a_thousand_requests_at_once_are_all_answered(make_adapter: MakeAdapter) -> None:
    """F06: nobody waits in a backlog for a place to become free."""
    descriptors(2500)
    adapter = limited(make_adapter, max_associations=25, max_half_open=2000)
    with unharmed(adapter), silent(adapter.dicom_port, 1000) as wires:
        for wire in wires:
            wire.send(associate_rq())
        assert Counter(wire.answer() for wire in wires) == {("accept",): 25, LOCAL_LIMIT: 975}
        for wire in wires:
            wire.sock.close()
        eventually(lambda: adapter.associations() == 0)


def test_waves_of_associations_are_accepted_or_told_to_come_back(
    make_adapter: MakeAdapter,
) -> None:
    """F07: what was acknowledged is there, whatever happened to the others."""
    adapter = limited(make_adapter, max_associations=20)
    answers: list[object] = []
    acknowledged: set[str] = set()

    def sender(name: str) -> None:
        for number in range(10):
            uid = f"1.2.3.{name}.{number}"
            with Wire(adapter.dicom_port, timeout_s=30) as wire:
                wire.send(associate_rq(STORAGE))
                answer = wire.answer()
                answers.append(answer)
                if answer == ("accept",):
                    assert wire.store(uid) == ("response", 0)
                    acknowledged.add(uid)
                    wire.release()

    with unharmed(adapter):
        for wave in range(5):
            threads = [
                threading.Thread(target=sender, args=(f"{wave}.{index}",)) for index in range(40)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert set(answers) <= {("accept",), LOCAL_LIMIT}
    assert len(answers) == 2000
    assert len(acknowledged) == answers.count(("accept",))
    stored = {p.stem for below in ("incoming", "closed", "payloads")
              for p in adapter.instances(below)}  # fmt: skip
    assert acknowledged <= stored


def test_title_of_a_peer_is_no_label_and_no_path(make_adapter: MakeAdapter) -> None:
    """F16, F17: what a peer calls itself, or us, is counted by the rule it broke."""
    adapter = make_adapter()
    hostile = (
        b"../../hostile",
        b"a\r\nb",
        b"\x1b[31mhostile",
        b'"}{x="',
        b"\xff\xfe",
        b"\0" * 16,
        b"A\\B",
    )
    with unharmed(adapter):
        for title in hostile:
            for titles in ({"called": title}, {"calling": title}):
                with Wire(adapter.dicom_port) as wire:
                    wire.send(associate_rq(STORAGE, **titles))
                    if wire.answer() == ("accept",):
                        assert wire.store("1.2.3.1") == ("response", 0)
    assert set(adapter.metrics("dicom_adapter_rejections")) <= {
        "called AE Title is not configured", "calling AE Title is malformed",
    }  # fmt: skip
    names = {path.name for path in adapter.everything()}
    assert not [name for name in names if "hostile" in name]
    assert all(line.startswith("{") for line in adapter.log)


# --- connections without an association


def test_fifty_probes_are_counted_and_nothing_else(make_adapter: MakeAdapter) -> None:
    """F04: connect and leave, politely or not, as load balancers do."""
    adapter = make_adapter()
    for number in range(50):
        wire = Wire(adapter.dicom_port)
        wire.reset() if number % 2 else wire.sock.close()
    eventually(lambda: adapter.metrics(WITHOUT_REQUEST) == {"left": 50})
    assert adapter.metrics("dicom_adapter_half_open") == {"": 0}
    assert adapter.get("/api/associations") == []
    assert not [line for line in adapter.log if "connection.ended" in line], "below debug"


def test_something_else_than_dicom_is_counted_as_refused(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    with Wire(adapter.dicom_port) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.answer()[0] == "abort"
    eventually(lambda: adapter.metrics(WITHOUT_REQUEST) == {"refused": 1})


def test_flood_of_silent_connections_pushes_out_its_own(make_adapter: MakeAdapter) -> None:
    """F05: 500 that say nothing, from one address; one of another address, and senders from both,
    are served.
    """
    descriptors(1200)
    adapter = limited(make_adapter, max_half_open=100)
    port = adapter.dicom_port
    with unharmed(adapter), Wire(port, "127.0.0.2") as patient, silent(port, 500) as flood:
        eventually(lambda: adapter.metrics(WITHOUT_REQUEST).get("evicted", 0) >= 401)
        assert echo_works(port)
        with Wire(port, "127.0.0.3") as wire:
            wire.associate()
            assert wire.store("1.2.3.1") == ("response", 0)
        patient.associate()
        assert patient.echo() == ("response", 0)
        youngest = flood[-50:]
        assert all(is_open(wire) for wire in youngest)
        assert not any(is_open(wire) for wire in flood[:300])
        assert adapter.metrics("dicom_adapter_half_open")[""] <= 100


def test_rejected_peers_that_do_not_close_are_half_open(make_adapter: MakeAdapter) -> None:
    adapter = limited(make_adapter, max_half_open=20)
    with unharmed(adapter), silent(adapter.dicom_port, 60) as wires:
        for wire in wires:
            wire.send(associate_rq(called=b"NOBODY"))
        answers = Counter(wire.answer() for wire in wires[-20:])
        assert answers == {("reject", 1, 1, 7): 20}
        assert adapter.metrics("dicom_adapter_half_open")[""] <= 20


# --- descriptors


def test_descriptors_above_1023_work(make_adapter: MakeAdapter) -> None:
    descriptors(3000)
    adapter = limited(make_adapter, max_half_open=1500)
    with unharmed(adapter), silent(adapter.dicom_port, 1100):
        folder = Path(f"/proc/{adapter.pid}/fd")
        eventually(lambda: max(int(name) for name in os.listdir(folder)) > 1100)
        with Wire(adapter.dicom_port) as wire:
            wire.associate()
            assert wire.echo() == ("response", 0)
            assert wire.store("1.2.3.1") == ("response", 0)
            assert wire.release() == ("released",)


def test_want_of_descriptors_is_survived_without_spinning(make_adapter: MakeAdapter) -> None:
    """F64: EMFILE at accept."""
    adapter = limited(make_adapter)
    with Wire(adapter.dicom_port) as early, unharmed(adapter):
        early.associate()
        used = max(int(name) for name in os.listdir(f"/proc/{adapter.pid}/fd")) + 1
        _, hard = resource.prlimit(adapter.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(adapter.pid, resource.RLIMIT_NOFILE, (used + 4, hard))
        with silent(adapter.dicom_port, 40):
            before = cpu_s(adapter)
            pass_time(1.0)
            assert cpu_s(adapter) - before < 0.5
            assert early.echo() == ("response", 0)
            with Wire(adapter.dicom_port) as late:  # in turn, at the cost of a silent one
                late.associate()
        resource.prlimit(adapter.pid, resource.RLIMIT_NOFILE, (hard, hard))


def cpu_s(adapter: Adapter) -> float:
    """Return the processor time of the process so far."""
    fields = Path(f"/proc/{adapter.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_limits_that_need_more_descriptors_than_there_are_are_refused(
    make_adapter: MakeAdapter,
) -> None:
    adapter = make_adapter(start=False)
    adapter.file.write_text(json.dumps(adapter.settings))
    limited = 'ulimit -n 500 && exec "$0" "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", limited, sys.executable, "-m", "adapter", "serve", "-c", adapter.file],
        env=environment(), cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(
        "dicom.scp.max_associations, dicom.scp.max_half_open, api.max_connections: need 1924 "
    )
    assert "the hard limit is 500" in line
