"""Destinations made, changed, removed and verified while the adapter runs and results wait.

Clara scenarios T-067 to T-076, T-222 to T-228, T-355; flaws W-28, W-29, W-31 are not repeated.
"""

import socket
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import pytest
from dicom_peers import dcmtk_storescp, free_port
from entity_calls import AE_TITLES, DESTINATIONS, SOURCES, call, make, names, of
from harness import Adapter, eventually
from health import MakeAdapter
from test_destinations import COPY, UIDS, ended, store
from test_stow_destinations import PASSWORD, dicomweb_orthanc
from tls_files import Files

PACS = of(DESTINATIONS, "pacs")
SETTINGS = {
    "dicom": {"scu": {
        "export": {"max_retries": 1, "retry_delay_s": 0.2},
        "connect_s": 2, "acse_s": 2, "dimse_s": 11,
    }},
    "application_entities": [{
        "name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"copy": "copy"},
    }],
    "platform": {"engine": "command", "pipelines": [{"id": "copy", "command": COPY}]},
}  # fmt: skip
"""Results go nowhere: the AE Title of the file names no destination."""
MAIN = {"name": "sending", "aeTitle": "SENDING", "timeoutS": 1, "pipelines": {"copy": "copy"}}


def pacs(port: int, **more: Any) -> dict[str, Any]:
    return {"name": "pacs", "aeTitle": "PACS", "hostIp": "127.0.0.1", "port": port, **more}


def sending(make_adapter: MakeAdapter, port: int) -> Adapter:
    """Start an adapter with a destination made over REST, and an AE Title that names it."""
    adapter = make_adapter(SETTINGS)
    make(adapter, DESTINATIONS, pacs(port))
    make(adapter, AE_TITLES, MAIN | {"destinations": ["pacs"]})
    return adapter


def store_some(adapter: Adapter) -> None:
    store(adapter, UIDS, called=b"SENDING")


def waiting(adapter: Adapter) -> Any:
    """Wait until the export waits because its destination is not there; return it."""
    return eventually(
        lambda: [row for row in adapter.get("/api/exports?state=Queued") if row["error"]], 15
    )[0]


# --- made


@pytest.mark.peer("dcmtk")
def test_new_destination_gets_exports_and_survives_a_restart(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    with dcmtk_storescp(tmp_path / "in") as port:
        adapter = make_adapter(SETTINGS)
        status, made, headers = call(adapter, "POST", DESTINATIONS, pacs(port))
        assert status == 201
        assert headers["location"] == PACS
        assert made["hostIp"] == made["host"] == "127.0.0.1"
        assert (made["origin"], made["state"], made["type"]) == ("api", "running", "dicom")
        assert "url" not in made
        make(adapter, AE_TITLES, MAIN | {"destinations": ["pacs"]})
        adapter.kill()
        adapter.start()
        assert call(adapter, "GET", PACS)[1] == made
        assert [row["name"] for row in adapter.get("/api/destinations")] == ["pacs"]
        store_some(adapter)
        assert ended(adapter, "Completed")["sent"] == len(UIDS)
        eventually(lambda: len(list((tmp_path / "in").iterdir())) == len(UIDS))


def test_results_held_for_a_sender_go_to_it_once_it_is_a_destination(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(SETTINGS)
    make(adapter, AE_TITLES, MAIN | {"destinations": ["@sender"]})
    store_some(adapter)
    (held,) = eventually(lambda: adapter.get("/api/exports?state=Queued"), 15)
    assert "no destination has the AE Title" in held["error"]
    with dcmtk_storescp(tmp_path / "in") as port:
        make(adapter, DESTINATIONS, pacs(port, aeTitle="TEST"))
        assert ended(adapter, "Completed")["destination"] == "pacs"


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Adapter:
    file = {"name": "file", "ae_title": "FILE", "host": "127.0.0.1", "port": free_port()}
    return make_shared_adapter({"destinations": [file]})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"aeTitle": " "}, "aeTitle"),
        ({"aeTitle": "A" * 17}, "aeTitle"),
        ({"hostIp": ""}, "host"),
        ({"hostIp": "a b"}, "host"),
        ({"port": 0}, "port"),
        ({"port": 65_536}, "port"),
        ({"port": "104"}, "port"),
        ({"prt": 1}, "prt: unknown key; did you mean port?"),
        ({"url": "http://x"}, "url: is for destinations of type 'dicomweb'"),
        ({"fallback": "nobody"}, "fallback: 'nobody' is not among the destinations"),
        ({"fallback": "pacs"}, "fallback: 'pacs' leads back to 'pacs'"),
        ({"tls": {"ca": "/nowhere.pem"}}, "tls.ca: /nowhere.pem"),
        ({"tls": {"verifyHost": True}}, "tls.verifyHost: unknown key; did you mean verifyHostName"),
        ({"window": "25:00-26:00"}, "window"),
        ({"type": "folder", "path": "in"}, "is for destinations of type 'dicom'"),
    ],
)  # fmt: skip
def test_what_the_file_would_not_say_of_a_destination_is_refused(
    shared: Adapter, changes: dict[str, Any], problem: str
) -> None:
    status, body, _ = call(shared, "POST", DESTINATIONS, pacs(104) | changes)
    assert status == 400, body
    assert any(problem in each for each in body["problems"]), body
    assert names(shared, DESTINATIONS) == ["file"]


