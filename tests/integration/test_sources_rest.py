"""Sources made, changed and removed while the adapter runs; conditional changes of all kinds.

Clara scenarios T-056 to T-065, T-230 to T-233, T-355; flaws W-28, W-29, W-31 are not repeated.
"""

from typing import Any

import pytest
from dicom_peers import DCMTK, ended
from entity_calls import AE_TITLES, DESTINATIONS, SOURCES, call, make, names, of
from harness import Adapter, eventually
from health import MakeAdapter
from wire import Wire, associate_rq

REFUSED = ("reject", 1, 1, 3)
CT1 = {"aeTitle": "CT1", "hostIp": "127.0.0.1"}
STRICT = {"dicom": {"scp": {"reject_unknown_sources": True}}}


def answer_to(adapter: Adapter, calling: bytes = b"CT1") -> Any:
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(called=b"MAIN", calling=calling))
        return wire.answer()


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    file = [{"ae_title": "CT9", "host": "10.0.0.9"}, {"ae_title": "CT9", "host": "10.0.0.8"}]
    return make_shared_adapter(STRICT | {"sources": file})


@pytest.mark.peer("dcmtk")
def test_new_source_is_let_in_at_once_and_refused_after_its_removal(
    make_adapter: MakeAdapter,
) -> None:
    adapter = make_adapter(STRICT)
    echo = (DCMTK["echoscu"], "-aet", "CT1", "-aec", "MAIN", "127.0.0.1", str(adapter.dicom_port))
    assert ended(*echo).returncode != 0
    status, made, headers = call(adapter, "POST", SOURCES, CT1)
    assert status == 201
    assert headers["location"] == f"{SOURCES}/CT1"
    assert made == {
        "name": "CT1", "aeTitle": "CT1", "hostIp": "127.0.0.1", "host": "127.0.0.1",
        "origin": "api", "state": "running", "problems": [],
    }  # fmt: skip
    assert ended(*echo).returncode == 0
    assert call(adapter, "DELETE", of(SOURCES, "CT1"))[1]["aeTitle"] == "CT1"
    assert ended(*echo).returncode != 0
    assert call(adapter, "GET", of(SOURCES, "CT1"))[0] == 404
    for verb in ("created", "deleted"):
        (told,) = eventually(lambda verb=verb: adapter.events(f"config.{verb}"))
        assert (told["kind"], told["name"]) == ("source", "CT1")


def test_source_that_is_a_name_is_looked_up(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter(STRICT)
    make(adapter, SOURCES, CT1 | {"hostIp": "localhost"})
    eventually(lambda: answer_to(adapter) == ("accept",))


def test_sources_survive_restart_and_kill(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter(STRICT)
    made = make(adapter, SOURCES, CT1)
    make(adapter, SOURCES, CT1 | {"aeTitle": "CT2"})
    adapter.kill()
    adapter.start()
    assert call(adapter, "GET", of(SOURCES, "CT1"))[1] == made
    assert answer_to(adapter) == ("accept",)
    assert adapter.stop() == 0
    adapter.start()
    assert names(adapter, SOURCES) == ["CT1", "CT2"]
    assert answer_to(adapter, b"CT2") == ("accept",)


def test_source_at_several_places_has_several_hosts_or_several_entries(
    make_adapter: MakeAdapter,
) -> None:
    adapter = make_adapter(STRICT)
    make(adapter, SOURCES, CT1 | {"hostIp": "10.0.0.1"})
    assert answer_to(adapter) == REFUSED
    status, body, _ = call(adapter, "POST", SOURCES, CT1)
    assert (status, body["problems"]) == (409, ["name: 'CT1' is used"])
    make(adapter, SOURCES, CT1 | {"name": "CT1 here"})
    assert answer_to(adapter) == ("accept",)
    assert call(adapter, "DELETE", of(SOURCES, "CT1 here"))[0] == 200
    assert answer_to(adapter) == REFUSED
    change = {"aeTitle": "CT1", "host": ["10.0.0.1", "127.0.0.0/8"]}
    status, changed, _ = call(adapter, "PUT", of(SOURCES, "CT1"), change)
    assert (status, changed["hostIp"], changed["host"]) == (200, "10.0.0.1", change["host"])
    assert answer_to(adapter) == ("accept",)


def test_what_is_shown_can_be_sent_back(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    for route, document in (
        (SOURCES, {"aeTitle": "CT1", "host": ["10.0.0.1", "ct1"]}),
        (DESTINATIONS, {"name": "pacs", "aeTitle": "P", "hostIp": "127.0.0.1", "port": 1}),
        (AE_TITLES, {"name": "brain", "aeTitle": "BRAIN", "pipelines": {"a": "b"}}),
    ):
        made = make(adapter, route, document)
        status, changed, _ = call(adapter, "PUT", of(route, made["name"]), made)
        assert (status, changed) == (200, made)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"aeTitle": ""}, "aeTitle"),
        ({"aeTitle": "A" * 17}, "aeTitle"),
        ({"aeTitle": "A\\B"}, "aeTitle"),
        ({"aeTitle": "A\nB"}, "aeTitle"),
        ({"aeTitle": "   "}, "aeTitle"),
        ({"aeTitle": 7}, "aeTitle"),
        ({"hostIp": ""}, "host"),
        ({"hostIp": "ct 1"}, "host: 'ct 1' is no address"),
        ({"hostIp": "10.0.0.1/99"}, "host"),
        ({"host": "10.0.0.1"}, "hostIp, host"),
        ({"name": "a/b"}, "name"),
        ({"hostip": "x"}, "hostip: unknown key; did you mean host?"),
    ],
)  # fmt: skip
def test_what_is_no_source_is_refused(
    shared: Adapter, changes: dict[str, Any], problem: str
) -> None:
    status, body, _ = call(shared, "POST", SOURCES, CT1 | changes)
    assert status == 400, body
    assert any(problem in each for each in body["problems"]), body
    assert names(shared, SOURCES) == ["CT9", "CT9-2"]


