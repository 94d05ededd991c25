"""Where senders reach which AE Title: ports of their own, IPv6, and sources by address."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicom_peers import free_port, run_peer
from harness import Adapter, configuration, eventually, run_cli
from health import MakeAdapter, missing, unharmed
from wire import Wire, associate_rq, echo_works

CALLED_UNKNOWN, CALLING_UNKNOWN = ("reject", 1, 1, 7), ("reject", 1, 1, 3)
LOCAL_LIMIT = ("reject", 2, 3, 2)
PORT_TAKEN = 3


def entity(title: str, **changes: object) -> dict[str, object]:
    return {"name": title.lower(), "ae_title": title, "pipelines": {"one": "p"}, **changes}


def answer(port: int, *, host: str = "127.0.0.1", **changes: bytes) -> tuple[object, ...]:
    with Wire(port, host=host) as wire:
        wire.send(associate_rq(**changes))
        return wire.answer()


def test_ae_title_with_a_port_of_its_own_answers_only_there(make_adapter: MakeAdapter) -> None:
    own, other = free_port(), free_port()
    adapter = make_adapter({
        "application_entities": [
            entity("MAIN"), entity("OWN", port=own), entity("ALSO", port=own),
            entity("FAR", port=other),
        ],
    })  # fmt: skip
    (ready,) = adapter.events("process.ready")
    assert ready["dicom_ports"] == [adapter.dicom_port, own, other]
    answers = {
        port: [title for title in ("MAIN", "OWN", "ALSO", "FAR")
               if answer(port, called=title.encode()) != CALLED_UNKNOWN]
        for port in ready["dicom_ports"]
    }  # fmt: skip
    assert answers == {adapter.dicom_port: ["MAIN"], own: ["OWN", "ALSO"], other: ["FAR"]}
    with Wire(own) as wire:
        wire.associate(called=b"ALSO")
        assert wire.store("1.2.3.1") == ("response", 0)


def test_all_ports_share_the_associations(make_adapter: MakeAdapter) -> None:
    own = free_port()
    adapter = make_adapter({
        "dicom": {"scp": {"max_associations": 2}},
        "application_entities": [entity("MAIN"), entity("OWN", port=own)],
    })  # fmt: skip
    with Wire(adapter.dicom_port) as first, Wire(own) as second:
        first.associate()
        second.associate(called=b"OWN")
        assert answer(adapter.dicom_port) == LOCAL_LIMIT
        assert answer(own, called=b"OWN") == LOCAL_LIMIT
        assert second.release() == ("released",)
        with Wire(adapter.dicom_port) as third:
            third.associate()


@pytest.mark.peer("dcmtk")
def test_dcmtk_reaches_an_own_port(make_adapter: MakeAdapter) -> None:
    own = free_port()
    make_adapter({"application_entities": [entity("OWN", port=own)]})
    run_peer("echoscu", "-aec", "OWN", "127.0.0.1", str(own))


def test_stop_closes_every_port(make_adapter: MakeAdapter) -> None:
    own = free_port()
    adapter = make_adapter({"application_entities": [entity("OWN", port=own)]})
    with Wire(own) as wire:
        wire.associate(called=b"OWN")
        assert adapter.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        Wire(own)


def test_port_that_is_taken_is_told_with_its_key(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for key, changes in (
            ("dicom.scp.port", {"dicom": {"scp": {"port": port}}}),
            ("application_entities[1].port",
             {"application_entities": [entity("MAIN"), entity("OWN", port=port)]}),
            ("api.port", {"api": {"port": port}}),
        ):  # fmt: skip
            file = tmp_path / "adapter.json"
            file.write_text(json.dumps(configuration(tmp_path / "root", changes)))
            done = run_cli("serve", "-c", str(file))
            assert done.returncode == PORT_TAKEN
            (line,) = done.stderr.strip().splitlines()
            assert line.startswith(f"cannot listen: {key}: ")
            assert f"port {port}: Address already in use" in line


# --- addresses


def _needs_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        missing("no IPv6 on the loopback")


def listening(make_adapter: MakeAdapter, host: str, *sources: str) -> Adapter:
    """Return an adapter that listens on host and knows TEST from these."""
    return make_adapter({
        "dicom": {"scp": {"host": host, "reject_unknown_sources": bool(sources)}},
        "sources": [{"ae_title": "TEST", "host": list(sources)}] if sources else [],
    })  # fmt: skip


def test_ipv6_and_ipv4_senders_are_told_apart_on_one_port(make_adapter: MakeAdapter) -> None:
    _needs_ipv6()
    six = listening(make_adapter, "::", "::1")
    assert answer(six.dicom_port, host="::1") == ("accept",)
    assert answer(six.dicom_port) == CALLING_UNKNOWN
    four = listening(make_adapter, "::", "127.0.0.0/8")
    assert answer(four.dicom_port, host="::1") == CALLING_UNKNOWN
    assert answer(four.dicom_port) == ("accept",), "an IPv4-mapped address counts as IPv4"
    assert {row["peer"] for row in four.get("/api/associations")} == {"::1", "127.0.0.1"}


def test_ipv6_address_listens_without_ipv4(make_adapter: MakeAdapter) -> None:
    _needs_ipv6()
    adapter = listening(make_adapter, "::1", "::/64")
    with Wire(adapter.dicom_port, host="::1") as wire:
        wire.associate()
        assert wire.store("1.2.3.1") == ("response", 0)
    with pytest.raises(ConnectionRefusedError):
        Wire(adapter.dicom_port)


def test_link_local_sender_is_known_with_its_zone(make_adapter: MakeAdapter) -> None:
    _needs_ipv6()
    address = next(_link_local_addresses(), None)
    if address is None:
        missing("no link-local address")
    assert address is not None
    known = listening(make_adapter, address, address)
    assert answer(known.dicom_port, host=address) == ("accept",)
    unknown = listening(make_adapter, address, address.partition("%")[0] + "%lo")
    assert answer(unknown.dicom_port, host=address) == CALLING_UNKNOWN


def _link_local_addresses() -> Iterator[str]:
    path = Path("/proc/net/if_inet6")
    for line in path.read_text().splitlines() if path.exists() else ():
        digits, _, _, scope, _, name = line.split()
        if scope == "20":
            yield f"{socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))}%{name}"


def test_source_is_known_by_its_name(make_adapter: MakeAdapter) -> None:
    adapter = listening(make_adapter, "127.0.0.1", "name.invalid", "localhost")
    assert answer(adapter.dicom_port) == ("accept",)
    with Wire(adapter.dicom_port, "127.0.0.2") as wire:
        wire.send(associate_rq())
        assert wire.answer() == CALLING_UNKNOWN
    # A start waits for look-ups, but not for ever.
    unresolved = eventually(lambda: adapter.events("source.unresolved"), 30)
    assert unresolved[0]["host"] == "name.invalid"


def test_source_may_have_several_addresses(make_adapter: MakeAdapter) -> None:
    adapter = listening(make_adapter, "127.0.0.1", "127.0.0.3", "127.0.0.4/31")
    for last, expected in (
        (2, CALLING_UNKNOWN), (3, ("accept",)), (4, ("accept",)), (5, ("accept",)),
        (6, CALLING_UNKNOWN),
    ):  # fmt: skip
        with Wire(adapter.dicom_port, f"127.0.0.{last}") as wire:
            wire.send(associate_rq())
            assert wire.answer() == expected, last


def test_host_name_may_be_listened_on(make_adapter: MakeAdapter) -> None:
    adapter = listening(make_adapter, "localhost")
    with unharmed(adapter):
        assert echo_works(adapter.dicom_port)
