"""The configuration file changes while the adapter runs."""

import json
import os
import resource
import signal
from collections.abc import Mapping
from typing import Any

import pytest
from harness import Adapter, eventually, merged, run_cli
from health import MakeAdapter
from pydicom.data import get_testdata_file
from wire import Wire, associate_rq

CT_SMALL = str(get_testdata_file("CT_small.dcm"))
MAIN = {"name": "main", "ae_title": "MAIN", "timeout_s": 1, "pipelines": {"one": "pipe-one"}}
LUNG = {"name": "lung", "ae_title": "LUNG", "timeout_s": 1, "pipelines": {"lung": "pipe-lung"}}
PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 11}


@pytest.fixture
def adapter(make_adapter: MakeAdapter) -> Adapter:
    return make_adapter({"application_entities": [MAIN]})


def write(adapter: Adapter, changes: Mapping[str, Any]) -> None:
    """Replace the configuration file as an editor does."""
    adapter.settings = merged(adapter.settings, changes)
    new = adapter.file.with_suffix(".new.json")
    new.write_text(json.dumps(adapter.settings))
    new.replace(adapter.file)


def hang_up(adapter: Adapter) -> None:
    os.kill(adapter.pid, signal.SIGHUP)


def reload(adapter: Adapter, query: str = "") -> tuple[int, dict[str, Any]]:
    status, _, body = adapter.request("POST", f"/api/config/reload{query}")
    return status, json.loads(body)


def titles(adapter: Adapter) -> dict[str, str]:
    return {one["aeTitle"]: one["state"] for one in adapter.get("/api/config/claraaetitle")}


def answer(adapter: Adapter, called: bytes, calling: bytes = b"TEST") -> Any:
    with Wire(adapter.dicom_port) as wire:
        wire.send(associate_rq(called=called, calling=calling))
        reply = wire.read_pdu()
        assert reply is not None
        return reply[0]


ACCEPTED, REJECTED = 2, 3


def test_signal_adds_changes_and_removes_ae_titles(adapter: Adapter) -> None:
    write(adapter, {"application_entities": [LUNG]})
    hang_up(adapter)
    eventually(lambda: titles(adapter) == {"LUNG": "running"}, 10, "MAIN has gone")
    assert answer(adapter, b"LUNG") == ACCEPTED
    assert answer(adapter, b"MAIN") == REJECTED
    assert run_cli("send", adapter.destination("LUNG"), CT_SMALL).returncode == 0
    (event,) = eventually(lambda: [
        told for told in adapter.events("config.reloaded") if told["keys"]
    ])  # fmt: skip
    assert event["keys"] == ["application_entities[lung]", "application_entities[main]"]
    assert event["restart"] == []


def test_change_of_the_file_is_noticed(adapter: Adapter) -> None:
    write(adapter, {"application_entities": [MAIN, LUNG]})
    eventually(lambda: set(titles(adapter)) == {"MAIN", "LUNG"}, 10, "LUNG has come")


def test_change_that_was_planned_first_is_noticed_too(adapter: Adapter) -> None:
    write(adapter, {"application_entities": [MAIN, LUNG]})
    assert reload(adapter, "?dry_run=true")[0] == 200
    eventually(lambda: set(titles(adapter)) == {"MAIN", "LUNG"}, 10, "LUNG has come")


def test_open_group_of_an_ae_title_that_is_removed_becomes_its_job(adapter: Adapter) -> None:
    write(adapter, {"application_entities": [{**MAIN, "timeout_s": 3}]})
    assert reload(adapter)[0] == 200
    assert run_cli("send", adapter.destination("MAIN"), CT_SMALL).returncode == 0
    write(adapter, {"application_entities": []})
    assert reload(adapter)[0] == 200
    adapter.kill()
    adapter.start()
    eventually(lambda: len(adapter.get("/api/jobs")) == 1, 15, "its job")
    eventually(lambda: titles(adapter) == {}, 10, "it has gone")