def test_destination_of_the_file_is_read_only(shared: Adapter) -> None:
    one = of(DESTINATIONS, "file")
    for method, document in (("PUT", pacs(1, name="file")), ("DELETE", None)):
        status, body, _ = call(shared, method, one, document)
        assert status == 409
        assert "configuration file" in body["detail"]
    assert call(shared, "POST", DESTINATIONS, pacs(1, name="file"))[0] == 409
    assert call(shared, "GET", one)[1]["origin"] == "file"
    assert call(shared, "GET", PACS)[0] == 404


# --- changed


@pytest.mark.peer("dcmtk")
def test_waiting_exports_go_where_the_corrected_destination_says(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = sending(make_adapter, free_port())
    store_some(adapter)
    waiting(adapter)
    with dcmtk_storescp(tmp_path / "in") as port:
        status, changed, _ = call(adapter, "PUT", PACS, pacs(port))
        assert (status, changed["port"]) == (200, port)
        assert ended(adapter, "Completed")["sent"] == len(UIDS)
        assert call(adapter, "GET", PACS)[1]["state"] == "running"


def test_change_while_a_hung_destination_is_sent_to_loses_nothing(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    """The exporter is cut off after its grace; what had no answer is sent by the next one."""
    with socket.create_server(("127.0.0.1", 0)) as silent, dcmtk_storescp(tmp_path / "in") as port:
        adapter = sending(make_adapter, silent.getsockname()[1])
        store_some(adapter)
        silent.settimeout(40)
        connection, _ = silent.accept()
        with connection:
            assert call(adapter, "PUT", PACS, pacs(port))[0] == 200
        assert ended(adapter, "Completed")["sent"] == len(UIDS)


# --- removed


@pytest.mark.peer("dcmtk")
def test_destination_that_something_names_or_waits_for_stays(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = sending(make_adapter, free_port())
    store_some(adapter)
    waiting(adapter)
    make(adapter, DESTINATIONS, pacs(1, name="other", fallback="pacs"))
    for path in (PACS, f"{PACS}?drain=true"):
        status, body, _ = call(adapter, "DELETE", path)
        assert status == 409
        assert body["problems"] == [
            "destination 'other': fallback: 'pacs' is not among the destinations",
            "AE Title 'sending': destinations: 'pacs' is not among the destinations",
        ]
    assert call(adapter, "DELETE", of(DESTINATIONS, "other"))[0] == 200
    assert call(adapter, "PUT", of(AE_TITLES, "sending"), MAIN)[0] == 200
    status, body, _ = call(adapter, "DELETE", PACS)
    assert (status, "1 export; drain=true" in body["detail"]) == (409, True)

    status, removed, _ = call(adapter, "DELETE", f"{PACS}?drain=true")
    assert (status, removed["state"]) == (200, "draining")
    assert call(adapter, "DELETE", PACS)[0] == 200
    adapter.kill()
    adapter.start()
    assert call(adapter, "GET", PACS)[1]["state"] == "draining"
    refused = call(adapter, "PUT", of(AE_TITLES, "sending"), MAIN | {"destinations": ["pacs"]})
    assert refused[0] == 400, "nothing new goes there"
    with dcmtk_storescp(tmp_path / "in") as port:
        status, back, _ = call(adapter, "PUT", PACS, pacs(port))
        assert (status, back["state"]) == (200, "running")
        assert ended(adapter, "Completed")["sent"] == len(UIDS)
    assert call(adapter, "DELETE", PACS)[0] == 200
    eventually(lambda: call(adapter, "GET", PACS)[0] == 404)
    assert adapter.get("/api/destinations") == []
    assert adapter.get("/health/status")["destinationOutages"] == {}
    assert adapter.request("GET", "/health/ready")[0] == 200


@pytest.mark.peer("dcmtk")
def test_removed_destination_goes_when_its_exports_are_delivered(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    port = free_port()
    adapter = sending(make_adapter, port)
    store_some(adapter)
    waiting(adapter)
    assert call(adapter, "PUT", of(AE_TITLES, "sending"), MAIN)[0] == 200
    assert call(adapter, "DELETE", f"{PACS}?drain=true")[0] == 200
    with dcmtk_storescp(tmp_path / "in", port=port):
        assert ended(adapter, "Completed", 30)["sent"] == len(UIDS)
    eventually(lambda: call(adapter, "GET", PACS)[0] == 404)
    (told,) = eventually(lambda: adapter.events("config.deleted"))
    assert (told["kind"], told["name"]) == ("destination", "pacs")
    assert make(adapter, DESTINATIONS, pacs(port))["state"] == "running"


# --- that cannot be used any more


def test_destination_that_is_wrong_by_now_stops_no_start_and_comes_back(
    make_adapter: MakeAdapter,
) -> None:
    spare = {"name": "spare", "ae_title": "SPARE", "host": "127.0.0.1", "port": 1}
    adapter = make_adapter(SETTINGS | {"destinations": [spare]})
    make(adapter, DESTINATIONS, pacs(2, fallback="spare"))
    make(adapter, AE_TITLES, MAIN | {"destinations": ["pacs"]})
    assert adapter.stop() == 0
    adapter.settings["destinations"] = []
    adapter.start()
    parked = call(adapter, "GET", PACS)[1]
    assert parked["state"] == "parked"
    assert parked["problems"] == ["fallback: 'spare' is not among the destinations"]
    assert call(adapter, "GET", of(AE_TITLES, "sending"))[1]["state"] == "parked"
    because = adapter.get("/health/status")["degradedBecause"]
    assert because == ["exporter:pacs is parked", "entity:sending is parked"]
    assert call(adapter, "POST", f"{PACS}/echo")[0] == 409
    make(adapter, DESTINATIONS, pacs(1, name="spare"))
    for route, name in ((DESTINATIONS, "pacs"), (AE_TITLES, "sending")):
        assert call(adapter, "GET", of(route, name))[1]["state"] == "running"
    eventually(lambda: adapter.request("GET", "/health/ready")[0] == 200)


def test_destination_whose_file_is_missing_is_used_again_when_it_is_back(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    ca = Files(tmp_path / "tls").ca
    adapter = make_adapter(SETTINGS)
    made = make(adapter, DESTINATIONS, pacs(1, tls={"ca": str(ca)}))
    assert made["tls"]["verifyHostName"] is True
    assert adapter.stop() == 0
    away = ca.rename(tmp_path / "away.pem")
    adapter.start()
    parked = call(adapter, "GET", PACS)[1]
    assert (parked["state"], parked["problems"]) == (
        "parked", [f"tls.ca: {ca}: No such file or directory"],
    )  # fmt: skip
    assert call(adapter, "POST", f"{PACS}/restart")[0] == 409
    away.rename(ca)
    status, again, _ = call(adapter, "POST", f"{PACS}/restart")
    assert (status, again) == (200, made)
    assert call(adapter, "POST", f"{PACS}/restart")[0] == 409


# --- verified


@pytest.mark.peer("dcmtk")
def test_echo_says_how_long_it_took(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    adapter = make_adapter(SETTINGS)
    with dcmtk_storescp(tmp_path / "in") as port:
        make(adapter, DESTINATIONS, pacs(port))
        status, body, _ = call(adapter, "POST", f"{PACS}/echo")
        assert (status, body["status"], body["statusText"]) == (200, 0, "0x0000 success")
        assert all(body[step] > 0 for step in ("connectMs", "associateMs", "echoMs"))


@pytest.mark.peer("dcmtk")
def test_echo_that_fails_says_what_was_refused_and_what_to_check(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(SETTINGS)
    make(adapter, DESTINATIONS, pacs(free_port()))
    status, body, _ = call(adapter, "POST", f"{PACS}/echo")
    assert (status, body["title"]) == (502, "Bad Gateway")
    assert "refused" in body["detail"].lower()
    with dcmtk_storescp(tmp_path / "in", "--refuse") as port:
        assert call(adapter, "PUT", PACS, pacs(port))[0] == 200
        status, body, _ = call(adapter, "POST", f"{PACS}/echo")
    assert status == 502
    assert "rejected" in body["detail"]
    itself = pacs(adapter.dicom_port, aeTitle="NOBODY", name="itself")
    make(adapter, DESTINATIONS, itself)
    status, body, _ = call(adapter, "POST", of(DESTINATIONS, "itself") + "/echo")
    assert status == 502
    assert "called AE Title not recognized" in body["detail"]
    assert call(adapter, "POST", of(DESTINATIONS, "none") + "/echo")[0] == 404


# --- killed


@pytest.mark.parametrize("seed", range(3))
def test_kill_during_changes_leaves_one_or_the_other_whole(
    make_adapter: MakeAdapter, seed: int
) -> None:
    """What was answered is there; what was not is there as a whole or not at all."""
    adapter, rng = make_adapter(SETTINGS), Random(seed)
    make(adapter, DESTINATIONS, pacs(1, maxAssociations=1, rateMbS=1))
    for _ in range(3):
        answered = [call(adapter, "GET", PACS)[1]["port"]]
        asked: list[int] = []

        def change(answered: list[int] = answered, asked: list[int] = asked) -> None:
            for number in range(answered[-1] + 1, answered[-1] + 100):
                asked.append(number)
                document = pacs(number, maxAssociations=number, rateMbS=number)
                try:
                    status, _, _ = call(adapter, "PUT", PACS, document)
                except (OSError, ValueError):
                    return
                assert status == 200
                answered.append(number)

        changing = Thread(target=change)
        changing.start()
        wanted = answered[0] + rng.randrange(1, 6)
        eventually(lambda asked=asked, wanted=wanted: asked and asked[-1] >= wanted)
        adapter.kill()
        changing.join()
        adapter.start()
        found = call(adapter, "GET", PACS)[1]
        assert found["port"] in (answered[-1], asked[-1])
        assert found["maxAssociations"] == found["rateMbS"] == found["port"]
        assert found["state"] == "running"


# --- secrets


@pytest.mark.peer("orthanc-dicomweb")
def test_secret_is_shown_to_nobody_and_kept_by_who_sends_back_what_is_shown(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(SETTINGS)
    web = {"name": "web", "type": "dicomweb", "authentication": "basic", "user": "adapter"}
    one = of(DESTINATIONS, "web")
    with dicomweb_orthanc(tmp_path / "orthanc") as archive:
        url = {"url": f"{archive.url}/dicom-web"}
        made = make(adapter, DESTINATIONS, web | url | {"password": PASSWORD})
        assert made["password"] == "(hidden)"
        assert "hostIp" not in made
        assert call(adapter, "POST", f"{one}/echo")[0] == 200
        status, changed, _ = call(adapter, "PUT", one, made | {"batchSize": 5})
        assert (status, changed) == (200, made | {"batchSize": 5})
        adapter.kill()
        adapter.start()
        assert call(adapter, "POST", f"{one}/echo")[0] == 200
        assert call(adapter, "PUT", one, made | {"password": "wrong"})[0] == 200
        status, body, _ = call(adapter, "POST", f"{one}/echo")
        assert (status, "401" in body["detail"]) == (502, True)
    assert not any(PASSWORD in line for line in adapter.log)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"passwordFile": "/etc/passwd"}, "passwordFile: is for the configuration file only"),
        ({"passwordEnvironment": "HOME"}, "passwordEnvironment: is for the configuration file"),
        ({}, 'password: authentication "basic" needs it'),
        ({"password": "a\nb"}, "password: is not of the form it must have"),
        ({"password": {"s3cret": 1}}, "password: is not of the form it must have"),
        ({"password": "s3cret", "token": "s3cret"}, 'token: authentication "basic" has no use'),
        ({"password": "s3cret", "url": "https://me:s3cret@web"}, "url: is no address"),
    ],
)
def test_secrets_that_cannot_be_are_refused_and_not_repeated(
    shared: Adapter, changes: dict[str, Any], problem: str
) -> None:
    """Nor may a request have a file, or a variable, of ours sent to where it says."""
    web = {
        "name": "web", "type": "dicomweb", "url": "https://web", "authentication": "basic",
        "user": "me",
    }  # fmt: skip
    status, body, _ = call(shared, "POST", DESTINATIONS, web | changes)
    assert status == 400, body
    assert any(problem in each for each in body["problems"]), body
    assert "s3cret" not in str(body)
    assert not any("s3cret" in line for line in shared.log)


@pytest.mark.parametrize("seed", range(2))
def test_kill_while_sources_come_and_go_undoes_nothing_that_was_answered(
    make_adapter: MakeAdapter, seed: int
) -> None:
    adapter, rng = make_adapter(SETTINGS), Random(seed)
    there: set[str] = set()
    for life in range(3):
        unsure: list[str] = []
        done: list[str] = []

        def come_and_go(life: int = life, unsure: list[str] = unsure, done: Any = done) -> None:
            for number in range(100):
                name = f"CT{life}-{number}"
                orders = [("POST", SOURCES, {"aeTitle": name, "hostIp": "10.0.0.1"})]
                if number % 2:
                    orders.append(("DELETE", of(SOURCES, name), None))
                for method, path, document in orders:
                    unsure[:] = [name]
                    try:
                        status, _, _ = call(adapter, method, path, document)
                    except (OSError, ValueError):
                        return
                    assert status in (200, 201)
                    (there.add if method == "POST" else there.discard)(name)
                    unsure.clear()
                    done.append(name)

        changing = Thread(target=come_and_go)
        changing.start()
        wanted = rng.randrange(1, 9)
        eventually(lambda done=done, wanted=wanted: len(done) >= wanted)
        adapter.kill()
        changing.join()
        adapter.start()
        found = {row["name"] for row in call(adapter, "GET", SOURCES)[1]}
        assert found - set(unsure) == there - set(unsure)
        there.clear()
        there.update(found)
