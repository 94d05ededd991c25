"""Keys of the API that are made or revoked are told as events, without their secrets."""

import json

from health import MakeAdapter
from test_event_stream import streaming


def test_key_is_told_when_it_is_made_and_when_it_is_revoked(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter()
    kind = {"Content-Type": "application/json"}
    with streaming(adapter, "?topics=config") as stream:
        stream.until("hello")
        body = json.dumps({"name": "ward 3", "role": "operator"}).encode()
        made = json.loads(adapter.request("POST", "/api/keys", kind, body)[2])
        for _ in range(2):  # again is harmless, and no news
            assert adapter.request("DELETE", f"/api/keys/{made['id']}")[0] == 200
        created, deleted = stream.until("config.created"), stream.until("config.deleted")
        body = json.dumps({"name": "ward 4", "role": "viewer"}).encode()
        assert adapter.request("POST", "/api/keys", kind, body)[0] == 201
        while sum(one["type"] == "config.created" for one in stream.messages) < 2:
            assert stream.read()
    wanted = {"kind": "key", "name": "ward 3", "id": made["id"], "role": "operator"}
    assert (created["data"], deleted["data"]) == (wanted, wanted)
    assert [one["type"] for one in stream.messages if one["type"].startswith("config.")] == [
        "config.created", "config.deleted", "config.created",
    ]  # fmt: skip
    assert made["key"][12:] not in json.dumps(stream.messages)