def plan_of(adapter: Adapter, changes: Mapping[str, Any]) -> tuple[int, list[str], str]:
    """Have the command say what would change if the file said this; it does not yet."""
    file = adapter.file.with_name("candidate.json")
    file.write_text(json.dumps(merged(adapter.settings, changes)))
    done = run_cli("config", "plan", str(file), "--url", adapter.url)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_plan_is_shown_before_and_says_what_needs_a_restart(adapter: Adapter) -> None:
    changes = {
        "application_entities": [{**MAIN, "timeout_s": 2}],
        "destinations": [PACS],
        "dicom": {"scp": {"max_pdu": 65536, "reject_unknown_sources": True}},
    }
    code, lines, _ = plan_of(adapter, changes)
    assert code == 0
    assert "dicom.scp.max_pdu: 131072 -> 65536    # needs a restart" in lines
    assert "dicom.scp.reject_unknown_sources: false -> true" in lines
    assert "application_entities[main].timeout_s: 1.0 -> 2.0" in lines
    assert any(line.startswith("destinations[pacs]: (absent) -> {") for line in lines)
    assert answer(adapter, b"MAIN") == ACCEPTED  # nothing has changed
    write(adapter, changes)
    assert run_cli("config", "reload", "--url", adapter.url).returncode == 0
    assert answer(adapter, b"MAIN") == REJECTED
    status, plan = reload(adapter, "?dry_run=true")  # what needs a restart is still to be done
    assert (status, [change["key"] for change in plan["changes"]]) == (200, ["dicom.scp.max_pdu"])


def test_plan_says_what_becomes_of_which_entity(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"application_entities": [{**MAIN, "timeout_s": 3600}, LUNG]})
    assert run_cli("send", adapter.destination("MAIN"), CT_SMALL).returncode == 0
    body = json.dumps({"name": "made", "aeTitle": "MADE", "host": "10.0.0.1"}).encode()
    kind = {"Content-Type": "application/json"}
    assert adapter.request("POST", "/api/config/sourceaetitle", kind, body)[0] == 201
    changes = {
        "application_entities": [{**LUNG, "timeout_s": 2}, {**LUNG, "name": "b", "ae_title": "B"}],
        "destinations": [PACS],
        "dicom": {"scp": {"max_pdu": 65536}},
    }

    def told() -> tuple[int, list[str], str] | None:
        done = plan_of(adapter, changes)
        return None if done[1][-1] == "aetitle main drains: associations" else done

    code, lines, waiting = eventually(told, 30, "the sender has gone")
    assert (code, lines[-4:]) == (0, [
        "destination pacs starts",
        "aetitle lung changes",
        "aetitle b starts",
        "aetitle main drains: 1 open group",
    ])  # fmt: skip
    assert waiting == "a restart is needed for dicom.scp.max_pdu\n"
    assert titles(adapter) == {"MAIN": "running", "LUNG": "running"}
    write(adapter, changes)
    status, plan = reload(adapter)
    assert (status, plan["applied"]) == (200, True)
    assert plan["entities"][-1] == {
        "kind": "aetitle", "name": "main", "origin": "file", "does": "drains",
        "left": "1 open group",
    }  # fmt: skip
    assert reload(adapter, "?dry_run=true")[1]["entities"] == []


def test_plan_of_what_would_be_refused_says_everything(adapter: Adapter) -> None:
    code, lines, problems = plan_of(adapter, {
        "application_entities": [MAIN, {**LUNG, "timeout_s": -1}],
        "dicom": {"scp": {"max_pdu": 1}},
    })  # fmt: skip
    assert (code, lines) == (1, [])
    assert "timeout_s = -1" in problems
    assert "dicom.scp.max_pdu = 1" in problems
    assert not adapter.events("config.refused")  # it was only asked


def test_no_plan_stops_the_running_adapter(adapter: Adapter) -> None:
    kind = {"Content-Type": "application/json"}
    deep = '{"application_entities": ' + "[" * 90 + "]" * 90 + "}"
    for body in ("[]", "1", "{", '{"a": ' * 500 + "1" + "}" * 500, deep, '{"sources": [{}]}'):
        status = adapter.request("POST", "/api/config/plan", kind, body.encode())[0]
        assert status in (400, 409), body[:30]
    assert adapter.request("POST", "/api/config/plan", kind, b"{}")[0] == 200
    assert not adapter.events("actor.crashed")


def test_plan_says_what_was_made_over_rest_and_works_again(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"destinations": [PACS], "application_entities": [MAIN]})
    body = {"name": "m", "aeTitle": "M", "pipelines": {"a": "b"}, "destinations": ["pacs"]}
    path, kind = "/api/config/claraaetitle", {"Content-Type": "application/json"}
    assert adapter.request("POST", path, kind, json.dumps(body).encode())[0] == 201
    adapter.stop()
    adapter.settings["destinations"] = []
    adapter.start()
    assert titles(adapter)["M"] == "parked"
    write(adapter, {"destinations": [PACS]})
    effects = reload(adapter, "?dry_run=true")[1]["entities"]
    assert [(one["name"], one["origin"], one["does"]) for one in effects] == [
        ("pacs", "file", "starts"), ("m", "api", "is usable again"),
    ]  # fmt: skip
    assert reload(adapter)[0] == 200
    assert titles(adapter)["M"] == "running"