def test_source_of_the_file_is_read_only(shared: Adapter) -> None:
    for method, document in (("PUT", {"aeTitle": "CT9", "hostIp": "10.0.0.7"}), ("DELETE", None)):
        status, body, _ = call(shared, method, of(SOURCES, "CT9"), document)
        assert status == 409
        assert "configuration file" in body["detail"]
    assert call(shared, "POST", SOURCES, {"aeTitle": "CT9", "hostIp": "10.0.0.7"})[0] == 409


def test_spaces_around_an_ae_title_mean_nothing_and_case_does(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter(STRICT)
    assert make(adapter, SOURCES, CT1 | {"aeTitle": " CT1 "})["name"] == "CT1"
    assert answer_to(adapter) == ("accept",)
    assert answer_to(adapter, b"ct1") == REFUSED
    assert call(adapter, "POST", SOURCES, CT1)[0] == 409
    assert make(adapter, SOURCES, CT1 | {"aeTitle": "ct1"})["aeTitle"] == "ct1"


# --- conditional changes (RFC 9110 13.1.1)

ONES = {
    SOURCES: ({"aeTitle": "X1", "hostIp": "10.0.0.1"}, {"hostIp": "10.0.0.2"}),
    DESTINATIONS: (
        {"name": "X1", "aeTitle": "P", "hostIp": "127.0.0.1", "port": 1}, {"port": 2},
    ),
    AE_TITLES: (
        {"name": "X1", "aeTitle": "X1", "pipelines": {"a": "b"}}, {"pipelines": {"a": "c"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("route", ONES)
def test_who_has_seen_something_old_changes_nothing(shared: Adapter, route: str) -> None:
    document, changes = ONES[route]
    status, _, headers = call(shared, "POST", route, document)
    assert status == 201
    first, one = headers["etag"], of(route, "X1")
    assert first.startswith('"')
    assert call(shared, "GET", one)[2]["etag"] == first
    status, _, headers = call(shared, "PUT", one, document | changes, {"If-Match": first})
    assert status == 200
    second = headers["etag"]
    assert second != first
    for method, body in (("PUT", document), ("DELETE", None)):
        for stale in (first, f"W/{second}", f'{first}, "x"'):
            status, problem, _ = call(shared, method, one, body, {"If-Match": stale})
            assert status == 412, problem
            assert problem["title"] == "Precondition Failed"
    assert call(shared, "GET", one)[2]["etag"] == second
    third = call(shared, "PUT", one, document, {"If-Match": "*"})[2]["etag"]
    assert third not in (first, second), "what is as it was has been changed twice"
    assert call(shared, "PUT", one, document, {"If-Match": "no tag"})[0] == 400
    assert call(shared, "PUT", of(route, "none"), {}, {"If-Match": first})[0] in (400, 404)
    assert call(shared, "DELETE", of(route, "none"), None, {"If-Match": first})[0] == 404
    assert call(shared, "DELETE", one, None, {"If-Match": f'"x", {third}'})[0] == 200
    eventually(lambda: call(shared, "GET", one)[0] == 404)


def test_entity_tag_is_the_same_after_a_restart(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    tag = call(adapter, "POST", SOURCES, CT1)[2]["etag"]
    main = call(adapter, "GET", of(AE_TITLES, "main"))[2]["etag"]
    assert adapter.stop() == 0
    adapter.start()
    assert call(adapter, "GET", of(SOURCES, "CT1"))[2]["etag"] == tag
    assert call(adapter, "GET", of(AE_TITLES, "main"))[2]["etag"] == main
