"""The configuration that counts now, over REST (docs/configuration.md)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Adapter
from health import MakeAdapter, unharmed
from test_api_keys import ROLES, Keyed, offline
from test_reload import reload, write

SECRET = "s3cret-of-the-service"
SETTINGS = {
    "api": {"auth": "api-key"},
    "results": {"service_url": "http://127.0.0.1:9", "api_key": SECRET},
    "storage": {"watermark_percent": 91},
}


@pytest.fixture(scope="module")
def shared(make_shared_adapter: MakeAdapter) -> Keyed:
    adapter = make_shared_adapter(SETTINGS, start=False)
    adapter.file.write_text(json.dumps(adapter.settings))
    tokens = {role: offline(adapter, f"the {role}", role).stdout.strip() for role in ROLES}
    adapter.start()
    return Keyed(adapter, tokens)


@pytest.fixture
def keyed(shared: Keyed) -> Iterator[Keyed]:
    with unharmed(shared.adapter):
        yield shared


def by_key(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in rows}


def test_every_key_says_what_counts_and_where_it_comes_from(keyed: Keyed) -> None:
    rows = by_key(keyed.ask("GET", "/api/configuration", "administrator"))
    file = str(keyed.adapter.file)
    assert rows["storage.watermark_percent"] == {
        "key": "storage.watermark_percent", "value": 91.0, "origin": file, "secret": False,
        "restart": False,
    }  # fmt: skip
    assert (rows["dicom.scp.max_pdu"]["value"], rows["dicom.scp.max_pdu"]["origin"]) == (
        131072, "default",
    )  # fmt: skip
    assert rows["dicom.scp.max_pdu"]["restart"]
    (main,) = rows["application_entities"]["value"]
    assert main["grouping"] == "0020,000D"


def test_secret_is_told_to_be_set_and_no_more(keyed: Keyed) -> None:
    answer = keyed.ask("GET", "/api/configuration", "administrator")
    row = by_key(answer)["results.api_key"]
    assert (row["value"], row["secret"]) == ("(hidden)", True)
    unset = by_key(answer)["platform.http.api_key"]
    assert (unset["value"], unset["secret"], unset["origin"]) == ("", True, "default")
    assert SECRET not in json.dumps(answer)


def test_it_is_answered_in_pages_and_by_table(keyed: Keyed) -> None:
    token = keyed.tokens["administrator"]
    status, headers, body = keyed.adapter.request(
        "GET", "/api/configuration?key=storage&limit=2", {"X-API-Key": token}
    )
    page = json.loads(body)
    assert (status, len(page)) == (200, 2)
    told = {name.lower(): value for name, value in headers.items()}
    every = keyed.ask("GET", "/api/configuration?key=storage", "administrator")
    assert told["x-total-count"] == str(len(every))
    assert told["link"] == '</api/configuration?key=storage&limit=2&offset=2>; rel="next"'
    assert {row["key"].partition(".")[0] for row in every} == {"storage"}
    assert keyed.status("GET", "/api/configuration?kye=storage", token) == 400


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_it_is_for_administrators(keyed: Keyed, role: str) -> None:
    assert keyed.status("GET", "/api/configuration", keyed.tokens[role]) == 403


def test_looking_is_no_entry_of_the_audit_trail(keyed: Keyed) -> None:
    keyed.ask("GET", "/api/configuration", "administrator")
    trail = keyed.ask("GET", "/api/audit?limit=1000", "administrator")
    assert not [entry for entry in trail if "configuration" in entry["path"]]


def test_reload_changes_what_counts_and_leaves_what_waits(make_adapter: MakeAdapter) -> None:
    adapter: Adapter = make_adapter()
    before = by_key(adapter.get("/api/configuration"))
    assert before["platform.max_retries"]["origin"] == "default"
    write(adapter, {"platform": {"max_retries": 7}, "dicom": {"scp": {"max_pdu": 65536}}})
    assert reload(adapter)[0] == 200
    rows = by_key(adapter.get("/api/configuration"))
    retries, max_pdu = rows["platform.max_retries"], rows["dicom.scp.max_pdu"]
    assert (retries["value"], retries["origin"]) == (7, str(adapter.file))
    assert (max_pdu["value"], max_pdu["origin"]) == (131072, "default")