def test_bad_file_is_refused_as_a_whole_and_the_running_one_goes_on(adapter: Adapter) -> None:
    write(adapter, {
        "application_entities": [MAIN, LUNG, {**LUNG, "name": "two"}],
        "dicom": {"scp": {"max_pdu": 1}},
    })  # fmt: skip
    status, problem = reload(adapter)
    assert status == 409
    (why,) = problem["problems"]
    assert "dicom.scp.max_pdu = 1" in why
    write(adapter, {"dicom": {"scp": {"max_pdu": 65536}}})
    status, problem = reload(adapter)
    assert status == 409
    assert any("ae_title 'LUNG' is used twice" in line for line in problem["problems"])
    assert titles(adapter) == {"MAIN": "running"}
    assert answer(adapter, b"MAIN") == ACCEPTED
    eventually(lambda: len(adapter.events("config.refused")) >= 2)
    metrics = adapter.request("GET", "/metrics")[2].decode()
    assert "dicom_adapter_config_reload_successful 0.0" in metrics
    write(adapter, {"application_entities": [MAIN]})
    assert reload(adapter)[0] == 200
    metrics = adapter.request("GET", "/metrics")[2].decode()
    assert "dicom_adapter_config_reload_successful 1.0" in metrics


@pytest.mark.parametrize("text", ["{", "[]", '{"dicom": {"scp": {"prot": 1}}}', "\x00"])
def test_no_file_stops_the_running_adapter(adapter: Adapter, text: str) -> None:
    adapter.file.write_text(text)
    hang_up(adapter)
    eventually(lambda: adapter.events("config.refused"), 10, "it is refused")
    adapter.file.unlink()
    assert reload(adapter)[0] == 409
    assert run_cli("send", adapter.destination("MAIN"), CT_SMALL).returncode == 0


def test_sources_count_at_once(adapter: Adapter) -> None:
    write(adapter, {
        "dicom": {"scp": {"reject_unknown_sources": True}},
        "sources": [{"ae_title": "CT1", "host": "127.0.0.1"}],
    })  # fmt: skip
    assert reload(adapter)[0] == 200
    assert answer(adapter, b"MAIN", b"CT1") == ACCEPTED
    assert answer(adapter, b"MAIN", b"CT2") == REJECTED
    write(adapter, {"sources": [{"ae_title": "CT2", "host": "127.0.0.1"}]})
    assert reload(adapter)[0] == 200
    assert answer(adapter, b"MAIN", b"CT1") == REJECTED
    assert answer(adapter, b"MAIN", b"CT2") == ACCEPTED


def test_destinations_come_and_go(adapter: Adapter) -> None:
    write(adapter, {
        "destinations": [PACS], "application_entities": [{**MAIN, "destinations": ["pacs"]}],
    })  # fmt: skip
    assert reload(adapter)[0] == 200
    assert [one["name"] for one in adapter.get("/api/destinations")] == ["pacs"]
    write(adapter, {"destinations": []})
    status, problem = reload(adapter)
    (why,) = problem["problems"]
    assert status == 409
    assert why.endswith(
        "application_entities[0].destinations: 'pacs' is not among the destinations"
    )
    write(adapter, {"application_entities": [MAIN]})
    assert reload(adapter)[0] == 200
    assert adapter.get("/api/destinations") == []


def test_ae_title_and_unheard_port_wait_for_a_restart(adapter: Adapter) -> None:
    write(adapter, {
        "application_entities": [{**MAIN, "ae_title": "RENAMED"}, {**LUNG, "port": 11119}],
    })  # fmt: skip
    status, plan = reload(adapter)
    assert status == 200
    assert {change["key"]: change["restart"] for change in plan["changes"]} == {
        "application_entities[main].ae_title": True,
        "application_entities[lung]": True,
    }
    assert titles(adapter) == {"MAIN": "running"}


def test_what_was_made_over_rest_is_not_taken_over(adapter: Adapter) -> None:
    body = json.dumps({"name": "lung", "aeTitle": "LUNG", "pipelines": {"a": "b"}}).encode()
    path, kind = "/api/config/claraaetitle", {"Content-Type": "application/json"}
    assert adapter.request("POST", path, kind, body)[0] == 201
    write(adapter, {"application_entities": [MAIN, LUNG]})
    status, problem = reload(adapter)
    assert status == 409
    assert (
        "application_entities[lung]: was made over REST as well; remove it there"
        in (problem["problems"])
    )


