"""`Idempotency-Key` on POST, as a client with a bad network uses it."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import Adapter
from health import MakeAdapter

ROUTE = "/api/config/sourceaetitle"


@pytest.fixture(scope="module")
def adapter(make_shared_adapter: MakeAdapter) -> Adapter:
    return make_shared_adapter()


def post(
    adapter: Adapter, path: str, key: str, document: Any = None
) -> tuple[int, dict[str, str], Any]:
    body = None if document is None else json.dumps(document).encode()
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    status, given, answer = adapter.request("POST", path, headers, body)
    return status, {name.lower(): value for name, value in given.items()}, json.loads(answer)


def source(title: str) -> dict[str, str]:
    return {"aeTitle": title, "host": "192.0.2.1"}


def test_repeated_request_is_answered_as_the_first_and_does_nothing(adapter: Adapter) -> None:
    status, headers, made = post(adapter, ROUTE, "one", source("ONE"))
    assert status == 201
    assert "idempotency-replayed" not in headers
    again = post(adapter, ROUTE, "one", source("ONE"))
    assert (again[0], again[2]) == (201, made)
    assert again[1]["idempotency-replayed"] == "true"
    for name in ("location", "etag", "content-type"):
        assert again[1][name] == headers[name]
    assert post(adapter, ROUTE, "another", source("ONE"))[0] == 409


def test_key_of_another_request_is_refused(adapter: Adapter) -> None:
    assert post(adapter, ROUTE, "two", source("TWO"))[0] == 201
    assert post(adapter, ROUTE, "two", source("OTHER"))[0] == 422
    assert post(adapter, "/api/jobs/none/retry", "two")[0] == 422


def test_refusal_is_repeated_although_it_would_be_taken_now(adapter: Adapter) -> None:
    path = "/api/jobs/none/cancel"
    first = post(adapter, path, "three")
    assert first[0] == 404
    again = post(adapter, path, "three")
    assert (again[0], again[2]) == (404, first[2])
    assert again[1]["content-type"] == first[1]["content-type"]
    assert again[1]["idempotency-replayed"] == "true"


def test_same_request_many_times_at_once_is_carried_out_once(adapter: Adapter) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda _: post(adapter, ROUTE, "four", source("FOUR")), range(8))
        )
    assert {status for status, _, _ in answers} <= {201, 409}
    fresh = [headers for status, headers, _ in answers
             if status == 201 and "idempotency-replayed" not in headers]  # fmt: skip
    assert len(fresh) == 1
    names = [one["name"] for one in adapter.get(ROUTE)]
    assert names.count("FOUR") == 1


def test_two_callers_may_have_the_same_key(adapter: Adapter) -> None:
    body = json.dumps(source("FIVE")).encode()
    for number, caller in enumerate(("Bearer a", "Bearer b")):
        headers = {"Idempotency-Key": "five", "Content-Type": "application/json",
                   "Authorization": caller}  # fmt: skip
        status, _, _ = adapter.request("POST", ROUTE, headers, body)
        assert status == (201, 409)[number]


@pytest.mark.parametrize("key", ["", "x" * 256, "\x7f"])
def test_key_that_is_none_is_refused(adapter: Adapter, key: str) -> None:
    assert post(adapter, ROUTE, key, source("SIX"))[0] == 400


def test_answers_are_known_after_a_kill(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    status, headers, made = post(adapter, ROUTE, "one", source("ONE"))
    assert status == 201
    assert post(adapter, "/api/jobs/none/cancel", "two")[0] == 404
    adapter.kill()
    adapter.start()
    again = post(adapter, ROUTE, "one", source("ONE"))
    assert (again[0], again[2], again[1]["idempotency-replayed"]) == (201, made, "true")
    for name in ("location", "etag", "content-type"):
        assert again[1][name] == headers[name]
    assert post(adapter, ROUTE, "one", source("OTHER"))[0] == 422
    assert post(adapter, "/api/jobs/none/cancel", "two")[1]["idempotency-replayed"] == "true"
    assert [one["name"] for one in adapter.get(ROUTE)] == ["ONE"]


def test_key_that_is_shown_once_is_written_nowhere(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    wanted = {"name": "robot", "role": "viewer"}
    status, _, made = post(adapter, "/api/keys", "one", wanted)
    assert status == 201
    again = post(adapter, "/api/keys", "one", wanted)
    assert (again[0], again[2]) == (201, made), "within the process the answer is known"
    adapter.stop()
    secret = made["key"].encode()
    assert len(secret) > 20
    files = [path for path in adapter.root.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret in path.read_bytes()]
    adapter.start()
    assert post(adapter, "/api/keys", "one", wanted)[0] == 409