def test_limits_that_are_read_at_use_change_at_once(adapter: Adapter) -> None:
    assert adapter.request("GET", "/health/ready")[0] == 200
    write(adapter, {"storage": {"reserve_space_gb": 1_000_000}})
    assert reload(adapter)[0] == 200
    eventually(lambda: adapter.request("GET", "/health/ready")[0] == 503, 15, "space is low")
    write(adapter, {"storage": {"reserve_space_gb": 0}})
    assert reload(adapter)[0] == 200
    eventually(lambda: adapter.request("GET", "/health/ready")[0] == 200, 15, "and is not")


def test_secrets_are_not_told(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"application_entities": [MAIN]})
    write(adapter, {"results": {"service_url": "http://127.0.0.1:9", "api_key": "s3cret-key"}})
    status, plan = reload(adapter)
    assert status == 200
    assert "results.api_key" in {change["key"] for change in plan["changes"]}
    assert "s3cret" not in json.dumps(plan)
    assert "s3cret" not in "\n".join(adapter.log)


TOO_MANY = ("reject", 2, 3, 2)
"""Rejected-transient, by the presentation layer, local limit exceeded (PS3.8 9.3.4)."""


def test_more_and_fewer_associations_are_taken_at_once(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter({"dicom": {"scp": {"max_associations": 1, "receivers": 0}}})
    with Wire(adapter.dicom_port).associate() as first:
        with Wire(adapter.dicom_port) as wire:
            wire.send(associate_rq())
            assert wire.answer() == TOO_MANY
        write(adapter, {"dicom": {"scp": {"max_associations": 2, "max_half_open": 7}}})
        status, plan = reload(adapter)
        assert (status, [change["restart"] for change in plan["changes"]]) == (200, [False, False])
        with Wire(adapter.dicom_port).associate() as second:
            assert first.store("1.2.9.1")[0] == "response"
            assert second.store("1.2.9.2")[0] == "response"
            write(adapter, {"dicom": {"scp": {"max_associations": 1}}})
            assert reload(adapter)[0] == 200
            assert first.store("1.2.9.3")[0] == "response"  # who is in stays
            with Wire(adapter.dicom_port) as wire:
                wire.send(associate_rq())
                assert wire.answer() == TOO_MANY
    told = adapter.request("GET", "/metrics")[2].decode()
    assert "dicom_adapter_associations_max 1.0" in told
    assert "dicom_adapter_half_open_max 7.0" in told


def test_limits_that_the_process_may_not_have_are_refused(adapter: Adapter) -> None:
    resource.prlimit(adapter.pid, resource.RLIMIT_NOFILE, (2500, 2500))
    write(adapter, {"dicom": {"scp": {"max_associations": 900}}})
    status, problem = reload(adapter)
    assert status == 409
    (why,) = problem["problems"]
    assert why.startswith("dicom.scp.max_associations, ")
    assert "the hard limit is 2500" in why


def test_artim_of_the_next_connection_is_the_new_one(adapter: Adapter) -> None:
    write(adapter, {"dicom": {"scp": {"artim_s": 0.5}}})
    assert reload(adapter)[0] == 200
    with Wire(adapter.dicom_port, timeout_s=15) as wire:  # it was 30 s
        assert wire.read_pdu() is None


def test_log_levels_follow_the_file_and_what_was_ordered_stays_else(adapter: Adapter) -> None:
    write(adapter, {"logging": {"level": "warning", "levels": {"listener": "debug"}}})
    status, plan = reload(adapter)
    assert (status, {change["restart"] for change in plan["changes"]}) == (200, {False})
    told = adapter.get("/api/logging")
    assert (told["level"], told["levels"]) == ("warning", {"listener": "debug"})
    body, kind = b'{"level": "info"}', {"Content-Type": "application/json"}
    assert adapter.request("PUT", "/api/logging", kind, body)[0] == 200
    write(adapter, {"platform": {"max_retries": 1}})
    assert reload(adapter)[0] == 200
    assert adapter.get("/api/logging")["level"] == "info"
    write(adapter, {"logging": {"level": "error", "phi": True}})
    status, plan = reload(adapter)
    assert {change["key"]: change["restart"] for change in plan["changes"]} == {
        "logging.level": False, "logging.phi": True,
    }  # fmt: skip
    assert adapter.get("/api/logging")["level"] == "error"
